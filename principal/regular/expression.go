// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"
)

const (
	// maxExpression bounds an expression, in bytes: a pattern is at most 1,000 characters, and the longest translation
	// of one (Java's dot) has 30 bytes. It also bounds what regexp/syntax spends on Unicode classes to about 100 MB.
	maxExpression = 32 << 10
	// maxSize bounds an expression with its repetitions written out, groups included, before it is compiled. Groups are
	// no states of the automaton, hence the difference to MaxInstructions.
	maxSize = 16 * MaxInstructions
)

var errInlineFlags = errors.New("inline flags like (?i) without a colon are not supported")

// An expression is a parsed regular expression whose groups and alternatives are all kept apart.
type expression struct {
	tree *syntax.Regexp
	// groups are the numbers that the tree gives to the expression's groups: groups[0] is that of group 1.
	groups []int
}

// parse reads RE2 syntax. It takes time linear in the length of the expression and in the ranges of its classes.
//
// The parser of regexp/syntax keeps the language of an expression but not the ways in which a word is matched: it reads
// (?:a|a) as a and (?:a+)+ as a+, on both of which a backtracking matcher takes exponential time. So a group is put
// around each alternative before parsing, across which it never simplifies.
func parse(text string) (*expression, error) {
	if len(text) > maxExpression {
		return nil, &TooComplexError{"bytes of regular expression", maxExpression}
	}
	plain, err := parseSyntax(text)
	if err != nil {
		return nil, err
	}
	marked, groups, err := mark(text)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", text, err)
	}
	tree, err := parseSyntax(marked)
	if err != nil {
		return nil, err
	}
	if len(groups) != plain.MaxCap() {
		return nil, fmt.Errorf("regular expression %q: found %d groups where there are %d", text, len(groups), plain.MaxCap())
	}
	if size(tree) > maxSize {
		return nil, &TooComplexError{"characters, choices and groups with repetitions written out", maxSize}
	}
	return &expression{tree, groups}, nil
}

func parseSyntax(text string) (*syntax.Regexp, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	var syntaxError *syntax.Error
	if errors.As(err, &syntaxError) {
		switch syntaxError.Code {
		case syntax.ErrLarge:
			return nil, &TooComplexError{"characters, choices and groups with repetitions written out", maxSize}
		case syntax.ErrNestingDepth:
			// A thousand levels; each group is two, for the group around its alternatives.
			return nil, &TooComplexError{"levels of nested groups", 450}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", text, err)
	}
	return tree, nil
}

// mark puts a group around each alternative, and returns the new numbers of the old groups. The text must be
// syntactically right.
func mark(text string) (marked string, groups []int, err error) {
	var b strings.Builder
	b.WriteByte('(')
	count := 1
	for len(text) > 0 {
		token := text[:tokenLength(text)]
		text = text[len(token):]
		switch {
		case token == "|":
			b.WriteString(")|(")
			count++
		case token == ")":
			b.WriteString("))")
		case token[0] == '(':
			if token == "(" || strings.HasPrefix(token, "(?P<") || strings.HasPrefix(token, "(?<") {
				count++
				groups = append(groups, count)
			} else if strings.HasSuffix(token, ")") {
				return "", nil, errInlineFlags
			}
			b.WriteString(token + "(")
			count++
		default:
			b.WriteString(token)
		}
	}
	b.WriteByte(')')
	return b.String(), groups, nil
}

// tokenLength returns the length of what text begins with: an escape, a class, quoted text, the opening of a group, or
// one byte.
func tokenLength(text string) int {
	end := 1
	switch {
	case strings.HasPrefix(text, `\Q`):
		if i := strings.Index(text, `\E`); i >= 0 {
			return i + 2
		}
		return len(text)
	case text[0] == '\\':
		end = 2
	case text[0] == '[':
		end = classLength(text)
	case strings.HasPrefix(text, "(?P<"), strings.HasPrefix(text, "(?<"):
		end = strings.IndexByte(text, '>') + 1
	case strings.HasPrefix(text, "(?"):
		end = strings.IndexAny(text, ":)") + 1
	}
	return max(1, min(end, len(text)))
}

// classLength returns the length of the class that text begins with: a closing bracket is a member in the first place,
// behind a backslash, and in a name like [:alpha:].
func classLength(text string) int {
	i := 1
	if strings.HasPrefix(text[i:], "^") {
		i++
	}
	for first := true; i < len(text); first = false {
		switch {
		case text[i] == ']' && !first:
			return i + 1
		case text[i] == '\\':
			i += 2
		case strings.HasPrefix(text[i:], "[:") && strings.Contains(text[i+2:], ":]"):
			i += 2 + strings.Index(text[i+2:], ":]") + 2
		default:
			i++
		}
	}
	return len(text)
}

// size counts what the tree compiles to, give or take one for each node.
func size(tree *syntax.Regexp) int {
	total := 1
	switch tree.Op {
	case syntax.OpLiteral:
		total = len(tree.Rune)
	case syntax.OpCapture:
		total = 2
	}
	for _, sub := range tree.Sub {
		total = min(total+size(sub), maxSize+1)
	}
	if tree.Op == syntax.OpRepeat {
		total = min((total+1)*max(tree.Min, tree.Max, 1), maxSize+1)
	}
	return total
}

// hasAnchor tells whether there is an assertion anywhere in the tree.
func hasAnchor(tree *syntax.Regexp) bool {
	switch tree.Op {
	case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return true
	}
	for _, sub := range tree.Sub {
		if hasAnchor(sub) {
			return true
		}
	}
	return false
}
