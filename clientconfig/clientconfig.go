// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package clientconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Values of Kafka's security.protocol (org.apache.kafka.common.security.auth.SecurityProtocol).
const (
	// ProtocolSSL is TLS; the client identifies itself by its certificate.
	ProtocolSSL = "SSL"
	// ProtocolPlaintext is a bare TCP connection that identifies nobody.
	ProtocolPlaintext = "PLAINTEXT"
)

// Client is what a KafkaUser's configuration files are made from.
type Client struct {
	// User and Namespace are those of the KafkaUser; both are DNS labels.
	User, Namespace string
	// Principal is what the broker calls the client: User:<namespace>.<name>.
	Principal string
	// Cluster is the KafkaCluster as namespace/name.
	Cluster string
	// BootstrapServers are host:port pairs, at least one.
	BootstrapServers []string
	// Authentication is that of the listener that BootstrapServers belong to.
	Authentication v1alpha1.ListenerAuthentication
	// Scope is in the names of the files: one of Scopes, ScopeMesh, or "" for the listener of the KafkaUser's own pods, whose files have
	// the plain names.
	Scope v1alpha1.ListenerScope
	// Keystores are the forms in which key and certificate lie in Dir beside PEM.
	Keystores []v1alpha1.KeystoreFormat
	// Dir is the directory of the key, certificate and CA files, as the client sees it. In a pod it is
	// v1alpha1.MountRoot/<user>.
	Dir string
}

// ID is the client.id: <namespace>.<user>, the name part of the principal, so that brokers' logs and metrics by client
// id and by principal agree.
func (c Client) ID() string { return c.Namespace + "." + c.User }

// InvalidError is a value that cannot be written into a client's configuration. Retrying does not help: its source has
// to change.
type InvalidError struct {
	// Field of Client, in the words of its users: "bootstrap server", "directory".
	Field string
	// Value as given.
	Value string
	// Problem says what is wrong with it.
	Problem string
}

// Error names the field, the value and the problem.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("client configuration: %s %.200q %s", e.Field, e.Value, e.Problem)
}

// Scopes are those whose listeners a pod with a certificate has files for, with the scope in their names, beside the plain
// ones. The files of ScopeMesh are for other pods: they lie in the same ConfigMap, and have the plain names there.
func Scopes() []v1alpha1.ListenerScope { return []v1alpha1.ListenerScope{v1alpha1.ScopeExternal} }

// Files returns the names of the configuration files for the listener of a scope, without those of KeystoreFiles.
func Files(scope v1alpha1.ListenerScope) []string {
	return named(scope, v1alpha1.FileJavaProperties, v1alpha1.FileLibrdkafka, v1alpha1.FileJSON)
}

// KeystoreFiles returns the names of the configuration files for the listener of a scope that name these keystores.
func KeystoreFiles(scope v1alpha1.ListenerScope, keystores []v1alpha1.KeystoreFormat) []string {
	files := make([]string, len(keystores))
	for i, format := range keystores {
		files[i] = format.JavaProperties()
	}
	return named(scope, files...)
}

func named(scope v1alpha1.ListenerScope, files ...string) []string {
	for i, file := range files {
		files[i] = v1alpha1.FileForScope(file, scope)
	}
	return files
}

// Render returns the content of the KafkaUser's client ConfigMap that is about one listener, by key: Files and KeystoreFiles
// and, where the client has no Scope, KeyBootstrapServers and KeySecurityProtocol of package v1alpha1, or their like for
// ScopeMesh. Equal clients give equal bytes. The error is an *InvalidError.
//
// No group.id is set although the namespace's group is free: two applications that join one group by default would
// silently share each other's partitions.
func Render(c Client) (map[string]string, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	librdkafka, err := c.librdkafka()
	if err != nil {
		return nil, err
	}
	text, err := c.json()
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		v1alpha1.FileForScope(v1alpha1.FileJavaProperties, c.Scope): c.javaProperties(""),
		v1alpha1.FileForScope(v1alpha1.FileLibrdkafka, c.Scope):     librdkafka,
		v1alpha1.FileForScope(v1alpha1.FileJSON, c.Scope):           text,
	}
	for _, format := range c.Keystores {
		files[v1alpha1.FileForScope(format.JavaProperties(), c.Scope)] = c.javaProperties(format)
	}
	servers, protocol := environmentKeys(c.Scope)
	if servers != "" {
		files[servers], files[protocol] = strings.Join(c.BootstrapServers, ","), c.protocol()
	}
	return files, nil
}

// bootstrapServer is the pattern of KafkaCluster's spec.listeners[].bootstrapServers. A comma would add a server.
var bootstrapServer = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$`)

// maxBootstrapServer is the KafkaCluster's limit on one bootstrap server in bytes.
const maxBootstrapServer = 260

// endsLine tells whether some reader of a text file takes the character for the end of a line: U+2028 and U+2029 are
// no control characters, but Python's str.splitlines breaks at them.
func endsLine(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

func (c Client) validate() error {
	for _, label := range []struct{ field, value string }{{"user", c.User}, {"namespace", c.Namespace}} {
		if problems := validation.IsDNS1123Label(label.value); len(problems) > 0 {
			return &InvalidError{label.field, label.value, "is not a DNS label: " + problems[0]}
		}
	}
	for _, text := range []struct{ field, value string }{{"principal", c.Principal}, {"cluster", c.Cluster}, {"directory", c.Dir}} {
		if !utf8.ValidString(text.value) {
			return &InvalidError{text.field, text.value, "is not UTF-8"}
		}
		if strings.ContainsFunc(text.value, endsLine) {
			return &InvalidError{text.field, text.value, "holds a control character or a line separator, which could end its line"}
		}
	}
	if len(c.BootstrapServers) == 0 {
		return &InvalidError{"bootstrap servers", "", "are missing: the listener has none"}
	}
	for _, server := range c.BootstrapServers {
		if len(server) > maxBootstrapServer || !bootstrapServer.MatchString(server) {
			return &InvalidError{"bootstrap server", server, fmt.Sprintf("is not host:port of at most %d characters", maxBootstrapServer)}
		}
	}
	for _, format := range c.Keystores {
		if !slices.Contains(v1alpha1.KeystoreFormats(), format) {
			return &InvalidError{"keystore", string(format), "is neither PKCS12 nor JKS"}
		}
	}
	if c.Scope != "" && c.Scope != v1alpha1.ScopeMesh && !slices.Contains(Scopes(), c.Scope) {
		return &InvalidError{"scope", string(c.Scope), "has no files of its own"}
	}
	switch inMesh := c.Scope == v1alpha1.ScopeMesh; c.Authentication {
	case v1alpha1.AuthenticationMesh:
		if !inMesh || len(c.Keystores) > 0 {
			return &InvalidError{"authentication", string(c.Authentication), "is for clients of scope Mesh, which have no keystores"}
		}
	case v1alpha1.AuthenticationMTLS, v1alpha1.AuthenticationNone:
		if inMesh {
			return &InvalidError{"authentication", string(c.Authentication), "is not that of scope Mesh"}
		}
	default:
		return &InvalidError{"authentication", string(c.Authentication), "is none of MTLS, Mesh and None"}
	}
	return nil
}

func (c Client) mutualTLS() bool { return c.Authentication == v1alpha1.AuthenticationMTLS }

func (c Client) protocol() string {
	if c.mutualTLS() {
		return ProtocolSSL
	}
	return ProtocolPlaintext
}

func (c Client) file(name string) string { return path.Join(c.Dir, name) }

// trustFile holds the certificates to trust at the listener.
func (c Client) trustFile() string { return c.file(v1alpha1.FileForScope(v1alpha1.FileCA, c.Scope)) }

// header is a comment in both Java's and librdkafka's syntax; it holds validated names only.
func (c Client) header() string {
	return fmt.Sprintf("# Rendered by Signet for KafkaUser %s/%s. Changes made here are lost.\n", c.Namespace, c.User)
}

// document is the schema of FileJSON.
type document struct {
	Cluster          string   `json:"cluster"`
	Principal        string   `json:"principal"`
	ClientID         string   `json:"clientId"`
	BootstrapServers []string `json:"bootstrapServers"`
	SecurityProtocol string   `json:"securityProtocol"`
	CAFile           string   `json:"caFile,omitempty"`
	CertFile         string   `json:"certFile,omitempty"`
	KeyFile          string   `json:"keyFile,omitempty"`
}

func (c Client) json() (string, error) {
	d := document{
		Cluster:          c.Cluster,
		Principal:        c.Principal,
		ClientID:         c.ID(),
		BootstrapServers: c.BootstrapServers,
		SecurityProtocol: c.protocol(),
	}
	if c.mutualTLS() {
		d.CAFile, d.CertFile, d.KeyFile = c.trustFile(), c.file(v1alpha1.FileCertificate), c.file(v1alpha1.FileKey)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(d); err != nil {
		return "", fmt.Errorf("client configuration: %s: %w", v1alpha1.FileJSON, err)
	}
	return text.String(), nil
}
