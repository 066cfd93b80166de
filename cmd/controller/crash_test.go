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
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/test/stack"
)

// errKilled is what a controller that was killed would have got for its next write, had it lived.
var errKilled = errors.New("the controller was killed")

// dying is a client whose process is killed right after its nth write, by kill and by refusing every write after it.
type dying struct {
	limit  int64
	writes atomic.Int64
	kill   context.CancelFunc
	once   sync.Once
}

// write does one write, unless the process is dead.
func (d *dying) write(do func() error) error {
	n := d.writes.Add(1)
	if d.limit > 0 && n > d.limit {
		return errKilled
	}
	err := do()
	if n == d.limit {
		d.once.Do(d.kill)
	}
	return err
}

func (d *dying) client(config *rest.Config, options client.Options) (client.Client, error) {
	c, err := client.NewWithWatch(config, options)
	if err != nil {
		return nil, err
	}
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return d.write(func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return d.write(func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return d.write(func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return d.write(func() error { return c.Delete(ctx, o, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return d.write(func() error { return c.Apply(ctx, o, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return d.write(func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return d.write(func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			return d.write(func() error { return c.SubResource(sub).Apply(ctx, o, opts...) })
		},
	}), nil
}

// quick are the options of a controller that is in a hurry and has no brokers.
func quick() options {
	return options{
		metrics: "0", probes: "0", namespace: "signet-system",
		manageServing: true, webhookService: "signet-webhook", webhookConfiguration: "signet",
		certManager: "system:serviceaccount:cert-manager:cert-manager", driftPeriod: time.Minute,
		rotation: certs.RotationSettings{Settle: 100 * time.Millisecond, Observe: 100 * time.Millisecond},
		brokers:  trusting{}, registry: prometheus.NewRegistry(),
	}
}

// start runs the controller as main does, until the context ends or it is killed after limit writes (0: never).
func start(ctx context.Context, t *testing.T, restConfig *rest.Config, limit int64, now func() time.Time) (done <-chan error, d *dying) {
	t.Helper()
	return startWith(ctx, t, restConfig, quick(), limit, now)
}

// startWith is start with other options.
func startWith(ctx context.Context, t *testing.T, restConfig *rest.Config, o options, limit int64, now func() time.Time) (done <-chan error, d *dying) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	d = &dying{limit: limit, kill: cancel}
	mo := managerOptions(o)
	mo.NewClient = d.client
	// A process registers each controller once; these are the same process many times over.
	mo.Controller = config.Controller{SkipNameValidation: new(true)}
	mo.Logger = logr.Discard()
	mo.GracefulShutdownTimeout = new(10 * time.Second)
	mgr, err := ctrl.NewManager(restConfig, mo)
	if err != nil {
		t.Fatal(err)
	}
	if err := setup(mgr, o, logr.Discard(), now); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- mgr.Start(ctx)
	}()
	return ended, d
}

// running runs a controller, which nothing kills, until the returned function is called; that has to be before the API server
// goes, and so is deferred.
func running(t *testing.T, restConfig *rest.Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended, _ := start(ctx, t, restConfig, 0, time.Now)
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the controller ends with %v", err)
		}
	}
}

// TestControllerKilledBetweenAnyTwoWrites kills the controller after its first, second, third … write for a new
// KafkaUser, starts another one, and compares what there is in the end with what an undisturbed controller makes.
func TestControllerKilledBetweenAnyTwoWrites(t *testing.T) { //nolint:tparallel // one controller after the other
	t.Parallel()
	s, restConfig := controlPlane(t, "crash")
	prepare(t, s)

	life(t, s, restConfig, "first", 0) // with what a controller makes once and for all
	undisturbed, writes := life(t, s, restConfig, "whole", 0)
	if writes < 5 {
		t.Fatalf("%d writes for a KafkaUser: the test sees none of them", writes)
	}
	for n := int64(1); n <= writes; n++ {
		t.Run(fmt.Sprintf("after write %d of %d", n, writes), func(t *testing.T) {
			name := fmt.Sprintf("killed-%d", n)
			got, _ := life(t, s, restConfig, name, n)
			if want := strings.ReplaceAll(undisturbed, "whole", name); got != want {
				t.Errorf("it ends with\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// controlPlane starts an API server for one test.
func controlPlane(t *testing.T, name string) (*stack.Stack, *rest.Config) {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	s, err := stack.ControlPlane(t.Context(), fmt.Sprintf("%s-%d", name, os.Getpid()), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	restConfig, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	restConfig.QPS, restConfig.Burst = 500, 1000
	return s, restConfig
}

// trusting are brokers that trust whatever they are given.
type trusting struct{}

func (trusting) Accepts(context.Context, *v1alpha1.KafkaCluster, *tls.Config) error { return nil }

func (trusting) ReloadTrust(context.Context, *v1alpha1.KafkaCluster, string) error { return nil }

// prepare installs the CRDs of Signet and cert-manager and a CA.
func prepare(t *testing.T, s *stack.Stack) {
	t.Helper()
	crds(t, s, filepath.Join(s.Root, "charts", "signet", "files", "crds"))
	crds(t, s, certManagerCRDs(t))
	certificate, key := testCA(t)
	if err := s.Apply(t.Context(), fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: signet-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Secret
metadata: {name: istio-ca-secret, namespace: istio-system}
data: {ca-cert.pem: %s, ca-key.pem: %s}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: MeshIssuer
metadata: {name: mesh}
spec: {ca: {secretRef: {namespace: istio-system, name: istio-ca-secret}}}
`, certificate, key)); err != nil {
		t.Fatal(err)
	}
}

// certManagerCRDs is the directory of cert-manager's CRDs.
func certManagerCRDs(t *testing.T) string {
	t.Helper()
	module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(module)), "deploy", "crds")
}

// crds installs the CRDs of a directory.
func crds(t *testing.T, s *stack.Stack, dir string) {
	t.Helper()
	for _, args := range [][]string{{"apply", "--server-side", "-f", dir}, {"wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"}} {
		if _, err := s.Kubectl(t.Context(), "", args...); err != nil {
			t.Fatal(err)
		}
	}
}

// testCA makes a CA, both parts PEM in base64.
func testCA(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"cluster.local"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(block pem.Block) string { return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&block)) }
	return encode(pem.Block{Type: "CERTIFICATE", Bytes: der}), encode(pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// life runs a controller that dies after limit writes (0: not), then one that does not, over one new KafkaUser, and
// returns what there is in the end and how many writes the first controller did for it.
func life(t *testing.T, s *stack.Stack, restConfig *rest.Config, name string, limit int64) (state string, writes int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := s.Apply(ctx, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: %[1]s}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["127.0.0.1:1"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}}
  namespaceSelector: {}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: orders, namespace: %[1]s}
spec: {clusterRef: {name: kafka}, consume: [a]}
`, name)); err != nil {
		t.Fatal(err)
	}
	ended, d := start(ctx, t, restConfig, limit, time.Now)
	if limit > 0 {
		complete := false
		for deadline := time.Now().Add(time.Minute); !complete && time.Now().Before(deadline); {
			select {
			case err := <-ended:
				t.Logf("killed: %v", err)
				ended, complete = nil, true
			case <-time.After(100 * time.Millisecond):
				// Writes are not in the same number each time; this life may be shorter than the limit.
				_, complete = describe(t, s, name)
			}
		}
		cancel()
		if ended != nil {
			t.Logf("ended: %v", <-ended)
		}
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		ended, _ = start(ctx, t, restConfig, 0, time.Now)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		var complete bool
		if state, complete = describe(t, s, name); complete {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not complete after a minute:\n%s", state)
		}
		time.Sleep(100 * time.Millisecond)
	}
	writes = d.writes.Load()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the controller ends with %v", err)
	}
	if _, err := s.Kubectl(t.Context(), "", "-n", name, "delete", "kafkauser,kafkacluster,principalmapping", "--all", "--wait=false"); err != nil {
		t.Fatal(err)
	}
	return state, writes
}

var renderedOften = regexp.MustCompile(`"generation": [0-9]+`)

// When a certificate is renewed follows from the KafkaUser's UID.
var renewBefore = regexp.MustCompile(`"renewBefore":"[^"]*"`)

var namespaceUID = regexp.MustCompile(`"namespaceUID":"[^"]*"`)

// describe lists what was made in a namespace, without what differs from one life to the next, and tells whether
// everything that is to come has come.
func describe(t *testing.T, s *stack.Stack, namespace string) (state string, complete bool) {
	t.Helper()
	out, err := s.Kubectl(t.Context(), "", "-n", namespace, "get", "certificates,configmaps,principalmappings,kafkausers,kafkaclusters", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct {
			Kind     string
			Metadata struct {
				Name            string
				Finalizers      []string
				OwnerReferences []metav1.OwnerReference
			}
			Spec   json.RawMessage
			Data   map[string]string
			Status struct {
				Principal, Subject string
				Conditions         []metav1.Condition
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	decided := 0
	for _, item := range list.Items {
		if item.Kind == "ConfigMap" && item.Metadata.Name == "kube-root-ca.crt" {
			continue
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, item.Spec); err != nil && len(item.Spec) > 0 {
			t.Fatal(err)
		}
		spec := renewBefore.ReplaceAllString(namespaceUID.ReplaceAllString(compact.String(), ""), "")
		// How often the broker configuration was rendered on the way there is a matter of timing.
		if file, ok := item.Data[v1alpha1.KeyMappingFile]; ok {
			item.Data[v1alpha1.KeyMappingFile] = renderedOften.ReplaceAllString(file, `"generation": N`)
		}
		fmt.Fprintf(&b, "%s %s finalizers=%v owners=%d data=%v spec=%s\n", item.Kind, item.Metadata.Name, item.Metadata.Finalizers, len(item.Metadata.OwnerReferences), item.Data, spec)
		slices.SortFunc(item.Status.Conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
		for _, c := range item.Status.Conditions {
			fmt.Fprintf(&b, "  %s %s %s\n", c.Type, c.Status, c.Reason)
			decided++
		}
	}
	// KafkaUser: 4 conditions, KafkaCluster: 3, PrincipalMapping: 1, once the last of each is what it will be, and the brokers'
	// mapping file has the KafkaUser.
	return b.String(), decided >= 8 && strings.Contains(b.String(), fmt.Sprintf("%q: ", "CN=orders,OU="+namespace+",O=signet")) && strings.Contains(b.String(), "MappingRecorded True Ready") && strings.Contains(b.String(), "AccessSynced False Unreachable") &&
		strings.Count(b.String(), "  Ready False Unreachable") == 2 && // of the KafkaUser and of the KafkaCluster
		strings.Contains(b.String(), "Certificate orders-kafka-tls") && strings.Contains(b.String(), "ConfigMap orders-kafka-trust") && strings.Contains(b.String(), "ConfigMap kafka-signet-broker") && strings.Contains(b.String(), "ConfigMap orders-kafka-client")
}
