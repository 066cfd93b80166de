// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/test/stack"
)

// TestStatusCommand: what is not ready is named with its reason, and decides the exit code.
func TestStatusCommand(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "status")
	kafkaUser(t, ns, "good", "consume: []")
	waitCondition(t, ns, "kafkauser", "good", "Ready", "True", "")
	out, err := s.Signet(t.Context(), "status", "-n", ns)
	if err != nil || !strings.Contains(out, "good") {
		t.Errorf("all is ready, status says %v:\n%s", err, out)
	}
	apply(t, "%s", ownUser(ns, "bad", "nowhere"))
	waitCondition(t, ns, "kafkauser", "bad", "Ready", "False", "ClusterNotFound")
	out, err = s.Signet(t.Context(), "status", "-n", ns)
	var failed *stack.CommandError
	if !errors.As(err, &failed) || failed.ExitCode != 1 || !strings.Contains(out, ns+"/nowhere") {
		t.Errorf("a user is not ready, status says %v:\n%s", err, out)
	}
	columns := kubectl(t, "-n", ns, "get", "kafkausers")
	for _, want := range []string{"READY", "PRINCIPAL", "EXPIRES", "ClusterNotFound", "User:" + ns + ".good"} {
		if !strings.Contains(columns, want) {
			t.Errorf("kubectl get kafkausers lacks %s:\n%s", want, columns)
		}
	}
	if explained := kubectl(t, "explain", "kafkauser.spec.consume"); !strings.Contains(explained, "READ, DESCRIBE and DESCRIBE_CONFIGS") {
		t.Errorf("kubectl explain: %s", explained)
	}
}

// TestExportRefusals: each reason not to export is one clear sentence, and nothing is left half-written.
func TestExportRefusals(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "export")
	apply(t, "%s", ownUser(ns, "bad", "nowhere"))
	waitCondition(t, ns, "kafkauser", "bad", "Ready", "False", "ClusterNotFound")
	kafkaUser(t, ns, "good", "consume: []")
	waitCondition(t, ns, "kafkauser", "good", "Ready", "True", "")
	intruder(t, ns)
	dir := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no such user", []string{"export", "nobody", "-n", ns, "-o", dir}, "nobody"},
		{"not ready", []string{"export", "bad", "-n", ns, "-o", dir}, "does not exist"},
		{"no such listener", []string{"export", "good", "-n", ns, "-o", dir, "--listener", "none"}, "none"},
		{"may not read the Secret", []string{"export", "good", "-n", ns, "-o", dir, "--as", "mallory"}, "ask an administrator"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Signet(t.Context(), c.args...)
			var failed *stack.CommandError
			if !errors.As(err, &failed) || !strings.Contains(failed.Stderr, c.want) {
				t.Errorf("export says %v, want something with %q", err, c.want)
			}
			if left, _ := filepath.Glob(dir + "*"); len(left) > 0 {
				t.Errorf("it leaves %v", left)
			}
		})
	}
}

// TestRefusals are the declarations that the API server refuses, by schema, CEL or webhook, with what it says.
func TestRefusals(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "refusals")
	user := func(spec string) string {
		return fmt.Sprintf("\napiVersion: kafka.signet.dev/v1alpha1\nkind: KafkaUser\nmetadata: {name: orders, namespace: %s}\nspec:\n  clusterRef: {name: kafka, namespace: kafka}\n%s\n", ns, indent(spec))
	}
	pod := func(annotations map[string]string) string {
		return podManifest(ns, "app", stack.ImageGo, annotations)
	}
	cluster := clusterManifest(ns, "kafka", "mesh", "kafka:9093", "{}")
	for _, c := range []struct{ name, manifest, want string }{
		{"a user's name with a dot", strings.Replace(user("consume: []"), "name: orders", "name: or.ders", 1), "DNS label"},
		{"a malformed topic", user(`consume: ["a b"]`), "spec.consume"},
		{"a newline in a group", user(`consumerGroups: ["a\nb"]`), "spec.consumerGroups"},
		{"a lone star", user(`consume: ["*"]`), "allowWildcard"},
		{"an admin topic of somebody else's", user("admin: [payroll]"), ns + "-"},
		{"an external subject that Java never prints", user(`externalSubjects: ["CN=a, OU=b"]`), "externalSubjects"},
		{"a certificate of minutes", user("certificate: {duration: 10m}"), "at least 1h"},
		{"a keystore with no Secret to be in", user("certificate: {delivery: PodCertificate, keystores: [JKS]}"), "keystores need a Secret"},
		{"a keystore of an unknown format", user("certificate: {keystores: [PEM]}"), "spec.certificate.keystores"},
		{"a cluster with an admin listener that is none", strings.Replace(cluster, "admin: {listener: mtls}", "admin: {listener: other}", 1), "admin.listener must be the name"},
		{"a super user with a semicolon", cluster + "  superUsers: [\"User:a;User:b\"]\n", "superUsers"},
		{"a bootstrap server with a newline", strings.Replace(cluster, "kafka:9093", `kafka:9093\nsasl.jaas.config=x`, 1), "bootstrapServers"},
		{"an issuer in the mesh's trust domain", "\napiVersion: kafka.signet.dev/v1alpha1\nkind: MeshIssuer\nmetadata: {name: refused}\nspec: {ca: {secretRef: {namespace: a, name: b}}, trustDomain: cluster.local}\n", "Signet's own"},
		{"a misspelt annotation", pod(map[string]string{"kafka.signet.dev/users": "orders"}), "did you mean kafka.signet.dev/user?"},
		{"another namespace's user", pod(map[string]string{"kafka.signet.dev/user": "victim/orders"}), "victim/orders"},
		{"an empty list of users", pod(map[string]string{"kafka.signet.dev/user": ""}), "kafka.signet.dev/user"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if said := refused(t, c.manifest); !strings.Contains(said, c.want) {
				t.Errorf("the API server says %q, want %q in it", said, c.want)
			}
		})
	}
	// What the declarations above are refused for is not the rest of them.
	apply(t, "%s", user("consume: [a]"))
	apply(t, "%s", pod(map[string]string{"kafka.signet.dev/user": "orders"}))
}

// TestOptOut: a pod, or a whole namespace, that says no is left alone.
func TestOptOut(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "optout")
	volumes := func(name string, annotations map[string]string) string {
		apply(t, "%s", podManifest(ns, name, stack.ImageGo, annotations))
		return kubectl(t, "-n", ns, "get", "pod", name, "-o", "jsonpath={.spec.volumes[*].projected.sources[*].secret.name}")
	}
	if got := volumes("says-no", map[string]string{"kafka.signet.dev/user": "orders", "kafka.signet.dev/inject": "false"}); got != "" {
		t.Errorf("a pod that opted out has %s", got)
	}
	kubectl(t, "label", "namespace", ns, "kafka.signet.dev/inject=disabled")
	if got := volumes("in-a-namespace-that-says-no", map[string]string{"kafka.signet.dev/user": "orders"}); got != "" {
		t.Errorf("a pod in a namespace that opted out has %s", got)
	}
}

// TestInstalledChart: what Helm installed is what the chart promises.
func TestInstalledChart(t *testing.T) {
	webhook := "system:serviceaccount:" + stack.Namespace + ":signet-webhook"
	controller := "system:serviceaccount:" + stack.Namespace + ":signet-controller"
	for _, c := range []struct {
		as, verb, resource, namespace string
		want                          bool
	}{
		{webhook, "list", "kafkausers.kafka.signet.dev", "", true},
		{webhook, "get", "secrets/signet-webhook-tls", stack.Namespace, false},
		{webhook, "get", "secrets/istio-ca-secret", "istio-system", false},
		{webhook, "create", "configmaps", "default", false},
		{webhook, "patch", "kafkausers.kafka.signet.dev", "default", false},
		{controller, "get", "secrets/istio-ca-secret", "istio-system", true},
		{controller, "list", "secrets", "istio-system", false},
		{controller, "get", "secrets/any", "default", false},
		{controller, "create", "pods", "default", false},
		{controller, "escalate", "clusterroles", "", false},
	} {
		args := []string{"auth", "can-i", c.verb, c.resource, "--as", c.as}
		if c.namespace != "" {
			args = append(args, "-n", c.namespace)
		}
		out, err := s.Kubectl(t.Context(), "", args...)
		if got := strings.TrimSpace(out) == "yes"; got != c.want {
			t.Errorf("%s may %s %s in %q: %v (%v), want %v", c.as, c.verb, c.resource, c.namespace, got, err, c.want)
		}
	}
	for name, want := range map[string]string{"any": "may write no ConfigMap but", "x-kafka-client": ""} {
		_, err := s.Kubectl(t.Context(), "", "-n", "default", "create", "configmap", name, "--dry-run=server", "--as", controller)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("the controller creates ConfigMap %s: %v, want %q", name, err, want)
		}
	}
	if ready := kubectl(t, "-n", stack.Namespace, "get", "deployments", "-o", "jsonpath={range .items[*]}{.metadata.name}={.status.readyReplicas} {end}"); ready != "signet-controller=1 signet-webhook=2 " {
		t.Errorf("ready replicas: %s", ready)
	}
	// Whoever installed the chart applies it again, as GitOps controllers do all the time: no CA bundle goes.
	bundle := func() string {
		return kubectl(t, "get", "mutatingwebhookconfiguration", "signet", "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}")
	}
	before := bundle()
	if before == "" {
		t.Fatal("the webhook configuration has no CA bundle")
	}
	manifests, err := s.Helm(t.Context(), "get", "manifest", "signet", "-n", stack.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kubectl(t.Context(), manifests, "apply", "--server-side", "--field-manager=helm", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if bundle() != before {
		t.Error("the CA bundle changed by a second apply of the chart")
	}
}

// TestAuditLine: each signature leaves one structured line in the controller's log, with no key in it.
func TestAuditLine(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "audit")
	kafkaUser(t, ns, "orders", "consume: []")
	user := waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	log := kubectl(t, "-n", stack.Namespace, "logs", "deployment/signet-controller")
	if strings.Contains(log, "PRIVATE KEY") {
		t.Error("the log holds a key")
	}
	found := 0
	for line := range strings.Lines(log) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil || entry["logger"] != "audit" || entry["subject"] != "CN=orders,OU="+ns+",O=signet" {
			continue
		}
		found++
		if entry["outcome"] != "issued" || entry["serial"] != user.Status.Certificate.Serial || entry["keySHA256"] == "" || entry["notAfter"] == "" || entry["requester"] != "system:serviceaccount:cert-manager:cert-manager" {
			t.Errorf("audit line %s", line)
		}
	}
	if found != 1 {
		t.Errorf("%d audit lines for one signature", found)
	}
}

// intruder gives a user everything that a namespace's developers usually have for certificates, and returns the
// kubectl flags that make one be that user.
func intruder(t *testing.T, ns string) []string {
	t.Helper()
	apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: developer, namespace: %[1]s}
rules:
- {apiGroups: [cert-manager.io], resources: [certificates, certificaterequests], verbs: ["*"]}
- {apiGroups: [kafka.signet.dev], resources: [kafkausers], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: developer, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: developer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}]
`, ns)
	return []string{"--as=mallory", "-n", ns}
}
