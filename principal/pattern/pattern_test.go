// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
)

func TestGoSyntax(t *testing.T) {
	for java, want := range map[string]string{
		``:                   `(?:)`,
		`abc`:                `abc`,
		`^CN=([a-z0-9-]+)$`:  `\ACN=([\-0-9a-z]+)\z`,
		`^a$|^b|c$|d`:        `\Aa\z|\Ab|c\z|d`,
		`(?:a|b)*?`:          `(?:a|b)*?`,
		`(a)?b??`:            `(a)?b??`,
		`a{2}b{2,}c{1,3}?`:   `a{2}b{2,}c{1,3}?`,
		`a{0,1}b{0,}c{1,}`:   `a?b*c+`,
		`a]}`:                `a\]\}`,
		`.`:                  `[\x{0}-\x{9}\x{b}\x{c}\x{e}-\x{84}\x{86}-\x{2027}\x{202a}-\x{10ffff}]`,
		`\d\w`:               `[0-9][0-9A-Z_a-z]`,
		`\s`:                 `[\x{9}-\x{d} ]`,
		`[^\s]`:              `[\x{0}-\x{8}\x{e}-\x{1f}!-\x{10ffff}]`,
		`\t\n\r\f\a\e`:       `\x{9}\x{a}\x{d}\x{c}\x{7}\x{1b}`,
		`\x41\u00e9é😀`:       `A\x{e9}\x{e9}\x{1f600}`,
		`\.\*\+\?\(\)\[\{\|`: `\.\*\+\?\(\)\[\{\|`,
		`\^\$\\\/\,\=\ \-`:   `\^\$\\/,= \-`,
		`[]a]`:               `[\]a]`,
		`[^]a]`:              `[\x{0}-\\\^-` + "`b" + `-\x{10ffff}]`,
		`[a-]`:               `[\-a]`,
		`[\w-.]`:             `[\-\.0-9A-Z_a-z]`,
		`[a-c-e]`:            `[\-a-ce]`,
		`[a^&b]`:             `[\&\^ab]`,
		`[cab]`:              `[a-c]`,
		`[aa]`:               `a`,
		`[a-zbx-~]`:          `[a-~]`,
		`[\[^a]`:             `[\[\^a]`,
		`\\Q`:                `\\Q`,
		`[\s\S]`:             `[\x{0}-\x{10ffff}]`,
		`[^\s\S]`:            nothing,
		`()(|a)(a|)`:         `((?:))((?:)|a)(a|(?:))`,
		`(?:a*)?`:            `(?:a*)?`,
	} {
		p, err := Parse(java)
		if err != nil {
			t.Errorf("%s: %v", java, err)
			continue
		}
		if got := p.GoSyntax(); got != want {
			t.Errorf("%s: %s, want %s", java, got, want)
		}
		if p.String() != java {
			t.Errorf("%s: String is %s", java, p)
		}
		if _, err := regexp.Compile(p.GoSyntax()); err != nil {
			t.Errorf("%s: %v", java, err)
		}
	}
}

func TestParseRefusesByName(t *testing.T) {
	for _, c := range []struct {
		java, feature string
		offset        int
	}{
		{`a(?=b)`, `look-ahead (?=…)`, 1},
		{`a(?!b)`, `look-ahead (?!…)`, 1},
		{`a(?<=b)`, `look-behind (?<=…)`, 1},
		{`a(?<!b)`, `look-behind (?<!…)`, 1},
		{`a(?<b>b)`, `named group (?<…>…)`, 1},
		{`a(?>b)`, `atomic group (?>…)`, 1},
		{`a(?i)b`, `inline flag (?…)`, 1},
		{`a(?i:b)`, `inline flag (?…)`, 1},
		{`(a)\1`, `back-reference`, 3},
		{`\k<a>`, `back-reference`, 0},
		{`a*+`, `possessive quantifier`, 2},
		{`a?+`, `possessive quantifier`, 2},
		{`a{2}+`, `possessive quantifier`, 4},
		{`(a)++`, `possessive quantifier`, 4},
		{`\bа`, `\b`, 0},
		{`a\B`, `\B`, 1},
		{`\G`, `\G`, 0},
		{`\A`, `\A`, 0},
		{`\Z`, `\Z`, 0},
		{`\z`, `\z`, 0},
		{`\R`, `\R`, 0},
		{`\X`, `\X`, 0},
		{`\h`, `\h`, 0},
		{`[\V]`, `\V`, 1},
		{`\N{DIGIT ONE}`, `\N`, 0},
		{`\p{Lu}`, `Unicode or POSIX property (\p…)`, 0},
		{`[\PL]`, `Unicode or POSIX property (\P…)`, 1},
		{`[a-z&&[^b]]`, `class intersection (&&)`, 4},
		{`[a[b]]`, `a class within a class (write \[ for the character)`, 2},
		{`[a-[b]]`, `a class within a class (write \[ for the character)`, 3},
		{`[[:alpha:]]`, `a class within a class (write \[ for the character)`, 1},
		{`a\Qb\E`, `quotation (\Q…\E)`, 1},
		{`\c\Q`, `quotation (\Q…\E)`, 2},
		{`\cA`, `control character (\c…)`, 0},
		{`\012`, `octal escape (\0…)`, 0},
		{`\x{41}`, `\x{…}`, 0},
		{`\uD83D\uDE00`, `a surrogate (write the character itself)`, 0},
		{"a\x00", `the character NUL (write \x00)`, 1},
		{"a\xFF", `a byte that is no UTF-8`, 0},
		{`(a*)*`, `a quantifier over something that can match the empty string`, 0},
		{`a(b?|c)+`, `a quantifier over something that can match the empty string`, 1},
		{`(){2}`, `a quantifier over something that can match the empty string`, 0},
		{`(a?){0,1}`, `a quantifier over something that can match the empty string`, 0},
		{`a{2}{3}`, `a counted repetition of nothing, or of a repetition`, 4},
		{`a*{3}`, `a counted repetition of nothing, or of a repetition`, 2},
		{`{3}`, `a counted repetition of nothing, or of a repetition`, 0},
		{`a{0}`, `a repetition of zero times`, 1},
		{`a$b`, `$ with something behind it`, 2},
		{`a$$`, `$ with something behind it`, 2},
		{`a$()`, `$ with something behind it`, 2},
		{`a$?`, `a quantifier behind $`, 2},
		{`^*a`, `a quantifier behind ^`, 1},
		{`^{2}a`, `a quantifier behind ^`, 1},
		{`a^b`, `^ with something before it`, 1},
		{`^^a`, `^ with something before it`, 1},
		{`(^a)`, `^ inside a group (write ^(…)$)`, 1},
		{`(a$)`, `$ inside a group (write ^(…)$)`, 2},
	} {
		_, err := Parse(c.java)
		var unsupported *UnsupportedError
		if !errors.As(err, &unsupported) || unsupported.Feature != c.feature || unsupported.Offset != c.offset {
			t.Errorf("%s: %v, want %s at %d", c.java, err, c.feature, c.offset)
		}
	}
}

func TestParseRefusesWhatJavaRefuses(t *testing.T) {
	for java, offset := range map[string]int{
		`*`: 0, `a|*`: 2, `(+)`: 1, `(?:?)`: 3, `a**`: 2, `a+*`: 2, `a???`: 3, `(a)**`: 4, `a{2}*`: 4, `{`: 0, `a{`: 1, `a{b}`: 1,
		`a{,2}`: 1, `a{2`: 1, `a{2,`: 1, `a{2,b}`: 1, `a{2 }`: 1, `a{3,2}`: 1, `(`: 0, `a(b`: 1, `a(?:b`: 1, `a)`: 1, `a)b(`: 1,
		`[a`: 0, `b[`: 1, `[]`: 0, `[^]`: 0, `[a-`: 0, `[z-a]`: 1, `[a-\d]`: 1, `[\é-a]`: 1, `\`: 0, `a\`: 1, `\y`: 0, `\C`: 0,
		`\E`: 0, `[\b]`: 1, `[\1]`: 1, `[\z]`: 1, `[\R]`: 1, `\x4`: 0, `\xg0`: 0, `\u004`: 0, `\u00-1`: 0, `\u+041`: 0,
	} {
		_, err := Parse(java)
		var wrong *SyntaxError
		if !errors.As(err, &wrong) || wrong.Offset != offset {
			t.Errorf("%s: %v, want a syntax error at %d", java, err, offset)
		}
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("é", MaxLength)
	if _, err := Parse(long); err != nil {
		t.Error(err)
	}
	for java, what := range map[string]string{
		long + "a": "pattern length",
		strings.Repeat("😀", MaxLength/2) + `a`: "pattern length",
		`a{256}`:                            "repetition count",
		`a{1,256}`:                          "repetition count",
		`a{99999999999999999999,}`:          "repetition count",
		`(?:a{100}){100}`:                   "program size",
		`(?:(?:(?:a{255}){255}){255}){255}`: "program size",
		`(?:a{40}){40}`:                     "program size", // Go's own bound
		`(?:[a-z]{1,200}){1,9}`:             "program size",
		strings.Repeat(`a{255}`, 8):         "program size",
	} {
		_, err := Parse(java)
		var tooLarge *TooLargeError
		if !errors.As(err, &tooLarge) || tooLarge.What != what {
			t.Errorf("%.40s: %v, want %s", java, err, what)
		}
	}
	if _, err := Parse(strings.Repeat("(", 500) + strings.Repeat(")", 500)); err != nil {
		t.Errorf("nested groups: %v", err)
	}
}

func TestMatchWhole(t *testing.T) {
	for _, c := range []struct {
		java, s string
		want    []int // nil: no match
	}{
		{``, ``, []int{0, 0}},
		{``, `a`, nil},
		{`abc`, `abc`, []int{0, 3}},
		{`^abc$`, `abcd`, nil},
		{`a|ab`, `ab`, []int{0, 2}},
		{`(a|ab)(c|bcd)(d*)`, `abcd`, []int{0, 4, 0, 1, 1, 4, 4, 4}},
		{`(a|ab)(c|bcd)?(d*)`, `abd`, []int{0, 3, 0, 2, -1, -1, 2, 3}},
		{`CN=(.*?),(.*)`, `CN=a,b,c`, []int{0, 8, 3, 4, 5, 8}},
		{`CN=(.*),(.*)`, `CN=a,b,c`, []int{0, 8, 3, 6, 7, 8}},
		{`.*`, "a\nb", nil},
		{`[^b]*`, "a\n\u2028", []int{0, 5}},
		{`\w+`, `é`, nil},
		{`\s`, "\v", []int{0, 1}},
		{`.`, `😀`, []int{0, 4}},
		{`.*`, "a\xFF", nil},
		{`[^a]*`, "\xFF", nil},
		{`a$`, "a\n", nil},
	} {
		p, err := Parse(c.java)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.MatchWhole(c.s); ok != (c.want != nil) || ok && !slices.Equal(got, c.want) {
			t.Errorf("%s on %q: %v %v, want %v", c.java, c.s, got, ok, c.want)
		}
	}
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		java, s string
		from    int
		want    []int
	}{
		{`a|ab`, `xab`, 0, []int{1, 2}},
		{`a*`, `xa`, 0, []int{0, 0}},
		{`a*`, `xa`, 2, []int{2, 2}},
		{`^a`, `aa`, 0, []int{0, 1}},
		{`^a`, `aa`, 1, nil},
		{`^a*|(b)|(?:(c))`, `aac`, 1, []int{2, 3, -1, -1, 2, 3}},
		{`^(a)|(b)`, `ab`, 1, []int{1, 2, -1, -1, 1, 2}},
		{`b$`, `bab`, 0, []int{2, 3}},
		{`[b]$`, `bab`, 0, []int{2, 3}},
		{`(b)$`, `bab`, 1, []int{2, 3, 2, 3}},
		{`^ab$`, `ab`, 0, []int{0, 2}},
		{`^ab$`, `ab`, 1, nil},
		{`^ab`, `abab`, 0, []int{0, 2}},
		{`^ab`, `abab`, 2, nil},
		{`ab`, `abab`, 1, []int{2, 4}},
		{`ab`, `abab`, 3, nil},
		{`ab$`, `abab`, 3, nil},
		{``, `ab`, 2, []int{2, 2}},
		{`a`, "\xFFa", 0, []int{1, 2}},
		{`[a]+`, "\xFFa", 0, nil},
	} {
		p, err := Parse(c.java)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.Find(c.s, c.from); ok != (c.want != nil) || ok && !slices.Equal(got, c.want) {
			t.Errorf("%s on %q from %d: %v %v, want %v", c.java, c.s, c.from, got, ok, c.want)
		}
	}
}

func TestGroups(t *testing.T) {
	p, err := Parse(`(a)(?:(b)|(c(d)))?(?:x(e))*((f)){1}(g){0,1}((h)+)`)
	if err != nil {
		t.Fatal(err)
	}
	var repeated []int
	for g := 1; g <= p.Groups(); g++ {
		if p.Repeated(g) {
			repeated = append(repeated, g)
		}
	}
	if want := []int{5, 6, 7, 8, 10}; p.Groups() != 10 || !slices.Equal(repeated, want) {
		t.Errorf("%d groups, repeated are %v; want 10 and %v", p.Groups(), repeated, want)
	}
}

func TestAnchors(t *testing.T) {
	for java, want := range map[string][2]bool{ // HasEndAnchor, Anchored
		`a`: {}, `^a`: {}, `a$`: {true, false}, `^a$`: {true, true}, `^a$|b`: {true, false}, `^a$|^b$`: {true, true},
		`^$`: {true, true}, ``: {}, `\$`: {}, `^a|b$`: {true, false},
	} {
		p, err := Parse(java)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{p.HasEndAnchor(), p.Anchored()}; got != want {
			t.Errorf("%s: %v, want %v", java, got, want)
		}
	}
}

func TestLiteral(t *testing.T) {
	for java, want := range map[string]string{``: "", `^a\.b\/é$`: "a.b/é", `\u0041[b]`: "Ab"} {
		p, err := Parse(java)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.Literal(); !ok || got != want {
			t.Errorf("%s: %q %v, want %q", java, got, ok, want)
		}
	}
	for _, java := range []string{`a|b`, `(a)`, `a?`, `.`, `a\d`} {
		p, err := Parse(java)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.Literal(); ok {
			t.Errorf("%s: %q", java, got)
		}
	}
}

// randomPattern nests what there is, of few kinds.
func randomPattern(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		return []string{`a`, `b`, `[ab]`, `[^a]`, `.`, `\d`, `😀`}[r.IntN(7)]
	}
	inner := func() string { return randomPattern(r, depth-1) }
	switch r.IntN(6) {
	case 0:
		return inner() + inner()
	case 1:
		return "(" + inner() + "|" + inner() + ")"
	case 2:
		return "(?:" + inner() + ")" + []string{`*`, `+?`, `{7,}`, `{20}`, `{1,3}`, `{0,9}?`}[r.IntN(6)]
	case 3:
		return "(?:" + inner() + ")?"
	case 4:
		return "(" + inner() + inner() + ")"
	default:
		return inner() + "[ab]" + []string{`*?`, `+`, `{2}`, `{0,2}`}[r.IntN(4)]
	}
}

// TestSize proves that Size is an upper bound on what Go compiles, and that nothing that Parse accepts fails to compile.
func TestSize(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	accepted, largest := 0, 0
	for range 20_000 {
		java := randomPattern(r, 5)
		p, err := Parse(java)
		if err != nil {
			continue
		}
		accepted++
		largest = max(largest, p.Size())
		for _, expression := range []string{p.GoSyntax(), `\A(?:` + p.GoSyntax() + `)\z`, p.render(nothing)} {
			parsed, err := syntax.Parse(expression, syntax.Perl)
			if err != nil {
				t.Fatalf("%s: %v", java, err)
			}
			program, err := syntax.Compile(parsed.Simplify())
			if err != nil {
				t.Fatalf("%s: %v", java, err)
			}
			extra := 0
			if expression == p.render(nothing) {
				extra = len(p.branches)
			}
			if n := len(program.Inst); n > p.Size()+extra {
				t.Fatalf("%s: %d instructions, Size %d", java, n, p.Size())
			}
		}
	}
	if accepted < 5000 || largest < MaxInstructions/2 {
		t.Errorf("only %d patterns were accepted, the largest with %d: nothing is proved", accepted, largest)
	}
}

func TestFramesGrowWithRounds(t *testing.T) {
	for java, rounds := range map[string]bool{`^.*,[a-z]+$`: false, `(?:a|b)?`: false, `(?:a|b)*`: true, `(?:[a-z]+\.)+x`: true} {
		p, err := Parse(java)
		if err != nil {
			t.Fatal(err)
		}
		if grows := p.Frames(2000) > p.Frames(0); grows != rounds {
			t.Errorf("%s: %d frames, and %d at 2000 characters", java, p.Frames(0), p.Frames(2000))
		}
	}
}

func ExampleParse() {
	p, _ := Parse(`^CN=([a-z0-9-]+),O=Acme$`)
	fmt.Println(p.GoSyntax())
	_, err := Parse(`^CN=(?!admin)([a-z]+)$`)
	fmt.Println(err)
	// Output:
	// \ACN=([\-0-9a-z]+),O=Acme\z
	// regular expression, offset 4: look-ahead (?!…): not supported
}
