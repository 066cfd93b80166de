// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/test/await"
)

// TestAgainstKafka runs the controller with a real API server and a real broker that knows Signet by a password only: it waits
// for the Secret, takes a new password over with no restart, and a KafkaTopic names its consumers and producers while their
// access is in force.
func TestAgainstKafka(t *testing.T) {
	a := kafkatest.NewAuthority(t)
	b := kafkatest.Start(t, a, kafkatest.Options{SASL: true, JWKS: []byte(`{"keys":[]}`), Properties: kafkatest.Authorizer + "super.users=User:broker;User:signet-admin\n"})
	s, restConfig := controlPlane(t, "kafka")
	prepare(t, s)
	defer running(t, restConfig)()
	ctx := t.Context()
	password := func(word string) {
		t.Helper()
		kafka, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.DialTLSConfig(a.Client(&x509.Certificate{Subject: pkix.Name{CommonName: "broker"}})))
		if err != nil {
			t.Fatal(err)
		}
		defer kafka.Close()
		results, err := kadm.NewClient(kafka).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: "signet-admin", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: word}})
		if err == nil {
			err = results.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	apply := func(manifest string) {
		t.Helper()
		if err := s.Apply(ctx, manifest); err != nil {
			t.Fatal(err)
		}
	}
	secret := func(word string) {
		t.Helper()
		apply(fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: kafka-admin, namespace: kafka}\nstringData: {password: %s}\n", word))
	}
	// says waits until what jsonpath selects of an object has all the words.
	says := func(namespace, object, jsonpath string, words ...string) {
		t.Helper()
		await.Until(t, 2*time.Minute, jsonpath+" of "+object, func() (bool, string) {
			text, err := s.Kubectl(ctx, "", "-n", namespace, "get", object, "-o", "jsonpath="+jsonpath)
			if err != nil {
				return false, err.Error()
			}
			for _, word := range words {
				if !strings.Contains(text, word) {
					return false, fmt.Sprintf("%q, want %q", text, words)
				}
			}
			return true, ""
		})
	}
	const condition = `{.status.conditions[?(@.type=="%s")].%s}`
	reachable := func(words ...string) {
		t.Helper()
		says("kafka", "kafkacluster/kafka", fmt.Sprintf(condition, "Reachable", "status")+" "+fmt.Sprintf(condition, "Reachable", "reason")+" "+fmt.Sprintf(condition, "Reachable", "message"), words...)
	}
	synced := func(user string) {
		t.Helper()
		says("shop", "kafkauser/"+user, fmt.Sprintf(condition, "AccessSynced", "status"), "True")
	}
	ca, err := json.Marshal(string(a.PEM()))
	if err != nil {
		t.Fatal(err)
	}
	password("first")
	apply(fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: kafka}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: server-ca, namespace: kafka}
data: {ca.crt: %s}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: kafka}
spec:
  listeners:
  - {name: mtls, scope: Cluster, bootstrapServers: ["%s"], serverCA: {configMap: server-ca}}
  - {name: sasl, scope: Cluster, authentication: SASL, bootstrapServers: ["%s"], serverCA: {configMap: server-ca}}
  admin:
    listener: sasl
    sasl: {mechanism: SCRAM-SHA-512, username: signet-admin, secretName: kafka-admin}
  certificates: {issuerRef: {name: mesh}}
  namespaceSelector: {}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaTopic
metadata: {name: shop-orders, namespace: shop}
spec: {clusterRef: {name: kafka, namespace: kafka}}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: reader, namespace: shop}
spec: {clusterRef: {name: kafka, namespace: kafka}, consume: ["shop-*"]}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: writer, namespace: shop}
spec: {clusterRef: {name: kafka, namespace: kafka}, produce: [shop-orders]}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: other, namespace: shop}
spec: {clusterRef: {name: kafka, namespace: kafka}, consume: [payments], produce: [payments]}
`, ca, b.Address, b.SASL))
	reachable("False CredentialsNotFound", "kafka/kafka-admin", "does not exist")
	secret("wrong")
	reachable("False RefusedByBroker", "SASL_AUTHENTICATION_FAILED")
	secret("first")
	reachable("True Ready")
	says("kafka", "kafkacluster/kafka", "{.status.adminPrincipal}", "User:signet-admin")
	says("kafka", "configmap/kafka-signet-broker", `{.data.server\.properties}`, "super.users=User:signet:kafka.kafka;User:signet-admin\n")
	for _, user := range []string{"reader", "writer", "other"} {
		synced(user)
	}
	const users = "{.status.consumers} {.status.consumerCount} {.status.producers} {.status.producerCount}"
	says("shop", "kafkatopic/shop-orders", users, `["shop/reader"] 1 ["shop/writer"] 1`)
	says("shop", "kafkatopic/shop-orders", fmt.Sprintf(condition, "Ready", "status"), "True")

	// A new password, while Signet is connected with the former one; the connection is used again for what changes then.
	password("second")
	secret("second")
	if _, err := s.Kubectl(ctx, "", "-n", "shop", "patch", "kafkauser", "other", "--type=merge", "-p", `{"spec":{"consume":["shop-orders"]}}`); err != nil {
		t.Fatal(err)
	}
	says("shop", "kafkatopic/shop-orders", users, `["shop/other","shop/reader"] 2 ["shop/writer"] 1`)
	reachable("True Ready")
	if _, err := s.Kubectl(ctx, "", "-n", "shop", "patch", "kafkauser", "reader", "--type=merge", "-p", `{"spec":{"suspend":true}}`); err != nil {
		t.Fatal(err)
	}
	says("shop", "kafkatopic/shop-orders", users, `["shop/other"] 1 ["shop/writer"] 1`)
	for _, word := range []string{"first", "second"} {
		if out, err := s.Kubectl(ctx, "", "get", "kafkaclusters,kafkausers,kafkatopics,events", "-A", "-o", "json"); err != nil || strings.Contains(out, `"`+word+`"`) {
			t.Errorf("the password is in an object or an event (%v)", err)
		}
	}
}
