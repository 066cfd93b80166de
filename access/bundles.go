// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// Binding is one ACL, as Kafka's AclBinding: who may (or may not) do what, on which resource, from where.
type Binding struct {
	// Principal with its type, such as User:shop.orders.
	Principal string
	// Host that the principal connects from; AnyHost for every one.
	Host string
	// ResourceType, ResourceName and PatternType are the resource: LITERAL names one, PREFIXED all that start so.
	ResourceType kmsg.ACLResourceType
	ResourceName string
	PatternType  kmsg.ACLResourcePatternType
	// Operation that is allowed or denied.
	Operation kmsg.ACLOperation
	// Permission is ALLOW or DENY. Signet writes ALLOW only.
	Permission kmsg.ACLPermissionType
}

// AnyHost is the host of a binding that counts wherever the principal connects from.
const AnyHost = "*"

// wildcard is the resource name that Kafka's authorizer takes for every resource of the type, if the pattern is LITERAL.
const wildcard = "*"

// kafkaCluster is the only resource name of type CLUSTER (Kafka's Resource.CLUSTER_NAME).
const kafkaCluster = "kafka-cluster"

// String returns the binding as a sentence: "User:shop.orders ALLOW READ on TOPIC LITERAL orders from *".
func (b Binding) String() string {
	return fmt.Sprintf("%s %s %s on %s %s %s from %s",
		b.Principal, b.Permission, b.Operation, b.ResourceType, b.PatternType, b.ResourceName, b.Host)
}

// Bindings is a set of bindings.
type Bindings map[Binding]struct{}

// Facts are what Grants has to know of the brokers.
type Facts struct {
	// IdempotentWrite tells that a broker is older than 3.0, where an idempotent producer needs IDEMPOTENT_WRITE on the
	// cluster; since 3.0 WRITE on a topic is enough (KIP-679).
	IdempotentWrite bool
}

// verb is one of the lists of a KafkaUser.
type verb string

const (
	consume        verb = "consume"
	produce        verb = "produce"
	admin          verb = "admin"
	consumerGroups verb = "consumerGroups"
)

// operations is the table of bundles: what each verb allows on each resource that its list names.
//
//	consume         TOPIC   READ, DESCRIBE, DESCRIBE_CONFIGS
//	produce         TOPIC   WRITE and all of consume
//	admin           TOPIC   CREATE, DELETE and all of produce
//	consumerGroups  GROUP   ALL
//
// What comes beside the lists, once for a user:
//
//	consume or admin   GROUP             ALL              <namespace> and <namespace>.*, where the policy has free groups
//	produce or admin   TRANSACTIONAL_ID  WRITE, DESCRIBE  <namespace> and <namespace>.*
//	produce or admin   CLUSTER           IDEMPOTENT_WRITE, only for brokers before 3.0
//
// A user that only produces may read its topics, as producers that check what they wrote do, but gets no group.
func operations(v verb) []kmsg.ACLOperation {
	switch v {
	case consume:
		return []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs}
	case produce:
		return append([]kmsg.ACLOperation{kmsg.ACLOperationWrite}, operations(consume)...)
	case admin:
		return append([]kmsg.ACLOperation{kmsg.ACLOperationCreate, kmsg.ACLOperationDelete}, operations(produce)...)
	case consumerGroups:
		return []kmsg.ACLOperation{kmsg.ACLOperationAll}
	}
	return nil
}

// Grants returns the bindings that a KafkaUser's declaration amounts to under the cluster's policy. What the policy
// refuses (see CheckDeclaration) is left out; what else the declaration says is not affected by it.
func Grants(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, facts Facts) Bindings {
	name, err := principal.ForUser(cluster, user)
	if err != nil {
		return nil // nobody's principal can be granted anything; the error is the KafkaUser's condition
	}
	g := grants{principal: name, bindings: make(Bindings, 4*(len(user.Spec.Consume)+len(user.Spec.Produce)+len(user.Spec.Admin)+1))}
	has := map[verb]bool{}
	for _, list := range lists(user) {
		for _, entry := range list.entries {
			if refusal(list.verb, entry, user.Namespace, cluster) == "" {
				has[list.verb] = true
				g.allow(list.resource, parsePattern(entry), operations(list.verb)...)
			}
		}
	}
	namespaced := []pattern{literal(user.Namespace), prefixed(user.Namespace + ".")}
	if (has[consume] || has[admin]) && cluster.Spec.Policy.FreeGroupsEnabled() {
		for _, p := range namespaced {
			g.allow(kmsg.ACLResourceTypeGroup, p, operations(consumerGroups)...)
		}
	}
	if has[produce] || has[admin] {
		for _, p := range namespaced {
			g.allow(kmsg.ACLResourceTypeTransactionalId, p, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)
		}
		if facts.IdempotentWrite {
			g.allow(kmsg.ACLResourceTypeCluster, literal(kafkaCluster), kmsg.ACLOperationIdempotentWrite)
		}
	}
	return g.bindings
}

// list is one of the lists of a KafkaUser.
type list struct {
	verb     verb
	resource kmsg.ACLResourceType
	entries  []string
}

func lists(user *v1alpha1.KafkaUser) []list {
	return []list{
		{consume, kmsg.ACLResourceTypeTopic, user.Spec.Consume},
		{produce, kmsg.ACLResourceTypeTopic, user.Spec.Produce},
		{admin, kmsg.ACLResourceTypeTopic, user.Spec.Admin},
		{consumerGroups, kmsg.ACLResourceTypeGroup, user.Spec.ConsumerGroups},
	}
}

// grants collects the bindings of one principal.
type grants struct {
	principal string
	bindings  Bindings
}

func (g grants) allow(resource kmsg.ACLResourceType, p pattern, operations ...kmsg.ACLOperation) {
	for _, operation := range operations {
		g.bindings[Binding{
			Principal:    g.principal,
			Host:         AnyHost,
			ResourceType: resource,
			ResourceName: p.name,
			PatternType:  p.kind,
			Operation:    operation,
			Permission:   kmsg.ACLPermissionTypeAllow,
		}] = struct{}{}
	}
}

// pattern is a resource name as a declaration writes it.
type pattern struct {
	name string
	kind kmsg.ACLResourcePatternType
}

func literal(name string) pattern  { return pattern{name, kmsg.ACLResourcePatternTypeLiteral} }
func prefixed(name string) pattern { return pattern{name, kmsg.ACLResourcePatternTypePrefixed} }

// parsePattern reads an entry of a declaration: a trailing * makes it a prefix, a lone * is every resource.
func parsePattern(entry string) pattern {
	if name, ok := strings.CutSuffix(entry, wildcard); ok && name != "" {
		return prefixed(name)
	}
	return literal(entry)
}

// covers tells whether every resource that other matches is matched by p too.
func (p pattern) covers(other pattern) bool {
	switch {
	case p == literal(wildcard):
		return true
	case other == literal(wildcard):
		return false
	case p.kind == kmsg.ACLResourcePatternTypePrefixed:
		return strings.HasPrefix(other.name, p.name)
	}
	return p == other
}
