package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// NonRoot is the user and group of an image that names none, the number that
// distroless images use for "nonroot".
const NonRoot = "65532:65532"

// searchPath is the PATH of every image that sets none of its own.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Image describes one image: layers from the bottom to the top and what a
// runtime starts from them.
type Image struct {
	// Name is the full reference, repository and tag, for example
	// "ghcr.io/signet-kafka/signet/webhook:dev".
	Name string
	// Layers are shared between images by being the same layer in each.
	Layers []v1.Layer
	// Entrypoint is the command, never through a shell.
	Entrypoint []string
	// Cmd holds default arguments, which a pod's args replace.
	Cmd []string
	// User is "uid:gid"; empty means [NonRoot]. Numbers, not names, or the
	// kubelet cannot verify runAsNonRoot.
	User string
	// Env holds "NAME=value" entries; a PATH is added when there is none.
	Env []string
	// WorkingDir is the directory the command starts in; empty means "/".
	WorkingDir string
	// Labels are the image's annotations, for example
	// org.opencontainers.image.version.
	Labels map[string]string
	// Architecture is Go's name of the processor; empty means this machine's.
	Architecture string
}

// Build returns the image as go-containerregistry's type, with an OCI manifest
// and a fixed creation time.
func (i Image) Build() (v1.Image, error) {
	if len(i.Entrypoint) == 0 {
		return nil, fmt.Errorf("image %s: no entrypoint", i.Name)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, i.Layers...)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.Name, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.Name, err)
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: epoch}
	config.OS = "linux"
	config.Architecture = orDefault(i.Architecture, runtime.GOARCH)
	config.Config = v1.Config{
		Entrypoint: i.Entrypoint,
		Cmd:        i.Cmd,
		User:       orDefault(i.User, NonRoot),
		Env:        withPath(i.Env),
		WorkingDir: orDefault(i.WorkingDir, "/"),
		Labels:     i.Labels,
	}
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.Name, err)
	}
	return img, nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func withPath(env []string) []string {
	for _, e := range env {
		if len(e) >= 5 && e[:5] == "PATH=" {
			return env
		}
	}
	return append([]string{searchPath}, env...)
}

// authorities are the places where distributions keep the bundle of public
// certificate authorities.
var authorities = []string{
	"/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, Arch
	"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",             // SUSE
	"/etc/ssl/cert.pem",                  // macOS
}

// Base returns the layer below every static Go binary, what distroless calls
// "static": users root, nobody and nonroot, an empty home, /tmp, and this
// machine's public certificate authorities where it has any.
func Base() (v1.Layer, error) {
	files := []File{
		{Path: "/etc/passwd", Content: []byte("root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")},
		{Path: "/etc/group", Content: []byte("root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n")},
		{Path: "/etc/nsswitch.conf", Content: []byte("hosts: files dns\n")},
		{Path: "/home/nonroot", Mode: fs.ModeDir | 0o755},
		{Path: "/root", Mode: fs.ModeDir | 0o700},
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	for _, name := range authorities {
		pem, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("certificate authorities: %w", err)
		}
		files = append(files, File{Path: "/etc/ssl/certs/ca-certificates.crt", Content: pem})
		break
	}
	return Files(files...)
}
