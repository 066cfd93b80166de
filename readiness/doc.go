// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package readiness sums up. It decides the Ready condition of KafkaUsers and KafkaClusters from the conditions that
// the other controllers wrote, each of which owns its part of the status. It looks at nothing else and writes nothing
// else.
package readiness
