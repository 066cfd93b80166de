// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package mapping decides which Kafka principal the peer of a TLS connection is: the file mapping.json, which a broker
// or an Envoy filter reads, and the set of subjects, SPIFFE IDs and patterns in it.
//
// The controller renders the file (Render), and everything that decides at a connection reads it (Parse) and asks it
// (Set.Principal). The broker plug-in in broker/ does the same in Java; test/vectors/mapping holds what both must
// agree on, and mapping.schema.json describes the format to other programs.
//
// The package never guesses: a peer that is in no entry, that has two SPIFFE IDs, or whose subject and SPIFFE ID are
// different principals is refused. It imports nothing of Kubernetes, because it is compiled into the Envoy filter.
package mapping
