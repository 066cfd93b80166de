// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"unicode"
)

// MaxInstructions bounds the automaton of one expression: one state for each character and each choice, repetitions
// written out. A DNS label of up to 63 characters takes about 130; products of two automata have up to the square.
const MaxInstructions = 2_000

// maxRanges bounds the ranges of all distinct classes of one expression; a class of Unicode letters has about 600.
const maxRanges = 20_000

type stateKind uint8

const (
	dead    stateKind = iota // only before trim
	jump                     // only before trim
	split                    // goes to either of two states, reading nothing
	consume                  // reads a character of its class
	accept                   // the word may end here, and nothing follows
)

type state struct {
	kind  stateKind
	class int32
	next  [2]int32
	// pieces are what the state belongs to: in a concatenation the number of the part, in a product that of both sides.
	pieces [2]int32
}

// An automaton is a trimmed nondeterministic automaton: every state is on a path from the start to the accepting state.
// Different paths are different ways to match. No states: the empty language.
type automaton struct {
	states  []state
	start   int32
	classes []class
	// dead: the expression reads characters in a place that no match goes through.
	dead bool
}

func (a *automaton) empty() bool { return len(a.states) == 0 }

// trim keeps of a raw automaton what is useful, and leaves out states that decide nothing. It keeps the paths: their
// number and their words. It takes linear time.
func trim(raw []state, start int32, classes []class) *automaton {
	useful := canAccept(raw)
	if !useful[start] {
		return &automaton{}
	}
	follow := func(s int32) int32 {
		for {
			switch next := raw[s].next; {
			case raw[s].kind == jump, raw[s].kind == split && !useful[next[1]]:
				s = next[0]
			case raw[s].kind == split && !useful[next[0]]:
				s = next[1]
			default:
				return s
			}
		}
	}
	number := make([]int32, len(raw))
	var order []int32
	accepting := int32(-1)
	enter := func(s int32) int32 {
		s = follow(s)
		if raw[s].kind == accept {
			if accepting < 0 {
				accepting = s
			}
			s = accepting
		}
		if number[s] == 0 {
			order = append(order, s)
			number[s] = int32(len(order))
		}
		return number[s] - 1
	}
	a := &automaton{start: enter(start), classes: classes}
	for i := 0; i < len(order); i++ {
		st := raw[order[i]]
		switch st.kind {
		case split:
			st.next = [2]int32{enter(st.next[0]), enter(st.next[1])}
		case consume:
			st.next[0] = enter(st.next[0])
		}
		a.states = append(a.states, st)
	}
	return a
}

// successors returns the states that follow s directly.
func successors(s *state) []int32 {
	switch s.kind {
	case split:
		return s.next[:]
	case jump, consume:
		return s.next[:1]
	}
	return nil
}

// A predecessors lists for each state the states before it.
type predecessors struct{ first, list []int32 }

func reverse(states []state) predecessors {
	p := predecessors{first: make([]int32, len(states)+1)}
	for i := range states {
		for _, next := range successors(&states[i]) {
			p.first[next]++
		}
	}
	sum := int32(0)
	for i, n := range p.first {
		p.first[i] = sum
		sum += n
	}
	p.list = make([]int32, sum)
	at := slices.Clone(p.first)
	for i := range states {
		for _, next := range successors(&states[i]) {
			p.list[at[next]] = int32(i)
			at[next]++
		}
	}
	return p
}

func (p predecessors) of(s int32) []int32 { return p.list[p.first[s]:p.first[s+1]] }

func canAccept(states []state) []bool {
	before := reverse(states)
	useful := make([]bool, len(states))
	var queue []int32
	for i := range states {
		if states[i].kind == accept {
			useful[i] = true
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		s := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, previous := range before.of(s) {
			if !useful[previous] {
				useful[previous] = true
				queue = append(queue, previous)
			}
		}
	}
	return useful
}

// A classTable numbers classes.
type classTable struct {
	classes []class
	number  map[string]int32
	ranges  int
}

func (t *classTable) intern(c class) int32 {
	// Bounds of ranges are scalar values, so that the text is a faithful key.
	key := string(c)
	n, found := t.number[key]
	if !found {
		if t.number == nil {
			t.number = map[string]int32{}
		}
		n = int32(len(t.classes))
		t.number[key] = n
		t.classes = append(t.classes, c)
		t.ranges += len(c) / 2
	}
	return n
}

// Where a word is: whether a character was read, and whether \z was passed, behind which none may be.
const (
	begun = 1 << iota
	ended
	phases
)

var errAssertion = errors.New(`word boundaries (\b, \B) and line anchors ((?m)) are not supported`)

// newAutomaton compiles a tree. It takes time linear in the size of the tree with repetitions written out, which the
// caller has bounded.
func newAutomaton(tree *syntax.Regexp) (*automaton, error) {
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	start := program.Start*phases + begun
	for _, instruction := range program.Inst {
		if instruction.Op == syntax.InstEmptyWidth && syntax.EmptyOp(instruction.Arg)&syntax.EmptyBeginText != 0 {
			start = program.Start * phases
		}
	}
	var (
		table  classTable
		raw    []state
		order  []int
		number = map[int]int32{}
	)
	enter := func(pc uint32, phase int) int32 {
		key := int(pc)*phases + phase
		n, found := number[key]
		if !found {
			n = int32(len(order))
			number[key] = n
			order = append(order, key)
		}
		return n
	}
	enter(uint32(start/phases), start%phases)
	for i := 0; i < len(order); i++ {
		instruction, phase := &program.Inst[order[i]/phases], order[i]%phases
		st := state{kind: dead}
		switch instruction.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			st.kind = split
			st.next = [2]int32{enter(instruction.Out, phase), enter(instruction.Arg, phase)}
		case syntax.InstCapture, syntax.InstNop:
			st.kind = jump
			st.next[0] = enter(instruction.Out, phase)
		case syntax.InstEmptyWidth:
			operator := syntax.EmptyOp(instruction.Arg)
			if operator&^(syntax.EmptyBeginText|syntax.EmptyEndText) != 0 {
				return nil, errAssertion
			}
			if operator&syntax.EmptyBeginText != 0 && phase&begun != 0 {
				break
			}
			if operator&syntax.EmptyEndText != 0 {
				phase |= ended
			}
			st.kind = jump
			st.next[0] = enter(instruction.Out, phase)
		case syntax.InstMatch:
			st.kind = accept
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			c := consumed(instruction)
			if phase&ended != 0 || len(c) == 0 {
				break
			}
			st.kind = consume
			st.class = table.intern(c)
			st.next[0] = enter(instruction.Out, phase|begun)
		}
		raw = append(raw, st)
	}
	a := trim(raw, 0, table.classes)
	a.dead = hasDead(program, raw, order)
	switch {
	case len(a.states) > MaxInstructions:
		return nil, &TooComplexError{"states of one expression's automaton", MaxInstructions}
	case table.ranges > maxRanges:
		return nil, &TooComplexError{"ranges in the character classes of one expression", maxRanges}
	}
	return a, nil
}

// hasDead tells whether an instruction that reads is on no path to acceptance, wherever in the word it stands.
func hasDead(program *syntax.Prog, raw []state, order []int) bool {
	useful := canAccept(raw)
	alive := make([]bool, len(program.Inst))
	for i, key := range order {
		alive[key/phases] = alive[key/phases] || useful[i]
	}
	for _, key := range order {
		switch program.Inst[key/phases].Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL, syntax.InstFail:
			if !alive[key/phases] {
				return true
			}
		}
	}
	return false
}

// consumed returns the characters that an instruction reads.
func consumed(instruction *syntax.Inst) class {
	switch {
	case instruction.Op == syntax.InstRuneAny:
		return newClass([]rune{0, unicode.MaxRune})
	case instruction.Op == syntax.InstRuneAnyNotNL:
		return newClass([]rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune})
	case len(instruction.Rune) != 1:
		return newClass(instruction.Rune)
	}
	r := instruction.Rune[0]
	pairs := []rune{r, r}
	if syntax.Flags(instruction.Arg)&syntax.FoldCase != 0 {
		for folded := unicode.SimpleFold(r); folded != r; folded = unicode.SimpleFold(folded) {
			pairs = append(pairs, folded, folded)
		}
	}
	return newClass(pairs)
}

// literal returns the automaton of one word.
func literal(word string) *automaton {
	var (
		table classTable
		a     automaton
	)
	for _, r := range word {
		next := int32(len(a.states) + 1)
		a.states = append(a.states, state{kind: consume, class: table.intern(class{r, r}), next: [2]int32{next}})
	}
	a.states = append(a.states, state{kind: accept})
	a.classes = table.classes
	return &a
}

// concatenate joins automata and marks the states of each with its number. Ways to match are combined freely.
func concatenate(parts []*automaton) *automaton {
	var (
		table  classTable
		raw    []state
		starts []int32
		offset int32
	)
	for _, part := range parts {
		if part.empty() {
			return &automaton{}
		}
		starts = append(starts, offset+part.start)
		offset += int32(len(part.states))
	}
	starts = append(starts, offset)
	for i, part := range parts {
		offset := int32(len(raw))
		classes := make([]int32, len(part.classes))
		for j, c := range part.classes {
			classes[j] = table.intern(c)
		}
		for _, st := range part.states {
			st.pieces[0] = int32(i)
			switch st.kind {
			case accept:
				st.kind = jump
				st.next[0] = starts[i+1]
			case consume:
				st.class = classes[st.class]
				fallthrough
			default:
				st.next[0] += offset
				st.next[1] += offset
			}
			raw = append(raw, st)
		}
	}
	raw = append(raw, state{kind: accept})
	return trim(raw, starts[0], table.classes)
}

// closure appends to list the states that can be reached from s without reading, other than splits, unless seen holds
// the mark for them already.
func (a *automaton) closure(s int32, list []int32, seen []int32, mark int32) []int32 {
	stack := []int32{s}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[s] == mark {
			continue
		}
		seen[s] = mark
		if a.states[s].kind == split {
			stack = append(stack, a.states[s].next[1], a.states[s].next[0])
			continue
		}
		list = append(list, s)
	}
	return list
}

// contains takes time proportional to the length of the word times the number of states.
func (a *automaton) contains(word string) bool {
	if a.empty() {
		return false
	}
	seen := make([]int32, len(a.states))
	mark := int32(1)
	current := a.closure(a.start, nil, seen, mark)
	var next []int32
	for _, r := range word {
		mark++
		next = next[:0]
		for _, s := range current {
			if st := &a.states[s]; st.kind == consume && a.classes[st.class].contains(r) {
				next = a.closure(st.next[0], next, seen, mark)
			}
		}
		current, next = next, current
		if len(current) == 0 {
			return false
		}
	}
	return slices.ContainsFunc(current, func(s int32) bool { return a.states[s].kind == accept })
}

// distances returns for each state the length of the shortest word that leads from it to acceptance, in linear time.
func (a *automaton) distances() []int32 {
	before := reverse(a.states)
	distance := make([]int32, len(a.states))
	for i := range distance {
		distance[i] = -1
	}
	var layer, next []int32
	for i := range a.states {
		if a.states[i].kind == accept {
			distance[i] = 0
			layer = append(layer, int32(i))
		}
	}
	for d := int32(0); len(layer) > 0; d++ {
		next = next[:0]
		for i := 0; i < len(layer); i++ {
			for _, previous := range before.of(layer[i]) {
				switch {
				case a.states[previous].kind == consume:
					next = append(next, previous)
				case distance[previous] < 0:
					distance[previous] = d
					layer = append(layer, previous)
				}
			}
		}
		layer = layer[:0]
		for _, s := range next {
			if distance[s] < 0 {
				distance[s] = d + 1
				layer = append(layer, s)
			}
		}
	}
	return distance
}

// shortest returns of the shortest words the one that reads best, character by character. It takes time proportional
// to its length times the number of states. The language must not be empty.
func (a *automaton) shortest() string {
	distance := a.distances()
	seen := make([]int32, len(a.states))
	mark := int32(1)
	current := a.closure(a.start, nil, seen, mark)
	var word []rune
	for left := distance[a.start]; left > 0; left-- {
		onPath := current[:0]
		for _, s := range current {
			if distance[s] == left {
				onPath = append(onPath, s)
			}
		}
		best := rune(-1)
		for _, s := range onPath {
			if r := a.classes[a.states[s].class].best(); best < 0 || readsBefore(r, best) {
				best = r
			}
		}
		word = append(word, best)
		mark++
		var next []int32
		for _, s := range onPath {
			if a.classes[a.states[s].class].contains(best) {
				next = a.closure(a.states[s].next[0], next, seen, mark)
			}
		}
		current = next
	}
	return string(word)
}
