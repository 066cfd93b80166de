// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
)

func newGrandfatherCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var file, dir string
	cmd := &cobra.Command{
		Use:   "grandfather CLUSTER (--topics FILE | --dir DIR)",
		Short: "Exempt the topics that exist from the naming rule of admin",
		Long: `A KafkaUser may list a topic under admin if it starts with "<namespace>-", or is exempt. This command takes the topics
that exist, leaves out those that a namespace of the KafkaCluster can declare anyway, those that are exempt already, and
Kafka's own (__*), and writes the rest as a manifest with policy.adminTopicExemptions of the KafkaCluster: read it, delete
what nobody should administer, and apply it. It changes nothing.

The topics come from a file with one name a line, such as kafka-topics.sh --list writes, or from the Kafka itself with
the credentials in a directory that kubectl signet sign or export wrote.

An exemption is for every namespace that the KafkaCluster admits: who may administer which topic is still the KafkaUser's
to declare and, with policy.grants RBAC, Kubernetes' to permit.`,
		Example: `  kafka-topics.sh --bootstrap-server kafka:9092 --list | kubectl signet grandfather kafka -n kafka --topics - > exemptions.yaml
  kubectl apply --server-side --field-manager=grandfather -f exemptions.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, namespace, err := connect(config)
			if err != nil {
				return err
			}
			var topics []string
			switch {
			case (file == "") == (dir == ""):
				return errors.New("say where the topics come from: --topics or --dir")
			case file != "":
				topics, err = topicsOfFile(file, streams.In)
			default:
				topics, err = topicsOfKafka(cmd.Context(), dir)
			}
			if err != nil {
				return err
			}
			return grandfather(cmd.Context(), c, client.ObjectKey{Namespace: namespace, Name: args[0]}, topics, streams)
		},
	}
	cmd.Flags().StringVar(&file, "topics", "", "file with the names of topics, one a line; - for standard input")
	cmd.Flags().StringVar(&dir, "dir", "", "directory with credentials of a client that sees every topic")
	return cmd
}

func grandfather(ctx context.Context, c client.Reader, key client.ObjectKey, topics []string, streams genericiooptions.IOStreams) error {
	var cluster v1alpha1.KafkaCluster
	if err := get(ctx, c, "kafkacluster", key, &cluster); err != nil {
		return explain(err)
	}
	var namespaces corev1.NamespaceList
	if err := c.List(ctx, &namespaces); err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	var admitted []string
	for _, ns := range namespaces.Items {
		ok, err := cluster.Admits(ns.Labels)
		if err != nil {
			return err
		}
		if ok {
			admitted = append(admitted, ns.Name)
		}
	}
	exempt := access.Grandfathered(topics, admitted, cluster.Spec.Policy.AdminTopicExemptions)
	fmt.Fprintf(streams.ErrOut, "%d topics, %d to exempt\n", len(topics), len(exempt))
	if len(exempt) == 0 {
		return nil
	}
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "KafkaCluster",
		"metadata": map[string]any{"name": key.Name, "namespace": key.Namespace},
		"spec":     map[string]any{"policy": map[string]any{"adminTopicExemptions": exempt}},
	})
	if err != nil {
		return err
	}
	_, err = streams.Out.Write(text)
	return err
}

func topicsOfFile(name string, in io.Reader) ([]string, error) {
	text, err := readFileOrInput(name, in)
	if err != nil {
		return nil, err
	}
	var topics []string
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if topic := strings.TrimSpace(lines.Text()); topic != "" {
			topics = append(topics, topic)
		}
	}
	return topics, nil
}

// topicsOfKafka lists the topics that the client sees whose credentials are in the directory.
func topicsOfKafka(ctx context.Context, dir string) ([]string, error) {
	kafka, err := dialKafka(dir)
	if err != nil {
		return nil, err
	}
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	topics, err := kadm.NewClient(kafka).ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	return topics.Names(), nil
}

// dialKafka returns a client with the credentials in a directory that kubectl signet sign or export wrote. Nothing is sent
// before the first request.
func dialKafka(dir string, options ...kgo.Opt) (*kgo.Client, error) {
	var settings struct{ BootstrapServers []string }
	text, err := os.ReadFile(filepath.Join(dir, v1alpha1.FileJSON))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &settings); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, v1alpha1.FileJSON), err)
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, v1alpha1.FileCertificate), filepath.Join(dir, v1alpha1.FileKey))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, v1alpha1.FileCA))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", filepath.Join(dir, v1alpha1.FileCA))
	}
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(settings.BootstrapServers...),
		kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, RootCAs: roots}),
	}, options...)...)
}
