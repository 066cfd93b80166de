// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/test/stack"
)

// webhookProcess is Signet's webhook, as its image runs it.
type webhookProcess struct {
	*process
	// address is where it answers over TLS, with the certificate in dir.
	address, dir string
}

// startWebhook starts it on addresses of the host and waits until it is ready: its cache holds everything.
func (p *plane) startWebhook(ctx context.Context) (*webhookProcess, error) {
	path, err := p.build(ctx, "bench-webhook", p.Root, "./cmd/webhook")
	if err != nil {
		return nil, err
	}
	var addresses [3]string
	for i := range addresses {
		if addresses[i], err = freeAddress(ctx); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "signet-bench-")
	if err != nil {
		return nil, err
	}
	if err := writeServingCertificate(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	running, err := p.start(ctx, path, "--tls-dir="+dir, "--drain-delay=0s",
		"--webhook-bind-address="+addresses[0], "--metrics-bind-address="+addresses[1], "--health-probe-bind-address="+addresses[2])
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	running.metrics = "http://" + addresses[1] + "/metrics"
	w := &webhookProcess{process: running, address: addresses[0], dir: dir}
	err = w.until(ctx, "the webhook is ready", 100*time.Millisecond, 2*time.Minute, func() (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addresses[2]+"/readyz", nil)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // not listening yet; alive tells if it never will
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
	if err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *webhookProcess) stop() error { return errors.Join(w.process.stop(), os.RemoveAll(w.dir)) }

// writeServingCertificate writes a certificate for the host, which is its own CA, as tls.crt and tls.key.
func writeServingCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := caTemplate(time.Now())
	template.IPAddresses, template.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.KeyUsage |= x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
}

// readyUser is a KafkaUser as the controller leaves it.
func readyUser(namespace, name string) *v1alpha1.KafkaUser {
	now := metav1.Now()
	expires, renewal, acls := metav1.NewTime(now.Add(6*time.Hour)), metav1.NewTime(now.Add(4*time.Hour)), int32(8)
	condition := func(kind, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: message, ObservedGeneration: 1, LastTransitionTime: now}
	}
	return &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.KafkaUserSpec{
			ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"}, Consume: []string{"orders", "payments"}, Produce: []string{"audit"},
		},
		Status: v1alpha1.KafkaUserStatus{
			Principal: "User:" + namespace + "." + name, Subject: "CN=" + name + ",OU=" + namespace + ",O=kafka.kafka.signet", ACLs: &acls,
			Certificate: &v1alpha1.CertificateStatus{Secret: v1alpha1.CertificateName(name), Serial: "7f3a9c0d5e1b48267f3a9c0d5e1b4826", NotAfter: &expires, RenewalTime: &renewal},
			Delivery:    v1alpha1.DeliverySecret,
			Conditions: []metav1.Condition{
				condition(v1alpha1.ConditionReady, "certificate, principal and access are in force"),
				condition(v1alpha1.ConditionCertificateReady, "valid until "+expires.Format(time.RFC3339)),
				condition(v1alpha1.ConditionMappingRecorded, "2 subjects are User:"+namespace+"."+name),
				condition(v1alpha1.ConditionAccessSynced, "8 ACLs in force"),
			},
		},
	}
}

// webhookMemory is the name of the benchmark.
func (n population) webhookMemory() string { return fmt.Sprintf("mutate-users-%d-memory", n) }

// webhookMemoryBound is how many bytes 10,000 KafkaUsers may take in the webhook's heap, in MB.
const webhookMemoryBound = 60

// measureWebhookMemory compares the live heap of the webhook whose cache holds the KafkaUsers, and the PrincipalMapping of each,
// with that of one whose cache holds none.
func (n population) measureWebhookMemory(ctx context.Context, _ string, out io.Writer) (err error) {
	p, err := newPlane(ctx, "webhook-users")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Down(context.WithoutCancel(ctx))) }()
	before, err := p.webhookHeap(ctx)
	if err != nil {
		return err
	}
	var cluster v1alpha1.KafkaCluster
	var mesh v1alpha1.MeshIssuer
	if err := errors.Join(p.client.Get(ctx, client.ObjectKey{Namespace: "kafka", Name: "kafka"}, &cluster), p.client.Get(ctx, client.ObjectKey{Name: "mesh"}, &mesh)); err != nil {
		return err
	}
	begin := time.Now()
	if err := n.make(ctx, p, func(ctx context.Context, user *v1alpha1.KafkaUser) error { return p.record(ctx, user, &cluster, &mesh) }); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d KafkaUsers and PrincipalMappings after %s\n", n, time.Since(begin).Round(time.Second))
	after, err := p.webhookHeap(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, bounded(n.webhookMemory(), "MB", (after-before)/1e6, webhookMemoryBound))
	return nil
}

// record writes the status of a new KafkaUser, and its record in the ledger, as the controller does.
func (p *plane) record(ctx context.Context, user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, mesh *v1alpha1.MeshIssuer) error {
	user.Status = readyUser(user.Namespace, user.Name).Status
	if err := p.client.Status().Update(ctx, user); err != nil {
		return err
	}
	spec, err := principal.Record(user, cluster, mesh, types.UID("2b0f7f43-7d8c-4b0e-9d3a-6a0c1d5e4f32"))
	if err != nil {
		return err
	}
	mapping := &v1alpha1.PrincipalMapping{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: v1alpha1.MappingName(user.Namespace, user.Name)}, Spec: spec}
	if err := p.client.Create(ctx, mapping); err != nil {
		return err
	}
	mapping.Status = v1alpha1.PrincipalMappingStatus{Effective: 2, Conditions: []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: "in force", ObservedGeneration: 1, LastTransitionTime: metav1.Now(),
	}}}
	return p.client.Status().Update(ctx, mapping)
}

// webhookHeap returns how many bytes the garbage collector leaves of the heap of a webhook that has just become ready. Two
// collections have to have begun and ended since; the runtime makes one every two minutes at least.
func (p *plane) webhookHeap(ctx context.Context) (live float64, err error) {
	w, err := p.startWebhook(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	cycles := func() (float64, error) { return w.scrape(ctx, "go_gc_cycles_total_gc_cycles_total") }
	begun, err := cycles()
	if err != nil {
		return 0, err
	}
	err = w.until(ctx, "the webhook's garbage is collected", 250*time.Millisecond, 6*time.Minute, func() (bool, error) {
		now, err := cycles()
		return now >= begun+2, err
	})
	if err != nil {
		return 0, err
	}
	if live, err = w.scrape(ctx, "go_gc_heap_live_bytes"); err != nil {
		return 0, err
	}
	resident, err := w.scrape(ctx, "process_resident_memory_bytes")
	if err != nil {
		return 0, err
	}
	if live == 0 || resident == 0 {
		return 0, errors.New("the webhook tells nothing of its memory")
	}
	fmt.Fprintf(os.Stderr, "webhook: live heap %.1f MB, resident %.1f MB\n", live/1e6, resident/1e6)
	return live, nil
}

// The namespaces of measureAdmission: one that no webhook is registered for, one for controller-runtime's empty handler, and
// one for Signet's webhook.
var admissionNamespaces = []string{"none", "empty", "shop"}

// apiClients are the numbers of clients that create pods at once, and how many pods each creates in a turn.
var apiClients = []struct{ clients, pods int }{{1, 200}, {16, 50}}

// apiRounds is how often each namespace has its turn.
const apiRounds = 10

func apiName(clients int, quantile string) string {
	return fmt.Sprintf("mutate-api-%d-%s", clients, quantile)
}

func apiNames() (names []string) {
	for _, c := range apiClients {
		names = append(names, apiName(c.clients, "p50"), apiName(c.clients, "p99"))
	}
	return names
}

// measureAdmission compares what Signet's webhook adds to the creation of a pod through the API server with what
// controller-runtime's empty handler adds, behind the same server, TLS and conditions: with many clients in turns. The pods
// are created in dry runs, which leave out the storage. What is added is the difference of the quantiles.
func measureAdmission(ctx context.Context, only string, out io.Writer) (err error) {
	p, err := newPlane(ctx, "admission")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Down(context.WithoutCancel(ctx))) }()
	if err := p.prepareNamespaces(ctx); err != nil {
		return err
	}
	signet, err := p.startWebhook(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, signet.stop()) }()
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	address, err := freeAddress(ctx)
	if err != nil {
		stop()
		return err
	}
	go func() { ended <- serveEmpty(serving, address, signet.dir) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	if err := p.register(ctx, signet, address); err != nil {
		return err
	}
	for _, c := range apiClients {
		if !strings.Contains(apiName(c.clients, "p50"), only) && !strings.Contains(apiName(c.clients, "p99"), only) {
			continue
		}
		took := map[string][]time.Duration{}
		for round := range apiRounds + 1 {
			for _, namespace := range admissionNamespaces {
				turn, err := p.createPods(ctx, namespace, c.clients, c.pods)
				if err != nil {
					return err
				}
				if round > 0 { // the first one warms up
					took[namespace] = append(took[namespace], turn...)
				}
			}
		}
		for _, q := range []struct {
			name string
			of   float64
		}{{"p50", 0.5}, {"p99", 0.99}} {
			none, empty, ours := quantile(took["none"], q.of), quantile(took["empty"], q.of), quantile(took["shop"], q.of)
			fmt.Fprintf(os.Stderr, "%d clients, %s: %.0f us with no webhook, %.0f with the empty one, %.0f with Signet's\n", c.clients, q.name, none, empty, ours)
			if name := apiName(c.clients, q.name); strings.Contains(name, only) {
				added, baseline := ours-none, empty-none
				ratio := added / baseline
				fmt.Fprintln(out, line(name, "us", added, baseline, ratio, emptyBound, baseline > 0 && ratio <= emptyBound))
			}
		}
	}
	return signet.alive()
}

// prepareNamespaces makes the namespaces with their default service accounts, and a KafkaUser that is ready.
func (p *plane) prepareNamespaces(ctx context.Context) error {
	for _, name := range admissionNamespaces {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelInject: v1alpha1.InjectDisabled}}}
		if name == "shop" {
			namespace.Labels = nil
		}
		if err := p.client.Create(ctx, namespace); err != nil {
			return err
		}
	}
	user := readyUser("shop", "checkout")
	status := user.Status
	if err := p.client.Create(ctx, user); err != nil {
		return err
	}
	user.Status = status
	return p.client.Status().Update(ctx, user)
}

// serveEmpty answers with controller-runtime's empty handler until ctx is done.
func serveEmpty(ctx context.Context, address, tlsDir string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	server := webhook.NewServer(webhook.Options{Host: host, Port: number, CertDir: tlsDir})
	server.Register("/empty", &admission.Webhook{Handler: emptyHandler})
	return server.Start(ctx)
}

// register has the API server call Signet's webhook as the chart says, but in the namespace "empty" the empty handler on
// the same conditions, and waits until it does.
func (p *plane) register(ctx context.Context, signet *webhookProcess, empty string) error {
	chart, err := stack.ChartObjects(ctx)
	if err != nil {
		return err
	}
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	if err := yaml.UnmarshalStrict(chart["MutatingWebhookConfiguration"], &configuration); err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(signet.dir, "tls.crt"))
	if err != nil {
		return err
	}
	at := func(url string) admissionregistrationv1.WebhookClientConfig {
		return admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: ca}
	}
	for i := range configuration.Webhooks {
		w := &configuration.Webhooks[i]
		w.ClientConfig = at("https://" + signet.address + *w.ClientConfig.Service.Path)
	}
	other := configuration.Webhooks[0].DeepCopy()
	other.Name, other.ClientConfig = "empty.bench.signet.dev", at("https://"+empty+"/empty")
	other.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "empty"}}
	configuration.Webhooks = append(configuration.Webhooks, *other)
	text, err := json.Marshal(configuration)
	if err != nil {
		return err
	}
	if err := p.Apply(ctx, string(text)); err != nil {
		return err
	}
	for _, namespace := range admissionNamespaces {
		want := namespace == "shop"
		err := signet.until(ctx, "pods of namespace "+namespace+" are admitted by the webhook that is registered", 100*time.Millisecond, time.Minute, func() (bool, error) {
			pod, err := p.createPod(ctx, namespace)
			return err == nil && (len(pod.Spec.Volumes) > 0) == want, nil // no default service account yet, or no webhook
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// createPod creates a pod that asks for the files of the KafkaUser, in a dry run.
func (p *plane) createPod(ctx context.Context, namespace string) (*corev1.Pod, error) {
	mounted := false
	return p.clientset.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "checkout-", Annotations: declared},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &mounted, Containers: []corev1.Container{{Name: "app", Image: "registry.example.com/checkout:1"}},
		},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

// createPods has so many clients create so many pods each, and returns how long each pod took.
func (p *plane) createPods(ctx context.Context, namespace string, clients, pods int) ([]time.Duration, error) {
	took := make([]time.Duration, clients*pods)
	group, ctx := errgroup.WithContext(ctx)
	for own := range slices.Chunk(took, pods) {
		group.Go(func() error {
			for i := range own {
				begin := time.Now()
				if _, err := p.createPod(ctx, namespace); err != nil {
					return err
				}
				own[i] = time.Since(begin)
			}
			return nil
		})
	}
	return took, group.Wait()
}

// quantile returns, in microseconds, what this part of the values is not above.
func quantile(values []time.Duration, part float64) float64 {
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare)
	return float64(sorted[int(part*float64(len(sorted)-1))].Nanoseconds()) / 1000
}
