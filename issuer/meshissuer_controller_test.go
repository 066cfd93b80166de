// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// watchedSecret lists and watches one Secret, without the streaming list, which a fake watch does not do.
type watchedSecret struct {
	secret  *corev1.Secret
	watcher *watch.FakeWatcher
}

func (w watchedSecret) List(metav1.ListOptions) (runtime.Object, error) {
	return &corev1.SecretList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.Secret{*w.secret.DeepCopy()}}, nil
}

func (w watchedSecret) Watch(metav1.ListOptions) (watch.Interface, error) { return w.watcher, nil }

func (w watchedSecret) IsWatchListSemanticsUnSupported() bool { return true }

// everybodyTrusts are verifiers that trust whatever is recorded.
type everybodyTrusts struct{}

func (everybodyTrusts) Publish(context.Context, *v1alpha1.MeshIssuer, []*x509.Certificate) error {
	return nil
}

func (everybodyTrusts) Missing(context.Context, *v1alpha1.MeshIssuer, certs.Record, *Signer) ([]string, error) {
	return nil, nil
}

// TestMeshKeyIsReadToMakeAnIntermediateOnly counts the reads of the mesh CA's Secret whose watch holds no key, and replaces
// the CA in two writes: what signs goes on until certificate and key fit together.
func TestMeshKeyIsReadToMakeAnIntermediateOnly(t *testing.T) {
	from, to := testNow.Add(-time.Hour), testNow.Add(1000*time.Hour)
	first, second := newCA(t, "one", p256(t), nil, from, to), newCA(t, "two", p256(t), nil, from, to)
	mesh := honest(t, p256(t)).Issuer
	mesh.Spec.CA.Mode = v1alpha1.ModeIntermediate
	ref := certs.Reference{Kind: certs.KindSecret, Namespace: "istio-system", Name: "istio-ca-secret"}
	reads := 0
	api := fake.NewClientBuilder().WithScheme(testScheme(t)).WithStatusSubresource(&v1alpha1.MeshIssuer{}).
		WithObjects(mesh, first.secret(t, "", first)).
		WithInterceptorFuncs(interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
				if key.Name == ref.Name {
					reads++
				}
				return c.Get(ctx, key, into, opts...)
			},
		}).Build()
	source := watchedSecret{secret: first.secret(t, "1", first), watcher: watch.NewFake()}
	named := certs.NewNamed(func(certs.Reference) cache.ListerWatcher { return source }, api, api)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- named.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := named.Keep("test", nil, ref); err != nil {
		t.Fatal(err)
	}
	inStep := func(version string) {
		t.Helper()
		var secret corev1.Secret
		for deadline := time.Now().Add(time.Minute); secret.ResourceVersion != version; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the watch does not come to version %s", version)
			}
			if err := named.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &secret); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(string(secret.Data["ca-key.pem"]), "PRIVATE KEY") {
			t.Fatal("the watch holds the key")
		}
		reads = 0
	}
	// write changes the Secret, and has the watch see it.
	write := func(version string, change *corev1.Secret) {
		t.Helper()
		change.ResourceVersion = ""
		if err := api.Update(ctx, change); err != nil {
			t.Fatal(err)
		}
		seen := change.DeepCopy()
		seen.ResourceVersion = version
		source.watcher.Modify(seen)
		inStep(version)
	}
	authorities := certs.NewAuthorities(named, api, api, "signet-system")
	controller := &MeshIssuerController{
		Client: api, Named: named, Authorities: authorities, Signers: NewSigners(named, authorities), Verifiers: everybodyTrusts{},
		Recorder: events.NewFakeRecorder(100), Now: func() time.Time { return testNow },
	}
	reconcile := func() (condition metav1.Condition, record certs.Record) {
		t.Helper()
		if _, err := controller.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(mesh)}); err != nil {
			t.Fatal(err)
		}
		var got v1alpha1.MeshIssuer
		if err := api.Get(ctx, client.ObjectKeyFromObject(mesh), &got); err != nil {
			t.Fatal(err)
		}
		record, err := authorities.Record(ctx, mesh.Name)
		if err != nil {
			t.Fatal(err)
		}
		return *meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady), record
	}
	below := func(record certs.Record, ca testCA) bool { return record.Signing.CA.Roots[0].Equal(ca.certificate) }

	inStep("1")
	condition, record := reconcile()
	if condition.Status != metav1.ConditionTrue || !below(record, first) || reads != 1 {
		t.Fatalf("%s, %d reads to make an intermediate, want one", condition.Message, reads)
	}
	if _, record = reconcile(); !below(record, first) || reads != 1 {
		t.Errorf("%d reads when there is nothing to make, want none", reads-1)
	}

	half := second.secret(t, "", second)
	half.Data["ca-key.pem"] = first.secret(t, "", first).Data["ca-key.pem"]
	write("2", half)
	for range 2 {
		condition, record = reconcile()
		if condition.Status != metav1.ConditionTrue || !strings.Contains(condition.Message, "perhaps the Secret is half-written") || !below(record, first) || record.Next != nil {
			t.Errorf("half-written: %s, phase %s", condition.Message, record.Phase)
		}
	}
	write("3", second.secret(t, "", second))
	condition, record = reconcile()
	if condition.Status != metav1.ConditionTrue || strings.Contains(condition.Message, "half-written") || !below(record, second) || reads != 1 {
		t.Errorf("whole: %s, phase %s, %d reads", condition.Message, record.Phase, reads)
	}
}
