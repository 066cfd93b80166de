// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package convert makes KafkaUsers and KafkaTopics of what others declare: self-service files, and the kinds of Strimzi and
// of Koperator. It is fed by kubectl signet generate and convert.
//
// It chooses the smallest bundle that covers what was granted. What no bundle covers, and what a bundle allows beyond it,
// becomes a note beside the object: nothing is dropped without a word, and nothing is denied or allowed silently.
//
// It is pure: text in, objects and notes out.
package convert
