// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import "slices"

// maxPairs bounds the pairs of states that are visited in one product, at about 12 bytes each and 4 for each pair that
// might be visited. It is half of the square of MaxInstructions.
const maxPairs = 2_000_000

// A pairSearch walks through the product of two automata, breadth first in the length of the word. To count each pair
// of paths once, of two states that read nothing the left one goes first.
//
// With twins, it looks for two different paths of one automaton: both go together (keys below twins) until they part at
// a split for good.
type pairSearch struct {
	a, b   *automaton
	twins  int32 // the number of states if pairs of equal paths are walked too, else 0
	common classPairs
	index  []int32 // by key: the node's number + 1
	keys   []int32 // by node
	parent []int32 // by node
}

// newPairSearch starts at the pair of starts. Neither automaton may be empty.
func newPairSearch(a, b *automaton) *pairSearch {
	s := &pairSearch{a: a, b: b, common: newClassPairs(a.classes, b.classes)}
	s.index = make([]int32, len(a.states)*len(b.states))
	s.enter(s.key(a.start, b.start), -1)
	return s
}

// newTwinSearch starts with one path.
func newTwinSearch(a *automaton) *pairSearch {
	n := len(a.states)
	s := &pairSearch{a: a, b: a, twins: int32(n), common: newClassPairs(a.classes, a.classes)}
	s.index = make([]int32, n+n*n)
	s.enter(a.start, -1)
	return s
}

func (s *pairSearch) key(p, q int32) int32 { return s.twins + p*int32(len(s.b.states)) + q }

func (s *pairSearch) enter(key, parent int32) {
	if s.index[key] == 0 {
		s.keys = append(s.keys, key)
		s.parent = append(s.parent, parent)
		s.index[key] = int32(len(s.keys))
	}
}

// A reading is one character, read in state p of the left automaton and q of the right one.
type reading struct {
	p, q int32
	r    rune
}

// moves returns what a node does: split goes to the next keys without reading, consume reads, accept ends both paths.
func (s *pairSearch) moves(key int32) (kind stateKind, next [3]int32, n int, read reading) {
	if key < s.twins {
		switch st := &s.a.states[key]; st.kind {
		case split:
			return split, [3]int32{st.next[0], st.next[1], s.key(st.next[0], st.next[1])}, 3, reading{}
		case consume:
			return consume, [3]int32{st.next[0]}, 1, reading{key, key, s.a.classes[st.class].best()}
		}
		return dead, next, 0, reading{}
	}
	p, q := (key-s.twins)/int32(len(s.b.states)), (key-s.twins)%int32(len(s.b.states))
	left, right := &s.a.states[p], &s.b.states[q]
	switch {
	case left.kind == split:
		return split, [3]int32{s.key(left.next[0], q), s.key(left.next[1], q)}, 2, reading{}
	case right.kind == split:
		return split, [3]int32{s.key(p, right.next[0]), s.key(p, right.next[1])}, 2, reading{}
	case left.kind == accept && right.kind == accept:
		return accept, next, 0, reading{}
	case left.kind == consume && right.kind == consume:
		if r, ok := s.common.common(left.class, right.class); ok {
			return consume, [3]int32{s.key(left.next[0], right.next[0])}, 1, reading{p, q, r}
		}
	}
	return dead, next, 0, reading{}
}

// run returns the first node at which both accept.
func (s *pairSearch) run() (goal int32, ok bool, err error) {
	for low := 0; low < len(s.keys); {
		for i := low; i < len(s.keys); i++ {
			kind, next, n, _ := s.moves(s.keys[i])
			if kind == accept {
				return int32(i), true, nil
			}
			if kind == split {
				for _, key := range next[:n] {
					s.enter(key, int32(i))
				}
			}
			if len(s.keys) > maxPairs {
				return 0, false, &TooComplexError{"pairs of states of two automata", maxPairs}
			}
		}
		high := len(s.keys)
		for i := low; i < high; i++ {
			if kind, next, n, _ := s.moves(s.keys[i]); kind == consume {
				for _, key := range next[:n] {
					s.enter(key, int32(i))
				}
			}
		}
		low = high
	}
	return 0, false, nil
}

// A step is one character of a word, and the pieces of both automata that it is read in.
type step struct {
	pieces [2]int32
	r      rune
}

// path returns what is read on the way to a node.
func (s *pairSearch) path(node int32) []step {
	var steps []step
	for node = s.parent[node]; node >= 0; node = s.parent[node] {
		if kind, _, _, read := s.moves(s.keys[node]); kind == consume {
			pieces := [2]int32{s.a.states[read.p].pieces[0], s.b.states[read.q].pieces[0]}
			steps = append(steps, step{pieces, read.r})
		}
	}
	slices.Reverse(steps)
	return steps
}

func word(steps []step) string {
	word := make([]rune, len(steps))
	for i, s := range steps {
		word[i] = s.r
	}
	return string(word)
}

// maxOverlap bounds the states of an explicit product, at about 60 bytes each while it is made.
const maxOverlap = 1_000_000

// product returns the automaton of the common words of two functions' inputs; its states have the pieces of both sides.
// It takes time proportional to the product of the numbers of states, and errs beyond maxOverlap.
func product(a, b *automaton) (*automaton, error) {
	s := newPairSearch(a, b)
	var (
		raw   []state
		table classTable
	)
	numbers := map[[2]int32]int32{}
	for i := 0; i < len(s.keys); i++ {
		kind, next, n, read := s.moves(s.keys[i])
		st := state{kind: kind}
		for j, key := range next[:n] {
			s.enter(key, int32(i))
			st.next[j] = s.index[key] - 1
		}
		if kind == consume {
			left, right := &a.states[read.p], &b.states[read.q]
			st.pieces = [2]int32{left.pieces[0], right.pieces[0]}
			both := [2]int32{left.class, right.class}
			number, found := numbers[both]
			if !found {
				number = table.intern(a.classes[left.class].intersect(b.classes[right.class]))
				numbers[both] = number
			}
			st.class = number
		}
		raw = append(raw, st)
		if len(raw) > maxOverlap {
			return nil, &TooComplexError{"pairs of states of two functions", maxOverlap}
		}
	}
	return trim(raw, 0, table.classes), nil
}
