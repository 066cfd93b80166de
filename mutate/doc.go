// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package mutate decides at admission what happens to a pod that declares Kafka access, and whether a KafkaUser may be
// declared, and a PrincipalMapping claimed, as written.
//
// A pod opts in by the annotation kafka.signet.dev/user, by declaring its access itself (package declare), or because a
// KafkaUser's workload means it (Meant). It gets, for each KafkaUser, one projected volume with its key, certificates and
// configuration, mounted in every chosen container, and the environment of the first. The patch only
// adds, keeps every order, and is empty for a pod that already has it all. A wrong declaration is refused in a sentence;
// a KafkaUser that does not exist yet is a warning, because the kubelet waits for its Secret and ConfigMaps. Key and
// certificate come from that Secret, or from the kubelet where the KafkaUser's status says so.
//
// Declared, Mutate and JudgeUser are pure; what a mapping may claim is package principal's decision. Pods, KafkaUsers and
// PrincipalMappings are the admission handlers around them: they read these kinds and KafkaClusters from an informer cache
// and nothing else, so that admission needs no call to the API server and can see no key. They have no side effects, thus treat a dry run as any other request.
package mutate
