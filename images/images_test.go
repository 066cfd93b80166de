package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// tree makes a small root file system; stamp is the modification time of its
// files, which must not show in the image.
func tree(t *testing.T, stamp time.Time) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"usr/bin/tool": "#!tool", "etc/motd": "hello", "usr/lib/a.so": "elf"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "usr/bin/tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/bin", filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func twoImages(t *testing.T, root string) []Image {
	t.Helper()
	base, err := Base()
	if err != nil {
		t.Fatal(err)
	}
	rootfs, err := Tree(root, "/opt")
	if err != nil {
		t.Fatal(err)
	}
	app, err := Files(File{Path: "/app", Source: filepath.Join(root, "usr/bin/tool")}, File{Path: "/etc/app/app.conf", Content: []byte("x=1\n")})
	if err != nil {
		t.Fatal(err)
	}
	return []Image{
		{Name: "example.org/signet/one:1", Layers: []v1.Layer{base, rootfs, app}, Entrypoint: []string{"/app"}},
		{Name: "example.org/signet/two:1", Layers: []v1.Layer{base, rootfs}, Entrypoint: []string{"/opt/usr/bin/tool"}, User: "1337:1337", Env: []string{"A=b"}, WorkingDir: "/opt"},
	}
}

func archive(t *testing.T, list ...Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Archive(&b, list...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entries reads a tar file into its names, in order, and their contents.
func entries(t *testing.T, content []byte) ([]*tar.Header, map[string][]byte) {
	t.Helper()
	var headers []*tar.Header
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers, files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		headers, files[h.Name] = append(headers, h), b
	}
}

func TestSameInputSameArchive(t *testing.T) {
	a := archive(t, twoImages(t, tree(t, time.Unix(1e9, 0)))...)
	b := archive(t, twoImages(t, tree(t, time.Unix(2e9, 0)))...)
	if !bytes.Equal(a, b) {
		t.Error("two builds of equal trees at different paths and times differ")
	}
	other := tree(t, time.Unix(1e9, 0))
	if err := os.WriteFile(filepath.Join(other, "etc/motd"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a, archive(t, twoImages(t, other)...)) {
		t.Error("a changed file left the archive the same")
	}
}

func TestArchiveLayout(t *testing.T) {
	headers, files := entries(t, archive(t, twoImages(t, tree(t, time.Unix(1e9, 0)))...))
	if got := string(files["oci-layout"]); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %q", got)
	}
	seen := map[string]int{}
	for _, h := range headers {
		seen[h.Name]++
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s: time %v, owner %d:%d", h.Name, h.ModTime, h.Uid, h.Gid)
		}
		if digest, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok {
			if got, _, _ := v1.SHA256(bytes.NewReader(files[h.Name])); got.Hex != digest {
				t.Errorf("blob %s holds content of digest %s", digest, got.Hex)
			}
		}
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s is in the archive %d times", name, n)
		}
	}

	var index v1.IndexManifest
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 2 {
		t.Fatalf("index has %d images, want 2", len(index.Manifests))
	}
	layers := map[string]int{}
	for i, want := range []struct{ name, user, dir string }{{"example.org/signet/one:1", NonRoot, "/"}, {"example.org/signet/two:1", "1337:1337", "/opt"}} {
		m := index.Manifests[i]
		if m.Annotations["io.containerd.image.name"] != want.name || m.Annotations["org.opencontainers.image.ref.name"] != "1" {
			t.Errorf("annotations of %s: %v", want.name, m.Annotations)
		}
		var manifest v1.Manifest
		if err := json.Unmarshal(files["blobs/sha256/"+m.Digest.Hex], &manifest); err != nil {
			t.Fatal(err)
		}
		var config v1.ConfigFile
		if err := json.Unmarshal(files["blobs/sha256/"+manifest.Config.Digest.Hex], &config); err != nil {
			t.Fatal(err)
		}
		if config.Config.User != want.user || config.Config.WorkingDir != want.dir || config.OS != "linux" {
			t.Errorf("%s: user %q, directory %q, os %q", want.name, config.Config.User, config.Config.WorkingDir, config.OS)
		}
		if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
			t.Errorf("%s: %d diff ids for %d layers", want.name, len(config.RootFS.DiffIDs), len(manifest.Layers))
		}
		for _, l := range manifest.Layers {
			layers[l.Digest.Hex]++
			if _, ok := files["blobs/sha256/"+l.Digest.Hex]; !ok {
				t.Errorf("%s: layer %s is not in the archive", want.name, l.Digest)
			}
		}
	}
	shared := 0
	for _, n := range layers {
		if n == 2 {
			shared++
		}
	}
	if shared != 2 || len(layers) != 3 {
		t.Errorf("%d layers of which %d shared, want 3 and 2", len(layers), shared)
	}
}

func TestNameIsTheOneTheKubeletAsksFor(t *testing.T) {
	l, err := Files(File{Path: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"signet-test/pause:1":                "docker.io/signet-test/pause:1",
		"docker.io/signet-test/pause:1":      "docker.io/signet-test/pause:1",
		"ghcr.io/signet-kafka/signet/x:v1.0": "ghcr.io/signet-kafka/signet/x:v1.0",
		"localhost:5000/x:1":                 "localhost:5000/x:1",
	} {
		_, files := entries(t, archive(t, Image{Name: name, Layers: []v1.Layer{l}, Entrypoint: []string{"/x"}}))
		var index v1.IndexManifest
		if err := json.Unmarshal(files["index.json"], &index); err != nil {
			t.Fatal(err)
		}
		if got := index.Manifests[0].Annotations["io.containerd.image.name"]; got != want {
			t.Errorf("%s is imported as %s, want %s", name, got, want)
		}
	}
}

func layerEntries(t *testing.T, l v1.Layer) (map[string]*tar.Header, map[string][]byte) {
	t.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	headers, files := entries(t, content)
	named := map[string]*tar.Header{}
	for _, h := range headers {
		named[h.Name] = h
	}
	return named, files
}

func TestTree(t *testing.T) {
	dir := tree(t, time.Unix(1e9, 0))
	if err := os.Chmod(filepath.Join(dir, "etc/motd"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(filepath.Join(dir, "etc/motd"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Tree(dir, "/")
	if err != nil {
		t.Fatal(err)
	}
	headers, _ := layerEntries(t, l)
	for name, mode := range map[string]int64{"usr/bin/tool": 0o755, "usr/lib/a.so": 0o644, "etc/motd": 0o600, "usr/": 0o755} {
		if h := headers[name]; h == nil || h.Mode != mode {
			t.Errorf("%s: %+v, want mode %o", name, h, mode)
		}
	}
	if h := headers["bin"]; h == nil || h.Typeflag != tar.TypeSymlink || h.Linkname != "usr/bin" {
		t.Errorf("symbolic link: %+v", h)
	}
}

func TestTarKeepsContentAndDropsDevices(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./etc/x", Mode: 0o640, Size: 3, Uid: 1000, Uname: "me", ModTime: time.Unix(5, 0)},
		{Typeflag: tar.TypeChar, Name: "./dev/null", Mode: 0o666},
		{Typeflag: tar.TypeReg, Name: "../../escape", Mode: 0o644, Size: 0},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("abc")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Tar(file)
	if err != nil {
		t.Fatal(err)
	}
	headers, files := layerEntries(t, l)
	if h := headers["etc/x"]; h == nil || h.Uid != 0 || h.Uname != "" || h.Mode != 0o640 || string(files["etc/x"]) != "abc" {
		t.Errorf("etc/x: %+v, content %q", h, files["etc/x"])
	}
	if _, ok := headers["escape"]; !ok || len(headers) != 2 {
		t.Errorf("entries %v, want etc/x and escape", headers)
	}
}

func TestBaseIsWhatAStaticBinaryNeeds(t *testing.T) {
	l, err := Base()
	if err != nil {
		t.Fatal(err)
	}
	headers, files := layerEntries(t, l)
	if !bytes.Contains(files["etc/passwd"], []byte("nonroot:x:65532:65532:")) {
		t.Errorf("etc/passwd: %s", files["etc/passwd"])
	}
	if h := headers["tmp/"]; h == nil || h.Mode != 0o1777 {
		t.Errorf("tmp: %+v, want mode 1777", h)
	}
}

func TestBadInput(t *testing.T) {
	dir := tree(t, time.Unix(1e9, 0))
	good, err := Tree(dir, "/")
	if err != nil {
		t.Fatal(err)
	}
	files := func(f ...File) error { _, err := Files(f...); return err }
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"relative path", files(File{Path: "etc/x"}), `"etc/x": path must be absolute`},
		{"path twice", files(File{Path: "/x"}, File{Path: "/./x"}), "given twice"},
		{"file as directory", files(File{Path: "/x"}, File{Path: "/x/y"}), `"/x" is not a directory`},
		{"missing source", files(File{Path: "/x", Source: filepath.Join(dir, "none")}), "no such file"},
		{"directory as source", files(File{Path: "/x", Source: dir}), "not a regular file"},
		{"relative destination", func() error { _, err := Tree(dir, "opt"); return err }(), "must be absolute"},
		{"missing tree", func() error { _, err := Tree(filepath.Join(dir, "none"), "/"); return err }(), "no such file"},
		{"no entrypoint", Archive(io.Discard, Image{Name: "example.org/a:1", Layers: []v1.Layer{good}}), "no entrypoint"},
		{"name without tag", Archive(io.Discard, Image{Name: "example.org/a", Layers: []v1.Layer{good}, Entrypoint: []string{"/a"}}), "image name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", tt.err, tt.want)
			}
		})
	}
}

func TestChangedTreeLeavesNoArchive(t *testing.T) {
	dir := tree(t, time.Unix(1e9, 0))
	l, err := Tree(dir, "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/motd"), []byte("HELLO"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	err = WriteArchive(filepath.Join(out, "a.tar"), Image{Name: "example.org/a:1", Layers: []v1.Layer{l}, Entrypoint: []string{"/a"}})
	if err == nil || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("error %v, want one that says the source changed", err)
	}
	left, err := os.ReadDir(out)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestGoBinary(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":  "module example.org/hello\n\ngo 1.26\n",
		"main.go": "package main\n\nvar version = \"none\"\n\nfunc main() { print(version) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var built [2][]byte
	for i := range built {
		b := GoBinary{Dir: dir, Package: ".", Output: filepath.Join(t.TempDir(), "hello"), Version: "v1.2.3"}
		if err := b.Build(t.Context()); err != nil {
			t.Fatal(err)
		}
		var err error
		if built[i], err = os.ReadFile(b.Output); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(built[0], built[1]) {
		t.Error("two builds of one source differ")
	}
	if !bytes.Contains(built[0], []byte("v1.2.3")) {
		t.Error("the version is not in the binary")
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { nothing() }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := GoBinary{Dir: dir, Package: ".", Output: filepath.Join(t.TempDir(), "hello")}.Build(t.Context())
	if err == nil || !strings.Contains(err.Error(), "undefined: nothing") {
		t.Errorf("error %v, want the compiler's", err)
	}
}
