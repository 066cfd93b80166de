// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package regular decides questions about regular languages and about the functions that a regular expression and an
// output template make of them: do two patterns overlap, is one covered by others, can two subjects get one principal.
//
// Every answer is exact and, where there is one, comes with a witness; nothing is sampled. A question that would take
// more than a stated bound of work is an error, never a guess. A Language is the set of whole strings that an
// expression matches, over Unicode scalar values; a Function maps each of them to its filled-in template.
//
// The package never sees a certificate, a Kafka rule or Java's syntax: package pattern turns those into expressions of
// package regexp/syntax, and its callers turn witnesses into sentences. It keeps no state and has no dependencies.
package regular
