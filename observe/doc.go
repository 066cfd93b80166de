// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package observe turns what brokers recorded of their clients into who uses what, what enforcing would break, and which
// KafkaUsers would cover it.
//
// Brokers with Signet's authorizer keep one record for each combination of node, principal, client id, resource,
// operation and result in the compacted topic __signet_access. DecodeRecord reads one, Graph sums them up, WouldBeDenied
// compares them with ACLs, Suggest makes a KafkaUser's lists of them, Naming reports names that follow no convention, and
// Judge sums a KafkaUser up for its status: all of these are plain functions on plain values. Follow reads the topic, as
// many readers as there are, each from its beginning: there is no other state. Controller follows it for each KafkaCluster
// with authorization and writes what is for a KafkaUser's status.
//
// The package never changes an ACL or a KafkaUser's declaration, and never believes a record: what is malformed is counted
// and passed over, and what would be too much to hold is dropped and counted.
package observe
