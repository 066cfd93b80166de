// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import "strings"

// Collide tells whether an output of f is also one of g: wordF and wordG have it, and may be equal (see CollideApart).
// ok=false: no common output. It is exact, whatever the order of the groups: the outputs of a function are a regular
// language. It takes time proportional to the product of the numbers of states; beyond 2,000,000 pairs it errs with
// *TooComplexError.
func Collide(f, g *Function) (wordF, wordG, output string, ok bool, err error) {
	steps, ok, err := collision(f, g)
	if !ok || err != nil {
		return "", "", "", false, err
	}
	return f.word(f.values(steps, 0)), g.word(g.values(steps, 1)), word(steps), true, nil
}

// collision returns a path through both images.
func collision(f, g *Function) (steps []step, ok bool, err error) {
	s := newPairSearch(f.image, g.image)
	goal, ok, err := s.run()
	if !ok || err != nil {
		return nil, false, err
	}
	return s.path(goal), true, nil
}

// CollideApart tells whether a word of f and a different word of g have the same output. That Collide finds equal words
// does not answer this: ([ab]+)-(c*) and (a)-(b*c*), both with $1$2, give a to a-, and ab to ab- and a-b. It is exact:
// if all segments that are not referenced have only one word, it is the question of Differ about the inverse functions,
// which cut an output into the template's parts and put the word together. It takes the time of Collide and Differ
// together; beyond their bounds it errs with *TooComplexError, and then there may be such words or not.
func CollideApart(f, g *Function) (wordF, wordG, output string, ok bool, err error) {
	steps, ok, err := collision(f, g)
	if !ok || err != nil {
		return "", "", "", false, err
	}
	valuesF, valuesG := f.values(steps, 0), g.values(steps, 1)
	wordF, wordG, output = f.word(valuesF), g.word(valuesG), word(steps)
	if wordF != wordG {
		return wordF, wordG, output, true, nil
	}
	if _, other, ok, err := f.vary(valuesF); ok || err != nil {
		return other, wordG, output, ok, err
	}
	if _, other, ok, err := g.vary(valuesG); ok || err != nil {
		return wordF, other, output, ok, err
	}
	// Now an output cut into the parts of the template determines the word, as a word does the output.
	overlap, err := product(f.image, g.image)
	if err != nil {
		return "", "", "", false, err
	}
	steps, ok, decided := differing(f.inverse(), g.inverse(), overlap)
	switch {
	case !decided:
		return "", "", "", false, &TooComplexError{"states and balances of two functions", maxDifferWork}
	case !ok:
		return "", "", "", false, nil
	}
	return f.word(f.values(steps, 0)), g.word(g.values(steps, 1)), word(steps), true, nil
}

// inverse returns what makes words out of outputs, as far as Differ needs it: its input is the image of f, its output
// f's segments. Each segment that is not referenced must have only one word.
func (f *Function) inverse() *Function {
	inverse := &Function{input: f.image, filled: make([]int32, len(f.output))}
	for i := range inverse.filled {
		inverse.filled[i] = -1
	}
	for i, s := range f.segments {
		if f.filled[i] < 0 {
			inverse.output = append(inverse.output, Part{Literal: s.automaton.shortest()})
			continue
		}
		inverse.filled[f.filled[i]] = int32(len(inverse.output))
		inverse.output = append(inverse.output, Part{Group: int(f.filled[i]) + 1})
	}
	return inverse
}

// Injective tells whether different words always have different outputs. If not, word1 and word2 are two with the same
// output. It is exact: they do iff each segment that is not referenced has only one word, and the template with the
// groups' languages put in is not ambiguous. It takes time proportional to the square of the number of states; beyond
// 2,000,000 pairs it errs with *TooComplexError.
func Injective(f *Function) (word1, word2, output string, ok bool, err error) {
	values := make([]string, len(f.output))
	for i, part := range f.output {
		values[i] = part.Literal
	}
	for i, s := range f.segments {
		if f.filled[i] >= 0 {
			values[f.filled[i]] = s.automaton.shortest()
		}
	}
	word1, word2, varies, err := f.vary(values)
	if err != nil {
		return "", "", "", false, err
	}
	if varies {
		return word1, word2, strings.Join(values, ""), false, nil
	}
	steps, ambiguous, err := f.image.ambiguity()
	if !ambiguous || err != nil {
		return "", "", "", err == nil, err
	}
	return f.word(f.values(steps, 0)), f.word(f.values(steps, 1)), word(steps), false, nil
}
