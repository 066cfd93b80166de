package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the modification time of every entry: builds must not differ by
// when they ran.
var epoch = time.Unix(0, 0).UTC()

// File is one entry of a layer made by [Files].
type File struct {
	// Path is the absolute path inside the image, slash-separated.
	Path string
	// Source is the regular file on this machine that is copied. Empty means
	// Content.
	Source string
	// Content is the file's content when Source is empty.
	Content []byte
	// Mode holds permission bits; 0 means 0755 for Source and for directories,
	// 0644 for Content. With fs.ModeDir the entry is a directory (Source and
	// Content stay empty), with fs.ModeSymlink Content is the link's target.
	// fs.ModeSticky, fs.ModeSetuid and fs.ModeSetgid are kept.
	Mode fs.FileMode
}

// Files returns a layer that holds the given files and the directories that
// lead to them (mode 0755, unless a directory is itself given). Two entries for
// one path are an error, as is a path that is not absolute.
func Files(files ...File) (v1.Layer, error) {
	entries := map[string]File{}
	for _, f := range files {
		name := path.Clean(f.Path)
		if !path.IsAbs(name) || name == "/" {
			return nil, fmt.Errorf("image file %q: path must be absolute and name a file", f.Path)
		}
		if _, ok := entries[name]; ok {
			return nil, fmt.Errorf("image file %q: given twice", f.Path)
		}
		f.Path = name
		entries[name] = f
	}
	for _, f := range files {
		for dir := path.Dir(path.Clean(f.Path)); dir != "/"; dir = path.Dir(dir) {
			if e, ok := entries[dir]; !ok {
				entries[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
			} else if !e.Mode.IsDir() {
				return nil, fmt.Errorf("image file %q: %q is not a directory", f.Path, dir)
			}
		}
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return newLayer(func(w *tar.Writer) error {
		for _, name := range names {
			if err := writeFile(w, entries[name]); err != nil {
				return fmt.Errorf("image file %q: %w", name, err)
			}
		}
		return nil
	})
}

func writeFile(w *tar.Writer, f File) error {
	h := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), ModTime: epoch, Format: tar.FormatPAX}
	perm := f.Mode.Perm()
	switch {
	case f.Mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		h.Mode = tarMode(f.Mode, 0o755)
		return w.WriteHeader(h)
	case f.Mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, string(f.Content), 0o777
		return w.WriteHeader(h)
	case f.Source == "":
		h.Typeflag, h.Size, h.Mode = tar.TypeReg, int64(len(f.Content)), tarMode(f.Mode, 0o644)
		return writeContent(w, h, bytes.NewReader(f.Content))
	}
	src, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.Source)
	}
	if perm == 0 {
		f.Mode |= 0o755
	}
	h.Typeflag, h.Size, h.Mode = tar.TypeReg, info.Size(), tarMode(f.Mode, 0o755)
	return writeContent(w, h, src)
}

func writeContent(w *tar.Writer, h *tar.Header, r io.Reader) error {
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.CopyN(w, r, h.Size)
	return err
}

// tarMode translates Go's mode bits into those of a tar header.
func tarMode(m fs.FileMode, whenZero int64) int64 {
	mode := int64(m.Perm())
	if mode == 0 {
		mode = whenZero
	}
	if m&fs.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		mode |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

// Tree returns a layer that holds the directory dir of this machine as the
// directory at of the image ("/" for a whole root file system). Permission bits
// and symbolic links are kept; owners become 0:0; sockets, pipes and device
// nodes are left out, because an image built without root cannot hold them.
// The tree is read again whenever the layer is, and must not change meanwhile.
func Tree(dir, at string) (v1.Layer, error) {
	at = path.Clean(at)
	if !path.IsAbs(at) {
		return nil, fmt.Errorf("image tree %q: destination %q must be absolute", dir, at)
	}
	return newLayer(func(w *tar.Writer) error {
		for p := range parents(at) {
			if err := writeFile(w, File{Path: p, Mode: fs.ModeDir | 0o755}); err != nil {
				return err
			}
		}
		return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return fmt.Errorf("image tree: %w", err)
			}
			rel, err := filepath.Rel(dir, name)
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			f := File{Path: path.Join(at, filepath.ToSlash(rel)), Mode: info.Mode()}
			switch {
			case f.Path == "/":
				return nil
			case info.IsDir():
			case info.Mode()&fs.ModeSymlink != 0:
				target, err := os.Readlink(name)
				if err != nil {
					return err
				}
				f.Content = []byte(target)
			case info.Mode().IsRegular():
				f.Source = name
				if f.Mode.Perm() == 0 {
					// Mode 0 would mean "default" to writeFile; /etc/shadow- and
					// the like are readable by root alone.
					f.Mode |= 0o600
				}
			default:
				return nil
			}
			if err := writeFile(w, f); err != nil {
				return fmt.Errorf("image tree %s: %w", name, err)
			}
			return nil
		})
	})
}

// parents yields the directories above p, outermost first, without "/".
func parents(p string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range p {
			if c == '/' && i > 0 && !yield(p[:i]) {
				return
			}
		}
	}
}

// Tar returns the tar file of this machine as a layer, with owners and times
// made uniform and device nodes left out, entries in the file's own order.
func Tar(file string) (v1.Layer, error) {
	return newLayer(func(w *tar.Writer) error {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("image tar: %w", err)
		}
		defer func() { _ = f.Close() }()
		for r := tar.NewReader(f); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fmt.Errorf("image tar %s: %w", file, err)
			}
			switch h.Typeflag {
			case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
			default:
				continue
			}
			name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
			if name == "" {
				continue
			}
			if h.Typeflag == tar.TypeDir {
				name += "/"
			}
			out := &tar.Header{Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Size: h.Size,
				Mode: h.Mode, ModTime: epoch, Format: tar.FormatPAX}
			if err := writeContent(w, out, r); err != nil {
				return fmt.Errorf("image tar %s: %s: %w", file, h.Name, err)
			}
		}
	})
}

// layer is an uncompressed layer whose content is produced anew on each read,
// so that a root file system of hundreds of megabytes is never held in memory
// nor copied to disk. Its digest is computed once, when it is made. It is not
// compressed: archives are read on the machine that wrote them.
type layer struct {
	write func(*tar.Writer) error
	hash  v1.Hash
	size  int64
}

func newLayer(write func(*tar.Writer) error) (v1.Layer, error) {
	l := &layer{write: write}
	sum := sha256.New()
	n, err := l.writeTo(sum)
	if err != nil {
		return nil, err
	}
	l.hash = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	l.size = n
	return l, nil
}

func (l *layer) writeTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	t := tar.NewWriter(c)
	if err := l.write(t); err != nil {
		return c.n, err
	}
	err := t.Close()
	return c.n, err
}

// Digest is the hash of the layer as it is stored.
func (l *layer) Digest() (v1.Hash, error) { return l.hash, nil }

// DiffID is the hash of the uncompressed layer: the same.
func (l *layer) DiffID() (v1.Hash, error) { return l.hash, nil }

// Size is the number of bytes stored.
func (l *layer) Size() (int64, error) { return l.size, nil }

// MediaType says that the layer is a plain tar file.
func (l *layer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }

// Compressed reads the layer as it is stored.
func (l *layer) Compressed() (io.ReadCloser, error) { return l.Uncompressed() }

// Uncompressed produces the layer's content.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() {
		_, err := l.writeTo(w)
		_ = w.CloseWithError(err)
	}()
	return r, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
