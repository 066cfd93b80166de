// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package declare makes KafkaUsers from what pods declare in their annotations.
//
// Whoever writes kafka.signet.dev/consume (produce, admin, consumer-groups) on a pod template needs no KafkaUser: where the
// KafkaCluster's policy allows it, the webhook gives the pod its files and marks it by a label, and the controller of this
// package makes the KafkaUser, which belongs to the pod's Deployment, StatefulSet, Job or whatever made it and goes with it.
// As long as pods with different declarations run, as in a rollout, the KafkaUser has the access of all of them.
//
// Parse, ClusterOf and Union decide; Pods fetches and writes.
package declare
