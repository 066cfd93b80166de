// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"golang.org/x/sync/errgroup"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// flood is how many PodCertificateRequests come at once.
const flood = 10_000

// TestFloodOfRequests: thousands of requests at once, two controllers that both believe that they lead, an API server that
// is out of reach for a while, and then one whose answers to what it has done are lost: each request is answered once, for
// its own key, none is lost, and no certificate is out there that the audit log does not have.
func TestFloodOfRequests(t *testing.T) {
	t.Parallel()
	s, restConfig := controlPlane(t, "flood")
	prepare(t, s)
	if err := s.Apply(t.Context(), `
apiVersion: v1
kind: Namespace
metadata: {name: flood}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: flood}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["127.0.0.1:1"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}}
  namespaceSelector: {}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: orders, namespace: flood}
spec: {clusterRef: {name: kafka}, consume: []}
`); err != nil {
		t.Fatal(err)
	}
	var trail auditTrail
	line := &cut{}
	for range 2 {
		startOver(t, restConfig, line, &trail)
	}
	if _, err := s.Kubectl(t.Context(), "", "-n", "flood", "wait", "--for=condition=MappingRecorded", "kafkauser/orders", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(restConfig, client.Options{Scheme: clientgoscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]*ecdsa.PrivateKey, flood)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(32)
	for i := range keys {
		group.Go(func() (err error) {
			if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
				return err
			}
			request, err := podRequest(i, keys[i])
			if err != nil {
				return err
			}
			return c.Create(ctx, request)
		})
		switch i {
		case flood / 4:
			line.mode.Store(refuse)
		case flood / 2:
			line.mode.Store(swallow)
		case flood * 3 / 4:
			line.mode.Store(pass)
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests refused, %d answers lost on the way", line.refused.Load(), line.swallowed.Load())
	if line.refused.Load() == 0 || line.swallowed.Load() == 0 {
		t.Error("the line was not cut while requests were on their way")
	}
	checkAnswers(t, answers(t, c), keys, trail.certificates(t))
}

// podRequest is the request of a kubelet, made by the administrator: nobody has to run so many pods.
func podRequest(i int, key *ecdsa.PrivateKey) (*certificatesv1.PodCertificateRequest, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	return &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "flood", Name: fmt.Sprintf("request-%d", i)},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: v1alpha1.SignerName("mesh"), StubPKCS10Request: csr, MaxExpirationSeconds: new(int32(86400)),
			PodName: fmt.Sprintf("pod-%d", i), PodUID: "1", ServiceAccountName: "default", ServiceAccountUID: "1", NodeName: "node", NodeUID: "1",
			UnverifiedUserAnnotations: map[string]string{v1alpha1.AnnotationUser: "orders"},
		},
	}, nil
}

// answers waits until every request is answered.
func answers(t *testing.T, c client.Client) []certificatesv1.PodCertificateRequest {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		var list certificatesv1.PodCertificateRequestList
		if err := c.List(t.Context(), &list, client.InNamespace("flood")); err != nil {
			t.Fatal(err)
		}
		open := 0
		for i := range list.Items {
			if len(list.Items[i].Status.Conditions) == 0 {
				open++
			}
		}
		if open == 0 {
			return list.Items
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d requests are not answered after two minutes", open, len(list.Items))
		}
		time.Sleep(time.Second)
	}
}

// checkAnswers holds that each request has a certificate of its own for its own key, and that the audit log has that
// certificate, and says of no other that it was issued for that request.
func checkAnswers(t *testing.T, requests []certificatesv1.PodCertificateRequest, keys []*ecdsa.PrivateKey, recorded map[string]map[string]bool) {
	t.Helper()
	if len(requests) != len(keys) {
		t.Errorf("%d requests are left of %d", len(requests), len(keys))
	}
	known, unrecorded, phantom := map[string]bool{}, 0, 0
	for i := range requests {
		r := &requests[i]
		var number int
		if _, err := fmt.Sscanf(r.Name, "request-%d", &number); err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode([]byte(r.Status.CertificateChain))
		if block == nil || r.Status.Conditions[0].Type != certificatesv1.PodCertificateRequestConditionTypeIssued {
			t.Fatalf("%s is answered with %+v", r.Name, r.Status.Conditions)
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		serial := certs.SerialString(leaf)
		if !keys[number].PublicKey.Equal(leaf.PublicKey) || known[serial] {
			t.Errorf("%s has a certificate of another, or for another's key", r.Name)
		}
		known[serial] = true
		logged := recorded["PodCertificateRequest flood/"+r.Name]
		if _, ok := logged[serial]; !ok {
			unrecorded++
		}
		for other, issued := range logged {
			if issued && other != serial {
				phantom++
			}
		}
	}
	if unrecorded > 0 {
		t.Errorf("%d certificates are not in the audit log", unrecorded)
	}
	if phantom > 0 {
		t.Errorf("the audit log says of %d certificates that they were issued, and nobody has them", phantom)
	}
}

// startOver runs a controller as main does, on a line that can be cut, until the test ends.
func startOver(t *testing.T, restConfig *rest.Config, line *cut, trail *auditTrail) {
	t.Helper()
	restConfig = rest.CopyConfig(restConfig)
	restConfig.QPS, restConfig.Burst = 2000, 4000
	restConfig.Wrap(line.over)
	o := quick()
	mo := managerOptions(o)
	mo.Controller = config.Controller{SkipNameValidation: new(true)}
	mo.Logger = logr.Discard()
	mo.GracefulShutdownTimeout = new(10 * time.Second)
	mgr, err := ctrl.NewManager(restConfig, mo)
	if err != nil {
		t.Fatal(err)
	}
	if err := setup(mgr, o, funcr.NewJSON(trail.add, funcr.Options{}), time.Now); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(t.Context()) }() // which ends before what is cleaned up
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Errorf("the controller ends with %v", err)
		}
	})
}

// What becomes of requests on a line.
const (
	pass int32 = iota
	// refuse lets nothing through.
	refuse
	// swallow lets writes through and loses the answers.
	swallow
)

// cut is a line to the API server.
type cut struct {
	mode               atomic.Int32
	refused, swallowed atomic.Int64
}

var (
	errRefused = errors.New("connection refused")
	errLost    = fmt.Errorf("the answer is lost: %w", io.ErrUnexpectedEOF)
)

func (c *cut) over(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		switch mode := c.mode.Load(); {
		case mode == refuse:
			c.refused.Add(1)
			return nil, errRefused
		case mode == swallow && r.Method != http.MethodGet:
			response, err := next.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			c.swallowed.Add(1)
			return nil, errors.Join(errLost, response.Body.Close())
		}
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// auditTrail keeps what controllers log.
type auditTrail struct {
	mu    sync.Mutex
	lines []string
}

func (a *auditTrail) add(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines = append(a.lines, line)
}

// certificates are the serials in the log, for each request: true where it says that the certificate was issued.
func (a *auditTrail) certificates(t *testing.T) map[string]map[string]bool {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	found := map[string]map[string]bool{}
	for _, line := range a.lines {
		var entry struct{ Msg, Outcome, Object, Serial string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if entry.Msg != "certificate decision" || entry.Serial == "" {
			continue
		}
		if found[entry.Object] == nil {
			found[entry.Object] = map[string]bool{}
		}
		found[entry.Object][entry.Serial] = found[entry.Object][entry.Serial] || entry.Outcome == "issued"
	}
	return found
}
