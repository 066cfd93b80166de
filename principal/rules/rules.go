// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/signet-kafka/signet/principal/pattern"
)

// Bounds of a list.
const (
	// MaxRules bounds the number of rules. Kafka tries them one after another on each request; at 10,000 that takes
	// the better part of a millisecond.
	MaxRules = 20_000
	// MaxSize bounds the sum of pattern.Pattern.Size over all rules that are not made of literal characters only, and
	// with it the memory of a list (about 200 bytes for each) and the time to match one subject (a step for each and
	// for each character, at worst).
	MaxSize = 250_000
)

// A Rule is one item of ssl.principal.mapping.rules. Make one with [Parse], [New] or [Exact].
type Rule struct {
	// Default is the rule DEFAULT: the principal is the subject itself. Nothing else is set then.
	Default bool
	// Pattern must match the whole subject for the rule to apply.
	Pattern *pattern.Pattern
	// Replacement takes the place of what Pattern then finds in the subject, as often as it finds something. It is in
	// Kafka's syntax: $1 is a group, a backslash takes the meaning from the next character.
	Replacement string
	// Case is applied to the outcome.
	Case Case
}

// A List holds rules in the order in which Kafka tries them.
type List []Rule

// A Note tells what is legal and yet may surprise.
type Note struct {
	// Offset is where, in bytes from the start of the text.
	Offset int
	// Text is a sentence.
	Text string
}

// Parse reads the value of ssl.principal.mapping.rules. Its errors are [*SyntaxError], [*DroppedError], [*BoundError],
// and [*ItemError] around a [*ReplacementError], a *pattern.UnsupportedError or a *pattern.TooLargeError.
//
// Empty items, which Kafka ignores, are ignored; a text of nothing else is a list of no rules, with which Kafka refuses
// everybody.
func Parse(text string) (List, error) {
	list, _, err := ParseNotes(text)
	return list, err
}

// ParseNotes is Parse for people: it also tells what may surprise them.
func ParseNotes(text string) (List, []Note, error) {
	items, err := scan(text)
	if err != nil {
		return nil, nil, err
	}
	var list List
	var notes []Note
	size, unreachable := 0, false
	for _, i := range items {
		if !i.isRule && !i.isDefault {
			notes = append(notes, Note{i.offset, "an empty item: Kafka ignores it"})
			continue
		}
		rule, err := i.rule()
		if err != nil {
			return nil, nil, err
		}
		if !rule.Default {
			if _, literal := rule.Pattern.Literal(); !literal {
				size += rule.Pattern.Size()
			}
			if !rule.Pattern.Anchored() {
				notes = append(notes, Note{i.offset, "not anchored with ^ and $: once the pattern matches the whole " +
					"subject, Kafka replaces each place where it is found, which need not be the whole"})
			}
		}
		if size > MaxSize {
			return nil, nil, &BoundError{What: BoundSize, Limit: MaxSize, Offset: i.offset}
		}
		if len(list) == MaxRules {
			return nil, nil, &BoundError{What: BoundRules, Limit: MaxRules, Offset: i.offset}
		}
		if unreachable {
			notes = append(notes, Note{i.offset, "behind DEFAULT, which always applies: Kafka never comes here"})
		}
		unreachable = unreachable || rule.Default
		list = append(list, rule)
	}
	return list, notes, nil
}

// rule makes the rule of an item that is not empty.
func (i *item) rule() (Rule, error) {
	if i.isDefault {
		return Rule{Default: true}, nil
	}
	compiled, err := pattern.Parse(i.pattern)
	var syntax *pattern.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return Rule{}, &SyntaxError{Offset: i.offset, Text: excerpt(i.text), Reason: err.Error(), Err: err}
	case err != nil:
		return Rule{}, &ItemError{Offset: i.offset, Text: excerpt(i.text), Err: err}
	}
	if _, err := parseReplacement(i.replacement, compiled); err != nil {
		return Rule{}, &ItemError{Offset: i.offset, Text: excerpt(i.text), Err: err}
	}
	return Rule{Pattern: compiled, Replacement: i.replacement, Case: i.letterCase}, nil
}

// New makes a rule of a pattern in Java's syntax and a replacement in Kafka's. Both must be fit to stand in a rule: each
// slash has a backslash before it. Its errors are those of [Parse].
func New(patternText, replacement string, letterCase Case) (Rule, error) {
	text := render(patternText, replacement, letterCase)
	items, err := scan(text)
	if err != nil {
		return Rule{}, err
	}
	i := items[0]
	if len(items) != 1 || i.pattern != patternText || i.replacement != replacement || i.letterCase != letterCase {
		return Rule{}, &SyntaxError{Text: excerpt(text),
			Reason: `a slash or a comma is read in another place than meant: put a backslash before each slash`}
	}
	return i.rule()
}

// Exact makes the rule that maps exactly this subject, in the form that package principal prints, to exactly this
// principal name, without its type. Whatever could mean something in a regular expression, in its replacement or in
// Kafka's grammar is escaped. The errors are those of [Parse]: a rule may become too long for Kafka (a *[BoundError]),
// and line breaks and NUL cannot be written.
func Exact(subject, principalName string) (Rule, error) {
	if !utf8.ValidString(subject) {
		return Rule{}, &DroppedError{Text: excerpt(subject), Reason: "not UTF-8: Kafka would read replacement characters"}
	}
	var text strings.Builder
	text.WriteByte('^')
	for _, r := range subject {
		if r < 0x80 && !isAlphanumeric(r) {
			text.WriteByte('\\')
		}
		text.WriteRune(r)
	}
	text.WriteByte('$')
	return New(text.String(), strings.NewReplacer(`\`, `\\`, `$`, `\$`, `/`, `\/`).Replace(principalName), None)
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// String renders the rule for ssl.principal.mapping.rules: Parse reads it back.
func (r Rule) String() string {
	if r.Default {
		return "DEFAULT"
	}
	return render(r.Pattern.String(), r.Replacement, r.Case)
}

func render(patternText, replacement string, letterCase Case) string {
	return "RULE:" + patternText + "/" + replacement + "/" + letterCase.String()
}

// Equal tells whether both rules are written alike.
func (r Rule) Equal(other Rule) bool { return r.String() == other.String() }

// String renders the value of ssl.principal.mapping.rules: Parse reads it back.
func (l List) String() string {
	texts := make([]string, len(l))
	for i, r := range l {
		texts[i] = r.String()
	}
	return strings.Join(texts, ",")
}
