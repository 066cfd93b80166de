// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import "github.com/prometheus/client_golang/prometheus"

// The values of a decision's result.
const (
	resultMutated   = "mutated"
	resultUnchanged = "unchanged"
	resultRefused   = "refused"
	resultFailed    = "failed"
)

// Decisions counts what the webhooks decide. It is a collector for the caller to register.
type Decisions struct{ counter *prometheus.CounterVec }

var _ prometheus.Collector = &Decisions{}

// NewDecisions returns the counter signet_admission_decisions_total with the labels webhook (pods, kafkausers,
// principalmappings), result (mutated, unchanged, refused, failed) and reason (a Reason, or empty).
func NewDecisions() *Decisions {
	return &Decisions{counter: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "signet_admission_decisions_total",
		Help: "Admission decisions by webhook, result and reason.",
	}, []string{"webhook", "result", "reason"})}
}

// Describe implements prometheus.Collector.
func (d *Decisions) Describe(to chan<- *prometheus.Desc) { d.counter.Describe(to) }

// Collect implements prometheus.Collector.
func (d *Decisions) Collect(to chan<- prometheus.Metric) { d.counter.Collect(to) }

func (d *Decisions) count(webhook, result string, reason Reason) {
	d.counter.WithLabelValues(webhook, result, string(reason)).Inc()
}
