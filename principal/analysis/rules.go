// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"fmt"
	"strings"

	"github.com/signet-kafka/signet/principal/regular"
	"github.com/signet-kafka/signet/principal/rules"
)

// Bounds of an analysis.
const (
	// MaxRules is the number of rules that Rules looks at, the first ones: the time is quadratic in it. Lists that people
	// write have some tens.
	MaxRules = 200
	// MaxFindings is the number of findings after which Rules ends: nobody reads more, and 200 rules can have 40,000.
	MaxFindings = 1000
	// maxWork bounds the sum of what comparisons may cost, in pairs of states of two automata. A pair takes 10 to 50 ns, so
	// that it is some minutes at worst; 200 rules with two DNS labels each use most of it, in some ten seconds.
	maxWork = 4_000_000_000
	// differWork is what a call of regular.Differ counts, whose own bound is a few seconds.
	differWork = 20_000_000
	// coverWork is what a call of regular.Covered counts if it gives up, after about a second.
	coverWork = 50_000_000
)

// Kind says what a Finding is about.
type Kind string

const (
	// Unreachable is a rule that matches only subjects that earlier rules match, or none at all. It has no subject, and
	// nothing else is said about it.
	Unreachable Kind = "unreachable"
	// Overlap is a subject that two rules match and would give different principals; the earlier one comes first. DEFAULT
	// is left out: it is meant for what is left over.
	Overlap Kind = "overlap"
	// Shared are two subjects, of two rules or of one, that get one principal: whoever has a certificate with either is
	// the same to Kafka. That is meant where a replacement drops a part of the subject, if the CA gives that name to one
	// owner only. DEFAULT is left out: its principals are subjects.
	//
	// Overlap and Shared are about two rules, or one, as if there were no others. Where a still earlier rule takes a
	// subject, Detail says so; then it may be that no subject is left for which the finding matters.
	Shared Kind = "shared principal"
	// Unanchored is a rule that is not anchored with ^ and $ and not a plain text: Kafka's replacement is made at each
	// place where the pattern is found. It has no subject. Which subjects share a principal by it is not decided.
	Unanchored Kind = "unanchored"
	// CatchAll is a rule that gives every certificate of the CA a principal: DEFAULT, or a pattern that matches all
	// subjects but, perhaps, the empty one and those with line breaks, which a dot does not match. It has no subject.
	CatchAll Kind = "catch-all"
	// Undecided is a question that would take too long, or that the automata cannot answer. Its subject, if it has one, is
	// what the question was asked about.
	Undecided Kind = "undecided"
)

// Finding is one thing that is wrong, or may be.
type Finding struct {
	// Kind of finding.
	Kind Kind
	// Rule and Other are indexes into the list, from 0, Rule the lower one. Other is -1 where one rule is concerned, and
	// both are where the whole list is.
	Rule, Other int
	// Subject that shows it, as the kind says.
	Subject string
	// OtherSubject gets the principal of Subject, in a Shared finding: from Other, or from Rule if Other is -1.
	OtherSubject string
	// Detail is a sentence for people, in which rules count from 1.
	Detail string
}

// Rules returns what is wrong with a list, in the order of its rules; what concerns two stands where the later one is.
// A rule that is unreachable is not compared with later ones. The time taken is quadratic in the number of rules and in
// the length of their patterns, and bounded: Rules ends after MaxRules rules, after the rule with which there are more
// than MaxFindings findings, and where patterns are too complex to compare all of them. The last finding then is an
// Undecided one about the whole list.
func Rules(list rules.List) []Finding { return within(maxWork, list) }

// within is Rules with so much work.
func within(work int, list rules.List) []Finding {
	a := analysis{list: list, work: work}
	for i := range list {
		if i == MaxRules {
			a.undecided(-1, -1, "", "the rules behind rule %d are not analysed: %d are too many", i, len(list))
			break
		}
		if len(a.findings) > MaxFindings {
			a.undecided(-1, -1, "",
				"the rules behind rule %d are not analysed: there are %d findings already", i, len(a.findings))
			break
		}
		if !a.add(i) {
			a.undecided(-1, -1, "",
				"the analysis ends at rule %d: the patterns are too complex to compare all of them", i+1)
			break
		}
	}
	return a.findings
}

// everySubject are the subjects that a rule for all of them matches at least.
const everySubject = `[^\n\r\x{85}\x{2028}\x{2029}]+`

// An analysis is what is known of the rules up to some place in the list.
type analysis struct {
	list     rules.List
	work     int // what is left of maxWork
	before   []analysed
	findings []Finding
}

// analysed is a rule that is reached, with what it matches and, where that is known, what it gives.
type analysed struct {
	index    int
	rule     rules.Rule
	subjects *regular.Language
	gives    *function // nil where that is not known
}

// spend takes from the work that is left, and tells whether it is enough.
func (a *analysis) spend(work int) bool {
	a.work -= work
	return a.work >= 0
}

func (a *analysis) find(f Finding, format string, args ...any) {
	f.Detail = fmt.Sprintf(format, args...)
	a.findings = append(a.findings, f)
}

func (a *analysis) undecided(rule, other int, subject, format string, args ...any) {
	a.find(Finding{Kind: Undecided, Rule: rule, Other: other, Subject: subject}, format, args...)
}

// add analyses the next rule, by itself and with those before it. It is not ok if there was too much work.
func (a *analysis) add(i int) (ok bool) {
	next := analysed{index: i, rule: a.list[i]}
	expression, size := `(?s:.*)`, 1
	if !next.rule.Default {
		expression, size = next.rule.Pattern.GoSyntax(), next.rule.Pattern.Size()
	}
	// The pattern is compared with itself to see whether it is ambiguous, and then what it gives.
	if !a.spend(2 * size * size) {
		return false
	}
	var err error
	if next.subjects, err = regular.Compile(expression); err != nil {
		a.undecided(i, -1, "", "rule %d is not analysed: %s", i+1, reason(err))
		return true
	}
	if a.unreachable(next) {
		return true
	}
	a.alone(&next)
	for _, earlier := range a.before {
		if earlier.rule.Default || next.rule.Default {
			continue
		}
		if !a.spend(2*size*earlier.rule.Pattern.Size()) || !a.overlap(earlier, next) || !a.shared(earlier, next) {
			return false
		}
	}
	a.before = append(a.before, next)
	return true
}

func (a *analysis) unreachable(next analysed) bool {
	finding := Finding{Kind: Unreachable, Rule: next.index, Other: -1}
	if _, some := next.subjects.Shortest(); !some {
		a.find(finding, "rule %d is never reached: no subject matches its pattern", next.index+1)
		return true
	}
	var earlier []*regular.Language
	for _, b := range a.before {
		if b.rule.Default {
			a.find(finding, "rule %d is never reached: rule %d, DEFAULT, takes every subject", next.index+1, b.index+1)
			return true
		}
		earlier = append(earlier, b.subjects)
	}
	_, covered, err := regular.Covered(next.subjects, earlier...)
	switch {
	case err != nil:
		a.work -= coverWork
		a.undecided(next.index, -1, "", "whether rule %d is ever reached is not decided: %s", next.index+1, reason(err))
	case covered:
		a.find(finding, "rule %d is never reached: earlier rules take every subject that it matches", next.index+1)
	}
	return covered
}

// alone looks at one rule, and sets what it gives.
func (a *analysis) alone(next *analysed) {
	i := next.index
	a.catchAll(*next)
	if next.rule.Default {
		return
	}
	if _, literal := next.rule.Pattern.Literal(); !literal && !next.rule.Pattern.Anchored() {
		a.find(Finding{Kind: Unanchored, Rule: i, Other: -1},
			"rule %d is not anchored as ^…$: its pattern has to match the "+
				"whole subject, but Kafka then replaces each place where it is found, so that RULE:.*/x/ gives User:xx", i+1)
		return
	}
	gives, err := newFunction(next.rule)
	if err != nil {
		a.undecided(i, -1, ambiguous(err),
			"whether rule %d gives two subjects one principal is not decided: %s", i+1, reason(err))
		return
	}
	next.gives = gives
	first, second, _, injective, err := regular.Injective(gives.Function)
	switch {
	case err != nil:
		a.undecided(i, -1, "", "whether rule %d gives two subjects one principal is not decided: %s", i+1, reason(err))
	case !injective:
		a.share(*next, *next, first, second)
	case !gives.exact:
		a.undecided(i, -1, "", "whether rule %d gives two subjects one principal is not decided: it changes the case of "+
			"letters, so that two that differ in nothing else may", i+1)
	}
}

func (a *analysis) catchAll(next analysed) {
	every, err := regular.Compile(everySubject)
	if err != nil || !next.subjects.Contains("a") { // spares the rules that name something
		return
	}
	_, covered, err := regular.Covered(every, next.subjects)
	if err != nil {
		a.work -= coverWork
		a.undecided(next.index, -1, "",
			"whether rule %d takes every certificate is not decided: %s", next.index+1, reason(err))
		return
	}
	if !covered {
		return
	}
	empty := ""
	if name, err := principalOf(next.rule, ""); err == nil {
		empty = "; one with an empty subject, as a mesh issues them, becomes " + quote(name)
	}
	a.find(Finding{Kind: CatchAll, Rule: next.index, Other: -1},
		"rule %d gives a principal to every certificate of the CA, whoever it was issued to%s", next.index+1, empty)
}

// property is the broker's property that holds mapping rules (KIP-371).
const property = "ssl.principal.mapping.rules"

// IsRulesProperty tells whether a broker's property, with or without a listener's prefix, holds mapping rules.
func IsRulesProperty(name string) bool {
	return name == property || strings.HasSuffix(name, "."+property)
}
