// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 defines the kinds of the API group kafka.signet.dev: KafkaCluster, KafkaUser, KafkaTopic,
// PrincipalMapping and MeshIssuer, the annotations that opt a pod in, and the deterministic names of what Signet makes
// for a KafkaUser.
//
// The doc comments of the fields are what `kubectl explain` prints. Rules that one object can be judged by alone are
// CEL expressions in the CRDs; rules that need other objects live in the packages that decide them.
//
// +kubebuilder:object:generate=true
// +groupName=kafka.signet.dev
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package="../applyconfiguration"
package v1alpha1
