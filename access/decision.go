// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
	"github.com/signet-kafka/signet/principal"
)

// Finalizer keeps a KafkaUser until its ACLs are gone. It is set before the first ACL is created, so that its absence
// proves that Signet created none for this object.
const Finalizer = "kafka.signet.dev/access"

// Decision is what Kafka should hold for one KafkaUser, and why.
type Decision struct {
	// Managed tells whether Signet owns the principal's ACLs by now. Where it does not, they are not looked at.
	Managed bool
	// Grants are the bindings to have.
	Grants Bindings
	// Hold forbids to create anything: of Grants only those stay that are in force already.
	Hold bool
	// Quotas to have, where the principal is managed.
	Quotas Quotas
	// Undecided tells that the ledger will say in a moment whose the principal is; Foreign, that it is another's.
	Undecided, Foreign bool
	// Reason and Message of the condition AccessSynced, once Kafka holds it; Ready if the declaration is in force.
	Reason, Message string
}

// Decide returns what Kafka should hold for a KafkaUser whose namespace the cluster admits or does not. Quotas give nobody
// anything: they are in force for as long as the principal is the KafkaUser's, whatever becomes of its grants.
func Decide(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, admitted bool, facts Facts) Decision {
	d := decideGrants(user, cluster, admitted, facts)
	if d.Managed && user.DeletionTimestamp == nil {
		d.Quotas = QuotasOf(user, cluster)
	}
	return d
}

// A declaration is granted as a whole once its principal is recorded for it, or not at all. While a part of it is
// refused, nothing is created, but what it (or the policy) no longer permits is withdrawn nevertheless. While it is merely
// not decided whose the principal is, nothing is touched, so that a changed declaration takes over without a gap. A
// suspended user has nothing, at once.
func decideGrants(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, admitted bool, facts Facts) Decision {
	managed := slices.Contains(user.Finalizers, Finalizer)
	if held := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionMappingRecorded); held != nil && held.Reason == v1alpha1.ReasonPrincipalConflict {
		managed = false // the principal's ACLs are another's
	}
	if user.DeletionTimestamp != nil {
		return Decision{Managed: managed, Reason: v1alpha1.ReasonPending, Message: "being deleted"}
	}
	if !admitted {
		return Decision{Managed: managed, Reason: v1alpha1.ReasonNamespaceNotAllowed, Message: fmt.Sprintf(
			"the namespaceSelector of KafkaCluster %s/%s does not select the labels of namespace %s", cluster.Namespace, cluster.Name, user.Namespace)}
	}
	recorded, decided := condition.Of(user.Status.Conditions, v1alpha1.ConditionMappingRecorded, user.Generation)
	decided = decided && (recorded.Status == metav1.ConditionTrue || recorded.Reason != v1alpha1.ReasonPending)
	refused := CheckDeclaration(user, cluster)
	if unjudged(user, cluster) {
		refused = append(refused, fmt.Errorf("it is older than KafkaCluster %s/%s, whose policy.grants is RBAC, so nobody was asked who declared it: delete it and apply it again", cluster.Namespace, cluster.Name))
	}
	switch {
	case decided && recorded.Reason == v1alpha1.ReasonPrincipalConflict:
		return othersPrincipal(recorded.Message)
	case user.Spec.Suspend:
		// At once, whether or not the ledger has read this declaration: what the principal has was granted to this object,
		// or to whoever had it before.
		ours := decided && (recorded.Status == metav1.ConditionTrue || recorded.Reason == v1alpha1.ReasonReserved)
		return Decision{Managed: managed || ours, Reason: v1alpha1.ReasonSuspended, Message: "spec.suspend is true: no ACL is kept"}
	case decided && recorded.Reason == v1alpha1.ReasonReserved:
		// Whatever the principal holds was granted to somebody who is gone.
		return Decision{Managed: true, Reason: v1alpha1.ReasonPending, Message: "waits for the principal's release: " + recorded.Message}
	case len(refused) > 0:
		return Decision{Managed: managed, Grants: Grants(user, cluster, facts), Hold: true,
			Reason: v1alpha1.ReasonInvalid, Message: "nothing more is granted until the declaration is right: " + errors.Join(refused...).Error()}
	case !decided:
		return Decision{Undecided: true, Reason: v1alpha1.ReasonPending, Message: "waits until the principal is recorded"}
	case recorded.Status != metav1.ConditionTrue:
		return Decision{Managed: managed, Grants: Grants(user, cluster, facts), Hold: true,
			Reason: v1alpha1.ReasonPending, Message: fmt.Sprintf("waits until the principal is recorded: %s: %s", recorded.Reason, recorded.Message)}
	}
	grants := Grants(user, cluster, facts)
	return Decision{Managed: true, Grants: grants, Reason: v1alpha1.ReasonReady, Message: fmt.Sprintf("%d ACLs in force", len(grants))}
}

// unjudged tells whether the webhook could not ask for its author's rights when a KafkaUser was created, because there was no
// KafkaCluster that says that they are needed.
func unjudged(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) bool {
	return cluster.Spec.Policy.Grants == v1alpha1.GrantsRBAC && user.CreationTimestamp.Before(&cluster.CreationTimestamp)
}

// othersPrincipal decides of a user whose principal, and with it its ACLs, is another's.
func othersPrincipal(why string) Decision {
	return Decision{Foreign: true, Reason: v1alpha1.ReasonPending, Message: "waits for the principal, which is another's: " + why}
}

// grantsWithin returns the bindings to have where these exist.
func (d Decision) grantsWithin(existing []Binding) Bindings {
	if !d.Hold {
		return d.Grants
	}
	out := Bindings{}
	for _, b := range existing {
		if _, ok := d.Grants[b]; ok {
			out[b] = struct{}{}
		}
	}
	return out
}

// inForce tells whether the user's status says that the decision was carried out already.
func (d Decision) inForce(user *v1alpha1.KafkaUser) bool {
	synced := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessSynced)
	return (d.Reason == v1alpha1.ReasonReady || d.Reason == v1alpha1.ReasonSuspended) &&
		synced != nil && synced.Reason == d.Reason && synced.ObservedGeneration == user.Generation &&
		user.Status.ACLs != nil && int(*user.Status.ACLs) == len(d.Grants)
}

// Holders are the names of the PrincipalMappings that have a principal, by principal. It is one, but for the moment in
// which the ledger gives it to another.
type Holders map[string][]string

// HoldersOf returns who has which principal in the ledger of a cluster: the mappings in force, and those that reserve
// theirs. mappings are those of the cluster's namespace.
func HoldersOf(mappings []v1alpha1.PrincipalMapping, cluster *v1alpha1.KafkaCluster) Holders {
	holders := Holders{}
	for i := range mappings {
		m := &mappings[i]
		verdict := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
		if m.Spec.Cluster == cluster.Name && verdict != nil && (verdict.Reason == v1alpha1.ReasonReady || verdict.Reason == v1alpha1.ReasonReserved) {
			holders[m.Spec.Principal] = append(holders[m.Spec.Principal], m.Name)
		}
	}
	return holders
}

// Other returns a mapping that has the principal, which the mapping with this name has not; "" where that one has it,
// or nobody.
func (h Holders) Other(principal, name string) string {
	if held := h[principal]; len(held) > 0 && !slices.Contains(held, name) {
		return held[0]
	}
	return ""
}

// Abandoned returns the principals of the cluster, among the mappings of its namespace, that Signet recorded for a
// KafkaUser that does not exist any more. holders are those of the mappings. What they still hold, such as after a finalizer was removed by hand, is
// Signet's to withdraw, unless the principal is another's, or was never the KafkaUser's.
func Abandoned(mappings []v1alpha1.PrincipalMapping, holders Holders, cluster *v1alpha1.KafkaCluster, exists func(principal string) bool) []string {
	var principals []string
	for i := range mappings {
		m, spec := &mappings[i], &mappings[i].Spec
		if spec.Cluster != cluster.Name || spec.Owner == nil || exists(spec.Principal) || !principal.Recorded(cluster, spec) {
			continue
		}
		verdict := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
		if verdict != nil && verdict.Reason == v1alpha1.ReasonPrincipalConflict || holders.Other(spec.Principal, m.Name) != "" {
			continue
		}
		principals = append(principals, spec.Principal)
	}
	slices.Sort(principals)
	return slices.Compact(principals)
}
