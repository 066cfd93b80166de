// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/mapping"
)

// asked is what four KafkaUsers ask, in no order.
func asked() []Asked {
	return []Asked{
		{"User:shop.b", v1alpha1.EnforcementEnforce},
		{"User:shop.a", v1alpha1.EnforcementEnforce},
		{"User:shop.c", v1alpha1.EnforcementAudit},
		{"User:shop.d", v1alpha1.EnforcementInherit},
		{"User:listed", v1alpha1.EnforcementAudit},
	}
}

func TestAuthorization(t *testing.T) {
	listed := []string{"User:listed", "User:shop.a"}
	for name, test := range map[string]struct {
		authorization     v1alpha1.Authorization
		enforced, audited []string
	}{
		"audit":      {v1alpha1.Authorization{Mode: v1alpha1.AuthorizationAudit, Enforced: listed, Exemptions: v1alpha1.ExemptionsAllow}, nil, nil},
		"no mode":    {v1alpha1.Authorization{Enforced: listed}, nil, nil},
		"hybrid":     {v1alpha1.Authorization{Mode: v1alpha1.AuthorizationHybrid, Enforced: listed}, []string{"User:listed", "User:shop.a", "User:shop.b"}, nil},
		"enforce":    {v1alpha1.Authorization{Mode: v1alpha1.AuthorizationEnforce, Enforced: listed}, nil, nil},
		"exemptions": {v1alpha1.Authorization{Mode: v1alpha1.AuthorizationEnforce, Enforced: listed, Exemptions: v1alpha1.ExemptionsAllow}, nil, []string{"User:shop.c"}},
	} {
		t.Run(name, func(t *testing.T) {
			enforced, audited := Authorization(&test.authorization, asked())
			if !slices.Equal(enforced, test.enforced) || !slices.Equal(audited, test.audited) {
				t.Errorf("enforced %q, audited %q; want %q and %q", enforced, audited, test.enforced, test.audited)
			}
			// What a KafkaUser's status says is what its brokers do.
			cluster := kafka()
			cluster.Spec.Authorization = &test.authorization
			for _, a := range asked() {
				u := user("shop", "x")
				u.Spec.Enforcement = a.Enforcement
				denied := test.authorization.Mode == v1alpha1.AuthorizationHybrid && slices.Contains(enforced, a.Principal) ||
					test.authorization.Mode == v1alpha1.AuthorizationEnforce && !slices.Contains(audited, a.Principal)
				if got := u.EffectiveAuthorization(cluster, a.Principal); (got == v1alpha1.Enforced) != denied {
					t.Errorf("%s: the status says %s, and brokers deny: %t", a.Principal, got, denied)
				}
			}
		})
	}
}

func TestRenderAuthorization(t *testing.T) {
	cluster := kafka()
	cluster.Spec.Authorization = &v1alpha1.Authorization{Mode: v1alpha1.AuthorizationHybrid, Enforced: []string{"User:CN=legacy,O=<Acme> & Söhne"}, People: `User:[a-z]+@example\.com`}
	config, err := RenderBrokerConfig(cluster, nil, nil, asked(), 7)
	if err != nil {
		t.Fatal(err)
	}
	for key, file := range map[string]string{v1alpha1.KeyAuthorizationFile: "authorization.json", v1alpha1.KeySignetServerProperties: "authorization.properties"} {
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, []byte(config.Data[key]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if config.Data[key] != string(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", key, config.Data[key], want)
		}
	}
	if stock := config.Data[v1alpha1.KeyServerProperties]; strings.Contains(stock, "authoriz") {
		t.Errorf("a stock broker is told of Signet's authorizer:\n%s", stock)
	}
	reversed := asked()
	slices.Reverse(reversed)
	if again, err := RenderBrokerConfig(cluster, nil, nil, append(reversed, reversed...), 7); err != nil || again.Data[v1alpha1.KeyAuthorizationFile] != config.Data[v1alpha1.KeyAuthorizationFile] {
		t.Errorf("another order gave another file, %v", err)
	}
	cluster.Spec.Authorization = &v1alpha1.Authorization{}
	if config, err = RenderBrokerConfig(cluster, nil, nil, asked(), 1); err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(config.Data[v1alpha1.KeyAuthorizationFile]), &fields); err != nil || string(fields["enforced"]) != "[]" || string(fields["audited"]) != "[]" || string(fields["mode"]) != `"Audit"` || fields["people"] != nil {
		t.Errorf("of an authorization with nothing in it: %s, %v", config.Data[v1alpha1.KeyAuthorizationFile], err)
	}
	cluster.Spec.Authorization = nil
	if config, err = RenderBrokerConfig(cluster, nil, nil, asked(), 1); err != nil || config.Data[v1alpha1.KeyAuthorizationFile] != "" || strings.Contains(config.Data[v1alpha1.KeySignetServerProperties], "authoriz") {
		t.Errorf("without authorization: %v, %v", config.Data, err)
	}
	for _, wrong := range []v1alpha1.Authorization{{People: "("}, {People: `(?=x)`}, {Enforced: []string{"User:a\nb"}, Mode: v1alpha1.AuthorizationHybrid}} {
		cluster.Spec.Authorization = &wrong
		if _, err := RenderBrokerConfig(cluster, nil, nil, nil, 1); err == nil || !strings.Contains(err.Error(), "kafka/kafka") || !strings.Contains(err.Error(), "spec.authorization") {
			t.Errorf("%+v: %v, want an error that names the cluster and the field", wrong, err)
		}
	}
}

// TestAuthorizationOfTenThousandUsers holds that with ten thousand enforced users mapping.json moves to shards, so that both
// files fit, and that what cannot fit is refused with what to do.
func TestAuthorizationOfTenThousandUsers(t *testing.T) {
	cluster := kafka()
	cluster.Spec.Authorization = &v1alpha1.Authorization{Mode: v1alpha1.AuthorizationHybrid}
	var entries []Entry
	var users []Asked
	for i := range 10000 {
		name := fmt.Sprintf("user-%d", i)
		entries = append(entries, Entry{KindExact, SubjectOf(cluster, "namespace", name).String(), "User:namespace." + name},
			Entry{KindSPIFFE, "spiffe://kafka.signet.dev/user/namespace/" + name, "User:namespace." + name})
		users = append(users, Asked{"User:namespace." + name, v1alpha1.EnforcementEnforce})
	}
	config, err := RenderBrokerConfig(cluster, nil, entries, users, 1)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for key, value := range config.Data {
		size += len(key) + len(value)
	}
	if size > maxBrokerConfig || len(config.Shards) == 0 {
		t.Errorf("%d bytes and %d shards", size, len(config.Shards))
	}
	read := func(file string) ([]byte, error) {
		for _, shard := range config.Shards {
			if text, ok := shard[file]; ok {
				return []byte(text), nil
			}
		}
		return nil, os.ErrNotExist
	}
	if set, err := mapping.Parse([]byte(config.Data[v1alpha1.KeyMappingFile]), read); err != nil || set.Len() != len(entries)+1 {
		t.Errorf("the mapping beside it: %v", err)
	}
	for i := range users {
		users[i].Principal += strings.Repeat("x", 100)
	}
	if _, err := RenderBrokerConfig(cluster, nil, entries, users, 1); err == nil || !strings.Contains(err.Error(), "authorization.mode Enforce") {
		t.Errorf("more than a ConfigMap holds: %v, want an error that says what to do", err)
	}
}
