// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package declare

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

const fieldOwner = client.FieldOwner("signet-declare")

// OnlyDeclaration is a transform for an informer of pods: it keeps of a pod what Pods looks at.
func OnlyDeclaration(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	annotations := map[string]string{}
	for _, key := range append(Annotations(), v1alpha1.AnnotationUser) {
		if value, ok := pod.Annotations[key]; ok {
			annotations[key] = value
		}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, CreationTimestamp: pod.CreationTimestamp,
			Labels: map[string]string{v1alpha1.LabelInline: pod.Labels[v1alpha1.LabelInline]}, Annotations: annotations, OwnerReferences: pod.OwnerReferences,
		},
		Spec: corev1.PodSpec{ServiceAccountName: pod.Spec.ServiceAccountName},
	}, nil
}

// Pods makes the KafkaUsers of pods that declare access in their annotations.
type Pods struct {
	// Client reads from the cache, which has of pods those with LabelInline, and writes to the API server.
	Client client.Client
	// Live reads from the API server: the owners of pods.
	Live     client.Reader
	Recorder events.EventRecorder
}

// SetupWithManager registers the controller.
func (r *Pods) SetupWithManager(mgr ctrl.Manager) error {
	ofPod := func(_ context.Context, pod client.Object) []reconcile.Request {
		user := pod.GetLabels()[v1alpha1.LabelInline]
		if user == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: pod.GetNamespace(), Name: user}}}
	}
	fromPods := predicate.NewPredicateFuncs(func(o client.Object) bool {
		user, ok := o.(*v1alpha1.KafkaUser)
		return ok && IsFromPods(user)
	})
	return ctrl.NewControllerManagedBy(mgr).Named("kafkauser-from-pods").
		For(&v1alpha1.KafkaUser{}, builder.WithPredicates(fromPods, predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(ofPod)).
		Watches(&v1alpha1.KafkaCluster{}, handler.EnqueueRequestsFromMapFunc(r.all), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(r)
}

// all returns the KafkaUser of every pod: any of them may be for a cluster whose policy changed.
func (r *Pods) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.HasLabels{v1alpha1.LabelInline}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list pods that declare access")
		return nil
	}
	var requests []reconcile.Request
	for i := range pods.Items {
		request := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: pods.Items[i].Namespace, Name: pods.Items[i].Labels[v1alpha1.LabelInline]}}
		if !slices.Contains(requests, request) {
			requests = append(requests, request)
		}
	}
	return requests
}

// Reconcile makes one KafkaUser what its pods declare. Without pods it stays as it is, until its owners are gone.
func (r *Pods) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(req.Namespace), client.MatchingLabels{v1alpha1.LabelInline: req.Name}); err != nil {
		return ctrl.Result{}, fmt.Errorf("list the pods of kafkauser %s: %w", req, err)
	}
	var clusters v1alpha1.KafkaClusterList
	if err := r.Client.List(ctx, &clusters); err != nil {
		return ctrl.Result{}, fmt.Errorf("list kafkaclusters: %w", err)
	}
	existing := &v1alpha1.KafkaUser{}
	if err := r.Client.Get(ctx, req.NamespacedName, existing); apierrors.IsNotFound(err) {
		existing = nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	if existing != nil && !existing.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // the pods make another one when it is gone
	}
	plan := Decide(req.Namespace, req.Name, pods.Items, clusters.Items, existing)
	for _, refusal := range plan.Refused {
		r.Recorder.Eventf(refusal.Pod, nil, corev1.EventTypeWarning, "AccessRefused", "Declare", "%s", refusal.Why)
	}
	if plan.User == nil {
		return ctrl.Result{}, nil
	}
	owners, err := r.owners(ctx, plan.Pods)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.write(ctx, existing, plan.User, owners); err != nil {
		if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
			// The webhook's word on the declaration. The same pods get the same answer: their owner has to change.
			for _, pod := range plan.Pods {
				r.Recorder.Eventf(pod, nil, corev1.EventTypeWarning, "AccessRefused", "Declare", "%.900s", err.Error())
			}
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("write kafkauser %s: %w", req, err)
	}
	return ctrl.Result{}, nil
}

// write makes the KafkaUser what the pods declare, exactly: a list that somebody added to loses what they added, which a
// server-side apply of these sets would leave. Whoever sets other fields keeps them.
func (r *Pods) write(ctx context.Context, existing, want *v1alpha1.KafkaUser, owners []metav1.OwnerReference) error {
	if existing == nil {
		want.OwnerReferences = owners
		return r.Client.Create(ctx, want, fieldOwner)
	}
	next := existing.DeepCopy()
	next.OwnerReferences = owners
	next.Spec.Consume, next.Spec.Produce, next.Spec.Admin, next.Spec.ConsumerGroups = want.Spec.Consume, want.Spec.Produce, want.Spec.Admin, want.Spec.ConsumerGroups
	if equality.Semantic.DeepEqual(existing, next) {
		return nil
	}
	return r.Client.Patch(ctx, next, client.MergeFromWithOptions(existing, client.MergeFromWithOptimisticLock{}), fieldOwner)
}

// owners are what the pods belong to, in the end: the Deployment of a ReplicaSet, the CronJob of a Job, sorted.
func (r *Pods) owners(ctx context.Context, pods []*corev1.Pod) ([]metav1.OwnerReference, error) {
	var owners []metav1.OwnerReference
	known := map[string]metav1.OwnerReference{}
	for _, pod := range pods {
		direct := metav1.GetControllerOfNoCopy(pod)
		if direct == nil {
			owners = append(owners, metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID})
			continue
		}
		owner, ok := known[string(direct.UID)]
		if !ok {
			var err error
			if owner, err = r.ownerOf(ctx, pod.Namespace, direct); err != nil {
				return nil, err
			}
			known[string(direct.UID)] = owner
		}
		owners = append(owners, owner)
	}
	slices.SortFunc(owners, func(a, b metav1.OwnerReference) int { return strings.Compare(string(a.UID), string(b.UID)) })
	return slices.CompactFunc(owners, func(a, b metav1.OwnerReference) bool { return a.UID == b.UID }), nil
}

// ownerOf returns what the owner of a pod belongs to, else itself. Of the kinds that are made for each change or run only
// those are looked up that Kubernetes itself has: ReplicaSets and Jobs.
func (r *Pods) ownerOf(ctx context.Context, namespace string, direct *metav1.OwnerReference) (metav1.OwnerReference, error) {
	itself := metav1.OwnerReference{APIVersion: direct.APIVersion, Kind: direct.Kind, Name: direct.Name, UID: direct.UID}
	kind := direct.APIVersion + " " + direct.Kind
	if kind != "apps/v1 ReplicaSet" && kind != "batch/v1 Job" {
		return itself, nil
	}
	object := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: direct.APIVersion, Kind: direct.Kind}}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: direct.Name}, object); apierrors.IsNotFound(err) {
		return itself, nil
	} else if err != nil {
		return itself, fmt.Errorf("read %s %s/%s: %w", direct.Kind, namespace, direct.Name, err)
	}
	above := metav1.GetControllerOfNoCopy(object)
	if object.UID != direct.UID || above == nil {
		return itself, nil
	}
	return metav1.OwnerReference{APIVersion: above.APIVersion, Kind: above.Kind, Name: above.Name, UID: above.UID}, nil
}
