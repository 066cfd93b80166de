// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/signet-kafka/signet/principal/pattern"
)

// A part of a replacement is literal text, or what a group matched.
type part struct {
	literal string
	group   int // literalPart, 0 for the whole match, or a capturing group
}

const literalPart = -1

// parseReplacement reads a replacement as Kafka does: SslPrincipalMapper puts backslashes before references to groups
// that do not exist, and gives the outcome to Matcher.appendReplacement, which throws if that is not good.
// The error is a *ReplacementError.
func parseReplacement(replacement string, p *pattern.Pattern) ([]part, error) {
	refuse := func(reason string) ([]part, error) {
		return nil, &ReplacementError{Replacement: replacement, Reason: reason, Throws: true}
	}
	units, ok := escapeReferences(utf16.Encode([]rune(replacement)), p.Groups())
	if !ok {
		return refuse("the number of a group is beyond 2147483647")
	}
	var parts []part
	var literal []uint16
	flush := func() {
		if len(literal) > 0 {
			parts = append(parts, part{literal: string(utf16.Decode(literal)), group: literalPart})
			literal = nil
		}
	}
	for i := 0; i < len(units); {
		switch units[i] {
		case '\\':
			if i+1 == len(units) {
				return refuse("a backslash at the end")
			}
			literal = append(literal, units[i+1])
			i += 2
		case '$':
			group, next := reference(units, i+1, p.Groups())
			switch {
			case group == noReference:
				return refuse(`$ without the number of a group (write \$ for the character)`)
			case group > p.Groups():
				return refuse(fmt.Sprintf("the pattern has no group %d, only %d", group, p.Groups()))
			case group > 0 && p.Repeated(group):
				return nil, &ReplacementError{Replacement: replacement, Reason: fmt.Sprintf(
					"a reference to group %d, which is inside a repetition (put a group around the repetition)", group)}
			}
			flush()
			parts = append(parts, part{group: group})
			i = next
		default:
			literal = append(literal, units[i])
			i++
		}
	}
	flush()
	return parts, nil
}

const noReference = -1

// reference reads the number behind a $ as Matcher.appendReplacement does: as many digits as still name a group, but
// one at least. It returns where it ends.
func reference(units []uint16, at, groups int) (group, next int) {
	if at == len(units) || !isDigit(units[at]) {
		return noReference, at
	}
	group = int(units[at] - '0')
	for at++; at < len(units) && isDigit(units[at]); at++ {
		longer := 10*group + int(units[at]-'0')
		if longer > groups {
			break
		}
		group = longer
	}
	return group, at
}

// escapeReferences does what SslPrincipalMapper.Rule.escapeLiteralBackReferences does, and errs where that errs: it
// looks for $ and digits in the replacement, and where the number begins with no valid group, not even when cut short,
// it inserts a backslash. It does not see that a $ may be escaped already, and it inserts at the place where the $ was
// before earlier backslashes were inserted, so that the second one lands one unit too early. It is not ok if
// Integer.parseInt throws.
func escapeReferences(units []uint16, groups int) (escaped []uint16, ok bool) {
	escaped = units
	if groups == 0 {
		return escaped, true
	}
	for i := 0; i < len(units); i++ {
		if units[i] != '$' {
			continue
		}
		dollar := i
		number, size := 0, 0
		for i+1 < len(units) && isDigit(units[i+1]) {
			i++
			size++
			number = min(10*number+int(units[i]-'0'), math.MaxInt32+1)
		}
		if size == 0 || units[dollar+1] == '0' {
			continue
		}
		if number > math.MaxInt32 {
			return nil, false
		}
		for number > groups && number >= 10 {
			number /= 10
		}
		if number > groups {
			escaped = slices.Insert(slices.Clone(escaped), dollar, '\\')
		}
	}
	return escaped, true
}

func isDigit(unit uint16) bool { return unit >= '0' && unit <= '9' }

// writeExpansion appends what the parts stand for at a match in subject.
func writeExpansion(b *strings.Builder, parts []part, subject string, indexes []int) {
	for _, p := range parts {
		if p.group == literalPart {
			b.WriteString(p.literal)
		} else if start := indexes[2*p.group]; start >= 0 {
			b.WriteString(subject[start:indexes[2*p.group+1]])
		}
	}
}
