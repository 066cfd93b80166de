// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func TestCheckDeclaration(t *testing.T) {
	exempt := newCluster(v1alpha1.ClusterPolicy{AdminTopicExemptions: []string{"legacy", "old-*"}})
	wild := newCluster(v1alpha1.ClusterPolicy{AllowWildcard: true})
	everything := newCluster(v1alpha1.ClusterPolicy{AllowWildcard: true, AdminTopicExemptions: []string{"*"}})
	cases := []struct {
		name    string
		spec    v1alpha1.KafkaUserSpec
		cluster *v1alpha1.KafkaCluster
		// refused are the fields refused, in order.
		refused []string
	}{
		{"nothing declared", v1alpha1.KafkaUserSpec{}, exempt, nil},
		{"names and prefixes", v1alpha1.KafkaUserSpec{Consume: []string{"a", "b-*"}, Produce: []string{"c*"}, ConsumerGroups: []string{"g", "h*"}}, exempt, nil},
		{"own topics", v1alpha1.KafkaUserSpec{Admin: []string{"shop-x", "shop-*", "shop-a-*"}}, exempt, nil},
		{"the namespace itself is not its prefix", v1alpha1.KafkaUserSpec{Admin: []string{"shop"}}, exempt, []string{"spec.admin[0]"}},
		{"a prefix wider than the namespace", v1alpha1.KafkaUserSpec{Admin: []string{"shop*", "sho*"}}, exempt, []string{"spec.admin[0]", "spec.admin[1]"}},
		{"another namespace that starts alike", v1alpha1.KafkaUserSpec{Admin: []string{"shopping-x"}}, exempt, []string{"spec.admin[0]"}},
		{"exempt", v1alpha1.KafkaUserSpec{Admin: []string{"legacy", "old-a", "old-*", "old-a-*"}}, exempt, nil},
		{"a literal exemption exempts no prefix", v1alpha1.KafkaUserSpec{Admin: []string{"legacy*", "legacy-a"}}, exempt, []string{"spec.admin[0]", "spec.admin[1]"}},
		{"a prefix wider than its exemption", v1alpha1.KafkaUserSpec{Admin: []string{"old*", "o*"}}, exempt, []string{"spec.admin[0]", "spec.admin[1]"}},
		{"wildcards refused", v1alpha1.KafkaUserSpec{Consume: []string{"*"}, Produce: []string{"*"}, Admin: []string{"*"}, ConsumerGroups: []string{"*"}}, exempt,
			[]string{"spec.consume[0]", "spec.produce[0]", "spec.admin[0]", "spec.consumerGroups[0]"}},
		{"wildcards allowed, never for admin", v1alpha1.KafkaUserSpec{Consume: []string{"*"}, Produce: []string{"*"}, Admin: []string{"*"}, ConsumerGroups: []string{"*"}}, wild,
			[]string{"spec.admin[0]"}},
		{"wildcard for admin needs both", v1alpha1.KafkaUserSpec{Admin: []string{"*"}}, everything, nil},
		{"exempting everything does not allow the wildcard", v1alpha1.KafkaUserSpec{Admin: []string{"*", "x"}}, newCluster(v1alpha1.ClusterPolicy{AdminTopicExemptions: []string{"*"}}), []string{"spec.admin[0]"}},
		{"malformed", v1alpha1.KafkaUserSpec{Consume: []string{"", "a*b", "**"}}, wild, []string{"spec.consume[0]", "spec.consume[1]", "spec.consume[2]"}},
		{"unknown cluster: policy unknown", v1alpha1.KafkaUserSpec{Consume: []string{"*", "a*b"}, Admin: []string{"x"}}, nil, []string{"spec.consume[1]"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			user := newUser(func(s *v1alpha1.KafkaUserSpec) { *s = c.spec })
			var refused []string
			for _, err := range CheckDeclaration(user, c.cluster) {
				var f *field.Error
				if !errors.As(err, &f) {
					t.Fatalf("not a field error: %v", err)
				}
				refused = append(refused, f.Field)
			}
			if strings.Join(refused, " ") != strings.Join(c.refused, " ") {
				t.Errorf("refused %v, want %v", refused, c.refused)
			}
		})
	}
}

// TestGrantsFollowCheckDeclaration holds that what is refused is not granted, and that what is not refused is.
func TestGrantsFollowCheckDeclaration(t *testing.T) {
	no := false
	for _, policy := range []v1alpha1.ClusterPolicy{{}, {AllowWildcard: true}, {AdminTopicExemptions: []string{"*"}}, {AllowWildcard: true, AdminTopicExemptions: []string{"*"}}} {
		policy.FreeGroups = &no
		cluster := newCluster(policy)
		for _, entry := range []string{"*", "x", "x*", "shop-x", "shop-*", "a*b", ""} {
			for _, edit := range []func(*v1alpha1.KafkaUserSpec){
				func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{entry} },
				func(s *v1alpha1.KafkaUserSpec) { s.Produce = []string{entry} },
				func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{entry} },
				func(s *v1alpha1.KafkaUserSpec) { s.ConsumerGroups = []string{entry} },
			} {
				user := newUser(edit)
				refused, granted := CheckDeclaration(user, cluster), Grants(user, cluster, Facts{})
				if (len(refused) == 0) != (len(granted) > 0) {
					t.Errorf("%+v under %+v: refused %v, granted %d", user.Spec, policy, refused, len(granted))
				}
			}
		}
	}
}

func TestCheckTopic(t *testing.T) {
	cluster := newCluster(v1alpha1.ClusterPolicy{AdminTopicExemptions: []string{"legacy"}})
	for _, c := range []struct {
		topic, namespace string
		ok               bool
	}{
		{"shop-orders", "shop", true},
		{"orders", "shop", false},
		{"shop", "shop", false},
		{"legacy", "shop", true},
		{"orders", "kafka", true},
		{"shop-orders", "kafka", true},
		{"shop-orders", "sho", false},
	} {
		if err := CheckTopic(c.topic, c.namespace, cluster); (err == nil) != c.ok {
			t.Errorf("topic %s of namespace %s: %v", c.topic, c.namespace, err)
		}
	}
}
