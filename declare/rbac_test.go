// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package declare

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func topicRule(verbs string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{"kafka.signet.dev"}, Resources: []string{"kafkatopics"}, Verbs: strings.Fields(verbs), ResourceNames: names}
}

// account is a service account of namespace shop.
func account(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "shop", Name: name}
}

func TestFromRBAC(t *testing.T) {
	cluster := &v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"}}
	// The policy of this test: nobody has everything.
	check := func(user *v1alpha1.KafkaUser, _ *v1alpha1.KafkaCluster) []error {
		if slices.Contains(slices.Concat(user.Spec.Consume, user.Spec.Produce, user.Spec.Admin), "*") {
			return []error{errors.New("no wildcard")}
		}
		return nil
	}
	accounts := func(namespace string) []string {
		return map[string][]string{"shop": {"default", "orders", "a.b"}, "bank": {"ledger"}}[namespace]
	}
	group := func(name string) rbacv1.Subject { return rbacv1.Subject{Kind: rbacv1.GroupKind, Name: name} }
	everywhere := rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}
	for name, test := range map[string]struct {
		rules    []rbacv1.PolicyRule
		subjects []rbacv1.Subject
		want     string
	}{
		"one verb, one name": {[]rbacv1.PolicyRule{topicRule("consume", "payments")}, []rbacv1.Subject{account("orders")}, "shop/orders: consume payments"},
		"all verbs, a prefix": {[]rbacv1.PolicyRule{topicRule("consume produce administer", "shop-*")}, []rbacv1.Subject{account("orders")},
			"shop/orders: consume shop-*, produce shop-*, admin shop-*"},
		"rules add up": {[]rbacv1.PolicyRule{topicRule("consume", "b", "a"), topicRule("consume produce", "b")}, []rbacv1.Subject{account("orders")},
			"shop/orders: consume a b, produce b"},
		"all accounts of a namespace": {[]rbacv1.PolicyRule{topicRule("consume", "a")}, []rbacv1.Subject{group("system:serviceaccounts:shop")},
			"shop/default: consume a; shop/orders: consume a"},
		"people, and all accounts": {[]rbacv1.PolicyRule{topicRule("consume", "a")}, []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: "jane"}, group("devs"), group("system:serviceaccounts")}, ""},
		"a name with a dot":        {[]rbacv1.PolicyRule{topicRule("consume", "a")}, []rbacv1.Subject{account("a.b")}, ""},
		"cluster-admin":            {[]rbacv1.PolicyRule{everywhere}, []rbacv1.Subject{account("orders")}, ""},
		"any verb":                 {[]rbacv1.PolicyRule{topicRule("*", "a")}, []rbacv1.Subject{account("orders")}, ""},
		"other verbs":              {[]rbacv1.PolicyRule{topicRule("get list watch", "a")}, []rbacv1.Subject{account("orders")}, ""},
		"what the policy refuses":  {[]rbacv1.PolicyRule{topicRule("consume"), topicRule("produce", "a")}, []rbacv1.Subject{account("orders")}, "shop/orders: produce a"},
		"nothing but that":         {[]rbacv1.PolicyRule{topicRule("consume")}, []rbacv1.Subject{account("orders")}, ""},
		"names that no topic has":  {[]rbacv1.PolicyRule{topicRule("consume", "a b", "a*b", "", strings.Repeat("x", 250), "c")}, []rbacv1.Subject{account("orders")}, "shop/orders: consume c"},
	} {
		t.Run(name, func(t *testing.T) {
			meta := metav1.ObjectMeta{Namespace: "kafka", Name: "topics"}
			ref := func(kind string) rbacv1.RoleRef {
				return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: "topics"}
			}
			for way, rbac := range map[string]RBAC{
				"Role":        {Roles: []rbacv1.Role{{ObjectMeta: meta, Rules: test.rules}}, RoleBindings: []rbacv1.RoleBinding{{RoleRef: ref("Role"), Subjects: test.subjects}}},
				"ClusterRole": {ClusterRoles: []rbacv1.ClusterRole{{ObjectMeta: meta, Rules: test.rules}}, RoleBindings: []rbacv1.RoleBinding{{RoleRef: ref("ClusterRole"), Subjects: test.subjects}}},
				"ClusterRoleBinding": {ClusterRoles: []rbacv1.ClusterRole{{ObjectMeta: meta, Rules: test.rules}}, ClusterRoleBindings: []rbacv1.ClusterRoleBinding{{RoleRef: ref("ClusterRole"), Subjects: test.subjects}},
					Roles: []rbacv1.Role{{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{topicRule("consume", "of-another-kind")}}}},
				"no binding": {Roles: []rbacv1.Role{{ObjectMeta: meta, Rules: test.rules}}, RoleBindings: []rbacv1.RoleBinding{{RoleRef: ref("ClusterRole"), Subjects: test.subjects}}},
			} {
				want := test.want
				if way == "no binding" {
					want = ""
				}
				users := FromRBAC(cluster, rbac, accounts, check)
				var texts []string
				for _, key := range slices.SortedFunc(maps.Keys(users), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }) {
					user := users[key]
					var lists []string
					for _, list := range []struct {
						name    string
						entries []string
					}{{"consume", user.Spec.Consume}, {"produce", user.Spec.Produce}, {"admin", user.Spec.Admin}} {
						if len(list.entries) > 0 {
							lists = append(lists, list.name+" "+strings.Join(list.entries, " "))
						}
					}
					texts = append(texts, fmt.Sprintf("%s: %s", key, strings.Join(lists, ", ")))
					if user.Namespace != key.Namespace || user.Name != key.Name || user.Spec.Workload.ServiceAccountName != key.Name || !IsFromRBAC(user) || user.Spec.ClusterRef.Name != "kafka" {
						t.Errorf("%s: %+v", way, user)
					}
				}
				if got := strings.Join(texts, "; "); got != want {
					t.Errorf("%s: %s, want %s", way, got, want)
				}
			}
		})
	}
}
