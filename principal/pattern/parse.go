// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a pattern.
const (
	// MaxLength bounds the text, in characters as Java counts them (UTF-16 units). It is the bound on a whole rule of
	// ssl.principal.mapping.rules, beyond which Kafka's own parser overflows the stack (see package rules).
	MaxLength = 1000
	// MaxRepetition bounds the numbers in {n,m}: each repetition is compiled into so many copies. The longest thing
	// that is counted in names is a DNS subdomain, 253 characters.
	MaxRepetition = 255
	// MaxInstructions bounds the compiled program. Matching takes time proportional to it for each character, and the
	// decisions of package regular take time proportional to its square.
	MaxInstructions = 2000
)

// Parse reads a regular expression as java.util.regex.Pattern.compile(text) does. Its errors are [*SyntaxError],
// [*UnsupportedError] and [*TooLargeError]. A *SyntaxError is certain; a text with an unsupported construct may hold
// mistakes as well.
func Parse(text string) (*Pattern, error) {
	if !utf8.ValidString(text) {
		return nil, &UnsupportedError{Feature: "a byte that is no UTF-8"}
	}
	if len(text) > MaxLength && Length(text) > MaxLength {
		return nil, &TooLargeError{What: "pattern length", Limit: MaxLength, Offset: MaxLength}
	}
	if i := quotation(text); i >= 0 {
		return nil, &UnsupportedError{Feature: `quotation (\Q…\E)`, Offset: i}
	}
	if i := strings.IndexByte(text, 0); i >= 0 {
		return nil, &UnsupportedError{Feature: `the character NUL (write \x00)`, Offset: i}
	}
	p := parser{text: text}
	branches, err := p.branches()
	if err != nil {
		return nil, err
	}
	result := newPattern(text, branches, p.repeated)
	if result.size > MaxInstructions {
		return nil, p.tooLarge()
	}
	if _, literal := result.Literal(); literal {
		return result, nil
	}
	// Go has a bound of its own on repetitions within repetitions.
	if _, err := syntax.Parse(result.goSyntax, syntax.Perl); err != nil {
		return nil, p.tooLarge()
	}
	return result, nil
}

// Length returns the length of s as Java counts it, in UTF-16 units.
func Length(s string) int {
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// quotation returns where \Q begins, or -1. Java takes quotations out before it reads anything else, so that \Q counts
// even where a backslash belongs to something else, as in \c\Q.
func quotation(text string) int {
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '\\' {
			if text[i+1] == 'Q' {
				return i
			}
			i++
		}
	}
	return -1
}

// A branch is one alternative of the whole pattern.
type branch struct {
	begin, end bool // it has ^ in front, $ at its tail
	body       *node
}

// parser is a recursive descent over Java's grammar. Groups nest no deeper than the bounded text is long.
type parser struct {
	text string
	pos  int
	// repeated has an element for each capturing group so far: whether it is inside a repetition.
	repeated []bool
}

// end is what peek returns behind the text; it is no character.
const end = rune(-1)

func (p *parser) peek() rune {
	if p.pos == len(p.text) {
		return end
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	return r
}

func (p *parser) next() rune {
	r := p.peek()
	if r != end {
		p.pos += utf8.RuneLen(r)
	}
	return r
}

// accept steps over prefix if it is next.
func (p *parser) accept(prefix string) bool {
	if strings.HasPrefix(p.text[p.pos:], prefix) {
		p.pos += len(prefix)
		return true
	}
	return false
}

func (p *parser) syntaxError(offset int, format string, args ...any) error {
	return &SyntaxError{Reason: fmt.Sprintf(format, args...), Offset: offset}
}

func (p *parser) unsupported(offset int, format string, args ...any) error {
	return &UnsupportedError{Feature: fmt.Sprintf(format, args...), Offset: offset}
}

func (p *parser) tooLarge() error {
	return &TooLargeError{What: "program size", Limit: MaxInstructions, Offset: p.pos}
}

// branches reads the whole pattern. Only here may anchors stand: ^ in front and $ at the tail of an alternative.
func (p *parser) branches() ([]branch, error) {
	var all []branch
	for {
		var b branch
		if p.accept(`^`) {
			b.begin = true
			if err := p.noQuantifier(`^`); err != nil {
				return nil, err
			}
		}
		body, err := p.sequence()
		if err != nil {
			return nil, err
		}
		b.body = body
		if p.accept(`$`) {
			b.end = true
			if err := p.noQuantifier(`$`); err != nil {
				return nil, err
			}
		}
		all = append(all, b)
		switch p.peek() {
		case end:
			return all, nil
		case ')':
			return nil, p.syntaxError(p.pos, "unmatched )")
		case '|':
			p.pos++
		case '^':
			return nil, p.unsupported(p.pos, "^ with something before it")
		default:
			return nil, p.unsupported(p.pos, "$ with something behind it")
		}
	}
}

func (p *parser) noQuantifier(anchor string) error {
	if c := p.peek(); c != end && strings.ContainsRune(`*+?{`, c) {
		return p.unsupported(p.pos, "a quantifier behind %s", anchor)
	}
	return nil
}

// alternatives reads what is inside a group.
func (p *parser) alternatives() (*node, error) {
	var subs []*node
	for {
		sub, err := p.sequence()
		if err != nil {
			return nil, err
		}
		subs = append(subs, sub)
		switch c := p.peek(); c {
		case '|':
			p.pos++
		case '^', '$':
			return nil, p.unsupported(p.pos, "%c inside a group (write ^(…)$)", c)
		default:
			return newAlternate(subs), nil
		}
	}
}

// sequence reads up to the next anchor, | or ) or the end.
func (p *parser) sequence() (*node, error) {
	var subs []*node
	for {
		offset, first := p.pos, len(p.repeated)
		var atom *node
		var err error
		switch c := p.peek(); c {
		case end, '|', ')', '^', '$':
			return newConcat(subs), nil
		case '*', '+', '?':
			return nil, p.syntaxError(offset, "%c has nothing before it to repeat (write \\%c for the character)", c, c)
		case '{':
			// To Java this is an empty string, repeated.
			if p.pos+1 < len(p.text) && isDigit(p.text[p.pos+1]) {
				return nil, p.unsupported(offset, "a counted repetition of nothing, or of a repetition")
			}
			return nil, p.syntaxError(offset, `{ is not followed by a number (write \{ for the character)`)
		case '(':
			atom, err = p.parenthesis()
		case '[':
			atom, err = p.class()
		case '.':
			p.pos++
			atom = newSet(anyChar)
		case '\\':
			atom, err = p.escapedAtom()
		default: // ] and } among them
			p.next()
			atom = newSet(charset{c, c})
		}
		if err != nil {
			return nil, err
		}
		atom, err = p.quantified(atom, offset, first)
		if err != nil {
			return nil, err
		}
		subs = append(subs, atom)
	}
}

// quantified reads the quantifier behind an atom, if there is one. The atom begins at offset, and its first capturing
// group has the index first in p.repeated.
func (p *parser) quantified(atom *node, offset, first int) (*node, error) {
	at := p.pos
	minimum, maximum, counted := 0, unbounded, false
	switch p.peek() {
	case '*':
		p.pos++
	case '+':
		p.pos++
		minimum = 1
	case '?':
		p.pos++
		maximum = 1
	case '{':
		var err error
		if minimum, maximum, err = p.counts(); err != nil {
			return nil, err
		}
		counted = true
	default:
		return atom, nil
	}
	optional := maximum == 1 && !counted
	if p.peek() == '+' {
		return nil, p.unsupported(p.pos, "possessive quantifier")
	}
	lazy := p.accept(`?`)
	if atom.nullable() && !optional {
		return nil, p.unsupported(offset, "a quantifier over something that can match the empty string")
	}
	n := newRepetition(atom, minimum, maximum, lazy)
	if n.size > MaxInstructions {
		return nil, &TooLargeError{What: "program size", Limit: MaxInstructions, Offset: at}
	}
	if !optional {
		for i := first; i < len(p.repeated); i++ {
			p.repeated[i] = true
		}
	}
	return n, nil
}

// counts reads {n}, {n,} or {n,m}.
func (p *parser) counts() (minimum, maximum int, err error) {
	at := p.pos
	p.pos++
	if !isDigit(p.byte()) {
		return 0, 0, p.syntaxError(at, `{ is not followed by a number (write \{ for the character)`)
	}
	minimum = p.number()
	maximum = minimum
	if p.accept(`,`) {
		maximum = unbounded
		if p.byte() != '}' {
			maximum = p.number()
		}
	}
	if !p.accept(`}`) {
		return 0, 0, p.syntaxError(at, "the counted repetition is not closed with }")
	}
	switch {
	case minimum > MaxRepetition, maximum > MaxRepetition:
		return 0, 0, &TooLargeError{What: "repetition count", Limit: MaxRepetition, Offset: at}
	case maximum != unbounded && maximum < minimum:
		return 0, 0, p.syntaxError(at, "the maximum of the counted repetition is below its minimum")
	case maximum == 0:
		return 0, 0, p.unsupported(at, "a repetition of zero times")
	}
	return minimum, maximum, nil
}

// byte returns the next byte, or 0 behind the text, in which there is no NUL.
func (p *parser) byte() byte {
	if p.pos == len(p.text) {
		return 0
	}
	return p.text[p.pos]
}

// number reads decimal digits. Beyond MaxRepetition only the order of magnitude is right.
func (p *parser) number() int {
	n := 0
	for isDigit(p.byte()) {
		n = min(10*n+int(p.byte()-'0'), 10*MaxRepetition)
		p.pos++
	}
	return n
}

func (p *parser) parenthesis() (*node, error) {
	at := p.pos
	p.pos++
	group := 0
	if p.accept(`?`) {
		if !p.accept(`:`) {
			return nil, p.unsupported(at, "%s", p.specialGroup())
		}
	} else {
		p.repeated = append(p.repeated, false)
		group = len(p.repeated)
	}
	sub, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.accept(`)`) {
		return nil, p.syntaxError(at, "the group is not closed with )")
	}
	return newGroup(group, sub), nil
}

// specialGroup names what follows "(?".
func (p *parser) specialGroup() string {
	rest := p.text[p.pos:]
	for _, special := range []struct{ prefix, name string }{
		{`=`, "look-ahead (?=…)"},
		{`!`, "look-ahead (?!…)"},
		{`<=`, "look-behind (?<=…)"},
		{`<!`, "look-behind (?<!…)"},
		{`<`, "named group (?<…>…)"},
		{`>`, "atomic group (?>…)"},
	} {
		if strings.HasPrefix(rest, special.prefix) {
			return special.name
		}
	}
	return "inline flag (?…)"
}

func isDigit(c byte) bool {
	return c >= '0' && c <= '9'
}
