// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e proves Signet's stories on a real node: a real API server and kubelet, cert-manager's own controllers,
// istiod's CA, a real Kafka, and Go, Java and librdkafka clients, with Signet installed from its chart.
//
// The tests need root, for the node. One cluster serves them all; each test has namespaces of its own and leaves
// nothing. SIGNET_E2E_CLUSTER=name uses (and keeps) the cluster of that name, which shortens the next run.
package e2e
