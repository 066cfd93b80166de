// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
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
		})
	}
}

func TestAbandoned(t *testing.T) {
	mapping := func(cluster, principal, namespace, name string) v1alpha1.PrincipalMapping {
		m := v1alpha1.PrincipalMapping{Spec: v1alpha1.PrincipalMappingSpec{Cluster: cluster, Principal: principal}}
		if name != "" {
			m.Spec.Owner = &v1alpha1.MappingOwner{Namespace: namespace, Name: name}
		}
		return m
	}
	got := Abandoned([]v1alpha1.PrincipalMapping{
		mapping("kafka", "User:shop.gone", "shop", "gone"),
		mapping("kafka", "User:shop.orders", "shop", "orders"),
		mapping("other", "User:shop.elsewhere", "shop", "elsewhere"),
		mapping("kafka", "User:administrators-own", "", ""),
		mapping("kafka", "User:broker", "shop", "forged"),
	}, "kafka", func(principal string) bool { return principal == "User:shop.orders" })
	if len(got) != 1 || got[0] != "User:shop.gone" {
		t.Errorf("abandoned: %v, want User:shop.gone only", got)
	}
}
