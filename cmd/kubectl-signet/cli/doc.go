// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is what kubectl signet does: status says what is ready, what is not, and why; export writes the
// credentials of a KafkaUser for a client outside Kubernetes.
//
// summary.go and credentials.go decide, from plain objects and a time; table.go and files.go write what was decided;
// status.go and export.go read from the API server with the rights of whoever calls, and nothing else.
//
// The package never writes to the cluster, never prints key material, and never leaves half of a client's files behind.
package cli
