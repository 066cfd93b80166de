// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func recorded(status metav1.ConditionStatus, reason string, generation int64) metav1.Condition {
	return metav1.Condition{Type: v1alpha1.ConditionMappingRecorded, Status: status, Reason: reason, Message: "because", ObservedGeneration: generation,
		LastTransitionTime: metav1.NewTime(time.Unix(1, 0))}
}

func TestDecide(t *testing.T) {
	yes, no := metav1.ConditionTrue, metav1.ConditionFalse
	guarded := func(u *v1alpha1.KafkaUser) { u.Finalizers = []string{Finalizer} }
	suspended := func(u *v1alpha1.KafkaUser) { u.Spec.Suspend = true }
	mapping := func(status metav1.ConditionStatus, reason string, generation int64) func(*v1alpha1.KafkaUser) {
		return func(u *v1alpha1.KafkaUser) {
			u.Status.Conditions = []metav1.Condition{recorded(status, reason, generation)}
		}
	}
	cases := []struct {
		name    string
		edits   []func(*v1alpha1.KafkaUser)
		outside bool
		managed bool
		grants  int
		hold    bool
		reason  string
	}{
		{name: "principal not recorded yet", managed: false, reason: v1alpha1.ReasonPending},
		{name: "recorded for an earlier declaration: nothing is touched", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(yes, v1alpha1.ReasonReady, 0)}, reason: v1alpha1.ReasonPending},
		{name: "ledger undecided: nothing is touched", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(no, v1alpha1.ReasonPending, 1)}, reason: v1alpha1.ReasonPending},
		{name: "recorded", edits: []func(*v1alpha1.KafkaUser){mapping(yes, v1alpha1.ReasonReady, 1)}, managed: true, grants: 5, reason: v1alpha1.ReasonReady},
		{name: "conflict before anything was granted: the holder's ACLs are not touched", edits: []func(*v1alpha1.KafkaUser){mapping(no, v1alpha1.ReasonConflict, 1)}, grants: 5, hold: true, reason: v1alpha1.ReasonPending},
		{name: "conflict later: nothing more is granted", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(no, v1alpha1.ReasonConflict, 1)}, managed: true, grants: 5, hold: true, reason: v1alpha1.ReasonPending},
		{name: "reserved: what the former owner had is withdrawn", edits: []func(*v1alpha1.KafkaUser){mapping(no, v1alpha1.ReasonReserved, 1)}, managed: true, reason: v1alpha1.ReasonPending},
		{name: "a refused entry: nothing more is granted", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(yes, v1alpha1.ReasonReady, 1), func(u *v1alpha1.KafkaUser) { u.Spec.Admin = []string{"foreign"} }},
			managed: true, grants: 5, hold: true, reason: v1alpha1.ReasonInvalid},
		{name: "namespace not admitted: everything is withdrawn", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(yes, v1alpha1.ReasonReady, 1)}, outside: true, managed: true, reason: v1alpha1.ReasonNamespaceNotAllowed},
		{name: "namespace never admitted", outside: true, reason: v1alpha1.ReasonNamespaceNotAllowed},
		{name: "another's principal, before anything was granted", edits: []func(*v1alpha1.KafkaUser){mapping(no, v1alpha1.ReasonPrincipalConflict, 1)}, reason: v1alpha1.ReasonPending},
		{name: "another's principal by now", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(no, v1alpha1.ReasonPrincipalConflict, 1)}, reason: v1alpha1.ReasonPending},
		{name: "another's principal, said of an earlier declaration", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(no, v1alpha1.ReasonPrincipalConflict, 0)}, reason: v1alpha1.ReasonPending},
		{name: "another's principal, deleted", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(no, v1alpha1.ReasonPrincipalConflict, 1), func(u *v1alpha1.KafkaUser) { u.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }},
			reason: v1alpha1.ReasonPending},
		{name: "another's principal, deleted, said of an earlier declaration", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(no, v1alpha1.ReasonPrincipalConflict, 0), func(u *v1alpha1.KafkaUser) { u.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }},
			reason: v1alpha1.ReasonPending},
		{name: "another's principal, namespace not admitted", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(no, v1alpha1.ReasonPrincipalConflict, 1)}, outside: true, reason: v1alpha1.ReasonNamespaceNotAllowed},
		{name: "another's principal and a refused entry", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(no, v1alpha1.ReasonPrincipalConflict, 1), func(u *v1alpha1.KafkaUser) { u.Spec.Admin = []string{"foreign"} }},
			reason: v1alpha1.ReasonPending},
		{name: "suspended: everything is withdrawn", edits: []func(*v1alpha1.KafkaUser){guarded, suspended, mapping(yes, v1alpha1.ReasonReady, 1)}, managed: true, reason: v1alpha1.ReasonSuspended},
		{name: "suspended: the ledger is not waited for", edits: []func(*v1alpha1.KafkaUser){guarded, suspended, mapping(yes, v1alpha1.ReasonReady, 0)}, managed: true, reason: v1alpha1.ReasonSuspended},
		{name: "suspended, ledger undecided", edits: []func(*v1alpha1.KafkaUser){guarded, suspended, mapping(no, v1alpha1.ReasonPending, 1)}, managed: true, reason: v1alpha1.ReasonSuspended},
		{name: "suspended before anything was granted, recorded", edits: []func(*v1alpha1.KafkaUser){suspended, mapping(yes, v1alpha1.ReasonReady, 1)}, managed: true, reason: v1alpha1.ReasonSuspended},
		{name: "suspended before anything was granted, not recorded", edits: []func(*v1alpha1.KafkaUser){suspended}, reason: v1alpha1.ReasonSuspended},
		{name: "suspended, reserved", edits: []func(*v1alpha1.KafkaUser){suspended, mapping(no, v1alpha1.ReasonReserved, 1)}, managed: true, reason: v1alpha1.ReasonSuspended},
		{name: "suspended, in conflict about a subject", edits: []func(*v1alpha1.KafkaUser){guarded, suspended, mapping(no, v1alpha1.ReasonConflict, 1)}, managed: true, reason: v1alpha1.ReasonSuspended},
		{name: "suspended, another's principal", edits: []func(*v1alpha1.KafkaUser){guarded, suspended, mapping(no, v1alpha1.ReasonPrincipalConflict, 1)}, reason: v1alpha1.ReasonPending},
		{name: "suspended, another's principal by an earlier declaration", edits: []func(*v1alpha1.KafkaUser){guarded, suspended, mapping(no, v1alpha1.ReasonPrincipalConflict, 0)}, reason: v1alpha1.ReasonSuspended},
		{name: "suspended and a refused entry", edits: []func(*v1alpha1.KafkaUser){guarded, suspended, mapping(yes, v1alpha1.ReasonReady, 1), func(u *v1alpha1.KafkaUser) { u.Spec.Admin = []string{"foreign"} }},
			managed: true, reason: v1alpha1.ReasonSuspended},
		{name: "suspended, namespace not admitted", edits: []func(*v1alpha1.KafkaUser){guarded, suspended, mapping(yes, v1alpha1.ReasonReady, 1)}, outside: true, managed: true, reason: v1alpha1.ReasonNamespaceNotAllowed},
		{name: "deleted", edits: []func(*v1alpha1.KafkaUser){guarded, mapping(yes, v1alpha1.ReasonReady, 1), func(u *v1alpha1.KafkaUser) { u.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }},
			managed: true, reason: v1alpha1.ReasonPending},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			user := newUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"payments"} })
			for _, edit := range c.edits {
				edit(user)
			}
			got := Decide(user, newCluster(v1alpha1.ClusterPolicy{}), !c.outside, Facts{})
			if got.Managed != c.managed || len(got.Grants) != c.grants || got.Hold != c.hold || got.Reason != c.reason {
				t.Errorf("managed %v, %d grants, hold %v, %s: %s", got.Managed, len(got.Grants), got.Hold, got.Reason, got.Message)
			}
			if got.Managed && (got.Undecided || got.Foreign) || got.Undecided && got.Foreign {
				t.Errorf("managed %v, undecided %v, foreign %v", got.Managed, got.Undecided, got.Foreign)
			}
		})
	}
}

// TestDecideOfUnjudged: a KafkaUser from before a KafkaCluster that asks for its author's rights is granted nothing more.
func TestDecideOfUnjudged(t *testing.T) {
	for name, test := range map[string]struct {
		grants  v1alpha1.GrantsPolicy
		created int64
		hold    bool
	}{
		"open, older":     {v1alpha1.GrantsOpen, 99, false},
		"RBAC, younger":   {v1alpha1.GrantsRBAC, 101, false},
		"RBAC, as old":    {v1alpha1.GrantsRBAC, 100, false},
		"RBAC, and older": {v1alpha1.GrantsRBAC, 99, true},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(v1alpha1.ClusterPolicy{Grants: test.grants})
			cluster.CreationTimestamp = metav1.NewTime(time.Unix(100, 0))
			user := newUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"payments"} })
			user.CreationTimestamp = metav1.NewTime(time.Unix(test.created, 0))
			user.Status.Conditions = []metav1.Condition{recorded(metav1.ConditionTrue, v1alpha1.ReasonReady, 1)}
			got := Decide(user, cluster, true, Facts{})
			if got.Hold != test.hold || (got.Reason == v1alpha1.ReasonInvalid) != test.hold {
				t.Errorf("hold %t, %s: %s", got.Hold, got.Reason, got.Message)
			}
		})
	}
}

// ledgered is a PrincipalMapping of kafka/kafka with its name, owner (namespace/name, or none), principal and verdict.
func ledgered(name, owner, principal, verdict string) v1alpha1.PrincipalMapping {
	m := v1alpha1.PrincipalMapping{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: name},
		Spec:       v1alpha1.PrincipalMappingSpec{Cluster: "kafka", Principal: principal},
	}
	if namespace, user, found := strings.Cut(owner, "/"); found {
		m.Spec.Owner = &v1alpha1.MappingOwner{Namespace: namespace, Name: user}
	}
	if verdict != "" {
		m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: verdict}}
	}
	return m
}

func TestAbandoned(t *testing.T) {
	ready, reserved, conflict, principalConflict := v1alpha1.ReasonReady, v1alpha1.ReasonReserved, v1alpha1.ReasonConflict, v1alpha1.ReasonPrincipalConflict
	elsewhere := ledgered("elsewhere", "shop/elsewhere", "User:shop.elsewhere", reserved)
	elsewhere.Spec.Cluster = "other"
	for _, c := range []struct {
		name, template string
		mappings       []v1alpha1.PrincipalMapping
		alive          []string
		want           []string
	}{
		{"default template", "", []v1alpha1.PrincipalMapping{
			ledgered("gone", "shop/gone", "User:shop.gone", reserved),
			ledgered("fresh", "shop/fresh", "User:shop.fresh", ""),
			ledgered("orders", "shop/orders", "User:shop.orders", ready),
			elsewhere,
			ledgered("own", "", "User:administrators-own", ready),
			ledgered("forged", "shop/forged", "User:broker", ready),
		}, []string{"User:shop.orders"}, []string{"User:shop.fresh", "User:shop.gone"}},
		{"namespace and name joined", "{namespace}-{name}", []v1alpha1.PrincipalMapping{
			ledgered("gone", "shop/gone", "User:shop-gone", reserved),
			ledgered("other", "shop/other", "User:shop.other", reserved),
			ledgered("forged", "shop/forged", "User:broker", ready),
		}, nil, []string{"User:shop-gone"}},
		{"the service account is not looked at", "{namespace}-{serviceAccount}", []v1alpha1.PrincipalMapping{
			ledgered("gone", "shop/gone", "User:shop-orders-sa", reserved),
			ledgered("alive", "shop/alive", "User:shop-alive-sa", ready),
		}, []string{"User:shop-alive-sa"}, []string{"User:shop-orders-sa"}},
		{"never had its principal", "{namespace}-{name}", []v1alpha1.PrincipalMapping{
			ledgered("legacy", "", "User:shop-gone", ready),
			ledgered("gone", "shop/gone", "User:shop-gone", principalConflict),
		}, nil, nil},
		{"never had its principal, whose holder is not known yet", "", []v1alpha1.PrincipalMapping{ledgered("gone", "shop/gone", "User:shop.gone", principalConflict)}, nil, nil},
		{"lost its principal to another", "{namespace}-{name}", []v1alpha1.PrincipalMapping{
			ledgered("a.b-c", "a/b-c", "User:a-b-c", conflict),
			ledgered("a-b.c", "a-b/c", "User:a-b-c", ready),
		}, nil, []string{"User:a-b-c"}}, // a-b/c holds it, and is gone as well
		{"lost its principal to an administrator's mapping", "{namespace}-{name}", []v1alpha1.PrincipalMapping{
			ledgered("a.b-c", "a/b-c", "User:a-b-c", conflict),
			ledgered("legacy", "", "User:a-b-c", ready),
		}, nil, nil},
		{"in dispute about a subject, principal its own", "", []v1alpha1.PrincipalMapping{ledgered("gone", "shop/gone", "User:shop.gone", conflict)}, nil, []string{"User:shop.gone"}},
		{"a template that cannot be read", "{nonsense}", []v1alpha1.PrincipalMapping{ledgered("gone", "shop/gone", "User:shop.gone", reserved)}, nil, nil},
	} {
		cluster := newCluster(v1alpha1.ClusterPolicy{})
		cluster.Spec.PrincipalTemplate = c.template
		got := Abandoned(c.mappings, HoldersOf(c.mappings, cluster), cluster, func(principal string) bool { return slices.Contains(c.alive, principal) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: abandoned %v, want %v", c.name, got, c.want)
		}
	}
}

func TestYield(t *testing.T) {
	cluster := newCluster(v1alpha1.ClusterPolicy{})
	managed := func(name string) *subject {
		user := newUser(func(*v1alpha1.KafkaUserSpec) {})
		user.Name = name
		return &subject{user: user, principal: "User:p", decision: Decision{Managed: true, Reason: v1alpha1.ReasonReady}}
	}
	foreign := managed("waiting")
	foreign.decision = othersPrincipal("because")
	for _, c := range []struct {
		name     string
		subjects []*subject
		mappings []v1alpha1.PrincipalMapping
		want     []bool // managed
	}{
		{"its own", []*subject{managed("a")}, []v1alpha1.PrincipalMapping{ledgered("shop.a", "shop/a", "User:p", v1alpha1.ReasonReady)}, []bool{true}},
		{"reserved by its own", []*subject{managed("a")}, []v1alpha1.PrincipalMapping{ledgered("shop.a", "shop/a", "User:p", v1alpha1.ReasonReserved)}, []bool{true}},
		{"nobody's: what was granted is its own to withdraw", []*subject{managed("a")}, nil, []bool{true}},
		{"another only claims it", []*subject{managed("a")}, []v1alpha1.PrincipalMapping{ledgered("shop.b", "shop/b", "User:p", v1alpha1.ReasonPrincipalConflict), ledgered("shop.c", "shop/c", "User:p", "")}, []bool{true}},
		{"another's", []*subject{managed("a")}, []v1alpha1.PrincipalMapping{ledgered("shop.a", "shop/a", "User:p", v1alpha1.ReasonConflict), ledgered("shop.b", "shop/b", "User:p", v1alpha1.ReasonReady)}, []bool{false}},
		{"an administrator's", []*subject{managed("a")}, []v1alpha1.PrincipalMapping{ledgered("legacy", "", "User:p", v1alpha1.ReasonReady)}, []bool{false}},
		{"reserved for another", []*subject{managed("a")}, []v1alpha1.PrincipalMapping{ledgered("shop.b", "shop/b", "User:p", v1alpha1.ReasonReserved)}, []bool{false}},
		{"the one that has it stays", []*subject{managed("a"), managed("b")}, []v1alpha1.PrincipalMapping{ledgered("shop.b", "shop/b", "User:p", v1alpha1.ReasonReady)}, []bool{false, true}},
		{"who manages nothing is in nobody's way", []*subject{foreign, managed("b")}, []v1alpha1.PrincipalMapping{ledgered("shop.b", "shop/b", "User:p", v1alpha1.ReasonReady)}, []bool{false, true}},
		{"two, and nobody has it", []*subject{managed("a"), managed("b")}, nil, []bool{false, false}},
		{"three, while the ledger is being written", []*subject{managed("a"), managed("b"), managed("c")}, []v1alpha1.PrincipalMapping{
			ledgered("shop.a", "shop/a", "User:p", v1alpha1.ReasonReady), ledgered("shop.b", "shop/b", "User:p", v1alpha1.ReasonReady), ledgered("shop.c", "shop/c", "User:p", v1alpha1.ReasonReady),
		}, []bool{false, false, false}},
	} {
		yield(c.subjects, HoldersOf(c.mappings, cluster))
		for i, s := range c.subjects {
			if s.decision.Managed != c.want[i] || !s.decision.Managed && (len(s.decision.Grants) > 0 || s.decision.Reason != v1alpha1.ReasonPending) {
				t.Errorf("%s: %s: %+v, want managed %v", c.name, s.user.Name, s.decision, c.want[i])
			}
		}
	}
}

// TestInForceDuringAnOutage holds that a failure is said of users whose declaration may not be in force, and of no others.
func TestInForceDuringAnOutage(t *testing.T) {
	synced := func(reason string, status metav1.ConditionStatus, generation int64) metav1.Condition {
		return metav1.Condition{Type: v1alpha1.ConditionAccessSynced, Status: status, Reason: reason, ObservedGeneration: generation}
	}
	zero, five := int32(0), int32(5)
	ready, suspended := v1alpha1.ReasonReady, v1alpha1.ReasonSuspended
	for name, c := range map[string]struct {
		suspend bool
		synced  metav1.Condition
		acls    *int32
		want    bool
	}{
		"in force":                         {false, synced(ready, metav1.ConditionTrue, 1), &five, true},
		"of an earlier declaration":        {false, synced(ready, metav1.ConditionTrue, 0), &five, false},
		"other ACLs":                       {false, synced(ready, metav1.ConditionTrue, 1), &zero, false},
		"suspended, and nothing is left":   {true, synced(suspended, metav1.ConditionFalse, 1), &zero, true},
		"just suspended":                   {true, synced(ready, metav1.ConditionTrue, 0), &five, false},
		"suspended, withdrawal failed":     {true, synced(v1alpha1.ReasonUnreachable, metav1.ConditionFalse, 1), &five, false},
		"suspended, some are left":         {true, synced(suspended, metav1.ConditionFalse, 1), &five, false},
		"resumed while Kafka is not there": {false, synced(suspended, metav1.ConditionFalse, 0), &zero, false},
	} {
		user := newUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume, s.Suspend = []string{"payments"}, c.suspend })
		user.Finalizers = []string{Finalizer}
		user.Status.Conditions = []metav1.Condition{recorded(metav1.ConditionTrue, ready, 1), c.synced}
		user.Status.ACLs = c.acls
		if got := Decide(user, newCluster(v1alpha1.ClusterPolicy{}), true, Facts{}).inForce(user); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
