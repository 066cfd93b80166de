package images

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// GoBinary says how a static Go binary is built.
type GoBinary struct {
	// Dir is the directory of the Go module.
	Dir string
	// Package is the package to build, for example "./cmd/webhook".
	Package string
	// Output is the file to write.
	Output string
	// Version is stored in the variable main.version; empty leaves it alone.
	Version string
	// Architecture is GOARCH; empty means this machine's.
	Architecture string
	// Tags are build tags.
	Tags []string
}

// Build compiles the binary without cgo, paths, symbol table or build time, so
// that it runs in an image that holds nothing else and is the same wherever it
// is built. The error holds the compiler's output.
func (b GoBinary) Build(ctx context.Context) error {
	output, err := filepath.Abs(b.Output)
	if err != nil {
		return fmt.Errorf("build %s: %w", b.Package, err)
	}
	ldflags := "-s -w"
	if b.Version != "" {
		ldflags += " -X main.version=" + b.Version
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", output}
	if len(b.Tags) > 0 {
		args = append(args, "-tags", strings.Join(b.Tags, ","))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, b.Package)...)
	cmd.Dir = b.Dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if b.Architecture != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+b.Architecture)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", b.Package, err, out)
	}
	return nil
}
