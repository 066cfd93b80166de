// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// UserRules judge what the CRD's own validation cannot: they are the rules by which the declaration is carried out
// later, so that kubectl apply fails where a condition would complain.
type UserRules struct {
	// Declaration returns what the KafkaCluster's policy refuses of a KafkaUser; the cluster is nil if it is unknown.
	Declaration func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) []error
	// Subject tells whether a broker could ever see this subject (RFC 2253, as Java prints it).
	Subject func(string) error
	// Claimed returns what the KafkaUser claims that others hold in the ledger of its KafkaCluster.
	Claimed func(*v1alpha1.KafkaCluster, []v1alpha1.PrincipalMapping, *v1alpha1.KafkaUser) []string
}

// JudgeUser returns what is wrong with a KafkaUser and what its author should know. old is nil when it is created;
// cluster is nil when the KafkaCluster does not exist (yet); ledger are its PrincipalMappings.
//
// An update that leaves spec alone is never wrong: the policy may have become stricter since, and whoever removes a
// finalizer or sets a label did not write the declaration.
func JudgeUser(old, user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, ledger []v1alpha1.PrincipalMapping, rules UserRules) (problems []error, warnings []string) {
	if !user.DeletionTimestamp.IsZero() || old != nil && equality.Semantic.DeepEqual(old.Spec, user.Spec) {
		return nil, nil
	}
	if cluster == nil {
		warnings = append(warnings, fmt.Sprintf("KafkaCluster %s does not exist yet; the KafkaUser waits until it does", user.Spec.ClusterRef.In(user.Namespace)))
	}
	problems = rules.Declaration(user, cluster)
	for i, subject := range user.Spec.ExternalSubjects {
		if err := rules.Subject(subject); err != nil {
			problems = append(problems, field.Invalid(field.NewPath("spec", "externalSubjects").Index(i), subject, err.Error()))
		}
	}
	if cluster != nil && len(problems) == 0 && (old == nil || claims(old, user)) {
		for _, dispute := range rules.Claimed(cluster, ledger, user) {
			problems = append(problems, field.Forbidden(field.NewPath("spec"), dispute))
		}
	}
	return problems, warnings
}

// claims tells whether a changed declaration claims other identities. One that is in dispute already may change in all
// else.
func claims(old, user *v1alpha1.KafkaUser) bool {
	return !equality.Semantic.DeepEqual(old.Spec.Workload, user.Spec.Workload) ||
		!equality.Semantic.DeepEqual(old.Spec.ExternalSubjects, user.Spec.ExternalSubjects) || old.Spec.ClusterRef != user.Spec.ClusterRef
}
