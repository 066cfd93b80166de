// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// maxTopicUsers bounds the names in a KafkaTopic's status.
const maxTopicUsers = 100

// TopicUsers are the KafkaUsers of a topic, as <namespace>/<name>, sorted.
type TopicUsers struct{ Consumers, Producers []string }

// UsersOfTopic returns who may consume the topic and produce to it by declarations that are in force. Who administers it may
// do both.
func UsersOfTopic(topic string, users []*v1alpha1.KafkaUser) TopicUsers {
	var out TopicUsers
	for _, user := range users {
		if !meta.IsStatusConditionTrue(user.Status.Conditions, v1alpha1.ConditionAccessSynced) {
			continue
		}
		name := user.Namespace + "/" + user.Name
		administers := names(user.Spec.Admin, topic)
		if administers || names(user.Spec.Consume, topic) {
			out.Consumers = append(out.Consumers, name)
		}
		if administers || names(user.Spec.Produce, topic) {
			out.Producers = append(out.Producers, name)
		}
	}
	slices.Sort(out.Consumers)
	slices.Sort(out.Producers)
	return out
}

// names tells whether one of the entries means the topic.
func names(entries []string, topic string) bool {
	return slices.ContainsFunc(entries, func(entry string) bool { return parsePattern(entry).covers(literal(topic)) })
}

// topicsChanged tells whether a change of a KafkaUser could be one of who uses a topic.
func topicsChanged(before, after *v1alpha1.KafkaUser) bool {
	return meta.IsStatusConditionTrue(before.Status.Conditions, v1alpha1.ConditionAccessSynced) != meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionAccessSynced) ||
		!slices.Equal(before.Spec.Consume, after.Spec.Consume) ||
		!slices.Equal(before.Spec.Produce, after.Spec.Produce) ||
		!slices.Equal(before.Spec.Admin, after.Spec.Admin)
}

// uses tells whether a KafkaUser declares anything on the topic, whatever of it is in force.
func uses(user *v1alpha1.KafkaUser, topic *v1alpha1.KafkaTopic) bool {
	if clusterOf(user) != topicCluster(topic) {
		return false
	}
	name := topic.TopicName()
	return names(user.Spec.Consume, name) || names(user.Spec.Produce, name) || names(user.Spec.Admin, name)
}
