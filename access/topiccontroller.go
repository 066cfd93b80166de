// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
)

// TopicFinalizer keeps a KafkaTopic with deletionPolicy Delete until its topic is gone. It is set once the KafkaTopic
// holds its topic, so that one that never did deletes nothing.
const TopicFinalizer = "kafka.signet.dev/topic"

const topicFieldOwner = client.FieldOwner("signet-access-topic")

// TopicController creates, grows, configures and, where asked to, deletes the topics of KafkaTopics. It writes the
// condition Ready and the rest of their status, and keeps the TopicFinalizer.
type TopicController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Connections to the clusters.
	Connections *Connections
	// Events gets one event for each topic that was changed.
	Events events.EventRecorder
	// Period between two looks at a topic, give or take a tenth.
	Period time.Duration
	// Now is the clock.
	Now func() time.Time
}

// SetupWithManager registers the controller.
func (r *TopicController) SetupWithManager(mgr ctrl.Manager) error {
	clusters := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return clusterChanged(e.ObjectOld.(*v1alpha1.KafkaCluster), e.ObjectNew.(*v1alpha1.KafkaCluster))
	}}
	gone := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(mgr).Named("kafkatopic-access").
		For(&v1alpha1.KafkaTopic{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.KafkaTopic{}, r.topicsWhere(func(topic *v1alpha1.KafkaTopic, o client.Object) bool {
			return sameTopic(topic, o.(*v1alpha1.KafkaTopic))
		}), builder.WithPredicates(gone)).
		Watches(&v1alpha1.KafkaCluster{}, r.topicsWhere(func(topic *v1alpha1.KafkaTopic, o client.Object) bool {
			return topicCluster(topic) == client.ObjectKeyFromObject(o)
		}), builder.WithPredicates(clusters)).
		Watches(&corev1.Namespace{}, r.topicsWhere(func(topic *v1alpha1.KafkaTopic, o client.Object) bool {
			return topic.Namespace == o.GetName()
		}), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: clustersAtOnce}).
		Complete(r)
}

func (r *TopicController) topicsWhere(concerned func(*v1alpha1.KafkaTopic, client.Object) bool) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		var topics v1alpha1.KafkaTopicList
		if err := r.Client.List(ctx, &topics, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list kafkatopics", "event", o.GetName())
			return nil
		}
		var out []reconcile.Request
		for i := range topics.Items {
			if concerned(&topics.Items[i], o) {
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&topics.Items[i])})
			}
		}
		return out
	})
}

// verdict is why a KafkaTopic is not in force; a plain error beside it is the API server's.
type verdict struct{ reason, message string }

func (v *verdict) Error() string { return v.message }

// Reconcile brings one topic to what its KafkaTopic declares.
func (r *TopicController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var topic v1alpha1.KafkaTopic
	if err := r.Client.Get(ctx, req.NamespacedName, &topic); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if topic.DeletionTimestamp != nil && !controllerutil.ContainsFinalizer(&topic, TopicFinalizer) {
		return ctrl.Result{}, nil
	}
	err := r.reconcile(ctx, &topic)
	var why *verdict
	switch {
	case ctx.Err() != nil:
		return ctrl.Result{}, ctx.Err()
	case err == nil:
		return ctrl.Result{RequeueAfter: jitter(r.Period)}, nil
	case !errors.As(err, &why):
		return ctrl.Result{}, err
	}
	wait := jitter(r.Period)
	switch why.reason {
	case v1alpha1.ReasonUnreachable, v1alpha1.ReasonRefusedByBroker, v1alpha1.ReasonPending:
		wait = jitter(retryAfter(meta.FindStatusCondition(topic.Status.Conditions, v1alpha1.ConditionReady), r.Now()))
	}
	message := why.message
	if topic.DeletionTimestamp != nil {
		message = "deletion waits: " + message
	}
	return ctrl.Result{RequeueAfter: wait}, r.writeStatus(ctx, &topic, apply.KafkaTopicStatus(),
		metav1.Condition{Status: metav1.ConditionFalse, Reason: why.reason, Message: message})
}

// reconcile returns a *verdict where the topic cannot be brought to what is declared.
func (r *TopicController) reconcile(ctx context.Context, topic *v1alpha1.KafkaTopic) error {
	key := topicCluster(topic)
	var cluster v1alpha1.KafkaCluster
	if err := r.Client.Get(ctx, key, &cluster); apierrors.IsNotFound(err) {
		if topic.DeletionTimestamp != nil {
			return r.release(ctx, topic, fmt.Sprintf("KafkaCluster %s does not exist: topic %s, if its Kafka still runs, stays", key, topic.TopicName()))
		}
		return &verdict{v1alpha1.ReasonClusterNotFound, fmt.Sprintf("KafkaCluster %s does not exist", key)}
	} else if err != nil {
		return err
	}
	if err := r.mayDeclare(ctx, topic, &cluster); err != nil {
		var why *verdict
		if topic.DeletionTimestamp != nil && errors.As(err, &why) {
			return r.release(ctx, topic, fmt.Sprintf("topic %s stays: %s", topic.TopicName(), why.message))
		}
		return err
	}
	if holder, err := r.holder(ctx, topic, &cluster); err != nil {
		return err
	} else if holder.UID != topic.UID {
		if topic.DeletionTimestamp != nil {
			return r.release(ctx, topic, fmt.Sprintf("topic %s stays: KafkaTopic %s/%s holds it", topic.TopicName(), holder.Namespace, holder.Name))
		}
		return &verdict{v1alpha1.ReasonConflict, fmt.Sprintf("topic %s of KafkaCluster %s is declared by KafkaTopic %s/%s already", topic.TopicName(), key, holder.Namespace, holder.Name)}
	}
	if reachable, known := condition.Of(cluster.Status.Conditions, v1alpha1.ConditionReachable, cluster.Generation); known &&
		reachable.Status == metav1.ConditionFalse && reachable.Reason == v1alpha1.ReasonUnreachable {
		// One question at a time is enough; ClusterController asks it.
		return &verdict{v1alpha1.ReasonUnreachable, reachable.Message}
	}
	admin, err := r.Connections.Admin(&cluster)
	if err != nil {
		return verdictOf(err)
	}
	if err := r.Connections.Claim(ctx, &cluster); err != nil {
		return verdictOf(err)
	}
	if topic.DeletionTimestamp != nil {
		if topic.Spec.DeletionPolicy != v1alpha1.DeletionDelete {
			return r.release(ctx, topic, fmt.Sprintf("topic %s stays, as deletionPolicy says", topic.TopicName()))
		}
		if err := admin.DeleteTopic(ctx, topic.TopicName()); err != nil {
			return verdictOf(err)
		}
		return r.release(ctx, topic, fmt.Sprintf("topic %s deleted", topic.TopicName()))
	}
	return r.synchronize(ctx, admin, topic)
}

// mayDeclare returns a *verdict where the KafkaTopic may not declare its topic at all.
func (r *TopicController) mayDeclare(ctx context.Context, topic *v1alpha1.KafkaTopic, cluster *v1alpha1.KafkaCluster) error {
	if _, err := cluster.Admits(nil); err != nil {
		return &verdict{v1alpha1.ReasonInvalid, err.Error()}
	}
	admitted, err := admits(ctx, r.Client, cluster, topic.Namespace)
	switch {
	case err != nil:
		return err
	case !admitted:
		return &verdict{v1alpha1.ReasonNamespaceNotAllowed, fmt.Sprintf(
			"the namespaceSelector of KafkaCluster %s/%s does not select the labels of namespace %s", cluster.Namespace, cluster.Name, topic.Namespace)}
	}
	if err := CheckTopic(topic.TopicName(), topic.Namespace, cluster); err != nil {
		return &verdict{v1alpha1.ReasonInvalid, err.Error()}
	}
	return nil
}

// holder returns the KafkaTopic that holds the topic of one that may declare it.
func (r *TopicController) holder(ctx context.Context, topic *v1alpha1.KafkaTopic, cluster *v1alpha1.KafkaCluster) (*v1alpha1.KafkaTopic, error) {
	var all v1alpha1.KafkaTopicList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var failure error
	holder := HolderOf(topic, all.Items, func(other *v1alpha1.KafkaTopic) bool {
		err := r.mayDeclare(ctx, other, cluster)
		var why *verdict
		if err != nil && !errors.As(err, &why) {
			failure = err
		}
		return err == nil
	})
	if failure == nil && holder == nil {
		holder = topic
	}
	return holder, failure
}

func (r *TopicController) synchronize(ctx context.Context, admin *Admin, topic *v1alpha1.KafkaTopic) error {
	name := topic.TopicName()
	actual, err := admin.Topic(ctx, name)
	if err != nil {
		return verdictOf(err)
	}
	plan, err := PlanTopic(topic, actual)
	if err != nil {
		return &verdict{v1alpha1.ReasonInvalid, err.Error()}
	}
	if err := r.setFinalizer(ctx, topic, topic.Spec.DeletionPolicy == v1alpha1.DeletionDelete); err != nil {
		return err
	}
	if !plan.Empty() {
		intent := slices.Concat(topic.Status.AppliedConfig, plan.Owned)
		slices.Sort(intent)
		if intent = slices.Compact(intent); !slices.Equal(intent, topic.Status.AppliedConfig) {
			pending := metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPending, Message: "being changed in Kafka"}
			if err := r.writeStatus(ctx, topic, apply.KafkaTopicStatus().WithAppliedConfig(intent...), pending); err != nil {
				return err
			}
		}
		if err := carryOut(ctx, admin, name, plan); err != nil {
			return verdictOf(err)
		}
		r.Events.Eventf(topic, nil, corev1.EventTypeNormal, "TopicChanged", "Synchronize", "topic %s: %s", name, plan)
		if actual, err = admin.Topic(ctx, name); err != nil {
			return verdictOf(err)
		}
		if actual == nil {
			return &verdict{v1alpha1.ReasonPending, fmt.Sprintf("topic %s is created, but not yet known to every broker", name)}
		}
		// A broker learns of partitions a moment after the controller of Kafka has added them.
		left, err := PlanTopic(topic, actual)
		if err != nil {
			return &verdict{v1alpha1.ReasonInvalid, err.Error()}
		}
		if left.Partitions > 0 {
			return &verdict{v1alpha1.ReasonPending, fmt.Sprintf("topic %s has %d partitions, which is not yet known to every broker", name, left.Partitions)}
		}
	}
	return r.writeStatus(ctx, topic,
		apply.KafkaTopicStatus().WithTopic(name).WithPartitions(actual.Partitions).WithReplicationFactor(actual.ReplicationFactor).WithAppliedConfig(plan.Owned...),
		metav1.Condition{Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: "topic " + name + " is as declared"})
}

func carryOut(ctx context.Context, admin *Admin, name string, plan TopicPlan) error {
	if plan.Create != nil {
		return admin.CreateTopic(ctx, name, *plan.Create)
	}
	if len(plan.Set)+len(plan.Reset) > 0 {
		if err := admin.AlterTopicConfig(ctx, name, plan.Set, plan.Reset); err != nil {
			return err
		}
	}
	if plan.Partitions > 0 {
		return admin.SetPartitions(ctx, name, plan.Partitions)
	}
	return nil
}

// verdictOf turns an error of an Admin into the KafkaTopic's condition.
func verdictOf(err error) error { return &verdict{reasonOf(err), err.Error()} }

// release lets a KafkaTopic go whose deletion is done, and says what became of the topic.
func (r *TopicController) release(ctx context.Context, topic *v1alpha1.KafkaTopic, note string) error {
	if err := r.setFinalizer(ctx, topic, false); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.Events.Eventf(topic, nil, corev1.EventTypeNormal, "TopicReleased", "Delete", "%s", note)
	return nil
}

func (r *TopicController) setFinalizer(ctx context.Context, topic *v1alpha1.KafkaTopic, want bool) error {
	change := controllerutil.AddFinalizer
	if !want {
		change = controllerutil.RemoveFinalizer
	}
	patch := client.MergeFromWithOptions(topic.DeepCopy(), client.MergeFromWithOptimisticLock{})
	if !change(topic, TopicFinalizer) {
		return nil
	}
	if err := r.Client.Patch(ctx, topic, patch, topicFieldOwner); err != nil {
		return fmt.Errorf("patch finalizers of kafkatopic %s: %w", client.ObjectKeyFromObject(topic), err)
	}
	return nil
}

// writeStatus writes the condition and those fields of the status that are given; the others keep their values. It
// brings topic.Status up to what it wrote.
func (r *TopicController) writeStatus(ctx context.Context, topic *v1alpha1.KafkaTopic, status *apply.KafkaTopicStatusApplyConfiguration, want metav1.Condition) error {
	want.Type, want.ObservedGeneration, want.LastTransitionTime = v1alpha1.ConditionReady, topic.Generation, metav1.NewTime(r.Now())
	next, changed := condition.Next(topic.Status.Conditions, want)
	after := topic.Status.DeepCopy()
	if status.Topic != nil {
		after.Topic, after.Partitions, after.ReplicationFactor = *status.Topic, *status.Partitions, *status.ReplicationFactor
	} else if after.Topic != "" {
		status.WithTopic(after.Topic).WithPartitions(after.Partitions).WithReplicationFactor(after.ReplicationFactor)
	}
	if status.AppliedConfig != nil || status.Topic != nil && want.Status == metav1.ConditionTrue {
		after.AppliedConfig = status.AppliedConfig
	} else {
		status.WithAppliedConfig(after.AppliedConfig...)
	}
	if !changed && equality.Semantic.DeepEqual(&topic.Status, after) {
		return nil
	}
	patch := apply.KafkaTopic(topic.Name, topic.Namespace).WithUID(topic.UID).WithStatus(status.WithConditions(next))
	if err := r.Client.Status().Apply(ctx, patch, topicFieldOwner, client.ForceOwnership); ignoreGone(err) != nil {
		return fmt.Errorf("write status of kafkatopic %s: %w", client.ObjectKeyFromObject(topic), err)
	}
	meta.SetStatusCondition(&after.Conditions, want)
	topic.Status = *after
	return nil
}

func topicCluster(topic *v1alpha1.KafkaTopic) types.NamespacedName {
	ref := topic.Spec.ClusterRef.In(topic.Namespace)
	return types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}
}
