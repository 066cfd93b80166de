// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package verify shows what the name constraints of Signet's intermediate CA are worth. Its tests sign, with the key of an
// intermediate that certs.NewIntermediate made, what a thief of that key would sign, and hand it to the verifiers that
// clients, brokers and sidecars use: Go's crypto/x509, OpenSSL, Java's trust manager and Envoy (BoringSSL). What each says
// is testdata/table.md, which docs/security.md shows.
//
// The Go column is checked by every run of the tests, the others with the build tag verifiers: they need openssl, a JDK and
// the path of an Envoy in SIGNET_ENVOY (go run . envoy, in test/cluster, prints one).
package verify
