// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// newUser returns shop/orders on kafka/kafka, with what edit makes of it.
func newUser(edit func(*v1alpha1.KafkaUserSpec)) *v1alpha1.KafkaUser {
	user := &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", UID: "uid-orders", Generation: 1},
		Spec:       v1alpha1.KafkaUserSpec{ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"}},
	}
	edit(&user.Spec)
	return user
}

// newCluster returns kafka/kafka, open to every namespace.
func newCluster(policy v1alpha1.ClusterPolicy) *v1alpha1.KafkaCluster {
	return &v1alpha1.KafkaCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka", UID: "uid-kafka", Generation: 1},
		Spec: v1alpha1.KafkaClusterSpec{
			Listeners: []v1alpha1.Listener{{Name: "mtls", BootstrapServers: []string{"127.0.0.1:1"}, Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationMTLS}},
			Admin:     v1alpha1.AdminConnection{Listener: "mtls"},
			Policy:    policy,
		},
	}
}

func sorted(bindings Bindings) []Binding {
	return slices.SortedFunc(maps.Keys(bindings), compare)
}

// TestGrants holds every bundle, each pattern and each policy against testdata/grants.golden.
func TestGrants(t *testing.T) {
	no := false
	cases := []struct {
		name   string
		spec   func(*v1alpha1.KafkaUserSpec)
		policy v1alpha1.ClusterPolicy
		facts  Facts
	}{
		{name: "nothing", spec: func(*v1alpha1.KafkaUserSpec) {}},
		{name: "consume a topic", spec: func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"payments"} }},
		{name: "consume a prefix, no free groups", spec: func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"payments-*"} }, policy: v1alpha1.ClusterPolicy{FreeGroups: &no}},
		{name: "consume everything, allowed", spec: func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"*"} }, policy: v1alpha1.ClusterPolicy{AllowWildcard: true, FreeGroups: &no}},
		{name: "consume everything, refused", spec: func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"*"} }},
		{name: "produce to a topic", spec: func(s *v1alpha1.KafkaUserSpec) { s.Produce = []string{"orders"} }},
		{name: "produce to a topic, brokers before 3.0", spec: func(s *v1alpha1.KafkaUserSpec) { s.Produce = []string{"orders"} }, facts: Facts{IdempotentWrite: true}},
		{name: "administer the namespace's topics", spec: func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{"shop-*"} }},
		{name: "administer, refused", spec: func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{"orders", "shop*", "*"} }},
		{name: "administer, exempt", spec: func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{"legacy", "old-*", "old", "older-x"} }, policy: v1alpha1.ClusterPolicy{AdminTopicExemptions: []string{"legacy", "old*"}}},
		{name: "consumer groups", spec: func(s *v1alpha1.KafkaUserSpec) { s.ConsumerGroups = []string{"batch", "stream-*"} }},
		{name: "consume and produce one topic", spec: func(s *v1alpha1.KafkaUserSpec) { s.Consume, s.Produce = []string{"orders"}, []string{"orders"} }, policy: v1alpha1.ClusterPolicy{FreeGroups: &no}},
	}
	var out strings.Builder
	for _, c := range cases {
		out.WriteString("# " + c.name + "\n")
		for _, b := range sorted(Grants(newUser(c.spec), newCluster(c.policy), c.facts)) {
			out.WriteString(b.String() + "\n")
		}
		out.WriteString("\n")
	}
	golden(t, "grants.golden", out.String())
}

// TestGrantsAreForTheTemplatesPrincipal holds that ACLs are made for the principal that the ledger records and brokers
// give, and for nobody where there is none.
func TestGrantsAreForTheTemplatesPrincipal(t *testing.T) {
	for _, c := range []struct{ template, serviceAccount, want string }{
		{"", "", "User:shop.orders"},
		{"{namespace}-{name}", "", "User:shop-orders"},
		{"CN={name},OU={namespace}", "", "User:CN=orders,OU=shop"},
		{"{namespace}-{serviceAccount}", "web", "User:shop-web"},
		{"{namespace}-{serviceAccount}", "", ""},
		{"{nonsense}", "web", ""},
	} {
		cluster := newCluster(v1alpha1.ClusterPolicy{})
		cluster.Spec.PrincipalTemplate = c.template
		user := newUser(func(s *v1alpha1.KafkaUserSpec) {
			s.Consume = []string{"payments"}
			if c.serviceAccount != "" {
				s.Workload = &v1alpha1.Workload{ServiceAccountName: c.serviceAccount}
			}
		})
		grants := Grants(user, cluster, Facts{})
		if (len(grants) == 0) != (c.want == "") {
			t.Errorf("%q: %d grants", c.template, len(grants))
		}
		for b := range grants {
			if b.Principal != c.want {
				t.Errorf("%q grants %s, want it for %q", c.template, b, c.want)
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s; run with -update and look at the difference\ngot:\n%s", path, got)
	}
}

// TestGrantsAreThePrincipalsOwn holds that no declaration, however it is written, reaches another principal, denies
// anything, or touches the cluster resource of a current broker.
func TestGrantsAreThePrincipalsOwn(t *testing.T) {
	for _, entry := range []string{"*", "a*", "User:other", "kafka-cluster", "shop-*", "x,y", "\n", "**"} {
		user := newUser(func(s *v1alpha1.KafkaUserSpec) {
			s.Consume, s.Produce, s.Admin, s.ConsumerGroups = []string{entry}, []string{entry}, []string{entry}, []string{entry}
		})
		for b := range Grants(user, newCluster(v1alpha1.ClusterPolicy{AllowWildcard: true, AdminTopicExemptions: []string{"*"}}), Facts{}) {
			if b.Principal != "User:shop.orders" || b.Host != AnyHost || b.Permission.String() != "ALLOW" || b.ResourceType.String() == "CLUSTER" {
				t.Errorf("%q grants %s", entry, b)
			}
		}
	}
}
