// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/analysis"
	"github.com/signet-kafka/signet/principal/mapping"
	"github.com/signet-kafka/signet/principal/rules"
	"github.com/signet-kafka/signet/principal/subject"
)

// maxInput bounds a file that is explained, in bytes.
const maxInput = 4 << 20

func newExplainCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var cluster, rulesFile, mappingFile string
	cmd := &cobra.Command{
		Use:   "explain [SUBJECT | CERTIFICATE.pem | SPIFFE-ID | -]",
		Short: "Show which Kafka principal a certificate is, why, and what is wrong with mapping rules",
		Long: `Shows which Kafka principal a certificate subject, a certificate in PEM (- is standard input) or a SPIFFE ID is:
for brokers with Signet's principal builder and for stock brokers, by which entry or rule, and which others it shadows.

It asks the KafkaClusters of this Kubernetes (--cluster names one), or files: --rules takes ssl.principal.mapping.rules,
by themselves or in a server.properties, of any Kafka; --mapping takes a mapping.json. With --rules the rules are also
analysed: rules that are never reached, subjects that two rules give different principals, principals that two subjects
share, each with a subject that shows it. Without a subject that is all that is done. '' is the empty subject.

Exit code: 0 when there is a principal (or, without a subject, nothing to complain about), 1 when there is none (or
there are findings), 2 when it could not be found out.`,
		Example: `  kubectl signet explain 'CN=orders,OU=shop,O=signet'
  kubectl signet explain client.pem --cluster kafka/kafka
  kubectl signet explain spiffe://cluster.local/ns/shop/sa/orders
  kubectl signet explain 'CN=a,O=Acme' --rules server.properties`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && rulesFile == "" {
				return errors.New("name a subject, a certificate or a SPIFFE ID; or analyse rules with --rules FILE")
			}
			var peer Peer
			if len(args) == 1 {
				var err error
				if peer, err = readPeer(args[0], streams.In); err != nil {
					return err
				}
			}
			sources, err := fileSources(rulesFile, mappingFile)
			if err != nil {
				return err
			}
			if len(sources) == 0 {
				c, namespace, err := connect(config)
				if err != nil {
					return err
				}
				if sources, err = clusterSources(cmd.Context(), c, namespace, cluster); err != nil {
					return explain(err)
				}
			}
			fine := true
			if len(args) == 1 {
				explanation := Explain(peer, sources)
				if err := WriteExplanation(streams.Out, explanation); err != nil {
					return err
				}
				if fine = explanation.Mapped(); !fine && slices.ContainsFunc(sources, func(s Source) bool { return s.Unreadable != nil }) {
					return errors.New("nobody who could be asked knows the client, and not everybody could be asked")
				}
			}
			for _, s := range sources {
				if rulesFile == "" || !s.HasRules {
					continue
				}
				findings := analysis.Rules(s.Rules)
				if len(args) == 1 {
					fmt.Fprintln(streams.Out)
				} else if len(findings) > 0 {
					fine = false
				}
				if err := WriteFindings(streams.Out, s.Name, s.Rules, findings); err != nil {
					return err
				}
			}
			if !fine {
				return errNotReady
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster", "", "the KafkaCluster to ask, name or namespace/name; default: every one")
	cmd.Flags().StringVar(&rulesFile, "rules", "", "file with ssl.principal.mapping.rules, or a server.properties that has them")
	cmd.Flags().StringVar(&mappingFile, "mapping", "", "a mapping.json, with its shards beside it")
	cmd.MarkFlagsMutuallyExclusive("cluster", "rules")
	cmd.MarkFlagsMutuallyExclusive("cluster", "mapping")
	return cmd
}

// readPeer reads what the argument says, or the file that it names.
func readPeer(argument string, in io.Reader) (Peer, error) {
	if argument == "" {
		return Peer{}, nil // the empty subject, which most certificates of a mesh have
	}
	if strings.HasPrefix(strings.ToLower(argument), "spiffe://") {
		return Peer{URIs: []string{argument}}, nil
	}
	if argument == "-" {
		text, err := readAll(in)
		if err != nil {
			return Peer{}, fmt.Errorf("read standard input: %w", err)
		}
		return readCertificate("standard input", text)
	}
	if !strings.Contains(argument, "=") || isFile(argument) {
		text, err := readFile(argument)
		if errors.Is(err, os.ErrNotExist) {
			return Peer{}, fmt.Errorf("%q is no subject (CN=…), no SPIFFE ID (spiffe://…), and no file of that name exists", argument)
		} else if err != nil {
			return Peer{}, err
		}
		return readCertificate(argument, text)
	}
	name, err := subject.ParseText(argument)
	if err != nil {
		return Peer{}, err
	}
	peer := Peer{Subject: name.String()}
	if peer.Subject != argument {
		peer.Typed = argument
	}
	return peer, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

// readCertificate reads the first certificate, which is the leaf, of PEM text.
func readCertificate(name string, text []byte) (Peer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return Peer{}, fmt.Errorf("%s: the first certificate is malformed: %w", name, err)
		}
		parsed, err := subject.Parse(leaf.RawSubject)
		if err != nil {
			return Peer{}, fmt.Errorf("%s: subject of the first certificate: %w", name, err)
		}
		peer := Peer{Subject: parsed.String(), DER: leaf.RawSubject}
		if peer.URIs, err = urisOf(leaf); err != nil {
			return Peer{}, fmt.Errorf("%s: subject alternative names of the first certificate: %w", name, err)
		}
		return peer, nil
	}
	return Peer{}, fmt.Errorf("%s has no certificate in PEM", name)
}

// urisOf returns the URIs among a certificate's subject alternative names (RFC 5280, section 4.2.1.6) as they stand in it:
// brokers compare octets, and url.URL would write some of them anew.
func urisOf(leaf *x509.Certificate) ([]string, error) {
	var uris []string
	for _, extension := range leaf.Extensions {
		if !extension.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		input := cryptobyte.String(extension.Value)
		var names cryptobyte.String
		if !input.ReadASN1(&names, cryptobyte_asn1.SEQUENCE) || !input.Empty() {
			return nil, errors.New("malformed")
		}
		for !names.Empty() {
			var content cryptobyte.String
			var tag cryptobyte_asn1.Tag
			if !names.ReadAnyASN1(&content, &tag) {
				return nil, errors.New("malformed")
			}
			if tag == cryptobyte_asn1.Tag(6).ContextSpecific() {
				uris = append(uris, string(content))
			}
		}
	}
	return uris, nil
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := readAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

func readAll(in io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(text) > maxInput {
		err = fmt.Errorf("more than %d bytes", maxInput)
	}
	return text, err
}

// fileSources reads the files that the flags name.
func fileSources(rulesFile, mappingFile string) ([]Source, error) {
	var sources []Source
	if mappingFile != "" {
		text, err := readFile(mappingFile)
		if err != nil {
			return nil, err
		}
		set, err := mapping.Parse(text, func(shard string) ([]byte, error) {
			return readFile(filepath.Join(filepath.Dir(mappingFile), shard))
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", mappingFile, err)
		}
		sources = append(sources, Source{Name: mappingFile, Set: set})
	}
	if rulesFile != "" {
		text, err := readFile(rulesFile)
		if err != nil {
			return nil, err
		}
		lists, err := rulesIn(rulesFile, string(text))
		if err != nil {
			return nil, err
		}
		sources = append(sources, lists...)
	}
	return sources, nil
}

// rulesIn returns each ssl.principal.mapping.rules of a server.properties, or the text itself as rules.
func rulesIn(name, text string) ([]Source, error) {
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "RULE:") || strings.HasPrefix(trimmed, "DEFAULT") {
		list, err := rules.Parse(trimmed)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return []Source{{Name: name, Rules: list, HasRules: true}}, nil
	}
	found, err := parseProperties([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s is neither mapping rules nor a properties file: %w", name, err)
	}
	var sources []Source
	for _, key := range slices.Sorted(maps.Keys(found)) {
		switch {
		case !strings.HasSuffix(key, rulesProperty):
			continue
		case !readByKafka.MatchString(key):
			return nil, fmt.Errorf("%s: Kafka ignores %s: write %s, or listener.name.<listener in lower case>.%s", name, key, rulesProperty, rulesProperty)
		}
		list, err := rules.Parse(found[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, key, err)
		}
		sources = append(sources, Source{Name: key, Rules: list, HasRules: true})
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("%s has neither mapping rules (RULE:… or DEFAULT) nor a property %s, without which Kafka takes DEFAULT: the subject is the principal", name, rulesProperty)
	}
	return sources, nil
}

const rulesProperty = "ssl.principal.mapping.rules"

// readByKafka are the names under which brokers look for rules: for all listeners, or for one (ListenerName.configPrefix
// is in lower case).
var readByKafka = regexp.MustCompile(`^(listener\.name\.[^.A-Z]+\.)?ssl\.principal\.mapping\.rules$`)

// clusterSources reads what the brokers of KafkaClusters mount, with the caller's rights: of the one that is named, in
// this namespace if it does not name another, or of all. Of all, those that cannot be read say why, unless none can.
func clusterSources(ctx context.Context, c client.Reader, namespace, name string) ([]Source, error) {
	var clusters v1alpha1.KafkaClusterList
	if name == "" {
		if err := c.List(ctx, &clusters); err != nil {
			return nil, fmt.Errorf("list kafkaclusters: %w", err)
		}
		if len(clusters.Items) == 0 {
			return nil, errors.New("there is no KafkaCluster: ask about files with --rules or --mapping")
		}
	} else {
		key := client.ObjectKey{Namespace: namespace, Name: name}
		if before, after, found := strings.Cut(name, "/"); found {
			key = client.ObjectKey{Namespace: before, Name: after}
		}
		var cluster v1alpha1.KafkaCluster
		if err := get(ctx, c, "kafkacluster", key, &cluster); err != nil {
			return nil, err
		}
		clusters.Items = append(clusters.Items, cluster)
	}
	var sources []Source
	var failed []error
	for i := range clusters.Items {
		source, err := clusterSource(ctx, c, &clusters.Items[i])
		if err != nil {
			failed = append(failed, err)
			source = Source{Name: clusters.Items[i].Namespace + "/" + clusters.Items[i].Name, Unreadable: err}
		}
		sources = append(sources, source)
	}
	if len(failed) == len(sources) {
		return nil, errors.Join(failed...)
	}
	return sources, nil
}

func clusterSource(ctx context.Context, c client.Reader, cluster *v1alpha1.KafkaCluster) (Source, error) {
	source := Source{Name: cluster.Namespace + "/" + cluster.Name, HasRules: true}
	var config corev1.ConfigMap
	if err := get(ctx, c, "configmap", client.ObjectKey{Namespace: cluster.Namespace, Name: v1alpha1.BrokerConfigName(cluster.Name)}, &config); err != nil {
		return Source{}, fmt.Errorf("broker configuration of kafkacluster %s: %w", source.Name, err)
	}
	var err error
	if source.Rules, err = rules.Parse(config.Data[v1alpha1.KeyMappingRules]); err != nil {
		return Source{}, fmt.Errorf("configmap %s/%s: %s: %w", config.Namespace, config.Name, v1alpha1.KeyMappingRules, err)
	}
	source.Set, err = mapping.Parse([]byte(config.Data[v1alpha1.KeyMappingFile]), func(shard string) ([]byte, error) {
		number := strings.TrimSuffix(strings.TrimPrefix(shard, "mapping-"), ".json")
		var part corev1.ConfigMap
		err := get(ctx, c, "configmap", client.ObjectKey{Namespace: config.Namespace, Name: config.Name + "-" + number}, &part)
		return []byte(part.Data[shard]), err
	})
	if err != nil {
		return Source{}, fmt.Errorf("configmap %s/%s: %w", config.Namespace, config.Name, err)
	}
	var mappings v1alpha1.PrincipalMappingList
	if err := c.List(ctx, &mappings, client.InNamespace(cluster.Namespace)); err == nil {
		source.Mappings = slices.DeleteFunc(mappings.Items, func(m v1alpha1.PrincipalMapping) bool { return m.Spec.Cluster != cluster.Name })
	} else if !apierrors.IsForbidden(err) {
		return Source{}, fmt.Errorf("list principalmappings: %w", err)
	}
	return source, nil
}
