// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what the controller knows of each KafkaCluster's access log. Their only label is cluster (namespace/name).
type Metrics struct {
	reached, records, malformed, dropped, principals, denied *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "signet_access_log_" + name, Help: help}, []string{"cluster"})
	}
	m := &Metrics{
		reached:    gauge("current", "1 where the KafkaCluster's access log is read to its end, else 0."),
		records:    gauge("records", "Records of the access log that are held."),
		malformed:  gauge("malformed_records", "Records of the access log that could not be read, since it was opened."),
		dropped:    gauge("dropped_records", "Records of the access log that were too many to hold, since it was opened."),
		principals: gauge("principals", "Principals that the access log knows."),
		denied:     gauge("users_not_ready", "KafkaUsers that would be denied what they did in the last 30 days if they were enforced."),
	}
	for _, collector := range m.all() {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of the access log: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) all() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{m.reached, m.records, m.malformed, m.dropped, m.principals, m.denied}
}

// size shows how much of a cluster's log is held.
func (m *Metrics) size(cluster string, reached bool, s Size) {
	current := 0.0
	if reached {
		current = 1
	}
	m.reached.WithLabelValues(cluster).Set(current)
	m.records.WithLabelValues(cluster).Set(float64(s.Records))
	m.malformed.WithLabelValues(cluster).Set(float64(s.Malformed))
	m.dropped.WithLabelValues(cluster).Set(float64(s.Dropped))
}

// judged shows what a pass over a cluster's users found.
func (m *Metrics) judged(cluster string, principals, notReady int) {
	m.principals.WithLabelValues(cluster).Set(float64(principals))
	m.denied.WithLabelValues(cluster).Set(float64(notReady))
}

// forget removes a cluster.
func (m *Metrics) forget(cluster string) {
	for _, gauge := range m.all() {
		gauge.DeleteLabelValues(cluster)
	}
}
