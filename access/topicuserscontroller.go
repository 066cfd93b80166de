// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"slices"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
)

// topicUsersFieldOwner owns of a KafkaTopic's status what TopicUsersController writes, and nothing of TopicController's.
const topicUsersFieldOwner = client.FieldOwner("signet-access-topicusers")

// gathering is how long a topic waits for further changes of its users, so that a thousand new ones are one write.
const gathering = 2 * time.Second

// TopicUsersController writes into each KafkaTopic's status which KafkaUsers consume and produce it. It asks no Kafka.
type TopicUsersController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
}

// SetupWithManager registers the controller.
func (r *TopicUsersController) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("kafkatopic-users").
		For(&v1alpha1.KafkaTopic{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.KafkaUser{}, handler.Funcs{
			CreateFunc: func(ctx context.Context, e event.CreateEvent, queue requests) {
				r.enqueue(ctx, queue, e.Object.(*v1alpha1.KafkaUser))
			},
			DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue requests) {
				r.enqueue(ctx, queue, e.Object.(*v1alpha1.KafkaUser))
			},
			UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue requests) {
				before, after := e.ObjectOld.(*v1alpha1.KafkaUser), e.ObjectNew.(*v1alpha1.KafkaUser)
				if topicsChanged(before, after) {
					r.enqueue(ctx, queue, before, after)
				}
			},
		}).
		Complete(r)
}

// enqueue has the topics looked at that the users declare.
func (r *TopicUsersController) enqueue(ctx context.Context, queue requests, users ...*v1alpha1.KafkaUser) {
	var topics v1alpha1.KafkaTopicList
	if err := r.Client.List(ctx, &topics, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list kafkatopics")
		return
	}
	for i := range topics.Items {
		topic := &topics.Items[i]
		if slices.ContainsFunc(users, func(user *v1alpha1.KafkaUser) bool { return uses(user, topic) }) {
			queue.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(topic)}, gathering)
		}
	}
}

// Reconcile writes the users of one topic.
func (r *TopicUsersController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var topic v1alpha1.KafkaTopic
	if err := r.Client.Get(ctx, req.NamespacedName, &topic); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var list v1alpha1.KafkaUserList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, err
	}
	var users []*v1alpha1.KafkaUser
	for i := range list.Items {
		if clusterOf(&list.Items[i]) == topicCluster(&topic) {
			users = append(users, &list.Items[i])
		}
	}
	found := UsersOfTopic(topic.TopicName(), users)
	consumers, producers := found.Consumers[:min(len(found.Consumers), maxTopicUsers)], found.Producers[:min(len(found.Producers), maxTopicUsers)]
	have := &topic.Status
	if slices.Equal(have.Consumers, consumers) && slices.Equal(have.Producers, producers) &&
		int(have.ConsumerCount) == len(found.Consumers) && int(have.ProducerCount) == len(found.Producers) {
		return ctrl.Result{}, nil
	}
	status := apply.KafkaTopicStatus().WithConsumers(consumers...).WithProducers(producers...).
		WithConsumerCount(int32(len(found.Consumers))).WithProducerCount(int32(len(found.Producers)))
	patch := apply.KafkaTopic(topic.Name, topic.Namespace).WithUID(topic.UID).WithStatus(status)
	if err := r.Client.Status().Apply(ctx, patch, topicUsersFieldOwner, client.ForceOwnership); ignoreGone(err) != nil {
		return ctrl.Result{}, fmt.Errorf("write users of kafkatopic %s: %w", req, err)
	}
	return ctrl.Result{}, nil
}
