// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/signet-kafka/signet/principal/pattern"
)

// Pattern is a PatternEntry in memory.
type Pattern struct {
	text    string
	pattern *pattern.Pattern
	parts   []Part
}

// Part is a piece of the principal that a pattern gives: a literal, or one of its groups.
type Part struct {
	// Literal text, where Group is 0.
	Literal string
	// Group is the number of a capture group, 1 to 9.
	Group int
}

// ParseTemplate reads the principal of a pattern: $1 to $9 are groups, $$ is a dollar, any other $ is an error.
func ParseTemplate(template string, groups int) ([]Part, error) {
	var parts []Part
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			parts = append(parts, Part{Literal: literal.String()})
			literal.Reset()
		}
	}
	for i := 0; i < len(template); i++ {
		if template[i] != '$' {
			literal.WriteByte(template[i])
			continue
		}
		i++
		switch {
		case i < len(template) && template[i] == '$':
			literal.WriteByte('$')
		case i < len(template) && template[i] >= '1' && template[i] <= '9':
			group := int(template[i] - '0')
			if group > groups {
				return nil, fmt.Errorf("principal %q: the pattern has no group %d", template, group)
			}
			flush()
			parts = append(parts, Part{Group: group})
		default:
			return nil, fmt.Errorf("principal %q: write a dollar as $$, or a group as $1 to $9", template)
		}
	}
	flush()
	if len(parts) == 0 {
		return nil, errors.New("principal is empty")
	}
	return parts, nil
}

// CompilePattern reads one entry. The error is a *FileError.
func CompilePattern(entry PatternEntry) (*Pattern, error) {
	if entry.Pattern == "" || len(entry.Pattern) > MaxPattern {
		return nil, fileError(CodeBounds, "pattern %.80q is empty or longer than %d", entry.Pattern, MaxPattern)
	}
	p, err := pattern.Parse(entry.Pattern)
	if err != nil {
		return nil, fileError(CodePattern, "pattern %q: %v", entry.Pattern, err)
	}
	parts, err := ParseTemplate(entry.Principal, p.Groups())
	if err != nil {
		return nil, fileError(CodeTemplate, "pattern %q: %v", entry.Pattern, err)
	}
	for _, part := range parts {
		if part.Group > 0 && p.Repeated(part.Group) {
			return nil, fileError(CodeTemplate, "pattern %q: group %d is inside a repetition and has no one value: put a group around the repetition", entry.Pattern, part.Group)
		}
	}
	return &Pattern{text: entry.Pattern, pattern: p, parts: parts}, nil
}

// CheckPattern tells whether a regular expression is one that every implementation takes, and takes alike.
func CheckPattern(text string) error {
	_, err := CompilePattern(PatternEntry{Pattern: text, Principal: "x"})
	var fault *FileError
	if errors.As(err, &fault) {
		return errors.New(fault.Detail)
	}
	return err
}

// Parts of the principal that the pattern gives.
func (p *Pattern) Parts() []Part { return p.parts }

// GoSyntax is the same regular expression in Go's syntax.
func (p *Pattern) GoSyntax() string { return p.pattern.GoSyntax() }

// Name returns the name of the principal of a subject that the pattern matches as a whole.
func (p *Pattern) Name(text string) (string, bool) {
	at, ok := p.pattern.MatchWhole(text)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for _, part := range p.parts {
		b.WriteString(part.Literal)
		if part.Group > 0 && at[2*part.Group] >= 0 {
			b.WriteString(text[at[2*part.Group]:at[2*part.Group+1]])
		}
	}
	name := b.String()
	return name, CheckName(name) == nil
}

// matchable tells whether patterns are tried on a subject: not on what is longer than any subject, has control
// characters, which no certificate needs and no log shows, or U+FFFD, behind which different subjects read alike.
func matchable(text string) bool {
	if text == "" || units(text) > MaxSubject {
		return false
	}
	for _, c := range text {
		if c < 0x20 || c >= 0x7f && c <= 0x9f || c == 0x2028 || c == 0x2029 || c == utf8.RuneError {
			return false
		}
	}
	return true
}
