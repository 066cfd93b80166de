// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// maxRuleLength bounds one mapping rule, in characters. Kafka's own parser of ssl.principal.mapping.rules overflows the
// JVM's stack on a rule of about 1,600 characters, and the broker does not start.
const maxRuleLength = 1000

// errRuleTooLong is what exactRule says of a subject that Kafka could not be told about.
var errRuleTooLong = errors.New("subject is too long for ssl.principal.mapping.rules of a stock broker")

// userRule is the one static rule for every KafkaUser of a cluster: adding a user changes nothing at the broker. It is
// anchored, admits only what DNS labels are made of, and requires the marker organization, which no other issuer under
// the mesh CA puts in.
func userRule(organization string) string {
	return fmt.Sprintf(`RULE:^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=%s$/$2.$1/`, organization)
}

// userSubjectPattern recognises the subjects that userRule matches.
func userSubjectPattern(organization string) *regexp.Regexp {
	return regexp.MustCompile(`^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=` + regexp.QuoteMeta(organization) + `$`)
}

// exactRule maps exactly one subject to one principal. Characters that mean something in a Java regular expression, in
// its replacement or in Kafka's rule grammar (KIP-371) are escaped.
func exactRule(subject, principal string) (string, error) {
	var pattern strings.Builder
	for _, c := range subject {
		if c < 0x80 && !isAlphanumeric(c) {
			pattern.WriteByte('\\')
		}
		pattern.WriteRune(c)
	}
	replacement := strings.NewReplacer(`\`, `\\`, `$`, `\$`, `/`, `\/`).Replace(strings.TrimPrefix(principal, TypeUser))
	rule := "RULE:^" + pattern.String() + "$/" + replacement + "/"
	if len(rule) > maxRuleLength {
		return "", errRuleTooLong
	}
	return rule, nil
}

func isAlphanumeric(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// StaticRules renders ssl.principal.mapping.rules for a stock broker: the rule of all users, the rule of Signet's own
// connection, and one exact rule for each foreign subject in force. There is no DEFAULT: a certificate of the same CA
// that is none of these is refused, for it would otherwise be the principal of its bare subject.
// Foreign subjects that Kafka cannot be told about are returned as skipped.
func StaticRules(cluster *v1alpha1.KafkaCluster, entries []Entry) (rules string, skipped []string) {
	controller := ControllerSubject(cluster)
	list := []string{
		userRule(organization(cluster)),
		fmt.Sprintf("RULE:^%s$/%s/", controller, strings.TrimPrefix(ForController(cluster.Namespace, cluster.Name), TypeUser)),
	}
	users := userSubjectPattern(organization(cluster))
	for _, e := range entries {
		if e.SPIFFE || users.MatchString(e.Subject) {
			continue
		}
		rule, err := exactRule(e.Subject, e.Principal)
		if err != nil {
			skipped = append(skipped, e.Subject)
			continue
		}
		list = append(list, rule)
	}
	return strings.Join(list, ","), skipped
}
