// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/principal/rules"
)

// The words of the rules that the generator makes: letters, and a bound on their length.
const (
	alphabet   = "abA"
	maxLetters = 6
)

// words returns all texts of the alphabet up to maxLetters.
func words() []string {
	all := []string{""}
	for from, length := 0, 1; length <= maxLetters; length++ {
		to := len(all)
		for _, prefix := range all[from:to] {
			for _, letter := range alphabet {
				all = append(all, prefix+string(letter))
			}
		}
		from = to
	}
	return all
}

// generator makes rules that match no other words than those, so that brute force is exact.
type generator struct{ *rand.Rand }

func pick(g generator, from ...string) string { return from[g.IntN(len(from))] }

func (g generator) rule() string {
	if g.IntN(25) == 0 {
		return "DEFAULT"
	}
	var pattern strings.Builder
	groups := 0
	for left := g.IntN(maxLetters + 1); left > 0; {
		atom := pick(g, "a", "b", "A", "[ab]", "[aA]", "[abA]", "[bA]")
		low := g.IntN(min(left, 2) + 1)
		high := max(1, low+g.IntN(min(left-low, 2)+1))
		left -= high
		switch {
		case low == 0 && high == 1:
			atom += "?"
		case high > 1:
			atom += fmt.Sprintf("{%d,%d}", low, high)
		}
		switch g.IntN(8) {
		case 0:
			if left > 0 {
				atom = "(?:" + atom + "|" + pick(g, "a", "b", "A") + ")"
			}
		case 1, 2, 3, 4:
			atom = "(" + atom + ")"
			groups++
		}
		pattern.WriteString(atom)
	}
	var replacement []string
	for group := range groups {
		if g.IntN(5) > 0 {
			replacement = append(replacement, fmt.Sprintf("$%d", group+1))
		}
	}
	if g.IntN(3) == 0 {
		g.Shuffle(len(replacement), func(i, j int) { replacement[i], replacement[j] = replacement[j], replacement[i] })
	}
	if len(replacement) == 0 || g.IntN(4) == 0 {
		replacement = append(replacement, pick(g, "", "a", "b", "A", "$0"))
	}
	text := "^" + pattern.String() + "$"
	if g.IntN(10) == 0 {
		text = pick(g, pattern.String(), "^"+pattern.String(), pattern.String()+"$")
	}
	return "RULE:" + text + "/" + strings.Join(replacement, "") + "/" + pick(g, "", "", "", "", "L", "U")
}

// brute is what evaluating all words tells: the principals that each rule gives by itself.
type brute []map[string]string

func evaluate(t *testing.T, list rules.List, words []string) brute {
	t.Helper()
	known := make(brute, len(list))
	for i, rule := range list {
		known[i] = map[string]string{}
		for _, word := range words {
			if len(rules.List{rule}.Matches(word)) > 0 {
				known[i][word] = alone(t, list, i, word)
			}
		}
	}
	return known
}

func (b brute) reached(rule int) bool {
	for word := range b[rule] {
		taken := false
		for _, earlier := range b[:rule] {
			_, matches := earlier[word]
			taken = taken || matches
		}
		if !taken {
			return true
		}
	}
	return false
}

func (b brute) overlap(i, j int) bool {
	for word, name := range b[i] {
		if other, both := b[j][word]; both && other != name {
			return true
		}
	}
	return false
}

// shared tells whether two subjects, of one rule or of two, get one principal.
func (b brute) shared(i, j int) bool {
	subjects := map[string][]string{}
	for word, name := range b[i] {
		subjects[name] = append(subjects[name], word)
	}
	for word, name := range b[j] {
		for _, other := range subjects[name] {
			if other != word {
				return true
			}
		}
	}
	return false
}

// TestBruteForce compares every answer with that of trying all subjects: what is found is there, and what is there is
// found, unless its Undecided finding, or that of the rule, says otherwise.
func TestBruteForce(t *testing.T) {
	const seed = 4711
	t.Logf("seed %d", seed)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	all := words()
	count := map[string]int{}
	for range 1000 {
		texts := make([]string, 2+g.IntN(3))
		for i := range texts {
			texts[i] = g.rule()
		}
		list, err := rules.Parse(strings.Join(texts, ","))
		if err != nil {
			t.Fatalf("%q: %v", texts, err)
		}
		known := evaluate(t, list, all)
		findings := Rules(list)
		got := map[string]bool{}
		for _, f := range findings {
			verify(t, list, f)
			got[fmt.Sprint(f.Kind, f.Rule, f.Other)] = true
			count[string(f.Kind)]++
		}
		found := func(kind Kind, rule, other int) bool { return got[fmt.Sprint(kind, rule, other)] }
		compare := func(kind Kind, rule, other int, want, undecided bool) {
			t.Helper()
			switch have := found(kind, rule, other); {
			case have && !want:
				t.Errorf("seed %d: %s: %s %d,%d is not so", seed, list, kind, rule+1, other+1)
			case want && !have && !undecided:
				t.Errorf("seed %d: %s: %s %d,%d is missing", seed, list, kind, rule+1, other+1)
			case want && !have:
				count["missed "+string(kind)]++
			case !want && !have:
				count["no "+string(kind)]++
			}
		}
		exact := func(i int) bool { // tells that everything is decided about a rule
			made, err := newFunction(list[i])
			return err == nil && made.exact
		}
		for j, rule := range list {
			if rule.Default {
				// Brute force does not know the subjects of other letters.
				if found(Unreachable, j, -1) != slices.ContainsFunc(list[:j], func(r rules.Rule) bool { return r.Default }) {
					t.Errorf("seed %d: %s: wrong about rule %d being reached", seed, list, j+1)
				}
				continue
			}
			reached := known.reached(j)
			compare(Unreachable, j, -1, !reached, false)
			if !reached {
				continue
			}
			open := found(Undecided, j, -1) || found(Unanchored, j, -1)
			compare(Shared, j, -1, known.shared(j, j), open)
			if exact(j) && open {
				t.Errorf("seed %d: %s: rule %d can be decided", seed, list, j+1)
			}
			for i := range j {
				if list[i].Default || !known.reached(i) {
					continue
				}
				decidable := exact(i) && exact(j)
				if decidable && found(Undecided, i, j) {
					t.Errorf("seed %d: %s: rules %d and %d can be decided", seed, list, i+1, j+1)
				}
				compare(Overlap, i, j, known.overlap(i, j), found(Undecided, i, j))
				compare(Shared, i, j, known.shared(i, j), !decidable)
			}
		}
	}
	t.Log(count)
	for _, kind := range []Kind{Unreachable, Overlap, Shared} {
		if count[string(kind)] < 100 || count["no "+string(kind)] < 100 {
			t.Errorf("%s is hardly tested: %v", kind, count)
		}
	}
}
