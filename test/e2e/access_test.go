// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/test/stack"
)

// superuser connects from the host as Signet itself does, with a certificate that the test signs with the mesh CA.
func superuser(t *testing.T) *kadm.Client {
	t.Helper()
	block, _ := pem.Decode([]byte(secretKey(t, "istio-system", "istio-ca-secret", "ca-key.pem")))
	if block == nil {
		t.Fatal("istio-ca-secret holds no key")
	}
	var signer any
	signer, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	cluster := &v1alpha1.KafkaCluster{}
	cluster.Namespace, cluster.Name = "kafka", "kafka"
	subject, err := principal.ControllerSubject(cluster).RawDER()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		RawSubject: subject, SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, parseCertificate(t, secretKey(t, "istio-system", "istio-ca-secret", "ca-cert.pem")), &key.PublicKey, signer.(*rsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(secretKey(t, "kafka", "kafka-broker-tls", "ca.crt")))
	client, err := kgo.NewClient(
		kgo.SeedBrokers(fmt.Sprintf("%s:%d", s.NodeIP, stack.ExternalPort)),
		kgo.DialTLSConfig(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}),
		kgo.RequestRetries(5),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// aclsOf lists the broker's ACLs of a principal, one line each, sorted.
func aclsOf(t *testing.T, admin *kadm.Client, name string) []string {
	t.Helper()
	filter := kadm.NewACLs().AnyResource().ResourcePatternType(kadm.ACLPatternAny).Operations(kadm.OpAny).
		Allow(name).AllowHosts().Deny(name).DenyHosts()
	results, err := admin.DescribeACLs(t.Context(), filter)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, result := range results {
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		for _, acl := range result.Described {
			lines = append(lines, fmt.Sprintf("%s %s %s %s %s %s", acl.Permission, strings.ToUpper(acl.Operation.String()), strings.ToUpper(acl.Type.String()), strings.ToUpper(acl.Pattern.String()), acl.Name, acl.Host))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// TestBundlesOnTheBroker compares the broker's own list of ACLs with the table of docs/access.md.
func TestBundlesOnTheBroker(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "bundles")
	admin := superuser(t)
	topicRights := func(pattern, name string, operations ...string) (lines []string) {
		for _, operation := range operations {
			lines = append(lines, fmt.Sprintf("ALLOW %s TOPIC %s %s *", operation, pattern, name))
		}
		return lines
	}
	free := []string{"ALLOW ALL GROUP LITERAL " + ns + " *", "ALLOW ALL GROUP PREFIXED " + ns + ". *"}
	transactional := []string{
		"ALLOW WRITE TRANSACTIONAL_ID LITERAL " + ns + " *", "ALLOW DESCRIBE TRANSACTIONAL_ID LITERAL " + ns + " *",
		"ALLOW WRITE TRANSACTIONAL_ID PREFIXED " + ns + ". *", "ALLOW DESCRIBE TRANSACTIONAL_ID PREFIXED " + ns + ". *",
	}
	for _, c := range []struct {
		name, spec string
		want       []string
	}{
		{"nothing", "consume: []", nil},
		{"consume", "consume: [a]", slices.Concat(topicRights("LITERAL", "a", "READ", "DESCRIBE", "DESCRIBE_CONFIGS"), free)},
		{"consume-prefix", `consume: ["a.*"]`, slices.Concat(topicRights("PREFIXED", "a.", "READ", "DESCRIBE", "DESCRIBE_CONFIGS"), free)},
		{"produce", "produce: [a]", slices.Concat(topicRights("LITERAL", "a", "WRITE", "READ", "DESCRIBE", "DESCRIBE_CONFIGS"), transactional)},
		{"admin", fmt.Sprintf("admin: [%s-a]", ns), slices.Concat(topicRights("LITERAL", ns+"-a", "CREATE", "DELETE", "WRITE", "READ", "DESCRIBE", "DESCRIBE_CONFIGS"), transactional, free)},
		{"groups", `consumerGroups: [g, "h*"]`, []string{"ALLOW ALL GROUP LITERAL g *", "ALLOW ALL GROUP PREFIXED h *"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kafkaUser(t, ns, c.name, c.spec)
			user := waitCondition(t, ns, "kafkauser", c.name, "AccessSynced", "True", "")
			got := aclsOf(t, admin, "User:"+ns+"."+c.name)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("the broker holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if user.Status.ACLs == nil || *user.Status.ACLs != len(c.want) {
				t.Errorf("status.acls is %v, want %d", user.Status.ACLs, len(c.want))
			}
		})
	}
}

// TestDriftIsRepaired edits the broker's ACLs by hand: a managed principal's are put right, an unmanaged one's stay.
func TestDriftIsRepaired(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "drift")
	admin := superuser(t)
	kafkaUser(t, ns, "orders", "consume: [a]")
	waitCondition(t, ns, "kafkauser", "orders", "AccessSynced", "True", "")
	managed, unmanaged := "User:"+ns+".orders", "User:CN=by-hand,O="+ns
	before := aclsOf(t, admin, managed)

	create := kadm.NewACLs().Topics(ns+"-stolen").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead).Allow(managed, unmanaged).AllowHosts("*")
	if _, err := admin.CreateACLs(t.Context(), create); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The principal is nobody's, so that nobody but the test takes its ACL away; the test's own context has ended.
		if _, err := admin.DeleteACLs(context.Background(), kadm.NewACLs().Topics(ns+"-stolen").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead).Allow(unmanaged).AllowHosts("*")); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	remove := kadm.NewACLs().Topics("a").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead).Allow(managed).AllowHosts("*")
	if _, err := admin.DeleteACLs(t.Context(), remove); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(aclsOf(t, admin, managed), before) {
		t.Fatal("the hand edit had no effect")
	}
	// A change of the KafkaCluster's annotations asks for a comparison at once; without it, it comes every five minutes.
	kubectl(t, "-n", "kafka", "annotate", "kafkacluster", "kafka", "--overwrite", "example.com/compare="+ns)
	eventually(t, "the ACLs are put right", func() (bool, string) {
		now := aclsOf(t, admin, managed)
		return slices.Equal(now, before), strings.Join(now, "; ")
	})
	if kept := aclsOf(t, admin, unmanaged); len(kept) != 1 {
		t.Errorf("the unmanaged principal has %v, want what was given by hand", kept)
	}
}

// TestKafkaDownWhileUsersChange: what is declared while Kafka is down is in force after it comes back.
func TestKafkaDownWhileUsersChange(t *testing.T) {
	ns := namespace(t, "outage")
	kafkaUser(t, ns, "kept", "consume: [a]")
	kafkaUser(t, ns, "removed", "consume: [a]")
	waitCondition(t, ns, "kafkauser", "kept", "AccessSynced", "True", "")
	waitCondition(t, ns, "kafkauser", "removed", "AccessSynced", "True", "")

	kubectl(t, "-n", "kafka", "scale", "statefulset", "kafka", "--replicas=0")
	t.Cleanup(func() {
		cleanup(t, "-n", "kafka", "scale", "statefulset", "kafka", "--replicas=1")
		cleanup(t, "-n", "kafka", "rollout", "status", "statefulset/kafka", "--timeout=80s")
	})
	kubectl(t, "-n", "kafka", "wait", "--for=delete", "pod/kafka-0", "--timeout=60s")
	kafkaUser(t, ns, "kept", "consume: [b]")
	kafkaUser(t, ns, "added", "consume: [c]")
	kubectl(t, "-n", ns, "delete", "kafkauser", "removed", "--wait=false")
	waitCondition(t, ns, "kafkauser", "added", "AccessSynced", "False", "Unreachable")
	if _, found := get(t, ns, "kafkauser", "removed"); !found {
		t.Error("the deleted user went although its ACLs could not be removed")
	}
	kubectl(t, "-n", "kafka", "scale", "statefulset", "kafka", "--replicas=1")
	kubectl(t, "-n", "kafka", "rollout", "status", "statefulset/kafka", "--timeout=120s")

	waitCondition(t, ns, "kafkauser", "added", "Ready", "True", "")
	waitCondition(t, ns, "kafkauser", "kept", "Ready", "True", "")
	eventually(t, "the deleted user goes", func() (bool, string) {
		_, found := get(t, ns, "kafkauser", "removed")
		return !found, "still there"
	})
	admin := superuser(t)
	for user, want := range map[string]string{"kept": "ALLOW READ TOPIC LITERAL b *", "added": "ALLOW READ TOPIC LITERAL c *", "removed": ""} {
		lines := aclsOf(t, admin, "User:"+ns+"."+user)
		if want == "" && len(lines) > 0 || want != "" && !slices.Contains(lines, want) || slices.Contains(lines, "ALLOW READ TOPIC LITERAL a *") {
			t.Errorf("%s has %v, want %q", user, lines, want)
		}
	}
}

// TestTopic: create, grow, configure, adopt, refuse to shrink, and keep or delete in the end.
func TestTopic(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "topics")
	admin := superuser(t)
	name := ns + "-events"
	declare := func(spec string) string {
		return fmt.Sprintf(`
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaTopic
metadata: {name: %s, namespace: %s}
spec:
  clusterRef: {name: kafka, namespace: kafka}
%s
`, name, ns, indent(spec))
	}
	apply(t, "%s", declare("partitions: 2\nconfig: {retention.ms: \"3600000\"}\ndeletionPolicy: Delete"))
	created := waitCondition(t, ns, "kafkatopic", name, "Ready", "True", "")
	if created.Status.Partitions != 2 || created.Status.Topic != name {
		t.Errorf("status %+v", created.Status)
	}
	retention := func() string {
		configs, err := admin.DescribeTopicConfigs(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range configs[0].Configs {
			if c.Key == "retention.ms" && c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				return c.MaybeValue()
			}
		}
		return ""
	}
	if got := retention(); got != "3600000" {
		t.Errorf("retention.ms is %q", got)
	}
	apply(t, "%s", declare("partitions: 5\ndeletionPolicy: Delete"))
	eventually(t, "the topic grows", func() (bool, string) {
		o, _ := get(t, ns, "kafkatopic", name)
		return o.Status.Partitions == 5 && o.condition("Ready").Status == "True", fmt.Sprintf("%+v", o.Status)
	})
	eventually(t, "retention.ms returns to the default", func() (bool, string) { return retention() == "", retention() })
	if said := refused(t, declare("partitions: 1\ndeletionPolicy: Delete")); !strings.Contains(said, "cannot remove partitions") {
		t.Errorf("the API server says %q", said)
	}
	apply(t, "%s", declare("partitions: 5\nconfig: {retention.ms: nonsense}\ndeletionPolicy: Delete"))
	broken := waitCondition(t, ns, "kafkatopic", name, "Ready", "False", "RefusedByBroker")
	if m := broken.condition("Ready").Message; !strings.Contains(m, "retention.ms") {
		t.Errorf("message %q", m)
	}
	kubectl(t, "-n", ns, "delete", "kafkatopic", name, "--timeout=60s")
	exists := func(want bool) func() (bool, string) {
		return func() (bool, string) {
			topics, err := admin.ListTopics(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return topics.Has(name) == want, fmt.Sprint(topics.Names())
		}
	}
	eventually(t, "the topic goes with the policy Delete", exists(false))

	apply(t, "%s", declare("partitions: 1"))
	waitCondition(t, ns, "kafkatopic", name, "Ready", "True", "")
	kubectl(t, "-n", ns, "delete", "kafkatopic", name, "--timeout=60s")
	eventually(t, "the topic stays with the policy Retain", exists(true))
	if _, err := admin.DeleteTopics(t.Context(), name); err != nil {
		t.Error(err)
	}
}
