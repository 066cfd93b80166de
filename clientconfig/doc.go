// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package clientconfig decides what a Kafka client's configuration looks like: the files of each client's own format
// (properties of Kafka's Java client, configuration of librdkafka and kcat, JSON), for each listener that it may use, and
// the environment variables of a container.
//
// It is pure: values in, text out. It never reads a key or a certificate, it only names the files that hold them. What
// it cannot write safely in every format it refuses, so that no value can add or change a property.
//
// The certs controller feeds it from a KafkaUser and its KafkaCluster for pods, kubectl-signet for exported
// credentials; package mutate takes the environment from it.
package clientconfig
