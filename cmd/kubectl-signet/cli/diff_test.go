// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func declaredUser(consume ...string) *v1alpha1.KafkaUser {
	return &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"},
		Spec:       v1alpha1.KafkaUserSpec{ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"}, Consume: consume},
	}
}

func policed(policy v1alpha1.ClusterPolicy) *v1alpha1.KafkaCluster {
	return &v1alpha1.KafkaCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"},
		Spec: v1alpha1.KafkaClusterSpec{
			NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"kafka": "yes"}}, Policy: policy, PrincipalTemplate: "{namespace}.{name}",
		},
	}
}

func TestDiff(t *testing.T) {
	for name, test := range map[string]struct {
		existing *v1alpha1.KafkaUser
		declared *v1alpha1.KafkaUser
		changes  bool
		says     string
	}{
		"new": {nil, declaredUser("payments"), true, `KafkaUser shop/orders: User:shop.orders on KafkaCluster kafka/kafka
  + ALL on group shop
  + ALL on group shop.*
`},
		"the same": {declaredUser("payments"), declaredUser("payments"), false, "  no change\n"},
		"another topic": {declaredUser("payments"), declaredUser("refunds-*"), true, `  - READ on topic payments
`},
		"a prefix": {declaredUser("payments"), declaredUser("payments", "refunds-*"), true, "  + READ on topic refunds-*\n"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{policed(v1alpha1.ClusterPolicy{})}
			if test.existing != nil {
				objects = append(objects, test.existing)
			}
			c := deny(t, objects, nothing)
			var out bytes.Buffer
			changes, err := diff(t.Context(), c, nil, test.declared, &out)
			if err != nil || changes != test.changes {
				t.Errorf("changes %t, %v", changes, err)
			}
			for line := range strings.Lines(test.says) {
				if !strings.Contains(out.String(), line) {
					t.Errorf("no %q in\n%s", line, out.String())
				}
			}
			var now v1alpha1.KafkaUser
			err = c.Get(t.Context(), client.ObjectKeyFromObject(test.declared), &now)
			if test.existing == nil && err == nil || test.existing != nil && !slices.Equal(now.Spec.Consume, test.existing.Spec.Consume) {
				t.Error("a diff has changed the cluster")
			}
		})
	}
	if _, err := diff(t.Context(), deny(t, nil, nothing), nil, declaredUser(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "kafkacluster") {
		t.Errorf("without the KafkaCluster: %v", err)
	}
}

func TestGrandfather(t *testing.T) {
	namespace := func(name, kafka string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kafka": kafka}}}
	}
	c := deny(t, []client.Object{policed(v1alpha1.ClusterPolicy{AdminTopicExemptions: []string{"old.*"}}), namespace("shop", "yes"), namespace("bank", "no")}, nothing)
	var out, complaints bytes.Buffer
	streams := genericiooptions.IOStreams{Out: &out, ErrOut: &complaints}
	key := client.ObjectKey{Namespace: "kafka", Name: "kafka"}
	if err := grandfather(t.Context(), c, key, []string{"shop-a", "bank-a", "old.b", "orders", "__consumer_offsets"}, streams); err != nil {
		t.Fatal(err)
	}
	var manifest v1alpha1.KafkaCluster
	if err := yaml.UnmarshalStrict(out.Bytes(), &manifest); err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	if got := manifest.Spec.Policy.AdminTopicExemptions; !slices.Equal(got, []string{"bank-a", "orders"}) || client.ObjectKeyFromObject(&manifest) != key {
		t.Errorf("%s exempts %q", client.ObjectKeyFromObject(&manifest), got)
	}
	if complaints.String() != "5 topics, 2 to exempt\n" {
		t.Errorf("says %q", complaints.String())
	}
	out.Reset()
	if err := grandfather(t.Context(), c, key, []string{"shop-a"}, streams); err != nil || out.Len() > 0 {
		t.Errorf("nothing to exempt: %v\n%s", err, out.String())
	}
	topics, err := topicsOfFile("-", strings.NewReader("a\n\n  b \r\nc"))
	if err != nil || !slices.Equal(topics, []string{"a", "b", "c"}) {
		t.Errorf("%q, %v", topics, err)
	}
}
