// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/mapping"
	"github.com/signet-kafka/signet/principal/regular"
	"github.com/signet-kafka/signet/principal/subject"
)

// reservedNames are the principals that no mapping may give: Signet's own connections, the explicit principals of
// unmapped peers, Kafka's KafkaPrincipal.ANONYMOUS, and the * that means everybody in an ACL.
const reservedNames = `(?:signet|sa|unmapped):(?s:.*)|ANONYMOUS|[*]`

var isReserved = regexp.MustCompile(`\A(?:` + reservedNames + `)\z`)

// ledger is what has been claimed so far.
type ledger struct {
	cluster    *v1alpha1.KafkaCluster
	users      *regexp.Regexp
	principals map[string]string
	subjects   map[string]string // exact subjects and SPIFFE IDs; no subject reads like a SPIFFE ID
	foreign    []string          // exact subjects that are no KafkaUser's own
	patterns   []patternClaim
}

// claim is what one mapping claims.
type claim struct {
	holder    string
	principal string
	entries   []Entry
	patterns  []patternClaim
}

// patternClaim is a pattern with what it matches and what it gives.
type patternClaim struct {
	holder   string
	entry    Entry
	subjects *regular.Language
	function *regular.Function
	pattern  *mapping.Pattern
}

func newLedger(cluster *v1alpha1.KafkaCluster) *ledger {
	const own = "Signet's own connection"
	principals := map[string]string{ForController(cluster.Namespace, cluster.Name): own}
	if admin := ForAdmin(cluster); admin != "" {
		principals[admin] = own
	}
	return &ledger{
		cluster:    cluster,
		users:      userSubjectPattern(organization(cluster)),
		principals: principals,
		subjects:   map[string]string{ControllerSubject(cluster).String(): own},
	}
}

// read decides what a mapping claims, with no regard to others.
func (l *ledger) read(m *v1alpha1.PrincipalMapping) (claim, Verdict) {
	c := claim{holder: "PrincipalMapping " + m.Namespace + "/" + m.Name, principal: m.Spec.Principal}
	v := Verdict{Reason: v1alpha1.ReasonReady, Message: "in force"}
	invalid := func(err error) (claim, Verdict) {
		return claim{}, Verdict{Reason: v1alpha1.ReasonInvalid, Message: err.Error()}
	}
	if err := checkPrincipal(m.Spec.Principal); err != nil {
		return invalid(err)
	}
	// An administrator may say whose certificate is a super user's. A KafkaUser must not become one by its name.
	if m.Spec.Owner != nil && slices.Contains(l.cluster.Spec.SuperUsers, m.Spec.Principal) {
		return invalid(fmt.Errorf("principal %s is one of the KafkaCluster's superUsers, which no KafkaUser can be: give the KafkaUser another name", m.Spec.Principal))
	}
	for _, s := range m.Spec.Subjects {
		e := Entry{Kind: KindExact, Subject: s.Exact, Principal: m.Spec.Principal}
		switch {
		case s.SPIFFE != "":
			if _, err := spiffeid.FromString(s.SPIFFE); err != nil {
				return invalid(fmt.Errorf("spiffe id %q: %w", s.SPIFFE, err))
			}
			e.Kind, e.Subject = KindSPIFFE, s.SPIFFE
		case s.Pattern != "":
			p, err := l.readPattern(m, s)
			if err != nil {
				return invalid(err)
			}
			p.holder = c.holder
			c.patterns = append(c.patterns, p)
			e = p.entry
		case s.External != "":
			e.Subject = s.External
			if !slices.Contains(m.Spec.ApprovedSubjects, s.External) {
				v.Pending = append(v.Pending, s.External)
				continue
			}
		}
		if e.Kind == KindExact {
			if err := subject.Check(e.Subject); err != nil {
				return invalid(err)
			}
			if err := l.checkUsersOwn(e.Subject, m); err != nil {
				return invalid(err)
			}
		}
		if !slices.Contains(c.entries, e) {
			c.entries = append(c.entries, e)
		}
	}
	if err := c.agree(); err != nil {
		return invalid(err)
	}
	v.Entries = c.entries
	return c, v
}

func checkPrincipal(principal string) error {
	name := strings.TrimPrefix(principal, TypeUser)
	if isReserved.MatchString(name) {
		return fmt.Errorf("principal %s is reserved: no mapping gives signet:…, sa:…, unmapped:…, ANONYMOUS or *", principal)
	}
	return mapping.CheckName(name)
}

// checkUsersOwn refuses the subject of a KafkaUser's certificate in a mapping that is not that KafkaUser's: a stock
// broker's static rule decides these subjects, whatever the ledger says.
func (l *ledger) checkUsersOwn(text string, m *v1alpha1.PrincipalMapping) error {
	match := l.users.FindStringSubmatch(text)
	if match == nil {
		return nil
	}
	namespace, name := match[2], match[1]
	if owner := m.Spec.Owner; owner != nil && owner.Namespace == namespace && owner.Name == name {
		return nil
	}
	return fmt.Errorf("subject %s is that of KafkaUser %s/%s and nobody else's", text, namespace, name)
}

// readPattern checks one pattern: that it means the same to every implementation, decides each subject in one way
// only, matches no KafkaUser, and gives no reserved principal and no super user.
func (l *ledger) readPattern(m *v1alpha1.PrincipalMapping, s v1alpha1.MappedSubject) (patternClaim, error) {
	if m.Spec.Owner != nil {
		return patternClaim{}, errors.New("a pattern is an administrator's; a mapping with an owner has none")
	}
	e := Entry{Kind: KindPattern, Subject: s.Pattern, Principal: s.Replacement}
	if e.Principal == "" {
		e.Principal = strings.ReplaceAll(m.Spec.Principal, "$", "$$")
	}
	wrong := func(format string, args ...any) (patternClaim, error) {
		return patternClaim{}, fmt.Errorf("pattern %q: "+format, append([]any{s.Pattern}, args...)...)
	}
	p, err := mapping.CompilePattern(mapping.PatternEntry{Pattern: s.Pattern, Principal: strings.TrimPrefix(e.Principal, TypeUser)})
	if err != nil {
		var fault *mapping.FileError
		if errors.As(err, &fault) {
			err = errors.New(fault.Detail)
		}
		return patternClaim{}, err
	}
	parts := make([]regular.Part, len(p.Parts()))
	for i, part := range p.Parts() {
		parts[i] = regular.Part(part)
	}
	function, err := regular.NewFunction(p.GoSyntax(), parts)
	if err != nil {
		return wrong("%w", err)
	}
	subjects, err := regular.Compile(p.GoSyntax())
	if err != nil {
		return wrong("%w", err)
	}
	// Neither of the two can have subjects or principals in common with the pattern.
	for _, own := range []struct{ what, expression string }{
		{"the certificates of KafkaUsers", userSubjectPattern(organization(l.cluster)).String()},
		{"Signet's own certificates", regexp.QuoteMeta(ControllerSubject(l.cluster).String())},
	} {
		language, err := regular.Compile(own.expression)
		if err != nil {
			return wrong("%w", err)
		}
		if witness, overlap, err := regular.Intersection(subjects, language); err != nil {
			return wrong("%w", err)
		} else if overlap {
			return wrong("it matches %s, the subject of %s", witness, own.what)
		}
	}
	forbidden := []string{reservedNames}
	for _, super := range superUsers(l.cluster) {
		forbidden = append(forbidden, regexp.QuoteMeta(strings.TrimPrefix(super, TypeUser)))
	}
	language, err := regular.Compile(strings.Join(forbidden, "|"))
	if err != nil {
		return wrong("%w", err)
	}
	if witness, overlap, err := regular.Intersection(function.Outputs(), language); err != nil {
		return wrong("%w", err)
	} else if overlap {
		return wrong("it can give the principal %s%s, which is reserved or a super user", TypeUser, witness)
	}
	return patternClaim{entry: e, subjects: subjects, function: function, pattern: p}, nil
}

// agree refuses a mapping that gives one subject two principals: patterns that overlap with different results, or a
// pattern and an exact subject of the same mapping.
func (c *claim) agree() error {
	for i, p := range c.patterns {
		for _, e := range c.entries {
			if e.Kind == KindExact && p.subjects.Contains(e.Subject) {
				if name, _ := p.pattern.Name(e.Subject); TypeUser+name != e.Principal {
					return fmt.Errorf("subject %s is %s, and %s%s by pattern %q", e.Subject, e.Principal, TypeUser, name, p.entry.Subject)
				}
			}
		}
		for _, q := range c.patterns[:i] {
			witness, differ, err := regular.Differ(p.function, q.function)
			if err != nil {
				return fmt.Errorf("patterns %q and %q: %w", q.entry.Subject, p.entry.Subject, err)
			}
			if differ {
				return fmt.Errorf("patterns %q and %q give the subject %s different principals", q.entry.Subject, p.entry.Subject, witness)
			}
		}
	}
	return nil
}

// disputeSubjects says who holds what is claimed; "" if nobody does.
func (l *ledger) disputeSubjects(c claim) string {
	for _, e := range c.entries {
		if dispute := l.disputeEntry(e); dispute != "" {
			return dispute
		}
	}
	for _, p := range c.patterns {
		if dispute := l.disputePattern(p); dispute != "" {
			return dispute
		}
	}
	return ""
}

func (l *ledger) disputePrincipal(principal string) string {
	if holder, taken := l.principals[principal]; taken {
		return fmt.Sprintf("principal %s is held by %s", principal, holder)
	}
	for _, p := range l.patterns {
		if p.function.Outputs().Contains(strings.TrimPrefix(principal, TypeUser)) {
			return fmt.Sprintf("principal %s is one that pattern %q of %s gives", principal, p.entry.Subject, p.holder)
		}
	}
	return ""
}

func (l *ledger) disputeEntry(e Entry) string {
	if e.Kind == KindPattern {
		return ""
	}
	if holder, taken := l.subjects[e.Subject]; taken {
		return fmt.Sprintf("subject %s is held by %s", e.Subject, holder)
	}
	if e.Kind == KindSPIFFE || l.users.MatchString(e.Subject) {
		return "" // no pattern matches these
	}
	for _, p := range l.patterns {
		if p.subjects.Contains(e.Subject) {
			return fmt.Sprintf("subject %s matches pattern %q, which is held by %s", e.Subject, p.entry.Subject, p.holder)
		}
	}
	return ""
}

func (l *ledger) disputePattern(c patternClaim) string {
	if len(l.patterns) >= mapping.MaxPatterns {
		return fmt.Sprintf("the cluster has %d patterns already, the most that brokers try", mapping.MaxPatterns)
	}
	for _, text := range l.foreign {
		if c.subjects.Contains(text) {
			return fmt.Sprintf("pattern %q matches subject %s, which is held by %s", c.entry.Subject, text, l.subjects[text])
		}
	}
	taken := ""
	for principal := range l.principals {
		if (taken == "" || principal < taken) && c.function.Outputs().Contains(strings.TrimPrefix(principal, TypeUser)) {
			taken = principal
		}
	}
	if taken != "" && l.principals[taken] != c.holder {
		return fmt.Sprintf("pattern %q can give the principal %s, which is held by %s", c.entry.Subject, taken, l.principals[taken])
	}
	for _, p := range l.patterns {
		witness, overlap, err := regular.Intersection(c.subjects, p.subjects)
		if err != nil {
			return fmt.Sprintf("pattern %q cannot be compared with pattern %q of %s: %v", c.entry.Subject, p.entry.Subject, p.holder, err)
		}
		if overlap {
			return fmt.Sprintf("pattern %q matches subject %s, as does pattern %q, which is held by %s", c.entry.Subject, witness, p.entry.Subject, p.holder)
		}
		name, overlap, err := regular.Intersection(c.function.Outputs(), p.function.Outputs())
		if err != nil {
			return fmt.Sprintf("pattern %q cannot be compared with pattern %q of %s: %v", c.entry.Subject, p.entry.Subject, p.holder, err)
		}
		if overlap {
			return fmt.Sprintf("pattern %q can give the principal %s%s, as can pattern %q, which is held by %s", c.entry.Subject, TypeUser, name, p.entry.Subject, p.holder)
		}
	}
	return ""
}

// enter takes a claim that nobody disputes.
func (l *ledger) enter(c claim) {
	l.principals[c.principal] = c.holder
	for _, e := range c.entries {
		if e.Kind == KindPattern {
			continue
		}
		l.subjects[e.Subject] = c.holder
		if e.Kind == KindExact && !l.users.MatchString(e.Subject) {
			l.foreign = append(l.foreign, e.Subject)
		}
	}
	l.patterns = append(l.patterns, c.patterns...)
}
