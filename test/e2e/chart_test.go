// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/test/stack"
)

// chart runs helm install or helm upgrade with this checkout's chart and waits until it answers.
func chart(t *testing.T, command string, args ...string) {
	t.Helper()
	// Some call it when the test, and with it the test's own context, has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 4*time.Minute)
	defer cancel()
	args = append([]string{command, "signet", filepath.Join(s.Root, "charts", "signet"), "--namespace", stack.Namespace, "--wait", "--timeout", "3m"}, args...)
	if _, err := s.Helm(ctx, args...); err != nil {
		t.Fatalf("%v\n%s", err, s.Describe(ctx, stack.Namespace))
	}
}

// mutated waits until pods that ask for Kafka are created with their files, many in a row: the rules of kube-proxy follow the
// endpoints a moment later.
func mutated(t *testing.T, manifest string) {
	t.Helper()
	inARow := 0
	eventually(t, "pods that ask for Kafka are created with their files", func() (bool, string) {
		out, err := s.Kubectl(t.Context(), manifest, "create", "-f", "-", "--dry-run=server", "-o", "jsonpath={.spec.volumes[*].name}")
		if inARow++; err != nil || !strings.Contains(out, "kafka-signet-") {
			inARow = 0
			return false, out + " " + errorText(err)
		}
		return inARow == 10, out
	})
}

func errorText(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// bundle is the CA bundle of all webhooks, which have the same one.
func bundle(t *testing.T) string {
	t.Helper()
	var distinct []string
	out := kubectl(t, "get", "mutatingwebhookconfiguration/signet", "validatingwebhookconfiguration/signet", "-o", `jsonpath={range .items[*].webhooks[*]}{.clientConfig.caBundle}{"\n"}{end}`)
	for bundle := range strings.SplitSeq(strings.TrimSuffix(out, "\n"), "\n") {
		if !slices.Contains(distinct, bundle) {
			distinct = append(distinct, bundle)
		}
	}
	if len(distinct) != 1 {
		t.Fatalf("the webhooks have the CA bundles %q", distinct)
	}
	decoded, err := base64.StdEncoding.DecodeString(distinct[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(decoded)
}

// TestServingCertificateOfCertManager has cert-manager make the webhook's certificate, renews it, and gives the task back.
func TestServingCertificateOfCertManager(t *testing.T) {
	ns := namespace(t, "serving")
	kafkaUser(t, ns, "orders", "consume: []")
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	manifest := podManifest(ns, "asks", stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"})
	const serving = "signet-webhook-serving"

	t.Cleanup(func() {
		cleanup(t, "-n", stack.Namespace, "delete", "secret", serving, "signet-webhook-root", "--ignore-not-found")
	})
	source := func(source string) {
		t.Helper()
		chart(t, "upgrade", "--reuse-values", "--set", "webhook.servingCertificate.source="+source)
	}
	restored := false
	t.Cleanup(func() {
		if !restored { // the other tests need a webhook, whatever becomes of this one
			source("SelfManaged")
		}
	})
	source("CertManager")
	mutated(t, manifest)
	first := secretKey(t, stack.Namespace, serving, "tls.crt")
	// The cainjector leaves what was trusted before in the bundle.
	if got, ca := bundle(t), secretKey(t, stack.Namespace, serving, "ca.crt"); ca == "" || !strings.Contains(got, ca) || strings.Contains(got, first) {
		t.Errorf("the API server trusts %s, the certificate's CA is %s", got, ca)
	}
	for _, right := range [][]string{
		{"get", "secrets/signet-webhook-tls", "-n", stack.Namespace},
		{"patch", "mutatingwebhookconfigurations/signet"},
	} {
		out, err := s.Kubectl(t.Context(), "", append([]string{"auth", "can-i", "--as", "system:serviceaccount:" + stack.Namespace + ":signet-controller"}, right...)...)
		if strings.TrimSpace(out) != "no" {
			t.Errorf("the controller, which has nothing to do with it, may %v: %s (%v)", right, out, err)
		}
	}
	startPod(t, ns, stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"})

	before := bundle(t)
	kubectl(t, "-n", stack.Namespace, "delete", "secret", serving)
	eventually(t, "cert-manager makes another certificate", func() (bool, string) {
		out, err := s.Kubectl(t.Context(), "", "-n", stack.Namespace, "get", "secret", serving, "-o", `go-template={{index .data "tls.crt" | base64decode}}`)
		return err == nil && out != "" && out != first, errorText(err)
	})
	mutated(t, manifest)
	if got := bundle(t); got != before {
		t.Errorf("with the renewal the API server has to trust %s, trusted %s", got, before)
	}

	source("SelfManaged")
	restored = true
	mutated(t, manifest)
	if got, ca := bundle(t), secretKey(t, stack.Namespace, "signet-webhook-tls", "ca.crt"); got != ca {
		t.Errorf("the API server trusts %s, the certificate's CA is %s", got, ca)
	}
	if out := kubectl(t, "-n", stack.Namespace, "get", "certificates,issuers", "-o", "name"); out != "" {
		t.Errorf("cert-manager still has %s", out)
	}
}

// TestUninstall removes Signet under a running client, which goes on; pods can be created, and a new installation takes up
// everything where the former left it.
func TestUninstall(t *testing.T) {
	ns := namespace(t, "uninstall")
	topic(t, ns+"-events")
	kafkaUser(t, ns, "orders", "produce: ["+ns+"-events]\nconsume: ["+ns+"-events]")
	user := waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	p := startPod(t, ns, stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"})
	produces := func(when string) {
		t.Helper()
		if _, err := p.exec(t, "/usr/local/bin/goclient", "produce", ns+"-events", "hello"); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	produces("before")
	state := func() string {
		return kubectl(t, "-n", ns, "get", "pod", p.name, "-o", "jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}")
	}
	authority := func() string {
		return kubectl(t, "get", "meshissuer", "mesh", "-o", "jsonpath={.status.ca.serial}")
	}
	running, signing := state(), authority()
	manifest := podManifest(ns, "asks", stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"})

	values := filepath.Join(t.TempDir(), "values.yaml")
	given, err := s.Helm(t.Context(), "get", "values", "signet", "--namespace", stack.Namespace, "-o", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(values, []byte(given), 0o600); err != nil {
		t.Fatal(err)
	}
	installed := false
	t.Cleanup(func() {
		if !installed { // the other tests need Signet, whatever becomes of this one
			chart(t, "upgrade", "--install", "--values", values)
		}
	})
	if _, err := s.Helm(t.Context(), "uninstall", "signet", "--namespace", stack.Namespace, "--wait", "--timeout", "2m"); err != nil {
		t.Error(err)
	}
	eventually(t, "the webhook's pods are gone", func() (bool, string) {
		out := kubectl(t, "-n", stack.Namespace, "get", "pods", "-o", "name")
		return out == "", out
	})
	produces("with Signet gone")
	if out, err := s.Kubectl(t.Context(), manifest, "create", "-f", "-", "--dry-run=server", "-o", "jsonpath={.spec.volumes[*].name}"); err != nil || strings.Contains(out, "kafka-signet-") {
		t.Errorf("with Signet gone, a pod that asks for Kafka has the volumes %q: %v", out, err)
	}
	if after, found := get(t, ns, "kafkauser", "orders"); !found || after.Metadata.UID != user.Metadata.UID || after.Status.Principal != user.Status.Principal {
		t.Errorf("the KafkaUser is %+v", after)
	}

	chart(t, "install", "--values", values)
	installed = true
	mutated(t, manifest)
	kubectl(t, "wait", "--for=condition=Ready", "meshissuer/mesh", "--timeout=60s")
	produces("with Signet again")
	if got := state(); got != running {
		t.Errorf("the pod was %s, is %s", running, got)
	}
	if got := authority(); got != signing {
		t.Errorf("the CA that signs was %s, is %s", signing, got)
	}
	// New access still comes about: the controller leads again.
	kafkaUser(t, ns, "late", "consume: ["+ns+"-events]")
	waitCondition(t, ns, "kafkauser", "late", "Ready", "True", "")
}
