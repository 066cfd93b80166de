// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/convert"
)

func newGenerateCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	return newConversion(config, streams, conversion{
		use:   "generate -f FILE --cluster [NAMESPACE/]NAME",
		short: "Make KafkaUsers of a self-service file",
		long: `Reads a self-service file, in which each document declares one service by the fields name, consume, produce, admin
and consumerGroups, and writes a KafkaUser for each, in the namespace of -n or of the current context. It talks to no
cluster. A field that it does not know is an error.`,
		example: "  kubectl signet generate -n shop --cluster kafka/kafka -f self-service.yaml | kubectl apply -f -",
		convert: convert.SelfService,
	})
}

func newConvertCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	return newConversion(config, streams, conversion{
		use:   "convert -f FILE",
		short: "Make KafkaUsers and KafkaTopics of Strimzi's or Koperator's",
		long: `Reads manifests of KafkaUsers and KafkaTopics of kafka.strimzi.io or kafka.banzaicloud.io and writes those of Signet
that allow the same, by the smallest lists that cover it. What cannot be carried over, and what a list allows beyond
what was granted, is in comments beside the object. It talks to no cluster.

An object stays in its namespace, unless -n says another: Strimzi's are beside the Kafka, Signet's KafkaUsers belong
beside the pods. Its KafkaCluster is that of the source, unless --cluster says another.

Exit code: 0 when every object was converted, 1 when one was not (the error stream says which), 2 when the file cannot
be read.`,
		example: `  kubectl get kafkausers.kafka.strimzi.io -n kafka -o yaml | kubectl signet convert -n shop --cluster kafka/kafka -f - > users.yaml`,
		convert: convert.Manifests,
	})
}

// conversion is a command that turns a file into manifests.
type conversion struct {
	use, short, long, example string
	convert                   func([]byte, convert.Target) ([]convert.Converted, error)
}

func newConversion(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, c conversion) *cobra.Command {
	var file, cluster string
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, Example: c.example, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			namespace, override, err := config.ToRawKubeConfigLoader().Namespace()
			if err != nil {
				return fmt.Errorf("read kubeconfig: %w", err)
			}
			target := convert.Target{Namespace: namespace, Override: override}
			if target.Cluster, err = clusterFlag(cluster); err != nil {
				return err
			}
			text, err := readFileOrInput(file, streams.In)
			if err != nil {
				return err
			}
			all, err := c.convert(text, target)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if err := convert.WriteYAML(streams.Out, all); err != nil {
				return err
			}
			complete := true
			for _, one := range all {
				if one.Object == nil {
					complete = false
					fmt.Fprintf(streams.ErrOut, "not converted: %s: %s\n", printable(one.Source), printable(strings.Join(one.Notes, "; ")))
				}
			}
			if !complete {
				return errNotReady
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "file to read; - for standard input")
	cmd.Flags().StringVar(&cluster, "cluster", "", "KafkaCluster of the objects: [<namespace>/]<name>")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

// clusterFlag reads the value of --cluster, [<namespace>/]<name>; "" is none.
func clusterFlag(text string) (v1alpha1.ClusterReference, error) {
	reference, ok := v1alpha1.ParseClusterReference(text)
	if !ok && text != "" {
		return v1alpha1.ClusterReference{}, fmt.Errorf("--cluster %q is neither <name> nor <namespace>/<name> of a KafkaCluster", text)
	}
	return reference, nil
}

// readFileOrInput reads a file, or standard input where the name is -.
func readFileOrInput(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		return readFile(name)
	}
	text, err := readAll(in)
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return text, nil
}
