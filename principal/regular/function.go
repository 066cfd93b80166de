// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxLiterals bounds the characters of a template: a principal's name has at most 512 UTF-16 units.
const maxLiterals = 1_024

// A Part is a piece of an output template: the value of a group, or a literal.
type Part struct {
	// Literal is fixed text, ignored if Group is not 0.
	Literal string
	// Group is the number of a capture group, from 1. 0: the part is the literal.
	Group int
}

// A Function maps each word that an expression matches as a whole to a template filled with the word's groups.
//
// The expression is read as a concatenation of segments: referenced groups and what is between them. Because it is not
// ambiguous, each word is cut into segments in exactly one way; because the referenced groups are at the top level,
// each combination of words of the segments is a word of the function. What Collide and Injective decide rests on that.
type Function struct {
	segments []segment
	output   []Part  // literals joined, no empty ones
	filled   []int32 // by segment: the index in output that it fills, -1: none
	// input is the concatenation of the segments; its pieces are indexes of segments.
	input *automaton
	// image is the concatenation of the output, the set of all outputs; its pieces are indexes of output.
	image *automaton
}

// A segment is a factor of the expression.
type segment struct {
	group     int // 0: not referenced
	automaton *automaton
}

// NewFunction compiles an expression (see Compile) with the output template for its words. It errs with a
// *FunctionError if the expression is ambiguous or has dead parts, if a referenced group is missing, referenced twice,
// or not at the top level of the concatenation (\A and \z may be around it), or if a literal is not UTF-8; with
// *TooComplexError beyond MaxInstructions or 1,024 literal characters. The time is that of Language.Ambiguous.
func NewFunction(text string, output []Part) (*Function, error) {
	parsed, err := parse(text)
	if err != nil {
		return nil, err
	}
	f := &Function{}
	referenced, err := f.setOutput(output, parsed.groups)
	if err != nil {
		return nil, err
	}
	whole, err := newAutomaton(parsed.tree)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", text, err)
	}
	if whole.dead {
		return nil, &FunctionError{Reason: ReasonDead}
	}
	if steps, ambiguous, err := whole.ambiguity(); err != nil {
		return nil, err
	} else if ambiguous {
		return nil, &FunctionError{Reason: ReasonAmbiguous, Witness: word(steps)}
	}
	if len(referenced) == 0 {
		f.segments = []segment{{automaton: whole}}
	} else if err := f.cut(parsed.tree, referenced); err != nil {
		return nil, err
	}
	f.connect()
	return f, nil
}

// setOutput normalises the template, and returns the referenced groups by their numbers in the tree.
func (f *Function) setOutput(output []Part, groups []int) (referenced map[int]int, err error) {
	referenced = map[int]int{}
	literals := 0
	for _, part := range output {
		last := len(f.output) - 1
		switch {
		case part.Group < 0 || part.Group > len(groups):
			return nil, &FunctionError{Reason: ReasonGroupMissing, Group: part.Group}
		case part.Group > 0:
			number := groups[part.Group-1]
			if referenced[number] != 0 {
				return nil, &FunctionError{Reason: ReasonGroupRepeated, Group: part.Group}
			}
			referenced[number] = part.Group
			f.output = append(f.output, Part{Group: part.Group})
			continue
		case !utf8.ValidString(part.Literal):
			return nil, &FunctionError{Reason: ReasonLiteral}
		case part.Literal == "":
		case last >= 0 && f.output[last].Group == 0:
			f.output[last].Literal += part.Literal
		default:
			f.output = append(f.output, part)
		}
		if literals += utf8.RuneCountInString(part.Literal); literals > maxLiterals {
			return nil, &TooComplexError{"literal characters in a template", maxLiterals}
		}
	}
	return referenced, nil
}

// cut makes the segments of an expression that has referenced groups.
func (f *Function) cut(tree *syntax.Regexp, referenced map[int]int) error {
	type item struct {
		tree  *syntax.Regexp
		group int
	}
	var items []item
	var flatten func(tree *syntax.Regexp)
	flatten = func(tree *syntax.Regexp) {
		switch {
		case tree.Op == syntax.OpCapture && referenced[tree.Cap] != 0:
			items = append(items, item{tree.Sub[0], referenced[tree.Cap]})
		case tree.Op == syntax.OpCapture, tree.Op == syntax.OpConcat:
			for _, sub := range tree.Sub {
				flatten(sub)
			}
		default:
			items = append(items, item{tree, 0})
		}
	}
	flatten(tree)
	for len(items) > 0 && items[0].tree.Op == syntax.OpBeginText && items[0].group == 0 {
		items = items[1:]
	}
	for len(items) > 0 && items[len(items)-1].tree.Op == syntax.OpEndText && items[len(items)-1].group == 0 {
		items = items[:len(items)-1]
	}
	for _, i := range items {
		if nested := findGroup(i.tree, referenced); nested != 0 {
			return &FunctionError{Reason: ReasonGroupNested, Group: nested}
		}
		if hasAnchor(i.tree) {
			return &FunctionError{Reason: ReasonInnerAnchor}
		}
	}
	for len(items) > 0 {
		end := 1
		for items[0].group == 0 && end < len(items) && items[end].group == 0 {
			end++
		}
		joined := &syntax.Regexp{Op: syntax.OpConcat}
		for _, i := range items[:end] {
			joined.Sub = append(joined.Sub, i.tree)
		}
		a, err := newAutomaton(joined)
		if err != nil {
			return err
		}
		f.segments = append(f.segments, segment{items[0].group, a})
		items = items[end:]
	}
	return nil
}

func findGroup(tree *syntax.Regexp, referenced map[int]int) int {
	if tree.Op == syntax.OpCapture && referenced[tree.Cap] != 0 {
		return referenced[tree.Cap]
	}
	for _, sub := range tree.Sub {
		if group := findGroup(sub, referenced); group != 0 {
			return group
		}
	}
	return 0
}

// connect makes the automata of input and image out of segments and output.
func (f *Function) connect() {
	var inputs []*automaton
	f.filled = make([]int32, len(f.segments))
	for i, s := range f.segments {
		inputs = append(inputs, s.automaton)
		f.filled[i] = -1
		if s.group != 0 {
			f.filled[i] = int32(slices.IndexFunc(f.output, func(p Part) bool { return p.Group == s.group }))
		}
	}
	f.input = concatenate(inputs)
	var outputs []*automaton
	for i, part := range f.output {
		if part.Group == 0 {
			outputs = append(outputs, literal(part.Literal))
			continue
		}
		outputs = append(outputs, f.segments[slices.Index(f.filled, int32(i))].automaton)
	}
	f.image = concatenate(outputs)
}

// word returns the word whose referenced groups have the values given by index of output, and whose other segments are
// as short as possible.
func (f *Function) word(values []string) string { return f.spell(values, 0, len(f.segments)) }

// spell returns a range of the segments of word.
func (f *Function) spell(values []string, from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		if f.filled[i] >= 0 {
			b.WriteString(values[f.filled[i]])
		} else {
			b.WriteString(f.segments[i].automaton.shortest())
		}
	}
	return b.String()
}

// values distributes what is read along a path through the image to the parts of the output.
func (f *Function) values(steps []step, side int) []string {
	values := make([][]rune, len(f.output))
	for _, s := range steps {
		values[s.pieces[side]] = append(values[s.pieces[side]], s.r)
	}
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return texts
}

// vary returns two words with given values that differ in a segment which is not referenced: there the first has the
// segment's shortest word. ok=false: each of these segments has only one word.
func (f *Function) vary(values []string) (word1, word2 string, ok bool, err error) {
	for i, s := range f.segments {
		if f.filled[i] >= 0 {
			continue
		}
		shortest := s.automaton.shortest()
		other, constant, err := uncovered(s.automaton, []*automaton{literal(shortest)})
		if err != nil {
			return "", "", false, err
		}
		if !constant {
			before, after := f.spell(values, 0, i), f.spell(values, i+1, len(f.segments))
			return before + shortest + after, before + other + after, true, nil
		}
	}
	return "", "", false, nil
}
