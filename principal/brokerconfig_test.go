// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestRenderBrokerConfig(t *testing.T) {
	cluster := kafka()
	cluster.Spec.SuperUsers = []string{"User:CN=broker,O=Bücher AG"}
	entries := []Entry{
		{Subject: "CN=orders,OU=shop,O=signet", Principal: "User:shop.orders"},
		{Subject: "spiffe://kafka.signet.dev/user/shop/orders", SPIFFE: true, Principal: "User:shop.orders"},
		{Subject: `CN=a/b\,c,O=Acme $1`, Principal: "User:legacy$1"},
		{Subject: "CN=" + strings.Repeat("x", maxRuleLength), Principal: "User:long"},
	}
	config, err := RenderBrokerConfig(cluster, []byte("-----BEGIN CERTIFICATE-----\n"), entries)
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
	again, err := RenderBrokerConfig(cluster, []byte("-----BEGIN CERTIFICATE-----\n"), []Entry{entries[3], entries[2], entries[1], entries[0]})
	if err != nil || again.Generation != config.Generation {
		t.Errorf("generation %s, %v after another order of the same entries; want %s", again.Generation, err, config.Generation)
	}
	fewer, err := RenderBrokerConfig(cluster, nil, entries)
	if err != nil || fewer.Generation == config.Generation {
		t.Errorf("generation %s, %v although the client CA changed", fewer.Generation, err)
	}
}

func TestAddingAUserLeavesTheStaticRulesAlone(t *testing.T) {
	before, _ := StaticRules(kafka(), nil)
	after, _ := StaticRules(kafka(), []Entry{{Subject: SubjectOf(kafka(), "shop", "orders").String(), Principal: ForUser("shop", "orders")}})
	if before != after || strings.Contains(before, "DEFAULT") {
		t.Fatalf("rules before: %s\nafter: %s", before, after)
	}
}

func TestRenderBrokerConfigRefusesWhatNoConfigMapHolds(t *testing.T) {
	var entries []Entry
	for range 1200 {
		entries = append(entries, Entry{Subject: "CN=" + strings.Repeat("x", 1000) + string(rune('a'+len(entries)%26)) + strings.Repeat("y", len(entries)), Principal: "User:x"})
	}
	if _, err := RenderBrokerConfig(kafka(), nil, entries); err == nil || !strings.Contains(err.Error(), "kafka/kafka") {
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
