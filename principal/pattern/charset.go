// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A charset is a set of characters: pairs of first and last, ascending, neither overlapping nor adjacent.
type charset []rune

// Java's predefined classes, which without UNICODE_CHARACTER_CLASS know ASCII only. Go's \s lacks \x0B.
var (
	digits     = charset{'0', '9'}
	wordChars  = charset{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}
	whitespace = charset{'\t', '\r', ' ', ' '}
	// anyChar is Java's dot: all but the line terminators that Pattern lists.
	anyChar = charset{0, '\t', '\x0B', '\f', '\x0E', '\u0084', '\u0086', '\u2027', '\u202A', utf8.MaxRune}
)

// predefined returns the class that an escape such as \d stands for.
func predefined(letter rune) (charset, bool) {
	switch letter {
	case 'd':
		return digits, true
	case 'D':
		return digits.negate(), true
	case 'w':
		return wordChars, true
	case 'W':
		return wordChars.negate(), true
	case 's':
		return whitespace, true
	case 'S':
		return whitespace.negate(), true
	}
	return nil, false
}

// newCharset brings pairs of first and last, in any order, into the form of a charset.
func newCharset(pairs []rune) charset {
	type span struct{ first, last rune }
	spans := make([]span, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		spans = append(spans, span{pairs[i], pairs[i+1]})
	}
	slices.SortFunc(spans, func(a, b span) int { return int(a.first - b.first) })
	var set charset
	for _, s := range spans {
		if n := len(set); n > 0 && s.first <= set[n-1]+1 {
			set[n-1] = max(set[n-1], s.last)
			continue
		}
		set = append(set, s.first, s.last)
	}
	return set
}

func (c charset) negate() charset {
	var set charset
	next := rune(0)
	for i := 0; i < len(c); i += 2 {
		if c[i] > next {
			set = append(set, next, c[i]-1)
		}
		next = c[i+1] + 1
	}
	if next <= utf8.MaxRune {
		set = append(set, next, utf8.MaxRune)
	}
	return set
}

// single returns the only character of the set.
func (c charset) single() (rune, bool) {
	if len(c) == 2 && c[0] == c[1] {
		return c[0], true
	}
	return 0, false
}

// hasSupplementary tells whether the set holds characters that take two UTF-16 units.
func (c charset) hasSupplementary() bool { return len(c) > 0 && c[len(c)-1] > '\uFFFF' }

// write prints the set in Go's syntax.
func (c charset) write(b *strings.Builder) {
	if r, ok := c.single(); ok {
		writeRune(b, r)
		return
	}
	if len(c) == 0 {
		b.WriteString(nothing)
		return
	}
	b.WriteByte('[')
	for i := 0; i < len(c); i += 2 {
		writeRune(b, c[i])
		if c[i+1] > c[i] {
			if c[i+1] > c[i]+1 {
				b.WriteByte('-')
			}
			writeRune(b, c[i+1])
		}
	}
	b.WriteByte(']')
}

// nothing is an expression in Go's syntax that matches nothing, not even the empty string.
const nothing = `[^\x{0}-\x{10ffff}]`

// unescaped is the punctuation that stands for itself everywhere in Go's syntax.
const unescaped = " !\"#%',/:;<=>@_`~"

// writeRune prints one character in Go's syntax, in such a way that it means itself within and without a class.
func writeRune(b *strings.Builder, r rune) {
	switch {
	case r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', strings.ContainsRune(unescaped, r):
		b.WriteRune(r)
	case r > ' ' && r < 0x7F:
		b.WriteByte('\\')
		b.WriteRune(r)
	default:
		b.WriteString(`\x{`)
		b.WriteString(strconv.FormatInt(int64(r), 16))
		b.WriteByte('}')
	}
}
