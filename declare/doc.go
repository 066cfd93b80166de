// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package declare makes KafkaUsers from what pods declare in their annotations, and from what Kubernetes RBAC lets service
// accounts do with topics.
//
// Whoever writes kafka.signet.dev/consume (produce, admin, consumer-groups) on a pod template needs no KafkaUser: where the
// KafkaCluster's policy allows it, the webhook gives the pod its files and marks it by a label, and the controller of this
// package makes the KafkaUser, which belongs to the pod's Deployment, StatefulSet, Job or whatever made it and goes with it.
// As long as pods with different declarations run, as in a rollout, the KafkaUser has the access of all of them.
//
// Where the KafkaCluster's policy says so, a service account that has the verb consume, produce or administer on kafkatopics gets
// a KafkaUser of its name, which follows the rules and goes with them.
//
// Parse, ClusterOf, Union and FromRBAC decide; Pods and Roles fetch and write.
package declare
