// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"sync"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func testScheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, certificatesv1.AddToScheme, authorizationv1.AddToScheme, cmv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// world is a request, what it belongs to, and the controller that decides it.
type world struct {
	client     client.Client
	controller *RequestController
	secret     *secretReader
	audit      func() int
}

func newWorld(t *testing.T, change func(*Facts), funcs interceptor.Funcs) world {
	t.Helper()
	f := honest(t, p256(t))
	f.Cluster.Spec.NamespaceSelector = metav1.LabelSelector{}
	change(&f)
	objects := []client.Object{f.Request, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}
	if f.Certificate != nil {
		objects = append(objects, f.Certificate)
	}
	if f.User != nil {
		objects = append(objects, f.User)
	}
	if f.Cluster != nil {
		objects = append(objects, f.Cluster)
	}
	if f.Issuer != nil {
		objects = append(objects, f.Issuer)
	}
	c := fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objects...).
		WithStatusSubresource(&cmv1.CertificateRequest{}, &v1alpha1.MeshIssuer{}).WithInterceptorFuncs(funcs).Build()
	mesh := newCA(t, "mesh", p256(t), nil, testNow.Add(-time.Hour), testNow.Add(1000*time.Hour))
	reader := &secretReader{}
	reader.secret.Store(mesh.secret(t, "1", mesh))
	log := &auditLog{}
	return world{
		client: c, secret: reader, audit: log.count,
		controller: &RequestController{
			Client: c, Live: c, Authority: newAuthority(t, c, reader, log), CertManager: certManager, Recorder: events.NewFakeRecorder(100),
		},
	}
}

// auditLog keeps the lines of the audit.
type auditLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *auditLog) add(_, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *auditLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

func newAuthority(t testing.TB, cached client.Reader, secret client.Reader, log *auditLog) *RegistrationAuthority {
	t.Helper()
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	signers, _ := testSigners(t, secret, honest(t, p256(t)).Issuer)
	return NewRegistrationAuthority(cached, signers, metrics, funcr.New(log.add, funcr.Options{}), true, func() time.Time { return testNow })
}

func (w world) reconcile(t *testing.T) (ctrl.Result, error) {
	t.Helper()
	return w.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "orders-kafka-tls-1"}})
}

func (w world) request(t *testing.T) *cmv1.CertificateRequest {
	t.Helper()
	var request cmv1.CertificateRequest
	if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "orders-kafka-tls-1"}, &request); err != nil {
		t.Fatal(err)
	}
	return &request
}

func ready(request *cmv1.CertificateRequest) string {
	for _, c := range request.Status.Conditions {
		if c.Type == cmv1.CertificateRequestConditionReady {
			return string(c.Status) + " " + c.Reason
		}
	}
	return ""
}

func TestReconcileSignsOnce(t *testing.T) {
	w := newWorld(t, func(*Facts) {}, interceptor.Funcs{})
	var first []byte
	for range 3 {
		if _, err := w.reconcile(t); err != nil {
			t.Fatal(err)
		}
		request := w.request(t)
		if ready(request) != "True Issued" || !hasCondition(request, cmv1.CertificateRequestConditionApproved) || len(request.Status.CA) == 0 {
			t.Fatalf("status %+v", request.Status)
		}
		if first == nil {
			first = request.Status.Certificate
		}
		if string(request.Status.Certificate) != string(first) {
			t.Fatal("signed again")
		}
	}
	if w.audit() != 1 {
		t.Errorf("%d audit lines", w.audit())
	}
}

// Another controller wins the race between the decision and the write: what was signed here is thrown away.
func TestReconcileLosesARace(t *testing.T) {
	raced := false
	w := newWorld(t, func(*Facts) {}, interceptor.Funcs{
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, object runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			if !raced {
				raced = true
				var other cmv1.CertificateRequest
				if err := c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "orders-kafka-tls-1"}, &other); err != nil {
					return err
				}
				other.Status.Certificate = []byte("the other's")
				if err := c.Status().Update(ctx, &other); err != nil {
					return err
				}
			}
			return c.SubResource(sub).Apply(ctx, object, opts...)
		},
	})
	if _, err := w.reconcile(t); !apierrors.IsConflict(err) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if _, err := w.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := string(w.request(t).Status.Certificate); got != "the other's" || w.audit() != 0 {
		t.Errorf("certificate %q, %d audit lines", got, w.audit())
	}
}

func TestReconcileDenies(t *testing.T) {
	w := newWorld(t, func(f *Facts) { f.Request.Spec.Username = "jane" }, interceptor.Funcs{})
	for range 2 {
		if _, err := w.reconcile(t); err != nil {
			t.Fatal(err)
		}
	}
	request := w.request(t)
	if ready(request) != "False Denied" || !hasCondition(request, cmv1.CertificateRequestConditionDenied) || request.Status.FailureTime == nil || request.Status.Certificate != nil {
		t.Errorf("status %+v", request.Status)
	}
	if w.audit() != 1 {
		t.Errorf("%d audit lines", w.audit())
	}
}

func TestApprovalBySomebodyElseProvesNothing(t *testing.T) {
	w := newWorld(t, func(f *Facts) {
		f.Request.Spec.Username = "jane"
		f.Request.Status.Conditions = []cmv1.CertificateRequestCondition{{Type: cmv1.CertificateRequestConditionApproved, Status: cmmeta.ConditionTrue}}
	}, interceptor.Funcs{})
	if _, err := w.reconcile(t); err != nil {
		t.Fatal(err)
	}
	request := w.request(t)
	if ready(request) != "False Failed" || request.Status.Certificate != nil || request.Status.FailureTime == nil || !hasCondition(request, cmv1.CertificateRequestConditionInvalidRequest) {
		t.Errorf("status %+v", request.Status)
	}
}

func TestDenialBySomebodyElseStands(t *testing.T) {
	w := newWorld(t, func(f *Facts) {
		f.Request.Status.Conditions = []cmv1.CertificateRequestCondition{{Type: cmv1.CertificateRequestConditionDenied, Status: cmmeta.ConditionTrue, Reason: "Admin"}}
	}, interceptor.Funcs{})
	if _, err := w.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if request := w.request(t); ready(request) != "False Denied" || request.Status.Certificate != nil {
		t.Errorf("status %+v", request.Status)
	}
}

func TestReconcileWaitsForTheCA(t *testing.T) {
	w := newWorld(t, func(*Facts) {}, interceptor.Funcs{})
	good := w.secret.secret.Load()
	broken := good.DeepCopy()
	broken.ResourceVersion = "2"
	delete(broken.Data, "ca-key.pem")
	w.secret.secret.Store(broken)
	for range 3 {
		result, err := w.reconcile(t)
		if err != nil || result.RequeueAfter == 0 {
			t.Fatal(result, err)
		}
	}
	if request := w.request(t); ready(request) != "False Pending" || request.Status.FailureTime != nil || len(request.Status.Conditions) != 1 || w.audit() != 1 {
		t.Fatalf("status %+v, %d audit lines", request.Status, w.audit())
	}
	restored := good.DeepCopy()
	restored.ResourceVersion = "3"
	w.secret.secret.Store(restored)
	if _, err := w.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := ready(w.request(t)); got != "True Issued" {
		t.Errorf("Ready is %s after the CA came back", got)
	}
}

// TestReconcileWaitsForTheLedger holds that nobody gets a certificate before the ledger decided that the principal is
// his, nor after it was taken from him, and that the decision ends the wait.
func TestReconcileWaitsForTheLedger(t *testing.T) {
	w := newWorld(t, func(f *Facts) { f.User.Status.Conditions = nil }, interceptor.Funcs{})
	wait := func() {
		t.Helper()
		for range 2 {
			result, err := w.reconcile(t)
			if err != nil || result.RequeueAfter == 0 {
				t.Fatal(result, err)
			}
		}
		request := w.request(t)
		if ready(request) != "False Pending" || request.Status.FailureTime != nil || len(request.Status.Certificate) > 0 {
			t.Fatalf("status %+v", request.Status)
		}
	}
	record := func(c metav1.Condition) {
		t.Helper()
		var user v1alpha1.KafkaUser
		if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "orders"}, &user); err != nil {
			t.Fatal(err)
		}
		user.Status.Conditions = []metav1.Condition{c}
		if err := w.client.Update(t.Context(), &user); err != nil {
			t.Fatal(err)
		}
	}
	wait()
	for _, reason := range []string{v1alpha1.ReasonPending, v1alpha1.ReasonPrincipalConflict} {
		record(mappingRecorded(metav1.ConditionFalse, reason))
		wait()
	}
	record(mappingRecorded(metav1.ConditionTrue, v1alpha1.ReasonReady))
	if _, err := w.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := ready(w.request(t)); got != "True Issued" {
		t.Errorf("Ready is %s after the principal was recorded", got)
	}
}

// TestTheLedgersDecisionWakesARequest holds which changes of a KafkaUser's status the request controller looks at:
// those by which it gets its principal or loses it, and no others, or each of its many writes would be looked at.
func TestTheLedgersDecisionWakesARequest(t *testing.T) {
	user := func(conditions ...metav1.Condition) *v1alpha1.KafkaUser {
		return &v1alpha1.KafkaUser{Status: v1alpha1.KafkaUserStatus{Conditions: conditions}}
	}
	yes := mappingRecorded(metav1.ConditionTrue, v1alpha1.ReasonReady)
	pending, conflict := mappingRecorded(metav1.ConditionFalse, v1alpha1.ReasonPending), mappingRecorded(metav1.ConditionFalse, v1alpha1.ReasonPrincipalConflict)
	other := metav1.Condition{Type: v1alpha1.ConditionAccessSynced, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}
	for name, test := range map[string]struct {
		before, after client.Object
		want          bool
	}{
		"first recorded":            {user(), user(yes), true},
		"recorded after a wait":     {user(pending), user(yes), true},
		"dispute resolved":          {user(conflict), user(yes, other), true},
		"taken away":                {user(yes), user(conflict), true},
		"being recorded anew":       {user(yes), user(pending), true},
		"condition removed":         {user(yes), user(), true},
		"still waiting":             {user(), user(pending), false},
		"waiting for another thing": {user(pending), user(conflict), false},
		"another condition":         {user(yes), user(yes, other), false},
		"nothing":                   {user(yes), user(yes), false},
		"another kind":              {&corev1.Namespace{}, &corev1.Namespace{}, false},
	} {
		if got := recordedChanged.Update(event.UpdateEvent{ObjectOld: test.before, ObjectNew: test.after}); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	// GenerationChangedPredicate, which stands beside it, passes these.
	if recordedChanged.Create(event.CreateEvent{Object: user(yes)}) || recordedChanged.Delete(event.DeleteEvent{Object: user(yes)}) {
		t.Error("passes a creation or a deletion")
	}
}

// A cache that is behind must not deny what the API server vouches for.
func TestStaleCacheDoesNotDeny(t *testing.T) {
	w := newWorld(t, func(*Facts) {}, interceptor.Funcs{})
	w.controller.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			if _, ok := object.(*cmv1.Certificate); ok {
				return apierrors.NewNotFound(cmv1.Resource("certificates"), key.Name)
			}
			return c.Get(ctx, key, object, opts...)
		},
	})
	if _, err := w.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := ready(w.request(t)); got != "True Issued" {
		t.Errorf("Ready is %s", got)
	}
}

func TestForeignRequestsAreLeftAlone(t *testing.T) {
	w := newWorld(t, func(f *Facts) {
		f.Request.Spec.IssuerRef.Group = "cert-manager.io"
		f.Request.Spec.IssuerRef.Kind = "ClusterIssuer"
	}, interceptor.Funcs{})
	if _, err := w.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if request := w.request(t); len(request.Status.Conditions) != 0 || w.audit() != 0 {
		t.Errorf("status %+v", request.Status)
	}
}
