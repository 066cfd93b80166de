// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"slices"
	"strings"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Preview is what a changed declaration would change.
type Preview struct {
	// Create and Delete are bindings, sorted.
	Create, Delete []Binding
	// Before and After are the quotas.
	Before, After Quotas
}

// Empty tells whether nothing would change.
func (p Preview) Empty() bool {
	return len(p.Create)+len(p.Delete) == 0 && p.Before.String() == p.After.String()
}

// Held is what a principal has: by a declaration, or in a Kafka.
type Held struct {
	Bindings Bindings
	Quotas   Quotas
}

// DeclaredBy returns what the principal of a KafkaUser of the cluster has by its declaration, if the principal is the
// KafkaUser's; nothing for nil.
func DeclaredBy(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, facts Facts) Held {
	if user == nil {
		return Held{}
	}
	held := Held{Quotas: QuotasOf(user, cluster)}
	if !user.Spec.Suspend {
		held.Bindings = Grants(user, cluster, facts)
	}
	return held
}

// PreviewOf compares what a principal has with what it is to have.
func PreviewOf(before, after Held) Preview {
	had, has := before.Bindings, after.Bindings
	p := Preview{Before: before.Quotas, After: after.Quotas}
	for b := range has {
		if _, ok := had[b]; !ok {
			p.Create = append(p.Create, b)
		}
	}
	for b := range had {
		if _, ok := has[b]; !ok {
			p.Delete = append(p.Delete, b)
		}
	}
	slices.SortFunc(p.Create, compare)
	slices.SortFunc(p.Delete, compare)
	return p
}

// Grandfathered returns which of the topics no namespace could declare under admin, sorted: those that start with none of
// "<namespace>-", that no exemption covers, and that are not Kafka's own (which start with "__").
func Grandfathered(topics, namespaces, exemptions []string) []string {
	var out []string
	for _, topic := range topics {
		own := slices.ContainsFunc(namespaces, func(ns string) bool { return strings.HasPrefix(topic, ns+"-") })
		exempt := slices.ContainsFunc(exemptions, func(e string) bool { return parsePattern(e).covers(literal(topic)) })
		if topic != "" && !own && !exempt && !strings.HasPrefix(topic, "__") {
			out = append(out, topic)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
