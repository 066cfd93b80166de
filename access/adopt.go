// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// unadopted tells whether nothing was ever done to Kafka for the KafkaUser: what its principal has there, if anything, others
// gave it.
func unadopted(user *v1alpha1.KafkaUser) bool {
	return !slices.Contains(user.Finalizers, Finalizer) && user.Status.ACLs == nil && user.DeletionTimestamp == nil
}

// adoptionConfirmed tells whether somebody said that the principal's access is to become what is declared, whatever it was.
func adoptionConfirmed(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) bool {
	return user.Annotations[v1alpha1.AnnotationAdopt] == v1alpha1.AdoptReplace || cluster.Annotations[v1alpha1.AnnotationAdopt] == v1alpha1.AdoptReplace
}

// adoptionListed bounds how many ACLs a report of an adoption names.
const adoptionListed = 20

// adoption returns what a principal that has held would lose by a decision, as a sentence; "" where it would lose nothing. To
// lose a DENY is to gain access.
func adoption(principal string, held Held, d Decision) string {
	p := PreviewOf(held, Held{Bindings: d.Grants, Quotas: d.Quotas})
	var losses []string
	for _, b := range p.Delete {
		if len(losses) == adoptionListed {
			losses = append(losses, fmt.Sprintf("and %d more", len(p.Delete)-adoptionListed))
			break
		}
		losses = append(losses, b.short())
	}
	for _, key := range slices.Sorted(maps.Keys(held.Quotas)) {
		if value, ok := d.Quotas[key]; !ok || value != held.Quotas[key] {
			losses = append(losses, "the quota "+Quotas{key: held.Quotas[key]}.String())
		}
	}
	if len(losses) == 0 {
		return ""
	}
	return fmt.Sprintf("%s has in Kafka what this KafkaUser does not declare: %s. Nothing is granted or withdrawn until it is declared, is removed from Kafka, or the KafkaUser (or the KafkaCluster, for all its KafkaUsers) has the annotation %s=%s, by which it is withdrawn; kubectl signet diff --dir shows all of it",
		principal, strings.Join(losses, "; "), v1alpha1.AnnotationAdopt, v1alpha1.AdoptReplace)
}

// short says what the binding is without its principal: "READ on topic shop-*", "DENY WRITE on topic orders from 10.0.0.1".
func (b Binding) short() string {
	text := fmt.Sprintf("%s on %s %q", b.Operation, strings.ToLower(b.ResourceType.String()), b.ResourceName)
	if b.PatternType == kmsg.ACLResourcePatternTypePrefixed {
		text = fmt.Sprintf("%s on %s %q", b.Operation, strings.ToLower(b.ResourceType.String()), b.ResourceName+wildcard)
	}
	if b.Permission == kmsg.ACLPermissionTypeDeny {
		text = "DENY " + text
	}
	if b.Host != AnyHost {
		text += fmt.Sprintf(" from %q", b.Host)
	}
	return text
}

// awaitAdoption has users wait that are about to be granted something for the first time, and whose principal would lose
// what others gave it. What it decides comes before anything is written. What Kafka describes although it was taken away a
// moment ago, from a KafkaUser of the same name, counts for nothing.
func (r *UserController) awaitAdoption(ctx context.Context, admin *Admin, cluster *v1alpha1.KafkaCluster, subjects []*subject) error {
	var fresh []*subject
	var principals []string
	for _, s := range subjects {
		if s.decision.Managed && s.decision.Reason == v1alpha1.ReasonReady && unadopted(s.user) && !adoptionConfirmed(s.user, cluster) {
			fresh = append(fresh, s)
			principals = append(principals, s.principal)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	bindings, err := admin.Describe(ctx, principals...)
	if err != nil {
		return err
	}
	quotas, err := admin.DescribeQuotas(ctx, principals...)
	if err != nil {
		return err
	}
	held := make(map[string]Bindings, len(fresh))
	for _, principal := range principals {
		held[principal] = Bindings{}
	}
	for _, b := range bindings {
		if of := held[b.Principal]; of != nil {
			of[b] = struct{}{}
		}
	}
	key := client.ObjectKeyFromObject(cluster)
	for b := range r.backlog.uncertain(key, bindings, r.Now()) {
		delete(held[b.Principal], b)
	}
	for principal := range r.backlog.uncertainQuotas(key, quotas, r.Now()) {
		delete(quotas, principal)
	}
	for _, s := range fresh {
		if report := adoption(s.principal, Held{Bindings: held[s.principal], Quotas: quotas[s.principal]}, s.decision); report != "" {
			s.decision = Decision{Reason: v1alpha1.ReasonAdoptionPending, Message: report}
		}
	}
	return nil
}

// announceAdoption tells of a user that begins to wait for its adoption.
func (r *UserController) announceAdoption(s *subject) {
	before := meta.FindStatusCondition(s.user.Status.Conditions, v1alpha1.ConditionAccessSynced)
	if s.decision.Reason == v1alpha1.ReasonAdoptionPending && (before == nil || before.Reason != v1alpha1.ReasonAdoptionPending) {
		r.Events.Eventf(s.user, nil, corev1.EventTypeWarning, v1alpha1.ReasonAdoptionPending, "Synchronize", "%s", s.decision.Message)
	}
}
