// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/test/stack"
)

// TestMeshPod: a pod that Istio gives a sidecar has the files of the mesh listener, which lead its client to that listener
// through the sidecar, and no key and no certificate; one beside it that wants no sidecar has both. (The broker of these
// tests has no sidecar: the listener is its plaintext one, where everybody is anonymous.)
func TestMeshPod(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "mesh")
	// Istio's own init container may not run under the restricted standard.
	kubectl(t, "label", "namespace", ns, "istio-injection=enabled", "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
	apply(t, "%s", clusterManifest(ns, "meshed", "mesh", "kafka.kafka.svc:9093", "{}"))
	kubectl(t, "-n", ns, "patch", "kafkacluster", "meshed", "--type=json", "-p",
		`[{"op":"add","path":"/spec/listeners/-","value":{"name":"mesh","scope":"Mesh","authentication":"Mesh","bootstrapServers":["kafka.kafka.svc:9092"]}}]`)
	apply(t, "%s  workload: {serviceAccountName: default}\n", ownUser(ns, "orders", "meshed"))
	waitCondition(t, ns, "kafkauser", "orders", "CertificateReady", "True", "")

	p := startPod(t, ns, stack.ImageKcat, map[string]string{"kafka.signet.dev/user": "orders"})
	if sidecar := kubectl(t, "-n", ns, "get", "pod", p.name, "-o", `jsonpath={.spec.initContainers[?(@.name=="istio-proxy")].restartPolicy}`); sidecar != "Always" {
		t.Fatalf("Istio gave the pod no sidecar (restart policy %q)", sidecar)
	}
	if got, want := p.filesOf(t, "orders"), sortedFields("client.properties kafka.json librdkafka.conf"); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	sources := kubectl(t, "-n", ns, "get", "pod", p.name, "-o", `jsonpath={.spec.volumes[?(@.name=="kafka-signet-orders")].projected.sources}`)
	if strings.Contains(sources, "secret") || strings.Contains(sources, "podCertificate") {
		t.Errorf("the volume has credentials: %s", sources)
	}
	environment, err := p.exec(t, "env")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"KAFKA_BOOTSTRAP_SERVERS=kafka.kafka.svc:9092\n", "KAFKA_SECURITY_PROTOCOL=PLAINTEXT\n"} {
		if !strings.Contains(environment, want) {
			t.Errorf("the environment lacks %q:\n%s", want, environment)
		}
	}
	if out, err := p.exec(t, "kcat", "-F", mount+"orders/librdkafka.conf", "-L", "-J"); err != nil || len(topicNames(t, out)) != 0 {
		t.Errorf("through its sidecar: %v: %s", err, out)
	}

	manifest := strings.Replace(podManifest(ns, "alone", stack.ImageKcat, map[string]string{"kafka.signet.dev/user": "orders"}), "metadata: {", `metadata: {labels: {sidecar.istio.io/inject: "false"}, `, 1)
	apply(t, "%s", manifest)
	alone := pod{ns, "alone"}
	alone.waitReady(t)
	if got := alone.filesOf(t, "orders"); !slices.Equal(got, sortedFields(plainFiles)) {
		t.Errorf("without a sidecar: files %q, want %q", got, sortedFields(plainFiles))
	}
}
