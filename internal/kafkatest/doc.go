// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package kafkatest starts real Kafka brokers for tests, and makes the certificates of brokers and clients. It needs a
// JDK on the PATH and, in SIGNET_KAFKA_LIBS, the directory with the jars of a Kafka of version 4 or later; test/run
// provides both, and test/bench. It is imported by these only.
package kafkatest
