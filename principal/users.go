// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
)

const fieldOwner = client.FieldOwner("signet-principal")

// usersAtOnce is how many KafkaUsers are recorded at once. Which of two that claim one principal has it is decided by
// Clusters, one after the other.
const usersAtOnce = 8

// Users records each KafkaUser in its cluster's ledger, and keeps the KafkaUser's principal, subject and condition
// MappingRecorded. Whether a record is in force is Clusters' decision; Users mirrors it.
type Users struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Events, if set, takes one event for each principal that is reserved from now on.
	Events events.EventRecorder
	// Now is the clock.
	Now func() time.Time
}

// SetupWithManager registers the controller.
func (r *Users) SetupWithManager(mgr ctrl.Manager) error {
	// Their status is none of a KafkaUser's record, and each change of one asks for all KafkaUsers of it.
	declared := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).Named("kafkauser-principal").
		For(&v1alpha1.KafkaUser{}).
		Watches(&v1alpha1.PrincipalMapping{}, handler.EnqueueRequestsFromMapFunc(ownerOf)).
		Watches(&v1alpha1.KafkaCluster{}, handler.EnqueueRequestsFromMapFunc(r.usersWhere(func(user *v1alpha1.KafkaUser, o client.Object) bool {
			return user.Spec.ClusterRef.In(user.Namespace) == v1alpha1.ClusterReference{Name: o.GetName(), Namespace: o.GetNamespace()}
		})), declared).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.usersWhere(func(user *v1alpha1.KafkaUser, o client.Object) bool {
			return user.Namespace == o.GetName()
		}))).
		Watches(&v1alpha1.MeshIssuer{}, handler.EnqueueRequestsFromMapFunc(r.usersWhere(func(*v1alpha1.KafkaUser, client.Object) bool { return true })), declared).
		WithOptions(controller.Options{MaxConcurrentReconciles: usersAtOnce}).
		Complete(r)
}

func ownerOf(_ context.Context, o client.Object) []reconcile.Request {
	owner := o.(*v1alpha1.PrincipalMapping).Spec.Owner
	if owner == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}}}
}

func (r *Users) usersWhere(concerned func(*v1alpha1.KafkaUser, client.Object) bool) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		var users v1alpha1.KafkaUserList
		if err := r.Client.List(ctx, &users, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list kafkausers", "event", o.GetName())
			return nil
		}
		var requests []reconcile.Request
		for i := range users.Items {
			if concerned(&users.Items[i], o) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&users.Items[i])})
			}
		}
		return requests
	}
}

// Reconcile records one KafkaUser. A KafkaUser that is gone keeps its record: its principal stays reserved.
func (r *Users) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var user v1alpha1.KafkaUser
	if err := r.Client.Get(ctx, req.NamespacedName, &user); apierrors.IsNotFound(err) {
		return ctrl.Result{}, r.reserve(ctx, req.NamespacedName, nil)
	} else if err != nil {
		return ctrl.Result{}, err
	}
	if !user.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.reserve(ctx, req.NamespacedName, &user)
	}
	want, subject, name, err := r.record(ctx, &user)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("record kafkauser %s: %w", req, err)
	}
	want.Type, want.ObservedGeneration, want.LastTransitionTime = v1alpha1.ConditionMappingRecorded, user.Generation, metav1.NewTime(r.Now())
	if _, decided := condition.Of(user.Status.Conditions, want.Type, user.Generation); !decided && want.Reason == v1alpha1.ReasonPending {
		// Without a condition of this generation nobody takes the principal for decided, and the decision is a moment away:
		// it would be a write more for each new KafkaUser, and every write has the others look at it again.
		return ctrl.Result{}, nil
	}
	next, changed := condition.Next(user.Status.Conditions, want)
	if !changed && user.Status.Principal == name && user.Status.Subject == subject {
		return ctrl.Result{}, nil
	}
	status := apply.KafkaUserStatus().WithConditions(next)
	if name != "" {
		status.WithPrincipal(name)
	}
	if subject != "" {
		status.WithSubject(subject)
	}
	patch := apply.KafkaUser(user.Name, user.Namespace).WithStatus(status)
	if err := r.Client.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("write status of kafkauser %s: %w", req, err)
	}
	return ctrl.Result{}, nil
}

// record writes the KafkaUser's PrincipalMapping where it may, and returns the state of affairs, the subject of its
// certificate and its principal; both are "" as long as they cannot be known.
func (r *Users) record(ctx context.Context, user *v1alpha1.KafkaUser) (want metav1.Condition, subject, name string, err error) {
	no := func(reason, format string, args ...any) (metav1.Condition, string, string, error) {
		return metav1.Condition{Status: metav1.ConditionFalse, Reason: reason, Message: fmt.Sprintf(format, args...)}, subject, name, nil
	}
	ref := user.Spec.ClusterRef.In(user.Namespace)
	var cluster v1alpha1.KafkaCluster
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, &cluster); apierrors.IsNotFound(err) {
		return no(v1alpha1.ReasonClusterNotFound, "KafkaCluster %s does not exist", ref)
	} else if err != nil {
		return want, "", "", err
	}
	subject = SubjectOf(&cluster, user.Namespace, user.Name).String()
	if name, err = ForUser(&cluster, user); err != nil {
		return no(v1alpha1.ReasonInvalid, "%v", err)
	}
	var namespace corev1.Namespace
	if err := r.Client.Get(ctx, types.NamespacedName{Name: user.Namespace}, &namespace); err != nil {
		return want, "", "", err
	}
	if admitted, err := cluster.Admits(namespace.Labels); err != nil {
		return no(v1alpha1.ReasonInvalid, "%v", err)
	} else if !admitted {
		return no(v1alpha1.ReasonNamespaceNotAllowed, "KafkaCluster %s does not admit namespace %s: its namespaceSelector does not select the namespace's labels", ref, user.Namespace)
	}
	issuerRef := user.Issuer(&cluster)
	issuer, err := r.issuer(ctx, issuerRef)
	if apierrors.IsNotFound(err) {
		return no(v1alpha1.ReasonIssuerNotFound, "MeshIssuer %s does not exist", issuerRef.Name)
	} else if err != nil {
		return want, "", "", err
	}
	record, err := Record(user, &cluster, issuer, namespace.UID)
	if err != nil {
		return no(v1alpha1.ReasonInvalid, "%v", err)
	}

	mapping := v1alpha1.PrincipalMapping{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: v1alpha1.MappingName(user.Namespace, user.Name)}}
	err = r.Client.Get(ctx, client.ObjectKeyFromObject(&mapping), &mapping)
	switch {
	case apierrors.IsNotFound(err):
		mapping.Spec = record
		if err := r.Client.Create(ctx, &mapping, fieldOwner); err != nil {
			return want, "", "", fmt.Errorf("create principalmapping %s/%s: %w", mapping.Namespace, mapping.Name, err)
		}
		return no(v1alpha1.ReasonPending, "recorded; waiting for the ledger's decision")
	case err != nil:
		return want, "", "", err
	}
	if reason, message, ok := Holds(&mapping, record); !ok {
		return no(reason, "%s", message)
	}
	record.ApprovedSubjects = mapping.Spec.ApprovedSubjects
	if _, reserved := mapping.Annotations[certificatesUntilAnnotation]; reserved || !equality.Semantic.DeepEqual(mapping.Spec, record) {
		delete(mapping.Annotations, certificatesUntilAnnotation) // somebody is it again
		mapping.Spec = record
		if err := r.Client.Update(ctx, &mapping, fieldOwner); err != nil {
			return want, "", "", fmt.Errorf("update principalmapping %s/%s: %w", mapping.Namespace, mapping.Name, err)
		}
		return no(v1alpha1.ReasonPending, "recorded; waiting for the ledger's decision")
	}
	verdict, decided := condition.Of(mapping.Status.Conditions, v1alpha1.ConditionReady, mapping.Generation)
	if !decided || verdict.Reason == v1alpha1.ReasonReserved {
		return no(v1alpha1.ReasonPending, "recorded; waiting for the ledger's decision")
	}
	if !meta.IsStatusConditionTrue(mapping.Status.Conditions, v1alpha1.ConditionReady) {
		return no(verdict.Reason, "%s", verdict.Message)
	}
	message := fmt.Sprintf("%d subjects are %s", mapping.Status.Effective, record.Principal)
	if pending := len(mapping.Status.PendingSubjects); pending > 0 {
		message += fmt.Sprintf("; %d external subjects wait for an administrator to list them in approvedSubjects of PrincipalMapping %s/%s", pending, mapping.Namespace, mapping.Name)
	}
	return metav1.Condition{Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: message}, subject, name, nil
}

// issuer returns the MeshIssuer, or what stands for an issuer of cert-manager's own: the ledger asks for a trust domain
// only.
func (r *Users) issuer(ctx context.Context, ref v1alpha1.IssuerReference) (*v1alpha1.MeshIssuer, error) {
	if !ref.IsMeshIssuer() {
		return &v1alpha1.MeshIssuer{Spec: v1alpha1.MeshIssuerSpec{TrustDomain: DefaultTrustDomain}}, nil
	}
	var issuer v1alpha1.MeshIssuer
	if err := r.Client.Get(ctx, types.NamespacedName{Name: ref.Name}, &issuer); err != nil {
		return nil, err
	}
	return &issuer, nil
}

// reserve notes on the record of a KafkaUser that goes, or is gone (nil), until when its certificates open connections. It
// is noted once for each deletion; a KafkaUser that takes the record over removes it.
func (r *Users) reserve(ctx context.Context, key types.NamespacedName, user *v1alpha1.KafkaUser) error {
	var clusters v1alpha1.KafkaClusterList
	if err := r.Client.List(ctx, &clusters, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list kafkaclusters: %w", err)
	}
	looked := map[string]bool{}
	for i := range clusters.Items {
		namespace := clusters.Items[i].Namespace
		if looked[namespace] {
			continue
		}
		looked[namespace] = true
		var mapping v1alpha1.PrincipalMapping
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: v1alpha1.MappingName(key.Namespace, key.Name)}, &mapping)
		if apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		owner := mapping.Spec.Owner
		if _, noted := mapping.Annotations[certificatesUntilAnnotation]; noted || owner == nil || owner.Namespace != key.Namespace || owner.Name != key.Name {
			continue
		}
		if err := r.note(ctx, &mapping, user); err != nil {
			return err
		}
	}
	return nil
}

func (r *Users) note(ctx context.Context, mapping *v1alpha1.PrincipalMapping, user *v1alpha1.KafkaUser) error {
	// Which issuer it was need not be known any more: no certificate lives longer than the most patient one's.
	var issuers v1alpha1.MeshIssuerList
	if err := r.Client.List(ctx, &issuers, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list meshissuers: %w", err)
	}
	longest := time.Duration(0)
	for i := range issuers.Items {
		longest = max(longest, LongestLife(&issuers.Items[i]))
	}
	var shown *v1alpha1.CertificateStatus
	var about client.Object = mapping
	if user != nil {
		shown, about = user.Status.Certificate, user
	}
	until := LastCertificateUntil(shown, r.Now(), cmp.Or(longest, DefaultMaxDuration)).Format(time.RFC3339)
	metav1.SetMetaDataAnnotation(&mapping.ObjectMeta, certificatesUntilAnnotation, until)
	if err := r.Client.Update(ctx, mapping, fieldOwner); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("annotate principalmapping %s/%s: %w", mapping.Namespace, mapping.Name, err)
	}
	if r.Events != nil {
		r.Events.Eventf(about, nil, corev1.EventTypeNormal, v1alpha1.ReasonReserved, "Delete",
			"%s stays reserved until PrincipalMapping %s/%s is deleted; %s", mapping.Spec.Principal, mapping.Namespace, mapping.Name, openUntil(until))
	}
	return nil
}
