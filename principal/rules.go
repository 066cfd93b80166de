// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/rules"
)

// userRule is the one static rule for every KafkaUser of a cluster: adding a user changes nothing at the broker. It is
// anchored, admits only what DNS labels are made of, and requires the marker organization, which no other issuer under
// the mesh CA puts in. The template is one that generic says yes to.
func userRule(organization string, t Template) string {
	return fmt.Sprintf(`RULE:^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=%s$/%s/`, organization, t.fill("$2", "$1", ""))
}

// userSubjectPattern recognises the subjects of KafkaUsers' certificates, with name and namespace.
func userSubjectPattern(organization string) *regexp.Regexp {
	return regexp.MustCompile(`^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=` + regexp.QuoteMeta(organization) + `$`)
}

// StaticRules renders ssl.principal.mapping.rules for a stock broker: the rule of all users (or one for each, where the
// cluster's template is none that one rule can say), the rule of Signet's own connection, and one for each foreign
// subject and pattern in force, exact ones first. There is no DEFAULT: a certificate of the same CA that is none of
// these is refused, for it would otherwise be the principal of its bare subject.
// Subjects that Kafka cannot be told about are returned as skipped.
func StaticRules(cluster *v1alpha1.KafkaCluster, entries []Entry) (text string, skipped []string, err error) {
	template, err := ParseTemplate(cluster.Spec.PrincipalTemplate)
	if err != nil {
		return "", nil, fmt.Errorf("kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	var list []string
	generic := template.generic()
	if generic {
		list = append(list, userRule(organization(cluster), template))
	}
	list = append(list, fmt.Sprintf("RULE:^%s$/%s/", ControllerSubject(cluster), strings.TrimPrefix(ForController(cluster.Namespace, cluster.Name), TypeUser)))
	users := userSubjectPattern(organization(cluster))
	for _, kind := range []Kind{KindExact, KindPattern} {
		for _, e := range entries {
			if e.Kind != kind || kind == KindExact && generic && users.MatchString(e.Subject) {
				continue
			}
			rule, err := staticRule(e)
			if err != nil {
				skipped = append(skipped, e.Subject)
				continue
			}
			list = append(list, rule)
		}
	}
	return strings.Join(list, ","), skipped, nil
}

// staticRule renders one entry.
func staticRule(e Entry) (string, error) {
	name := strings.TrimPrefix(e.Principal, TypeUser)
	if e.Kind == KindExact {
		rule, err := rules.Exact(e.Subject, name)
		if err != nil {
			return "", err
		}
		return rule.String(), nil
	}
	// $$ is \$ to Kafka; a group followed by a digit means the same to both, since a pattern has at most nine groups.
	replacement := strings.NewReplacer("$$", `\$`, `\`, `\\`, "/", `\/`).Replace(name)
	text := "RULE:^(?:" + escapeSlashes(e.Subject) + ")$/" + replacement + "/"
	if _, err := rules.Parse(text); err != nil {
		return "", err
	}
	return text, nil
}

// escapeSlashes puts a backslash before every slash that has none, which ends a pattern in Kafka's grammar (KIP-371).
func escapeSlashes(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			b.WriteString(pattern[i : i+2])
			i++
			continue
		}
		if pattern[i] == '/' {
			b.WriteByte('\\')
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}
