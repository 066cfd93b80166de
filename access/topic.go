// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Topic is a topic in Kafka.
type Topic struct {
	Partitions int32
	// ReplicationFactor is the number of replicas of partition 0; in a creation, -1 for the brokers' default.
	ReplicationFactor int32
	// Config holds what is set on the topic itself (DYNAMIC_TOPIC_CONFIG), without the brokers' defaults.
	Config map[string]string
	// ConfigTypes are the types of all configurations that the brokers know; of brokers before 2.6, none.
	ConfigTypes map[string]kmsg.ConfigType
}

// brokerDefault asks CreateTopics for the brokers' default.replication.factor (KIP-464).
const brokerDefault = -1

// TopicPlan is what leads from the topic in Kafka to the declared one.
type TopicPlan struct {
	// Create is the topic to create; nil where there is one.
	Create *Topic
	// Partitions is the number to grow to; 0 for none.
	Partitions int32
	// Set and Reset are configurations to set, and to give back to the brokers' default.
	Set   map[string]string
	Reset []string
	// Owned are the names of configurations that Signet set or is about to set. They go into status.appliedConfig before
	// anything is set, so that none is forgotten if the controller ends in between.
	Owned []string
}

// Empty tells whether there is nothing to do.
func (p TopicPlan) Empty() bool {
	return p.Create == nil && p.Partitions == 0 && len(p.Set) == 0 && len(p.Reset) == 0
}

// String says what a plan does: "created with 3 partitions", "grown to 6 partitions, set retention.ms, reset …".
func (p TopicPlan) String() string {
	if p.Create != nil {
		return fmt.Sprintf("created with %d partitions", p.Create.Partitions)
	}
	text := ""
	add := func(format string, args ...any) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf(format, args...)
	}
	if p.Partitions > 0 {
		add("grown to %d partitions", p.Partitions)
	}
	for _, key := range slices.Sorted(maps.Keys(p.Set)) {
		add("set %s", key)
	}
	for _, key := range p.Reset {
		add("reset %s", key)
	}
	return text
}

// InvalidTopicError says which part of a KafkaTopic cannot be carried out on the topic that exists, and what to do.
type InvalidTopicError struct{ Message string }

func (e *InvalidTopicError) Error() string { return e.Message }

// PlanTopic returns the steps from actual (nil: no such topic) to the declared topic. It errs with *InvalidTopicError, and
// plans nothing at all, where Kafka cannot get there: fewer partitions, another replication factor.
func PlanTopic(declared *v1alpha1.KafkaTopic, actual *Topic) (TopicPlan, error) {
	spec := &declared.Spec
	partitions := max(spec.Partitions, 1)
	owned := slices.Sorted(maps.Keys(spec.Config))
	if actual == nil {
		replication := int32(brokerDefault)
		if spec.ReplicationFactor != nil {
			replication = *spec.ReplicationFactor
		}
		return TopicPlan{
			Create: &Topic{Partitions: partitions, ReplicationFactor: replication, Config: maps.Clone(spec.Config)},
			Owned:  owned,
		}, nil
	}
	name := declared.TopicName()
	if actual.Partitions > partitions {
		return TopicPlan{}, &InvalidTopicError{fmt.Sprintf(
			"topic %s has %d partitions, spec.partitions says %d: Kafka cannot remove partitions; set spec.partitions to %d, or declare another topic",
			name, actual.Partitions, partitions, actual.Partitions)}
	}
	if spec.ReplicationFactor != nil && actual.ReplicationFactor != *spec.ReplicationFactor {
		return TopicPlan{}, &InvalidTopicError{fmt.Sprintf(
			"topic %s has %d replicas, spec.replicationFactor says %d: Signet does not move replicas; reassign the partitions (kafka-reassign-partitions.sh or Cruise Control), or set spec.replicationFactor to %d",
			name, actual.ReplicationFactor, *spec.ReplicationFactor, actual.ReplicationFactor)}
	}
	plan := TopicPlan{Owned: owned}
	if actual.Partitions < partitions {
		plan.Partitions = partitions
	}
	for _, key := range owned {
		if value, ok := actual.Config[key]; !ok || !sameConfig(actual.ConfigTypes[key], value, spec.Config[key]) {
			if plan.Set == nil {
				plan.Set = map[string]string{}
			}
			plan.Set[key] = spec.Config[key]
		}
	}
	for _, key := range declared.Status.AppliedConfig {
		if _, ok := spec.Config[key]; ok {
			continue
		}
		if _, ok := actual.Config[key]; ok {
			plan.Reset = append(plan.Reset, key)
		}
	}
	slices.Sort(plan.Reset)
	return plan, nil
}

// HolderOf returns the KafkaTopic that holds the topic of the given one: of all that declare the same topic of the same
// cluster, and may do so, the one that was created first, by name where that is a tie. It is nil where none may.
func HolderOf(topic *v1alpha1.KafkaTopic, all []v1alpha1.KafkaTopic, may func(*v1alpha1.KafkaTopic) bool) *v1alpha1.KafkaTopic {
	var holder *v1alpha1.KafkaTopic
	for i := range all {
		other := &all[i]
		if !sameTopic(topic, other) || !may(other) {
			continue
		}
		if holder == nil || cmp.Or(
			other.CreationTimestamp.Compare(holder.CreationTimestamp.Time),
			cmp.Compare(other.Namespace, holder.Namespace),
			cmp.Compare(other.Name, holder.Name),
		) < 0 {
			holder = other
		}
	}
	return holder
}

// sameTopic tells whether two KafkaTopics declare the same topic of the same cluster.
func sameTopic(a, b *v1alpha1.KafkaTopic) bool {
	return a.TopicName() == b.TopicName() && a.Spec.ClusterRef.In(a.Namespace) == b.Spec.ClusterRef.In(b.Namespace)
}
