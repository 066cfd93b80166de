package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/signet-kafka/signet/test/cluster/cache"
)

// builtCommands print the paths of what tests run without a cluster, making it first if there is none in the cache.
func builtCommands(out io.Writer, p *progress) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range []struct {
		use, short string
		build      func(builder, context.Context) (string, error)
	}{
		{"kafka-libs", "Print the directory with Kafka's jars", builder.kafkaJars},
		{"streams-libs", "Print the directory with the jars of Kafka Streams", builder.streamsJars},
		{"envoy", "Print the path of a stock Envoy", builder.envoy},
		{"step-ca", "Print the path of smallstep's step-ca", builder.stepCA},
	} {
		all = append(all, &cobra.Command{
			Use: c.use, Short: c.short, Hidden: true, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				dir, err := cache.DefaultDir()
				if err != nil {
					return err
				}
				source, err := sourceDir()
				if err != nil {
					return err
				}
				path, err := c.build(builder{cache: cache.New(dir, p.Printf), source: source, report: p.Printf}, cmd.Context())
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(out, path)
				return err
			},
		})
	}
	return all
}

// stepCA compiles step-ca.
func (b builder) stepCA(ctx context.Context) (string, error) {
	return b.binary(ctx, "step-ca", filepath.Join(b.source, "..", "stepca"))
}
