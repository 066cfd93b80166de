// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package clientconfig

import (
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// javaProperties renders the configuration of org.apache.kafka.clients with key and certificate from a keystore; "" is PEM.
// client.id stays unset: two clients of one JVM that share it collide in JMX (InstanceAlreadyExistsException), and Kafka
// makes a better default of its own.
//
// The trust store is PEM whatever the keystore is, which Kafka allows (KIP-651). The one that cert-manager puts beside its
// keystores holds the CA of the client's own certificate, as it was at the last renewal; whom to trust is the listener's
// affair, and changes in between.
func (c Client) javaProperties(keystore v1alpha1.KeystoreFormat) string {
	var text strings.Builder
	text.WriteString(c.header())
	writeJavaProperty(&text, "bootstrap.servers", strings.Join(c.BootstrapServers, ","))
	writeJavaProperty(&text, "security.protocol", c.protocol())
	if c.mutualTLS() {
		if keystore == "" {
			writeJavaProperty(&text, "ssl.keystore.type", "PEM")
			writeJavaProperty(&text, "ssl.keystore.location", c.file(v1alpha1.FileKeystore))
		} else {
			writeJavaProperty(&text, "ssl.keystore.type", string(keystore))
			writeJavaProperty(&text, "ssl.keystore.location", c.file(keystore.File()))
			// ssl.key.password defaults to it.
			writeJavaProperty(&text, "ssl.keystore.password", v1alpha1.KeystorePassword)
		}
		writeJavaProperty(&text, "ssl.truststore.type", "PEM")
		writeJavaProperty(&text, "ssl.truststore.location", c.trustFile())
		// The default since KIP-294; written out because an empty value would turn the check off.
		writeJavaProperty(&text, "ssl.endpoint.identification.algorithm", "https")
	}
	return text.String()
}

// writeJavaProperty appends key=value such that java.util.Properties.load reads back exactly these two strings,
// whatever they hold. Like Properties.store it leaves nothing but printable ASCII, because load takes an InputStream as
// ISO 8859-1; unlike it, it leaves separators in a value alone, which load allows, so that host:port stays readable to
// the many programs that read such a file without Java's escapes. Both strings are UTF-8.
func writeJavaProperty(text *strings.Builder, key, value string) {
	writeJavaString(text, key, true)
	text.WriteByte('=')
	writeJavaString(text, value, false)
	text.WriteByte('\n')
}

func writeJavaString(text *strings.Builder, s string, key bool) {
	for i, r := range s {
		switch {
		case r == ' ' && (key || i == 0):
			text.WriteString(`\ `)
		case r == '\\', key && strings.ContainsRune("=:#!", r):
			text.WriteByte('\\')
			text.WriteRune(r)
		case r >= ' ' && r <= '~':
			text.WriteRune(r)
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(text, `\u%04x`, unit)
			}
		}
	}
}
