// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func named(name string, synced metav1.ConditionStatus, edit func(*v1alpha1.KafkaUserSpec)) *v1alpha1.KafkaUser {
	user := newUser(edit)
	user.Name = name
	meta.SetStatusCondition(&user.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionAccessSynced, Status: synced, Reason: "Test"})
	return user
}

func TestUsersOfTopic(t *testing.T) {
	yes := metav1.ConditionTrue
	users := []*v1alpha1.KafkaUser{
		named("reader", yes, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"other", "orders"} }),
		named("prefix", yes, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"ord*"} }),
		named("writer", yes, func(s *v1alpha1.KafkaUserSpec) { s.Produce = []string{"orders"} }),
		named("admin", yes, func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{"*"} }),
		named("elsewhere", yes, func(s *v1alpha1.KafkaUserSpec) { s.Consume, s.Produce = []string{"orders2"}, []string{"order"} }),
		named("not-yet", metav1.ConditionFalse, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"orders"} }),
	}
	got := UsersOfTopic("orders", users)
	if want := []string{"shop/admin", "shop/prefix", "shop/reader"}; !slices.Equal(got.Consumers, want) {
		t.Errorf("consumers %q, want %q", got.Consumers, want)
	}
	if want := []string{"shop/admin", "shop/writer"}; !slices.Equal(got.Producers, want) {
		t.Errorf("producers %q, want %q", got.Producers, want)
	}
}

// TestTopicUsersController holds that the names are bounded and counted, that what did not change is not written, and that
// the other fields of the status stay.
func TestTopicUsersController(t *testing.T) {
	h := newHarness(t, &adminTLS{}, []string{"127.0.0.1:1"})
	topic := newTopic(func(k *v1alpha1.KafkaTopic) {
		k.Spec.ClusterRef = v1alpha1.ClusterReference{Namespace: h.cluster.Namespace, Name: h.cluster.Name}
	})
	h.must(h.api.Create(h.ctx, topic))
	topic.Status.Topic, topic.Status.Partitions = "shop-orders", 3
	h.must(h.api.Status().Update(h.ctx, topic))
	r := &TopicUsersController{Client: h.api}
	look := func() *v1alpha1.KafkaTopicStatus {
		t.Helper()
		_, err := r.Reconcile(h.ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(topic)})
		h.must(err)
		h.must(h.api.Get(h.ctx, client.ObjectKeyFromObject(topic), topic))
		return &topic.Status
	}
	synced := func(user *v1alpha1.KafkaUser, status metav1.ConditionStatus) {
		t.Helper()
		h.must(h.api.Get(h.ctx, client.ObjectKeyFromObject(user), user))
		meta.SetStatusCondition(&user.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionAccessSynced, Status: status, Reason: "Test"})
		h.must(h.api.Status().Update(h.ctx, user))
	}
	var users []*v1alpha1.KafkaUser
	for i := range maxTopicUsers + 2 {
		user := h.user("shop", fmt.Sprintf("user-%03d", i), v1alpha1.KafkaUserSpec{Consume: []string{"shop-*"}})
		synced(user, metav1.ConditionTrue)
		users = append(users, user)
	}
	got := look()
	if got.ConsumerCount != maxTopicUsers+2 || len(got.Consumers) != maxTopicUsers || got.Consumers[0] != "shop/user-000" || got.ProducerCount != 0 || len(got.Producers) != 0 {
		t.Errorf("%d consumers, %d names, the first %s; %d producers", got.ConsumerCount, len(got.Consumers), got.Consumers[0], got.ProducerCount)
	}
	if got.Topic != "shop-orders" || got.Partitions != 3 {
		t.Errorf("the rest of the status is %q, %d", got.Topic, got.Partitions)
	}
	version := topic.ResourceVersion
	if look(); topic.ResourceVersion != version {
		t.Error("a look that changed nothing wrote the KafkaTopic")
	}
	for _, user := range users[1:] {
		synced(user, metav1.ConditionFalse)
	}
	if got := look(); got.ConsumerCount != 1 || !slices.Equal(got.Consumers, []string{"shop/user-000"}) {
		t.Errorf("%d consumers: %q", got.ConsumerCount, got.Consumers)
	}
}
