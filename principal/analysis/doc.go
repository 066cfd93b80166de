// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package analysis finds what is wrong with a list of Kafka's ssl.principal.mapping.rules before a broker uses it: a
// rule that nothing reaches, two rules that give one subject different principals, two subjects that get one principal,
// a rule that takes every certificate. Where a subject shows it, the finding has one.
//
// It decides exactly, by the automata of package regular, and never by trying subjects; what it cannot decide, or not
// within its bounds, is a finding of its own kind. Subjects are any text: it does not know which of them a CA issues, or
// how distinguished names are written.
//
// It is fed by package rules and knows nothing of Kubernetes.
package analysis
