// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/mapping"
	"github.com/signet-kafka/signet/principal/rules"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestRenderBrokerConfig(t *testing.T) {
	cluster := kafka()
	cluster.Spec.SuperUsers = []string{"User:CN=broker,O=Bücher AG"}
	entries := []Entry{
		{KindExact, "CN=orders,OU=shop,O=signet", "User:shop.orders"},
		{KindSPIFFE, "spiffe://kafka.signet.dev/user/shop/orders", "User:shop.orders"},
		{KindExact, `CN=a/b\,c,O=Acme $1`, "User:legacy$1"},
		{KindExact, "CN=" + strings.Repeat("x", 1000), "User:long"},
		{KindPattern, `CN=([a-z]+)/([0-9]+)\.acme,O=Acme`, "User:acme.$2$$$1/"},
	}
	config, err := RenderBrokerConfig(cluster, []byte("-----BEGIN CERTIFICATE-----\n"), entries, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Skipped) != 1 || config.Skipped[0] != entries[3].Subject {
		t.Errorf("skipped %v, want the subject that is too long", config.Skipped)
	}
	for key, got := range config.Data {
		path := filepath.Join("testdata", "brokerconfig", key)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", key, got, want)
		}
	}
	slices.Reverse(entries)
	again, err := RenderBrokerConfig(cluster, []byte("-----BEGIN CERTIFICATE-----\n"), entries, nil, 3)
	if err != nil || !maps.Equal(again.Data, config.Data) {
		t.Errorf("another order of the same entries gave another result, %v", err)
	}
	if _, err := mapping.Parse([]byte(config.Data[v1alpha1.KeyMappingFile]), nil); err != nil {
		t.Errorf("the mapping file cannot be read: %v", err)
	}
	if _, err := rules.Parse(config.Data[v1alpha1.KeyMappingRules]); err != nil {
		t.Errorf("the rules cannot be read: %v", err)
	}
}

// TestRulesAndMappingFileAgree is the law of a cluster's two answers: a stock broker and one with Signet's jar give
// every subject of the ledger the same principal.
func TestRulesAndMappingFileAgree(t *testing.T) {
	for _, template := range []string{"", "{name}@{namespace}", "{namespace}-{name}", "CN={namespace}-{serviceAccount}"} {
		cluster := kafka()
		cluster.Spec.PrincipalTemplate = template
		var entries []Entry
		for _, namespace := range []string{"shop", "a-b"} {
			for _, name := range []string{"orders", "x1"} {
				u := user(namespace, name)
				u.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: name + ".sa"}
				principal, err := ForUser(cluster, u)
				if err != nil {
					t.Fatal(err)
				}
				entries = append(entries, Entry{KindExact, SubjectOf(cluster, namespace, name).String(), principal})
			}
		}
		entries = append(entries,
			Entry{KindExact, `CN=a\, b \+ c/d$1,O=Acme`, "User:legacy $1/"},
			Entry{KindExact, "CN=Bücher,O=Acme", "User:bücher"},
			Entry{KindExact, `1.2.840.113549.1.9.1=#1603614062,CN=mail`, "User:mail"},
			Entry{KindPattern, `CN=([a-z]+)/([0-9]+)\.acme,O=Acme`, "User:acme.$2$$$1"})
		config, err := RenderBrokerConfig(cluster, nil, entries, nil, 1)
		if err != nil || len(config.Skipped) > 0 {
			t.Fatalf("%q: %v, skipped %v", template, err, config.Skipped)
		}
		set, err := mapping.Parse([]byte(config.Data[v1alpha1.KeyMappingFile]), nil)
		if err != nil {
			t.Fatal(err)
		}
		list, err := rules.Parse(config.Data[v1alpha1.KeyMappingRules])
		if err != nil {
			t.Fatal(err)
		}
		subjects := map[string]string{"CN=web/12.acme,O=Acme": "acme.12$web", ControllerSubject(cluster).String(): "signet:kafka.kafka"}
		for _, e := range entries {
			if e.Kind == KindExact {
				subjects[e.Subject] = strings.TrimPrefix(e.Principal, TypeUser)
			}
		}
		for subject, want := range subjects {
			stock, err := list.Principal(subject)
			if err != nil || stock.Name != want {
				t.Errorf("%q: stock rules give %s %q, %v; want %q", template, subject, stock.Name, err, want)
			}
			exact, err := set.Explain(subject, "")
			if err != nil || exact.Name != want {
				t.Errorf("%q: the mapping file gives %s %q, %v; want %q", template, subject, exact.Name, err, want)
			}
		}
		for _, stranger := range []string{"", "CN=stranger", "CN=orders,OU=shop,O=signet,C=DE", "CN=orders,OU=shop,O=signetx", "CN=web/12.acme,O=Acme,C=DE"} {
			if got, err := list.Principal(stranger); !errors.Is(err, rules.ErrNoMatch) {
				t.Errorf("%q: stock rules give %q %q, %v", template, stranger, got.Name, err)
			}
			if got, err := set.Explain(stranger, ""); err == nil {
				t.Errorf("%q: the mapping file gives %q %q", template, stranger, got.Name)
			}
		}
	}
}

func TestAddingAUserLeavesTheStaticRulesAlone(t *testing.T) {
	user := []Entry{{KindExact, SubjectOf(kafka(), "shop", "orders").String(), "User:shop.orders"}}
	before, _, err := StaticRules(kafka(), nil)
	if err != nil {
		t.Fatal(err)
	}
	after, _, err := StaticRules(kafka(), user)
	if err != nil || before != after || strings.Contains(before, "DEFAULT") {
		t.Fatalf("rules before: %s\nafter: %s, %v", before, after, err)
	}
	// With a template by which two users could share a principal, no rule may speak for users that nobody judged.
	cluster := kafka()
	cluster.Spec.PrincipalTemplate = "{namespace}-{name}"
	if none, _, err := StaticRules(cluster, nil); err != nil || strings.Contains(none, "[a-z0-9-]") {
		t.Errorf("rules: %s, %v", none, err)
	}
}

func TestRenderBrokerConfigShardsTenThousandUsers(t *testing.T) {
	var entries []Entry
	for i := range 10000 {
		name := fmt.Sprintf("user-%d", i)
		entries = append(entries,
			Entry{KindExact, SubjectOf(kafka(), "namespace", name).String(), "User:namespace." + name},
			Entry{KindSPIFFE, "spiffe://kafka.signet.dev/user/namespace/" + name, "User:namespace." + name},
			Entry{KindSPIFFE, "spiffe://cluster.local/ns/namespace/sa/" + name, "User:namespace." + name})
	}
	config, err := RenderBrokerConfig(kafka(), nil, entries, nil, 1)
	if err != nil || len(config.Shards) == 0 {
		t.Fatalf("%d shards, %v", len(config.Shards), err)
	}
	size := func(data map[string]string) (n int) {
		for key, value := range data {
			n += len(key) + len(value)
		}
		return n
	}
	for i, data := range append(config.Shards, config.Data) {
		if size(data) > maxBrokerConfig {
			t.Errorf("ConfigMap %d has %d bytes", i, size(data))
		}
	}
	set, err := mapping.Parse([]byte(config.Data[v1alpha1.KeyMappingFile]), func(file string) ([]byte, error) {
		for _, shard := range config.Shards {
			if text, ok := shard[file]; ok {
				return []byte(text), nil
			}
		}
		return nil, os.ErrNotExist
	})
	if err != nil || set.Len() != len(entries)+1 {
		t.Errorf("read %d entries of %d, %v", set.Len(), len(entries)+1, err)
	}
}

func TestRenderBrokerConfigRefusesWhatNoConfigMapHolds(t *testing.T) {
	var entries []Entry
	for i := range 2000 {
		entries = append(entries, Entry{KindExact, fmt.Sprintf("CN=%s%d", strings.Repeat("x", 700), i), "User:x"})
	}
	if _, err := RenderBrokerConfig(kafka(), nil, entries, nil, 1); err == nil || !strings.Contains(err.Error(), "kafka/kafka") {
		t.Fatalf("RenderBrokerConfig = %v, want an error that names the cluster", err)
	}
}

func TestTheControllersSubjectIsNoUsers(t *testing.T) {
	for _, marker := range []string{"signet", "signet-controller"} {
		cluster := kafka()
		cluster.Spec.Certificates.Organization = marker
		if userSubjectPattern(marker).MatchString(ControllerSubject(cluster).String()) {
			t.Errorf("organization %s: the rule of users matches %s", marker, ControllerSubject(cluster))
		}
	}
}
