// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/applyconfiguration"
	"github.com/signet-kafka/signet/api/v1alpha1"
)

var testNow = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

// usersWorld runs both controllers of the ledger over an API server in memory.
type usersWorld struct {
	t        *testing.T
	c        client.Client
	users    *Users
	clusters *Clusters
	events   *events.FakeRecorder
	now      time.Time
}

func newUsersWorld(t *testing.T, objects ...client.Object) *usersWorld {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", UID: "uid-of-shop"}})
	c := fake.NewClientBuilder().WithScheme(scheme).
		WithTypeConverters(applyconfiguration.NewTypeConverter(scheme), managedfields.NewDeducedTypeConverter()).
		WithStatusSubresource(&v1alpha1.KafkaUser{}, &v1alpha1.KafkaCluster{}, &v1alpha1.PrincipalMapping{}).
		WithObjects(objects...).Build()
	w := &usersWorld{t: t, c: c, events: events.NewFakeRecorder(100), now: testNow}
	clock := func() time.Time { return w.now }
	w.users = &Users{Client: c, Events: w.events, Now: clock}
	w.clusters = &Clusters{Client: c, Live: c, Now: clock, TrustReason: func(error) string { return "" },
		ClientTrust: func(context.Context, *v1alpha1.KafkaCluster) ([]byte, error) { return []byte("certificates"), nil }}
	return w
}

// pass has both controllers look at shop/orders and its cluster until nothing is left to do.
func (w *usersWorld) pass() {
	w.t.Helper()
	for range 3 {
		if _, err := w.users.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "orders"}}); err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.clusters.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "kafka", Name: "kafka"}}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *usersWorld) user() *v1alpha1.KafkaUser {
	w.t.Helper()
	var user v1alpha1.KafkaUser
	if err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: "shop", Name: "orders"}, &user); err != nil {
		w.t.Fatal(err)
	}
	return &user
}

// verdict returns what the ledger says of the KafkaUser's record.
func (w *usersWorld) verdict() metav1.Condition {
	w.t.Helper()
	var mapping v1alpha1.PrincipalMapping
	if err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: "kafka", Name: "shop.orders"}, &mapping); err != nil {
		w.t.Fatal(err)
	}
	c := meta.FindStatusCondition(mapping.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil {
		w.t.Fatal("no verdict")
	}
	return *c
}

func (w *usersWorld) wantReserved(until time.Time) {
	w.t.Helper()
	got := w.verdict()
	want := "until " + until.Format(time.RFC3339) + " at the latest"
	if got.Reason != v1alpha1.ReasonReserved || !strings.HasSuffix(got.Message, want) {
		w.t.Errorf("%s: %s; want %s", got.Reason, got.Message, want)
	}
	select {
	case e := <-w.events.Events:
		if !strings.HasPrefix(e, "Normal Reserved User:shop.orders stays reserved") || !strings.HasSuffix(e, want) {
			w.t.Errorf("event %q", e)
		}
	default:
		w.t.Error("no event")
	}
	if len(w.events.Events) > 0 {
		w.t.Errorf("a second event: %s", <-w.events.Events)
	}
}

// TestReservedUntil holds what the ledger says of a KafkaUser that is deleted, with and without a finalizer, and that a
// KafkaUser of the same name leaves no trace of that.
func TestReservedUntil(t *testing.T) {
	cluster := kafka()
	cluster.Spec.NamespaceSelector = metav1.LabelSelector{}
	long := meshIssuer.DeepCopy()
	long.Name, long.Spec.MaxDuration.Duration = "long", 48*time.Hour
	w := newUsersWorld(t, cluster, meshIssuer.DeepCopy(), long)
	create := func(finalizers ...string) {
		u := user("shop", "orders")
		u.Finalizers = finalizers
		if err := w.c.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		w.pass()
		if got := w.verdict(); got.Reason != v1alpha1.ReasonReady || !meta.IsStatusConditionTrue(w.user().Status.Conditions, v1alpha1.ConditionMappingRecorded) {
			t.Fatalf("%s: %s", got.Reason, got.Message)
		}
	}
	remove := func() {
		if err := w.c.Delete(t.Context(), w.user()); err != nil {
			t.Fatal(err)
		}
		w.pass()
	}
	longest := 48*time.Hour + time.Minute

	create()
	remove()
	w.wantReserved(testNow.Add(longest))
	w.now = w.now.Add(time.Hour)
	w.pass()
	if got := w.verdict(); !strings.Contains(got.Message, testNow.Add(longest).Format(time.RFC3339)) {
		t.Errorf("an hour later: %s", got.Message)
	}

	create("kafka.signet.dev/access")
	end := metav1.NewTime(w.now.Add(90 * time.Hour))
	u := w.user()
	u.Status.Certificate = &v1alpha1.CertificateStatus{NotAfter: &end}
	if err := w.c.Status().Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	remove()
	w.wantReserved(end.Time)
	u = w.user()
	u.Finalizers = nil
	if err := w.c.Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	w.pass()
	if got := w.verdict(); !strings.Contains(got.Message, end.UTC().Format(time.RFC3339)) {
		t.Errorf("after the finalizer is gone: %s", got.Message)
	}
}

// TestSuspendedKeepsItsMapping holds that suspension changes nothing in the ledger.
func TestSuspendedKeepsItsMapping(t *testing.T) {
	u := user("shop", "orders")
	w := newUsersWorld(t, kafka(), meshIssuer.DeepCopy(), u)
	w.pass()
	before := w.verdict()
	u = w.user()
	u.Spec.Suspend = true
	if err := w.c.Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	w.pass()
	if after := w.verdict(); after != before || after.Reason != v1alpha1.ReasonReady {
		t.Errorf("%+v became %+v", before, after)
	}
}

// TestStockIssuerIsRecorded holds that the ledger asks nothing of an issuer of cert-manager's own.
func TestStockIssuerIsRecorded(t *testing.T) {
	cluster := kafka()
	cluster.Spec.Certificates.IssuerRef = v1alpha1.IssuerReference{Kind: "ClusterIssuer", Group: "cert-manager.io", Name: "mesh-ca"}
	w := newUsersWorld(t, cluster, user("shop", "orders"))
	w.pass()
	if got := w.verdict(); got.Reason != v1alpha1.ReasonReady {
		t.Errorf("%s: %s", got.Reason, got.Message)
	}
	var mapping v1alpha1.PrincipalMapping
	if err := w.c.Get(t.Context(), client.ObjectKey{Namespace: "kafka", Name: "shop.orders"}, &mapping); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(mapping.Spec.Subjects); !strings.Contains(got, "spiffe://kafka.signet.dev/user/shop/orders") {
		t.Errorf("subjects %s", got)
	}
}

func TestLastCertificateUntil(t *testing.T) {
	at := func(d time.Duration) *v1alpha1.CertificateStatus {
		return &v1alpha1.CertificateStatus{NotAfter: &metav1.Time{Time: testNow.Add(d)}}
	}
	for name, test := range map[string]struct {
		shown *v1alpha1.CertificateStatus
		want  time.Duration
	}{
		"no certificate is known": {nil, 24*time.Hour + time.Minute},
		"none was issued":         {&v1alpha1.CertificateStatus{}, 24*time.Hour + time.Minute},
		"it expires earlier":      {at(time.Hour), 24*time.Hour + time.Minute},
		"it expired":              {at(-time.Hour), 24*time.Hour + time.Minute},
		"it expires later":        {at(30 * time.Hour), 30 * time.Hour},
	} {
		if got := LastCertificateUntil(test.shown, testNow.Add(time.Millisecond), 24*time.Hour); !got.Equal(testNow.Add(test.want)) {
			t.Errorf("%s: %s, want %s", name, got, testNow.Add(test.want))
		}
	}
}

// TestReservedMessage holds that an annotation that somebody else wrote is no text of Signet's.
func TestReservedMessage(t *testing.T) {
	for annotation, want := range map[string]string{
		"":                          "is deleted",
		"2031-05-06T07:08:09Z":      "until 2031-05-06T07:08:09Z at the latest",
		"2031-05-06T07:08:09+02:00": "until 2031-05-06T05:08:09Z at the latest",
		"tomorrow, or\nnever":       "is deleted",
	} {
		m := recordOf(t, user("shop", "orders"), 1)
		m.Annotations = map[string]string{certificatesUntilAnnotation: annotation}
		if got := reservedMessage(&m); !strings.HasSuffix(got, want) {
			t.Errorf("%q: %s", annotation, got)
		}
	}
}

// TestRecordingIsOneWriteOfTheKafkaUser holds that a KafkaUser is written once when it comes, by its decision, and that a
// decision that is taken back is not left standing.
func TestRecordingIsOneWriteOfTheKafkaUser(t *testing.T) {
	cluster := kafka()
	cluster.Spec.NamespaceSelector = metav1.LabelSelector{}
	w := newUsersWorld(t, cluster, meshIssuer.DeepCopy())
	if err := w.c.Create(t.Context(), user("shop", "orders")); err != nil {
		t.Fatal(err)
	}
	version := w.user().ResourceVersion
	look := func() {
		t.Helper()
		if _, err := w.users.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "orders"}}); err != nil {
			t.Fatal(err)
		}
	}
	look() // records it
	look() // finds no decision
	if u := w.user(); u.ResourceVersion != version {
		t.Errorf("written before the decision: %+v", u.Status)
	}
	w.pass()
	if u := w.user(); !meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionMappingRecorded) || u.Status.Principal != "User:shop.orders" {
		t.Errorf("after the decision: %+v", u.Status)
	}
	mapping := &v1alpha1.PrincipalMapping{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "shop.orders"}}
	if err := w.c.Delete(t.Context(), mapping); err != nil {
		t.Fatal(err)
	}
	look()
	if c := meta.FindStatusCondition(w.user().Status.Conditions, v1alpha1.ConditionMappingRecorded); c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonPending {
		t.Errorf("while an administrator's release is judged: %s %s", c.Status, c.Reason)
	}
}
