// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// oneObject lists and watches one Secret, without the newer streaming list, which a fake watch does not do.
type oneObject struct {
	secret  *corev1.Secret
	watcher *watch.FakeWatcher
}

func (o oneObject) List(metav1.ListOptions) (runtime.Object, error) {
	return &corev1.SecretList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.Secret{*o.secret}}, nil
}

func (o oneObject) Watch(metav1.ListOptions) (watch.Interface, error) { return o.watcher, nil }

func (o oneObject) IsWatchListSemanticsUnSupported() bool { return true }

func TestNamedFollowsOneObject(t *testing.T) {
	ref := Reference{Kind: KindSecret, Namespace: "istio-system", Name: "istio-ca-secret"}
	version := func(v string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name, ResourceVersion: v}}
	}
	live := fake.NewClientBuilder().WithObjects(version("")).Build()
	source := oneObject{secret: version("5"), watcher: watch.NewFake()}
	named := NewNamed(func(Reference) cache.ListerWatcher { return source }, live, live)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- named.Start(ctx) }()

	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	mapped := named.Source(func(_ context.Context, got Reference) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: got.Namespace, Name: got.Name}}}
	})
	if err := mapped.Start(ctx, queue); err != nil {
		t.Fatal(err)
	}
	get := func() (string, error) {
		var secret corev1.Secret
		err := named.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &secret)
		return secret.ResourceVersion, err
	}
	event := func(want string) {
		t.Helper()
		item, _ := queue.Get()
		queue.Done(item)
		if item.Name != ref.Name {
			t.Fatalf("event for %s", item)
		}
		if got, err := get(); got != want || (want == "" && !apierrors.IsNotFound(err)) {
			t.Fatalf("version %q (%v), want %q", got, err, want)
		}
	}
	if got, err := get(); err != nil || got == "5" {
		t.Fatalf("unwatched: version %q (%v), want the API server's", got, err)
	}
	if err := named.Keep("test", []Reference{ref}); err != nil {
		t.Fatal(err)
	}
	event("5")
	source.watcher.Modify(version("6"))
	event("6")
	source.watcher.Delete(version("7"))
	event("")
	if err := named.Keep("test", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := get(); err != nil || got == "" {
		t.Fatalf("no longer wanted: version %q (%v), want the API server's", got, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := named.Keep("test", []Reference{ref}); err == nil {
		t.Error("watches after the end")
	}
}

func TestForbiddenSaysWhatToGrant(t *testing.T) {
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, key.Name, errors.New("RBAC"))
		},
	}).Build()
	named := NewNamed(func(Reference) cache.ListerWatcher { return nil }, c, c)
	_, _, err := ReadCA(t.Context(), named, testIssuer())
	if !errors.Is(err, ErrCANotFound) || err.Error() != "CA not found: the controller may not read Secret istio-system/istio-ca-secret: grant its service account get, list and watch on it (chart value controller.caSecrets)" {
		t.Error(err)
	}
}

func TestReferencesAndAffected(t *testing.T) {
	other := testCluster()
	other.Name = "other"
	other.Spec.Certificates.IssuerRef.Name = "second"
	other.Spec.Listeners[0].ServerCA = &v1alpha1.KeyReference{ConfigMap: "broker-ca"}
	issuers, clusters := []v1alpha1.MeshIssuer{*testIssuer(), *testIssuer()}, []v1alpha1.KafkaCluster{*testCluster(), *other}
	secret := Reference{Kind: KindSecret, Namespace: "istio-system", Name: "istio-ca-secret"}
	configMap := Reference{Kind: KindConfigMap, Namespace: "kafka", Name: "broker-ca"}
	if got := References(issuers, clusters); len(got) != 2 || got[0] != secret || got[1] != configMap {
		t.Errorf("references %v", got)
	}
	for ref, want := range map[Reference]string{secret: "kafka", configMap: "other"} {
		if got := Affected(ref, issuers, clusters); len(got) != 1 || got[0].Name != want {
			t.Errorf("%s affects %v", ref, got)
		}
	}
	if got := Affected(Reference{Kind: KindConfigMap, Namespace: "istio-system", Name: "istio-ca-secret"}, issuers, clusters); len(got) != 0 {
		t.Errorf("a ConfigMap of the same name affects %v", got)
	}
}
