// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package principal decides who a client is to Kafka: which certificate subject and SPIFFE ID a KafkaUser has, which
// Kafka principal they are, and what a broker must be told to come to the same answer.
//
// The files subject.go, identity.go, rules.go, ledger.go, authorization.go and brokerconfig.go are pure: plain values in, plain values
// out. users.go and clusters.go are the controllers that fetch, call them and write: one PrincipalMapping for each
// KafkaUser, and one ConfigMap for the brokers of each KafkaCluster.
//
// The package never reads a key, never looks at a certificate request, and never gives one subject two principals: the
// first claim to a subject or a principal wins, every later one is refused with the holder's name.
package principal
