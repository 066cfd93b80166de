// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"slices"
	"testing"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func TestPreviewOf(t *testing.T) {
	cluster := newCluster(v1alpha1.ClusterPolicy{DefaultQuotas: &v1alpha1.Quotas{RequestPercentage: quantity("50")}})
	consumes := func(topics ...string) *v1alpha1.KafkaUser {
		return newUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = topics })
	}
	suspended := consumes("payments")
	suspended.Spec.Suspend = true
	const groups = 2
	for name, test := range map[string]struct {
		before, after    *v1alpha1.KafkaUser
		creates, deletes int
		quotas           string
	}{
		"new":            {nil, consumes("payments"), 3 + groups, 0, " -> request_percentage=50"},
		"deleted":        {consumes("payments"), nil, 0, 3 + groups, "request_percentage=50 -> "},
		"the same":       {consumes("payments"), consumes("payments"), 0, 0, "request_percentage=50 -> request_percentage=50"},
		"another topic":  {consumes("payments"), consumes("refunds"), 3, 3, "request_percentage=50 -> request_percentage=50"},
		"one more topic": {consumes("payments"), consumes("refunds", "payments"), 3, 0, "request_percentage=50 -> request_percentage=50"},
		"suspended":      {consumes("payments"), suspended, 0, 3 + groups, "request_percentage=50 -> request_percentage=50"},
	} {
		t.Run(name, func(t *testing.T) {
			p := PreviewOf(DeclaredBy(test.before, cluster, Facts{}), DeclaredBy(test.after, cluster, Facts{}))
			if len(p.Create) != test.creates || len(p.Delete) != test.deletes {
				t.Errorf("creates %v, deletes %v", p.Create, p.Delete)
			}
			if got := fmt.Sprintf("%s -> %s", p.Before, p.After); got != test.quotas {
				t.Errorf("quotas %s, want %s", got, test.quotas)
			}
			if p.Empty() != (name == "the same") {
				t.Errorf("empty %t", p.Empty())
			}
		})
	}
}

func TestGrandfathered(t *testing.T) {
	topics := []string{"orders", "shop-orders", "legacy.a", "legacy.b", "__consumer_offsets", "shopping", "orders", "", "shop-"}
	got := Grandfathered(topics, []string{"shop", "bank"}, []string{"legacy.a", "shopp*"})
	if want := []string{"legacy.b", "orders"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Grandfathered(topics, nil, []string{"*"}); len(got) > 0 {
		t.Errorf("all are exempt, and yet %q", got)
	}
}
