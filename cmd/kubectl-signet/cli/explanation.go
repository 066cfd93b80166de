// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/principal/analysis"
	"github.com/signet-kafka/signet/principal/mapping"
	"github.com/signet-kafka/signet/principal/rules"
)

// Peer is who is asked about.
type Peer struct {
	// Subject as brokers see it; "" is the empty subject.
	Subject string
	// Typed is what the caller wrote where that differs from Subject.
	Typed string
	// DER of the subject, where a certificate was given.
	DER []byte
	// URIs are the SPIFFE IDs, and other URIs, of the certificate, or the one ID that was asked about.
	URIs []string
}

// onlySPIFFE tells that nothing but a SPIFFE ID was asked about.
func (p Peer) onlySPIFFE() bool { return p.DER == nil && p.Subject == "" && len(p.URIs) > 0 }

// Source is something that gives principals: what a KafkaCluster's brokers mount, or files.
type Source struct {
	// Name to show: namespace/name of a KafkaCluster, or a file's name.
	Name string
	// Rules of a stock broker; nil where there are none.
	Rules rules.List
	// HasRules tells an empty list of rules from none.
	HasRules bool
	// Set is the mapping file; nil where there is none.
	Set *mapping.Set
	// Mappings are the PrincipalMappings of the KafkaCluster, to name holders.
	Mappings []v1alpha1.PrincipalMapping
	// Unreadable is why nothing else is known of a KafkaCluster.
	Unreadable error
}

// Answer is what one kind of broker says of a peer.
type Answer struct {
	// Source and By say who answers.
	Source, By string
	// Principal with its type; "" where there is none.
	Principal string
	// Entry that decides, or the reason why there is none.
	Entry string
}

// Explanation is everything that is known of a peer.
type Explanation struct {
	Peer    Peer
	Answers []Answer
	// Notes are sentences: who holds the entry, what is shadowed, what was rewritten.
	Notes []string
}

// Mapped tells whether anybody gives the peer a principal.
func (e Explanation) Mapped() bool {
	for _, a := range e.Answers {
		if a.Principal != "" {
			return true
		}
	}
	return false
}

// Explain asks every source about a peer.
func Explain(peer Peer, sources []Source) Explanation {
	e := Explanation{Peer: peer}
	if peer.Typed != "" {
		e.note("%q is written in another form; brokers see %q", peer.Typed, peer.Subject)
	}
	for _, s := range sources {
		if s.Unreadable != nil {
			e.note("%s cannot be asked: %v", s.Name, s.Unreadable)
		}
		if s.Set != nil {
			e.askSet(s)
		}
		if s.HasRules {
			e.askRules(s)
		}
	}
	if peer.onlySPIFFE() && slices.ContainsFunc(sources, func(s Source) bool { return s.HasRules }) {
		e.note("stock brokers see the subject only; the answer is that of an empty one, as meshes issue them")
	}
	return e
}

func (e *Explanation) note(format string, args ...any) {
	e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
}

func (e *Explanation) askSet(s Source) {
	answer := Answer{Source: s.Name, By: "Signet"}
	entry, err := decide(s.Set, e.Peer)
	var refused *mapping.Refused
	switch {
	case errors.As(err, &refused) && refused.Reason == mapping.ReasonUnmapped && e.Peer.DER == nil && namesUnmapped(s.Set):
		answer.Principal, answer.Entry = principal.TypeUser+"unmapped:<SHA-256 of the DER subject>", "no entry: such a client gets a principal that says so"
	case errors.As(err, &refused):
		answer.Entry = refusals[refused.Reason]
	case err != nil:
		answer.Entry = err.Error()
	default:
		answer.Principal, answer.Entry = principal.TypeUser+entry.Name, entry.Kind+" "+entry.Key
		if holder := holderOf(s.Mappings, entry); holder != "" {
			e.note("%s: the entry is of %s", s.Name, holder)
		}
	}
	e.Answers = append(e.Answers, answer)
	if refused != nil && refused.Reason == mapping.ReasonDisagreement {
		for _, part := range []struct{ what, subject, id string }{{"the subject alone", refused.Subject, ""}, {"the SPIFFE ID alone", "", refused.SPIFFE}} {
			if alone, err := s.Set.Explain(part.subject, part.id); err == nil {
				e.note("%s: %s is %s%s by %s %s", s.Name, part.what, principal.TypeUser, alone.Name, alone.Kind, alone.Key)
			}
		}
	}
	if err != nil {
		return
	}
	for _, other := range s.Set.Matching(e.Peer.Subject) {
		if other != entry && other.Name != entry.Name {
			e.note("%s: shadowed: %s %s would give %s%s", s.Name, other.Kind, other.Key, principal.TypeUser, other.Name)
		}
	}
}

// namesUnmapped tells whether a set gives a principal to a peer that no entry knows; with the empty subject, which no
// entry can have, as the peer.
func namesUnmapped(set *mapping.Set) bool {
	_, err := set.Principal(mapping.Peer{Subject: []byte{0x30, 0x00}})
	return err == nil
}

func decide(set *mapping.Set, p Peer) (mapping.Entry, error) {
	if p.DER != nil {
		return set.Principal(mapping.Peer{Subject: p.DER, URIs: p.URIs})
	}
	id := ""
	if len(p.URIs) > 0 {
		id = p.URIs[0]
	}
	return set.Explain(p.Subject, id)
}

// refusals say in words why a peer has no principal.
var refusals = map[mapping.Reason]string{
	mapping.ReasonMalformed:    "refused: the subject is malformed",
	mapping.ReasonSeveral:      "refused: the certificate has more than one SPIFFE ID",
	mapping.ReasonDisagreement: "refused: subject and SPIFFE ID are different principals",
	mapping.ReasonUnmapped:     "refused: no entry",
}

// holderOf names the PrincipalMapping that an entry comes from, and its owner: of those that claim it the one that is not
// known to be out of force.
func holderOf(mappings []v1alpha1.PrincipalMapping, entry mapping.Entry) string {
	if strings.HasPrefix(entry.Name, "signet:") {
		return "Signet itself, which administers Kafka by it"
	}
	for i := range mappings {
		m := &mappings[i]
		verdict := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
		if verdict != nil && verdict.Status != metav1.ConditionTrue || !claims(m, entry) {
			continue
		}
		name := "PrincipalMapping " + m.Namespace + "/" + m.Name
		if o := m.Spec.Owner; o != nil {
			name += fmt.Sprintf(" (KafkaUser %s/%s)", o.Namespace, o.Name)
		}
		return name
	}
	return ""
}

// claims tells whether a mapping has the entry among its subjects.
func claims(m *v1alpha1.PrincipalMapping, entry mapping.Entry) bool {
	given := m.Spec.Principal == principal.TypeUser+entry.Name
	for _, s := range m.Spec.Subjects {
		switch {
		case entry.Kind == "exact" && s.Exact == entry.Key,
			entry.Kind == "exact" && s.External == entry.Key && slices.Contains(m.Spec.ApprovedSubjects, s.External),
			entry.Kind == "spiffe" && s.SPIFFE == entry.Key:
			return given
		case entry.Kind == "pattern" && s.Pattern == entry.Key:
			return true
		}
	}
	return false
}

func (e *Explanation) askRules(s Source) {
	answer := Answer{Source: s.Name, By: "stock broker"}
	result, err := s.Rules.Principal(e.Peer.Subject)
	switch {
	case errors.Is(err, rules.ErrNoMatch):
		answer.Entry = "refused: no rule matches"
	case err != nil:
		answer.Entry = err.Error()
	default:
		answer.Principal = principal.TypeUser + result.Name
		answer.Entry = ruleText(s.Rules, result.Rule)
		if result.Name == "" {
			e.note("%s: the principal has no name: whoever else gets none is the same to Kafka", s.Name)
		}
		for _, i := range s.Rules.Matches(e.Peer.Subject) {
			if i == result.Rule {
				continue
			}
			if other, err := (rules.List{s.Rules[i]}).Principal(e.Peer.Subject); err == nil && other.Name != result.Name {
				e.note("%s: shadowed: %s would give %s%s", s.Name, ruleText(s.Rules, i), principal.TypeUser, other.Name)
			}
		}
	}
	e.Answers = append(e.Answers, answer)
}

func ruleText(list rules.List, i int) string { return fmt.Sprintf("rule %d %s", i+1, list[i]) }

// WriteExplanation writes an explanation for people.
func WriteExplanation(w io.Writer, e Explanation) error {
	var b strings.Builder
	if e.Peer.DER != nil || e.Peer.Subject != "" || len(e.Peer.URIs) == 0 {
		subject := e.Peer.Subject
		if subject == "" {
			subject = "(empty)"
		}
		fmt.Fprintf(&b, "subject  %s\n", printable(subject))
	}
	for _, uri := range e.Peer.URIs {
		fmt.Fprintf(&b, "uri      %s\n", printable(uri))
	}
	if len(e.Answers) > 0 {
		b.WriteByte('\n')
		table := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
		fmt.Fprintln(table, "WHERE\tASKED\tPRINCIPAL\tBECAUSE OF")
		for _, a := range e.Answers {
			name := a.Principal
			if name == "" {
				name = "-"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", printable(a.Source), a.By, printable(name), printable(a.Entry))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(e.Notes) > 0 {
		b.WriteByte('\n')
	}
	for _, note := range e.Notes {
		fmt.Fprintln(&b, printable(note))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteFindings writes what is wrong with the rules of a source.
func WriteFindings(w io.Writer, name string, list rules.List, findings []analysis.Finding) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, ", printable(name), count(len(list), "rule"))
	if len(findings) == 0 {
		b.WriteString("nothing to complain about\n")
	} else {
		b.WriteString(count(len(findings), "finding") + "\n")
	}
	for i, rule := range list {
		fmt.Fprintf(&b, "  rule %d  %s\n", i+1, printable(rule.String()))
	}
	for _, f := range findings {
		fmt.Fprintf(&b, "%s: %s\n", f.Kind, printable(f.Detail))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
