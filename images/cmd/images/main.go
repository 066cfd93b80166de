// Command images builds the container images of Signet's own binaries into one
// OCI archive, without a container engine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/signet-kafka/signet/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

type options struct {
	root, output, repository, tag, architecture string
	binaries                                    []string
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "images",
		Short:         "Build Signet's container images into one OCI archive",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return build(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.root, "root", "", "directory of Signet's module (default: the parent of this module)")
	f.StringVarP(&o.output, "output", "o", "", "archive to write (default: dist/images/signet.tar below --root)")
	f.StringVar(&o.repository, "repository", "ghcr.io/signet-kafka/signet", "repository prefix of the images")
	f.StringVar(&o.tag, "tag", "dev", "tag of the images, also the version that the binaries report")
	f.StringVar(&o.architecture, "arch", "", "processor architecture (default: this machine's)")
	f.StringSliceVar(&o.binaries, "binaries", []string{"webhook", "controller"}, "directories below cmd/ to build, one image each")
	return c
}

func build(ctx context.Context, out io.Writer, o options) error {
	root, err := moduleRoot(o.root)
	if err != nil {
		return err
	}
	if o.output == "" {
		o.output = filepath.Join(root, "dist", "images", "signet.tar")
	}
	work, err := os.MkdirTemp("", "signet-images-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	base, err := images.Base()
	if err != nil {
		return err
	}
	var list []images.Image
	for _, name := range o.binaries {
		bin := images.GoBinary{Dir: root, Package: "./cmd/" + name, Output: filepath.Join(work, name), Version: o.tag, Architecture: o.architecture}
		if err := bin.Build(ctx); err != nil {
			return err
		}
		layer, err := images.Files(images.File{Path: "/" + name, Source: bin.Output})
		if err != nil {
			return err
		}
		image := images.Image{
			Name:         o.repository + "/" + name + ":" + o.tag,
			Entrypoint:   []string{"/" + name},
			Architecture: o.architecture,
			Labels: map[string]string{
				"org.opencontainers.image.title":    "signet " + name,
				"org.opencontainers.image.version":  o.tag,
				"org.opencontainers.image.source":   "https://github.com/signet-kafka/signet",
				"org.opencontainers.image.licenses": "Apache-2.0",
			},
		}
		image.Layers = append(image.Layers, base, layer)
		list = append(list, image)
	}
	if err := images.WriteArchive(o.output, list...); err != nil {
		return err
	}
	for _, i := range list {
		fmt.Fprintln(out, i.Name)
	}
	_, err = fmt.Fprintln(out, o.output)
	return err
}

// moduleRoot finds the directory that holds cmd/ of Signet's own module: the
// one given, or the nearest above the working directory.
func moduleRoot(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && isRootModule(string(mod)) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no Signet module above the working directory: give --root")
		}
	}
}

func isRootModule(mod string) bool {
	const line = "module github.com/signet-kafka/signet\n"
	return len(mod) >= len(line) && mod[:len(line)] == line
}
