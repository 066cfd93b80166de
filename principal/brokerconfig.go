// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/mapping"
)

// maxBrokerConfig bounds what goes into one ConfigMap, in bytes: the API server refuses ConfigMaps above 1 MiB.
const maxBrokerConfig = 1 << 20

// PrincipalBuilderClass is the class in Signet's jar for brokers.
const PrincipalBuilderClass = "dev.signet.kafka.broker.SignetPrincipalBuilder"

// BrokerConfig is what the brokers of one cluster mount.
type BrokerConfig struct {
	// Data of the ConfigMap, by v1alpha1.Key….
	Data map[string]string
	// Shards are the data of further ConfigMaps, each with one file, where mapping.json is too large for one.
	Shards []map[string]string
	// Skipped are subjects in force that a stock broker cannot be told about; mapping.json has them.
	Skipped []string
}

// minMappingRoom is what mapping.json needs in the ConfigMap even where everything that can be elsewhere is, in bytes:
// its head and the names of its shards.
const minMappingRoom = 4 << 10

// RenderBrokerConfig renders what brokers of a cluster mount. clientCA (PEM) is what they trust for clients; users are
// those whose principals are in force; generation goes into mapping.json and authorization.json. The same entries and
// users in any order give the same result. It errs where the result is larger than the ConfigMaps may be.
func RenderBrokerConfig(cluster *v1alpha1.KafkaCluster, clientCA []byte, entries []Entry, users []Asked, generation int64) (BrokerConfig, error) {
	name := cluster.Namespace + "/" + cluster.Name
	file := mapping.File{
		Cluster: name, Generation: generation, MeshTrustDomain: cluster.Spec.MeshTrustDomain, Unmapped: mapping.Refuse,
		Exact:  map[string]string{ControllerSubject(cluster).String(): strings.TrimPrefix(ForController(cluster.Namespace, cluster.Name), TypeUser)},
		SPIFFE: map[string]string{},
	}
	if cluster.Spec.Policy.Unmapped == v1alpha1.UnmappedExplicit {
		file.Unmapped = mapping.Explicit
	}
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Subject, b.Subject), strings.Compare(a.Principal, b.Principal))
	})
	for _, e := range entries {
		principal := strings.TrimPrefix(e.Principal, TypeUser)
		switch e.Kind {
		case KindExact:
			file.Exact[e.Subject] = principal
		case KindSPIFFE:
			file.SPIFFE[e.Subject] = principal
		case KindPattern:
			file.Patterns = append(file.Patterns, mapping.PatternEntry{Pattern: e.Subject, Principal: principal})
		}
	}
	rules, skipped, err := StaticRules(cluster, entries)
	if err != nil {
		return BrokerConfig{}, err
	}
	config := BrokerConfig{Skipped: skipped, Data: map[string]string{
		v1alpha1.KeyClientCA:               string(clientCA),
		v1alpha1.KeyMappingRules:           rules,
		v1alpha1.KeyServerProperties:       serverProperties(cluster, rules),
		v1alpha1.KeySignetServerProperties: serverProperties(cluster, ""),
	}}
	room := maxBrokerConfig - len(mapping.FileName)
	for key, value := range config.Data {
		room -= len(key) + len(value)
	}
	if room > 0 && cluster.Spec.Authorization != nil {
		text, err := renderAuthorization(cluster, users, generation)
		if err != nil {
			return BrokerConfig{}, err
		}
		config.Data[v1alpha1.KeyAuthorizationFile] = text
		if room -= len(v1alpha1.KeyAuthorizationFile) + len(text); room < minMappingRoom {
			return BrokerConfig{}, fmt.Errorf("%s of kafkacluster %s has %d bytes, more than its ConfigMap (%d bytes) has room for: with many enforced users use authorization.mode %s, in which only exemptions are listed",
				v1alpha1.KeyAuthorizationFile, name, len(text), maxBrokerConfig, v1alpha1.AuthorizationEnforce)
		}
	}
	if room <= 0 {
		return BrokerConfig{}, fmt.Errorf("broker configuration of kafkacluster %s is larger than a ConfigMap (%d bytes): %d bytes of it are ssl.principal.mapping.rules: remove PrincipalMappings of foreign subjects that are not needed any more", name, maxBrokerConfig, len(rules))
	}
	files, err := mapping.Render(file, room)
	if err != nil {
		return BrokerConfig{}, err
	}
	config.Data[v1alpha1.KeyMappingFile] = files[mapping.FileName]
	for i := 1; i < len(files); i++ {
		shard := mapping.ShardName(i)
		config.Shards = append(config.Shards, map[string]string{shard: files[shard]})
	}
	return config, nil
}

// serverProperties renders the fragment that a broker appends to its server.properties: of a stock broker with these
// rules, or, without, of one with Signet's jar.
func serverProperties(cluster *v1alpha1.KafkaCluster, rules string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# For the brokers of KafkaCluster %s/%s. Append it to server.properties; mount this ConfigMap at %s.\n", cluster.Namespace, cluster.Name, v1alpha1.BrokerConfigPath)
	for _, l := range cluster.Spec.Listeners {
		if l.Authentication != v1alpha1.AuthenticationMTLS {
			continue
		}
		prefix := "listener.name." + l.Name + "."
		b.WriteString(prefix + "ssl.client.auth=required\n")
		b.WriteString(prefix + "ssl.truststore.type=PEM\n")
		b.WriteString(prefix + "ssl.truststore.location=" + v1alpha1.BrokerConfigPath + "/" + v1alpha1.KeyClientCA + "\n")
		if rules != "" {
			b.WriteString(prefix + "ssl.principal.mapping.rules=" + propertyValue(rules) + "\n")
			continue
		}
		b.WriteString(prefix + "principal.builder.class=" + PrincipalBuilderClass + "\n")
		b.WriteString(prefix + "signet.mapping.file=" + v1alpha1.BrokerConfigPath + "/" + v1alpha1.KeyMappingFile + "\n")
	}
	if rules == "" && cluster.Spec.Authorization != nil {
		b.WriteString("authorizer.class.name=" + AuthorizerClass + "\n")
		b.WriteString("signet.authorization.file=" + v1alpha1.BrokerConfigPath + "/" + v1alpha1.KeyAuthorizationFile + "\n")
	}
	b.WriteString("super.users=" + propertyValue(strings.Join(superUsers(cluster), ";")) + "\n")
	return b.String()
}

// propertyValue escapes a value for java.util.Properties.load, which reads ISO 8859-1 with \uXXXX for the rest.
func propertyValue(value string) string {
	var b strings.Builder
	for i, c := range value {
		switch {
		case c == '\\' || c == ' ' && i == 0:
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < 0x20 || c > 0x7e:
			for _, unit := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
