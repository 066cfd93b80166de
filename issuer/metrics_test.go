// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// series returns name{label="value",...} and the value of every counter and gauge.
func series(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName() + "{" + strings.Join(labels, ",") + "}"
			switch {
			case m.GetCounter() != nil:
				out[name] = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				out[name] = m.GetGauge().GetValue()
			case m.GetHistogram() != nil:
				out[name] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

func expectSeries(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if have, ok := got[name]; !ok || have != value {
			t.Errorf("%s is %v (there: %t), want %v", name, have, ok, value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d series, want %d: %v", len(got), len(want), got)
	}
}

// TestDecisionsAreCounted also holds that an issuer that a requester made up is no label.
func TestDecisionsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("registered twice")
	}
	good, bad, strange := honestPod(t, p256(t)), honestPod(t, p256(t)), honestPod(t, p256(t))
	bad.Request.Name, strange.Request.Name = "req-2", "req-3"
	bad.Request.Spec.ServiceAccountName = "default"
	strange.Request.Spec.SignerName = "kafka.signet.dev/made-up-4711"
	w := newPodWorld(t, good, interceptor.Funcs{}, bad.Request, strange.Request)
	w.controller.Authority.metrics = metrics
	for _, name := range []string{"req-1", "req-2", "req-3", "req-3"} {
		if _, err := w.reconcile(t, name); err != nil {
			t.Fatal(err)
		}
	}
	expectSeries(t, series(t, registry), map[string]float64{
		`signet_certificate_decisions_total{issuer="mesh",kind="PodCertificateRequest",outcome="issued",reason="KafkaUser"}`:                1,
		`signet_certificate_decisions_total{issuer="mesh",kind="PodCertificateRequest",outcome="denied",reason="ServiceAccountNotAllowed"}`: 1,
		`signet_certificate_decisions_total{issuer="unknown",kind="PodCertificateRequest",outcome="pending",reason="IssuerNotFound"}`:       1,
		`signet_certificate_signing_seconds{issuer="mesh"}`:                                                                                 1,
	})
}

func TestExpiry(t *testing.T) {
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: testNow.Add(d)} }
	user := func(name string, c *v1alpha1.CertificateStatus) *v1alpha1.KafkaUser {
		return &v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Status: v1alpha1.KafkaUserStatus{Certificate: c}}
	}
	rotating := &v1alpha1.MeshIssuer{ObjectMeta: metav1.ObjectMeta{Name: "rotating"}, Status: v1alpha1.MeshIssuerStatus{
		CA: &v1alpha1.CAStatus{NotAfter: at(10 * time.Hour)},
		Rotation: &v1alpha1.RotationStatus{
			Next: &v1alpha1.CAStatus{NotAfter: at(100 * time.Hour)}, Trusted: []v1alpha1.CAStatus{{NotAfter: at(90 * time.Hour)}, {NotAfter: at(20 * time.Hour)}, {}},
		},
	}}
	plain := &v1alpha1.MeshIssuer{ObjectMeta: metav1.ObjectMeta{Name: "plain"}}
	cached := fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(
		user("orders", &v1alpha1.CertificateStatus{NotAfter: at(time.Hour)}), user("new", nil), user("odd", &v1alpha1.CertificateStatus{}), rotating, plain,
	).Build()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewExpiry(cached))
	unix := func(d time.Duration) float64 { return float64(testNow.Add(d).Unix()) }
	expectSeries(t, series(t, registry), map[string]float64{
		`signet_certificate_not_after_seconds{kafkauser="orders",namespace="shop"}`: unix(time.Hour),
		`signet_ca_not_after_seconds{meshissuer="rotating",role="signing"}`:         unix(10 * time.Hour),
		`signet_ca_not_after_seconds{meshissuer="rotating",role="next"}`:            unix(100 * time.Hour),
		`signet_ca_not_after_seconds{meshissuer="rotating",role="trusted"}`:         unix(20 * time.Hour),
	})
	// A cache that is not ready makes no metric and no failed scrape.
	down := prometheus.NewPedanticRegistry()
	down.MustRegister(NewExpiry(failingReader{errors.New("the cache is not started")}))
	expectSeries(t, series(t, down), map[string]float64{})
}
