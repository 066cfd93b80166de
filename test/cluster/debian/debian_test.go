package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeTools puts a dpkg-query that knows one package, and optionally an
// apt-get, in front of everything else.
func fakeTools(t *testing.T, aptGet string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	tools := map[string]string{
		"dpkg-query": "case \"$3\" in present) printf installed;; late) [ -e " + dir + "/late ] && printf installed;; removed) printf config-files;; *) exit 1;; esac",
	}
	if aptGet != "" {
		tools["apt-get"] = "echo \"$*\" >> " + log + "\n" + strings.ReplaceAll(aptGet, "DIR", dir)
	}
	for name, script := range tools {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return log
}

func TestMissing(t *testing.T) {
	fakeTools(t, "")
	got := Missing(t.Context(), "present", "removed", "absent")
	if strings.Join(got, " ") != "removed absent" {
		t.Errorf("missing %q, want the removed and the absent one", got)
	}
}

func TestEnsureLeavesWhatIsThereAlone(t *testing.T) {
	log := fakeTools(t, "exit 1")
	if err := Ensure(t.Context(), t.Logf, "present"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(log); err == nil {
		t.Error("apt-get was run for an installed package")
	}
}

func TestEnsureSaysWhatToDo(t *testing.T) {
	fakeTools(t, "")
	err := Ensure(t.Context(), t.Logf, "present", "absent")
	if err == nil || !strings.Contains(err.Error(), "packages absent are missing") || !strings.Contains(err.Error(), "no apt-get") {
		t.Errorf("without apt-get: %v", err)
	}
}

// requireRoot fails, rather than skips, because only root may install.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: installing packages does")
	}
}

func TestEnsureInstallsOnlyWhatIsMissing(t *testing.T) {
	requireRoot(t)
	log := fakeTools(t, ": > DIR/late")
	if err := Ensure(t.Context(), t.Logf, "present", "late"); err != nil {
		t.Fatal(err)
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(strings.TrimSpace(string(calls)), "install --yes --no-install-recommends late") {
		t.Errorf("apt-get calls:\n%s", calls)
	}
}

func TestEnsureReportsAptsOwnWords(t *testing.T) {
	requireRoot(t)
	fakeTools(t, "echo 'E: Unable to locate package absent'; exit 100")
	err := Ensure(t.Context(), t.Logf, "absent")
	if err == nil || !strings.Contains(err.Error(), "Unable to locate package absent") {
		t.Errorf("error %v, want apt-get's own", err)
	}
}
