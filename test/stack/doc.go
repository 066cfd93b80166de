// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package stack brings up what the demo and the end-to-end tests run on: the node of test/cluster with cert-manager,
// istiod and Kafka, Signet's own images, and Signet's own chart, installed by Helm as a user would.
//
// It runs the project's commands (cluster, images, helm, kubectl, kubectl-signet) as processes and knows nothing of
// Signet's insides.
package stack
