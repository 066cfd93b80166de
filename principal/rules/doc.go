// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package rules reads, evaluates and writes Kafka's ssl.principal.mapping.rules (KIP-371) exactly as the class
// org.apache.kafka.common.security.ssl.SslPrincipalMapper of Kafka 4.3 does, surprises included.
//
// It decides which principal a broker gives to the subject of a certificate, and whether a text is fit to be given to a
// broker at all. What Kafka would refuse is a [SyntaxError]; what Kafka would silently drop or misread is a
// [DroppedError]; a rule whose every use would throw is a [ReplacementError]; Java-only regular expressions are refused
// by package pattern. Where the answer cannot be known without the broker's JVM it is an [UnpredictableError].
//
// It never guesses, never approximates and never looks at a certificate: package principal prints the subject.
// A differential test (build tag kafka) compares it with Kafka's own class in a JVM.
package rules
