// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// TestServingLife takes the steps of the plan through 25 years and checks at each of them that whoever trusts the
// announced bundle reaches a webhook that serves the stored certificate, or that of up to five minutes ago, which the
// kubelet may still show to a pod; and that the API server, which may know only the bundle of a minute ago, does too.
func TestServingLife(t *testing.T) {
	names := []string{"signet-webhook.signet-system.svc"}
	now := testNow
	type dated[T any] struct {
		at    time.Time
		value T
	}
	var bundles []dated[[]*x509.Certificate]
	var leaves []dated[*x509.Certificate]
	var state Serving
	announced := map[string]bool{}
	counts := map[string]int{}
	for step := 0; now.Before(testNow.AddDate(25, 0, 0)); step++ {
		if step > 5000 {
			t.Fatal("the plan does not settle")
		}
		state.Announced = announced[string(EncodeCertificates(state.Trusted))]
		plan := PlanServing(state, names, now)
		switch {
		case plan.NewCA:
			counts["CA"]++
			c, key, err := newServingCA(now)
			if err != nil {
				t.Fatal(err)
			}
			state.Trusted = state.trustedWith(c)
			state.CA = &CA{Certificate: c, Key: key, Roots: []*x509.Certificate{c}}
			continue
		case plan.DropOldCA:
			counts["drop"]++
			state.Trusted = []*x509.Certificate{state.CA.Certificate}
			continue
		}
		if plan.Announce {
			announced = map[string]bool{string(EncodeCertificates(state.Trusted)): true}
			bundles = append(bundles, dated[[]*x509.Certificate]{now, state.Trusted})
		}
		if plan.NewLeaf {
			counts["leaf"]++
			leaf, _, err := newServingLeaf(state.CA, names, now)
			if err != nil {
				t.Fatal(err)
			}
			state.Leaf = leaf
			leaves = append(leaves, dated[*x509.Certificate]{now, leaf})
		}
		if plan.NewLeaf || plan.Announce {
			continue
		}
		for _, at := range []time.Time{now, now.Add(time.Minute), now.Add(4 * time.Minute)} {
			for i, bundle := range bundles {
				if i+1 < len(bundles) && bundles[i+1].at.Before(at.Add(-time.Minute)) {
					continue // the API server knows a newer one
				}
				for j, leaf := range leaves {
					if j+1 < len(leaves) && leaves[j+1].at.Before(at.Add(-5*time.Minute)) {
						continue
					}
					pool := x509.NewCertPool()
					for _, c := range bundle.value {
						pool.AddCert(c)
					}
					if _, err := leaf.value.Verify(x509.VerifyOptions{Roots: pool, DNSName: names[0], CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
						t.Fatalf("step %d at %s: bundle %d, leaf %d: %v", step, at, i, j, err)
					}
				}
			}
		}
		if !plan.Recheck.After(now) {
			t.Fatalf("step %d: recheck at %s, it is %s", step, plan.Recheck, now)
		}
		now = plan.Recheck
	}
	// Ten years at two thirds are 6.7 years, 90 days are 60: in 25 years 4 CAs and about 152 leaves.
	if counts["CA"] != 4 || counts["drop"] != 3 || counts["leaf"] < 150 || counts["leaf"] > 160 {
		t.Errorf("made %v", counts)
	}
}

func TestPlanServingRepairs(t *testing.T) {
	names := []string{"signet-webhook.signet-system.svc"}
	c, key, err := newServingCA(testNow)
	if err != nil {
		t.Fatal(err)
	}
	ca := &CA{Certificate: c, Key: key, Roots: []*x509.Certificate{c}}
	leaf, _, err := newServingLeaf(ca, names, testNow)
	if err != nil {
		t.Fatal(err)
	}
	trusted := []*x509.Certificate{c}
	for name, test := range map[string]struct {
		state Serving
		names []string
		want  ServingPlan
	}{
		"nothing there":          {Serving{Announced: true}, names, ServingPlan{NewCA: true}},
		"all in order":           {Serving{ca, trusted, leaf, true}, names, ServingPlan{}},
		"caBundle was undone":    {Serving{ca, trusted, leaf, false}, names, ServingPlan{Announce: true}},
		"leaf deleted":           {Serving{ca, trusted, nil, true}, names, ServingPlan{NewLeaf: true}},
		"other Service name":     {Serving{ca, trusted, leaf, true}, []string{"other.svc"}, ServingPlan{NewLeaf: true}},
		"fresh CA, leaf missing": {Serving{ca, trusted, nil, false}, names, ServingPlan{Announce: true, NewLeaf: true}},
	} {
		plan := PlanServing(test.state, test.names, testNow.Add(time.Second))
		plan.Recheck = time.Time{}
		if plan != test.want {
			t.Errorf("%s: %+v, want %+v", name, plan, test.want)
		}
	}
}

func TestServingController(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, admissionregistrationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	none := admissionregistrationv1.SideEffectClassNone
	hook := admissionregistrationv1.MutatingWebhook{Name: "pods.kafka.signet.dev", SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "signet"}, Webhooks: []admissionregistrationv1.MutatingWebhook{hook}},
	).Build()
	now := testNow
	r := &ServingController{
		Client: c, Named: NewNamed(func(Reference) cache.ListerWatcher { return nil }, c, c),
		Namespace: "signet-system", CASecret: "signet-webhook-ca", Secret: "signet-webhook-tls", WebhookConfiguration: "signet",
		DNSNames: []string{"signet-webhook.signet-system.svc"}, Now: func() time.Time { return now },
	}
	run := func() ctrl.Result {
		t.Helper()
		result, err := r.Reconcile(t.Context(), ctrl.Request{})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	run() // the CA
	run() // bundle and leaf
	if result := run(); result.RequeueAfter < time.Hour {
		t.Errorf("looks again after %s", result.RequeueAfter)
	}
	var secret corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "signet-system", Name: "signet-webhook-tls"}, &secret); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	if err := c.Get(t.Context(), client.ObjectKey{Name: "signet"}, &configuration); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(configuration.Webhooks[0].ClientConfig.CABundle) {
		t.Fatal("no caBundle")
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: r.DNSNames[0], CurrentTime: now}); err != nil {
		t.Error(err)
	}
}
