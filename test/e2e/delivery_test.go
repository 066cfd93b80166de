// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/test/stack"
)

// TestKubeletDelivery: the kubelet makes the key of a pod, and nothing but the pod's volume ever holds it.
func TestKubeletDelivery(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "kubelet")
	topic(t, ns+"-events")
	kafkaUser(t, ns, "orders", "consume: ["+ns+"-events]\nworkload: {serviceAccountName: default}\ncertificate: {delivery: PodCertificate}")
	user := waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	if m := user.condition("CertificateReady").Message; !strings.Contains(m, "kafka.signet.dev/mesh") {
		t.Errorf("the KafkaUser does not say how pods get their certificate: %s", m)
	}
	p := startPod(t, ns, stack.ImageKcat, map[string]string{"kafka.signet.dev/user": "orders"})
	read := func(file string) string {
		out, err := p.exec(t, "cat", mount+"orders/"+file)
		if err != nil {
			t.Fatalf("a non-root container cannot read %s: %v", file, err)
		}
		return out
	}
	chain, err := certs.ParseCertificates([]byte(read("tls.crt")))
	if err != nil || len(chain) != 2 {
		t.Fatalf("%d certificates in tls.crt (%v), want leaf and intermediate", len(chain), err)
	}
	leaf := chain[0]
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(secretKey(t, "istio-system", "istio-ca-secret", "ca-cert.pem")))
	intermediates.AddCert(chain[1])
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the mesh CA's intermediate did not sign it: %v", err)
	}
	if chain[1].PermittedURIDomains == nil || !chain[1].PermittedDNSDomainsCritical || chain[1].MaxPathLen != 0 {
		t.Error("the intermediate is not confined")
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > time.Hour {
		t.Errorf("it lives for %s, more than an hour", life)
	}
	if !strings.HasPrefix(read("keystore.pem"), "-----BEGIN PRIVATE KEY-----") {
		t.Error("keystore.pem does not begin with the key, as Kafka's PEM keystore wants it")
	}
	if block, _ := pem.Decode([]byte(read("tls.key"))); block == nil {
		t.Error("tls.key holds no key")
	}
	if out := kubectl(t, "-n", ns, "get", "secrets,certificates,certificaterequests", "-o", "name"); strings.TrimSpace(out) != "" {
		t.Errorf("beside the pod's volume there is %s", out)
	}
	request := kubectl(t, "-n", ns, "get", "podcertificaterequests", "-o", `jsonpath={.items[0].spec.signerName} {.items[0].spec.unverifiedUserAnnotations} {.items[0].status.conditions[0].type}`)
	if want := `kafka.signet.dev/mesh {"kafka.signet.dev/user":"orders"} Issued`; request != want {
		t.Errorf("the kubelet's request is %q, want %q", request, want)
	}
	out, err := p.exec(t, "kcat", "-F", mount+"orders/librdkafka.conf", "-L", "-J")
	if err != nil || !strings.Contains(out, ns+"-events") {
		t.Errorf("it does not see its topic: %v %s", err, out)
	}
}

// TestStockIssuer: an issuer of cert-manager's own, fed from a copy of the mesh CA, signs where it is chosen.
func TestStockIssuer(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "stock")
	apply(t, `
apiVersion: v1
kind: Secret
metadata: {name: %[1]s, namespace: cert-manager}
stringData:
  tls.crt: |
    %[2]s
  tls.key: |
    %[3]s
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: %[1]s}
spec: {ca: {secretName: %[1]s}}
`, ns, block(secretKey(t, "istio-system", "istio-ca-secret", "ca-cert.pem")), block(secretKey(t, "istio-system", "istio-ca-secret", "ca-key.pem")))
	t.Cleanup(func() {
		cleanup(t, "delete", "clusterissuer", ns)
		cleanup(t, "-n", "cert-manager", "delete", "secret", ns)
	})
	topic(t, ns+"-events")
	kafkaUser(t, ns, "orders", "consume: ["+ns+"-events]\ncertificate: {issuerRef: {group: cert-manager.io, kind: ClusterIssuer, name: "+ns+"}}")
	user := waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	if user.Status.Principal != "User:"+ns+".orders" {
		t.Errorf("principal %s", user.Status.Principal)
	}
	p := startPod(t, ns, stack.ImageKcat, map[string]string{"kafka.signet.dev/user": "orders"})
	out, err := p.exec(t, "kcat", "-F", mount+"orders/librdkafka.conf", "-L", "-J")
	if err != nil || !strings.Contains(out, ns+"-events") {
		t.Errorf("it does not see its topic: %v %s", err, out)
	}
	if !brokerSaw(t, "User:"+ns+".orders") {
		t.Error("the broker saw another principal")
	}
}

// block indents PEM for a block scalar.
func block(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
