// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/signet-kafka/signet/principal/pattern"
)

// Bounds of an evaluation.
const (
	// MaxSubject bounds the subject, in characters as Java counts them (UTF-16 units). It is the bound of mapping.json;
	// the longest subject that a KafkaUser can ask for is far below.
	MaxSubject = 2048
	// maxFrames bounds pattern.Pattern.Frames. Kafka's network threads have a stack of 1 MiB, which holds at least 7,000
	// frames of Java's matcher while it is interpreted; beyond that StackOverflowError closes the connection, or not,
	// depending on what the JVM has compiled so far.
	maxFrames = 3500
	// maxFindWork bounds the steps of replacing, which are quadratic in the length of the subject for odd patterns: the
	// remaining length times pattern.Pattern.Size, summed over all finds.
	maxFindWork = 20_000_000
)

// Result is what Kafka makes of a subject.
type Result struct {
	// Name is the name of the principal, without its type, which is always User.
	Name string
	// Rule is the index in the list of the rule that applied.
	Rule int
}

// Principal tells which principal Kafka gives to a subject, as X500Principal.getName() prints it. The errors are
// [ErrNoMatch], [*UnpredictableError], [*BoundError], and [*ReplacementError] for a Rule made by hand.
func (l List) Principal(subject string) (Result, error) {
	if !utf8.ValidString(subject) {
		return Result{}, &UnpredictableError{Rule: -1, Reason: "the subject is not UTF-8, which Java does not print"}
	}
	length := pattern.Length(subject)
	if length > MaxSubject {
		return Result{}, &BoundError{What: BoundSubject, Limit: MaxSubject}
	}
	for i, r := range l {
		if !r.Default && r.Pattern.Frames(length) > maxFrames {
			return Result{}, &UnpredictableError{Rule: i, Reason: fmt.Sprintf(
				"a subject of %d characters may overflow the stack of the broker's thread at this pattern", length)}
		}
		if !r.matches(subject) {
			continue
		}
		name, reason, err := r.apply(subject)
		switch {
		case err != nil:
			return Result{}, err
		case reason != "":
			return Result{}, &UnpredictableError{Rule: i, Reason: reason}
		}
		return Result{Name: name, Rule: i}, nil
	}
	return Result{}, ErrNoMatch
}

// Matches returns the indexes of all rules that match the subject. Kafka takes the first; the others are shadowed.
func (l List) Matches(subject string) []int {
	var matching []int
	for i, r := range l {
		if r.matches(subject) {
			matching = append(matching, i)
		}
	}
	return matching
}

func (r Rule) matches(subject string) bool {
	if r.Default {
		return true
	}
	_, ok := r.Pattern.MatchWhole(subject)
	return ok
}

// apply makes the principal of a subject that the pattern matches. A reason tells why it cannot be known.
func (r Rule) apply(subject string) (name, reason string, err error) {
	if r.Default {
		return subject, "", nil
	}
	parts, err := parseReplacement(r.Replacement, r.Pattern)
	if err != nil {
		return "", "", err
	}
	if r.Pattern.HasEndAnchor() && endsInLineBreak(subject) {
		return "", "the subject ends in a line break, before which $ matches, too", nil
	}
	name, reason = r.replaceAll(subject, parts)
	if reason != "" {
		return "", reason, nil
	}
	name, err = r.Case.apply(name)
	if err != nil {
		reason = err.Error()
	}
	return name, reason, nil
}

// endsInLineBreak tells whether s ends in what Java's Pattern calls a line terminator.
func endsInLineBreak(s string) bool {
	last, _ := utf8.DecodeLastRuneInString(s)
	return strings.ContainsRune("\n\r\u0085\u2028\u2029", last)
}

// replaceAll does what String.replaceAll does: having matched the whole subject, Kafka replaces each place where the
// pattern is found, which is not the same. The next search begins where the last match ended, or one character behind
// if that was empty; an empty match may follow a match directly.
func (r Rule) replaceAll(subject string, parts []part) (result, reason string) {
	var b strings.Builder
	copied, work := 0, 0
	for from := 0; from <= len(subject); {
		if work += (len(subject) - from) * r.Pattern.Size(); work > maxFindWork {
			return "", "the pattern is found in too many places"
		}
		indexes, ok := r.Pattern.Find(subject, from)
		if !ok {
			break
		}
		start, end := indexes[0], indexes[1]
		b.WriteString(subject[copied:start])
		writeExpansion(&b, parts, subject, indexes)
		copied, from = end, end
		if start == end {
			next, size := utf8.DecodeRuneInString(subject[end:])
			if next > '\uFFFF' {
				return "", "Java goes on in the middle of a character that takes two UTF-16 units"
			}
			from += max(size, 1)
		}
	}
	b.WriteString(subject[copied:])
	return b.String(), ""
}
