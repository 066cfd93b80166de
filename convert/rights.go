// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// operation is one of Kafka's ACL operations, in the notation of AclOperation.
type operation string

const (
	read            operation = "READ"
	write           operation = "WRITE"
	create          operation = "CREATE"
	remove          operation = "DELETE"
	describe        operation = "DESCRIBE"
	describeConfigs operation = "DESCRIBE_CONFIGS"
	idempotentWrite operation = "IDEMPOTENT_WRITE"
	every           operation = "ALL"
)

// name is a resource as a KafkaUser writes it: a literal name, or a prefix with a trailing *.
type name string

// of returns the name of a resource, or false where it is one that a KafkaUser cannot name.
func nameOf(resource string, prefix bool) (name, bool) {
	switch {
	case resource == "" || strings.Contains(strings.TrimSuffix(resource, "*"), "*"):
		return "", false
	case prefix && strings.HasSuffix(resource, "*"):
		return "", false
	case prefix:
		return name(resource + "*"), true
	case resource != "*" && strings.HasSuffix(resource, "*"):
		return "", false // a literal name that ends in *: Kafka allows no such topic
	}
	return name(resource), true
}

// rights are what was granted to a user, by resource.
type rights struct {
	topics, groups, transactionalIDs map[name][]operation
	cluster                          []operation
}

func newRights() rights {
	return rights{topics: map[name][]operation{}, groups: map[name][]operation{}, transactionalIDs: map[name][]operation{}}
}

// bundles is what each list of a KafkaUser allows on a topic, from the smallest to the widest.
var bundles = []struct {
	list   string
	allows []operation
}{
	{"consume", []operation{read, describe, describeConfigs}},
	{"produce", []operation{write, read, describe, describeConfigs}},
	{"admin", []operation{create, remove, write, read, describe, describeConfigs}},
}

// implied are the operations that Kafka's authorizer takes as allowed with others (AclAuthorizer: READ, WRITE, DELETE and
// ALTER imply DESCRIBE).
var implied = map[operation][]operation{describe: {read, write, remove, "ALTER"}, describeConfigs: {"ALTER_CONFIGS"}}

// declare fills in the lists of the user by what was granted, and notes every difference.
func (r rights) declare(user *v1alpha1.KafkaUser, c *Converted) {
	for _, topic := range slices.Sorted(maps.Keys(r.topics)) {
		r.declareTopic(user, c, topic)
	}
	consumes := len(user.Spec.Consume)+len(user.Spec.Admin) > 0
	for _, group := range slices.Sorted(maps.Keys(r.groups)) {
		if consumes && namespaced(group, user.Namespace) {
			continue // free
		}
		user.Spec.ConsumerGroups = append(user.Spec.ConsumerGroups, string(group))
		if !slices.Contains(r.groups[group], every) {
			c.note("consumerGroups allows everything on group %s; it was %s", group, join(r.groups[group]))
		}
	}
	produces := len(user.Spec.Produce)+len(user.Spec.Admin) > 0
	for _, id := range slices.Sorted(maps.Keys(r.transactionalIDs)) {
		if !produces || !namespaced(id, user.Namespace) {
			c.note("transactional id %s is not carried over: a user that produces has %s and those that start with %s.", id, user.Namespace, user.Namespace)
		}
	}
	for _, o := range r.cluster {
		if o != idempotentWrite { // which comes with produce where the brokers need it
			c.note("%s on the cluster is not carried over: it is for administrators", o)
		}
	}
}

// declareTopic lists a topic under the smallest bundle that covers what was granted on it.
func (r rights) declareTopic(user *v1alpha1.KafkaUser, c *Converted, topic name) {
	granted := slices.Clone(r.topics[topic])
	if slices.Contains(granted, every) {
		granted = []operation{create, remove, write, read, describe, describeConfigs}
		c.note("ALL on topic %s is carried over without ALTER and ALTER_CONFIGS: a KafkaTopic declares partitions and configuration", topic)
	}
	mayAdmin := strings.HasPrefix(string(topic), user.Namespace+"-")
	var left []operation
	for _, o := range granted {
		switch {
		case !slices.Contains(bundles[len(bundles)-1].allows, o):
			left = append(left, o)
		case (o == create || o == remove) && !mayAdmin:
			left = append(left, o)
		}
	}
	if len(left) > 0 {
		why := "no list of a KafkaUser allows it"
		if slices.Contains(left, create) || slices.Contains(left, remove) {
			why = fmt.Sprintf("declare the topic as a KafkaTopic, or list it under admin once policy.adminTopicExemptions of the KafkaCluster has it, for it does not start with %s-", user.Namespace)
		}
		c.note("%s on topic %s is not carried over: %s", join(left), topic, why)
	}
	granted = slices.DeleteFunc(granted, func(o operation) bool { return slices.Contains(left, o) })
	if len(granted) == 0 {
		return
	}
	for _, bundle := range bundles {
		covers := !slices.ContainsFunc(granted, func(o operation) bool { return !slices.Contains(bundle.allows, o) })
		if !covers {
			continue
		}
		switch bundle.list {
		case "consume":
			user.Spec.Consume = append(user.Spec.Consume, string(topic))
		case "produce":
			user.Spec.Produce = append(user.Spec.Produce, string(topic))
			if slices.Contains(granted, read) { // it allows no more, but says what the user does, and brings the free groups
				user.Spec.Consume = append(user.Spec.Consume, string(topic))
			}
		case "admin":
			user.Spec.Admin = append(user.Spec.Admin, string(topic))
		}
		if more := beyond(bundle.allows, granted); len(more) > 0 {
			c.note("%s allows %s on topic %s beyond what was granted", bundle.list, join(more), topic)
		}
		return
	}
}

// beyond returns what is allowed and was neither granted nor implied by what was. That configurations can be read is no
// right worth a word.
func beyond(allowed, granted []operation) []operation {
	return slices.DeleteFunc(slices.Clone(allowed), func(o operation) bool {
		return o == describeConfigs || slices.Contains(granted, o) ||
			slices.ContainsFunc(implied[o], func(by operation) bool { return slices.Contains(granted, by) })
	})
}

// namespaced tells whether a name is among those that a namespace has for free.
func namespaced(n name, namespace string) bool {
	return string(n) == namespace || strings.HasPrefix(string(n), namespace+".")
}

func join(operations []operation) string {
	texts := make([]string, len(operations))
	for i, o := range operations {
		texts[i] = string(o)
	}
	slices.SortFunc(texts, cmp.Compare[string])
	return strings.Join(slices.Compact(texts), ", ")
}
