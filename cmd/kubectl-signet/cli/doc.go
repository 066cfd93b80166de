// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is what kubectl signet does: status says what is ready, what is not, and why; export writes the
// credentials of a KafkaUser for a client outside Kubernetes; explain says which principal a certificate is, and what is
// wrong with mapping rules.
//
// summary.go, credentials.go and explanation.go decide, from plain objects and a time; table.go and files.go write what
// was decided; status.go, export.go and explain.go read files, and from the API server with the rights of whoever calls.
//
// The package never writes to the cluster, never prints key material, and never leaves half of a client's files behind.
package cli
