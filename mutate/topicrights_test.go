// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func rightsWorld(edit func(*v1alpha1.KafkaUserSpec)) (*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) {
	user := &v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}}
	edit(&user.Spec)
	return user, &v1alpha1.KafkaCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"},
		Spec:       v1alpha1.KafkaClusterSpec{Policy: v1alpha1.ClusterPolicy{Grants: v1alpha1.GrantsRBAC}},
	}
}

func TestTopicRights(t *testing.T) {
	for name, test := range map[string]struct {
		old, declared func(*v1alpha1.KafkaUserSpec)
		want          string
	}{
		"consume": {nil, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"payments"} },
			"spec.consume[0]: consume kafka/payments, consume kafka/*, produce kafka/payments, produce kafka/*, administer kafka/payments, administer kafka/*"},
		"admin of the namespace's own": {nil, func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{"shop-a.b"} },
			"spec.admin[0]: administer kafka/shop-a.b, administer kafka/shop-a.*, administer kafka/shop-*, administer kafka/*, administer shop/shop-a.b, administer shop/shop-a.*, administer shop/shop-*, administer shop/*"},
		"a prefix": {nil, func(s *v1alpha1.KafkaUserSpec) { s.Produce = []string{"pay-in*"} },
			"spec.produce[0]: produce kafka/pay-in*, produce kafka/pay-*, produce kafka/*, administer kafka/pay-in*, administer kafka/pay-*, administer kafka/*"},
		"everything": {nil, func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{"*"} }, "spec.admin[0]: administer kafka/*"},
		"what was there already": {func(s *v1alpha1.KafkaUserSpec) { s.Admin, s.Consume = []string{"a"}, []string{"b"} },
			func(s *v1alpha1.KafkaUserSpec) { s.Admin, s.Consume = []string{"a"}, []string{"b"} }, ""},
		"from consume to admin": {func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"a"} },
			func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{"a"} }, "spec.admin[0]: administer kafka/a, administer kafka/*"},
		"groups are nobody's": {nil, func(s *v1alpha1.KafkaUserSpec) { s.ConsumerGroups = []string{"a"} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			user, cluster := rightsWorld(test.declared)
			var old *v1alpha1.KafkaUser
			if test.old != nil {
				old, _ = rightsWorld(test.old)
			}
			var got []string
			for _, right := range TopicRights(old, user, cluster) {
				var alternatives []string
				for _, a := range right.Any {
					if a.Group != "kafka.signet.dev" || a.Resource != "kafkatopics" {
						t.Errorf("asks for %s.%s", a.Resource, a.Group)
					}
					alternatives = append(alternatives, fmt.Sprintf("%s %s/%s", a.Verb, a.Namespace, a.Name))
				}
				got = append(got, right.Path.String()+": "+strings.Join(alternatives, ", "))
			}
			if joined := strings.Join(got, "\n"); joined != test.want {
				t.Errorf("\n%s\nwant\n%s", joined, test.want)
			}
			cluster.Spec.Policy.Grants = v1alpha1.GrantsOpen
			if open := TopicRights(old, user, cluster); len(open) > 0 {
				t.Errorf("an open cluster needs %v", open)
			}
		})
	}
}

// TestCoveringNamesCover: each name by which a right is given covers the entry, and no other namespace's prefix is among
// them.
func TestCoveringNamesCover(t *testing.T) {
	for _, entry := range []string{"a", "shop-orders", "shop-orders*", "a.b_c-d", "-", "shop-", "*", "..x"} {
		names := coveringNames(entry)
		if names[0] != entry || !slices.Contains(names, "*") {
			t.Errorf("%s: %q", entry, names)
		}
		for _, name := range names[1:] {
			prefix, ok := strings.CutSuffix(name, "*")
			if !ok || !strings.HasPrefix(strings.TrimSuffix(entry, "*"), prefix) {
				t.Errorf("%s does not cover %s", name, entry)
			}
			if prefix != "" && !strings.ContainsAny(prefix[len(prefix)-1:], "-._") {
				t.Errorf("%s ends within a part of %s", name, entry)
			}
		}
	}
}

func TestAuthorOf(t *testing.T) {
	const controller = "system:serviceaccount:signet-system:signet-controller"
	user, _ := rightsWorld(func(s *v1alpha1.KafkaUserSpec) { s.Workload = &v1alpha1.Workload{ServiceAccountName: "orders"} })
	person := authenticationv1.UserInfo{Username: "jane", Groups: []string{"dev"}}
	if got := AuthorOf(person, controller, user); got.Username != "jane" || len(got.Groups) != 1 {
		t.Errorf("a person's KafkaUser is %+v's", got)
	}
	got := AuthorOf(authenticationv1.UserInfo{Username: controller, Groups: []string{"system:serviceaccounts:signet-system"}}, controller, user)
	if got.Username != "system:serviceaccount:shop:orders" || !slices.Contains(got.Groups, "system:serviceaccounts:shop") || slices.Contains(got.Groups, "system:serviceaccounts:signet-system") {
		t.Errorf("what a pod declares is %+v's", got)
	}
}
