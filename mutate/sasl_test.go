// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"testing"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// TestAdminIsNobodysKafkaUser holds that Signet does not log in as a KafkaUser, whose pods would then be its administrators, and
// that who did so before may go on to change other things.
func TestAdminIsNobodysKafkaUser(t *testing.T) {
	ledger := []v1alpha1.PrincipalMapping{
		{Spec: v1alpha1.PrincipalMappingSpec{Principal: "User:shop.orders", Owner: &v1alpha1.MappingOwner{Namespace: "shop", Name: "orders"}}},
		{Spec: v1alpha1.PrincipalMappingSpec{Principal: "User:partner"}},
	}
	as := func(username string) *v1alpha1.KafkaCluster {
		cluster := &v1alpha1.KafkaCluster{}
		cluster.Spec.Admin.SASL = &v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismSCRAMSHA512, Username: username}
		return cluster
	}
	const want = `spec.admin.sasl.username: Invalid value: "shop.orders": is the principal of KafkaUser shop/orders, and no KafkaUser can be a super user`
	if problems := JudgeCluster(nil, as("shop.orders"), ledger); len(problems) != 1 || problems[0].Error() != want {
		t.Errorf("%v, want %s", problems, want)
	}
	for _, username := range []string{"signet", "partner", ""} {
		if problems := JudgeCluster(nil, as(username), ledger); len(problems) != 0 {
			t.Errorf("%q: %v", username, problems)
		}
	}
	if problems := JudgeCluster(as("shop.orders"), as("shop.orders"), ledger); len(problems) != 0 {
		t.Errorf("what was so before: %v", problems)
	}
}
