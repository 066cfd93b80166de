// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/test/await"
)

// TestKafkaUserFromPods holds, on a real API server with the controllers of Deployments and owner references, that the
// access that a pod template declares becomes a KafkaUser, follows the template, and goes with the Deployment; and that
// one that somebody wrote is never touched.
func TestKafkaUserFromPods(t *testing.T) {
	t.Parallel()
	s, restConfig := controlPlane(t, "declare")
	prepare(t, s)
	defer running(t, restConfig)()
	ctx := t.Context()
	deployment := func(name, annotations string) string {
		return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: shop}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s, kafka.signet.dev/inline: %[1]s}, annotations: {%[2]s}}
    spec: {serviceAccountName: %[1]s, containers: [{name: app, image: app}]}
`, name, annotations)
	}
	if err := s.Apply(ctx, `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: cart, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: written, namespace: shop}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: shop}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["127.0.0.1:1"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}}
  namespaceSelector: {}
  policy: {inlineDeclarations: Allow}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: written, namespace: shop}
spec: {clusterRef: {name: kafka}, consume: [by-hand]}
---`+deployment("cart", `kafka.signet.dev/consume: "orders,carts-*"`)+"---"+deployment("written", `kafka.signet.dev/consume: everything`)); err != nil {
		t.Fatal(err)
	}
	type user struct {
		Metadata metav1.ObjectMeta
		Spec     v1alpha1.KafkaUserSpec
	}
	get := func(name string) (user, string) {
		var u user
		out, err := s.Kubectl(ctx, "", "-n", "shop", "get", "kafkauser", name, "--ignore-not-found", "-o", "json")
		if err != nil {
			t.Fatal(err)
		}
		if out != "" {
			if err := json.Unmarshal([]byte(out), &u); err != nil {
				t.Fatal(err)
			}
		}
		return u, out
	}
	until := func(what string, done func(user) bool) {
		t.Helper()
		await.Until(t, time.Minute, what, func() (bool, string) {
			u, text := get("cart")
			return done(u), text
		})
	}
	until("the KafkaUser is made", func(u user) bool {
		return strings.Join(u.Spec.Consume, " ") == "carts-* orders" && u.Spec.Workload != nil && u.Spec.Workload.ServiceAccountName == "cart" &&
			len(u.Metadata.OwnerReferences) == 1 && u.Metadata.OwnerReferences[0].Kind == "Deployment" && u.Metadata.OwnerReferences[0].Name == "cart"
	})
	if _, err := s.Kubectl(ctx, "", "-n", "shop", "patch", "kafkauser", "cart", "--type=merge", "-p", `{"spec":{"consume":["secrets"],"suspend":true}}`); err != nil {
		t.Fatal(err)
	}
	until("what somebody changed is taken back, and what is theirs stays", func(u user) bool {
		return strings.Join(u.Spec.Consume, " ") == "carts-* orders" && u.Spec.Suspend
	})
	if err := s.Apply(ctx, deployment("cart", `kafka.signet.dev/produce: carts`)); err != nil {
		t.Fatal(err)
	}
	until("it follows the template", func(u user) bool {
		return len(u.Spec.Consume) == 0 && strings.Join(u.Spec.Produce, " ") == "carts"
	})
	if _, err := s.Kubectl(ctx, "", "-n", "shop", "scale", "deployment", "cart", "--replicas=0"); err != nil {
		t.Fatal(err)
	}
	await.Until(t, time.Minute, "the pods are gone", func() (bool, string) {
		out, err := s.Kubectl(ctx, "", "-n", "shop", "get", "pods", "-l", "app=cart", "-o", "name")
		return err == nil && out == "", fmt.Sprint(out, err)
	})
	if u, text := get("cart"); strings.Join(u.Spec.Produce, " ") != "carts" {
		t.Errorf("scaled to nothing: %s", text)
	}
	if _, err := s.Kubectl(ctx, "", "-n", "shop", "delete", "deployment", "cart"); err != nil {
		t.Fatal(err)
	}
	until("it goes with the Deployment", func(u user) bool { return u.Metadata.Name == "" || u.Metadata.DeletionTimestamp != nil })

	if u, text := get("written"); strings.Join(u.Spec.Consume, " ") != "by-hand" || len(u.Metadata.OwnerReferences) > 0 || u.Metadata.Labels[v1alpha1.LabelDeclaredBy] != "" {
		t.Errorf("somebody's KafkaUser is now %s", text)
	}
	events, err := s.Kubectl(ctx, "", "-n", "shop", "get", "events", "--field-selector", "reason=AccessRefused", "-o", "jsonpath={.items[*].message}")
	if err != nil || !strings.Contains(events, "KafkaUser shop/written exists and declares its access itself") {
		t.Errorf("events %q, %v", events, err)
	}
}
