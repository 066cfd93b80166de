// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Entry is one subject in force.
type Entry struct {
	// Subject is a certificate subject (RFC 2253) or, where SPIFFE is set, a SPIFFE ID.
	Subject string
	// SPIFFE tells which of the two it is.
	SPIFFE bool
	// Principal that it is, with its type.
	Principal string
}

// Verdict is what the ledger decides of one PrincipalMapping.
type Verdict struct {
	// Reason is one of Ready, Reserved, Conflict, Invalid; only Ready and Reserved mappings are in force.
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
	for _, external := range user.Spec.ExternalSubjects {
		if err := CheckSubject(external); err != nil {
			return v1alpha1.PrincipalMappingSpec{}, fmt.Errorf("spec.externalSubjects: %w", err)
		}
		subjects = append(subjects, v1alpha1.MappedSubject{External: external})
	}
	return v1alpha1.PrincipalMappingSpec{
		Cluster:   cluster.Name,
		Principal: ForUser(user.Namespace, user.Name),
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
		return v1alpha1.ReasonConflict, fmt.Sprintf("PrincipalMapping %s was written by an administrator for %s; delete or rename it to let the KafkaUser have it", name, held.Principal), false
	case held.Cluster != record.Cluster:
		return v1alpha1.ReasonConflict, fmt.Sprintf("PrincipalMapping %s belongs to KafkaCluster %s; delete it to let the KafkaUser have it", name, held.Cluster), false
	case held.Owner.Namespace != record.Owner.Namespace || held.Owner.Name != record.Owner.Name:
		return v1alpha1.ReasonConflict, fmt.Sprintf("PrincipalMapping %s belongs to KafkaUser %s/%s", name, held.Owner.Namespace, held.Owner.Name), false
	case held.Owner.NamespaceUID != record.Owner.NamespaceUID:
		return v1alpha1.ReasonReserved, fmt.Sprintf("%s belonged to a KafkaUser of an earlier namespace %s; an administrator releases it by deleting PrincipalMapping %s", held.Principal, held.Owner.Namespace, name), false
	}
	return "", "", true
}

// Judge decides every mapping of one cluster at once. A mapping is in force as a whole or not at all: the first claim
// (by creation, then by name) to a principal or to any subject wins, a later one is refused. alive tells whether an
// owner still exists; a mapping whose owner is gone stays in the ledger as Reserved, with no subject in force.
// The time taken is linear in the number of subjects.
func Judge(cluster *v1alpha1.KafkaCluster, mappings []v1alpha1.PrincipalMapping, alive func(v1alpha1.MappingOwner) bool) map[string]Verdict {
	ordered := slices.Clone(mappings)
	slices.SortFunc(ordered, func(a, b v1alpha1.PrincipalMapping) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return cmp.Compare(a.Name, b.Name)
	})
	type key struct {
		subject string
		spiffe  bool
	}
	users := userSubjectPattern(organization(cluster))
	controller := ControllerSubject(cluster).String()
	principals := map[string]string{ForController(cluster.Namespace, cluster.Name): "Signet's own connection"}
	subjects := map[key]string{{controller, false}: "Signet's own connection"}
	verdicts := make(map[string]Verdict, len(ordered))
	for _, m := range ordered {
		if holder, taken := principals[m.Spec.Principal]; taken {
			verdicts[m.Name] = Verdict{Reason: v1alpha1.ReasonConflict, Message: fmt.Sprintf("principal %s is held by %s", m.Spec.Principal, holder)}
			continue
		}
		v := judgeOne(m, users)
		if v.Reason == v1alpha1.ReasonReady {
			for _, e := range v.Entries {
				if holder, taken := subjects[key{e.Subject, e.SPIFFE}]; taken {
					v = Verdict{Reason: v1alpha1.ReasonConflict, Message: fmt.Sprintf("subject %s is held by %s", e.Subject, holder)}
					break
				}
			}
		}
		if v.Reason == v1alpha1.ReasonReady {
			holder := "PrincipalMapping " + m.Namespace + "/" + m.Name
			principals[m.Spec.Principal] = holder
			for _, e := range v.Entries {
				subjects[key{e.Subject, e.SPIFFE}] = holder
			}
			if m.Spec.Owner != nil && !alive(*m.Spec.Owner) {
				v = Verdict{Reason: v1alpha1.ReasonReserved, Message: fmt.Sprintf("KafkaUser %s/%s is gone; %s stays reserved until this PrincipalMapping is deleted", m.Spec.Owner.Namespace, m.Spec.Owner.Name, m.Spec.Principal)}
			}
		}
		verdicts[m.Name] = v
	}
	return verdicts
}

// judgeOne decides what one mapping claims, with no regard to others.
func judgeOne(m v1alpha1.PrincipalMapping, users *regexp.Regexp) Verdict {
	v := Verdict{Reason: v1alpha1.ReasonReady, Message: "in force"}
	invalid := func(format string, args ...any) Verdict {
		return Verdict{Reason: v1alpha1.ReasonInvalid, Message: fmt.Sprintf(format, args...)}
	}
	seen := map[Entry]bool{}
	for _, s := range m.Spec.Subjects {
		e := Entry{Subject: s.Exact, Principal: m.Spec.Principal}
		switch {
		case s.SPIFFE != "":
			e.Subject, e.SPIFFE = s.SPIFFE, true
		case s.External != "":
			e.Subject = s.External
			if !slices.Contains(m.Spec.ApprovedSubjects, s.External) {
				v.Pending = append(v.Pending, s.External)
				continue
			}
		}
		if !e.SPIFFE {
			if err := CheckSubject(e.Subject); err != nil {
				return invalid("%v", err)
			}
			// The static rule decides these subjects at the broker, whatever the ledger says.
			if match := users.FindStringSubmatch(e.Subject); match != nil && ForUser(match[2], match[1]) != m.Spec.Principal {
				return invalid("subject %s is that of KafkaUser %s/%s and always %s", e.Subject, match[2], match[1], ForUser(match[2], match[1]))
			}
		}
		if !seen[e] {
			seen[e] = true
			v.Entries = append(v.Entries, e)
		}
	}
	return v
}
