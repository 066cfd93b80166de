// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"errors"
	"fmt"
	"strings"

	"github.com/signet-kafka/signet/principal/regular"
)

// overlap finds a subject that both rules match with different principals. It is not ok if there was too much work.
func (a *analysis) overlap(earlier, later analysed) (ok bool) {
	i, j := earlier.index, later.index
	witness, both, err := regular.Intersection(earlier.subjects, later.subjects)
	if err != nil {
		a.undecided(i, j, "", "whether rules %d and %d match one subject is not decided: %s", i+1, j+1, reason(err))
		return true
	}
	if !both || a.differ(earlier, later, witness) != agree || isLiteral(earlier) || isLiteral(later) {
		return true
	}
	// They agree on that subject. There may be others.
	question := fmt.Sprintf("rules %d and %d both match %s, and whether they always give one principal is not decided",
		i+1, j+1, quote(witness))
	f, g := earlier.gives, later.gives
	if f == nil || g == nil {
		a.undecided(i, j, witness, "%s: of one of them it is not known what it gives", question)
		return true
	}
	exact := f.exact && g.exact
	if !exact && earlier.rule.Case != later.rule.Case {
		a.undecided(i, j, witness, "%s: they do not change the case of letters alike", question)
		return true
	}
	if !a.spend(differWork) {
		return false
	}
	different, found, err := regular.Differ(f.Function, g.Function)
	switch {
	case err != nil:
		a.undecided(i, j, witness, "%s: %s", question, reason(err))
	case found && a.differ(earlier, later, different) == agree:
		a.undecided(i, j, witness, "%s: before they change the case of letters, they do not", question)
	}
	return true
}

// isLiteral tells whether a rule matches one subject only.
func isLiteral(a analysed) bool {
	_, literal := a.rule.Pattern.Literal()
	return literal
}

// A comparison is what is known of the principals that two rules give one subject.
type comparison int

const (
	unknown comparison = iota
	agree
	differ
)

// differ compares the principals that two rules give a subject that both match, and says so if they are different or
// cannot be known.
func (a *analysis) differ(earlier, later analysed, subject string) comparison {
	i, j := earlier.index, later.index
	first, err := principalOf(earlier.rule, subject)
	second, otherErr := principalOf(later.rule, subject)
	if err = errors.Join(err, otherErr); err != nil {
		a.undecided(i, j, subject, "whether rules %d and %d give %s one principal is not known", i+1, j+1, quote(subject))
		return unknown
	}
	if first == second {
		return agree
	}
	finding := Finding{Kind: Overlap, Rule: i, Other: j, Subject: subject}
	if butFor := a.comesFirst(i, subject); butFor != "" {
		a.find(finding, "rules %d and %d both match %s and would give %s and %s%s",
			i+1, j+1, quote(subject), quote(first), quote(second), butFor)
		return differ
	}
	a.find(finding, "rules %d and %d both match %s: rule %d comes first and gives %s, rule %d would give %s",
		i+1, j+1, quote(subject), i+1, quote(first), j+1, quote(second))
	return differ
}

// shared finds two subjects, one of each rule, that get one principal. It is not ok if there was too much work.
func (a *analysis) shared(earlier, later analysed) (ok bool) {
	f, g := earlier.gives, later.gives
	if f == nil || g == nil {
		return true // said of the rule itself
	}
	i, j := earlier.index, later.index
	first, second, _, found, err := regular.Collide(f.Function, g.Function)
	if found && first == second {
		// One subject of both. There may be others.
		if !a.spend(differWork) {
			return false
		}
		first, second, _, found, err = regular.CollideApart(f.Function, g.Function)
	}
	switch {
	case err != nil:
		a.undecided(i, j, "",
			"whether rules %d and %d give two subjects one principal is not decided: %s", i+1, j+1, reason(err))
	case found:
		a.share(earlier, later, first, second)
	}
	return true
}

// share says that a subject of one rule and a different one of another, or of the same, get one principal, if they do
// when the case of letters is changed.
func (a *analysis) share(earlier, later analysed, first, second string) {
	i, j := earlier.index, later.index
	finding := Finding{Kind: Shared, Rule: i, Other: j, Subject: first, OtherSubject: second}
	if i == j {
		finding.Other = -1
	}
	name, err := principalOf(earlier.rule, first)
	otherName, otherErr := principalOf(later.rule, second)
	if err = errors.Join(err, otherErr); err != nil {
		a.undecided(i, finding.Other, first, "whether %s and %s get one principal by rules %d and %d is not known",
			quote(first), quote(second), i+1, j+1)
		return
	}
	if name != otherName {
		return
	}
	butFor := a.comesFirst(i, first)
	if other := a.comesFirst(j, second); butFor == "" {
		butFor = other
	} else {
		butFor += strings.Replace(other, "; but", ", and", 1)
	}
	if i == j {
		a.find(finding,
			"rule %d gives %s and %s the same principal, %s%s", i+1, quote(first), quote(second), quote(name), butFor)
		return
	}
	a.find(finding, "rule %d gives %s, and rule %d gives %s, the same principal, %s%s",
		i+1, quote(first), j+1, quote(second), quote(name), butFor)
}

// comesFirst says which rule takes a subject from a later one.
func (a *analysis) comesFirst(rule int, subject string) string {
	taken := a.list[:rule].Matches(subject)
	if len(taken) == 0 {
		return ""
	}
	return fmt.Sprintf("; but rule %d comes first for %s", taken[0]+1, quote(subject))
}

// quote delimits a subject or a principal in a sentence. It escapes nothing: a subject has backslashes of its own.
func quote(s string) string { return `"` + s + `"` }
