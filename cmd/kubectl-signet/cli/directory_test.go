// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// setOf is a set whose files all say which one it is.
func setOf(generation int, names ...string) []File {
	var files []File
	for _, name := range names {
		files = append(files, File{name, 0o600, []byte(strconv.Itoa(generation))})
	}
	return files
}

// claimed is a new directory, locked until the end of the test.
func claimed(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a", "b")
	release, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func publish(t *testing.T, dir string, files []File) {
	t.Helper()
	if err := Publish(dir, files); err != nil {
		t.Fatal(err)
	}
}

// visible are the files of a directory as a client sees them, by name; "" for what leads nowhere.
func visible(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == privateDir || e.Name() == currentLink {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		found[e.Name()] = string(data)
	}
	return found
}

func sets(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, privateDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(found, func(path string) bool { return filepath.Base(path) == lockFile })
}

func TestPublish(t *testing.T) {
	dir := claimed(t)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	for generation := range 5 {
		publish(t, dir, setOf(generation, "tls.crt", "tls.key"))
		want := strconv.Itoa(generation)
		if got := visible(t, dir); !maps.Equal(got, map[string]string{"tls.crt": want, "tls.key": want}) {
			t.Errorf("after set %d: %v", generation, got)
		}
		set, err := ReadSet(dir)
		if err != nil || len(set) != 2 || string(set["tls.key"]) != want {
			t.Errorf("set %d: %q, %v", generation, set, err)
		}
		// The former set stays for who resolved the link before, and no other.
		if got := sets(t, dir); len(got) != min(generation+1, 2) {
			t.Errorf("after set %d there are %v", generation, got)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "tls.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("tls.key: %v, %v", info.Mode(), err)
	}
	for _, private := range append(sets(t, dir), filepath.Join(dir, privateDir)) {
		if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", private, info.Mode(), err)
		}
	}
	// A directory that is moved, or mounted elsewhere, is the same: its links are relative.
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if got := visible(t, moved); got["tls.key"] != "4" {
		t.Errorf("moved: %v", got)
	}
	if err := os.Rename(moved, dir); err != nil {
		t.Fatal(err)
	}
}

func TestPublishReplacesWhatExportWrote(t *testing.T) {
	dir := t.TempDir()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFiles(dir, setOf(0, "tls.key", "tls.crt", "mine"), false); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	release, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, dir, setOf(1, "tls.key", "tls.crt", "ca.crt"))
	if got := visible(t, dir); !maps.Equal(got, map[string]string{"tls.key": "1", "tls.crt": "1", "ca.crt": "1", "mine": "0"}) {
		t.Errorf("got %v", got)
	}
	// A set without a file that the former had: its name goes, as long as it is ours.
	publish(t, dir, setOf(2, "tls.crt", "ca.crt"))
	if got := visible(t, dir); !maps.Equal(got, map[string]string{"tls.crt": "2", "ca.crt": "2", "mine": "0"}) {
		t.Errorf("got %v", got)
	}
	if got, err := os.ReadFile(elsewhere); err != nil || string(got) != "untouched" {
		t.Errorf("written through a link: %q, %v", got, err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if got := visible(t, dir); got["tls.crt"] != "2" {
		t.Errorf("after the release: %v", got)
	}
}

// TestPublishAllOrNothing makes each step up to the change of the link fail.
func TestPublishAllOrNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(dir string) error
		files []File
	}{
		"a file that cannot be written": {func(string) error { return nil }, setOf(1, "tls.crt", "tls.key", "no/where")},
		"a name twice":                  {func(string) error { return nil }, setOf(1, "tls.crt", "tls.crt")},
		"a directory in the link's place": {func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, currentLink)), os.Mkdir(filepath.Join(dir, currentLink), 0o700))
		}, setOf(1, "tls.crt")},
		"no place for the next link": {func(dir string) error { return os.MkdirAll(filepath.Join(dir, privateDir, "link", "x"), 0o700) }, setOf(1, "tls.crt", "new")},
	} {
		t.Run(name, func(t *testing.T) {
			dir := claimed(t)
			publish(t, dir, setOf(0, "tls.crt", "tls.key"))
			if err := tc.spoil(dir); err != nil {
				t.Fatal(err)
			}
			before, setsBefore := visible(t, dir), sets(t, dir)
			if err := Publish(dir, tc.files); err == nil {
				t.Fatal("published")
			}
			if got := visible(t, dir); !maps.Equal(got, before) {
				t.Errorf("half applied: %v, was %v", got, before)
			}
			if got := sets(t, dir); !slices.Equal(got, setsBefore) {
				t.Errorf("left behind: %v", got)
			}
		})
	}
}

// TestPublishAfterAKill starts from what a run that was killed leaves at each step.
func TestPublishAfterAKill(t *testing.T) {
	dir := claimed(t)
	publish(t, dir, setOf(0, "tls.crt"))
	private := filepath.Join(dir, privateDir)
	if err := errors.Join(
		os.Mkdir(filepath.Join(private, "set-half"), 0o700),
		os.WriteFile(filepath.Join(private, "set-half", "tls.key"), []byte("x"), 0o600),
		os.Symlink("nowhere", filepath.Join(private, "link")),
		os.Symlink(filepath.Join(currentLink, "tls.key"), filepath.Join(dir, "tls.key")),
	); err != nil {
		t.Fatal(err)
	}
	if set, err := ReadSet(dir); err != nil || len(set) != 1 || string(set["tls.crt"]) != "0" {
		t.Errorf("after the kill: %q, %v", set, err)
	}
	publish(t, dir, setOf(1, "tls.crt", "tls.key"))
	if got := visible(t, dir); !maps.Equal(got, map[string]string{"tls.crt": "1", "tls.key": "1"}) {
		t.Errorf("got %v", got)
	}
	if got := sets(t, dir); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}

// TestReadersSeeWholeSets changes a directory while clients read it: who resolves the link once gets files of one set,
// and the single file keystore.pem is there and whole at every moment.
func TestReadersSeeWholeSets(t *testing.T) {
	const generations = 150
	names := []string{"tls.crt", "tls.key", "ca.crt", "keystore.pem"}
	dir := claimed(t)
	publish(t, dir, setOf(0, names...))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	seen := make([]int, 3)
	for i := range seen {
		readers.Go(func() {
			last := 0
			for {
				generation, err := readOnce(dir, names)
				switch {
				case err != nil:
					t.Error(err)
					return
				case generation < last:
					t.Errorf("set %d after set %d", generation, last)
				case generation > last:
					last = generation
					seen[i]++
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for generation := 1; generation <= generations; generation++ {
		publish(t, dir, setOf(generation, names...))
	}
	close(stop)
	readers.Wait()
	if slices.Max(seen) == 0 {
		t.Error("no reader saw a change")
	}
}

// readOnce reads a directory as a client does that wants a matching pair of files.
func readOnce(dir string, names []string) (int, error) {
	for {
		target, err := os.Readlink(filepath.Join(dir, currentLink))
		if err != nil {
			return 0, err
		}
		var first string
		for i, name := range names {
			data, err := os.ReadFile(filepath.Join(dir, target, name))
			if errors.Is(err, fs.ErrNotExist) {
				// Two changes since the link was read: the set is gone.
				if now, err := os.Readlink(filepath.Join(dir, currentLink)); err == nil && now != target {
					first = ""
					break
				}
			}
			if err != nil {
				return 0, err
			}
			if i == 0 {
				first = string(data)
			}
			if string(data) != first || first == "" {
				return 0, fmt.Errorf("%s is of set %q, %s of set %q", names[0], first, name, data)
			}
		}
		if first == "" {
			continue
		}
		// One open by the visible name needs no second try. A file that was opened stays whole although it is removed.
		data, err := os.ReadFile(filepath.Join(dir, "keystore.pem"))
		if errors.Is(err, fs.ErrNotExist) {
			// The kernel resolved current, and two changes later the file.
			if now, err := os.Readlink(filepath.Join(dir, currentLink)); err == nil && now != target {
				continue
			}
		}
		if err != nil {
			return 0, err
		}
		if _, err := strconv.Atoi(string(data)); err != nil {
			return 0, fmt.Errorf("keystore.pem is cut: %q", data)
		}
		return strconv.Atoi(first)
	}
}

func TestClaim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	release, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claim(dir); err == nil || !strings.Contains(err.Error(), "another kubectl signet is at work on "+dir) {
		t.Errorf("claimed twice: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that was made for nothing stays: %v", err)
	}
	if release, err = claim(dir); err != nil {
		t.Fatalf("after the release: %v", err)
	}
	publish(t, dir, setOf(0, "tls.crt"))
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if release, err = claim(dir); err != nil {
		t.Fatalf("with a set in it: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if got := visible(t, dir); got["tls.crt"] != "0" {
		t.Errorf("a release took %v", got)
	}
}

func TestClaimRefuses(t *testing.T) {
	open, file := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{open: "can be written by everybody", file: "is not a directory"} {
		if _, err := claim(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
}

func TestReadSetRefuses(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "set-x")
	for name, target := range map[string]string{"nothing there": "", "somewhere else": secret, "up and away": "../set-x", "no set": ".signet/other", "below a set": ".signet/set-x/y"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if target != "" {
				if err := os.Symlink(target, filepath.Join(dir, currentLink)); err != nil {
					t.Fatal(err)
				}
			}
			if set, err := ReadSet(dir); err == nil || errors.Is(err, errNoSet) != (target == "") {
				t.Errorf("got %v, %v", set, err)
			}
		})
	}
}
