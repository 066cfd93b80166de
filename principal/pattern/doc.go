// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package pattern reads the subset of Java's regular expressions (java.util.regex.Pattern, no flags) whose meaning it
// can give exactly, and matches it with Go's linear-time regexp package.
//
// It decides whether a pattern means the same in both languages. What Java would refuse is a [SyntaxError]; what Java
// takes and this package does not is an [UnsupportedError] that names the construct: look-around, back-references,
// possessive quantifiers, flags, Unicode properties, and whatever the two languages could disagree on. Nothing is ever
// approximated.
//
// It never runs a pattern by backtracking, holds no state beside compiled patterns, and is fed by package rules (Kafka's
// ssl.principal.mapping.rules) and by the patterns of mapping.json.
package pattern
