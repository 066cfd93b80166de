// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package mutate decides at admission what happens to a pod that declares Kafka access, and whether a KafkaUser, a
// KafkaTopic, a KafkaCluster, a MeshIssuer or a PrincipalMapping may be declared as written.
//
// A pod opts in by the annotation kafka.signet.dev/user, by declaring its access itself (package declare), or because a
// KafkaUser's workload means it (Meant). It gets, for each KafkaUser, one projected volume with its key, certificates and
// configuration, mounted in every chosen container, and the environment of the first. The patch only
// adds, keeps every order, and is empty for a pod that already has it all. A wrong declaration is refused in a sentence;
// a KafkaUser that does not exist yet is a warning, because the kubelet waits for its Secret and ConfigMaps. Key and
// certificate come from that Secret, or from the kubelet where the KafkaUser's status says so.
//
// What the CRDs' own validation can say, it says; the rest is for the functions Judge…: what depends on a KafkaCluster's
// policy, on the ledger, or is too dear for CEL. An update is refused for what it brings in, never for what was there.
// A declaration whose KafkaCluster does not exist, or does not select its namespace, is admitted with a warning.
//
// Declared, Mutate and Judge… are pure; by which rules a declaration is carried out is decided in packages access and
// principal (Rules). Pods and the handlers that New… return are the edge around them: they read KafkaUsers, KafkaClusters,
// PrincipalMappings and the metadata of namespaces from an informer cache and nothing else, so that admission needs no call
// to the API server and can see no key. They have no side effects, thus treat a dry run as any other request.
package mutate
