// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package clientconfig

import (
	"fmt"
	"strings"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// librdkafkaLine is the longest line in bytes, without its newline, that kcat reads whole: read_conf_file() in kcat.c
// uses fgets with a buffer of 512 and takes the rest of a longer line for a property of its own.
const librdkafkaLine = 510

// librdkafka renders the configuration of librdkafka as kcat -F and the examples of librdkafka read it: one key=value
// in each line, no escapes, blanks around the line trimmed.
func (c Client) librdkafka() (string, error) {
	properties := [][2]string{
		{"bootstrap.servers", c.librdkafkaServers()},
		{"security.protocol", strings.ToLower(c.protocol())},
		{"client.id", c.ID()},
	}
	if c.mutualTLS() {
		properties = append(properties,
			[2]string{"ssl.ca.location", c.trustFile()},
			[2]string{"ssl.certificate.location", c.file(v1alpha1.FileCertificate)},
			[2]string{"ssl.key.location", c.file(v1alpha1.FileKey)},
			[2]string{"ssl.endpoint.identification.algorithm", "https"},
		)
	}
	var text strings.Builder
	text.WriteString(c.header())
	for _, property := range properties {
		key, value := property[0], property[1]
		// A control character is refused before; what is left are the trims and the buffer of the reader.
		if strings.TrimSpace(value) != value {
			return "", &InvalidError{"directory", c.Dir, "begins or ends with a blank, which " + v1alpha1.FileLibrdkafka + " cannot express"}
		}
		line := key + "=" + value
		if len(line) > librdkafkaLine {
			return "", &InvalidError{"directory", c.Dir, fmt.Sprintf("is too long: %s reads lines of at most %d bytes", v1alpha1.FileLibrdkafka, librdkafkaLine)}
		}
		text.WriteString(line + "\n")
	}
	return text.String(), nil
}

// librdkafkaServers joins as many bootstrap servers as one line holds. A client needs one that answers, and learns all
// brokers from it; the other formats list them all.
func (c Client) librdkafkaServers() string {
	const room = librdkafkaLine - len("bootstrap.servers=")
	joined := c.BootstrapServers[0]
	for _, server := range c.BootstrapServers[1:] {
		if len(joined)+len(",")+len(server) > room {
			break
		}
		joined += "," + server
	}
	return joined
}
