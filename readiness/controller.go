// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
)

const fieldOwner = client.FieldOwner("signet-readiness")

// usersAtOnce is how many KafkaUsers are summed up at once; each is one write at most. It is few: where thousands come at
// once, what is summed up a moment later is summed up once for several changes, and leaves the API server to those.
const usersAtOnce = 2

// Users keeps the Ready condition of KafkaUsers.
type Users struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Now is the clock.
	Now func() time.Time
}

// SetupWithManager registers the controller.
func (r *Users) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("kafkauser-readiness").For(&v1alpha1.KafkaUser{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: usersAtOnce}).Complete(r)
}

// Reconcile sums one KafkaUser up.
func (r *Users) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var user v1alpha1.KafkaUser
	if err := r.Client.Get(ctx, req.NamespacedName, &user); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	want := Summarize(user.Status.Conditions, user.Generation, UserParts, "certificate, mapping and access are in force")
	want.LastTransitionTime = metav1.NewTime(r.Now())
	next, changed := condition.Next(user.Status.Conditions, want)
	if !changed {
		return ctrl.Result{}, nil
	}
	patch := apply.KafkaUser(user.Name, user.Namespace).WithStatus(apply.KafkaUserStatus().WithConditions(next))
	if err := r.Client.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("write Ready of kafkauser %s: %w", req, err)
	}
	return ctrl.Result{}, nil
}

// Clusters keeps the Ready condition of KafkaClusters.
type Clusters struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Now is the clock.
	Now func() time.Time
}

// SetupWithManager registers the controller.
func (r *Clusters) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("kafkacluster-readiness").For(&v1alpha1.KafkaCluster{}).Complete(r)
}

// Reconcile sums one KafkaCluster up.
func (r *Clusters) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var cluster v1alpha1.KafkaCluster
	if err := r.Client.Get(ctx, req.NamespacedName, &cluster); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	want := Summarize(cluster.Status.Conditions, cluster.Generation, ClusterParts, "brokers answer and their configuration is rendered")
	want.LastTransitionTime = metav1.NewTime(r.Now())
	next, changed := condition.Next(cluster.Status.Conditions, want)
	if !changed {
		return ctrl.Result{}, nil
	}
	patch := apply.KafkaCluster(cluster.Name, cluster.Namespace).WithStatus(apply.KafkaClusterStatus().WithConditions(next))
	if err := r.Client.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("write Ready of kafkacluster %s: %w", req, err)
	}
	return ctrl.Result{}, nil
}
