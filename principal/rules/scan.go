// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/signet-kafka/signet/principal/pattern"
)

const (
	// MaxText bounds the text, in bytes: a value of a ConfigMap.
	MaxText = 1 << 20
	// MaxRule bounds one rule, in characters as Java counts them (UTF-16 units). Kafka's own parser overflows the JVM's
	// stack on a rule of about 1,600 characters, and the broker does not start: the regular expression that it parses
	// rules with recurses for each character.
	MaxRule = pattern.MaxLength
)

// An item is what stands between commas.
type item struct {
	offset int    // in bytes from the start of the text
	text   string // without the white space around it
	// isRule tells a rule from DEFAULT and from nothing at all.
	isRule, isDefault    bool
	pattern, replacement string
	letterCase           Case
}

// scan splits a text as Kafka does. SslPrincipalMapper trims it, and then lets Matcher.find() look again and again for
//
//	\s*((DEFAULT)|RULE:((\\.|[^\\/])*)/((\\.|[^\\/])*)/([LU]?).*?|(.*?))\s*(,\s*|$)
//
// which cannot fail at a place unless a line break comes before the next comma, for only the dots cannot cross it; find
// then goes on behind it, and what was before is dropped. Whatever the third alternative or the .*? of the second takes
// makes Kafka refuse the whole text afterwards, for each item must match once more as a whole, with nothing left over.
// An empty item is ignored.
//
// White space is Java's \s, and the ends are cut as String.trim does. Time is linear.
func scan(text string) ([]item, error) {
	if len(text) > MaxText {
		return nil, &BoundError{What: BoundText, Limit: MaxText, Offset: MaxText}
	}
	if !utf8.ValidString(text) {
		return nil, &DroppedError{Reason: "not UTF-8: Kafka would read replacement characters"}
	}
	if at := strings.IndexAny(text, "\u0085\u2028\u2029"); at >= 0 {
		r, size := utf8.DecodeRuneInString(text[at:])
		return nil, &DroppedError{Offset: at, Text: text[at : at+size],
			Reason: fmt.Sprintf("%U is a line break to Kafka, before which it drops text: write a comma", r)}
	}
	body := strings.TrimRightFunc(text, isTrimmed)
	s := scanner{text: body, pos: len(body) - len(strings.TrimLeftFunc(body, isTrimmed))}
	var items []item
	for {
		s.space()
		found, err := s.item()
		if err != nil {
			return nil, err
		}
		items = append(items, found)
		if s.pos == len(s.text) {
			return items, nil
		}
		s.pos++ // the comma
	}
}

// isTrimmed tells what String.trim() takes away.
func isTrimmed(r rune) bool { return r <= ' ' }

// isSpace tells what \s matches in Java.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isLineBreak(c byte) bool { return c == '\n' || c == '\r' }

type scanner struct {
	text string
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.text) && isSpace(s.text[s.pos]) {
		s.pos++
	}
}

// separator tells whether only white space is between at and the next comma or the end, and where that is.
func (s *scanner) separator(at int) (end int, ok bool) {
	for at < len(s.text) && isSpace(s.text[at]) {
		at++
	}
	return at, at == len(s.text) || s.text[at] == ','
}

// item reads one item and stops at the comma behind it, or at the end.
func (s *scanner) item() (item, error) {
	start := s.pos
	found := item{offset: start}
	end := start
	switch rest := s.text[start:]; {
	case strings.HasPrefix(rest, "DEFAULT"):
		found.isDefault = true
		end += len("DEFAULT")
	case strings.HasPrefix(rest, "RULE:"):
		var complete bool
		var err error
		if end, complete, err = s.rule(&found); err != nil {
			return item{}, err
		}
		if !complete {
			return item{}, s.refuse(start, "a rule is RULE:pattern/replacement/, with an L or a U behind it or nothing")
		}
	}
	if next, ok := s.separator(end); ok {
		found.text = s.text[start:end]
		s.pos = next
		return found, found.check()
	}
	switch {
	case found.isRule:
		if s.reachesComma(end) {
			return item{}, s.refuse(end, "behind a rule comes a comma (and before it, at most an L or a U)")
		}
		return item{}, s.refuse(start, "behind a rule comes a comma")
	default:
		return item{}, s.refuse(start, "neither DEFAULT nor RULE:pattern/replacement/")
	}
}

// rule reads a rule up to its last slash and the letter behind that. It is not complete if a slash is missing, or if a
// backslash has no character to escape on its line.
func (s *scanner) rule(found *item) (end int, complete bool, err error) {
	at := s.pos + len("RULE:")
	parts := [2]*string{&found.pattern, &found.replacement}
	// The bound is on UTF-16 units. In bytes those are between one and three for each.
	for _, part := range parts {
		start := at
		for ; at < len(s.text) && s.text[at] != '/'; at++ {
			if s.text[at] == '\\' {
				if at++; at == len(s.text) || isLineBreak(s.text[at]) {
					return at, false, nil
				}
			}
			if at-s.pos > 3*MaxRule {
				return at, false, &BoundError{What: BoundRule, Limit: MaxRule, Offset: s.pos}
			}
		}
		if at == len(s.text) {
			return at, false, s.checkLength(at)
		}
		*part = s.text[start:at]
		at++
	}
	found.isRule = true
	if at < len(s.text) && (s.text[at] == byte(Lower) || s.text[at] == byte(Upper)) {
		found.letterCase = Case(s.text[at])
		at++
	}
	return at, true, s.checkLength(at)
}

func (s *scanner) checkLength(end int) error {
	if pattern.Length(s.text[s.pos:end]) > MaxRule {
		return &BoundError{What: BoundRule, Limit: MaxRule, Offset: s.pos}
	}
	return nil
}

// reachesComma tells whether a comma or the end comes before the next line break, white space before it aside: else
// Kafka's regular expression does not match here.
func (s *scanner) reachesComma(at int) bool {
	for {
		end, ok := s.separator(at)
		if ok {
			return true
		}
		if strings.ContainsAny(s.text[at:end], "\n\r") {
			return false
		}
		at = end + 1
	}
}

// refuse makes the error for what stands at offset and is no item: Kafka refuses it if it can come to a comma.
func (s *scanner) refuse(offset int, reason string) error {
	text := s.text[offset:]
	if s.reachesComma(offset) {
		if end := strings.IndexAny(text, ",\n\r"); end >= 0 {
			text = text[:end]
		}
		return &SyntaxError{Offset: offset, Text: excerpt(text), Reason: reason}
	}
	if end := strings.IndexAny(text, "\n\r"); end >= 0 {
		text = text[:end]
	}
	return &DroppedError{Offset: offset, Text: excerpt(text),
		Reason: "Kafka silently drops what comes before a line break: write a comma between rules (" + reason + ")"}
}

// check refuses what Kafka takes for one rule and nobody means so.
func (i *item) check() error {
	if at := strings.IndexAny(i.text, "\n\r"); at >= 0 {
		return &DroppedError{Offset: i.offset, Text: excerpt(i.text),
			Reason: "Kafka reads this as one rule, with the line break in it: a slash or a comma is missing"}
	}
	if !i.isRule {
		return nil
	}
	for rest := i.text; ; {
		comma := strings.IndexByte(rest, ',')
		if comma < 0 {
			return nil
		}
		escaped := comma > 0 && rest[comma-1] == '\\'
		rest = strings.TrimLeft(rest[comma+1:], " \t\n\v\f\r")
		if !escaped && strings.HasPrefix(rest, "RULE:") {
			return &DroppedError{Offset: i.offset, Text: excerpt(i.text),
				Reason: `Kafka reads this as one rule, for a slash is missing before ",RULE:" (or write "\,RULE:")`}
		}
	}
}
