// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// TestAdminPrincipal holds whom brokers take Signet for, and that this one is a super user that no mapping can claim.
func TestAdminPrincipal(t *testing.T) {
	const own = "User:signet:kafka.kafka"
	for name, c := range map[string]struct {
		sasl          *v1alpha1.AdminSASL
		status, admin string
		supers        []string
	}{
		"certificate":             {nil, "User:old", own, []string{own, "User:broker"}},
		"password":                {&v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismSCRAMSHA256, Username: "shop.orders"}, "User:old", "User:shop.orders", []string{own, "User:shop.orders", "User:broker"}},
		"password of a super one": {&v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismSCRAMSHA512, Username: "broker"}, "", "User:broker", []string{own, "User:broker"}},
		"token":                   {&v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismOAuthBearer}, "User:shop.orders", "User:shop.orders", []string{own, "User:shop.orders", "User:broker"}},
		"no token yet":            {&v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismOAuthBearer}, "", "", []string{own, "User:broker"}},
		"token of two":            {&v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismOAuthBearer}, "User:a;User:b", "User:a;User:b", []string{own, "User:broker"}},
	} {
		cluster := &v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"}}
		cluster.Spec.Admin.SASL, cluster.Status.AdminPrincipal, cluster.Spec.SuperUsers = c.sasl, c.status, []string{"User:broker"}
		if got := ForAdmin(cluster); got != c.admin {
			t.Errorf("%s: principal %q, want %q", name, got, c.admin)
		}
		if got := superUsers(cluster); !slices.Equal(got, c.supers) {
			t.Errorf("%s: super users %q, want %q", name, got, c.supers)
		}
		user := &v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}}
		disputes := Claimed(cluster, nil, user)
		if claimed := slices.ContainsFunc(disputes, func(d string) bool { return strings.Contains(d, "Signet's own connection") }); claimed != (c.admin == "User:shop.orders") {
			t.Errorf("%s: disputes of KafkaUser shop/orders: %q", name, disputes)
		}
	}
}
