// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/test/stack"
)

// rotationPatience is how long a new root takes at most to every broker: the kubelet brings a ConfigMap into a running pod
// within a minute and a half.
const rotationPatience = 5 * time.Minute

// rotation is what a MeshIssuer says of its rotation.
type rotation struct {
	Phase, Message string
	Trusted        []struct{ Subject, Fingerprint string }
}

func rotationOf(t *testing.T, issuer string) rotation {
	t.Helper()
	var o struct{ Status struct{ Rotation rotation } }
	if err := json.Unmarshal([]byte(kubectl(t, "get", "meshissuer", issuer, "-o", "json")), &o); err != nil {
		t.Fatal(err)
	}
	return o.Status.Rotation
}

// meshCA replaces the mesh CA's certificate and key, as istiod or an administrator does.
func meshCA(t *testing.T, certificate, key string) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"stringData": map[string]string{"ca-cert.pem": certificate, "root-cert.pem": certificate, "ca-key.pem": key}})
	if err != nil {
		t.Fatal(err)
	}
	// By a file, for a command line is shown where a test fails.
	if _, err := s.Kubectl(t.Context(), string(patch), "-n", "istio-system", "patch", "secret", "istio-ca-secret", "--type=merge", "--patch-file=/dev/stdin"); err != nil {
		t.Fatal(err)
	}
}

// TestCAReplacedWithoutRestart: the mesh CA gets a new key while a pod produces and consumes. The new root reaches the
// broker, which is not restarted, before anything is signed below it; nobody is refused at any time, neither the pod with
// its certificate of the old CA nor those that come later with one of the new.
func TestCAReplacedWithoutRestart(t *testing.T) {
	ns := namespace(t, "rotation")
	topic(t, ns+"-events")
	kafkaUser(t, ns, "orders", "produce: ["+ns+"-events]")
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	old := startPod(t, ns, stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"})
	produce := func(ctx context.Context, p pod) error {
		_, err := s.Kubectl(ctx, "", "-n", p.namespace, "exec", p.name, "-c", "app", "--", "/usr/local/bin/goclient", "produce", ns+"-events", "x")
		return err
	}
	started := kubectl(t, "-n", "kafka", "get", "pod", "kafka-0", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
	formerCertificate, formerKey := secretKey(t, "istio-system", "istio-ca-secret", "ca-cert.pem"), secretKey(t, "istio-system", "istio-ca-secret", "ca-key.pem")
	certificate, key := testCA(t, true, time.Now().Add(23*time.Hour))
	defer func() {
		meshCA(t, formerCertificate, formerKey)
		// Its root is still trusted, so that it signs again at once.
		eventually(t, "the former CA signs again", func() (bool, string) {
			r := rotationOf(t, "mesh")
			return r.Phase == "Signing" && r.Trusted[0].Fingerprint == fingerprint(t, formerCertificate), fmt.Sprintf("%+v", r)
		})
	}()

	// Load from before the first to after the last step; each request is a connection of its own, and none is repeated.
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	requests := 0
	load.Go(func() {
		for ctx.Err() == nil {
			if err := produce(ctx, old); err != nil && ctx.Err() == nil {
				t.Errorf("request %d: %v", requests, err)
			}
			requests++
		}
	})
	meshCA(t, certificate, key)
	deadline := time.Now().Add(rotationPatience)
	seen := map[string]bool{}
	for {
		r := rotationOf(t, "mesh")
		if !seen[r.Phase+r.Message] {
			seen[r.Phase+r.Message] = true
			t.Logf("%s: %s", r.Phase, r.Message)
		}
		if r.Phase == "Signing" && r.Trusted[0].Fingerprint == fingerprint(t, certificate) {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("after %s it is still %s: %s", rotationPatience, r.Phase, r.Message)
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	apply(t, "%s", strings.Replace(podManifest(ns, "later", stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"}), "name: app, namespace", "name: later, namespace", 1))
	later := pod{ns, "later"}
	later.waitReady(t)
	if err := produce(t.Context(), later); err != nil {
		t.Errorf("a pod with a certificate of the new CA: %v", err)
	}
	stop()
	load.Wait()
	t.Logf("%d requests", requests)
	if requests < 20 {
		t.Error("too little load to prove anything")
	}

	chain, err := later.exec(t, "cat", mount+"orders/tls.crt")
	if err != nil {
		// The image of the client has no cat: the request has the chain too.
		chain = kubectl(t, "-n", ns, "get", "podcertificaterequests", "--sort-by=.metadata.creationTimestamp", "-o", `jsonpath={.items[-1:].status.certificateChain}`)
	}
	list, err := certs.ParseCertificates([]byte(chain))
	if err != nil {
		t.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(certificate))
	for _, c := range list[1:] {
		intermediates.AddCert(c)
	}
	if _, err := list[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the new CA did not sign the new pod's certificate: %v", err)
	}
	if now := kubectl(t, "-n", "kafka", "get", "pod", "kafka-0", "-o", "jsonpath={.status.containerStatuses[0].containerID}"); now != started {
		t.Error("the broker was restarted")
	}
	bundle := kubectl(t, "get", "clustertrustbundle", "kafka.signet.dev:mesh:roots", "-o", "jsonpath={.spec.trustBundle}")
	if trusted, err := certs.ParseCertificates([]byte(bundle)); err != nil || len(trusted) < 2 {
		t.Errorf("the ClusterTrustBundle holds %d certificates (%v), want both roots", len(trusted), err)
	}
}

func fingerprint(t *testing.T, certificate string) string {
	t.Helper()
	return certs.Fingerprint(parseCertificate(t, certificate).Raw)
}
