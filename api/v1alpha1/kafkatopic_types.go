// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// KafkaTopic declares a topic of a KafkaCluster. Signet creates or adopts it, adds partitions and keeps its
// configuration; it never removes partitions, and deletes the topic only where deletionPolicy says so.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=signet,shortName=kt
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Topic",type=string,JSONPath=`.status.topic`
// +kubebuilder:printcolumn:name="Partitions",type=integer,JSONPath=`.status.partitions`
// +kubebuilder:printcolumn:name="Consumers",type=integer,JSONPath=`.status.consumerCount`
// +kubebuilder:printcolumn:name="Producers",type=integer,JSONPath=`.status.producerCount`
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type KafkaTopic struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec KafkaTopicSpec `json:"spec"`
	// +optional
	Status KafkaTopicStatus `json:"status,omitempty"`
}

// KafkaTopicSpec is what a topic should be like.
// +kubebuilder:validation:XValidation:rule="has(self.topic) == has(oldSelf.topic) && (!has(self.topic) || self.topic == oldSelf.topic)",message="topic cannot change; create another KafkaTopic"
type KafkaTopicSpec struct {
	// ClusterRef names the KafkaCluster. It cannot change.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clusterRef cannot change; create another KafkaTopic"
	ClusterRef ClusterReference `json:"clusterRef"`

	// Topic is the name in Kafka; default metadata.name. It starts with "<namespace>-" or is on the KafkaCluster's
	// policy.adminTopicExemptions, unless this object is in the KafkaCluster's own namespace, which is the
	// administrators': there it may be any topic. Of several KafkaTopics for one topic the first created counts.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=249
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9._-]+$`
	// +kubebuilder:validation:XValidation:rule="self != '.' && self != '..'",message="Kafka does not allow the names . and .."
	Topic string `json:"topic,omitempty"`

	// Partitions is the number of partitions; default 1. It can grow, never shrink.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +kubebuilder:validation:XValidation:rule="self >= oldSelf",message="Kafka cannot remove partitions; create another topic"
	Partitions int32 `json:"partitions,omitempty"`

	// ReplicationFactor at creation; default: the brokers' default.replication.factor.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32767
	ReplicationFactor *int32 `json:"replicationFactor,omitempty"`

	// Config are topic configurations by Kafka's names, such as retention.ms. What is not listed keeps the brokers'
	// default; what is removed here returns to it.
	// +optional
	// +kubebuilder:validation:MaxProperties=128
	Config map[string]string `json:"config,omitempty"`

	// DeletionPolicy says what happens to the topic when this object is deleted: Retain (default) or Delete.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// DeletionPolicy says what happens in Kafka when an object is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

const (
	// DeletionRetain leaves the topic and its data.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionDelete deletes the topic and its data.
	DeletionDelete DeletionPolicy = "Delete"
)

// KafkaTopicStatus is what a topic is like.
type KafkaTopicStatus struct {
	// Topic is the name in Kafka.
	// +optional
	Topic string `json:"topic,omitempty"`

	// Partitions is the number of partitions in Kafka.
	// +optional
	Partitions int32 `json:"partitions,omitempty"`

	// ReplicationFactor is the number of replicas of partition 0 in Kafka.
	// +optional
	ReplicationFactor int32 `json:"replicationFactor,omitempty"`

	// AppliedConfig lists the configuration names that Signet set, and resets once they leave the declaration.
	// +optional
	// +listType=set
	AppliedConfig []string `json:"appliedConfig,omitempty"`

	// Consumers are the KafkaUsers, as <namespace>/<name>, that may consume the topic by their declaration and whose access is
	// in force; of more than 100 the first by name.
	// +optional
	// +listType=set
	Consumers []string `json:"consumers,omitempty"`

	// Producers are the KafkaUsers that may produce to it, alike.
	// +optional
	// +listType=set
	Producers []string `json:"producers,omitempty"`

	// ConsumerCount and ProducerCount are how many there are.
	// +optional
	ConsumerCount int32 `json:"consumerCount,omitempty"`
	// +optional
	ProducerCount int32 `json:"producerCount,omitempty"`

	// Conditions: Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// KafkaTopicList is a list of KafkaTopics.
// +kubebuilder:object:root=true
type KafkaTopicList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []KafkaTopic `json:"items"`
}

// TopicName is the topic's name in Kafka.
func (t *KafkaTopic) TopicName() string {
	if t.Spec.Topic != "" {
		return t.Spec.Topic
	}
	return t.Name
}
