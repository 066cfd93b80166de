// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
)

// clusterFieldOwner differs from that of the other controllers of this package only to tell who wrote what.
const clusterFieldOwner = client.FieldOwner("signet-access-cluster")

// ClusterController asks each KafkaCluster's brokers, again and again, whether they answer and whether Signet may
// administer them. It writes the condition Reachable and status.brokers, and, where only a token says whom brokers take
// Signet for, status.adminPrincipal; the other controllers take a cluster that became reachable as the sign to try again.
type ClusterController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Connections to the clusters. Those to KafkaClusters that are gone are closed.
	Connections *Connections
	// Events gets one event whenever Reachable changes.
	Events events.EventRecorder
	// Changes ask for a cluster when what Signet authenticates with there may have changed.
	Changes []source.Source
	// Period between two questions to a cluster that answers.
	Period time.Duration
	// Now is the clock.
	Now func() time.Time
}

// SetupWithManager registers the controller.
func (r *ClusterController) SetupWithManager(mgr ctrl.Manager) error {
	building := ctrl.NewControllerManagedBy(mgr).Named("kafkacluster-access").
		For(&v1alpha1.KafkaCluster{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WithOptions(controller.Options{MaxConcurrentReconciles: clustersAtOnce})
	for _, changes := range r.Changes {
		building.WatchesRawSource(changes)
	}
	return building.Complete(r)
}

// Reconcile asks one KafkaCluster.
func (r *ClusterController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var cluster v1alpha1.KafkaCluster
	if err := r.Client.Get(ctx, req.NamespacedName, &cluster); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Connections.Close(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	brokers, user, failure := r.ask(ctx, &cluster)
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	now := r.Now()
	want := metav1.Condition{
		Type: v1alpha1.ConditionReachable, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		Message:            fmt.Sprintf("%d of %d brokers answer", brokers.Answered, brokers.Known),
		ObservedGeneration: cluster.Generation, LastTransitionTime: metav1.NewTime(now),
	}
	wait := r.Period
	before := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionReachable)
	if failure != nil {
		want.Status, want.Reason, want.Message = metav1.ConditionFalse, reasonOf(failure), failure.Error()
		wait = retryAfter(before, now)
	}
	next, changed := condition.Next(cluster.Status.Conditions, want)
	status := apply.KafkaClusterStatus().WithBrokers(int32(brokers.Answered)).WithConditions(next)
	if sasl := cluster.Spec.Admin.SASL; sasl != nil && !sasl.Mechanism.IsSCRAM() {
		if user == "" && failure != nil {
			user = cluster.Status.AdminPrincipal // what it was
		}
		changed = changed || user != cluster.Status.AdminPrincipal
		status.WithAdminPrincipal(user)
	}
	if !changed && cluster.Status.Brokers == int32(brokers.Answered) {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	patch := apply.KafkaCluster(cluster.Name, cluster.Namespace).WithUID(cluster.UID).WithStatus(status)
	if err := r.Client.Status().Apply(ctx, patch, clusterFieldOwner, client.ForceOwnership); ignoreGone(err) != nil {
		return ctrl.Result{}, fmt.Errorf("write status of kafkacluster %s: %w", req, err)
	}
	switch {
	case failure != nil && (before == nil || before.Reason != want.Reason):
		r.Events.Eventf(&cluster, nil, corev1.EventTypeWarning, want.Reason, "Connect", "%s", want.Message)
	case failure == nil && before != nil && before.Status != metav1.ConditionTrue:
		r.Events.Eventf(&cluster, nil, corev1.EventTypeNormal, v1alpha1.ConditionReachable, "Connect", "%s", want.Message)
	}
	return ctrl.Result{RequeueAfter: wait}, nil
}

// ask returns the brokers and, if it is known, whom they take Signet for.
func (r *ClusterController) ask(ctx context.Context, cluster *v1alpha1.KafkaCluster) (Brokers, string, error) {
	if _, err := cluster.Admits(nil); err != nil {
		return Brokers{}, "", &InvalidClusterError{err}
	}
	user, err := r.Connections.Login(ctx, cluster)
	if err != nil {
		return Brokers{}, "", err
	}
	admin, err := r.Connections.Admin(cluster)
	if err != nil {
		return Brokers{}, user, err
	}
	brokers, err := admin.Brokers(ctx)
	if err != nil {
		return brokers, user, err
	}
	if err := admin.Authorized(ctx, cmp.Or(user, "User:(of Signet's token)")); err != nil {
		return brokers, user, err
	}
	return brokers, user, r.Connections.Claim(ctx, cluster)
}

// retryAfter is how long to wait after a failure: half of the time that the condition is not True by now, from two
// seconds to half a minute.
func retryAfter(before *metav1.Condition, now time.Time) time.Duration {
	const shortest, longest = 2 * time.Second, 30 * time.Second
	if before == nil || before.Status == metav1.ConditionTrue {
		return shortest
	}
	return min(max(now.Sub(before.LastTransitionTime.Time)/2, shortest), longest)
}
