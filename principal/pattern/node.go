// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"strconv"
	"strings"
)

// unbounded is the maximum of * + and {n,}.
const unbounded = -1

type operation int

const (
	opEmpty      operation = iota // matches the empty string
	opSet                         // matches one character of set
	opConcat                      // subs one after another
	opAlternate                   // the first of subs that leads to a match
	opGroup                       // subs[0], captured if group > 0
	opRepetition                  // subs[0], min to max times
)

// A node is one construct of a pattern, with what follows from it alone.
type node struct {
	op       operation
	set      charset
	subs     []*node
	group    int
	min, max int
	lazy     bool

	// shortest is the least number of characters that it matches.
	shortest int
	// size is no less than the instructions that Go's regexp compiles it to.
	size int
	// Java recurses to match it no deeper than frames + framesPerChar * (characters matched). See Pattern.Frames.
	frames, framesPerChar int
}

func newEmpty() *node {
	return &node{op: opEmpty, size: 1}
}

func newSet(set charset) *node {
	return &node{op: opSet, set: set, shortest: 1, size: 1, frames: 1}
}

func newConcat(subs []*node) *node {
	switch len(subs) {
	case 0:
		return newEmpty()
	case 1:
		return subs[0]
	}
	n := &node{op: opConcat, subs: subs}
	for _, s := range subs {
		n.shortest += s.shortest
		n.size += s.size
		n.frames += s.frames
		n.framesPerChar = max(n.framesPerChar, s.framesPerChar)
	}
	return n
}

func newAlternate(subs []*node) *node {
	if len(subs) == 1 {
		return subs[0]
	}
	n := &node{op: opAlternate, subs: subs, shortest: subs[0].shortest, size: len(subs)}
	for _, s := range subs {
		n.shortest = min(n.shortest, s.shortest)
		n.size += s.size
		n.frames = max(n.frames, s.frames)
		n.framesPerChar = max(n.framesPerChar, s.framesPerChar)
	}
	n.frames += 2 // Branch, BranchConn
	return n
}

// newGroup makes a group that captures, or if group is 0 only holds together.
func newGroup(group int, sub *node) *node {
	n := *sub
	n.op, n.subs, n.set, n.group = opGroup, []*node{sub}, nil, group
	n.size += 2
	n.frames += 2 // GroupHead, GroupTail
	return &n
}

func newRepetition(sub *node, minimum, maximum int, lazy bool) *node {
	n := &node{op: opRepetition, subs: []*node{sub}, min: minimum, max: maximum, lazy: lazy}
	n.shortest = minimum * sub.shortest
	if maximum == unbounded {
		n.size = max(minimum, 1)*sub.size + 2
	} else {
		n.size = maximum*sub.size + (maximum - minimum) + 1
	}
	switch {
	case minimum == 0 && maximum == 1: // Ques, or Branch around a group
		n.frames, n.framesPerChar = sub.frames+2, sub.framesPerChar
	case sub.op == opSet: // Curly or CharPropertyGreedy
		n.frames = 3
		if maximum != unbounded && sub.set.hasSupplementary() { // Curly recurses where the width of characters changes
			n.framesPerChar = 1
		}
	default: // Prolog and Loop, which recurse in each round
		n.frames = 3
		rounds := max(sub.shortest, 1)
		n.framesPerChar = sub.framesPerChar + (sub.frames+2+rounds-1)/rounds
	}
	return n
}

// nullable tells whether the node can match the empty string.
func (n *node) nullable() bool { return n.shortest == 0 }

// write prints the node in Go's syntax.
func (n *node) write(b *strings.Builder) {
	switch n.op {
	case opEmpty:
		b.WriteString(`(?:)`)
	case opSet:
		n.set.write(b)
	case opConcat:
		for _, s := range n.subs {
			s.write(b)
		}
	case opAlternate:
		for i, s := range n.subs {
			if i > 0 {
				b.WriteByte('|')
			}
			s.write(b)
		}
	case opGroup:
		b.WriteByte('(')
		if n.group == 0 {
			b.WriteString(`?:`)
		}
		n.subs[0].write(b)
		b.WriteByte(')')
	case opRepetition:
		n.subs[0].write(b)
		n.writeQuantifier(b)
	}
}

func (n *node) writeQuantifier(b *strings.Builder) {
	switch {
	case n.min == 0 && n.max == unbounded:
		b.WriteByte('*')
	case n.min == 1 && n.max == unbounded:
		b.WriteByte('+')
	case n.min == 0 && n.max == 1:
		b.WriteByte('?')
	default:
		b.WriteByte('{')
		b.WriteString(strconv.Itoa(n.min))
		if n.max != n.min {
			b.WriteByte(',')
		}
		if n.max != n.min && n.max != unbounded {
			b.WriteString(strconv.Itoa(n.max))
		}
		b.WriteByte('}')
	}
	if n.lazy {
		b.WriteByte('?')
	}
}

// literal returns the only string that the node matches, if it is made of characters one after another.
func (n *node) literal() (string, bool) {
	switch n.op {
	case opEmpty:
		return "", true
	case opSet:
		r, ok := n.set.single()
		return string(r), ok
	case opConcat:
		var b strings.Builder
		for _, s := range n.subs {
			r, ok := s.set.single()
			if s.op != opSet || !ok {
				return "", false
			}
			b.WriteRune(r)
		}
		return b.String(), true
	}
	return "", false
}
