// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func newTopic(edit func(*v1alpha1.KafkaTopic)) *v1alpha1.KafkaTopic {
	topic := &v1alpha1.KafkaTopic{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop-orders", UID: "uid-topic", Generation: 1},
		Spec:       v1alpha1.KafkaTopicSpec{ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"}, Partitions: 3},
	}
	edit(topic)
	return topic
}

func TestPlanTopic(t *testing.T) {
	one, three := int32(1), int32(3)
	cases := []struct {
		name     string
		declared func(*v1alpha1.KafkaTopic)
		actual   *Topic
		want     TopicPlan
		refused  string
	}{
		{"create", func(k *v1alpha1.KafkaTopic) { k.Spec.Config = map[string]string{"retention.ms": "1"} }, nil,
			TopicPlan{Create: &Topic{Partitions: 3, ReplicationFactor: brokerDefault, Config: map[string]string{"retention.ms": "1"}}, Owned: []string{"retention.ms"}}, ""},
		{"create with replicas", func(k *v1alpha1.KafkaTopic) { k.Spec.ReplicationFactor = &three }, nil,
			TopicPlan{Create: &Topic{Partitions: 3, ReplicationFactor: 3}}, ""},
		{"adopt as it is", func(k *v1alpha1.KafkaTopic) {}, &Topic{Partitions: 3, ReplicationFactor: 1, Config: map[string]string{"by.hand": "x"}}, TopicPlan{}, ""},
		{"grow", func(k *v1alpha1.KafkaTopic) {}, &Topic{Partitions: 2, ReplicationFactor: 1}, TopicPlan{Partitions: 3}, ""},
		{"never shrink", func(k *v1alpha1.KafkaTopic) {}, &Topic{Partitions: 4, ReplicationFactor: 1}, TopicPlan{}, "set spec.partitions to 4"},
		{"never move replicas", func(k *v1alpha1.KafkaTopic) { k.Spec.ReplicationFactor = &three }, &Topic{Partitions: 3, ReplicationFactor: 1}, TopicPlan{}, "kafka-reassign-partitions.sh"},
		{"nothing is half-applied", func(k *v1alpha1.KafkaTopic) {
			k.Spec.ReplicationFactor, k.Spec.Config = &three, map[string]string{"retention.ms": "1"}
		}, &Topic{Partitions: 1, ReplicationFactor: 1}, TopicPlan{}, "kafka-reassign-partitions.sh"},
		{"replicas as declared", func(k *v1alpha1.KafkaTopic) { k.Spec.ReplicationFactor = &one }, &Topic{Partitions: 3, ReplicationFactor: 1}, TopicPlan{}, ""},
		{"set and reset", func(k *v1alpha1.KafkaTopic) {
			k.Spec.Config = map[string]string{"retention.ms": "2", "cleanup.policy": "compact"}
			k.Status.AppliedConfig = []string{"retention.ms", "segment.bytes", "gone.already"}
		}, &Topic{Partitions: 3, ReplicationFactor: 1, Config: map[string]string{"retention.ms": "1", "cleanup.policy": "compact", "segment.bytes": "9", "by.hand": "x"}},
			TopicPlan{Set: map[string]string{"retention.ms": "2"}, Reset: []string{"segment.bytes"}, Owned: []string{"cleanup.policy", "retention.ms"}}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := PlanTopic(newTopic(c.declared), c.actual)
			var invalid *InvalidTopicError
			switch {
			case c.refused != "" && (!errors.As(err, &invalid) || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("error %v, want one that says %q", err, c.refused)
			case c.refused == "" && err != nil:
				t.Error(err)
			case !reflect.DeepEqual(got, c.want):
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestHolderOf(t *testing.T) {
	at := func(namespace, name string, second int64) v1alpha1.KafkaTopic {
		return *newTopic(func(k *v1alpha1.KafkaTopic) {
			k.Namespace, k.Name, k.UID = namespace, name, types.UID(namespace+name)
			k.Spec.Topic = "shop-orders"
			k.CreationTimestamp = metav1.NewTime(time.Unix(second, 0))
		})
	}
	other := at("shop", "other-topic", 0)
	other.Spec.Topic = "shop-other"
	elsewhere := at("shop", "elsewhere", 0)
	elsewhere.Spec.ClusterRef.Name = "second"
	squatter := at("evil", "squatter", 1)
	first, tied, last := at("shop", "first", 5), at("shop", "z-tied", 5), at("shop", "a-last", 9)
	all := []v1alpha1.KafkaTopic{last, tied, squatter, other, elsewhere, first}
	may := func(topic *v1alpha1.KafkaTopic) bool { return topic.Namespace != "evil" }
	for _, topic := range []*v1alpha1.KafkaTopic{&first, &tied, &last} {
		if holder := HolderOf(topic, all, may); holder == nil || holder.UID != first.UID {
			t.Errorf("holder of %s: %+v, want shop/first", topic.Name, holder)
		}
	}
	if holder := HolderOf(&other, all, may); holder == nil || holder.UID != other.UID {
		t.Errorf("holder of another topic: %+v", holder)
	}
}
