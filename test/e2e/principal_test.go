// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/mapping"
	"github.com/signet-kafka/signet/test/stack"
)

// mappingManifest is an administrator's PrincipalMapping beside the KafkaCluster kafka.
func mappingManifest(name, principal, subjects string) string {
	return fmt.Sprintf(`
apiVersion: kafka.signet.dev/v1alpha1
kind: PrincipalMapping
metadata: {name: %s, namespace: kafka}
spec: {cluster: kafka, principal: "%s", subjects: [%s]}
`, name, principal, subjects)
}

// TestFirstClaimWins: whoever claims what another holds is refused when he applies it, with the holder's name.
func TestFirstClaimWins(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "claims")
	admin := ns + "-acme"
	t.Cleanup(func() {
		cleanup(t, "-n", "kafka", "delete", "principalmapping", admin, admin+"-second", "--ignore-not-found")
	})
	organization := "O=" + ns
	apply(t, "%s", mappingManifest(admin, "User:"+admin, `{exact: "CN=gateway,`+organization+`"}, {pattern: "CN=([a-z]+)\\.example,`+organization+`", replacement: "User:`+admin+`.$1"}`))
	waitCondition(t, "kafka", "principalmapping", admin, "Ready", "True", "Ready")
	for _, c := range []struct{ name, manifest, want string }{
		{"a subject that is held", mappingManifest(admin+"-second", "User:second", `{exact: "CN=gateway,`+organization+`"}`), "is held by PrincipalMapping kafka/" + admin},
		{"a subject below a pattern", mappingManifest(admin+"-second", "User:second", `{exact: "CN=web.example,`+organization+`"}`), "which is held by PrincipalMapping kafka/" + admin},
		{"a pattern that overlaps", mappingManifest(admin+"-second", "User:second", `{pattern: "CN=w[a-z.]+,`+organization+`"}`), "which is held by PrincipalMapping kafka/" + admin},
		{"a principal that is held", mappingManifest(admin+"-second", "User:"+admin, `{exact: "CN=x,`+organization+`"}`), "principal User:" + admin + " is held by"},
		{"a principal that a pattern gives", mappingManifest(admin+"-second", "User:"+admin+".web", `{exact: "CN=x,`+organization+`"}`), "is one that pattern"},
		{"every KafkaUser", mappingManifest(admin+"-second", "User:second", `{pattern: "CN=([^,]*),OU=([^,]*),O=([^,]*)"}`), "the certificates of KafkaUsers"},
		{"everybody in an ACL", mappingManifest(admin+"-second", "User:*", `{exact: "CN=x,`+organization+`"}`), "reserved"},
		{"a look-ahead", mappingManifest(admin+"-second", "User:second", `{pattern: "CN=(?=x)x,`+organization+`"}`), "look"},
		{"two kinds of subject in one", mappingManifest(admin+"-second", "User:second", `{exact: "CN=x", pattern: "CN=y"}`), "exactly one of"},
		{"a KafkaUser's external subject", fmt.Sprintf("\napiVersion: kafka.signet.dev/v1alpha1\nkind: KafkaUser\nmetadata: {name: claimant, namespace: %s}\nspec: {clusterRef: {name: kafka, namespace: kafka}, externalSubjects: [\"CN=gateway,%s\"]}\n", ns, organization), "is held by PrincipalMapping kafka/" + admin},
	} {
		t.Run(c.name, func(t *testing.T) {
			if said := refused(t, c.manifest); !strings.Contains(said, c.want) {
				t.Errorf("the API server says %q, want %q in it", said, c.want)
			}
		})
	}

	out, err := s.Signet(t.Context(), "explain", "CN=web.example,"+organization, "--cluster", "kafka/kafka")
	if err != nil || !strings.Contains(out, "User:"+admin+".web") || !strings.Contains(out, "PrincipalMapping kafka/"+admin) {
		t.Errorf("explain: %v\n%s", err, out)
	}
	var failed *stack.CommandError
	if out, err := s.Signet(t.Context(), "explain", "CN=stranger,"+organization, "--cluster", "kafka/kafka"); !errors.As(err, &failed) || failed.ExitCode != 1 || !strings.Contains(out, "no entry") {
		t.Errorf("explain of a stranger: %v\n%s", err, out)
	}
}

// TestBrokerConfigGeneration: what brokers mount changes with the ledger, its generation with it, and a new KafkaUser
// leaves a stock broker's rules alone.
func TestBrokerConfigGeneration(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "generation")
	read := func() (rules string, set *mapping.Set) {
		config, ok := get(t, "kafka", "configmap", v1alpha1.BrokerConfigName("kafka"))
		if !ok {
			t.Fatal("there is no broker configuration")
		}
		set, err := mapping.Parse([]byte(config.Data[v1alpha1.KeyMappingFile]), nil)
		if err != nil {
			t.Fatal(err)
		}
		return config.Data[v1alpha1.KeyMappingRules], set
	}
	rules, before := read()
	kafkaUser(t, ns, "orders", "consume: []\nworkload: {serviceAccountName: orders}")
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	eventually(t, "the mapping file has the KafkaUser", func() (bool, string) {
		again, after := read()
		bySubject, errA := after.Explain("CN=orders,OU="+ns+",O=signet", "")
		byWorkload, errB := after.Explain("", "spiffe://cluster.local/ns/"+ns+"/sa/orders")
		state := fmt.Sprintf("generation %d after %d: %+v %v, %+v %v", after.Generation(), before.Generation(), bySubject, errA, byWorkload, errB)
		return after.Generation() > before.Generation() && bySubject.Name == ns+".orders" && byWorkload.Name == ns+".orders" && again == rules, state
	})
}

// TestCertificateWaitsForItsPrincipal: no certificate is signed for a KafkaUser whose principal is another's, because a
// stock broker would map it all the same.
func TestCertificateWaitsForItsPrincipal(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "waits")
	holder := ns + "-holder"
	t.Cleanup(func() { cleanup(t, "-n", "kafka", "delete", "principalmapping", holder, "--ignore-not-found") })
	apply(t, "%s", mappingManifest(holder, "User:"+ns+".orders", `{exact: "CN=holder,O=`+ns+`"}`))
	waitCondition(t, "kafka", "principalmapping", holder, "Ready", "True", "Ready")
	manifest := fmt.Sprintf("\napiVersion: kafka.signet.dev/v1alpha1\nkind: KafkaUser\nmetadata: {name: orders, namespace: %s}\nspec: {clusterRef: {name: kafka, namespace: kafka}}\n", ns)
	if said := refused(t, manifest); !strings.Contains(said, "principal User:"+ns+".orders is held by PrincipalMapping kafka/"+holder) {
		t.Errorf("the API server says %q", said)
	}
	kubectl(t, "-n", "kafka", "delete", "principalmapping", holder)
	eventually(t, "the principal is free", func() (bool, string) {
		err := s.Apply(t.Context(), manifest)
		return err == nil, fmt.Sprint(err)
	})
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
}
