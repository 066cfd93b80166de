// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// patience bounds how long a test waits for something that happens by itself; nothing depends on how long it takes.
const patience = 60 * time.Second

// TestServe runs the whole command against an API server that holds one KafkaUser, its KafkaCluster and a ledger: it
// becomes ready, mutates and refuses over TLS, takes a renewed certificate, counts, and drains; it never asks for anything but discovery, lists
// and watches.
func TestServe(t *testing.T) {
	ctrl.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	api := newAPI(t)
	dir := t.TempDir()
	now := time.Now()
	writeCertificate(t, dir, 1, now.Add(-time.Minute), now.Add(time.Hour))
	o := options{
		tlsDir: dir, webhookAddress: freeAddress(t), metricsAddress: freeAddress(t), probeAddress: freeAddress(t),
		drainDelay: 2 * time.Second,
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, &rest.Config{Host: api.URL}, o)
		stop()
	}()
	defer func() {
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("serve does not end")
		}
	}()

	eventually(t, "ready", func() error {
		if ctx.Err() != nil {
			t.Fatal("serve ended")
		}
		return get("http://"+o.probeAddress+"/readyz", nil)
	})
	if err := get("http://"+o.probeAddress+"/healthz", nil); err != nil {
		t.Error(err)
	}

	c := newClient(t)
	pod := `{"metadata":{"annotations":{"%s":"orders"}},"spec":{"containers":[{"name":"app"}]}}`
	response := c.review(t, o, "/mutate-pods", fmt.Sprintf(pod, "kafka.signet.dev/user"))
	if !response.Allowed || len(response.Warnings) > 0 || !strings.Contains(string(response.Patch), "orders-kafka-tls") {
		t.Errorf("declared pod: %+v, patch %s", response, response.Patch)
	}
	if response = c.review(t, o, "/mutate-pods", fmt.Sprintf(pod, "kafka.signet.dev/users")); response.Allowed {
		t.Errorf("pod with a misspelt annotation: %+v", response)
	}
	user := `{"metadata":{"name":"a"},"spec":{"clusterRef":{"name":"kafka"},"externalSubjects":["none"]}}`
	if response = c.review(t, o, "/validate-kafkausers", user); response.Allowed || len(response.Warnings) != 1 {
		t.Errorf("KafkaUser of an unknown cluster with a malformed subject: %+v", response)
	}
	user = `{"metadata":{"name":"a"},"spec":{"clusterRef":{"name":"kafka","namespace":"kafka"},"externalSubjects":["CN=legacy,O=Acme"]}}`
	if response = c.review(t, o, "/validate-kafkausers", user); response.Allowed || !strings.Contains(response.Result.Message, "held by PrincipalMapping kafka/legacy") {
		t.Errorf("KafkaUser that claims what another holds: %+v", response)
	}
	mapping := `{"metadata":{"name":"a"},"spec":{"cluster":"kafka","principal":"User:a","subjects":[{"pattern":"CN=[a-z]+,O=%s"}]}}`
	if response = c.reviewIn(t, o, "/validate-principalmappings", "kafka", fmt.Sprintf(mapping, "Acme")); response.Allowed || !strings.Contains(response.Result.Message, "CN=legacy,O=Acme, which is held by PrincipalMapping kafka/legacy") {
		t.Errorf("PrincipalMapping that claims what another holds: %+v", response)
	}
	if response = c.reviewIn(t, o, "/validate-principalmappings", "kafka", fmt.Sprintf(mapping, "Example")); !response.Allowed || len(response.Warnings) > 0 {
		t.Errorf("PrincipalMapping of what is free: %+v", response)
	}
	topic := `{"metadata":{"name":"%s"},"spec":{"clusterRef":{"name":"kafka","namespace":"kafka"}}}`
	if response = c.review(t, o, "/validate-kafkatopics", fmt.Sprintf(topic, "orders")); response.Allowed || !strings.Contains(response.Result.Message, "must start with shop-") {
		t.Errorf("KafkaTopic of another namespace's topic: %+v", response)
	}
	if response = c.review(t, o, "/validate-kafkatopics", fmt.Sprintf(topic, "shop-orders")); !response.Allowed ||
		len(response.Warnings) != 1 || !strings.Contains(response.Warnings[0], "does not select namespace shop") {
		t.Errorf("KafkaTopic in a namespace that is not selected: %+v", response)
	}
	cluster := `{"metadata":{"name":"second"},"spec":{"namespaceSelector":{"matchLabels":{"a b":"c"}}}}`
	if response = c.reviewIn(t, o, "/validate-kafkaclusters", "kafka", cluster); response.Allowed || !strings.Contains(response.Result.Message, "spec.namespaceSelector.matchLabels") {
		t.Errorf("KafkaCluster with a malformed selector: %+v", response)
	}
	issuer := `{"metadata":{"name":"mesh"},"spec":{"trustDomain":"mesh.example"}}`
	if response = c.reviewIn(t, o, "/validate-meshissuers", "", issuer); response.Allowed || !strings.Contains(response.Result.Message, "the mesh of KafkaCluster kafka/kafka") {
		t.Errorf("MeshIssuer in the mesh's trust domain: %+v", response)
	}
	if got := c.status(t, o, "/mutate-pods", bytes.Repeat([]byte(" "), 8<<20)); !strings.Contains(got, "too large") {
		t.Errorf("body of 8 MiB: %s", got)
	}
	var exposition bytes.Buffer
	if err := get("http://"+o.metricsAddress+"/metrics", &exposition); err != nil {
		t.Error(err)
	}
	for _, sample := range []string{
		`signet_admission_decisions_total{reason="",result="mutated",webhook="pods"} 1`,
		`signet_admission_decisions_total{reason="UnknownAnnotation",result="refused",webhook="pods"} 1`,
		`signet_admission_decisions_total{reason="InvalidDeclaration",result="refused",webhook="kafkausers"} 2`,
		`signet_admission_decisions_total{reason="InvalidDeclaration",result="refused",webhook="principalmappings"} 1`,
		`signet_admission_decisions_total{reason="",result="unchanged",webhook="principalmappings"} 1`,
	} {
		if !strings.Contains(exposition.String(), sample) {
			t.Errorf("/metrics lacks %s", sample)
		}
	}

	writeCertificate(t, dir, 2, now.Add(-time.Minute), now.Add(time.Hour))
	eventually(t, "renewed certificate", func() error {
		fresh := newClient(t)
		fresh.review(t, o, "/mutate-pods", `{}`)
		if got := fresh.serial.Load(); got != 2 {
			return fmt.Errorf("serial %d", got)
		}
		return nil
	})

	stop()
	eventually(t, "not ready", func() error {
		if get("http://"+o.probeAddress+"/readyz", nil) == nil {
			return fmt.Errorf("still ready")
		}
		return nil
	})
	if response = c.review(t, o, "/mutate-pods", fmt.Sprintf(pod, "kafka.signet.dev/user")); len(response.Patch) == 0 {
		t.Errorf("pod while draining: %+v", response)
	}
}

func TestServeRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	writeCertificate(t, dir, 1, now, now.Add(time.Hour))
	for name, test := range map[string]struct {
		o    options
		want string
	}{
		"no certificate":   {options{tlsDir: t.TempDir(), webhookAddress: ":9443"}, "serving certificate"},
		"no port":          {options{tlsDir: dir, webhookAddress: "9443"}, "--webhook-bind-address"},
		"port zero":        {options{tlsDir: dir, webhookAddress: ":0"}, "--webhook-bind-address"},
		"port not numeric": {options{tlsDir: dir, webhookAddress: ":https"}, "--webhook-bind-address"},
	} {
		t.Run(name, func(t *testing.T) {
			err := serve(t.Context(), &rest.Config{Host: "http://127.0.0.1:1"}, test.o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("serve = %v, want an error about %s", err, test.want)
			}
		})
	}
}

func TestReadiness(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	leaf := &x509.Certificate{NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour)}
	ready := func() *readiness {
		return &readiness{
			synced:      []func() bool{func() bool { return true }, func() bool { return true }},
			certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &tls.Certificate{Leaf: leaf}, nil },
			now:         func() time.Time { return at },
		}
	}
	for name, test := range map[string]struct {
		change func(*readiness)
		want   string
	}{
		"ready":          {func(*readiness) {}, ""},
		"one not synced": {func(r *readiness) { r.synced[1] = func() bool { return false } }, "not synced"},
		"no certificate": {func(r *readiness) {
			r.certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
		}, "no serving certificate"},
		"expired":           {func(r *readiness) { r.now = func() time.Time { return at.Add(2 * time.Hour) } }, "valid from"},
		"not yet valid":     {func(r *readiness) { r.now = func() time.Time { return at.Add(-2 * time.Hour) } }, "valid from"},
		"ordered to stop":   {func(r *readiness) { r.drain() }, "stopping"},
		"stops for good":    {func(r *readiness) { r.drain(); r.drain() }, "stopping"},
		"valid to the last": {func(r *readiness) { r.now = func() time.Time { return leaf.NotAfter } }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready()
			test.change(r)
			err := r.check()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("check = %v, want %q", err, test.want)
			}
		})
	}
}

// newAPI serves discovery and the list and watch of KafkaUsers, KafkaClusters, PrincipalMappings and the metadata of
// namespaces, and fails the test on anything else.
func newAPI(t *testing.T) *httptest.Server {
	const prefix = "/apis/kafka.signet.dev/v1alpha1"
	version := metav1.GroupVersionForDiscovery{GroupVersion: "kafka.signet.dev/v1alpha1", Version: "v1alpha1"}
	group := metav1.APIGroup{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: "kafka.signet.dev",
		Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
	}
	kind := func(name string) metav1.TypeMeta {
		return metav1.TypeMeta{Kind: name, APIVersion: v1alpha1.GroupVersion.String()}
	}
	named := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: namespace, ResourceVersion: "1", UID: "1"}
	}
	items := map[string]any{
		"KafkaUser": v1alpha1.KafkaUser{
			TypeMeta: kind("KafkaUser"), ObjectMeta: named("shop", "orders"),
			Status: v1alpha1.KafkaUserStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}},
		},
		"KafkaCluster": v1alpha1.KafkaCluster{
			TypeMeta: kind("KafkaCluster"), ObjectMeta: named("kafka", "kafka"),
			Spec: v1alpha1.KafkaClusterSpec{
				NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"team": "billing"}},
				MeshTrustDomain:   "mesh.example", Certificates: v1alpha1.CertificateDefaults{IssuerRef: v1alpha1.IssuerReference{Name: "mesh"}},
			},
		},
		"PrincipalMapping": v1alpha1.PrincipalMapping{
			TypeMeta: kind("PrincipalMapping"), ObjectMeta: named("kafka", "legacy"),
			Spec: v1alpha1.PrincipalMappingSpec{Cluster: "kafka", Principal: "User:legacy", Subjects: []v1alpha1.MappedSubject{{Exact: "CN=legacy,O=Acme"}}},
		},
	}
	metadata := metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}
	shop := metav1.PartialObjectMetadata{TypeMeta: metadata, ObjectMeta: metav1.ObjectMeta{Name: "shop", ResourceVersion: "1", UID: "1", Labels: map[string]string{"team": "shop"}}}
	var resources []metav1.APIResource
	initial := map[string]any{"/api/v1/namespaces": shop} // what a watch begins with, by path
	bookmarks := map[string]metav1.TypeMeta{"/api/v1/namespaces": metadata}
	answers := map[string]any{
		"/api": metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions", APIVersion: "v1"}, Versions: []string{"v1"}},
		"/api/v1": metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "v1",
			APIResources: []metav1.APIResource{{Name: "namespaces", Kind: "Namespace", Verbs: metav1.Verbs{"get", "list", "watch"}}},
		},
		"/api/v1/namespaces": metav1.PartialObjectMetadataList{
			TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1"},
			ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []metav1.PartialObjectMetadata{shop},
		},
		"/apis":                  metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{group}},
		"/apis/kafka.signet.dev": group,
	}
	for name, item := range items {
		plural := strings.ToLower(name) + "s"
		resources = append(resources, metav1.APIResource{Name: plural, Kind: name, Namespaced: true, Verbs: metav1.Verbs{"get", "list", "watch"}})
		initial[prefix+"/"+plural], bookmarks[prefix+"/"+plural] = item, kind(name)
		answers[prefix+"/"+plural] = map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": name + "List",
			"metadata": metav1.ListMeta{ResourceVersion: "1"}, "items": []any{item},
		}
	}
	answers[prefix] = metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: version.GroupVersion, APIResources: resources,
	}
	stopped := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok || r.Method != http.MethodGet {
			t.Errorf("the webhook asked for %s %s", r.Method, r.URL.Path)
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			if err := json.NewEncoder(w).Encode(answer); err != nil {
				t.Error(err)
			}
			return
		}
		if r.URL.Query().Get("sendInitialEvents") != "" {
			of := bookmarks[r.URL.Path]
			fmt.Fprintf(w, `{"type":"ADDED","object":%s}`+"\n", encode(t, initial[r.URL.Path]))
			fmt.Fprintf(w, `{"type":"BOOKMARK","object":{"apiVersion":%q,"kind":%q,"metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}`+"\n", of.APIVersion, of.Kind)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		select {
		case <-r.Context().Done():
		case <-stopped:
		}
	}))
	t.Cleanup(func() {
		close(stopped)
		server.Close()
	})
	return server
}

func encode(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Error(err)
	}
	return text
}

// apiClient talks to the webhook as an API server does. It trusts any certificate and notes its serial number: who
// signs the serving certificate is another package's business.
type apiClient struct {
	*http.Client
	serial *atomic.Int64
}

func newClient(t *testing.T) apiClient {
	c := apiClient{serial: &atomic.Int64{}}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			c.serial.Store(s.PeerCertificates[0].SerialNumber.Int64())
			return nil
		},
	}}
	t.Cleanup(transport.CloseIdleConnections)
	c.Client = &http.Client{Transport: transport, Timeout: patience}
	return c
}

func (c apiClient) status(t *testing.T, o options, path string, body []byte) string {
	t.Helper()
	response, err := c.Post("https://"+o.webhookAddress+path, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (c apiClient) review(t *testing.T, o options, path, object string) *admissionv1.AdmissionResponse {
	t.Helper()
	return c.reviewIn(t, o, path, "shop", object)
}

func (c apiClient) reviewIn(t *testing.T, o options, path, namespace, object string) *admissionv1.AdmissionResponse {
	t.Helper()
	body := encode(t, admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "7", Operation: admissionv1.Create, Namespace: namespace, Object: runtime.RawExtension{Raw: []byte(object)},
		},
	})
	var review admissionv1.AdmissionReview
	if text := c.status(t, o, path, body); json.Unmarshal([]byte(text), &review) != nil || review.Response == nil {
		t.Fatalf("%s answers %s", path, text)
	}
	return review.Response
}

func get(url string, into io.Writer) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, response.Status, text)
	}
	if into != nil {
		_, err = into.Write(text)
	}
	return err
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func writeCertificate(t *testing.T, dir string, serial int64, notBefore, notAfter time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "webhook"}, NotBefore: notBefore, NotAfter: notAfter,
		DNSNames: []string{"webhook"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
