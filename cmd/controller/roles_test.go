// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/test/await"
)

// TestKafkaUserFromRBAC holds, on a real API server, that what Kubernetes RBAC lets a service account do with topics becomes
// its KafkaUser, follows the rules, and goes with them; that aggregated roles and the accounts of a namespace count; and that a
// KafkaUser that somebody wrote is never touched.
func TestKafkaUserFromRBAC(t *testing.T) {
	t.Parallel()
	s, restConfig := controlPlane(t, "roles")
	prepare(t, s)
	defer running(t, restConfig)()
	ctx := t.Context()
	if err := s.Apply(ctx, `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {kafka: "yes"}}
---
apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: v1
kind: Namespace
metadata: {name: brokers}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: cart, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: written, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: cart, namespace: outside}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: brokers}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["127.0.0.1:1"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}}
  namespaceSelector: {matchLabels: {kafka: "yes"}}
  policy: {usersFromRBAC: Derive}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: written, namespace: shop}
spec: {clusterRef: {name: kafka, namespace: brokers}, consume: [by-hand]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: topics, namespace: brokers}
rules: [{apiGroups: [kafka.signet.dev], resources: [kafkatopics], resourceNames: [orders, "carts-*"], verbs: [consume]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: topics, namespace: brokers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: topics}
subjects:
- {kind: ServiceAccount, name: cart, namespace: shop}
- {kind: ServiceAccount, name: written, namespace: shop}
- {kind: ServiceAccount, name: cart, namespace: outside}
- {kind: ServiceAccount, name: nobody, namespace: shop}
`); err != nil {
		t.Fatal(err)
	}
	read := func(namespace string) string {
		out, err := s.Kubectl(ctx, "", "-n", namespace, "get", "kafkausers", "-o",
			`jsonpath={range .items[*]}{.metadata.name}:{.spec.workload.serviceAccountName}:{.spec.consume}:{.spec.produce}:{.spec.admin}{"\n"}{end}`)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const written = "written::[\"by-hand\"]::\n"
	becomes := func(what, want string) {
		t.Helper()
		await.Until(t, time.Minute, what, func() (bool, string) {
			got := read("shop")
			return got == want, got
		})
	}
	apply := func(manifest string) {
		t.Helper()
		if err := s.Apply(ctx, manifest); err != nil {
			t.Fatal(err)
		}
	}
	kubectl := func(args ...string) {
		t.Helper()
		if _, err := s.Kubectl(ctx, "", args...); err != nil {
			t.Fatal(err)
		}
	}
	const cart = "cart:cart:[\"carts-*\",\"orders\"]::\n"
	becomes("the KafkaUser is made", cart+written)
	if out := read("outside"); out != "" {
		t.Errorf("in a namespace that the KafkaCluster does not admit: %s", out)
	}
	kubectl("-n", "shop", "patch", "kafkauser", "cart", "--type=merge", "-p", `{"spec":{"consume":["secrets"]}}`)
	becomes("what somebody changed is taken back", cart+written)

	apply(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: topics-of-shop, labels: {topics: shop}}
rules: [{apiGroups: [kafka.signet.dev], resources: [kafkatopics], resourceNames: [shop-log], verbs: [produce, administer]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all-of-shop}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {topics: shop}}]}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: all-of-shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: all-of-shop}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:serviceaccounts:shop"}]
`)
	const more = `:["shop-log"]:["shop-log"]` + "\n"
	becomes("an aggregated role for all accounts counts", "cart:cart:[\"carts-*\",\"orders\"]"+more+"default:default:"+more+written)
	kubectl("delete", "clusterrolebinding", "all-of-shop")
	becomes("it goes with its binding", cart+written)
	kubectl("-n", "brokers", "patch", "role", "topics", "--type=json", "-p", `[{"op":"replace","path":"/rules/0/resourceNames","value":["orders"]}]`)
	becomes("it follows the rule", "cart:cart:[\"orders\"]::\n"+written)
	kubectl("-n", "shop", "delete", "serviceaccount", "cart")
	becomes("it goes with its account", written)

	out, err := s.Kubectl(ctx, "", "get", "events", "-A", "--field-selector", "reason=AccessRefused", "-o", "jsonpath={.items[*].message}")
	if err != nil || !strings.Contains(out, "KafkaUser shop/written exists") {
		t.Errorf("events %q, %v", out, err)
	}
}
