// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/mapping"
)

// Rules judge what the CRDs' own validation cannot: they are the rules by which the declarations are carried out later, so
// that kubectl apply fails where a condition would complain.
type Rules struct {
	// Declaration returns what the KafkaCluster's policy refuses of a KafkaUser; the cluster is nil if it is unknown.
	Declaration func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) []error
	// Subject tells whether a broker could ever see this subject (RFC 2253, as Java prints it).
	Subject func(string) error
	// Claimed returns what the KafkaUser claims that others hold in the ledger of its KafkaCluster.
	Claimed func(*v1alpha1.KafkaCluster, []v1alpha1.PrincipalMapping, *v1alpha1.KafkaUser) []string
	// Topic tells whether a KafkaTopic of the namespace may declare the topic.
	Topic func(topic, namespace string, cluster *v1alpha1.KafkaCluster) error
	// Mapping returns why a mapping that is about to be written cannot come into force, or "".
	Mapping func(cluster *v1alpha1.KafkaCluster, ledger []v1alpha1.PrincipalMapping, candidate *v1alpha1.PrincipalMapping) string
	// SharesTrustDomain tells whether a CA that is confined to the trust domain own could sign an identity of the mesh.
	SharesTrustDomain func(own, mesh string) bool
}

// Facts are what a declaration is judged by besides itself.
type Facts struct {
	// Cluster is the KafkaCluster that it names; nil where it does not exist (yet).
	Cluster *v1alpha1.KafkaCluster
	// Ledger are the PrincipalMappings of Cluster.
	Ledger []v1alpha1.PrincipalMapping
	// Namespace has the labels of the declaration's namespace; nil where they are not known.
	Namespace map[string]string
}

// waits says what the declaration of a kind in a namespace waits for, if anything.
func (f Facts) waits(kind string, reference v1alpha1.ClusterReference, namespace string) []string {
	if f.Cluster == nil {
		return []string{fmt.Sprintf("KafkaCluster %s does not exist yet; the %s waits until it does", reference, kind)}
	}
	if f.Namespace == nil {
		return nil
	}
	switch admitted, err := f.Cluster.Admits(f.Namespace); {
	case err != nil:
		return []string{fmt.Sprintf("the namespaceSelector of KafkaCluster %s is malformed; the %s waits until it is corrected", reference, kind)}
	case !admitted:
		return []string{fmt.Sprintf("KafkaCluster %s does not select namespace %s (namespaceSelector); the %s waits until it does", reference, namespace, kind)}
	}
	return nil
}

// JudgeUser returns what is wrong with a KafkaUser and what its author should know. old is nil when it is created. An
// update is refused for what it brings in: the policy may have become stricter since the rest was declared.
func JudgeUser(old, user *v1alpha1.KafkaUser, facts Facts, rules Rules) (problems []error, warnings []string) {
	problems = wrongWithUser(user, facts.Cluster, rules)
	if old != nil {
		var kept []error
		problems, kept = brought(wrongWithUser(old, facts.Cluster, rules), problems)
		if len(kept) > 0 {
			warnings = append(warnings, fmt.Sprintf("unchanged and still wrong: %.200s", kept[0]))
		}
	}
	if user.Spec.Enforcement == v1alpha1.EnforcementAudit && facts.Cluster != nil && facts.Cluster.Spec.Authorization != nil && facts.Cluster.Spec.Authorization.Exemptions != v1alpha1.ExemptionsAllow {
		warnings = append(warnings, fmt.Sprintf("enforcement Audit has no effect: authorization.exemptions of KafkaCluster %s/%s is not Allow", facts.Cluster.Namespace, facts.Cluster.Name))
	}
	if facts.Cluster != nil && len(problems) == 0 && (old == nil || claims(old, user)) {
		for _, dispute := range rules.Claimed(facts.Cluster, facts.Ledger, user) {
			problems = append(problems, field.Forbidden(field.NewPath("spec"), dispute))
		}
	}
	return problems, append(warnings, facts.waits("KafkaUser", user.Spec.ClusterRef.In(user.Namespace), user.Namespace)...)
}

func wrongWithUser(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, rules Rules) []error {
	problems := rules.Declaration(user, cluster)
	spec := field.NewPath("spec")
	for i, subject := range user.Spec.ExternalSubjects {
		if err := rules.Subject(subject); err != nil {
			problems = append(problems, field.Invalid(spec.Child("externalSubjects").Index(i), subject, err.Error()))
		}
	}
	if w := user.Spec.Workload; w != nil {
		problems = append(problems, malformed(w.PodSelector, spec.Child("workload", "podSelector"))...)
	}
	if c := user.Spec.Certificate; c != nil && c.Delivery == v1alpha1.DeliveryPodCertificate && cluster != nil {
		if issuer := user.Issuer(cluster); !issuer.IsMeshIssuer() {
			problems = append(problems, field.Invalid(spec.Child("certificate", "delivery"), c.Delivery, fmt.Sprintf(
				"needs a MeshIssuer, and the issuer is the %s %s, which does not answer the kubelet; use the delivery Secret", issuer.Kind, issuer.Name)))
		}
	}
	return problems
}

// claims tells whether a changed declaration claims other identities. One that is in dispute already may change in all
// else.
func claims(old, user *v1alpha1.KafkaUser) bool {
	return !slices.Equal(IndexWorkload(old), IndexWorkload(user)) || !slices.Equal(old.Spec.ExternalSubjects, user.Spec.ExternalSubjects) ||
		old.Spec.ClusterRef != user.Spec.ClusterRef
}

// JudgeTopic returns what is wrong with a KafkaTopic and what its author should know. Its topic and its KafkaCluster never
// change, so that only the creation is judged by the policy.
func JudgeTopic(old, topic *v1alpha1.KafkaTopic, facts Facts, rules Rules) (problems []error, warnings []string) {
	if old == nil && facts.Cluster != nil {
		if err := rules.Topic(topic.TopicName(), topic.Namespace, facts.Cluster); err != nil {
			problems = append(problems, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(topic.Spec.Config)) {
		value := topic.Spec.Config[name]
		if strings.ContainsFunc(value, unicode.IsControl) && (old == nil || old.Spec.Config[name] != value) {
			problems = append(problems, field.Invalid(field.NewPath("spec", "config").Key(name), value, "must have no control characters"))
		}
	}
	return problems, facts.waits("KafkaTopic", topic.Spec.ClusterRef.In(topic.Namespace), topic.Namespace)
}

// JudgeCluster returns what is wrong with a KafkaCluster that has this ledger. A super user that is the principal of a
// KafkaUser would make its pods super users of brokers that map by static rules, before any condition complains.
func JudgeCluster(old, cluster *v1alpha1.KafkaCluster, ledger []v1alpha1.PrincipalMapping) []error {
	problems := wrongWithCluster(cluster, ledger)
	if old != nil {
		problems, _ = brought(wrongWithCluster(old, ledger), problems)
	}
	return problems
}

func wrongWithCluster(cluster *v1alpha1.KafkaCluster, ledger []v1alpha1.PrincipalMapping) []error {
	spec := field.NewPath("spec")
	problems := malformed(&cluster.Spec.NamespaceSelector, spec.Child("namespaceSelector"))
	if a := cluster.Spec.Authorization; a != nil && a.People != "" {
		if err := mapping.CheckPattern(a.People); err != nil {
			problems = append(problems, field.Invalid(spec.Child("authorization", "people"), a.People, err.Error()))
		}
	}
	super := func(path *field.Path, value, principal string) {
		owned := slices.IndexFunc(ledger, func(m v1alpha1.PrincipalMapping) bool { return m.Spec.Owner != nil && m.Spec.Principal == principal })
		if owned >= 0 {
			owner := ledger[owned].Spec.Owner
			problems = append(problems, field.Invalid(path, value, fmt.Sprintf(
				"is the principal of KafkaUser %s/%s, and no KafkaUser can be a super user", owner.Namespace, owner.Name)))
		}
	}
	for i, name := range cluster.Spec.SuperUsers {
		super(spec.Child("superUsers").Index(i), name, name)
	}
	if sasl := cluster.Spec.Admin.SASL; sasl != nil && sasl.Username != "" {
		super(spec.Child("admin", "sasl", "username"), sasl.Username, "User:"+sasl.Username)
	}
	return problems
}

// JudgeIssuer returns what is wrong with a MeshIssuer: with a trust domain of a mesh, its certificates could be identities
// of that mesh, so that nothing would be signed for the KafkaCluster.
func JudgeIssuer(old, issuer *v1alpha1.MeshIssuer, clusters []v1alpha1.KafkaCluster, rules Rules) []error {
	own := issuer.Spec.TrustDomain
	if old != nil && old.Spec.TrustDomain == own {
		return nil
	}
	var problems []error
	for i := range clusters {
		c := &clusters[i]
		if ref := c.Spec.Certificates.IssuerRef; ref.IsMeshIssuer() && ref.Name == issuer.Name && rules.SharesTrustDomain(own, c.Spec.MeshTrustDomain) {
			problems = append(problems, field.Invalid(field.NewPath("spec", "trustDomain"), own, fmt.Sprintf(
				"must be Signet's own, and the mesh of KafkaCluster %s/%s has the trust domain %s", c.Namespace, c.Name, c.Spec.MeshTrustDomain)))
		}
	}
	slices.SortFunc(problems, byText)
	return problems
}

// JudgeMapping returns what is wrong with a PrincipalMapping and what its author should know. One that is in dispute already
// may change, as long as it is not for another reason.
func JudgeMapping(old, mapping *v1alpha1.PrincipalMapping, facts Facts, rules Rules) (problems []error, warnings []string) {
	if facts.Cluster != nil {
		why := rules.Mapping(facts.Cluster, facts.Ledger, mapping)
		if why != "" && (old == nil || rules.Mapping(facts.Cluster, facts.Ledger, old) != why) {
			problems = append(problems, errors.New(why))
		}
	}
	for i, subject := range mapping.Spec.ApprovedSubjects {
		if old != nil && slices.Contains(old.Spec.ApprovedSubjects, subject) {
			continue
		}
		path := field.NewPath("spec", "approvedSubjects").Index(i)
		claimed := slices.ContainsFunc(mapping.Spec.Subjects, func(s v1alpha1.MappedSubject) bool { return s.External == subject })
		if err := rules.Subject(subject); err != nil {
			problems = append(problems, field.Invalid(path, subject, err.Error()))
		} else if !claimed {
			warnings = append(warnings, fmt.Sprintf("%s: %.150q is no external subject of this PrincipalMapping; it waits until the KafkaUser claims it", path, subject))
		}
	}
	return problems, append(warnings, facts.waits("PrincipalMapping", v1alpha1.ClusterReference{Namespace: mapping.Namespace, Name: mapping.Spec.Cluster}, "")...)
}

// malformed returns what is wrong with a selector of labels; nil is right.
func malformed(selector *metav1.LabelSelector, path *field.Path) []error {
	var problems []error
	for _, err := range metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, path) {
		problems = append(problems, err)
	}
	slices.SortFunc(problems, byText) // labels come in any order
	return problems
}

// brought tells the problems that an update brings in from those kept from before: the same one, with the same value in the
// same field, wherever in its list.
func brought(before, after []error) (added, kept []error) {
	had := map[string]bool{}
	for _, problem := range before {
		had[identity(problem)] = true
	}
	for _, problem := range after {
		if had[identity(problem)] {
			kept = append(kept, problem)
		} else {
			added = append(added, problem)
		}
	}
	return added, kept
}

var index = regexp.MustCompile(`\[[0-9]+\]`)

func identity(problem error) string {
	f, ok := errors.AsType[*field.Error](problem)
	if !ok {
		return problem.Error()
	}
	return fmt.Sprintf("%s %s %q", f.Type, index.ReplaceAllString(f.Field, "[]"), fmt.Sprint(f.BadValue))
}

func byText(a, b error) int { return cmp.Compare(a.Error(), b.Error()) }
