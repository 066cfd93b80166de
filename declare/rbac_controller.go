// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package declare

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// OnlyTopicRules is a transform for informers of Roles and ClusterRoles: it keeps the rules about topics.
func OnlyTopicRules(object any) (any, error) {
	keep := func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
		return slices.DeleteFunc(rules, func(rule rbacv1.PolicyRule) bool { return !isOfTopics(rule) })
	}
	switch role := object.(type) {
	case *rbacv1.Role:
		role.ManagedFields, role.Annotations, role.Rules = nil, nil, keep(role.Rules)
	case *rbacv1.ClusterRole:
		role.ManagedFields, role.Annotations, role.Rules = nil, nil, keep(role.Rules)
	}
	return object, nil
}

// Roles makes the KafkaUsers of service accounts that have verbs on topics, for KafkaClusters whose policy says so.
type Roles struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Check returns what the KafkaCluster's policy refuses of a KafkaUser.
	Check    func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) []error
	Recorder events.EventRecorder
}

// SetupWithManager registers the controller.
func (r *Roles) SetupWithManager(mgr ctrl.Manager) error {
	everyCluster := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		var clusters v1alpha1.KafkaClusterList
		if err := r.Client.List(ctx, &clusters, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list kafkaclusters")
			return nil
		}
		var requests []reconcile.Request
		for i := range clusters.Items {
			if derives(&clusters.Items[i]) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&clusters.Items[i])})
			}
		}
		return requests
	})
	ofUser := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		ref := o.(*v1alpha1.KafkaUser).Spec.ClusterRef.In(o.GetNamespace())
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}}}
	})
	derived := predicate.NewPredicateFuncs(func(o client.Object) bool { return IsFromRBAC(o.(*v1alpha1.KafkaUser)) })
	return ctrl.NewControllerManagedBy(mgr).Named("kafkauser-from-rbac").
		For(&v1alpha1.KafkaCluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.KafkaUser{}, ofUser, builder.WithPredicates(derived, predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Watches(&rbacv1.Role{}, everyCluster).
		Watches(&rbacv1.RoleBinding{}, everyCluster).
		Watches(&rbacv1.ClusterRole{}, everyCluster).
		Watches(&rbacv1.ClusterRoleBinding{}, everyCluster).
		Watches(&corev1.ServiceAccount{}, everyCluster, builder.WithPredicates(existence)).
		Watches(&corev1.Namespace{}, everyCluster, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Complete(r)
}

// existence passes what comes and goes, and no changes.
var existence = predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}

func derives(cluster *v1alpha1.KafkaCluster) bool {
	return cluster.Spec.Policy.UsersFromRBAC == v1alpha1.UsersFromRBACDerive
}

// Reconcile makes the KafkaUsers of one KafkaCluster that Kubernetes RBAC says, and removes those that it does not say any more.
func (r *Roles) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.KafkaCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, cluster); apierrors.IsNotFound(err) {
		cluster = nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	wanted := map[types.NamespacedName]*v1alpha1.KafkaUser{}
	if cluster != nil && cluster.DeletionTimestamp.IsZero() && derives(cluster) {
		var err error
		if wanted, err = r.wanted(ctx, cluster); err != nil {
			return ctrl.Result{}, err
		}
	}
	var existing v1alpha1.KafkaUserList
	if err := r.Client.List(ctx, &existing, client.MatchingLabels{v1alpha1.LabelDeclaredBy: v1alpha1.DeclaredByRBAC}, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("list kafkausers: %w", err)
	}
	var failures []error
	for i := range existing.Items {
		user := &existing.Items[i]
		ref := user.Spec.ClusterRef.In(user.Namespace)
		if ref.Namespace != req.Namespace || ref.Name != req.Name || wanted[client.ObjectKeyFromObject(user)] != nil || !user.DeletionTimestamp.IsZero() {
			continue
		}
		if err := r.Client.Delete(ctx, user, client.Preconditions{UID: &user.UID, ResourceVersion: &user.ResourceVersion}); client.IgnoreNotFound(err) != nil {
			failures = append(failures, fmt.Errorf("delete kafkauser %s: %w", client.ObjectKeyFromObject(user), err))
		}
	}
	for account, user := range wanted {
		if err := r.write(ctx, cluster, user); err != nil {
			failures = append(failures, fmt.Errorf("write kafkauser %s: %w", account, err))
		}
	}
	return ctrl.Result{}, errors.Join(failures...)
}

// wanted returns the KafkaUsers of the accounts in namespaces that the cluster admits.
func (r *Roles) wanted(ctx context.Context, cluster *v1alpha1.KafkaCluster) (map[types.NamespacedName]*v1alpha1.KafkaUser, error) {
	var roles rbacv1.RoleList
	var bindings rbacv1.RoleBindingList
	var clusterRoles rbacv1.ClusterRoleList
	var clusterBindings rbacv1.ClusterRoleBindingList
	var accounts corev1.ServiceAccountList
	var namespaces corev1.NamespaceList
	for list, options := range map[client.ObjectList][]client.ListOption{
		&roles: {client.InNamespace(cluster.Namespace)}, &bindings: {client.InNamespace(cluster.Namespace)},
		&clusterRoles: nil, &clusterBindings: nil, &accounts: nil, &namespaces: nil,
	} {
		if err := r.Client.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	byNamespace, admitted := map[string][]string{}, map[string]bool{}
	exists := map[types.NamespacedName]bool{}
	for i := range accounts.Items {
		account := &accounts.Items[i]
		byNamespace[account.Namespace] = append(byNamespace[account.Namespace], account.Name)
		exists[client.ObjectKeyFromObject(account)] = true
	}
	for i := range namespaces.Items {
		// A malformed selector admits nobody; the KafkaCluster's conditions say so.
		ok, err := cluster.Admits(namespaces.Items[i].Labels)
		admitted[namespaces.Items[i].Name] = ok && err == nil && namespaces.Items[i].DeletionTimestamp.IsZero()
	}
	wanted := FromRBAC(cluster, RBAC{roles.Items, bindings.Items, clusterRoles.Items, clusterBindings.Items},
		func(namespace string) []string { return byNamespace[namespace] }, r.Check)
	for account := range wanted {
		if !admitted[account.Namespace] || !exists[account] {
			delete(wanted, account)
		}
	}
	return wanted, nil
}

// write makes one KafkaUser what RBAC says. One that somebody wrote under that name stays theirs.
func (r *Roles) write(ctx context.Context, cluster *v1alpha1.KafkaCluster, want *v1alpha1.KafkaUser) error {
	existing := &v1alpha1.KafkaUser{}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(want), existing)
	switch {
	case apierrors.IsNotFound(err):
		err = r.Client.Create(ctx, want, fieldOwner)
	case err != nil:
		return err
	case !existing.DeletionTimestamp.IsZero():
		return nil // it is made anew when it is gone
	case !IsFromRBAC(existing) || existing.Spec.ClusterRef.In(existing.Namespace) != want.Spec.ClusterRef.In(want.Namespace):
		r.Recorder.Eventf(cluster, existing, corev1.EventTypeWarning, "AccessRefused", "Declare",
			"KafkaUser %s/%s exists, so what Kubernetes RBAC gives that service account is not carried out", want.Namespace, want.Name)
		return nil
	default:
		next := existing.DeepCopy()
		next.Spec.Workload, next.Spec.Consume, next.Spec.Produce, next.Spec.Admin = want.Spec.Workload, want.Spec.Consume, want.Spec.Produce, want.Spec.Admin
		if equality.Semantic.DeepEqual(existing.Spec, next.Spec) {
			return nil
		}
		err = r.Client.Patch(ctx, next, client.MergeFromWithOptions(existing, client.MergeFromWithOptimisticLock{}), fieldOwner)
	}
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		r.Recorder.Eventf(cluster, want, corev1.EventTypeWarning, "AccessRefused", "Declare", "KafkaUser %s/%s: %.800s", want.Namespace, want.Name, err.Error())
		return nil
	}
	return err
}
