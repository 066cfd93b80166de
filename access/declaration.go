// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// CheckDeclaration returns what the cluster's policy refuses of a KafkaUser's declaration, one *field.Error for each
// entry: topics under admin that are neither the namespace's own nor exempt, and wildcards where they are not allowed.
// Without a cluster (nil), only what no policy could permit is refused.
func CheckDeclaration(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) []error {
	var errs []error
	for _, list := range lists(user) {
		path := field.NewPath("spec", string(list.verb))
		for i, entry := range list.entries {
			if detail := malformed(entry); detail != "" {
				errs = append(errs, field.Invalid(path.Index(i), entry, detail))
			} else if cluster != nil {
				if detail := refusal(list.verb, entry, user.Namespace, cluster); detail != "" {
					err := field.Forbidden(path.Index(i), detail)
					err.BadValue = entry // which the text leaves out: it tells two refusals apart wherever their entries stand
					errs = append(errs, err)
				}
			}
		}
	}
	return errs
}

// CheckTopic tells whether a KafkaTopic of the namespace may declare the topic, as an error that says what to do. Who
// writes KafkaTopics beside the KafkaCluster itself is an administrator and may declare every topic; anybody else the
// same ones as under admin.
func CheckTopic(topic, namespace string, cluster *v1alpha1.KafkaCluster) error {
	if namespace == cluster.Namespace {
		return nil
	}
	if detail := adminRefusal(literal(topic), namespace, cluster); detail != "" {
		return field.Forbidden(field.NewPath("spec", "topic"), detail)
	}
	return nil
}

// malformed says what is wrong with an entry whatever the policy. The CRD's patterns refuse the same at admission.
func malformed(entry string) string {
	name := strings.TrimSuffix(entry, wildcard)
	switch {
	case entry == "":
		return "must not be empty"
	case strings.Contains(name, wildcard):
		return "a * may stand at the end only, where it makes the name a prefix"
	}
	return ""
}

// refusal says why the policy does not permit an entry, or nothing.
func refusal(v verb, entry, namespace string, cluster *v1alpha1.KafkaCluster) string {
	if detail := malformed(entry); detail != "" {
		return detail
	}
	p := parsePattern(entry)
	if p == literal(wildcard) && !cluster.Spec.Policy.AllowWildcard {
		return fmt.Sprintf("%s is every %s of KafkaCluster %s/%s, which its policy.allowWildcard does not permit; name them, or a prefix such as %s-*",
			wildcard, v.noun(), cluster.Namespace, cluster.Name, namespace)
	}
	if v == admin {
		return adminRefusal(p, namespace, cluster)
	}
	return ""
}

// adminRefusal says why a namespace may not administer a topic, or nothing.
func adminRefusal(p pattern, namespace string, cluster *v1alpha1.KafkaCluster) string {
	if p != literal(wildcard) && strings.HasPrefix(p.name, namespace+"-") {
		return ""
	}
	if slices.ContainsFunc(cluster.Spec.Policy.AdminTopicExemptions, func(exemption string) bool {
		return parsePattern(exemption).covers(p)
	}) {
		return ""
	}
	return fmt.Sprintf("a topic that namespace %s administers must start with %s- or be on policy.adminTopicExemptions of KafkaCluster %s/%s",
		namespace, namespace, cluster.Namespace, cluster.Name)
}

// noun is what the verb's list names.
func (v verb) noun() string {
	if v == consumerGroups {
		return "consumer group"
	}
	return "topic"
}
