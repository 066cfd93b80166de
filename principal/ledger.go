// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/subject"
)

// Kind says what the subject of an Entry is.
type Kind string

const (
	// KindExact is a certificate subject (RFC 2253, as Java prints it).
	KindExact Kind = "exact"
	// KindSPIFFE is a SPIFFE ID.
	KindSPIFFE Kind = "spiffe"
	// KindPattern is a regular expression that whole certificate subjects match.
	KindPattern Kind = "pattern"
)

// Entry is one subject in force.
type Entry struct {
	// Kind of Subject.
	Kind Kind
	// Subject, SPIFFE ID or pattern.
	Subject string
	// Principal that it is, with its type; for a pattern a template with $1 to $9 and $$.
	Principal string
}

// Verdict is what the ledger decides of one PrincipalMapping.
type Verdict struct {
	// Reason is one of Ready, Reserved, Conflict, PrincipalConflict, Invalid; only Ready mappings are in force.
	Reason string
	// Message names the holder and the subject in dispute.
	Message string
	// Entries in force.
	Entries []Entry
	// Pending are external subjects that wait for an administrator's approval.
	Pending []string
}

// Record returns what the ledger should say of a KafkaUser: its own subject, its SPIFFE ID in Signet's trust domain,
// the mesh identity of its workload, and the external subjects that it claims.
func Record(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, issuer *v1alpha1.MeshIssuer, namespaceUID types.UID) (v1alpha1.PrincipalMappingSpec, error) {
	own, err := UserSPIFFEID(issuer.Spec.TrustDomain, user.Namespace, user.Name)
	if err != nil {
		return v1alpha1.PrincipalMappingSpec{}, err
	}
	subjects := []v1alpha1.MappedSubject{
		{Exact: SubjectOf(cluster, user.Namespace, user.Name).String()},
		{SPIFFE: own.String()},
	}
	if w := user.Spec.Workload; w != nil {
		id, err := WorkloadSPIFFEID(cluster.Spec.MeshTrustDomain, user.Namespace, w.ServiceAccountName)
		if err != nil {
			return v1alpha1.PrincipalMappingSpec{}, err
		}
		subjects = append(subjects, v1alpha1.MappedSubject{SPIFFE: id.String()})
	}
	name, err := ForUser(cluster, user)
	if err != nil {
		return v1alpha1.PrincipalMappingSpec{}, err
	}
	for _, external := range user.Spec.ExternalSubjects {
		if err := subject.Check(external); err != nil {
			return v1alpha1.PrincipalMappingSpec{}, fmt.Errorf("spec.externalSubjects: %w", err)
		}
		subjects = append(subjects, v1alpha1.MappedSubject{External: external})
	}
	return v1alpha1.PrincipalMappingSpec{
		Cluster:   cluster.Name,
		Principal: name,
		Owner:     &v1alpha1.MappingOwner{Namespace: user.Namespace, Name: user.Name, NamespaceUID: namespaceUID},
		Subjects:  subjects,
	}, nil
}

// Holds tells whether an existing mapping may be written for the KafkaUser that record describes. It may not where an
// administrator wrote it, where it is another cluster's, or where the KafkaUser's namespace was deleted and made anew:
// the principal then is reserved, so that nobody inherits another's rights and history. It returns the reason.
func Holds(existing *v1alpha1.PrincipalMapping, record v1alpha1.PrincipalMappingSpec) (reason, message string, ok bool) {
	held := existing.Spec
	name := existing.Namespace + "/" + existing.Name
	switch {
	case held.Owner == nil:
		return v1alpha1.ReasonPrincipalConflict, fmt.Sprintf("PrincipalMapping %s was written by an administrator for %s; delete or rename it to let the KafkaUser have it", name, held.Principal), false
	case held.Cluster != record.Cluster:
		return v1alpha1.ReasonConflict, fmt.Sprintf("PrincipalMapping %s belongs to KafkaCluster %s; delete it to let the KafkaUser have it", name, held.Cluster), false
	case held.Owner.Namespace != record.Owner.Namespace || held.Owner.Name != record.Owner.Name:
		return v1alpha1.ReasonConflict, fmt.Sprintf("PrincipalMapping %s belongs to KafkaUser %s/%s", name, held.Owner.Namespace, held.Owner.Name), false
	case held.Principal != record.Principal:
		return v1alpha1.ReasonPrincipalConflict, fmt.Sprintf("PrincipalMapping %s has the KafkaUser as %s, and it would be %s now: a principal does not change; make another KafkaUser, or let an administrator delete the PrincipalMapping and with it all rights", name, held.Principal, record.Principal), false
	case held.Owner.NamespaceUID != record.Owner.NamespaceUID:
		return v1alpha1.ReasonReserved, fmt.Sprintf("%s belonged to a KafkaUser of an earlier namespace %s; an administrator releases it by deleting PrincipalMapping %s", held.Principal, held.Owner.Namespace, name), false
	}
	return "", "", true
}

// Judge decides every mapping of one cluster at once. A mapping is in force as a whole or not at all: the first claim
// (by creation, then by name) to a principal or to any subject wins, a later one is refused. alive tells whether an
// owner still exists; a mapping whose owner is gone stays in the ledger as Reserved, with no subject in force.
//
// Exact subjects take time linear in their number. Each pattern is compared with every other one, and with every
// principal and foreign subject, exactly (package regular); there are at most mapping.MaxPatterns of them.
func Judge(cluster *v1alpha1.KafkaCluster, mappings []v1alpha1.PrincipalMapping, alive func(v1alpha1.MappingOwner) bool) map[string]Verdict {
	ordered := slices.Clone(mappings)
	slices.SortFunc(ordered, func(a, b v1alpha1.PrincipalMapping) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return cmp.Compare(a.Name, b.Name)
	})
	l := newLedger(cluster)
	verdicts := make(map[string]Verdict, len(ordered))
	for i := range ordered {
		m := &ordered[i]
		c, v := l.read(m)
		if v.Reason == v1alpha1.ReasonReady {
			if dispute := l.disputePrincipal(c.principal); dispute != "" {
				v = Verdict{Reason: v1alpha1.ReasonPrincipalConflict, Message: dispute}
			} else if dispute := l.disputeSubjects(c); dispute != "" {
				v = Verdict{Reason: v1alpha1.ReasonConflict, Message: dispute}
				l.principals[c.principal] = c.holder // that much is not in dispute, and nobody else's
			}
		}
		if v.Reason == v1alpha1.ReasonReady {
			l.enter(c)
			if m.Spec.Owner != nil && !alive(*m.Spec.Owner) {
				v = Verdict{Reason: v1alpha1.ReasonReserved, Message: reservedMessage(m)}
			}
		}
		verdicts[m.Name] = v
	}
	return verdicts
}

// inForce is the ledger of what the mappings hold by now, without the one of this name. A claim that is judged against
// it comes after all of them, however old its mapping is.
func inForce(cluster *v1alpha1.KafkaCluster, mappings []v1alpha1.PrincipalMapping, except string) *ledger {
	verdicts := Judge(cluster, mappings, func(v1alpha1.MappingOwner) bool { return true })
	l := newLedger(cluster)
	for i := range mappings {
		m := &mappings[i]
		if m.Name == except {
			continue
		}
		switch c, _ := l.read(m); verdicts[m.Name].Reason {
		case v1alpha1.ReasonReady:
			l.enter(c)
		case v1alpha1.ReasonConflict:
			l.principals[c.principal] = c.holder
		}
	}
	return l
}

// Refused returns why a mapping that is about to be written cannot come into force, or "". mappings are the ledger
// before; what others hold in it they keep, even against an older mapping that claims it now.
func Refused(cluster *v1alpha1.KafkaCluster, mappings []v1alpha1.PrincipalMapping, candidate *v1alpha1.PrincipalMapping) string {
	l := inForce(cluster, mappings, candidate.Name)
	c, v := l.read(candidate)
	if v.Reason != v1alpha1.ReasonReady {
		return v.Message
	}
	return cmp.Or(l.disputePrincipal(c.principal), l.disputeSubjects(c))
}

// Claimed returns what a KafkaUser claims that others hold already, in words that name the holder: what its record would
// be refused for.
func Claimed(cluster *v1alpha1.KafkaCluster, mappings []v1alpha1.PrincipalMapping, user *v1alpha1.KafkaUser) []string {
	l := inForce(cluster, mappings, v1alpha1.MappingName(user.Namespace, user.Name))
	var disputes []string
	add := func(e Entry) {
		if dispute := l.disputeEntry(e); dispute != "" {
			disputes = append(disputes, dispute)
		}
	}
	if name, err := ForUser(cluster, user); err != nil {
		disputes = append(disputes, err.Error())
	} else if slices.Contains(cluster.Spec.SuperUsers, name) {
		disputes = append(disputes, fmt.Sprintf("principal %s is one of the KafkaCluster's superUsers, which no KafkaUser can be: give the KafkaUser another name", name))
	} else if dispute := l.disputePrincipal(name); dispute != "" {
		disputes = append(disputes, dispute)
	}
	if w := user.Spec.Workload; w != nil {
		if id, err := WorkloadSPIFFEID(cluster.Spec.MeshTrustDomain, user.Namespace, w.ServiceAccountName); err == nil {
			add(Entry{Kind: KindSPIFFE, Subject: id.String()})
		}
	}
	self := &v1alpha1.PrincipalMapping{Spec: v1alpha1.PrincipalMappingSpec{Owner: &v1alpha1.MappingOwner{Namespace: user.Namespace, Name: user.Name}}}
	for _, external := range user.Spec.ExternalSubjects {
		if err := l.checkUsersOwn(external, self); err != nil {
			disputes = append(disputes, err.Error())
			continue
		}
		add(Entry{Kind: KindExact, Subject: external})
	}
	return disputes
}
