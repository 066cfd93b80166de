// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// TestBundlesBehind holds which ConfigMaps a rotation waits for: every file with the roots in it counts, of the listener for
// pods and of any other one that has no serverCA.
func TestBundlesBehind(t *testing.T) {
	from, to := testNow.Add(-time.Hour), testNow.Add(1000*time.Hour)
	roots := []*x509.Certificate{newCA(t, "old", p256(t), nil, from, to).certificate, newCA(t, "new", p256(t), nil, from, to).certificate}
	old, both := string(certs.EncodeCertificates(roots[:1])), string(certs.EncodeCertificates(roots))
	own := &v1alpha1.KeyReference{Secret: "broker-ca"}
	for name, test := range map[string]struct {
		inside, outside *v1alpha1.KeyReference
		external        bool
		broker          string
		bundle          map[string]string
		want            []string
	}{
		"all there":                     {nil, nil, true, both, map[string]string{"ca.crt": both, "ca-external.crt": both}, nil},
		"no external listener":          {nil, nil, false, both, map[string]string{"ca.crt": both}, nil},
		"the pods' listener":            {nil, nil, true, both, map[string]string{"ca.crt": old, "ca-external.crt": both}, []string{"configmap shop/orders-kafka-trust"}},
		"the external listener":         {nil, nil, true, both, map[string]string{"ca.crt": both, "ca-external.crt": old}, []string{"configmap shop/orders-kafka-trust"}},
		"the external listener alone":   {own, nil, true, both, map[string]string{"ca.crt": "brokers", "ca-external.crt": old}, []string{"configmap shop/orders-kafka-trust"}},
		"both":                          {nil, nil, true, both, map[string]string{"ca.crt": old, "ca-external.crt": old}, []string{"configmap shop/orders-kafka-trust"}},
		"an external serverCA":          {nil, own, true, both, map[string]string{"ca.crt": both, "ca-external.crt": "brokers"}, nil},
		"the broker, and two serverCAs": {own, own, true, old, map[string]string{"ca.crt": "brokers", "ca-external.crt": "brokers"}, []string{"configmap kafka/kafka-signet-broker"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := honest(t, p256(t))
			f.User.Status.Conditions = append(f.User.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionCertificateReady, Status: metav1.ConditionTrue})
			inside := &f.Cluster.Spec.Listeners[0]
			inside.ServerCA = test.inside
			if test.external {
				outside := *inside
				outside.Name, outside.Scope, outside.ServerCA = "external", v1alpha1.ScopeExternal, test.outside
				f.Cluster.Spec.Listeners = append(f.Cluster.Spec.Listeners, outside)
			}
			c := fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(f.User,
				&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka-signet-broker"}, Data: map[string]string{"client-ca.pem": test.broker}},
				&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-kafka-trust"}, Data: test.bundle},
			).Build()
			v := &ClusterVerifiers{Client: c, Authorities: &certs.Authorities{}}
			got, err := v.bundlesBehind(t.Context(), f.Cluster, roots)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("behind are %q, %v; want %q", got, err, test.want)
			}
		})
	}
}
