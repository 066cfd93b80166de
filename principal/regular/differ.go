// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import (
	"slices"
	"unicode/utf8"
)

const (
	// maxConfigurations bounds the pairs of a state and a balance in one search of Differ, at about 100 bytes each.
	maxConfigurations = 500_000
	// maxMarked bounds the states in one search of Differ, at about 200 bytes each.
	maxMarked = 500_000
	// maxDifferWork bounds the states and configurations visited in all searches of one call; it is a few seconds.
	maxDifferWork = 5_000_000
)

// Differ tells whether some word is matched by both functions and has different outputs; witness is such a word. A
// result without an error is exact, whatever the order of the groups in either template.
//
// Two outputs differ iff their lengths do, or some character of one differs from that at the same position of the
// other. Both are questions about the product of the two automata with a balance, that is how many characters more f
// has put out than g:
//   - Lengths: they agree iff each state has one balance, and it is 0 at the end.
//   - Positions: for each part of f's template and each of g's, one character is chosen in each, and the balance counts
//     what is put out before them, wherever in the word it is read. It must be able to end at 0. As each function cuts
//     its word in one way, nothing else has to be remembered.
//
// If both templates have their groups in the order of the expression, the balance is bounded by the longest delay
// between the outputs, and the search ends. Otherwise it ends if the balance cannot both grow and shrink without end
// before the chosen characters, or if a difference is found; else it is bounded (see balanceBound), but by the square
// of the number of states. The time is proportional to the number of pairs of states, times that of the balances, times
// the number of pairs of parts. Beyond 1,000,000 pairs of states it errs with *TooComplexError, and beyond 5,000,000
// steps with an *UndecidedError that has a common word.
func Differ(f, g *Function) (witness string, ok bool, err error) {
	overlap, err := product(f.input, g.input)
	if err != nil || overlap.empty() {
		return "", false, err
	}
	steps, ok, decided := differing(f, g, overlap)
	if !decided {
		return "", false, &UndecidedError{overlap.shortest()}
	}
	return word(steps), ok, nil
}

// differing finds a path through the product of two inputs on which the outputs differ, a short one. decided=false: a
// bound was reached before.
func differing(f, g *Function, overlap *automaton) (steps []step, found, decided bool) {
	if steps, found = lengthsDiffer(f, g, overlap); found {
		return steps, true, true
	}
	d := &difference{f: f, g: g, overlap: overlap}
	decided = true
	for _, c := range d.choices() {
		other, foundHere, decidedHere := d.search(c)
		if foundHere && (!found || len(other) < len(steps)) {
			steps, found = other, true
		}
		decided = decided && decidedHere
		if d.work > maxDifferWork {
			break
		}
	}
	return steps, found, found || decided
}

// put tells whether what is read in a segment is put out.
func (f *Function) put(segment int32) int {
	if f.filled[segment] >= 0 {
		return 1
	}
	return 0
}

// literalLength returns the length of the literals among the first n parts of the output.
func (f *Function) literalLength(n int) int {
	total := 0
	for _, part := range f.output[:n] {
		total += utf8.RuneCountInString(part.Literal)
	}
	return total
}

// lengthsDiffer finds a path whose outputs have different lengths. It takes time linear in the size of overlap.
func lengthsDiffer(f, g *Function, overlap *automaton) (steps []step, ok bool) {
	const unknown = 1 << 60
	states := overlap.states
	distance := overlap.distances()
	weight := func(s int32) int {
		if states[s].kind != consume {
			return 0
		}
		return f.put(states[s].pieces[0]) - g.put(states[s].pieces[1])
	}
	literals := f.literalLength(len(f.output)) - g.literalLength(len(g.output))
	// spell returns what is read on a path, and on along the shortest one, and how much longer f's output is. It ends, as
	// neither function is ambiguous: there is no way round without reading.
	parent := make([]int32, len(states))
	spell := func(path []int32) ([]step, int) {
		for s := path[len(path)-1]; states[s].kind != accept; path = append(path, s) {
			step := states[s].next[0]
			if states[s].kind == split && distance[states[s].next[1]] < distance[step] {
				step = states[s].next[1]
			}
			s = step
		}
		var steps []step
		balance := literals
		for _, s := range path {
			if states[s].kind == consume {
				steps = append(steps, step{states[s].pieces, overlap.classes[states[s].class].best()})
				balance += weight(s)
			}
		}
		return steps, balance
	}
	pathTo := func(s int32) []int32 {
		var path []int32
		for ; s >= 0; s = parent[s] {
			path = append(path, s)
		}
		slices.Reverse(path)
		return path
	}
	balance := make([]int, len(states))
	for i := range balance {
		balance[i] = unknown
	}
	queue := []int32{overlap.start}
	parent[overlap.start] = -1
	balance[overlap.start] = literals
	for i := 0; i < len(queue); i++ {
		s := queue[i]
		if states[s].kind == accept && balance[s] != 0 {
			steps, _ := spell(pathTo(s))
			return steps, true
		}
		for _, next := range successors(&states[s]) {
			switch after := balance[s] + weight(s); {
			case balance[next] == unknown:
				balance[next], parent[next] = after, s
				queue = append(queue, next)
			case balance[next] != after:
				// At most one of the two can be made up for by one and the same rest.
				if steps, total := spell(pathTo(next)); total != 0 {
					return steps, true
				}
				steps, _ := spell(append(pathTo(s), next))
				return steps, true
			}
		}
	}
	return nil, false
}

// anyCharacter stands for a chosen character that can be made different from any other.
const anyCharacter = -1

// A choice is a part of each template between which a difference is looked for.
type choice struct {
	partF, partG int
	// chosen are the marks that are set from the beginning, as one part or both are literals.
	chosen uint8
	// character is the literal's, if exactly one part is a literal.
	character rune
	// targets are the balances, ascending, at which the two positions are the same and the literals' characters do not
	// exclude a difference.
	targets []int
}

const (
	chosenF = 1 << iota
	chosenG
	chosenBoth = chosenF | chosenG
)

// A difference is a search for a position at which two outputs differ.
type difference struct {
	f, g    *Function
	overlap *automaton
	work    int
}

func (d *difference) choices() []choice {
	var list []choice
	for i, left := range d.f.output {
		for j, right := range d.g.output {
			before := d.g.literalLength(j) - d.f.literalLength(i)
			switch {
			case left.Group != 0 && right.Group != 0:
				list = append(list, choice{i, j, 0, anyCharacter, []int{before}})
			case left.Group != 0:
				for _, o := range offsets(right.Literal) {
					for k := range o.at {
						o.at[k] += before
					}
					list = append(list, choice{i, j, chosenG, o.character, o.at})
				}
			case right.Group != 0:
				for _, o := range offsets(left.Literal) {
					for k := range o.at {
						o.at[k] = before - o.at[k]
					}
					slices.Reverse(o.at)
					list = append(list, choice{i, j, chosenF, o.character, o.at})
				}
			default:
				var targets []int
				for _, shift := range mismatches([]rune(left.Literal), []rune(right.Literal)) {
					targets = append(targets, before+shift)
				}
				if len(targets) > 0 {
					list = append(list, choice{i, j, chosenBoth, anyCharacter, targets})
				}
			}
		}
	}
	return list
}

// mismatches returns by how much right can begin earlier than left so that different characters come to one position,
// ascending.
func mismatches(left, right []rune) []int {
	var shifts []int
	for shift := 1 - len(left); shift < len(right); shift++ {
		for k := max(0, -shift); k < min(len(left), len(right)-shift); k++ {
			if left[k] != right[k+shift] {
				shifts = append(shifts, shift)
				break
			}
		}
	}
	return shifts
}

// An offset says where a character stands in a literal, ascending.
type offset struct {
	character rune
	at        []int
}

// offsets returns where each character of a literal stands, in the order in which they begin.
func offsets(literal string) []offset {
	var list []offset
	for i, r := range []rune(literal) {
		n := slices.IndexFunc(list, func(o offset) bool { return o.character == r })
		if n < 0 {
			n = len(list)
			list = append(list, offset{character: r})
		}
		list[n].at = append(list[n].at, i)
	}
	return list
}

// A markedState is a state of the overlap with which characters are chosen already, and if one is, and its class has
// only one member, that (otherwise anyCharacter).
type markedState struct {
	state     int32
	chosen    uint8
	character rune
}

// A markedEdge leads to a node; what is read in between changes the balance by weight and may be chosen.
type markedEdge struct {
	to     int32
	weight int8
	chosen uint8
}

// A markedGraph has the states in which a search may be, and from which it may succeed.
type markedGraph struct {
	nodes []markedState
	edges [][]markedEdge
	// lowest and highest bound the change of the balance from a node to the end.
	lowest, highest []int
}

// weigh returns what a character read in a segment does to the count of what is put out before the chosen position, and
// whether it may be chosen itself.
func (f *Function) weigh(segment int32, part int, chosen bool) (weight int8, choosable bool) {
	switch filled := f.filled[segment]; {
	case filled < 0 || int(filled) > part:
		return 0, false
	case int(filled) < part:
		return 1, false
	case chosen:
		return 0, false
	}
	return 1, true
}

// graph makes the marked graph of a choice, whose first node is the start. No nodes: there is no difference. nil: a
// bound was reached.
func (d *difference) graph(c choice) *markedGraph {
	g := &markedGraph{}
	number := map[markedState]int32{}
	enter := func(n markedState) int32 {
		if n.chosen == chosenBoth {
			n.character = anyCharacter
		}
		i, found := number[n]
		if !found {
			i = int32(len(g.nodes))
			number[n] = i
			g.nodes = append(g.nodes, n)
		}
		return i
	}
	enter(markedState{d.overlap.start, c.chosen, c.character})
	for i := 0; i < len(g.nodes); i++ {
		if d.work++; len(g.nodes) > maxMarked || d.work > maxDifferWork {
			return nil
		}
		n := g.nodes[i]
		st := &d.overlap.states[n.state]
		var edges []markedEdge
		switch st.kind {
		case split:
			for _, next := range st.next {
				edges = append(edges, markedEdge{to: enter(markedState{next, n.chosen, n.character})})
			}
		case consume:
			wf, mayF := d.f.weigh(st.pieces[0], c.partF, n.chosen&chosenF != 0)
			wg, mayG := d.g.weigh(st.pieces[1], c.partG, n.chosen&chosenG != 0)
			next := n
			next.state = st.next[0]
			edges = append(edges, markedEdge{enter(next), wf - wg, 0})
			character, single := d.overlap.classes[st.class].single()
			if !single {
				character = anyCharacter
			}
			// The second character to be chosen must be able to differ from the first.
			if n.chosen != 0 && single && character == n.character {
				break
			}
			next.character = character
			if mayF {
				next.chosen = n.chosen | chosenF
				edges = append(edges, markedEdge{enter(next), -wg, chosenF})
			}
			if mayG {
				next.chosen = n.chosen | chosenG
				edges = append(edges, markedEdge{enter(next), wf, chosenG})
			}
		}
		g.edges = append(g.edges, edges)
	}
	return g.trim(d.overlap)
}

// trim keeps the nodes from which the end can be reached with both characters chosen.
func (g *markedGraph) trim(overlap *automaton) *markedGraph {
	before := make([][]int32, len(g.nodes))
	useful := make([]bool, len(g.nodes))
	var queue []int32
	for i, edges := range g.edges {
		for _, e := range edges {
			before[e.to] = append(before[e.to], int32(i))
		}
		if g.nodes[i].chosen == chosenBoth && overlap.states[g.nodes[i].state].kind == accept {
			useful[i] = true
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, previous := range before[n] {
			if !useful[previous] {
				useful[previous] = true
				queue = append(queue, previous)
			}
		}
	}
	trimmed := &markedGraph{}
	number := make([]int32, len(g.nodes))
	for i, n := range g.nodes {
		if useful[i] {
			number[i] = int32(len(trimmed.nodes))
			trimmed.nodes = append(trimmed.nodes, n)
		}
	}
	for i, edges := range g.edges {
		if !useful[i] {
			continue
		}
		var kept []markedEdge
		for _, e := range edges {
			if useful[e.to] {
				e.to = number[e.to]
				kept = append(kept, e)
			}
		}
		trimmed.edges = append(trimmed.edges, kept)
	}
	return trimmed
}

// balanceBound bounds the balances that must be looked at to find a path of n nodes with a given target.
//
// Take a path that meets the target. Removing simple cycles as long as the same nodes stay visited leaves one of at
// most n*n edges, so its balance is within n*n; the removed cycles, each of a weight within n, can be put back or left
// out at will. Those whose weights sum up to 0 are left out. Of what remains, one sign has fewer than 2n cycles: add
// them up, always one that brings the sum towards 0, until one sign has run out; the sums lie in (-n, n] and, as no
// cycles sum up to 0, are all different. That sign weighs at most 2n*n, the other one what is missing to the target,
// at most 3n*n + |target|. Together no balance on the way exceeds 6n*n + |target|.
func balanceBound(nodes, target int) int { return 6*nodes*nodes + max(target, -target) }

// search finds a shortest path with a difference at the chosen parts. decided=false: a bound was reached before.
func (d *difference) search(c choice) (steps []step, found, decided bool) {
	g := d.graph(c)
	if g == nil {
		return nil, false, false
	}
	if len(g.nodes) == 0 {
		return nil, false, true
	}
	g.bound()
	lowest, highest := c.targets[0], c.targets[len(c.targets)-1]
	bound := balanceBound(len(g.nodes), max(highest, -lowest))
	type configuration struct {
		node, parent int32
		balance      int
		chosen       uint8 // on the edge from parent
	}
	var list []configuration
	visited := map[[2]int]bool{}
	enter := func(n configuration) {
		if n.balance+g.lowest[n.node] > highest || n.balance+g.highest[n.node] < lowest ||
			n.balance > bound || n.balance < -bound {
			return
		}
		if key := [2]int{int(n.node), n.balance}; !visited[key] {
			visited[key] = true
			list = append(list, n)
		}
	}
	enter(configuration{node: 0, parent: -1})
	for low := 0; low < len(list); {
		for i := low; i < len(list); i++ {
			d.work++
			if len(list) > maxConfigurations || d.work > maxDifferWork {
				return nil, false, false
			}
			n := list[i]
			switch d.overlap.states[g.nodes[n.node].state].kind {
			case split:
				for _, e := range g.edges[n.node] {
					enter(configuration{e.to, int32(i), n.balance, 0})
				}
			case accept:
				if !slices.Contains(c.targets, n.balance) {
					continue
				}
				// The path backwards: where it reads, and whether that is chosen.
				var reads []*state
				var chosen []bool
				for ; n.parent >= 0; n = list[n.parent] {
					from := &d.overlap.states[g.nodes[list[n.parent].node].state]
					if from.kind == consume {
						reads = append(reads, from)
						chosen = append(chosen, n.chosen != 0)
					}
				}
				slices.Reverse(reads)
				slices.Reverse(chosen)
				return d.spell(reads, chosen, c.character), true, true
			}
		}
		high := len(list)
		for i := low; i < high; i++ {
			n := list[i]
			if d.overlap.states[g.nodes[n.node].state].kind == consume {
				for _, e := range g.edges[n.node] {
					enter(configuration{e.to, int32(i), n.balance + int(e.weight), e.chosen})
				}
			}
		}
		low = high
	}
	return nil, false, true
}

// spell takes a character out of the class of each state, so that the chosen ones differ from each other, or the only
// one from the literal's character.
func (d *difference) spell(reads []*state, chosen []bool, character rune) []step {
	steps := make([]step, len(reads))
	first := -1
	for i, st := range reads {
		c := d.overlap.classes[st.class]
		steps[i] = step{st.pieces, c.best()}
		switch {
		case !chosen[i]:
		case character == anyCharacter:
			first, character = i, steps[i].r
		case steps[i].r != character:
		default:
			if other := c.without(character); len(other) > 0 {
				steps[i].r = other.best()
			} else {
				steps[first].r = d.overlap.classes[reads[first].class].without(character).best()
			}
		}
	}
	return steps
}

// unbounded stands for a change of the balance that has no bound; sums with it stay beyond every real one.
const unbounded = 1 << 50

// bound computes lowest and highest, in linear time: strongly connected components are visited from the end to the
// start. On a way round, both functions stay in one segment and the same characters are chosen, so that all that is
// read has the same weight: a component with 1 has no highest change, one with -1 no lowest.
func (g *markedGraph) bound() {
	n := len(g.nodes)
	g.lowest, g.highest = make([]int, n), make([]int, n)
	component := make([]int32, n)
	for i, members := range g.components() {
		own := int32(i + 1)
		for _, v := range members {
			component[v] = own
		}
		lowest, highest := unbounded, -unbounded
		rises, falls := false, false
		for _, v := range members {
			if len(g.edges[v]) == 0 {
				lowest, highest = min(lowest, 0), max(highest, 0)
			}
			for _, e := range g.edges[v] {
				if component[e.to] == own {
					rises, falls = rises || e.weight > 0, falls || e.weight < 0
					continue
				}
				lowest = min(lowest, int(e.weight)+g.lowest[e.to])
				highest = max(highest, int(e.weight)+g.highest[e.to])
			}
		}
		if rises {
			highest = unbounded
		}
		if falls {
			lowest = -unbounded
		}
		for _, v := range members {
			g.lowest[v], g.highest[v] = lowest, highest
		}
	}
}

// components returns the strongly connected components, each behind those that it leads to (Tarjan's algorithm).
func (g *markedGraph) components() [][]int32 {
	type frame struct {
		node int32
		edge int
	}
	var (
		components  [][]int32
		stack       []int32
		calls       []frame
		order, link = make([]int32, len(g.nodes)), make([]int32, len(g.nodes))
		onStack     = make([]bool, len(g.nodes))
		count       int32
	)
	visit := func(v int32) {
		count++
		order[v], link[v] = count, count
		stack = append(stack, v)
		onStack[v] = true
		calls = append(calls, frame{v, 0})
	}
	for root := range g.nodes {
		if order[root] != 0 {
			continue
		}
		visit(int32(root))
		for len(calls) > 0 {
			call := &calls[len(calls)-1]
			v := call.node
			if call.edge < len(g.edges[v]) {
				to := g.edges[v][call.edge].to
				call.edge++
				if order[to] == 0 {
					visit(to)
				} else if onStack[to] {
					link[v] = min(link[v], order[to])
				}
				continue
			}
			calls = calls[:len(calls)-1]
			if len(calls) > 0 {
				caller := calls[len(calls)-1].node
				link[caller] = min(link[caller], link[v])
			}
			if link[v] != order[v] {
				continue
			}
			from := len(stack) - 1
			for stack[from] != v {
				from--
			}
			members := slices.Clone(stack[from:])
			stack = stack[:from]
			for _, member := range members {
				onStack[member] = false
			}
			components = append(components, members)
		}
	}
	return components
}
