// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/test/await"
)

// TestAuthorizationFileFollows holds, on a real API server, that the brokers' ConfigMap says whom to enforce: it follows the
// KafkaCluster's mode and the KafkaUsers' enforcement, its generation grows with each change of the content and with nothing
// else, a KafkaUser exempts itself only where the KafkaCluster lets it, and one whose principal is another's says nothing about it.
func TestAuthorizationFileFollows(t *testing.T) {
	t.Parallel()
	s, restConfig := controlPlane(t, "authorization")
	prepare(t, s)
	defer running(t, restConfig)()
	ctx := t.Context()
	// By this template a-b in namespace shop, and b in namespace shop-a, have one principal.
	if err := s.Apply(ctx, `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop-a}
---
apiVersion: v1
kind: Namespace
metadata: {name: brokers}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: brokers}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["127.0.0.1:1"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}}
  namespaceSelector: {}
  principalTemplate: "{namespace}-{name}"
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: a-b, namespace: shop}
spec: {clusterRef: {name: kafka, namespace: brokers}}
`); err != nil {
		t.Fatal(err)
	}
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := s.Kubectl(ctx, "", args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	type file struct {
		Generation        int64
		Mode              string
		Enforced, Audited []string
		People            string
	}
	read := func() (file, string) {
		t.Helper()
		out := kubectl("-n", "brokers", "get", "configmap", "kafka-signet-broker", "--ignore-not-found", "-o", `jsonpath={.data.authorization\.json}`)
		var f file
		if out != "" {
			if err := json.Unmarshal([]byte(out), &f); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
		}
		return f, out
	}
	becomes := func(what string, mode string, enforced, audited string) int64 {
		t.Helper()
		var f file
		await.Until(t, time.Minute, what, func() (bool, string) {
			var text string
			f, text = read()
			return f.Mode == mode && strings.Join(f.Enforced, " ") == enforced && strings.Join(f.Audited, " ") == audited, text
		})
		return f.Generation
	}
	cluster := func(spec string) {
		kubectl("-n", "brokers", "patch", "kafkacluster", "kafka", "--type=merge", "-p", `{"spec":`+spec+`}`)
	}
	user := func(namespace, name, enforcement string) {
		kubectl("-n", namespace, "patch", "kafkauser", name, "--type=merge", "-p", `{"spec":{"enforcement":"`+enforcement+`"}}`)
	}

	await.Until(t, time.Minute, "the ConfigMap is there", func() (bool, string) {
		out := kubectl("-n", "brokers", "get", "configmap", "-o", "name")
		return strings.Contains(out, "kafka-signet-broker"), out
	})
	if _, text := read(); text != "" {
		t.Errorf("without authorization there is %s", text)
	}
	kubectl("-n", "shop", "wait", "--for=condition=MappingRecorded", "kafkauser/a-b", "--timeout=60s")
	cluster(`{"authorization":{}}`)
	first := becomes("the default is to audit", "Audit", "", "")
	properties := kubectl("-n", "brokers", "get", "configmap", "kafka-signet-broker", "-o", `jsonpath={.data.server\.signet\.properties}`)
	for _, line := range []string{"authorizer.class.name=dev.signet.kafka.broker.SignetAuthorizer\n", "signet.authorization.file=/etc/kafka-signet/authorization.json\n"} {
		if !strings.Contains(properties, line) {
			t.Errorf("no %q in\n%s", line, properties)
		}
	}
	cluster(`{"authorization":{"mode":"Hybrid","enforced":["User:z","User:b"]}}`)
	second := becomes("the KafkaCluster's own list counts", "Hybrid", "User:b User:z", "")
	user("shop", "a-b", "Enforce")
	third := becomes("a KafkaUser's enforcement counts", "Hybrid", "User:b User:shop-a-b User:z", "")
	if first < 1 || second <= first || third <= second {
		t.Errorf("generations %d, %d, %d", first, second, third)
	}

	// What changes nothing of it changes no generation; and one whose principal another has says nothing about it.
	if err := s.Apply(ctx, `
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: b, namespace: shop-a}
spec: {clusterRef: {name: kafka, namespace: brokers}, enforcement: Audit}
`); err != nil {
		t.Fatal(err)
	}
	kubectl("-n", "shop-a", "wait", "--for=jsonpath={.status.conditions[?(@.type==\"MappingRecorded\")].status}=False", "kafkauser/b", "--timeout=60s")
	cluster(`{"policy":{"defaultQuotas":{"requestPercentage":50}}}`)
	cluster(`{"authorization":{"mode":"Enforce","enforced":null}}`)
	fourth := becomes("in the mode Enforce nobody is listed", "Enforce", "", "")
	if fourth != third+1 {
		t.Errorf("generation %d after %d, for one change", fourth, third)
	}
	user("shop", "a-b", "Audit")
	cluster(`{"authorization":{"people":"User:[a-z]+@example\\.com"}}`)
	await.Until(t, time.Minute, "people are there", func() (bool, string) {
		f, text := read()
		return f.People == `User:[a-z]+@example\.com`, text
	})
	if f, text := read(); len(f.Audited) != 0 {
		t.Errorf("a KafkaUser exempts itself: %s", text)
	}
	cluster(`{"authorization":{"exemptions":"Allow"}}`)
	becomes("where it may, it does; the other one is nobody", "Enforce", "", "User:shop-a-b")
	message := kubectl("-n", "brokers", "get", "kafkacluster", "kafka", "-o", `jsonpath={.status.conditions[?(@.type=="BrokerConfigRendered")].message}`)
	if !strings.Contains(message, "all principals are enforced but 1") {
		t.Errorf("the condition says %q", message)
	}
	// What the controller says of a KafkaUser, once there is a Kafka, is shown.
	kubectl("-n", "shop", "patch", "kafkauser", "a-b", "--subresource=status", "--type=merge", "-p", `{"status":{"observed":{"authorization":"Audited","wouldBeDenied":7,"lastSeen":"`+time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)+`"}}}`)
	if row := strings.Join(strings.Fields(kubectl("-n", "shop", "get", "kafkauser", "a-b", "-o", "wide", "--no-headers")), " "); !strings.Contains(row, "Audited 7 ") {
		t.Errorf("kubectl shows %q", row)
	}
	// There is no Kafka: the condition says so.
	await.Until(t, time.Minute, "the condition AccessObserved says that Kafka does not answer", func() (bool, string) {
		out := kubectl("-n", "brokers", "get", "kafkacluster", "kafka", "-o", `jsonpath={.status.conditions[?(@.type=="AccessObserved")].reason}`)
		return out == "Unreachable", out
	})
	kubectl("-n", "brokers", "patch", "kafkacluster", "kafka", "--type=json", "-p", `[{"op":"remove","path":"/spec/authorization"}]`)
	await.Until(t, time.Minute, "without authorization it is gone", func() (bool, string) {
		_, text := read()
		condition := kubectl("-n", "brokers", "get", "kafkacluster", "kafka", "-o", `jsonpath={.status.conditions[?(@.type=="AccessObserved")].reason}`)
		return text == "" && condition == "", fmt.Sprint(text, condition)
	})
}
