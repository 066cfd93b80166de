package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations of an index entry that carry an image's name: containerd's own,
// which `ctr images import` prefers, and the OCI one, which holds the tag.
const (
	annotationName = "io.containerd.image.name"
	annotationRef  = "org.opencontainers.image.ref.name"
)

// WriteArchive writes the images into one OCI archive (a tar file with an OCI
// image layout): every blob once, however many images share it. The file
// appears under its name only when it is complete.
func WriteArchive(file string, images ...Image) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("image archive: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return fmt.Errorf("image archive: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := f.Chmod(0o644); err != nil {
		return fmt.Errorf("image archive: %w", err)
	}
	if err := Archive(f, images...); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("image archive: %w", err)
	}
	return os.Rename(f.Name(), file)
}

// Archive writes what [WriteArchive] writes to w.
func Archive(w io.Writer, images ...Image) error {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	blobs := map[v1.Hash]blob{}
	for _, i := range images {
		ref, err := name.NewTag(i.Name)
		if err != nil {
			return fmt.Errorf("image name: %w", err)
		}
		if !strings.HasSuffix(i.Name, ":"+ref.TagStr()) {
			return fmt.Errorf("image name %s: no tag", i.Name)
		}
		img, err := i.Build()
		if err != nil {
			return err
		}
		manifest, err := collect(img, blobs)
		if err != nil {
			return fmt.Errorf("image %s: %w", i.Name, err)
		}
		manifest.Annotations = map[string]string{annotationName: fullName(ref), annotationRef: ref.TagStr()}
		index.Manifests = append(index.Manifests, *manifest)
	}
	head, err := json.Marshal(index)
	if err != nil {
		return fmt.Errorf("image archive: %w", err)
	}
	t := tar.NewWriter(w)
	if err := writeFile(t, File{Path: "/oci-layout", Content: []byte(`{"imageLayoutVersion":"1.0.0"}`)}); err != nil {
		return fmt.Errorf("image archive: %w", err)
	}
	if err := writeFile(t, File{Path: "/index.json", Content: head}); err != nil {
		return fmt.Errorf("image archive: %w", err)
	}
	for _, h := range slices.SortedFunc(maps.Keys(blobs), func(a, b v1.Hash) int { return strings.Compare(a.Hex, b.Hex) }) {
		if err := blobs[h].writeTo(t, h); err != nil {
			return fmt.Errorf("image archive: blob %s: %w", h, err)
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("image archive: %w", err)
	}
	return nil
}

// fullName is the name under which the kubelet asks containerd for the image:
// Docker Hub is docker.io to both, and index.docker.io to the library.
func fullName(ref name.Tag) string {
	registry := ref.RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	return registry + "/" + ref.RepositoryStr() + ":" + ref.TagStr()
}

// collect adds the image's layers, configuration and manifest to blobs and
// returns the manifest's descriptor.
func collect(img v1.Image, blobs map[v1.Hash]blob) (*v1.Descriptor, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return nil, err
		}
		size, err := l.Size()
		if err != nil {
			return nil, err
		}
		blobs[digest] = blob{size: size, open: l.Compressed}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	for _, raw := range [][]byte{config, manifest} {
		digest, size, err := v1.SHA256(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		blobs[digest] = blob{size: size, open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }}
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	return &v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: int64(len(manifest))}, nil
}

type blob struct {
	size int64
	open func() (io.ReadCloser, error)
}

// writeTo writes the blob under its digest and fails when the content is no
// longer what the digest was computed from (a tree that changed meanwhile).
func (b blob) writeTo(t *tar.Writer, want v1.Hash) error {
	r, err := b.open()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "blobs/sha256/" + want.Hex, Size: b.size, Mode: 0o644, ModTime: epoch, Format: tar.FormatPAX}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	got, _, err := v1.SHA256(io.TeeReader(r, t))
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("its source changed while the archive was written: digest %s", got)
	}
	return nil
}
