// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import (
	"encoding/binary"
	"slices"
)

const (
	// maxSubsets bounds the subset construction, which can need exponentially many.
	maxSubsets = 50_000
	// maxSubsetWork bounds the states looked at when subsets are made, and the uses of subsets; it is about a second. It
	// also bounds the members of all subsets together to 12,500,000, at 8 bytes each.
	maxSubsetWork = 50_000_000
	// maxCoverStates bounds the automata that cover, all together: 256 patterns of middling size.
	maxCoverStates = 100_000
	// maxClassWork bounds the number of distinct classes times that of their ranges.
	maxClassWork = 20_000_000
)

// Covered tells whether every word of l is in at least one of the languages by; if not, witness is a shortest word of l
// that is in none of them. It determinises by on the fly, which is exponential in its number of states in the worst
// case and about linear for ordinary patterns. Beyond 50,000 subsets, 50,000,000 steps, 2,000,000 pairs of a state of
// l and a subset, or 100,000 states of by, it errs with *TooComplexError.
func Covered(l *Language, by ...*Language) (witness string, covered bool, err error) {
	automata := make([]*automaton, len(by))
	for i, language := range by {
		automata[i] = language.automaton
	}
	return uncovered(l.automaton, automata)
}

func uncovered(l *automaton, by []*automaton) (witness string, covered bool, err error) {
	if l.empty() {
		return "", true, nil
	}
	// One automaton of l and all of by, for common classes; l's states come first.
	var (
		table  classTable
		all    automaton
		starts []int32
	)
	for _, a := range slices.Insert(slices.Clone(by), 0, l) {
		if len(all.states)+len(a.states) > maxCoverStates {
			return "", false, &TooComplexError{"states of the automata that cover", maxCoverStates}
		}
		offset := int32(len(all.states))
		if !a.empty() {
			starts = append(starts, offset+a.start)
		}
		for _, st := range a.states {
			st.next[0] += offset
			st.next[1] += offset
			if st.kind == consume {
				st.class = table.intern(a.classes[st.class])
			}
			all.states = append(all.states, st)
		}
	}
	all.classes = table.classes
	if (len(all.classes)+1)*(table.ranges+1) > maxClassWork {
		return "", false, &TooComplexError{"classes times ranges", maxClassWork}
	}
	c := &subsets{automaton: &all, atoms: newAtoms(all.classes), seen: make([]int32, len(all.states))}
	c.mark++
	var members []int32
	for _, start := range starts[1:] {
		members = all.closure(start, members, c.seen, c.mark)
	}
	first, err := c.intern(members)
	if err != nil {
		return "", false, err
	}
	return c.search(starts[0], first)
}

// An atoms is the coarsest partition of characters that every class is a union of parts of.
type atoms struct {
	best []rune    // by atom
	of   [][]int32 // by class: its atoms
	in   [][]bool  // by class: for each atom whether it is part of it
}

// newAtoms refines the partition class by class, in time proportional to the number of classes times that of their
// ranges.
func newAtoms(classes []class) *atoms {
	var bounds []rune
	for _, c := range classes {
		for i := 0; i < len(c); i += 2 {
			bounds = append(bounds, c[i], c[i+1]+1)
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	intervals := max(0, len(bounds)-1)
	atom := make([]int32, intervals)
	size := []int{intervals}
	covered := func(c class, visit func(interval int)) {
		for i := 0; i < len(c); i += 2 {
			j, _ := slices.BinarySearch(bounds, c[i])
			for ; j < intervals && bounds[j] <= c[i+1]; j++ {
				visit(j)
			}
		}
	}
	inside := []int{0}
	moved := []int32{-1}
	for _, c := range classes {
		var touched []int32
		covered(c, func(interval int) {
			if inside[atom[interval]] == 0 {
				touched = append(touched, atom[interval])
			}
			inside[atom[interval]]++
		})
		for _, old := range touched {
			if inside[old] < size[old] {
				moved[old] = int32(len(size))
				size[old] -= inside[old]
				size = append(size, inside[old])
				inside = append(inside, 0)
				moved = append(moved, -1)
			}
		}
		covered(c, func(interval int) {
			if to := moved[atom[interval]]; to >= 0 {
				atom[interval] = to
			}
		})
		for _, old := range touched {
			inside[old], moved[old] = 0, -1
		}
	}
	p := &atoms{best: make([]rune, len(size))}
	for i := range p.best {
		p.best[i] = -1
	}
	for i, a := range atom {
		// An interval may lie between classes, in none of them: its atom is in no class either, and never used.
		if r := (class{bounds[i], bounds[i+1] - 1}).best(); p.best[a] < 0 || readsBefore(r, p.best[a]) {
			p.best[a] = r
		}
	}
	for _, c := range classes {
		in := make([]bool, len(size))
		var of []int32
		covered(c, func(interval int) {
			if a := atom[interval]; !in[a] {
				in[a] = true
				of = append(of, a)
			}
		})
		p.in = append(p.in, in)
		p.of = append(p.of, of)
	}
	return p
}

// A subsets is a subset construction in the making.
type subsets struct {
	automaton *automaton
	atoms     *atoms
	number    map[string]int32
	sets      [][]int32 // sorted, without splits
	accepts   []bool
	next      map[[2]int32]int32 // by subset and atom
	work      int
	seen      []int32
	mark      int32
}

func (c *subsets) intern(members []int32) (int32, error) {
	slices.Sort(members)
	key := make([]byte, 0, 4*len(members))
	for _, s := range members {
		key = binary.BigEndian.AppendUint32(key, uint32(s))
	}
	if n, found := c.number[string(key)]; found {
		return n, nil
	}
	if c.number == nil {
		c.number = map[string]int32{}
		c.next = map[[2]int32]int32{}
	}
	n := int32(len(c.sets))
	if n >= maxSubsets {
		return 0, &TooComplexError{"subsets of the states that cover", maxSubsets}
	}
	c.number[string(key)] = n
	c.sets = append(c.sets, members)
	c.accepts = append(c.accepts, slices.ContainsFunc(members, func(s int32) bool {
		return c.automaton.states[s].kind == accept
	}))
	return n, nil
}

func (c *subsets) read(set, atom int32) (int32, error) {
	if c.work++; c.work > maxSubsetWork {
		return 0, &TooComplexError{"steps of the subset construction", maxSubsetWork}
	}
	if next, found := c.next[[2]int32{set, atom}]; found {
		return next, nil
	}
	c.mark++
	var members []int32
	for _, s := range c.sets[set] {
		if st := &c.automaton.states[s]; st.kind == consume && c.atoms.in[st.class][atom] {
			members = c.automaton.closure(st.next[0], members, c.seen, c.mark)
		}
	}
	c.work += len(c.sets[set]) + 4*len(members)
	next, err := c.intern(members)
	if err == nil {
		c.next[[2]int32{set, atom}] = next
	}
	return next, err
}

// search walks through pairs of a state of l and the subset of by that the same word leads to, breadth first.
func (c *subsets) search(start, first int32) (witness string, covered bool, err error) {
	type node struct {
		s, set, parent int32
		r              rune // read on the way from parent, -1: nothing
	}
	var nodes []node
	visited := map[[2]int32]bool{}
	enter := func(n node) {
		if key := [2]int32{n.s, n.set}; !visited[key] {
			visited[key] = true
			nodes = append(nodes, n)
		}
	}
	enter(node{start, first, -1, -1})
	for low := 0; low < len(nodes); {
		for i := low; i < len(nodes); i++ {
			n := nodes[i]
			switch st := &c.automaton.states[n.s]; {
			case st.kind == split:
				enter(node{st.next[0], n.set, int32(i), -1})
				enter(node{st.next[1], n.set, int32(i), -1})
			case st.kind == accept && !c.accepts[n.set]:
				var word []rune
				for ; n.parent >= 0; n = nodes[n.parent] {
					if n.r >= 0 {
						word = append(word, n.r)
					}
				}
				slices.Reverse(word)
				return string(word), false, nil
			}
			if len(nodes) > maxPairs {
				return "", false, &TooComplexError{"pairs of a state and a subset", maxPairs}
			}
		}
		high := len(nodes)
		for i := low; i < high; i++ {
			n := nodes[i]
			st := &c.automaton.states[n.s]
			if st.kind != consume {
				continue
			}
			for _, atom := range c.atoms.of[st.class] {
				set, err := c.read(n.set, atom)
				if err != nil {
					return "", false, err
				}
				enter(node{st.next[0], set, int32(i), c.atoms.best[atom]})
			}
		}
		low = high
	}
	return "", true, nil
}
