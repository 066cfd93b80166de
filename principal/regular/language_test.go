// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestCompileRefuses(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"syntax", `a(`, "missing closing )"},
		{"word boundary", `a\bc`, "word boundaries"},
		{"line anchor", `(?m:^)a`, "line anchors"},
		{"inline flag", `(?i)a`, "inline flags"},
		{"stacked repetition", `a**`, "invalid nested repetition"},
		{"not UTF-8", "a\xff", "invalid UTF-8"},
		{"look-ahead", `(?=a)`, "invalid or unsupported Perl syntax"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Compile(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Compile(%q) = %v, want %q", test.text, err, test.want)
			}
		})
	}
}

func TestCompileIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"states":       strings.Repeat("[ab]?", MaxInstructions/2),
		"repetitions":  strings.Repeat("(?:ab){900}", 20),
		"all too much": strings.Repeat("((((((((((a{900}))))))))))", 1000),
		"length":       strings.Repeat("a", maxExpression+1),
		"depth":        strings.Repeat("(", 600) + "a" + strings.Repeat(")", 600),
		"ranges":       alternating(maxRanges + 1),
		"nested":       strings.Repeat("(", 400) + "a" + strings.Repeat(")", 400) + "{1000}",
	} {
		t.Run(name, func(t *testing.T) {
			var tooComplex *TooComplexError
			if _, err := Compile(text); !errors.As(err, &tooComplex) {
				t.Errorf("got %v, want a *TooComplexError", err)
			}
		})
	}
	if _, err := Compile(strings.Repeat("a", MaxInstructions-1)); err != nil {
		t.Errorf("as long as allowed: %v", err)
	}
}

// alternating returns an alternative of classes with at least n ranges.
func alternating(n int) string {
	var b strings.Builder
	for i := range n/600 + 1 {
		fmt.Fprintf(&b, `|[\pL\x{%x}]`, 0xE000+i)
	}
	return b.String()[1:]
}

func TestContains(t *testing.T) {
	for _, test := range []struct{ text, in, out string }{
		{`\Aa\z`, "a", "ab"},
		{`^a$`, "a", "a\n"},
		{`a|bc`, "bc", "abc"},
		{`(?:\Aa|b)+`, "ab", "ba"},
		{`(?:a|b\z)+`, "aab", "aba"},
		{`\z\A`, "", "a"},
		{`a\Ab|c`, "c", "ab"},
		{`(?i:k)`, "\u212a", "x"},
		{`(?i:ß)`, "ẞ", "s"},
		{`.`, "\r", "\n"},
		{`.`, "\v", "ab"},
		{`(?s:.)`, "\n", ""},
		{`\Q(a|b)\E`, "(a|b)", "a"},
		{`[]a|(]+`, "]a|(", "b"},
		{`[^]a]`, "b", "]"},
		{`[[:alpha:])|]+`, "x)|", "1"},
		{`(?P<name>a|b)(?<other>c)`, "ac", "a"},
		{`\x{10FFFF}\pL\(`, "\U0010FFFFä(", ""},
		{`[\]|)]`, "|", `\`},
		{`\d{2}(?U:a+)`, "12aa", "1a"},
		{`(?:a{0}|b)c`, "c", "ac"},
		{`[^a]`, "\xff", "a"},
	} {
		l, err := Compile(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		oracle := regexp.MustCompile(`\A(?:` + test.text + `)\z`)
		if !l.Contains(test.in) || !oracle.MatchString(test.in) {
			t.Errorf("%s does not contain %q", test.text, test.in)
		}
		if l.Contains(test.out) || oracle.MatchString(test.out) {
			t.Errorf("%s contains %q", test.text, test.out)
		}
	}
}

func TestNewClass(t *testing.T) {
	for _, test := range []struct{ pairs, want []rune }{
		{nil, nil},
		{[]rune{'c', 'd', 'a', 'b', 'f', 'f'}, []rune{'a', 'd', 'f', 'f'}},
		{[]rune{'a', 'z', 'c', 'd'}, []rune{'a', 'z'}},
		{[]rune{0, unicode.MaxRune}, []rune{0, 0xD7FF, 0xE000, unicode.MaxRune}},
		{[]rune{0xD7FF, 0xDFFF}, []rune{0xD7FF, 0xD7FF}},
		{[]rune{0xD7FE, 0xD800}, []rune{0xD7FE, 0xD7FF}},
		{[]rune{0xD800, 0xE000}, []rune{0xE000, 0xE000}},
		{[]rune{0xD800, 0xD800, 0xDFFF, 0xDFFF}, nil},
		{[]rune{-1, 'a', 'b', unicode.MaxRune + 1}, []rune{0, 0xD7FF, 0xE000, unicode.MaxRune}},
	} {
		if got := newClass(test.pairs); !slices.Equal(got, class(test.want)) {
			t.Errorf("newClass(%x) = %x, want %x", test.pairs, got, test.want)
		}
	}
}

func TestShortest(t *testing.T) {
	for _, test := range []struct {
		text, want string
		ok         bool
	}{
		{`a*`, "", true},
		{`[^a]+`, "b", true},
		{`[^a-zA-Z]`, "0", true},
		{`b|a|0`, "a", true},
		{`\x{80}|¡| `, " ", true},
		{`\x{80}|¡|¢`, "¡", true},
		{`[\x{80}¡]`, "¡", true},
		{`0c|ab|aac`, "ab", true},
		{`[\x00-\x20]`, " ", true},
		{`[\x00-\x1f]`, "\x00", true},
		{`[\x{80}-\x{10FFFF}]`, "¡", true},
		{`[\x{D800}-\x{E000}]`, "\uE000", true},
		{`[\x{D800}-\x{DFFF}]`, "", false},
		{`a[^\x00-\x{10FFFF}]`, "", false},
		{`a\Ab`, "", false},
		{`[a-z]{3}-[0-9]{2}`, "aaa-00", true},
	} {
		l, err := Compile(test.text)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := l.Shortest(); got != test.want || ok != test.ok {
			t.Errorf("Shortest(%s) = %q, %v, want %q, %v", test.text, got, ok, test.want, test.ok)
		}
		if l.Contains(test.want) != test.ok {
			t.Errorf("%s contains %q: %v", test.text, test.want, !test.ok)
		}
	}
}

func TestAmbiguousTable(t *testing.T) {
	const label = `[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?`
	for _, test := range []struct {
		text, want string
		ok         bool
	}{
		{`a|a`, "a", true},
		{`(?:a+)+b`, "aab", true},
		{`(?:a|a)*b`, "ab", true},
		{`(?:a|ab)(?:c|bc)`, "abc", true},
		{`[ab]|[bc]`, "b", true},
		{`(?:a*)*`, "", true},
		{`(?:|)`, "", true},
		{`a??a?`, "a", true},
		{`\A(?:a|b\z)*\z`, "", false},
		{`(?:\Aa|b)*a`, "", false},
		{`(?:[a-z]+,)*[a-z]+`, "", false},
		{`abc|abd`, "", false},
		{`a{2,5}b`, "", false},
		{`(?:a|ab)[^\x00-\x{10FFFF}]|b`, "", false},
		{`CN=` + label + `,OU=` + label + `,O=signet`, "", false},
		{`CN=` + label + `-` + label, "CN=a-a-a", true},
	} {
		l, err := Compile(test.text)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok, err := l.Ambiguous(); got != test.want || ok != test.ok || err != nil {
			t.Errorf("Ambiguous(%s) = %q, %v, %v, want %q, %v", test.text, got, ok, err, test.want, test.ok)
		}
	}
}

func TestHasDeadParts(t *testing.T) {
	for text, want := range map[string]bool{
		`a*`:                           false,
		``:                             false,
		`\A(?:a|b\z)*\z`:               false,
		`\A\A(?:ab)*c\z`:               false,
		`(?:\Aa|b)+`:                   false,
		`b|(?:a|a)*[^\x00-\x{10FFFF}]`: true,
		`(?:a|a)*\Ac`:                  true,
		`b|\zc`:                        true,
		`[\x{D800}-\x{DFFF}]|a`:        true,
	} {
		l, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.HasDeadParts(); got != want {
			t.Errorf("HasDeadParts(%s) = %v, want %v", text, got, want)
		}
	}
}

func TestIntersectionTable(t *testing.T) {
	for _, test := range []struct {
		a, b, want string
		ok         bool
	}{
		{`CN=([a-z0-9-]+),O=signet`, `CN=.*`, "CN=a,O=signet", true},
		{`CN=[a-m]+`, `CN=[n-z]+`, "", false},
		{`(?:a{7})+`, `(?:a{11})+`, strings.Repeat("a", 77), true},
		{`(?:aa)+`, `a(?:aa)*`, "", false},
		{`[^b]`, `[^a]`, "c", true},
		{`[\x{D7FF}-\x{E000}]`, `[\x{D800}-\x{DFFF}]|a`, "", false},
		{`a*`, `b*`, "", true},
		{`[^\x00-\x{10FFFF}]`, `.*`, "", false},
	} {
		a, errA := Compile(test.a)
		b, errB := Compile(test.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got, ok, err := Intersection(a, b); got != test.want || ok != test.ok || err != nil {
			t.Errorf("Intersection(%s, %s) = %q, %v, %v, want %q, %v", test.a, test.b, got, ok, err, test.want, test.ok)
		}
	}
}

func TestCoveredTable(t *testing.T) {
	for _, test := range []struct {
		l    string
		by   []string
		want string
		ok   bool
	}{
		{`[a-z]+`, []string{`[a-m][a-z]*`, `[n-z][a-z]*`}, "", true},
		{`[a-z]+`, []string{`[a-m][a-z]*`, `[o-z][a-z]*`}, "n", false},
		{`.`, []string{`[^a]`}, "a", false},
		{`.*`, []string{`(?s:.*)`}, "", true},
		{`(?s:.*)`, []string{`.*`}, "\n", false},
		{`a`, nil, "a", false},
		{`\x00a`, []string{`a`}, "\x00a", false},
		{`[^\x00-\x{10FFFF}]`, nil, "", true},
		{`(?s:.)`, []string{`[\x{0}-\x{D7FF}]`, `[\x{E000}-\x{10FFFF}]`}, "", true},
		{`(?:ab)+`, []string{`(?:abab)+`, `ab(?:abab)*`}, "", true},
		{`(?:a|b)*a(?:a|b){3}`, []string{`(?:a|b)*b(?:a|b){3}`, `a(?:a|b){3}`}, "aaaaa", false},
	} {
		l, err := Compile(test.l)
		if err != nil {
			t.Fatal(err)
		}
		var by []*Language
		for _, text := range test.by {
			b, err := Compile(text)
			if err != nil {
				t.Fatal(err)
			}
			by = append(by, b)
		}
		if got, ok, err := Covered(l, by...); got != test.want || ok != test.ok || err != nil {
			t.Errorf("Covered(%s, %s) = %q, %v, %v, want %q, %v", test.l, test.by, got, ok, err, test.want, test.ok)
		}
	}
}

func compile(t *testing.T, text string) *Language {
	t.Helper()
	l, err := Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// checkTooComplex checks that err says which bound was exceeded.
func checkTooComplex(t *testing.T, err error, what string) {
	t.Helper()
	var tooComplex *TooComplexError
	if !errors.As(err, &tooComplex) || tooComplex.What != what {
		t.Errorf("got %v, want more than so many %s", err, what)
	}
}

func TestCoveredIsBounded(t *testing.T) {
	everything := compile(t, `[ab]*`)
	// The deterministic automaton of this one has 2^20 states.
	_, covered, err := Covered(everything, compile(t, `[ab]*a[ab]{19}|[ab]*b[ab]{19}|[ab]{0,19}`))
	checkTooComplex(t, err, "subsets of the states that cover")
	if covered {
		t.Error("covered by what is too complex")
	}
	// Each of these is in a thousand states at once.
	many := slices.Repeat([]*Language{compile(t, strings.Repeat("[ab]?", 999))}, 40)
	_, _, err = Covered(everything, many...)
	checkTooComplex(t, err, "steps of the subset construction")

	for range maxCoverStates/MaxInstructions + 1 {
		many = append(many, compile(t, strings.Repeat("a", MaxInstructions-1)))
	}
	_, _, err = Covered(everything, many...)
	checkTooComplex(t, err, "states of the automata that cover")

	many = nil
	for i := range 500 {
		many = append(many, compile(t, fmt.Sprintf(`[\pL\x{%x}]`, 0xE000+i)))
	}
	_, _, err = Covered(everything, many...)
	checkTooComplex(t, err, "classes times ranges")
}

func TestProductsAreBounded(t *testing.T) {
	a, b := compile(t, `(?:a{1000}a{900})+`), compile(t, `(?:a{1000}a{899})+`)
	_, _, err := Intersection(a, b)
	checkTooComplex(t, err, "pairs of states of two automata")

	f, g := newTested(t, `((?:a{1000}a{900})+)`, "$1"), newTested(t, `((?:a{1000}a{899})+)`, "$1")
	_, _, err = Differ(f.Function, g.Function)
	checkTooComplex(t, err, "pairs of states of two functions")
	_, _, _, _, err = Collide(f.Function, g.Function)
	checkTooComplex(t, err, "pairs of states of two automata")
}

// TestLanguagesAgreeWithBruteForce compares with all short words. A witness is shortest, so that it must be the length
// of brute force's, or longer than all of brute force's words if that finds none.
func TestLanguagesAgreeWithBruteForce(t *testing.T) {
	for _, alphabet := range alphabets {
		t.Run(alphabet.letters, func(t *testing.T) {
			g := newGenerator(t, alphabet.letters)
			all := words(alphabet.letters, alphabet.length)
			check := func(what, witness string, ok, verified bool, want string, wantOK bool) {
				t.Helper()
				switch {
				case ok && !verified:
					t.Errorf("%s: %q is no witness", what, witness)
				case wantOK && (!ok || len(witness) != len(want)):
					t.Errorf("%s: %q, %v, brute force found %q", what, witness, ok, want)
				case ok && !wantOK && len(witness) <= alphabet.length:
					t.Errorf("%s: %q, brute force found nothing", what, witness)
				}
			}
			var pool []*corpus
			found := map[string]int{}
			for range 1000 {
				c := newCorpus(t, g.expression(2+g.IntN(7)), all)
				pool = append(pool, c)
				for _, w := range all {
					if c.language.Contains(w) != c.oracle.MatchString(w) {
						t.Fatalf("%s contains %q: %v", c.text, w, c.language.Contains(w))
					}
				}
				first, some := firstOf(c.words, func(string) bool { return true })
				shortest, ok := c.language.Shortest()
				check("shortest of "+c.text, shortest, ok, c.oracle.MatchString(shortest), first, some)

				twice, ok, err := c.language.Ambiguous()
				if err != nil {
					t.Fatal(err)
				}
				check("ambiguity of "+c.text, twice, ok, c.node.parses(twice, 0, len(twice)) > 1, c.twice, c.isTwice)
				found[fmt.Sprint("ambiguous ", ok)]++
			}
			for range 3000 {
				a, b, c := pool[g.IntN(len(pool))], pool[g.IntN(len(pool))], pool[g.IntN(len(pool))]
				witness, ok, err := Intersection(a.language, b.language)
				if err != nil {
					t.Fatal(err)
				}
				want, wantOK := firstOf(a.words, b.oracle.MatchString)
				check("intersection of "+a.text+" and "+b.text, witness, ok,
					a.oracle.MatchString(witness) && b.oracle.MatchString(witness), want, wantOK)
				found[fmt.Sprint("intersection ", ok)]++

				witness, covered, err := Covered(a.language, b.language, c.language)
				if err != nil {
					t.Fatal(err)
				}
				outside := func(w string) bool { return !b.oracle.MatchString(w) && !c.oracle.MatchString(w) }
				want, wantOK = firstOf(a.words, outside)
				check(a.text+" without "+b.text+" and "+c.text, witness, !covered,
					a.oracle.MatchString(witness) && outside(witness), want, wantOK)
				found[fmt.Sprint("covered ", covered)]++
			}
			t.Log(found)
			for _, kind := range []string{"ambiguous", "intersection", "covered"} {
				if found[kind+" true"] < 100 || found[kind+" false"] < 100 {
					t.Errorf("the expressions are too uniform to show anything about %s: %v", kind, found)
				}
			}
		})
	}
}

func firstOf(words []string, holds func(string) bool) (string, bool) {
	for _, w := range words {
		if holds(w) {
			return w, true
		}
	}
	return "", false
}

func FuzzIntersection(f *testing.F) {
	f.Add(`CN=([a-z0-9-]+),O=signet`, `CN=.*`)
	f.Fuzz(func(t *testing.T, textA, textB string) {
		a, err := Compile(textA)
		if err != nil {
			return
		}
		b, err := Compile(textB)
		if err != nil {
			return
		}
		oracleA, oracleB := regexp.MustCompile(`\A(?:`+textA+`)\z`), regexp.MustCompile(`\A(?:`+textB+`)\z`)
		witness, ok, err := Intersection(a, b)
		if err != nil {
			return
		}
		if ok && (!oracleA.MatchString(witness) || !oracleB.MatchString(witness)) {
			t.Fatalf("Intersection(%q, %q) = %q", textA, textB, witness)
		}
		for _, l := range []*Language{a, b} {
			if shortest, some := l.Shortest(); some {
				if !ok && oracleA.MatchString(shortest) && oracleB.MatchString(shortest) {
					t.Fatalf("Intersection(%q, %q) misses %q", textA, textB, shortest)
				}
				if ok && len([]rune(shortest)) > len([]rune(witness)) {
					t.Fatalf("%q is not shortest, %q is shorter", shortest, witness)
				}
			}
		}
		mirrored, also, err := Intersection(b, a)
		if err != nil || also != ok || len([]rune(mirrored)) != len([]rune(witness)) {
			t.Fatalf("Intersection(%q, %q) = %q, %v, but mirrored %q, %v, %v", textA, textB, witness, ok, mirrored, also, err)
		}
		if uncovered, covered, err := Covered(a, b); err == nil && !covered &&
			(!oracleA.MatchString(uncovered) || oracleB.MatchString(uncovered)) {
			t.Fatalf("Covered(%q, %q) = %q", textA, textB, uncovered)
		}
		if _, _, err := a.Ambiguous(); err != nil {
			return
		}
	})
}
