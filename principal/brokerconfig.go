// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// MappingFileVersion is the version of the format of mapping.json.
const MappingFileVersion = 1

// maxBrokerConfig bounds what goes into one ConfigMap, in bytes; etcd refuses requests above 1.5 MiB and the API server
// ConfigMaps above 1 MiB.
const maxBrokerConfig = 1 << 20

// MappingFile is the content of mapping.json: every subject in force and the principal that it is.
type MappingFile struct {
	// Version of the format: MappingFileVersion.
	Version int `json:"version"`
	// Cluster is the KafkaCluster, namespace/name.
	Cluster string `json:"cluster"`
	// Exact maps certificate subjects (RFC 2253) to principal names, without the type.
	Exact map[string]string `json:"exact"`
	// SPIFFE maps SPIFFE IDs to principal names, without the type.
	SPIFFE map[string]string `json:"spiffe"`
}

// BrokerConfig is what the brokers of one cluster mount.
type BrokerConfig struct {
	// Data of the ConfigMap, by v1alpha1.Key….
	Data map[string]string
	// Generation is a hash of the data; it changes with it.
	Generation string
	// Skipped are subjects in force that a stock broker cannot be told about; mapping.json has them.
	Skipped []string
}

// RenderBrokerConfig renders the broker ConfigMap of a cluster. clientCA (PEM) is what brokers trust for clients. It
// errs where the result is larger than a ConfigMap may be.
func RenderBrokerConfig(cluster *v1alpha1.KafkaCluster, clientCA []byte, entries []Entry) (BrokerConfig, error) {
	file := MappingFile{
		Version: MappingFileVersion,
		Cluster: cluster.Namespace + "/" + cluster.Name,
		Exact:   map[string]string{ControllerSubject(cluster).String(): strings.TrimPrefix(ForController(cluster.Namespace, cluster.Name), TypeUser)},
		SPIFFE:  map[string]string{},
	}
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Subject, b.Subject) })
	for _, e := range entries {
		names := file.Exact
		if e.SPIFFE {
			names = file.SPIFFE
		}
		names[e.Subject] = strings.TrimPrefix(e.Principal, TypeUser)
	}
	mapping, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		return BrokerConfig{}, fmt.Errorf("render mapping.json of kafkacluster %s: %w", file.Cluster, err)
	}
	rules, skipped := StaticRules(cluster, entries)
	config := BrokerConfig{
		Data: map[string]string{
			v1alpha1.KeyClientCA:         string(clientCA),
			v1alpha1.KeyMappingRules:     rules,
			v1alpha1.KeyMappingFile:      string(mapping) + "\n",
			v1alpha1.KeyServerProperties: serverProperties(cluster, rules),
		},
		Skipped: skipped,
	}
	size := 0
	hash := sha256.New()
	for _, key := range []string{v1alpha1.KeyClientCA, v1alpha1.KeyMappingRules, v1alpha1.KeyMappingFile, v1alpha1.KeyServerProperties} {
		size += len(key) + len(config.Data[key])
		fmt.Fprintf(hash, "%s %d\n%s", key, len(config.Data[key]), config.Data[key])
	}
	if size > maxBrokerConfig {
		return BrokerConfig{}, fmt.Errorf("broker configuration of kafkacluster %s has %d bytes, more than the %d of a ConfigMap: remove PrincipalMappings that are not needed any more", file.Cluster, size, maxBrokerConfig)
	}
	config.Generation = hex.EncodeToString(hash.Sum(nil))[:16]
	return config, nil
}

// serverProperties renders the fragment that a broker appends to its server.properties.
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
		b.WriteString(prefix + "ssl.principal.mapping.rules=" + propertyValue(rules) + "\n")
	}
	supers := append([]string{ForController(cluster.Namespace, cluster.Name)}, cluster.Spec.SuperUsers...)
	b.WriteString("super.users=" + propertyValue(strings.Join(supers, ";")) + "\n")
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
