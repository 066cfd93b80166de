// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The values of a decision's result.
const (
	resultMutated   = "mutated"
	resultUnchanged = "unchanged"
	resultRefused   = "refused"
	resultFailed    = "failed"
)

// maxNamespaces is how many namespaces are counted by name, the first ones that have pods; otherNamespaces, which no
// namespace can be called, stands for all further ones.
const (
	maxNamespaces   = 500
	otherNamespaces = "_other"
)

// Decisions counts what the webhooks decide, and how long it takes them. It is a collector for the caller to register.
type Decisions struct {
	decisions *prometheus.CounterVec
	pods      *prometheus.CounterVec
	seconds   *prometheus.HistogramVec

	mu         sync.Mutex
	namespaces map[string]bool
}

var _ prometheus.Collector = &Decisions{}

// NewDecisions returns
//   - the counter signet_admission_decisions_total with the labels webhook (pods, kafkausers, kafkatopics, kafkaclusters,
//     meshissuers, principalmappings), result (mutated, unchanged, refused, failed) and reason (a Reason, or empty),
//   - the counter signet_admission_pods_total with the labels namespace (500 of them, and _other) and result,
//   - the histogram signet_admission_duration_seconds with the label webhook: from the request in memory to the answer.
func NewDecisions() *Decisions {
	return &Decisions{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "signet_admission_decisions_total",
			Help: "Admission decisions by webhook, result and reason.",
		}, []string{"webhook", "result", "reason"}),
		pods: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "signet_admission_pods_total",
			Help: "Admission decisions on pods by namespace and result; namespaces beyond the first 500 are counted as _other.",
		}, []string{"namespace", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "signet_admission_duration_seconds",
			Help:    "Time of this process for an admission decision, by webhook.",
			Buckets: []float64{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1},
		}, []string{"webhook"}),
		namespaces: map[string]bool{},
	}
}

// Describe implements prometheus.Collector.
func (d *Decisions) Describe(to chan<- *prometheus.Desc) {
	d.decisions.Describe(to)
	d.pods.Describe(to)
	d.seconds.Describe(to)
}

// Collect implements prometheus.Collector.
func (d *Decisions) Collect(to chan<- prometheus.Metric) {
	d.decisions.Collect(to)
	d.pods.Collect(to)
	d.seconds.Collect(to)
}

func (d *Decisions) count(webhook, result string, reason Reason) {
	d.decisions.WithLabelValues(webhook, result, string(reason)).Inc()
}

// countPod counts a decision on a pod of the namespace.
func (d *Decisions) countPod(namespace, result string, reason Reason) {
	d.count(webhookPods, result, reason)
	d.pods.WithLabelValues(d.bounded(namespace), result).Inc()
}

func (d *Decisions) bounded(namespace string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.namespaces[namespace] {
		if len(d.namespaces) >= maxNamespaces {
			return otherNamespaces
		}
		d.namespaces[namespace] = true
	}
	return namespace
}

// took records how long a decision took that began then.
func (d *Decisions) took(webhook string, begun time.Time) {
	d.seconds.WithLabelValues(webhook).Observe(time.Since(begun).Seconds())
}
