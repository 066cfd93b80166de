// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Kind is one of the kinds that are read by name.
type Kind string

// The kinds that Named reads.
const (
	KindSecret                         Kind = "Secret"
	KindConfigMap                      Kind = "ConfigMap"
	KindMutatingWebhookConfiguration   Kind = "MutatingWebhookConfiguration"
	KindValidatingWebhookConfiguration Kind = "ValidatingWebhookConfiguration"
)

// Reference names one object.
type Reference struct {
	Kind Kind
	// Namespace is empty for webhook configurations.
	Namespace string
	Name      string
}

// String returns the reference as kubectl would take it, such as "secret istio-system/istio-ca-secret".
func (r Reference) String() string {
	if r.Namespace == "" {
		return fmt.Sprintf("%s %s", r.Kind, r.Name)
	}
	return fmt.Sprintf("%s %s/%s", r.Kind, r.Namespace, r.Name)
}

// Named reads and watches single objects, each by a list and a watch that are restricted to its name. So the
// controller's role can name each Secret (RBAC resourceNames apply to a list or watch with the field selector
// metadata.name), and no other Secret ever enters its memory.
//
// A Secret of which only the certificates are wanted is kept without its private keys: they are taken out of what the
// watch delivers before it is stored (withhold).
//
// Named is a client.Reader whose Get answers from the watch once that is in step, and asks the API server until then,
// so that a missing permission is an error at once instead of a cache that never fills. Everything but the kinds above
// goes to the reader behind it.
type Named struct {
	listWatch func(Reference) cache.ListerWatcher
	live      client.Reader
	others    client.Reader

	mu          sync.Mutex
	wanted      map[string]map[Reference]content
	watches     map[Reference]*namedWatch
	subscribers []func(context.Context, Reference)
	stopped     bool
	running     sync.WaitGroup
}

// content is how much of an object is kept.
type content bool

const (
	withoutKeys content = false
	whole       content = true
)

type namedWatch struct {
	content  content
	informer cache.SharedInformer
	cancel   context.CancelFunc
}

// NewNamed returns a Named that watches nothing yet. listWatch lists and watches one object (see ListWatch), live reads
// from the API server, others reads every other kind. Add it to the manager, which stops its watches at the end.
func NewNamed(listWatch func(Reference) cache.ListerWatcher, live, others client.Reader) *Named {
	return &Named{listWatch: listWatch, live: live, others: others, wanted: map[string]map[Reference]content{}, watches: map[Reference]*namedWatch{}}
}

// ListWatch returns what NewNamed needs from a clientset.
func ListWatch(clientset kubernetes.Interface) func(Reference) cache.ListerWatcher {
	return func(ref Reference) cache.ListerWatcher {
		var getter cache.Getter = clientset.CoreV1().RESTClient()
		resource := "secrets"
		switch ref.Kind {
		case KindConfigMap:
			resource = "configmaps"
		case KindMutatingWebhookConfiguration:
			getter, resource = clientset.AdmissionregistrationV1().RESTClient(), "mutatingwebhookconfigurations"
		case KindValidatingWebhookConfiguration:
			getter, resource = clientset.AdmissionregistrationV1().RESTClient(), "validatingwebhookconfigurations"
		}
		return cache.NewListWatchFromClient(getter, resource, ref.Namespace, fields.OneTermEqualSelector("metadata.name", ref.Name))
	}
}

// Start blocks until the context ends, then stops every watch.
func (n *Named) Start(ctx context.Context) error {
	<-ctx.Done()
	n.mu.Lock()
	n.stopped = true
	for ref, w := range n.watches {
		w.cancel()
		delete(n.watches, ref)
	}
	n.mu.Unlock()
	n.running.Wait()
	return nil
}

// Keep makes the references those that owner wants watched: what no owner wants any more is no longer watched and
// leaves the memory. Of certificates, which are Secrets too, the private keys are not kept, unless somebody wants the
// same Secret whole.
func (n *Named) Keep(owner string, references []Reference, certificates ...Reference) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return errors.New("keep watches: the process is stopping")
	}
	wanted := map[Reference]content{}
	for _, ref := range certificates {
		wanted[ref] = withoutKeys
	}
	for _, ref := range references {
		wanted[ref] = whole
	}
	n.wanted[owner] = wanted
	all := map[Reference]content{}
	for _, wanted := range n.wanted {
		for ref, c := range wanted {
			all[ref] = all[ref] || c
		}
	}
	for ref, w := range n.watches {
		// One of which more or less is to be kept begins anew, so that nothing of the other kind remains.
		if c, ok := all[ref]; !ok || c != w.content {
			w.cancel()
			delete(n.watches, ref)
		}
	}
	for ref, c := range all {
		if n.watches[ref] != nil {
			continue
		}
		if err := n.watch(ref, c); err != nil {
			return err
		}
	}
	return nil
}

func (n *Named) watch(ref Reference, c content) error {
	informer := cache.NewSharedInformer(n.listWatch(ref), newObject(ref.Kind), 0)
	if err := informer.SetTransform(transform(c)); err != nil {
		return fmt.Errorf("watch %s: %w", ref, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	notify := func() { n.notify(ctx, ref) }
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { notify() },
		UpdateFunc: func(before, after any) {
			a, errA := meta.Accessor(before)
			b, errB := meta.Accessor(after)
			if errA != nil || errB != nil || a.GetResourceVersion() != b.GetResourceVersion() {
				notify()
			}
		},
		DeleteFunc: func(any) { notify() },
	})
	if err != nil {
		cancel()
		return fmt.Errorf("watch %s: %w", ref, err)
	}
	n.watches[ref] = &namedWatch{content: c, informer: informer, cancel: cancel}
	n.running.Go(func() { informer.RunWithContext(ctx) })
	return nil
}

func (n *Named) notify(ctx context.Context, ref Reference) {
	n.mu.Lock()
	subscribers := slices.Clone(n.subscribers)
	n.mu.Unlock()
	for _, s := range subscribers {
		s(ctx, ref)
	}
}

// Source returns an event source for a controller: requests are what it has to do after the object changed, appeared or
// vanished.
func (n *Named) Source(requests func(context.Context, Reference) []reconcile.Request) source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.subscribers = append(n.subscribers, func(ctx context.Context, ref Reference) {
			for _, r := range requests(ctx, ref) {
				queue.Add(r)
			}
		})
		return nil
	})
}

// Get implements client.Reader. With UnsafeDisableDeepCopy a Secret shares its maps with the watch, and is only to be read.
func (n *Named) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	kind, ok := kindOf(into)
	if !ok {
		return n.others.Get(ctx, key, into, opts...)
	}
	ref := Reference{Kind: kind, Namespace: key.Namespace, Name: key.Name}
	n.mu.Lock()
	w := n.watches[ref]
	n.mu.Unlock()
	if w == nil || !w.informer.HasSynced() {
		return n.live.Get(ctx, key, into, opts...)
	}
	found, exists, err := w.informer.GetStore().GetByKey(cache.NewObjectName(key.Namespace, key.Name).String())
	if err != nil {
		return fmt.Errorf("read %s: %w", ref, err)
	}
	if !exists {
		return apierrors.NewNotFound(schema.GroupResource{Resource: string(kind)}, key.Name)
	}
	if o := new(client.GetOptions).ApplyOptions(opts); o.UnsafeDisableDeepCopy != nil && *o.UnsafeDisableDeepCopy {
		if kept, ok := found.(*corev1.Secret); ok {
			if secret, ok := into.(*corev1.Secret); ok {
				*secret = *kept
				return nil
			}
		}
	}
	return copyObject(found, into)
}

// List implements client.Reader by the reader behind it.
func (n *Named) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return n.others.List(ctx, list, opts...)
}

// readWhole reads a Secret with its private keys: from the API server where only its certificates are kept.
func readWhole(ctx context.Context, reader client.Reader, ref Reference, into *corev1.Secret) error {
	if err := get(ctx, reader, ref, into); err != nil {
		return err
	}
	if named, ok := reader.(*Named); ok && hasWithheld(into) {
		*into = corev1.Secret{}
		return get(ctx, named.live, ref, into)
	}
	return nil
}

func transform(c content) cache.TransformFunc {
	return func(object any) (any, error) {
		if accessor, err := meta.Accessor(object); err == nil {
			accessor.SetManagedFields(nil)
		}
		if secret, ok := object.(*corev1.Secret); ok && c == withoutKeys {
			withhold(secret)
		}
		return object, nil
	}
}

// withheld stands for a value that is not kept: that there is one matters to ParsePublic.
var withheld = []byte("withheld")

// privateKeys are the keys of the Secrets that Istio, cert-manager and Kubernetes itself write private keys to.
var privateKeys = []string{keyIstioKey, keyTLSKey, "key.pem"}

// withhold takes out of a Secret all that may be a private key: what is called so, and whatever is not PEM with
// certificates alone, such as a keystore. Its annotations go too, for that of kubectl apply repeats the data.
func withhold(secret *corev1.Secret) {
	secret.Annotations = nil
	for key, value := range secret.Data {
		certificates := bytes.Contains(value, []byte("-----BEGIN CERTIFICATE-----")) && !bytes.Contains(value, []byte("PRIVATE KEY"))
		if len(value) > 0 && (!certificates || slices.Contains(privateKeys, key)) {
			secret.Data[key] = withheld
		}
	}
}

func hasWithheld(secret *corev1.Secret) bool {
	for _, value := range secret.Data {
		if bytes.Equal(value, withheld) {
			return true
		}
	}
	return false
}

func newObject(kind Kind) runtime.Object {
	switch kind {
	case KindConfigMap:
		return &corev1.ConfigMap{}
	case KindMutatingWebhookConfiguration:
		return &admissionregistrationv1.MutatingWebhookConfiguration{}
	case KindValidatingWebhookConfiguration:
		return &admissionregistrationv1.ValidatingWebhookConfiguration{}
	}
	return &corev1.Secret{}
}

func kindOf(object client.Object) (Kind, bool) {
	switch object.(type) {
	case *corev1.Secret:
		return KindSecret, true
	case *corev1.ConfigMap:
		return KindConfigMap, true
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		return KindMutatingWebhookConfiguration, true
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		return KindValidatingWebhookConfiguration, true
	}
	return "", false
}

func copyObject(from any, into client.Object) error {
	switch into := into.(type) {
	case *corev1.Secret:
		if from, ok := from.(*corev1.Secret); ok {
			from.DeepCopyInto(into)
			return nil
		}
	case *corev1.ConfigMap:
		if from, ok := from.(*corev1.ConfigMap); ok {
			from.DeepCopyInto(into)
			return nil
		}
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		if from, ok := from.(*admissionregistrationv1.MutatingWebhookConfiguration); ok {
			from.DeepCopyInto(into)
			return nil
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		if from, ok := from.(*admissionregistrationv1.ValidatingWebhookConfiguration); ok {
			from.DeepCopyInto(into)
			return nil
		}
	}
	return fmt.Errorf("read into %T: the watch holds a %T", into, from)
}
