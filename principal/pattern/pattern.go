// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// A Pattern is a regular expression that means the same to Java and to Go. It is immutable and may be used by several
// goroutines at once. Make one with [Parse].
type Pattern struct {
	text     string
	goSyntax string
	branches []branch
	repeated []bool
	size     int

	literal   string
	isLiteral bool

	// Of a pattern that is no literal:
	whole func() *regexp.Regexp // matches from start to end only
	first func() *regexp.Regexp // finds, at the start of the text
	later func() *regexp.Regexp // finds, where ^ cannot match
}

func newPattern(text string, branches []branch, repeated []bool) *Pattern {
	p := &Pattern{text: text, branches: branches, repeated: repeated, size: instructionsAround + len(branches)}
	for _, b := range branches {
		p.size += b.body.size + instructionsOfBranch
	}
	p.goSyntax = p.render(`\A`)
	if len(branches) == 1 {
		p.literal, p.isLiteral = branches[0].body.literal()
	}
	if !p.isLiteral {
		p.whole = compileOnce(`\A(?:` + p.goSyntax + `)\z`)
		p.first = compileOnce(p.goSyntax)
		p.later = compileOnce(p.render(nothing))
	}
	return p
}

const (
	// instructionsAround is what every program has: fail, match, the capture of the whole, and two anchors.
	instructionsAround = 6
	// instructionsOfBranch is what an alternative may have: two anchors.
	instructionsOfBranch = 2
)

// compileOnce compiles when it is first needed: most rules of a long list never come to match anything.
func compileOnce(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// render prints the pattern in Go's syntax, with begin in place of ^.
func (p *Pattern) render(begin string) string {
	var b strings.Builder
	for i, branch := range p.branches {
		if i > 0 {
			b.WriteByte('|')
		}
		if branch.begin {
			b.WriteString(begin)
		}
		branch.body.write(&b)
		if branch.end {
			b.WriteString(`\z`)
		}
	}
	return b.String()
}

// String returns the text that was parsed, in Java's syntax.
func (p *Pattern) String() string { return p.text }

// GoSyntax returns an equivalent expression in Go's (RE2's) syntax with the same groups, ^ as \A and $ as \z, made of
// constructs only that mean the same everywhere: characters, classes, groups, alternation, repetition.
func (p *Pattern) GoSyntax() string { return p.goSyntax }

// Groups returns the number of capturing groups, Java's Matcher.groupCount().
func (p *Pattern) Groups() int { return len(p.repeated) }

// Repeated tells whether a capturing group (1 to Groups) is inside a repetition, or is itself repeated; an optional
// group is not. What Java says of such a group after it has tried one round too many is the leftover of that round, so
// that its text is not to be relied on: a caller refuses references to it.
func (p *Pattern) Repeated(group int) bool { return p.repeated[group-1] }

// Size is an upper bound on the instructions that Go's regexp compiles the pattern to, at most MaxInstructions.
func (p *Pattern) Size() int { return p.size }

// Literal returns the only string that the pattern matches, if the pattern is made of characters only, anchored or not.
func (p *Pattern) Literal() (text string, ok bool) { return p.literal, p.isLiteral }

// HasEndAnchor tells whether there is a $. In Java that matches before a line terminator at the end of the text, too,
// which Find does not know.
func (p *Pattern) HasEndAnchor() bool {
	for _, b := range p.branches {
		if b.end {
			return true
		}
	}
	return false
}

// Anchored tells whether every alternative begins with ^ and ends with $, so that what is found is the whole text.
func (p *Pattern) Anchored() bool {
	for _, b := range p.branches {
		if !b.begin || !b.end {
			return false
		}
	}
	return true
}

// Frames bounds how deep Java's backtracking matcher recurses on a text of so many characters, in stack frames: it
// recurses once for each construct, and several times for each round of a repeated group. The stack of a JVM's thread
// holds some thousands.
func (p *Pattern) Frames(length int) int {
	frames, perChar := 0, 0
	for _, b := range p.branches {
		frames = max(frames, b.body.frames)
		perChar = max(perChar, b.body.framesPerChar)
	}
	return frames + framesAround + perChar*length
}

// framesAround are the frames of Start, Branch, Begin, Dollar and LastNode.
const framesAround = 6

// MatchWhole tells whether the whole of s matches, as Java's Matcher.matches() does, and returns where the whole and
// each group begin and end, as regexp.FindStringSubmatchIndex does: -1 for a group that took no part. A text that is no
// UTF-8, which Java could not hold, does not match. Time is proportional to len(s) times Size.
func (p *Pattern) MatchWhole(s string) (indexes []int, ok bool) {
	if p.isLiteral {
		return []int{0, len(s)}, s == p.literal
	}
	if !utf8.ValidString(s) {
		return nil, false
	}
	indexes = p.whole().FindStringSubmatchIndex(s)
	return indexes, indexes != nil
}

// Find finds the leftmost match in s that begins at the byte from or behind it, as Java's Matcher.find(int) does, and
// returns where it and each group begin and end. A ^ matches at 0 only. A $ matches at the end only; if s ends in one of
// Java's line terminators (\n, \r, U+0085, U+2028, U+2029) that is less than in Java. An s that is no UTF-8 matches
// nothing. Time is as for MatchWhole.
func (p *Pattern) Find(s string, from int) (indexes []int, ok bool) {
	if p.isLiteral {
		return p.findLiteral(s, from)
	}
	if !utf8.ValidString(s) {
		return nil, false
	}
	if from == 0 {
		indexes = p.first().FindStringSubmatchIndex(s)
		return indexes, indexes != nil
	}
	indexes = p.later().FindStringSubmatchIndex(s[from:])
	for i := range indexes {
		if indexes[i] >= 0 {
			indexes[i] += from
		}
	}
	return indexes, indexes != nil
}

func (p *Pattern) findLiteral(s string, from int) (indexes []int, ok bool) {
	at := 0
	switch anchors := p.branches[0]; {
	case anchors.begin && anchors.end:
		ok = from == 0 && s == p.literal
	case anchors.begin:
		ok = from == 0 && strings.HasPrefix(s, p.literal)
	case anchors.end:
		at = len(s) - len(p.literal)
		ok = at >= from && strings.HasSuffix(s, p.literal)
	default:
		at = from + strings.Index(s[from:], p.literal)
		ok = at >= from
	}
	if !ok {
		return nil, false
	}
	return []int{at, at + len(p.literal)}, true
}
