// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/signet-kafka/signet/certs"
)

// signingWorld is a CertificateSigningRequest, what it belongs to, and the controller that decides it.
type signingWorld struct {
	client     client.Client
	controller *SigningController
	log        *auditLog
	events     *events.FakeRecorder
	// writes are the subresources that were written, in order.
	writes *[]string
	// reviews are the questions to the API server's authorizer; allowed answers them.
	reviews *[]authorizationv1.SubjectAccessReviewSpec
	allowed *bool
	// fail is returned once by the next write to the subresource of that name.
	fail map[string]error
}

func newSigningWorld(t *testing.T, f SigningFacts) signingWorld {
	t.Helper()
	w := signingWorld{log: &auditLog{}, events: events.NewFakeRecorder(100), writes: &[]string{}, reviews: &[]authorizationv1.SubjectAccessReviewSpec{}, allowed: &f.MaySign, fail: map[string]error{}}
	objects := []client.Object{f.Request, f.Cluster, f.Issuer, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}
	if f.User != nil {
		objects = append(objects, f.User)
	}
	w.client = fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objects...).WithStatusSubresource(&certificatesv1.CertificateSigningRequest{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.CreateOption) error {
				review, ok := object.(*authorizationv1.SubjectAccessReview)
				if !ok {
					return c.Create(ctx, object, opts...)
				}
				*w.reviews = append(*w.reviews, review.Spec)
				review.Status.Allowed = *w.allowed
				return nil
			},
			SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, object client.Object, opts ...client.SubResourceUpdateOption) error {
				if err := w.fail[sub]; err != nil {
					delete(w.fail, sub)
					return err
				}
				*w.writes = append(*w.writes, sub)
				return c.SubResource(sub).Update(ctx, object, opts...)
			},
		}).Build()
	mesh := newCA(t, "mesh", p256(t), nil, testNow.Add(-time.Hour), testNow.Add(1000*time.Hour))
	secret := &secretReader{}
	secret.secret.Store(mesh.secret(t, "1", mesh))
	w.controller = &SigningController{Client: w.client, Live: w.client, Authority: newAuthority(t, w.client, secret, w.log), Recorder: w.events}
	return w
}

func (w signingWorld) reconcile(t *testing.T) (ctrl.Result, error) {
	t.Helper()
	return w.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "jane-1"}})
}

func (w signingWorld) request(t *testing.T) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	var request certificatesv1.CertificateSigningRequest
	if err := w.client.Get(t.Context(), client.ObjectKey{Name: "jane-1"}, &request); err != nil {
		t.Fatal(err)
	}
	return &request
}

// conditions are the conditions of the request: types and reasons.
func (w signingWorld) conditions(t *testing.T) string {
	t.Helper()
	var out []string
	for _, c := range w.request(t).Status.Conditions {
		out = append(out, string(c.Type)+" "+c.Reason)
	}
	return strings.Join(out, ", ")
}

func TestSigningRequestIsApprovedAndSigned(t *testing.T) {
	key := p256(t)
	w := newSigningWorld(t, honestSigning(t, key))
	for range 3 {
		if _, err := w.reconcile(t); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(*w.writes, " "); got != "approval status" || w.log.count() != 1 {
		t.Errorf("writes %q, %d audit lines", got, w.log.count())
	}
	request := w.request(t)
	chain, err := certs.ParseCertificates(request.Status.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey.Equal(chain[0].PublicKey) || chain[0].Subject.String() != "CN=orders,OU=shop,O=signet" || w.conditions(t) != "Approved KafkaUser" {
		t.Errorf("certificate of %s, conditions %s", chain[0].Subject, w.conditions(t))
	}
	if len(*w.reviews) != 1 {
		t.Fatalf("%d questions to the authorizer", len(*w.reviews))
	}
	review := (*w.reviews)[0]
	if r := review.ResourceAttributes; r == nil || r.Verb != "sign" || r.Group != "kafka.signet.dev" || r.Resource != "kafkausers" || r.Subresource != "" || r.Namespace != "shop" || r.Name != "orders" {
		t.Errorf("asked for %+v", r)
	}
	if review.User != "jane" || review.UID != "jane-uid" || strings.Join(review.Groups, " ") != "shop system:authenticated" || strings.Join(review.Extra["scopes"], " ") != "a b" {
		t.Errorf("asked about %+v", review)
	}
	if !strings.Contains(w.log.lines[0], `"requester"="jane"`) || !strings.Contains(w.log.lines[0], `"object"="CertificateSigningRequest jane-1"`) {
		t.Errorf("audit %s", w.log.lines[0])
	}
}

func TestSigningRequestIsDenied(t *testing.T) {
	f := honestSigning(t, p256(t))
	f.MaySign = false
	w := newSigningWorld(t, f)
	for range 2 {
		if _, err := w.reconcile(t); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.conditions(t); got != "Denied SignNotPermitted" || len(w.request(t).Status.Certificate) != 0 || strings.Join(*w.writes, " ") != "approval" || w.log.count() != 1 {
		t.Errorf("conditions %s, writes %v, %d audit lines", got, *w.writes, w.log.count())
	}
}

// The claim of a request without the annotation is not asked about.
func TestSigningRequestWithoutAClaimIsDenied(t *testing.T) {
	f := honestSigning(t, p256(t))
	f.Request.Annotations = nil
	w := newSigningWorld(t, f)
	if _, err := w.reconcile(t); err != nil || w.conditions(t) != "Denied KafkaUserNotNamed" || len(*w.reviews) != 0 {
		t.Errorf("conditions %s, %d questions, %v", w.conditions(t), len(*w.reviews), err)
	}
}

func TestSigningRequestApprovedBySomebodyElse(t *testing.T) {
	for name, test := range map[string]struct {
		maySign   bool
		condition string
		signed    bool
	}{
		"who may not sign fails": {false, "Approved Admin, Failed SignNotPermitted", false},
		"who may sign is signed": {true, "Approved Admin", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := honestSigning(t, p256(t))
			f.MaySign = test.maySign
			f.Request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: "True", Reason: "Admin"}}
			w := newSigningWorld(t, f)
			for range 2 {
				if _, err := w.reconcile(t); err != nil {
					t.Fatal(err)
				}
			}
			if got := w.conditions(t); got != test.condition || (len(w.request(t).Status.Certificate) > 0) != test.signed || strings.Join(*w.writes, " ") != "status" {
				t.Errorf("conditions %s, writes %v", got, *w.writes)
			}
		})
	}
}

func TestSigningRequestDeniedBySomebodyElse(t *testing.T) {
	f := honestSigning(t, p256(t))
	f.Request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Status: "True", Reason: "Admin"}}
	w := newSigningWorld(t, f)
	if _, err := w.reconcile(t); err != nil || len(*w.writes) != 0 {
		t.Errorf("writes %v, %v", *w.writes, err)
	}
}

// TestCrashBetweenApprovalAndCertificate: the approval counts for nothing, the decision is made anew, and no second
// approval is written.
func TestCrashBetweenApprovalAndCertificate(t *testing.T) {
	for name, test := range map[string]struct {
		then func(*signingWorld)
		want string
	}{
		"nothing changed":   {func(*signingWorld) {}, "Approved KafkaUser"},
		"the right is gone": {func(w *signingWorld) { *w.allowed = false }, "Approved KafkaUser, Failed SignNotPermitted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSigningWorld(t, honestSigning(t, p256(t)))
			w.fail["status"] = errors.New("connection reset")
			if _, err := w.reconcile(t); err == nil || w.log.count() != 1 || !strings.Contains(w.log.lines[0], `"outcome"="unknown"`) || w.conditions(t) != "Approved KafkaUser" {
				t.Fatalf("%v, %d audit lines, conditions %s", err, w.log.count(), w.conditions(t))
			}
			test.then(&w)
			if _, err := w.reconcile(t); err != nil {
				t.Fatal(err)
			}
			if got := w.conditions(t); got != test.want || strings.Join(*w.writes, " ") != "approval status" || w.log.count() != 2 {
				t.Errorf("conditions %s, writes %v, %d audit lines", got, *w.writes, w.log.count())
			}
		})
	}
}

func TestSigningRequestLosesARace(t *testing.T) {
	w := newSigningWorld(t, honestSigning(t, p256(t)))
	stale := w.request(t)
	other := w.request(t)
	other.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Status: "True", Reason: "Admin"}}
	if err := w.client.Status().Update(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	w.controller.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
			stale.DeepCopyInto(object.(*certificatesv1.CertificateSigningRequest))
			return nil
		},
	})
	if _, err := w.reconcile(t); !apierrors.IsConflict(err) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if got := w.conditions(t); got != "Denied Admin" || w.log.count() != 0 {
		t.Errorf("conditions %s, %d audit lines", got, w.log.count())
	}
}

func TestSigningRequestWaits(t *testing.T) {
	f := honestSigning(t, p256(t))
	user := f.User
	f.User = nil
	w := newSigningWorld(t, f)
	for range 3 {
		result, err := w.reconcile(t)
		if err != nil || result.RequeueAfter == 0 {
			t.Fatal(result, err)
		}
	}
	if e := drain(w.events); len(*w.writes) != 0 || w.log.count() != 1 || len(e) != 1 || !strings.Contains(e[0], "kafkauser shop/orders does not exist") {
		t.Fatalf("writes %v, %d audit lines, events %q", *w.writes, w.log.count(), e)
	}
	user.ResourceVersion = ""
	if err := w.client.Create(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if got := w.controller.requestsOfUser(t.Context(), user); len(got) != 1 || got[0].Name != "jane-1" {
		t.Errorf("the KafkaUser wakes %v", got)
	}
	if _, err := w.reconcile(t); err != nil || w.conditions(t) != "Approved KafkaUser" {
		t.Errorf("conditions %s, %v", w.conditions(t), err)
	}
}

func TestWhatWakesSigningRequests(t *testing.T) {
	f := honestSigning(t, p256(t))
	w := newSigningWorld(t, f)
	second := f.Issuer.DeepCopy()
	second.Name = "second"
	stranger := f.User.DeepCopy()
	stranger.Namespace = "payments"
	for name, test := range map[string]struct{ got, want int }{
		"its KafkaUser":      {len(w.controller.requestsOfUser(t.Context(), f.User)), 1},
		"another KafkaUser":  {len(w.controller.requestsOfUser(t.Context(), stranger)), 0},
		"its MeshIssuer":     {len(w.controller.requestsOfIssuer(t.Context(), f.Issuer)), 1},
		"another MeshIssuer": {len(w.controller.requestsOfIssuer(t.Context(), second)), 0},
		"a KafkaCluster":     {len(w.controller.all(t.Context(), f.Cluster)), 1},
	} {
		if test.got != test.want {
			t.Errorf("%s wakes %d requests, want %d", name, test.got, test.want)
		}
	}
	if _, err := w.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := w.controller.all(t.Context(), f.Cluster); len(got) != 0 {
		t.Errorf("an answered request is woken: %v", got)
	}
}
