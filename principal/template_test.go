// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestTemplateCollision(t *testing.T) {
	for template, collides := range map[string]bool{
		"":                                    false,
		"{namespace}.{name}":                  false,
		"{name}@{namespace}":                  false,
		"{name}.{namespace}":                  false,
		"CN={name},OU={namespace}":            false,
		"{namespace}_{serviceAccount}":        false,
		"{namespace}.{serviceAccount}":        false, // a namespace has no dot, so the first one separates
		"{serviceAccount}.{namespace}":        false, // and so the last one
		"{namespace}-{name}":                  true,
		"CN={namespace}-{serviceAccount}":     true,
		"{namespace}{name}":                   true,
		"{namespace}x{name}":                  true,
		"{serviceAccount}.{name}.{namespace}": false,
		"{namespace}.{serviceAccount}-{name}": true,
	} {
		parsed, err := ParseTemplate(template)
		if err != nil {
			t.Fatal(err)
		}
		a, b, name, ok, err := parsed.Collision()
		if err != nil || ok != collides {
			t.Errorf("%q: collision %v of %+v and %+v, %v; want %v", template, ok, a, b, err, collides)
			continue
		}
		if !ok {
			continue
		}
		first, errA := parsed.Name(a)
		second, errB := parsed.Name(b)
		if errA != nil || errB != nil || first != name || second != name || a == b {
			t.Errorf("%q: %+v is %q (%v) and %+v is %q (%v); want both to be %q", template, a, first, errA, b, second, errB, name)
		}
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	for _, template := range []string{"{namespace}.{Name}", "{}", "{namespace", "{namespace}/{name}", `{namespace}\{name}`, "{namespace}:{name}", "{namespace}$1", "{namespace};{name}"} {
		if _, err := ParseTemplate(template); err == nil {
			t.Errorf("ParseTemplate accepts %q", template)
		}
	}
	parsed, err := ParseTemplate("{namespace}-{serviceAccount}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Name(Identity{Namespace: "shop", Name: "orders"}); err == nil || !strings.Contains(err.Error(), "serviceAccountName") {
		t.Errorf("Name without a service account: %v", err)
	}
}

// TestPrincipalsAreInjective is the law behind the default principal: two KafkaUsers never share one, nor does one have
// that of Signet itself.
func TestPrincipalsAreInjective(t *testing.T) {
	const seed = 20261122
	random := rand.New(rand.NewPCG(seed, 4))
	label := func() string {
		const inner = "ab-"
		b := []byte{inner[random.IntN(2)]}
		for range random.IntN(5) {
			b = append(b, inner[random.IntN(3)])
		}
		return string(append(b, inner[random.IntN(2)]))
	}
	seen := map[string]string{}
	for range 50000 {
		u := user(label(), label())
		p, err := ForUser(kafka(), u)
		if err != nil {
			t.Fatal(err)
		}
		who := u.Namespace + "/" + u.Name
		if other, taken := seen[p]; taken && other != who {
			t.Fatalf("seed %d: %s is both %s and %s", seed, p, other, who)
		}
		seen[p] = who
		if p == ForController(u.Namespace, u.Name) {
			t.Fatalf("%s is also Signet's own", p)
		}
	}
}

func TestCollisionsInOnePass(t *testing.T) {
	template, err := ParseTemplate("CN={namespace}-{serviceAccount}")
	if err != nil {
		t.Fatal(err)
	}
	identities := []Identity{
		{"a-b", "one", "c"}, {"a", "two", "b-c"}, {"a", "three", "b"}, {"a", "four", ""},
	}
	for i := range 1000 {
		identities = append(identities, Identity{"shop", "user", fmt.Sprintf("sa%d", i)})
	}
	got := template.Collisions(identities)
	if len(got) != 1 || len(got["CN=a-b-c"]) != 2 {
		t.Errorf("Collisions = %v", got)
	}
}
