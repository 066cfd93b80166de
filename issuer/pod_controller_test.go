// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// noReads is a client.Reader that must not be asked.
type noReads struct{ t *testing.T }

func (r noReads) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	r.t.Error("the API server is read")
	return errors.New("not to be read")
}

func (r noReads) List(context.Context, client.ObjectList, ...client.ListOption) error {
	r.t.Error("the API server is listed")
	return errors.New("not to be read")
}

// podWorld is pods' requests, what they belong to, and the controller that decides them.
type podWorld struct {
	client     client.Client
	controller *PodController
	secret     *secretReader
	mesh       testCA
	log        *auditLog
	events     *events.FakeRecorder
	writes     *atomic.Int32
}

// newPodWorld makes a world of the facts; a KafkaUser, cluster or issuer that is nil does not exist. funcs may stand
// before the API server.
func newPodWorld(t *testing.T, f PodFacts, funcs interceptor.Funcs, more ...client.Object) podWorld {
	t.Helper()
	objects := append(more, f.Request, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	if f.User != nil {
		objects = append(objects, f.User)
	}
	if f.Cluster != nil {
		objects = append(objects, f.Cluster)
	}
	if f.Issuer != nil {
		objects = append(objects, f.Issuer)
	}
	w := podWorld{writes: &atomic.Int32{}, log: &auditLog{}, events: events.NewFakeRecorder(1000), secret: &secretReader{}}
	if funcs.SubResourceUpdate == nil {
		funcs.SubResourceUpdate = func(ctx context.Context, c client.Client, sub string, object client.Object, opts ...client.SubResourceUpdateOption) error {
			w.writes.Add(1)
			return c.SubResource(sub).Update(ctx, object, opts...)
		}
	}
	w.client = fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objects...).
		WithStatusSubresource(&certificatesv1.PodCertificateRequest{}, &v1alpha1.MeshIssuer{}).
		WithIndex(&certificatesv1.PodCertificateRequest{}, podUserIndex, indexPodUser).
		WithInterceptorFuncs(funcs).Build()
	w.mesh = newCA(t, "mesh", p256(t), nil, testNow.Add(-time.Hour), testNow.Add(1000*time.Hour))
	w.secret.secret.Store(w.mesh.secret(t, "1", w.mesh))
	w.controller = &PodController{Client: w.client, Live: w.client, Authority: newAuthority(t, w.client, w.secret, w.log), Recorder: w.events}
	return w
}

func (w podWorld) reconcile(t *testing.T, name string) (ctrl.Result, error) {
	t.Helper()
	return w.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: name}})
}

func (w podWorld) request(t *testing.T, name string) *certificatesv1.PodCertificateRequest {
	t.Helper()
	var request certificatesv1.PodCertificateRequest
	if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &request); err != nil {
		t.Fatal(err)
	}
	return &request
}

// answer is the one condition of a request: its type and reason.
func (w podWorld) answer(t *testing.T, name string) string {
	t.Helper()
	c := w.request(t, name).Status.Conditions
	if len(c) == 0 {
		return ""
	}
	return c[0].Type + " " + c[0].Reason
}

// drain returns the events so far.
func drain(r *events.FakeRecorder) []string {
	var out []string
	for {
		select {
		case e := <-r.Events:
			out = append(out, e)
		default:
			return out
		}
	}
}

func TestPodIsSignedInOneWrite(t *testing.T) {
	key := p256(t)
	w := newPodWorld(t, honestPod(t, key), interceptor.Funcs{})
	w.controller.Live = noReads{t}
	for range 3 {
		if _, err := w.reconcile(t, "req-1"); err != nil {
			t.Fatal(err)
		}
	}
	if w.writes.Load() != 1 || w.log.count() != 1 {
		t.Errorf("%d writes, %d audit lines", w.writes.Load(), w.log.count())
	}
	request := w.request(t, "req-1")
	checkAsAPIServer(t, request)
	chain, err := certs.ParseCertificates([]byte(request.Status.CertificateChain))
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey.Equal(chain[0].PublicKey) || chain[0].Subject.String() != "CN=orders,OU=shop,O=signet" {
		t.Errorf("certificate of %s", chain[0].Subject)
	}
	if e := drain(w.events); len(e) != 1 || !strings.Contains(e[0], "Issued") {
		t.Errorf("events %q", e)
	}
	for _, want := range []string{`"requester"="system:node:node-1"`, `"pod"="orders-0 of system:serviceaccount:shop:orders"`, `"object"="PodCertificateRequest shop/req-1"`, `"outcome"="issued"`, `"issuer"="mesh"`, `"keySHA256"="` + KeyFingerprint(&key.PublicKey) + `"`} {
		if !strings.Contains(w.log.lines[0], want) {
			t.Errorf("%s is missing in %s", want, w.log.lines[0])
		}
	}
}

// checkAsAPIServer holds what the API server checks of an issued request (ValidatePodCertificateRequestStatusUpdate).
func checkAsAPIServer(t *testing.T, request *certificatesv1.PodCertificateRequest) {
	t.Helper()
	status := &request.Status
	if len(status.Conditions) != 1 || status.Conditions[0].Type != certificatesv1.PodCertificateRequestConditionTypeIssued || status.Conditions[0].Status != metav1.ConditionTrue || status.Conditions[0].LastTransitionTime.IsZero() {
		t.Fatalf("conditions %+v", status.Conditions)
	}
	chain, err := certs.ParseCertificates([]byte(status.CertificateChain))
	if err != nil {
		t.Fatal(err)
	}
	leaf := chain[0]
	if status.NotBefore == nil || status.NotAfter == nil || status.BeginRefreshAt == nil || !status.NotBefore.Time.Equal(leaf.NotBefore) || !status.NotAfter.Time.Equal(leaf.NotAfter) {
		t.Fatalf("times %v, %v, %v", status.NotBefore, status.BeginRefreshAt, status.NotAfter)
	}
	if skew := leaf.NotBefore.Sub(testNow).Abs(); skew >= 5*time.Minute {
		t.Errorf("notBefore is %s away", skew)
	}
	if valid := leaf.NotAfter.Sub(leaf.NotBefore); valid < time.Hour || valid > time.Duration(*request.Spec.MaxExpirationSeconds)*time.Second {
		t.Errorf("valid for %s", valid)
	}
	if refresh := status.BeginRefreshAt.Time; refresh.Before(leaf.NotBefore.Add(10*time.Minute)) || refresh.After(leaf.NotAfter.Add(-10*time.Minute)) {
		t.Errorf("refreshed at %s", refresh)
	}
}

func TestPodChainHasTheIntermediate(t *testing.T) {
	w := newPodWorld(t, honestPod(t, p256(t)), interceptor.Funcs{})
	middle := newCA(t, "middle", p256(t), &w.mesh, testNow.Add(-time.Hour), testNow.Add(500*time.Hour))
	w.secret.secret.Store(middle.secret(t, "2", w.mesh, middle))
	signers := w.controller.Authority.signers
	adopt(t, signers.authorities, signers.reader, honest(t, p256(t)).Issuer)
	if _, err := w.reconcile(t, "req-1"); err != nil {
		t.Fatal(err)
	}
	request := w.request(t, "req-1")
	checkAsAPIServer(t, request)
	chain, err := certs.ParseCertificates([]byte(request.Status.CertificateChain))
	if err != nil || len(chain) != 2 || !chain[1].Equal(middle.certificate) {
		t.Errorf("%d certificates in the chain, %v", len(chain), err)
	}
}

func TestPodIsDenied(t *testing.T) {
	f := honestPod(t, p256(t))
	f.Request.Spec.ServiceAccountName = "default"
	w := newPodWorld(t, f, interceptor.Funcs{})
	for range 2 {
		if _, err := w.reconcile(t, "req-1"); err != nil {
			t.Fatal(err)
		}
	}
	request := w.request(t, "req-1")
	if w.answer(t, "req-1") != "Denied ServiceAccountNotAllowed" || request.Status.Conditions[0].Message != opaque || request.Status.CertificateChain != "" || request.Status.NotAfter != nil {
		t.Errorf("status %+v", request.Status)
	}
	if w.writes.Load() != 1 || w.log.count() != 1 || !strings.Contains(w.log.lines[0], "the pod's is default") {
		t.Errorf("%d writes, audit %q", w.writes.Load(), w.log.lines)
	}
	if e := drain(w.events); len(e) != 1 || strings.Contains(e[0], "default") {
		t.Errorf("events %q", e)
	}
}

// A denial is final for a pod, so a cache that is behind must not deny.
func TestStaleCacheDoesNotDenyAPod(t *testing.T) {
	w := newPodWorld(t, honestPod(t, p256(t)), interceptor.Funcs{})
	w.controller.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			err := c.Get(ctx, key, object, opts...)
			if user, ok := object.(*v1alpha1.KafkaUser); ok {
				user.Spec.Workload.ServiceAccountName = "before"
			}
			return err
		},
	})
	if _, err := w.reconcile(t, "req-1"); err != nil {
		t.Fatal(err)
	}
	if got := w.answer(t, "req-1"); got != "Issued KafkaUser" {
		t.Errorf("answered %s", got)
	}
}

func TestPodWaitsForItsKafkaUser(t *testing.T) {
	f := honestPod(t, p256(t))
	user := f.User
	f.User = nil
	w := newPodWorld(t, f, interceptor.Funcs{})
	w.controller.Live = noReads{t}
	for range 3 {
		result, err := w.reconcile(t, "req-1")
		if err != nil || result.RequeueAfter == 0 {
			t.Fatal(result, err)
		}
	}
	if e := drain(w.events); w.writes.Load() != 0 || w.log.count() != 1 || len(e) != 1 || !strings.Contains(e[0], "kafkauser shop/orders does not exist") {
		t.Fatalf("%d writes, %d audit lines, events %q", w.writes.Load(), w.log.count(), e)
	}
	suspended := user.DeepCopy()
	suspended.Spec.Suspend = true
	if err := w.client.Create(t.Context(), suspended); err != nil {
		t.Fatal(err)
	}
	if _, err := w.reconcile(t, "req-1"); err != nil {
		t.Fatal(err)
	}
	if e := drain(w.events); w.log.count() != 2 || len(e) != 1 || !strings.Contains(e[0], "suspended") {
		t.Fatalf("the reason changed: %d audit lines, events %q", w.log.count(), e)
	}
	suspended.Spec.Suspend = false
	if err := w.client.Update(t.Context(), suspended); err != nil {
		t.Fatal(err)
	}
	if got := w.controller.requestsOfUser(t.Context(), suspended); len(got) != 1 || got[0].Name != "req-1" {
		t.Errorf("the KafkaUser's change wakes %v", got)
	}
	if _, err := w.reconcile(t, "req-1"); err != nil {
		t.Fatal(err)
	}
	if got := w.answer(t, "req-1"); got != "Issued KafkaUser" || len(w.controller.waiting.said) != 0 {
		t.Errorf("answered %s; remembered %v", got, w.controller.waiting.said)
	}
}

func TestPodWaitsAreForgottenWithTheirRequest(t *testing.T) {
	f := honestPod(t, p256(t))
	f.User = nil
	w := newPodWorld(t, f, interceptor.Funcs{})
	if _, err := w.reconcile(t, "req-1"); err != nil || len(w.controller.waiting.said) != 1 {
		t.Fatal(w.controller.waiting.said, err)
	}
	if err := w.client.Delete(t.Context(), f.Request); err != nil {
		t.Fatal(err)
	}
	if _, err := w.reconcile(t, "req-1"); err != nil || len(w.controller.waiting.said) != 0 {
		t.Errorf("remembered %v, %v", w.controller.waiting.said, err)
	}
}

// Another replica answers between the decision and the write: what was signed here is thrown away.
func TestPodLosesARace(t *testing.T) {
	raced := false
	w := newPodWorld(t, honestPod(t, p256(t)), interceptor.Funcs{
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, object client.Object, opts ...client.SubResourceUpdateOption) error {
			if !raced {
				raced = true
				var other certificatesv1.PodCertificateRequest
				if err := c.Get(ctx, client.ObjectKeyFromObject(object), &other); err != nil {
					return err
				}
				other.Status.CertificateChain = "the other's"
				other.Status.Conditions = []metav1.Condition{{Type: "Issued", Status: "True", Reason: "Other"}}
				if err := c.Status().Update(ctx, &other); err != nil {
					return err
				}
			}
			return c.SubResource(sub).Update(ctx, object, opts...)
		},
	})
	if _, err := w.reconcile(t, "req-1"); !apierrors.IsConflict(err) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if _, err := w.reconcile(t, "req-1"); err != nil {
		t.Fatal(err)
	}
	if got := w.request(t, "req-1").Status.CertificateChain; got != "the other's" || w.log.count() != 0 {
		t.Errorf("certificate %q, %d audit lines", got, w.log.count())
	}
}

func TestPodRetriesWhatFailed(t *testing.T) {
	w := newPodWorld(t, honestPod(t, p256(t)), interceptor.Funcs{})
	down := errors.New("connection refused to 10.1.2.3")
	working := w.controller.Authority.signers
	w.controller.Authority.signers = NewSigners(recordReader{failingReader{down}, working.reader}, working.authorities)
	if _, err := w.reconcile(t, "req-1"); err == nil {
		t.Fatal("no error, so no retry")
	}
	if e := drain(w.events); w.answer(t, "req-1") != "" || w.log.count() != 1 || !strings.Contains(w.log.lines[0], `"outcome"="retry"`) || len(e) != 0 {
		t.Errorf("answered %q, audit %q, events %q", w.answer(t, "req-1"), w.log.lines, e)
	}
	w.controller.Authority.signers = working
	if _, err := w.reconcile(t, "req-1"); err != nil || w.answer(t, "req-1") != "Issued KafkaUser" {
		t.Errorf("answered %q, %v", w.answer(t, "req-1"), err)
	}
}

type failingReader struct{ err error }

func (r failingReader) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return r.err
}
func (r failingReader) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return r.err
}

// TestOneKeyForTwoPods: the second identity with a key is refused, by this process and by the next one.
func TestOneKeyForTwoPods(t *testing.T) {
	key := p256(t)
	first, second, third := honestPod(t, key), honestPod(t, key), honestPod(t, key)
	billing := second.User.DeepCopy()
	billing.Name, billing.UID = "billing", "billing-uid"
	for i, f := range []*PodFacts{&second, &third} {
		f.Request.Name = fmt.Sprintf("req-%d", i+2)
		f.Request.Spec.UnverifiedUserAnnotations["kafka.signet.dev/user"] = "billing"
	}
	again := honestPod(t, key).Request
	again.Name = "req-4"
	w := newPodWorld(t, first, interceptor.Funcs{}, billing, second.Request, third.Request, again)
	answer := func(name string) string {
		t.Helper()
		if _, err := w.reconcile(t, name); err != nil {
			t.Fatal(err)
		}
		return w.answer(t, name)
	}
	if got := answer("req-1"); got != "Issued KafkaUser" {
		t.Fatalf("the first pod: %s", got)
	}
	if got := answer("req-2"); got != "Denied KeyReused" {
		t.Errorf("another user's pod with the same key: %s", got)
	}
	w.controller.Authority = newAuthority(t, w.client, w.secret, w.log) // a restart
	if got := answer("req-3"); got != "Denied KeyReused" {
		t.Errorf("the same after a restart: %s", got)
	}
	if got := answer("req-4"); got != "Issued KafkaUser" {
		t.Errorf("the first user's key again: %s", got)
	}
}

func TestPodWithTheCAsKey(t *testing.T) {
	w := newPodWorld(t, honestPod(t, p256(t)), interceptor.Funcs{})
	request := honestPod(t, w.mesh.key).Request
	request.Name = "req-2"
	if err := w.client.Create(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if _, err := w.reconcile(t, "req-2"); err != nil || w.answer(t, "req-2") != "Denied KeyReused" {
		t.Errorf("answered %s, %v", w.answer(t, "req-2"), err)
	}
}

// A CA that comes between the decision and the signature is looked at too.
func TestTheCAsKeyIsNeverSigned(t *testing.T) {
	w := newPodWorld(t, honestPod(t, p256(t)), interceptor.Funcs{})
	f := honestPod(t, w.mesh.key)
	grant, refusal := DecidePod(f)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if signed, refusal := w.controller.Authority.sign(t.Context(), f.Issuer, grant); signed != nil || refusal == nil || refusal.Kind != Permanent || refusal.Reason != ReasonKeyReused {
		t.Errorf("signed %v, refused %v", signed, refusal)
	}
}

// TestManyPodsAtOnce: each is signed once and audited once; the events are bounded, or they would cost the API server as
// much again.
func TestManyPodsAtOnce(t *testing.T) {
	const pods = 200
	f := honestPod(t, p256(t))
	var more []client.Object
	for i := range pods {
		request := honestPod(t, p256(t)).Request
		request.Name = fmt.Sprintf("many-%d", i)
		more = append(more, request)
	}
	w := newPodWorld(t, f, interceptor.Funcs{}, more...)
	for i := range pods {
		if _, err := w.reconcile(t, fmt.Sprintf("many-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	serials := map[string]bool{}
	for i := range pods {
		request := w.request(t, fmt.Sprintf("many-%d", i))
		checkAsAPIServer(t, request)
		chain, err := certs.ParseCertificates([]byte(request.Status.CertificateChain))
		if err != nil {
			t.Fatal(err)
		}
		serials[certs.SerialString(chain[0])] = true
	}
	if len(serials) != pods || w.log.count() != pods || int(w.writes.Load()) != pods {
		t.Errorf("%d serials, %d audit lines, %d writes", len(serials), w.log.count(), w.writes.Load())
	}
	if e := drain(w.events); len(e) < issuedEventsBurst || len(e) >= pods {
		t.Errorf("%d events", len(e))
	}
}

func TestForeignPodRequestsAreLeftAlone(t *testing.T) {
	for _, signer := range []string{"kubernetes.io/kube-apiserver-client-pod", "kafka.signet.dev/", "example.org/mesh", "kafka.signet.development/mesh"} {
		f := honestPod(t, p256(t))
		f.Request.Spec.SignerName = signer
		w := newPodWorld(t, f, interceptor.Funcs{})
		if _, err := w.reconcile(t, "req-1"); err != nil || w.writes.Load() != 0 || w.log.count() != 0 || isOpenPod(f.Request) {
			t.Errorf("%s: %d writes, %d audit lines, %v", signer, w.writes.Load(), w.log.count(), err)
		}
	}
}

// TestPodFitsTheAPIServer: what a CA with limits of its own signs is not sent where the API server would refuse it.
func TestPodFitsTheAPIServer(t *testing.T) {
	request := honestPod(t, p256(t)).Request
	day := int32(86400)
	for valid, fits := range map[time.Duration]bool{time.Hour: true, time.Hour - time.Second: false, 24 * time.Hour: true, 24*time.Hour + time.Second: false} {
		for _, seconds := range []*int32{nil, &day} {
			request.Spec.MaxExpirationSeconds = seconds
			refusal := podFits(request, &Signed{Certificate: &x509.Certificate{NotBefore: testNow, NotAfter: testNow.Add(valid)}})
			if (refusal == nil) != fits || refusal != nil && refusal.Kind != Wait {
				t.Errorf("%s: %v", valid, refusal)
			}
		}
	}
}

func TestWhatWakesPodRequests(t *testing.T) {
	f := honestPod(t, p256(t))
	done, other, foreign := f.Request.DeepCopy(), f.Request.DeepCopy(), f.Request.DeepCopy()
	done.Name, other.Name, foreign.Name = "done", "other", "foreign"
	done.Status.Conditions = []metav1.Condition{{Type: "Issued", Status: "True", Reason: "KafkaUser"}}
	other.Spec.UnverifiedUserAnnotations = map[string]string{"kafka.signet.dev/user": "billing"}
	other.Spec.SignerName = "kafka.signet.dev/second"
	foreign.Spec.SignerName = "example.org/mesh"
	elsewhere := f.Request.DeepCopy()
	elsewhere.Namespace, elsewhere.Name = "payments", "elsewhere"
	w := newPodWorld(t, f, interceptor.Funcs{}, done, other, foreign, elsewhere)
	names := func(requests []reconcile.Request) string {
		var out []string
		for _, r := range requests {
			out = append(out, r.Namespace+"/"+r.Name)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	for what, test := range map[string]struct {
		got  []reconcile.Request
		want string
	}{
		"KafkaUser":    {w.controller.requestsOfUser(t.Context(), f.User), "shop/req-1"},
		"MeshIssuer":   {w.controller.requestsOfIssuer(t.Context(), f.Issuer), "payments/elsewhere shop/req-1"},
		"KafkaCluster": {w.controller.requestsOfCluster(t.Context(), f.Cluster), "payments/elsewhere shop/other shop/req-1"},
		"Namespace":    {w.controller.requestsOfNamespace(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}), "shop/other shop/req-1"},
	} {
		if got := names(test.got); got != test.want {
			t.Errorf("%s wakes %q, want %q", what, got, test.want)
		}
	}
}

type resources struct {
	list *metav1.APIResourceList
	err  error
}

func (r resources) ServerResourcesForGroupVersion(groupVersion string) (*metav1.APIResourceList, error) {
	if groupVersion != "certificates.k8s.io/v1" {
		return nil, errors.New("asked for " + groupVersion)
	}
	return r.list, r.err
}

func TestServed(t *testing.T) {
	of := func(names ...string) *metav1.APIResourceList {
		list := &metav1.APIResourceList{}
		for _, n := range names {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: n})
		}
		return list
	}
	notFound := apierrors.NewNotFound(schema.GroupResource{}, "certificates.k8s.io/v1")
	for name, test := range map[string]struct {
		resources
		want, fails bool
	}{
		"Kubernetes 1.37": {resources{of("certificatesigningrequests", "podcertificaterequests", "podcertificaterequests/status"), nil}, true, false},
		"Kubernetes 1.36": {resources{of("certificatesigningrequests"), nil}, false, false},
		"no such group":   {resources{nil, notFound}, false, false},
		"down":            {resources{nil, errors.New("connection refused")}, false, true},
	} {
		got, err := Served(test.resources)
		if got != test.want || (err != nil) != test.fails {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
}
