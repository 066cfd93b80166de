// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// labelStrimziCluster names the Kafka of a Strimzi object, which is in the same namespace.
const labelStrimziCluster = "strimzi.io/cluster"

// strimziUserSpec is what is read of the spec of a KafkaUser of kafka.strimzi.io, in v1beta2 and v1.
type strimziUserSpec struct {
	Authentication *struct {
		Type string `json:"type"`
	} `json:"authentication"`
	Authorization *struct {
		Type string       `json:"type"`
		ACLs []strimziACL `json:"acls"`
	} `json:"authorization"`
	Quotas map[string]any `json:"quotas"`
}

// strimziACL is one rule (AclRule); operation is the older form of operations.
type strimziACL struct {
	Type     string `json:"type"`
	Host     string `json:"host"`
	Resource struct {
		Type        string `json:"type"`
		Name        string `json:"name"`
		PatternType string `json:"patternType"`
	} `json:"resource"`
	Operation  string   `json:"operation"`
	Operations []string `json:"operations"`
}

// strimziOperations are Kafka's operations by Strimzi's names (AclOperation).
var strimziOperations = map[string]operation{
	"Read": read, "Write": write, "Create": create, "Delete": remove, "Describe": describe, "DescribeConfigs": describeConfigs,
	"IdempotentWrite": idempotentWrite, "All": every, "Alter": "ALTER", "AlterConfigs": "ALTER_CONFIGS", "ClusterAction": "CLUSTER_ACTION",
}

func (a strimziACL) String() string {
	return fmt.Sprintf("%s %s %s", a.Resource.Type, a.Resource.PatternType, a.Resource.Name)
}

func strimziUser(object *unstructured.Unstructured, target Target, c *Converted) error {
	var spec strimziUserSpec
	if err := c.spec(object, &spec, "authentication", "authorization", "quotas"); err != nil {
		return err
	}
	user := c.user(object, target, strimziCluster(object))
	if user == nil {
		return nil
	}
	switch {
	case spec.Authentication == nil:
	case strings.HasPrefix(spec.Authentication.Type, "tls"):
		c.note("certificates that Strimzi's clients CA signed are of another subject: to let them be the same principal until they are replaced, add CN=%s to externalSubjects, and approve it", object.GetName())
	default:
		c.note("authentication %s is not carried over: the client gets a certificate", spec.Authentication.Type)
	}
	if spec.Authorization != nil {
		if t := spec.Authorization.Type; t != "simple" {
			c.note("authorization %s is not carried over", t)
		} else {
			strimziRights(spec.Authorization.ACLs, c).declare(user, c)
		}
	}
	user.Spec.Quotas = strimziQuotas(spec.Quotas, c)
	c.Object = user
	return nil
}

// strimziRights collects what rules allow. A rule that cannot be meant by a KafkaUser is noted and left out as a whole.
func strimziRights(rules []strimziACL, c *Converted) rights {
	r := newRights()
	for _, rule := range rules {
		if rule.Operation != "" {
			rule.Operations = append(rule.Operations, rule.Operation)
		}
		var operations []operation
		for _, text := range rule.Operations {
			o, ok := strimziOperations[text]
			if !ok {
				c.note("operation %s on %s is not known", text, rule)
				continue
			}
			operations = append(operations, o)
		}
		n, ok := nameOf(rule.Resource.Name, rule.Resource.PatternType == "prefix")
		switch {
		case rule.Type != "" && rule.Type != "allow":
			c.note("a rule that denies %s is not carried over: Signet denies whatever is not declared", rule)
		case rule.Host != "" && rule.Host != "*":
			c.note("a rule for %s from host %s is not carried over: what a KafkaUser declares counts from every host", rule, rule.Host)
		case rule.Resource.Type == "cluster":
			r.cluster = append(r.cluster, operations...)
		case !ok:
			c.note("a rule for %s is not carried over: a KafkaUser cannot name that", rule)
		case rule.Resource.Type == "topic":
			r.topics[n] = append(r.topics[n], operations...)
		case rule.Resource.Type == "group":
			r.groups[n] = append(r.groups[n], operations...)
		case rule.Resource.Type == "transactionalId":
			r.transactionalIDs[n] = append(r.transactionalIDs[n], operations...)
		default:
			c.note("a rule for %s is not carried over: its type is not known", rule)
		}
	}
	return r
}

func strimziQuotas(declared map[string]any, c *Converted) *v1alpha1.Quotas {
	if len(declared) == 0 {
		return nil
	}
	quotas := &v1alpha1.Quotas{}
	for _, key := range slices.Sorted(maps.Keys(declared)) {
		field := map[string]**resource.Quantity{
			"producerByteRate": &quotas.ProducerByteRate, "consumerByteRate": &quotas.ConsumerByteRate,
			"requestPercentage": &quotas.RequestPercentage, "controllerMutationRate": &quotas.ControllerMutationRate,
		}[key]
		if field == nil {
			c.note("quotas.%s is not carried over", key)
			continue
		}
		value, err := resource.ParseQuantity(scalar(declared[key]))
		if err != nil || value.Sign() <= 0 {
			c.note("quotas.%s is not carried over: %v is no number above 0", key, declared[key])
			continue
		}
		*field = &value
	}
	return quotas
}

func strimziTopic(object *unstructured.Unstructured, target Target, c *Converted) error {
	var spec struct {
		TopicName  string         `json:"topicName"`
		Partitions *int64         `json:"partitions"`
		Replicas   *int64         `json:"replicas"`
		Config     map[string]any `json:"config"`
	}
	if err := c.spec(object, &spec, "topicName", "partitions", "replicas", "config"); err != nil {
		return err
	}
	if object.GetAnnotations()["strimzi.io/managed"] == "false" {
		c.note("strimzi.io/managed is false: Strimzi leaves this topic alone")
	}
	config := map[string]string{}
	for key, value := range spec.Config {
		config[key] = scalar(value)
	}
	c.topic(object, target, strimziCluster(object), spec.TopicName, spec.Partitions, spec.Replicas, config)
	return nil
}

func strimziCluster(object *unstructured.Unstructured) v1alpha1.ClusterReference {
	return v1alpha1.ClusterReference{Name: object.GetLabels()[labelStrimziCluster], Namespace: object.GetNamespace()}
}

// user begins the KafkaUser that an object becomes; nil, with a note, where it cannot become one.
func (c *Converted) user(object *unstructured.Unstructured, target Target, cluster v1alpha1.ClusterReference) *v1alpha1.KafkaUser {
	name := strings.ReplaceAll(object.GetName(), ".", "-")
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		c.note("no KafkaUser can have the name %s: %s", object.GetName(), problems[0])
		return nil
	}
	if name != object.GetName() {
		c.note("its name was %s; a KafkaUser's has no dot", object.GetName())
	}
	namespace := target.namespace(object.GetNamespace())
	ref := target.cluster(cluster, namespace)
	if ref.Name == "" {
		c.note("nothing says which KafkaCluster it is for: say so with --cluster")
		return nil
	}
	return newUser(namespace, name, ref)
}

// topic makes the KafkaTopic that an object becomes. Numbers below 1 are the brokers' default.
func (c *Converted) topic(object *unstructured.Unstructured, target Target, cluster v1alpha1.ClusterReference, name string, partitions, replicas *int64, config map[string]string) {
	namespace := target.namespace(object.GetNamespace())
	ref := target.cluster(cluster, namespace)
	if ref.Name == "" {
		c.note("nothing says which KafkaCluster it is for: say so with --cluster")
		return
	}
	topic := newTopic(namespace, object.GetName(), ref)
	if name != "" && name != object.GetName() {
		topic.Spec.Topic = name
	}
	if partitions != nil && *partitions >= 1 {
		topic.Spec.Partitions = int32(*partitions)
	} else {
		c.note("it has the brokers' default number of partitions: here that is 1, so set spec.partitions to what the topic has")
	}
	if replicas != nil && *replicas >= 1 {
		count := int32(*replicas)
		topic.Spec.ReplicationFactor = &count
	}
	if len(config) > 0 {
		topic.Spec.Config = config
	}
	if !strings.HasPrefix(topic.TopicName(), namespace+"-") && (ref.Namespace != "" && ref.Namespace != namespace) {
		c.note("topic %s does not start with %s-: policy.adminTopicExemptions of the KafkaCluster has to have it, or the KafkaTopic has to be in the KafkaCluster's own namespace", topic.TopicName(), namespace)
	}
	c.note("deletionPolicy is Retain: deleting this KafkaTopic leaves the topic")
	c.Object = topic
}
