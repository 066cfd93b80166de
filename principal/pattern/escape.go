// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"strconv"
	"strings"
	"unicode/utf16"
)

// escapedAtom reads a backslash and what belongs to it, outside a class.
func (p *parser) escapedAtom() (*node, error) {
	at := p.pos
	p.pos++
	switch c := p.peek(); c {
	case 'A', 'Z', 'z', 'G', 'b', 'B':
		return nil, p.unsupported(at, `\%c`, c)
	case '1', '2', '3', '4', '5', '6', '7', '8', '9', 'k':
		return nil, p.unsupported(at, "back-reference")
	case 'R', 'X':
		return nil, p.unsupported(at, `\%c`, c)
	}
	p.pos = at
	set, err := p.escapedSet()
	if err != nil {
		return nil, err
	}
	return newSet(set), nil
}

// escapedSet reads a backslash and what belongs to it, in a class or outside: one character, or a predefined class.
func (p *parser) escapedSet() (charset, error) {
	at := p.pos
	p.pos++
	c := p.next()
	if set, ok := predefined(c); ok {
		return set, nil
	}
	switch c {
	case end:
		return nil, p.syntaxError(at, "a backslash at the end")
	case 't':
		c = '\t'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 'f':
		c = '\f'
	case 'a':
		c = '\a'
	case 'e':
		c = '\x1B'
	case 'x':
		if p.byte() == '{' {
			return nil, p.unsupported(at, `\x{…}`)
		}
		return p.hexadecimal(at, 2)
	case 'u':
		return p.hexadecimal(at, 4)
	case '0':
		return nil, p.unsupported(at, `octal escape (\0…)`)
	case 'c':
		return nil, p.unsupported(at, `control character (\c…)`)
	case 'p', 'P':
		return nil, p.unsupported(at, `Unicode or POSIX property (\%c…)`, c)
	case 'h', 'H', 'v', 'V', 'N':
		return nil, p.unsupported(at, `\%c`, c)
	default:
		if c < 0x80 && (isLetter(c) || isDigit(byte(c))) {
			return nil, p.syntaxError(at, `\%c is no escape that Java knows here`, c)
		}
	}
	return charset{c, c}, nil
}

// hexadecimal reads the digits of \xhh or \uhhhh.
func (p *parser) hexadecimal(at, count int) (charset, error) {
	rest := p.text[p.pos:]
	if len(rest) < count || strings.Trim(rest[:count], "0123456789abcdefABCDEF") != "" {
		return nil, p.syntaxError(at, "the escape needs %d hexadecimal digits", count)
	}
	p.pos += count
	value, err := strconv.ParseUint(rest[:count], 16, 16)
	if err != nil {
		return nil, p.syntaxError(at, "the escape needs %d hexadecimal digits", count)
	}
	r := rune(value)
	if utf16.IsSurrogate(r) {
		return nil, p.unsupported(at, "a surrogate (write the character itself)")
	}
	return charset{r, r}, nil
}

func isLetter(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// class reads [ … ].
func (p *parser) class() (*node, error) {
	at := p.pos
	p.pos++
	negated := p.accept(`^`)
	var pairs []rune
	for empty := true; ; empty = false {
		switch c := p.peek(); {
		case c == end:
			return nil, p.syntaxError(at, "the class is not closed with ]")
		case c == ']' && !empty:
			p.pos++
			set := newCharset(pairs)
			if negated {
				set = set.negate()
			}
			return newSet(set), nil
		case c == '[':
			return nil, p.unsupported(p.pos, `a class within a class (write \[ for the character)`)
		case c == '&' && strings.HasPrefix(p.text[p.pos:], `&&`):
			return nil, p.unsupported(p.pos, "class intersection (&&)")
		}
		item, err := p.classItem(at)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, item...)
	}
}

// classItem reads a character, a range, or a predefined class. The class begins at offset at.
func (p *parser) classItem(at int) (charset, error) {
	offset := p.pos
	first, isChar, err := p.classChar()
	if err != nil || !isChar || p.byte() != '-' {
		return first, err
	}
	switch rest := p.text[p.pos+1:]; {
	case rest == "":
		return nil, p.syntaxError(at, "the class is not closed with ]")
	case rest[0] == ']': // the - stands for itself
		return first, nil
	case rest[0] == '[':
		return nil, p.unsupported(p.pos+1, `a class within a class (write \[ for the character)`)
	}
	p.pos++
	last, isChar, err := p.classChar()
	if err != nil {
		return nil, err
	}
	if !isChar {
		return nil, p.syntaxError(offset, "a range cannot end in a class")
	}
	if last[0] < first[0] {
		return nil, p.syntaxError(offset, "the end of the range is before its start")
	}
	return charset{first[0], last[0]}, nil
}

// classChar reads one character, escaped or not, or a predefined class, which cannot be part of a range.
func (p *parser) classChar() (set charset, isChar bool, err error) {
	if p.peek() != '\\' {
		c := p.next()
		return charset{c, c}, true, nil
	}
	escape := p.text[p.pos+1:]
	if set, err = p.escapedSet(); err != nil {
		return nil, false, err
	}
	_, isClass := predefined(rune(escape[0]))
	return set, !isClass, nil
}
