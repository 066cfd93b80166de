// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// storedSecret returns what the watch holds of the Secret, once it is in step.
func storedSecret(t *testing.T, named *Named, ref Reference) *corev1.Secret {
	t.Helper()
	named.mu.Lock()
	w := named.watches[ref]
	named.mu.Unlock()
	if !cache.WaitForCacheSync(t.Context().Done(), w.informer.HasSynced) {
		t.Fatal("the watch does not come into step")
	}
	found, exists, err := w.informer.GetStore().GetByKey(ref.Namespace + "/" + ref.Name)
	if err != nil || !exists {
		t.Fatal(exists, err)
	}
	return found.(*corev1.Secret)
}

// TestNamedKeepsNoKeyThatNobodyUses: of a Secret that is watched for its certificates the memory holds no private key, in
// whatever entry, form or annotation it comes; of one that somebody signs with, it holds all.
func TestNamedKeepsNoKeyThatNobodyUses(t *testing.T) {
	data, mesh := istioSelfSigned(t)
	key := data["ca-key.pem"]
	data["tls.crt"], data["other.pem"] = join(mesh.pem(), key), key
	data["keystore.p12"] = []byte{0x30, 0x82, 1, 2}
	ref := Reference{Kind: KindSecret, Namespace: "istio-system", Name: "istio-ca-secret"}
	secret := func(version string) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: ref.Namespace, Name: ref.Name, ResourceVersion: version,
				Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: string(key)},
			},
			Data: maps.Clone(data),
		}
	}
	live := fake.NewClientBuilder().WithObjects(secret("")).Build()
	// Each watch begins with what the API server has, and none changes what another one got.
	watchers := make(chan *watch.FakeWatcher, 10)
	named := NewNamed(func(Reference) cache.ListerWatcher {
		w := watch.NewFake()
		watchers <- w
		return oneObject{secret: secret("5"), watcher: w}
	}, live, live)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- named.Start(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	notified := make(chan struct{}, 10)
	mapped := named.Source(func(context.Context, Reference) []reconcile.Request {
		notified <- struct{}{}
		return nil
	})
	if err := mapped.Start(ctx, nil); err != nil {
		t.Fatal(err)
	}
	check := func(when string, wantKey bool) {
		t.Helper()
		stored := storedSecret(t, named, ref)
		text := fmt.Sprintf("%s %q", stored, stored.Data)
		if has := strings.Contains(text, "PRIVATE KEY"); has != wantKey {
			t.Errorf("%s: holds the private key: %t", when, has)
		}
		if has := bytes.Equal(stored.Data["keystore.p12"], data["keystore.p12"]); has != wantKey {
			t.Errorf("%s: holds the keystore: %t", when, has)
		}
		if !bytes.Equal(stored.Data["ca-cert.pem"], mesh.pem()) || len(stored.Data["key.pem"]) != 0 {
			t.Errorf("%s: of the certificates it holds %q", when, stored.Data["ca-cert.pem"])
		}
	}
	keep := func(owner string, whole, certificates []Reference) {
		t.Helper()
		if err := named.Keep(owner, whole, certificates...); err != nil {
			t.Fatal(err)
		}
	}
	keep("a", nil, []Reference{ref})
	check("certificates wanted", false)
	<-notified
	changed := secret("6")
	changed.Data["ca-key.pem"] = newAuthority(t, "other", newKey(t), nil, nil).pkcs8(t)
	(<-watchers).Modify(changed)
	<-notified // a key that changes is a change, although it is not kept
	check("a new key", false)
	keep("b", []Reference{ref}, nil)
	check("another one wants it whole", true)
	keep("a", []Reference{ref}, []Reference{ref})
	keep("b", nil, nil)
	check("one wants both", true)
	keep("a", nil, []Reference{ref})
	check("certificates again", false)

	// Whoever needs the key then reads it from the API server.
	issuer := testIssuer()
	delete(data, "tls.crt")
	if err := live.Update(t.Context(), secret("")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCA(t.Context(), named, issuer); err != nil {
		t.Error(err)
	}
}

func TestReadPublicCA(t *testing.T) {
	first, second := newAuthority(t, "first", newKey(t), nil, nil), newAuthority(t, "second", newKey(t), nil, nil)
	for name, test := range map[string]struct {
		data map[string][]byte
		want error
	}{
		"whole":                      {map[string][]byte{"tls.crt": first.pem(), "tls.key": first.pkcs8(t)}, nil},
		"half-written, not seen yet": {map[string][]byte{"tls.crt": second.pem(), "tls.key": first.pkcs8(t)}, nil},
		"without the key":            {map[string][]byte{"tls.crt": first.pem()}, ErrCAInvalid},
		"with an empty key":          {map[string][]byte{"ca-cert.pem": first.pem(), "ca-key.pem": {}}, ErrCAInvalid},
		"a key in the certificate":   {map[string][]byte{"tls.crt": join(first.pem(), first.pkcs8(t)), "tls.key": first.pkcs8(t)}, ErrCAInvalid},
		"of no known form":           {map[string][]byte{"username": []byte("x")}, ErrCANotFound},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := testIssuer()
			ref, _ := caReference(issuer)
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}, Data: test.data}
			for _, stored := range []bool{false, true} {
				if stored {
					withhold(secret)
				}
				ca, err := ReadPublicCA(t.Context(), fake.NewClientBuilder().WithObjects(secret.DeepCopy()).Build(), issuer)
				if !errors.Is(err, test.want) {
					t.Errorf("keys withheld %t: %v, want %v", stored, err, test.want)
				}
				if err == nil && ca.Key != nil {
					t.Error("it has a key")
				}
			}
		})
	}
}

func TestForbiddenSaysWhatToGrant(t *testing.T) {
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, key.Name, errors.New("RBAC"))
		},
	}).Build()
	named := NewNamed(func(Reference) cache.ListerWatcher { return nil }, c, c)
	_, err := ReadCA(t.Context(), named, testIssuer())
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
	if keys, got := References(issuers, clusters); len(keys) != 0 || len(got) != 2 || got[0] != secret || got[1] != configMap {
		t.Errorf("references %v, %v with keys", got, keys)
	}
	// The mode Direct signs with the key itself; that another issuer would do without does not matter.
	issuers[1].Spec.CA.Mode = v1alpha1.ModeDirect
	if keys, got := References(issuers, clusters); !slices.Equal(keys, []Reference{secret}) || !slices.Equal(got, []Reference{configMap}) {
		t.Errorf("with an issuer of the mode Direct: references %v, %v with keys", got, keys)
	}
	for ref, want := range map[Reference]string{secret: "", configMap: "other", {Kind: KindSecret, Namespace: "kafka", Name: "broker-ca"}: ""} {
		got := Affected(ref, clusters)
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || got[0].Name != want) {
			t.Errorf("%s affects %v", ref, got)
		}
	}
	stock := testCluster()
	stock.Spec.Certificates.IssuerRef = v1alpha1.IssuerReference{Group: "cert-manager.io", Kind: "ClusterIssuer", Name: "corp"}
	stock.Spec.Certificates.ClientCA = &v1alpha1.KeyReference{ConfigMap: "corp-ca"}
	stock.Spec.Listeners[0].ServerCA = &v1alpha1.KeyReference{Secret: "kafka-signet-admin"}
	keys, got := References(nil, []v1alpha1.KafkaCluster{*stock})
	if !slices.Equal(keys, []Reference{{Kind: KindSecret, Namespace: "kafka", Name: "kafka-signet-admin"}}) ||
		!slices.Equal(got, []Reference{{Kind: KindConfigMap, Namespace: "kafka", Name: "corp-ca"}}) {
		t.Errorf("with an issuer of cert-manager's own: references %v, %v with keys", got, keys)
	}
}
