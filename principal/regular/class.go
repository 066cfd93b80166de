// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import (
	"slices"
	"unicode"
)

// A class is a set of Unicode scalar values: pairs lo, hi, sorted, disjoint and not adjacent. Surrogates are never in
// it, for no string holds one.
type class []rune

const (
	surrogateMin = 0xD800
	surrogateMax = 0xDFFF
)

// newClass makes a class of pairs in any order.
func newClass(pairs []rune) class {
	type span struct{ lo, hi rune }
	spans := make([]span, 0, len(pairs)/2+1)
	for i := 0; i+1 < len(pairs); i += 2 {
		lo, hi := max(pairs[i], 0), min(pairs[i+1], unicode.MaxRune)
		if lo < surrogateMin && hi >= surrogateMin {
			spans = append(spans, span{lo, surrogateMin - 1})
			lo = surrogateMax + 1
		}
		if lo >= surrogateMin && lo <= surrogateMax {
			lo = surrogateMax + 1
		}
		if lo <= hi {
			spans = append(spans, span{lo, hi})
		}
	}
	slices.SortFunc(spans, func(x, y span) int { return int(x.lo) - int(y.lo) })
	var c class
	for _, s := range spans {
		if n := len(c); n > 0 && s.lo <= c[n-1]+1 {
			c[n-1] = max(c[n-1], s.hi)
			continue
		}
		c = append(c, s.lo, s.hi)
	}
	return c
}

// contains takes time logarithmic in the number of ranges.
func (c class) contains(r rune) bool {
	lo, hi := 0, len(c)/2
	for lo < hi {
		middle := (lo + hi) / 2
		switch {
		case r < c[2*middle]:
			hi = middle
		case r > c[2*middle+1]:
			lo = middle + 1
		default:
			return true
		}
	}
	return false
}

// intersect takes time linear in the number of ranges.
func (c class) intersect(d class) class {
	var both class
	for i, j := 0, 0; i < len(c) && j < len(d); {
		if lo, hi := max(c[i], d[j]), min(c[i+1], d[j+1]); lo <= hi {
			both = append(both, lo, hi)
		}
		if c[i+1] < d[j+1] {
			i += 2
		} else {
			j += 2
		}
	}
	return both
}

// without takes time linear in the number of ranges.
func (c class) without(r rune) class {
	return c.intersect(newClass([]rune{0, r - 1, r + 1, unicode.MaxRune}))
}

// single returns the only member of a class of one.
func (c class) single() (rune, bool) {
	if len(c) == 2 && c[0] == c[1] {
		return c[0], true
	}
	return 0, false
}

// readable are the characters that a person reads best in a witness, best first.
var readable = []class{{'a', 'z'}, {'0', '9'}, {'A', 'Z'}, {'!', '~'}, {' ', ' '}}

// maxPrintableScan bounds how many members of a range are tried for one that prints: ranges of assigned characters
// begin with one, and there are 137,468 private ones that never print.
const maxPrintableScan = 64

// best returns the member that reads best; the class must not be empty.
func (c class) best() rune {
	for _, wanted := range readable {
		if found := c.intersect(wanted); len(found) > 0 {
			return found[0]
		}
	}
	for i := 0; i+1 < len(c); i += 2 {
		lo, hi := c[i], c[i+1]
		for r := lo; r <= hi && r < lo+maxPrintableScan; r++ {
			if unicode.IsPrint(r) {
				return r
			}
		}
	}
	return c[0]
}

// readsBefore orders characters as best prefers them.
func readsBefore(r, s rune) bool {
	rank := func(r rune) int {
		for i, wanted := range readable {
			if wanted.contains(r) {
				return i
			}
		}
		if unicode.IsPrint(r) {
			return len(readable)
		}
		return len(readable) + 1
	}
	if x, y := rank(r), rank(s); x != y {
		return x < y
	}
	return r < s
}

// A classPairs intersects the classes of two automata, each pair once.
type classPairs struct {
	a, b []class
	// known holds for each pair 0 if it is not computed, -1 if it is disjoint, else the best common member + 1.
	known []rune
}

func newClassPairs(a, b []class) classPairs {
	return classPairs{a, b, make([]rune, len(a)*len(b))}
}

// common returns the best common member of class i of a and class j of b.
func (p *classPairs) common(i, j int32) (rune, bool) {
	known := &p.known[int(i)*len(p.b)+int(j)]
	if *known == 0 {
		*known = -1
		if both := p.a[i].intersect(p.b[j]); len(both) > 0 {
			*known = both.best() + 1
		}
	}
	return *known - 1, *known > 0
}
