// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func kafka() *v1alpha1.KafkaCluster {
	return &v1alpha1.KafkaCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"},
		Spec: v1alpha1.KafkaClusterSpec{
			Listeners: []v1alpha1.Listener{
				{Name: "mtls", BootstrapServers: []string{"kafka.kafka.svc:9093"}, Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationMTLS},
				{Name: "plain", BootstrapServers: []string{"kafka.kafka.svc:9092"}, Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationNone},
				{Name: "external", BootstrapServers: []string{"kafka.example.com:9094"}, Scope: v1alpha1.ScopeExternal, Authentication: v1alpha1.AuthenticationMTLS},
			},
			Admin:           v1alpha1.AdminConnection{Listener: "mtls"},
			Certificates:    v1alpha1.CertificateDefaults{IssuerRef: v1alpha1.IssuerReference{Name: "mesh"}, Organization: "signet"},
			MeshTrustDomain: "cluster.local",
		},
	}
}

func user(namespace, name string) *v1alpha1.KafkaUser {
	return &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.KafkaUserSpec{ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"}},
	}
}

var meshIssuer = &v1alpha1.MeshIssuer{ObjectMeta: metav1.ObjectMeta{Name: "mesh"}, Spec: v1alpha1.MeshIssuerSpec{TrustDomain: "kafka.signet.dev"}}

// recordOf is the record of a KafkaUser, created at the given second.
func recordOf(t *testing.T, u *v1alpha1.KafkaUser, second int64) v1alpha1.PrincipalMapping {
	t.Helper()
	spec, err := Record(u, kafka(), meshIssuer, types.UID("uid-of-"+u.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	return v1alpha1.PrincipalMapping{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: v1alpha1.MappingName(u.Namespace, u.Name), CreationTimestamp: metav1.NewTime(time.Unix(second, 0))},
		Spec:       spec,
	}
}

func foreign(name, principal string, second int64, subjects ...v1alpha1.MappedSubject) v1alpha1.PrincipalMapping {
	return v1alpha1.PrincipalMapping{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: name, CreationTimestamp: metav1.NewTime(time.Unix(second, 0))},
		Spec:       v1alpha1.PrincipalMappingSpec{Cluster: "kafka", Principal: principal, Subjects: subjects},
	}
}

func everybody(v1alpha1.MappingOwner) bool { return true }

func TestRecord(t *testing.T) {
	u := user("shop", "orders")
	u.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: "orders-sa"}
	u.Spec.ExternalSubjects = []string{"CN=legacy,O=Acme"}
	spec, err := Record(u, kafka(), meshIssuer, "1234")
	if err != nil {
		t.Fatal(err)
	}
	want := []v1alpha1.MappedSubject{
		{Exact: "CN=orders,OU=shop,O=signet"},
		{SPIFFE: "spiffe://kafka.signet.dev/user/shop/orders"},
		{SPIFFE: "spiffe://cluster.local/ns/shop/sa/orders-sa"},
		{External: "CN=legacy,O=Acme"},
	}
	if spec.Principal != "User:shop.orders" || spec.Owner.NamespaceUID != "1234" || len(spec.Subjects) != len(want) {
		t.Fatalf("Record = %+v", spec)
	}
	for i, s := range spec.Subjects {
		if s != want[i] {
			t.Errorf("subject %d = %+v, want %+v", i, s, want[i])
		}
	}
	u.Spec.ExternalSubjects = []string{"CN=legacy, O=Acme"}
	if _, err := Record(u, kafka(), meshIssuer, "1234"); err == nil || !strings.Contains(err.Error(), "spec.externalSubjects") {
		t.Errorf("Record of a malformed external subject = %v", err)
	}
}

func TestHolds(t *testing.T) {
	record := recordOf(t, user("shop", "orders"), 1).Spec
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.PrincipalMapping)
		reason string
	}{
		{"its own record", func(*v1alpha1.PrincipalMapping) {}, ""},
		{"an administrator's mapping of that name", func(m *v1alpha1.PrincipalMapping) { m.Spec.Owner = nil }, v1alpha1.ReasonPrincipalConflict},
		{"its principal would be another", func(m *v1alpha1.PrincipalMapping) { m.Spec.Principal = "User:else" }, v1alpha1.ReasonPrincipalConflict},
		{"another cluster's", func(m *v1alpha1.PrincipalMapping) { m.Spec.Cluster = "other" }, v1alpha1.ReasonConflict},
		{"another user's", func(m *v1alpha1.PrincipalMapping) { m.Spec.Owner.Name = "else" }, v1alpha1.ReasonConflict},
		{"the namespace was deleted and made anew", func(m *v1alpha1.PrincipalMapping) { m.Spec.Owner.NamespaceUID = "earlier" }, v1alpha1.ReasonReserved},
	} {
		t.Run(c.name, func(t *testing.T) {
			existing := recordOf(t, user("shop", "orders"), 1)
			c.change(&existing)
			reason, message, ok := Holds(&existing, record)
			if reason != c.reason || ok != (c.reason == "") || !ok && !strings.Contains(message, "kafka/shop.orders") {
				t.Fatalf("Holds = %q, %q, %v; want reason %q", reason, message, ok, c.reason)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	withWorkload := func(namespace, name, serviceAccount string) *v1alpha1.KafkaUser {
		u := user(namespace, name)
		u.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: serviceAccount}
		return u
	}
	claims := func(name string, approved bool, second int64) v1alpha1.PrincipalMapping {
		u := user("shop", name)
		u.Spec.ExternalSubjects = []string{"CN=legacy,O=Acme"}
		m := recordOf(t, u, second)
		if approved {
			m.Spec.ApprovedSubjects = []string{"CN=legacy,O=Acme"}
		}
		return m
	}
	for _, c := range []struct {
		name     string
		mappings []v1alpha1.PrincipalMapping
		alive    func(v1alpha1.MappingOwner) bool
		want     map[string]string // mapping → reason
		message  string            // of the mapping that is not Ready
		entries  int
	}{
		{"two users", []v1alpha1.PrincipalMapping{recordOf(t, user("shop", "orders"), 1), recordOf(t, user("shop", "billing"), 2)}, everybody,
			map[string]string{"shop.orders": "Ready", "shop.billing": "Ready"}, "", 4},
		{"a dash in the namespace is no collision", []v1alpha1.PrincipalMapping{recordOf(t, user("a-b", "c"), 1), recordOf(t, user("a", "b-c"), 2)}, everybody,
			map[string]string{"a-b.c": "Ready", "a.b-c": "Ready"}, "", 4},
		{"one service account, two users: the first holds it", []v1alpha1.PrincipalMapping{recordOf(t, withWorkload("shop", "second", "sa"), 2), recordOf(t, withWorkload("shop", "first", "sa"), 1)}, everybody,
			map[string]string{"shop.first": "Ready", "shop.second": "Conflict"}, "spiffe://cluster.local/ns/shop/sa/sa is held by PrincipalMapping kafka/shop.first", 3},
		{"an administrator's mapping took the principal first", []v1alpha1.PrincipalMapping{foreign("legacy", "User:shop.orders", 1, v1alpha1.MappedSubject{Exact: "CN=x,O=Acme"}), recordOf(t, user("shop", "orders"), 2)}, everybody,
			map[string]string{"legacy": "Ready", "shop.orders": "PrincipalConflict"}, "principal User:shop.orders is held by PrincipalMapping kafka/legacy", 1},
		{"a user's subject cannot be given to another principal", []v1alpha1.PrincipalMapping{foreign("thief", "User:thief", 1, v1alpha1.MappedSubject{Exact: "CN=orders,OU=shop,O=signet"})}, everybody,
			map[string]string{"thief": "Invalid"}, "that of KafkaUser shop/orders and nobody else's", 0},
		{"nobody becomes Signet itself by its principal", []v1alpha1.PrincipalMapping{foreign("root", "User:signet:kafka.kafka", 1, v1alpha1.MappedSubject{Exact: "CN=x,O=Acme"})}, everybody,
			map[string]string{"root": "Invalid"}, "reserved", 0},
		{"nobody is given Signet's own subject", []v1alpha1.PrincipalMapping{foreign("root", "User:x", 1, v1alpha1.MappedSubject{Exact: "CN=kafka,OU=kafka,O=signet-controller"})}, everybody,
			map[string]string{"root": "Conflict"}, "Signet's own connection", 0},
		{"an external subject waits", []v1alpha1.PrincipalMapping{claims("a", false, 1)}, everybody, map[string]string{"shop.a": "Ready"}, "", 2},
		{"an approved external subject counts", []v1alpha1.PrincipalMapping{claims("a", true, 1)}, everybody, map[string]string{"shop.a": "Ready"}, "", 3},
		{"an external subject has one holder", []v1alpha1.PrincipalMapping{claims("a", true, 1), claims("b", true, 2)}, everybody,
			map[string]string{"shop.a": "Ready", "shop.b": "Conflict"}, "CN=legacy,O=Acme is held by PrincipalMapping kafka/shop.a", 3},
		{"created in the same second: by name", []v1alpha1.PrincipalMapping{claims("b", true, 1), claims("a", true, 1)}, everybody,
			map[string]string{"shop.a": "Ready", "shop.b": "Conflict"}, "kafka/shop.a", 3},
		{"a subject that Java never prints", []v1alpha1.PrincipalMapping{foreign("bad", "User:bad", 1, v1alpha1.MappedSubject{Exact: "CN=a, O=b"})}, everybody,
			map[string]string{"bad": "Invalid"}, "write it so", 0},
		{"the owner is gone: reserved, and still holding its principal", []v1alpha1.PrincipalMapping{recordOf(t, user("shop", "orders"), 1), foreign("heir", "User:shop.orders", 2, v1alpha1.MappedSubject{Exact: "CN=x,O=Acme"})},
			func(v1alpha1.MappingOwner) bool { return false },
			map[string]string{"shop.orders": "Reserved", "heir": "PrincipalConflict"}, "held by PrincipalMapping kafka/shop.orders", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			verdicts := Judge(kafka(), c.mappings, c.alive)
			entries, said := 0, false
			for name, v := range verdicts {
				if v.Reason != c.want[name] {
					t.Errorf("%s: %s (%s), want %s", name, v.Reason, v.Message, c.want[name])
				}
				entries += len(v.Entries)
				said = said || strings.Contains(v.Message, c.message)
			}
			if len(verdicts) != len(c.want) || entries != c.entries || !said {
				t.Errorf("%d verdicts with %d entries, want %d with %d and a message with %q: %+v", len(verdicts), entries, len(c.want), c.entries, c.message, verdicts)
			}
		})
	}
}
