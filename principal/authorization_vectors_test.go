// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// TestRenderedAuthorizationIsAVector holds that those vectors of test/vectors/authorization whose file the controller renders
// are what it renders now; the broker's tests hold that it reads all vectors, and decides as they say.
func TestRenderedAuthorizationIsAVector(t *testing.T) {
	type decision struct {
		Principal string `json:"principal"`
		Enforced  bool   `json:"enforced"`
		Person    bool   `json:"person"`
	}
	users := []Asked{{"User:shop.orders", v1alpha1.EnforcementEnforce}, {"User:shop.cart", v1alpha1.EnforcementAudit}, {"User:billing.ledger", v1alpha1.EnforcementInherit}}
	for name, enforced := range map[string]map[string]bool{
		"rendered-audit":   {},
		"rendered-hybrid":  {"User:shop.orders": true, "User:CN=old,O=Größe \"<&>\"": true},
		"rendered-enforce": {"User:shop.orders": true, "User:CN=old,O=Größe \"<&>\"": true, "User:billing.ledger": true, "User:ann@example.com": true},
	} {
		cluster := &v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"}}
		mode := map[string]v1alpha1.AuthorizationMode{"rendered-audit": v1alpha1.AuthorizationAudit, "rendered-hybrid": v1alpha1.AuthorizationHybrid, "rendered-enforce": v1alpha1.AuthorizationEnforce}[name]
		cluster.Spec.Authorization = &v1alpha1.Authorization{
			Mode: mode, Exemptions: v1alpha1.ExemptionsAllow, Enforced: []string{`User:CN=old,O=Größe "<&>"`}, People: `User:[a-z.]+@example\.com`,
		}
		file, err := renderAuthorization(cluster, users, 42)
		if err != nil {
			t.Fatal(err)
		}
		vector := struct {
			Name       string     `json:"name"`
			File       string     `json:"file"`
			Error      string     `json:"error"`
			Principals []decision `json:"principals"`
		}{Name: name, File: file}
		for _, principal := range []string{"User:shop.orders", "User:shop.cart", "User:billing.ledger", `User:CN=old,O=Größe "<&>"`, "User:ann@example.com"} {
			vector.Principals = append(vector.Principals, decision{principal, enforced[principal], principal == "User:ann@example.com"})
		}
		text, err := json.MarshalIndent(vector, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "test", "vectors", "authorization", name+".json")
		if *update {
			if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(path); err != nil || string(have) != string(text)+"\n" {
			t.Errorf("%s is not what is rendered now (%v); go test -update writes it", path, err)
		}
	}
}
