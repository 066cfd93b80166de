// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Metrics count the decisions of a RegistrationAuthority.
type Metrics struct {
	decisions *prometheus.CounterVec
	signing   *prometheus.HistogramVec
}

// NewMetrics registers signet_certificate_decisions_total and signet_certificate_signing_seconds. It errs where one is
// registered already.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "signet_certificate_decisions_total",
			Help: "Decisions on requests for certificates, by MeshIssuer, kind of request, outcome (issued, denied, pending, retry) and reason.",
		}, []string{"issuer", "kind", "outcome", "reason"}),
		signing: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "signet_certificate_signing_seconds",
			Help:    "Time that the CA of a MeshIssuer took to sign a certificate.",
			Buckets: []float64{0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1, 5, 20},
		}, []string{"issuer"}),
	}
	for _, c := range []prometheus.Collector{m.decisions, m.signing} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) decided(issuer, kind string, outcome Outcome, reason string) {
	m.decisions.WithLabelValues(issuer, kind, string(outcome), reason).Inc()
}

func (m *Metrics) signed(issuer string, took time.Duration) {
	m.signing.WithLabelValues(issuer).Observe(took.Seconds())
}

// Expiry is a prometheus.Collector of when certificates expire, in seconds since 1970:
// signet_certificate_not_after_seconds of each KafkaUser that has one by Secret, and signet_ca_not_after_seconds of each
// MeshIssuer by role: signing, next (being distributed) and trusted (the first of the roots to expire).
type Expiry struct {
	cached   client.Reader
	user, ca *prometheus.Desc
}

// NewExpiry returns an Expiry that reads from a cache at each scrape; it writes nothing where that is not ready.
func NewExpiry(cached client.Reader) *Expiry {
	return &Expiry{
		cached: cached,
		user:   prometheus.NewDesc("signet_certificate_not_after_seconds", "When the certificate of a KafkaUser expires, in seconds since 1970.", []string{"namespace", "kafkauser"}, nil),
		ca:     prometheus.NewDesc("signet_ca_not_after_seconds", "When a CA certificate of a MeshIssuer expires, in seconds since 1970, by role: signing, next, trusted (the first to expire).", []string{"meshissuer", "role"}, nil),
	}
}

// scrapeTimeout bounds the wait for a cache that is not ready.
const scrapeTimeout = time.Second

// Describe is prometheus.Collector's.
func (e *Expiry) Describe(descs chan<- *prometheus.Desc) {
	descs <- e.user
	descs <- e.ca
}

// Collect is prometheus.Collector's.
func (e *Expiry) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(desc *prometheus.Desc, at time.Time, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(at.Unix()), labels...)
	}
	var users v1alpha1.KafkaUserList
	if err := e.cached.List(ctx, &users, client.UnsafeDisableDeepCopy); err == nil {
		for i := range users.Items {
			if u := &users.Items[i]; u.Status.Certificate != nil && u.Status.Certificate.NotAfter != nil {
				gauge(e.user, u.Status.Certificate.NotAfter.Time, u.Namespace, u.Name)
			}
		}
	}
	var issuers v1alpha1.MeshIssuerList
	if err := e.cached.List(ctx, &issuers, client.UnsafeDisableDeepCopy); err == nil {
		for i := range issuers.Items {
			for role, at := range caExpiry(&issuers.Items[i].Status) {
				gauge(e.ca, at, issuers.Items[i].Name, role)
			}
		}
	}
}

func caExpiry(status *v1alpha1.MeshIssuerStatus) map[string]time.Time {
	out := map[string]time.Time{}
	add := func(role string, ca *v1alpha1.CAStatus) {
		if ca == nil || ca.NotAfter == nil {
			return
		}
		if have, ok := out[role]; !ok || ca.NotAfter.Time.Before(have) {
			out[role] = ca.NotAfter.Time
		}
	}
	add("signing", status.CA)
	if r := status.Rotation; r != nil {
		add("next", r.Next)
		for i := range r.Trusted {
			add("trusted", &r.Trusted[i])
		}
	}
	return out
}
