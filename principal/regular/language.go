// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import "fmt"

// A Language is the set of whole strings that a regular expression matches.
type Language struct {
	automaton *automaton
}

// Compile reads an expression in the syntax of package regexp/syntax with its Perl flags; the language is that of
// \A(?:expression)\z. Word boundaries, line anchors and inline flags without a colon are refused. It takes time linear
// in the length of the expression, repetitions written out. Errors: *TooComplexError beyond MaxInstructions, or a
// syntax error that quotes the expression.
func Compile(text string) (*Language, error) {
	parsed, err := parse(text)
	if err != nil {
		return nil, err
	}
	a, err := newAutomaton(parsed.tree)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", text, err)
	}
	return &Language{a}, nil
}

// Contains tells whether s, the whole of it, is in the language, in time proportional to its length times the number
// of states. As in package regexp, each byte of s that is not UTF-8 counts as U+FFFD.
func (l *Language) Contains(s string) bool { return l.automaton.contains(s) }

// Shortest returns a shortest word: of several the one with the best readable characters, from the left (letters, then
// digits, capitals, other ASCII, other printable characters, the rest). ok=false: the language is empty. It takes time
// proportional to the word's length times the number of states.
func (l *Language) Shortest() (word string, ok bool) {
	if l.automaton.empty() {
		return "", false
	}
	return l.automaton.shortest(), true
}

// Intersection returns a shortest word that is in both languages. ok=false: there is none. It takes time proportional
// to the product of the numbers of states; beyond 2,000,000 pairs it errs with *TooComplexError.
func Intersection(a, b *Language) (witness string, ok bool, err error) {
	if a.automaton.empty() || b.automaton.empty() {
		return "", false, nil
	}
	s := newPairSearch(a.automaton, b.automaton)
	goal, ok, err := s.run()
	if !ok || err != nil {
		return "", false, err
	}
	return word(s.path(goal)), true, nil
}

// Ambiguous returns a shortest word that the expression matches in more than one way, by different repetitions,
// options or alternatives. ok=false: there is none, so that every group's value is determined by the word, and a
// backtracking matcher never comes to one place of a word in one state twice, unless in dead parts. It takes
// time proportional to the square of the number of states; beyond 2,000,000 pairs it errs with *TooComplexError.
func (l *Language) Ambiguous() (witness string, ok bool, err error) {
	steps, ok, err := l.automaton.ambiguity()
	return word(steps), ok, err
}

// HasDeadParts tells whether the expression reads characters where no match can come by, such as in [^\x00-\x{10FFFF}]
// or behind \z. Ambiguous does not see these parts, but a backtracking matcher gets lost in (?:a|a)*[^\x00-\x{10FFFF}].
func (l *Language) HasDeadParts() bool { return l.automaton.dead }

// ambiguity returns two different paths that read the same word.
func (a *automaton) ambiguity() (steps []step, ok bool, err error) {
	if a.empty() {
		return nil, false, nil
	}
	s := newTwinSearch(a)
	goal, ok, err := s.run()
	if !ok || err != nil {
		return nil, false, err
	}
	return s.path(goal), true, nil
}
