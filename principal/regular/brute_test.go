// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// A node is a regular expression as the tests understand it, independently of regexp/syntax: brute force matches words
// against it by definition.
type node struct {
	kind     nodeKind
	letters  string  // of a set
	children []*node // of a sequence, an alternative; one for a repetition or a group
	min, max int     // of a repetition; max -1: no bound
	lazy     bool
	group    int // of a capture group
}

type nodeKind int

const (
	set nodeKind = iota
	sequence
	alternative
	repetition
	group
)

func (n *node) String() string {
	var parts []string
	for _, child := range n.children {
		parts = append(parts, child.String())
	}
	switch n.kind {
	case set:
		if len(n.letters) == 1 {
			return regexp.QuoteMeta(n.letters)
		}
		return "[" + strings.ReplaceAll(n.letters, "-", `\-`) + "]"
	case sequence:
		return strings.Join(parts, "")
	case alternative:
		return "(?:" + strings.Join(parts, "|") + ")"
	case group:
		return "(" + parts[0] + ")"
	}
	text := parts[0]
	if n.children[0].kind != set && n.children[0].kind != group && n.children[0].kind != alternative {
		text = "(?:" + text + ")"
	}
	switch {
	case n.min == 0 && n.max < 0:
		text += "*"
	case n.min == 1 && n.max < 0:
		text += "+"
	case n.min == 0 && n.max == 1:
		text += "?"
	case n.max < 0:
		text += fmt.Sprintf("{%d,}", n.min)
	default:
		text += fmt.Sprintf("{%d,%d}", n.min, n.max)
	}
	if n.lazy {
		text += "?"
	}
	return text
}

// parses counts the ways in which n matches exactly w[i:j], up to 2, with an empty round of a repetition counted as one
// more way as long as there may be one.
func (n *node) parses(w string, i, j int) int {
	switch n.kind {
	case set:
		if j == i+1 && strings.IndexByte(n.letters, w[i]) >= 0 {
			return 1
		}
		return 0
	case sequence:
		return sequenceParses(n.children, w, i, j)
	case alternative:
		total := 0
		for _, child := range n.children {
			total += child.parses(w, i, j)
		}
		return min(total, 2)
	case group:
		return n.children[0].parses(w, i, j)
	}
	return n.rounds(w, i, j, 0, 0)
}

func (n *node) rounds(w string, i, j, done, empty int) int {
	total := 0
	if i == j && done >= n.min {
		total = 1
	}
	if n.max >= 0 && done == n.max || empty > n.min+1 {
		return total
	}
	for k := i; k <= j && total < 2; k++ {
		first := n.children[0].parses(w, i, k)
		if first == 0 {
			continue
		}
		skipped := empty
		if k == i {
			skipped++
		}
		total += first * n.rounds(w, k, j, done+1, skipped)
	}
	return min(total, 2)
}

func sequenceParses(nodes []*node, w string, i, j int) int {
	if len(nodes) == 0 {
		if i == j {
			return 1
		}
		return 0
	}
	total := 0
	for k := i; k <= j; k++ {
		if first := nodes[0].parses(w, i, k); first > 0 {
			total += first * sequenceParses(nodes[1:], w, k, j)
		}
	}
	return min(total, 2)
}

func (n *node) matches(w string) bool { return n.parses(w, 0, len(w)) > 0 }

// groups returns the values of the groups of a sequence whose children may be groups; the parse must be unique.
func (n *node) groups(w string) map[int]string {
	values := map[int]string{}
	var cut func(nodes []*node, i int) bool
	cut = func(nodes []*node, i int) bool {
		if len(nodes) == 0 {
			return i == len(w)
		}
		for k := i; k <= len(w); k++ {
			if nodes[0].parses(w, i, k) > 0 && cut(nodes[1:], k) {
				if nodes[0].kind == group {
					values[nodes[0].group] = w[i:k]
				}
				return true
			}
		}
		return false
	}
	if !cut(n.children, 0) {
		return nil
	}
	return values
}

// A generator makes small random expressions over an alphabet.
type generator struct {
	*rand.Rand
	alphabet string
}

func newGenerator(t *testing.T, alphabet string) *generator {
	t.Helper()
	const seed = 20261122
	t.Logf("seed %d", seed)
	return &generator{rand.New(rand.NewPCG(seed, uint64(len(alphabet)))), alphabet}
}

func (g *generator) set() *node {
	if g.IntN(3) > 0 {
		i := g.IntN(len(g.alphabet))
		return &node{kind: set, letters: g.alphabet[i : i+1]}
	}
	var letters strings.Builder
	for i := range g.alphabet {
		if g.IntN(2) == 0 {
			letters.WriteByte(g.alphabet[i])
		}
	}
	if letters.Len() == 0 {
		return &node{kind: set, letters: g.alphabet}
	}
	return &node{kind: set, letters: letters.String()}
}

// expression makes an expression of at most budget leaves; nullable repetitions are rare, for nobody may write them.
func (g *generator) expression(budget int) *node {
	if budget <= 1 {
		return g.set()
	}
	switch g.IntN(7) {
	case 0, 1, 2:
		n := &node{kind: sequence}
		for budget > 0 && len(n.children) < 4 {
			part := 1 + g.IntN(budget)
			n.children = append(n.children, g.expression(part))
			budget -= part
		}
		return n
	case 3, 4:
		part := 1 + g.IntN(budget-1)
		n := &node{kind: alternative, children: []*node{g.expression(part), g.expression(budget - part)}}
		if g.IntN(8) == 0 {
			n.children = append(n.children, &node{kind: sequence})
		}
		return n
	}
	return g.repeat(g.expression(budget - 1))
}

func (g *generator) repeat(body *node) *node {
	n := &node{kind: repetition, children: []*node{body}, lazy: g.IntN(6) == 0}
	switch g.IntN(5) {
	case 0, 1:
		n.min, n.max = 0, -1
	case 2:
		n.min, n.max = 1, -1
	case 3:
		n.min, n.max = 0, 1
	case 4:
		n.min = g.IntN(3)
		n.max = n.min + g.IntN(3)
		if n.max == 0 {
			n.max = 1
		}
	}
	if body.matches("") && g.IntN(4) > 0 {
		return body
	}
	return n
}

// words returns all words over the alphabet up to a length, shorter ones first.
func words(alphabet string, length int) []string {
	list := []string{""}
	for from := 0; length > 0; length-- {
		to := len(list)
		for _, w := range list[from:to] {
			for i := range alphabet {
				list = append(list, w+alphabet[i:i+1])
			}
		}
		from = to
	}
	return list
}

// A corpus is an expression with what brute force says about it.
type corpus struct {
	node     *node
	text     string
	language *Language
	words    []string // in it, shorter ones first
	twice    string   // the first word matched twice
	isTwice  bool
	oracle   *regexp.Regexp
}

func newCorpus(t *testing.T, n *node, all []string) *corpus {
	t.Helper()
	c := &corpus{node: n, text: n.String()}
	var err error
	if c.language, err = Compile(c.text); err != nil {
		t.Fatal(err)
	}
	c.oracle = regexp.MustCompile(`\A(?:` + c.text + `)\z`)
	for _, w := range all {
		count := n.parses(w, 0, len(w))
		if count > 0 {
			c.words = append(c.words, w)
		}
		if count > 1 && !c.isTwice {
			c.twice, c.isTwice = w, true
		}
		if (count > 0) != c.oracle.MatchString(w) {
			t.Fatalf("brute force is wrong: %s on %q", c.text, w)
		}
	}
	return c
}

// alphabets are those of the property tests, with the length up to which all words are tried.
var alphabets = []struct {
	letters string
	length  int
}{{"ab", 8}, {"ab-", 6}}
