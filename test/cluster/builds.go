package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/signet-kafka/signet/images"
	"github.com/signet-kafka/signet/test/cluster/cache"
	"github.com/signet-kafka/signet/test/cluster/internal/plan"
)

// sourceDir finds this module's directory, where the components' sources are:
// where this file was compiled, or below the working directory's checkout.
func sourceDir() (string, error) {
	candidates := []string{}
	if _, file, _, ok := runtime.Caller(0); ok {
		candidates = append(candidates, filepath.Dir(file))
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			candidates = append(candidates, dir, filepath.Join(dir, "test", "cluster"))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range candidates {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module github.com/signet-kafka/signet/test/cluster\n")) {
			return dir, nil
		}
	}
	return "", errors.New("the sources of the components are not here: run cluster inside a checkout of Signet")
}

var kubernetesVersion = regexp.MustCompile(`(?m)^\s*(?:require )?k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)`)

// buildKubernetes returns the path of the multi-call binary and the version of
// Kubernetes that it is.
func buildKubernetes(ctx context.Context, c *cache.Cache, source string) (binary, version string, err error) {
	dir := filepath.Join(source, "components", "kubernetes")
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", "", fmt.Errorf("kubernetes: %w", err)
	}
	found := kubernetesVersion.FindSubmatch(mod)
	if found == nil {
		return "", "", fmt.Errorf("kubernetes: %s requires no k8s.io/kubernetes", filepath.Join(dir, "go.mod"))
	}
	version = string(found[1])
	const pkg = "k8s.io/component-base/version."
	ldflags := fmt.Sprintf("-s -w -X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s", pkg, version, found[2], found[3])
	sources, err := cache.Sources(dir)
	if err != nil {
		return "", "", err
	}
	// The flags of everything else here: Go's build cache then serves
	// Kubernetes' own packages to all.
	out, err := c.Build(ctx, "kubernetes-"+version, []string{sources, ldflags, "-trimpath CGO_ENABLED=0"}, func(ctx context.Context, out string) error {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", filepath.Join(out, "kubernetes"), ".")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if msg, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build in %s: %w\n%s", dir, err, msg)
		}
		for _, name := range []string{"kubectl"} {
			if err := os.Symlink("kubernetes", filepath.Join(out, name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", "", err
	}
	return filepath.Join(out, "kubernetes"), version, nil
}

// buildBaseImages returns the archive with the images that every node needs.
func buildBaseImages(ctx context.Context, c *cache.Cache, source string) (archive string, err error) {
	coredns, pause := filepath.Join(source, "components", "coredns"), filepath.Join(source, "components", "pause")
	sources, err := cache.Sources(coredns, pause)
	if err != nil {
		return "", err
	}
	out, err := c.Build(ctx, "base-images", []string{sources, plan.CoreDNSImage, plan.PauseImage}, func(ctx context.Context, out string) error {
		base, err := images.Base()
		if err != nil {
			return err
		}
		var list []images.Image
		for name, binary := range map[string]images.GoBinary{
			plan.PauseImage:   {Dir: pause, Package: ".", Output: filepath.Join(out, "pause")},
			plan.CoreDNSImage: {Dir: coredns, Package: ".", Output: filepath.Join(out, "coredns")},
		} {
			if err := binary.Build(ctx); err != nil {
				return err
			}
			entry := "/" + filepath.Base(binary.Output)
			layer, err := images.Files(images.File{Path: entry, Source: binary.Output})
			if err != nil {
				return err
			}
			list = append(list, images.Image{Name: name, Layers: []v1.Layer{base, layer}, Entrypoint: []string{entry}})
		}
		if err := images.WriteArchive(filepath.Join(out, "base.tar"), list...); err != nil {
			return err
		}
		return errors.Join(os.Remove(filepath.Join(out, "pause")), os.Remove(filepath.Join(out, "coredns")))
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(out, "base.tar"), nil
}

// nodeTools are the programs that a node needs besides Kubernetes, and Debian's
// names of the packages that have them.
var nodeTools = []struct{ program, pkg string }{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"iptables", "iptables"},
	{"nsenter", "util-linux"},
}

// cniDirs are where distributions put the network plug-ins.
var cniDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// missingTools returns the Debian packages that a node lacks on this machine,
// and the directory of the network plug-ins.
func missingTools() (packages []string, cni string) {
	for _, t := range nodeTools {
		if _, err := exec.LookPath(t.program); err != nil && !strings.Contains(strings.Join(packages, " "), t.pkg) {
			packages = append(packages, t.pkg)
		}
	}
	for _, dir := range cniDirs {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return packages, dir
		}
	}
	return append(packages, "containernetworking-plugins"), cniDirs[0]
}
