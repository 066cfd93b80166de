// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is what kubectl signet does: status says what is ready, what is not, and why; sign has a certificate of a
// KafkaUser signed for a client outside Kubernetes, whose key stays there, and renew keeps it current; export writes the
// credentials that the user's pods have; explain says which principal a certificate is, and what is wrong with mapping
// rules; generate and convert make manifests of what others declare; diff shows which ACLs an apply would change, and
// grandfather which topics to exempt. consumers, producers, access and naming say who was seen to use what, suggest makes
// KafkaUsers of it, preflight says what would be denied if it were enforced, and enforce does that.
//
// summary.go, credentials.go, signing.go, renewal.go and explanation.go decide, from plain objects and a time (and so do the
// packages convert, access and observe for the others); table.go, files.go and directory.go write what was decided; status.go,
// sign.go, renew.go, export.go, explain.go, convert.go, diff.go, grandfather.go, observed.go, suggest.go and preflight.go read
// files, and from the API server and Kafka with the rights of whoever calls.
//
// The package writes nothing to the cluster but CertificateSigningRequests and what enforce sets (diff asks by a dry run), never sends or prints key material, and
// never leaves half of a client's files behind.
package cli
