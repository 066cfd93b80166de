// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/test/stack"
)

// TestControllerKilledBetweenAnyTwoWritesOfARotation replaces the mesh CA, kills the controller after its first, second,
// third … write of the way to the new CA and again of the way away from the old one, starts another one, and holds that
// at every such moment what signs is in every bundle, and that it all ends with the new root alone.
func TestControllerKilledBetweenAnyTwoWritesOfARotation(t *testing.T) { //nolint:tparallel // one controller after the other
	t.Parallel() // beside the others, each with an API server of its own
	s, restConfig := controlPlane(t, "rotation")
	prepare(t, s)
	if _, err := s.Kubectl(t.Context(), "", "delete", "meshissuer", "mesh"); err != nil {
		t.Fatal(err)
	}
	t.Run("two controllers at once", func(t *testing.T) {
		// Without a lease, as when the API server is slow and two hold themselves for the leader.
		ctx, cancel := context.WithCancel(t.Context())
		ended, _ := start(ctx, t, restConfig, 0, time.Now)
		rotation(t, s, restConfig, "two", 0)
		cancel()
		t.Logf("ended: %v", <-ended)
	})
	writes := rotation(t, s, restConfig, "whole", 0)
	if writes < 4 {
		t.Fatalf("%d writes for a rotation: the test sees none of them", writes)
	}
	for n := int64(1); n <= writes; n++ {
		t.Run(fmt.Sprintf("after write %d of %d", n, writes), func(t *testing.T) {
			rotation(t, s, restConfig, fmt.Sprintf("killed-%d", n), n)
		})
	}
}

// rotation is one rotation in a namespace of its own, by a controller that dies after limit writes (0: not) on both
// ways, and returns how many writes it did on the longer one.
func rotation(t *testing.T, s *stack.Stack, restConfig *rest.Config, name string, limit int64) int64 {
	t.Helper()
	certificate, key := testCA(t)
	if err := s.Apply(t.Context(), fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: Secret
metadata: {name: ca, namespace: %[1]s}
data: {ca-cert.pem: %[2]s, ca-key.pem: %[3]s}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: MeshIssuer
metadata: {name: %[1]s}
spec: {ca: {secretRef: {namespace: %[1]s, name: ca}}}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: %[1]s}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["127.0.0.1:1"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: %[1]s}}
  namespaceSelector: {}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: orders, namespace: %[1]s}
spec: {clusterRef: {name: kafka}, consume: [a]}
`, name, certificate, key)); err != nil {
		t.Fatal(err)
	}
	until(t, restConfig, 0, time.Now, func() bool { return phase(t, s, name, v1alpha1.RotationStable, 1) })
	t.Cleanup(func() {
		if t.Failed() {
			r, _ := record(t, s, name)
			out, err := s.Kubectl(context.Background(), "", "get", "meshissuer", name, "-o", "yaml")
			t.Logf("phase %s since %s, trusted since %s, %d bundles %d\n%s %v", r.Phase, r.Since, r.TrustedSince, len(r.Trusted()), len(bundles(t, s, name)), out, err)
		}
	})
	former := signing(t, s, name)

	certificate, key = testCA(t)
	if err := s.Apply(t.Context(), fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: ca, namespace: %s}\ndata: {ca-cert.pem: %s, ca-key.pem: %s}\n", name, certificate, key)); err != nil {
		t.Fatal(err)
	}
	whole := until(t, restConfig, limit, time.Now, func() bool {
		return phase(t, s, name, v1alpha1.RotationSigning, 2) && signing(t, s, name) != former
	})
	later := func() time.Time { return time.Now().Add(8 * time.Hour) }
	whole = max(whole, until(t, restConfig, limit, later, func() bool { return phase(t, s, name, v1alpha1.RotationStable, 1) }))
	now := signing(t, s, name)
	if root, err := base64.StdEncoding.DecodeString(certificate); err != nil || now == former || strings.TrimSpace(bundles(t, s, name)[0]) != strings.TrimSpace(string(root)) {
		t.Errorf("it ends with another root than the mesh CA's (%v)", err)
	}
	if _, err := s.Kubectl(t.Context(), "", "delete", "meshissuer", name); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kubectl(t.Context(), "", "-n", name, "delete", "kafkauser,kafkacluster,principalmapping", "--all", "--wait=false"); err != nil {
		t.Fatal(err)
	}
	return whole
}

// until runs a controller that dies after limit writes (0: not), then one that does not, until it is done.
func until(t *testing.T, restConfig *rest.Config, limit int64, now func() time.Time, done func() bool) int64 {
	t.Helper()
	var writes int64
	wait := func(ended <-chan error, d *dying, mayDie bool) bool {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
			select {
			case err := <-ended:
				if !mayDie {
					t.Fatalf("the controller ended by itself: %v", err)
				}
				done() // what it left has to hold too
				return false
			case <-time.After(100 * time.Millisecond):
			}
			if done() {
				writes = d.writes.Load()
				return true
			}
		}
		t.Fatalf("not done after a minute; the clock is %s", now())
		return false
	}
	for _, limit := range []int64{limit, 0} {
		ctx, cancel := context.WithCancel(t.Context())
		ended, d := start(ctx, t, restConfig, limit, now)
		over := wait(ended, d, limit > 0)
		cancel()
		if over {
			t.Logf("ended: %v", <-ended)
			break
		}
	}
	return writes
}

// record reads what is recorded of a MeshIssuer, which is whole at any moment.
func record(t *testing.T, s *stack.Stack, name string) (certs.Record, bool) {
	t.Helper()
	out, err := s.Kubectl(context.Background(), "", "-n", "signet-system", "get", "secret", v1alpha1.AuthoritiesSecret, "--ignore-not-found", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var secret struct{ Data map[string][]byte }
	if out == "" {
		return certs.Record{}, false
	}
	if err := json.Unmarshal([]byte(out), &secret); err != nil {
		t.Fatal(err)
	}
	if secret.Data[name] == nil {
		return certs.Record{}, false
	}
	r, err := certs.DecodeRecord(secret.Data[name])
	if err != nil {
		t.Fatal(err)
	}
	return r, true
}

func signing(t *testing.T, s *stack.Stack, name string) string {
	t.Helper()
	r, ok := record(t, s, name)
	if !ok {
		t.Fatal("nothing is recorded")
	}
	return certs.Fingerprint(r.Signing.CA.Certificate.Raw)
}

// bundles returns what brokers and clients trust, where they have a bundle.
func bundles(t *testing.T, s *stack.Stack, name string) []string {
	t.Helper()
	out, err := s.Kubectl(context.Background(), "", "-n", name, "get", "configmap", "kafka-signet-broker", "orders-kafka-trust", "--ignore-not-found", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct{ Data map[string]string }
	}
	if out != "" {
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatal(err)
		}
	}
	var found []string
	for _, item := range list.Items {
		found = append(found, item.Data[v1alpha1.KeyClientCA]+item.Data[v1alpha1.FileCA])
	}
	return found
}

// phase tells whether the rotation is in the phase and both bundles hold this many roots; whatever the phase, each
// bundle that is there has to hold the root of the CA that signs.
func phase(t *testing.T, s *stack.Stack, name string, want v1alpha1.RotationPhase, roots int) bool {
	t.Helper()
	r, ok := record(t, s, name)
	if !ok {
		return false
	}
	signs := string(certs.EncodeCertificates(r.Signing.CA.Roots))
	found := bundles(t, s, name)
	exact := len(found) == 2
	for _, bundle := range found {
		if !strings.Contains(bundle, signs) {
			t.Fatalf("in phase %s a bundle lacks the root of the CA that signs", r.Phase)
		}
		exact = exact && strings.Count(bundle, "BEGIN CERTIFICATE") == roots
	}
	return exact && r.Phase == want
}
