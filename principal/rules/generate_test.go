// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes rule sets and subjects near to them. It has its own notion of patterns, independent of package
// pattern, and it also makes what is not supported and what is wrong.
type generator struct {
	*rand.Rand
	// wild is how often in a thousand something is chosen that is refused or wrong.
	wild int
	// loops is how many unbounded repetitions enclose the place: Java takes exponential time for many.
	loops int
}

func newGenerator(seed, stream uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, stream))}
}

func (g *generator) chance(permille int) bool { return g.IntN(1000) < permille }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// A generated is a text, and makes strings that are near to what it means.
type generated struct {
	text   string
	sample func() string
}

func constant(text, sample string) generated {
	return generated{text: text, sample: func() string { return sample }}
}

// testCase is one rule set with the subjects to try it on.
type testCase struct {
	rules    string
	subjects []string
}

func (g *generator) testCase() testCase {
	g.wild = pick(g, 0, 0, 0, 0, 5, 20, 60)
	var c testCase
	var text strings.Builder
	text.WriteString(pick(g, "", "", "", " ", "\n", "\x01"))
	for n := 1 + g.IntN(3); n > 0; n-- {
		rule := g.rule()
		text.WriteString(rule.text)
		for k := 1 + g.IntN(2); k > 0; k-- {
			c.subjects = append(c.subjects, rule.sample())
		}
		if n > 1 {
			text.WriteString(g.separator())
		}
	}
	text.WriteString(pick(g, "", "", "", " ", "\n", ",", ", "))
	c.rules = text.String()
	if g.chance(150) {
		c.rules = g.mutated(c.rules, `\/,()[]{}*+?|^$RULE:DEFAULTLU &-09ab`+"\n\r\t\u2028\u0085\x00\x01\v")
	}
	c.subjects = append(c.subjects, g.subject())
	if g.chance(300) {
		c.subjects = append(c.subjects, g.mutated(c.subjects[g.IntN(len(c.subjects))], letters+"\n\r"))
	}
	for i, s := range c.subjects { // exponential time again
		if runes := []rune(s); len(runes) > 40 && strings.Count(c.rules, ")")+strings.Count(c.rules, "*") > 6 {
			c.subjects[i] = string(runes[:40])
		}
	}
	return c
}

// letters are what subjects are made of: few, so that things meet.
const letters = "aaabbbcABC019,=-. +_\\éßΣσİıǅﬁ😀𐐷\u2028\u0085"

func (g *generator) letter() rune { return pick(g, []rune(letters)...) }

func (g *generator) separator() string {
	if g.chance(g.wild) {
		return pick(g, "\n", "", " ", ";", ",,", ",x,", "\u2028", "\r\n", ", DEFAULT ,", "\\,", "/,", "\n,\nx\n", "\u0085,")
	}
	return pick(g, ",", ",", ",", ", ", ",\n", " ,", "\n, ", " \t, ", ",,", " , , ", ",\r\n", ",\f\v")
}

func (g *generator) rule() generated {
	if g.chance(70) {
		return generated{text: pick(g, "DEFAULT", "DEFAULT", "DEFAULT", " DEFAULT "), sample: g.subject}
	}
	if g.chance(g.wild) {
		return constant(pick(g, "RULE", "RULE:", "RULE:a", "RULE:a/", "RULE:a/b", "RULE:a/b/X", "RULE:a/b/LU", "default",
			"RULE:/x/", "RULE://", "rule:a/b/", "RULE:a/b/ L", "RULE:a/b/L L", "RULE :a/b/", "DEFAULT/", "RULE:a/b/c/d/",
			"RULE:a,RULE:b/c/", "RULE:a/b\n/", `RULE:a\/b/`, "x", "DEFAULT x", "RULE:a/b,DEFAULT"), pick(g, "a", "", "b"))
	}
	if g.chance(2) {
		length := pick(g, 900, 984, 985, 1000, 1001, 1500)
		literal := strings.Repeat("a", length)
		return constant("RULE:"+literal+"/b/", literal)
	}
	if g.chance(250) {
		return g.realistic()
	}
	g.loops = 0
	groups := 0
	p := g.topLevel(&groups)
	return generated{text: "RULE:" + p.text + "/" + g.replacement(groups) + "/" + g.flag(), sample: p.sample}
}

func (g *generator) flag() string { return pick(g, "", "", "", "L", "U") }

// realistic makes a rule of the kind that people write.
func (g *generator) realistic() generated {
	attributes := []struct{ keyword, pattern, value string }{
		{"CN", `(.*?)`, "kafka-1.example.com"}, {"CN", `([a-zA-Z0-9.-]*)`, "orders.Shop"}, {"OU", `([^,]+)`, "Service Users"},
		{"OU", `ServiceUsers`, "ServiceUsers"}, {"O", `\w+`, "Acme"}, {"O", `(Acme|Emca)`, "Emca"}, {"L", `.*`, "Zürich"},
		{"C", `([A-Z]{2})`, "CH"}, {"ST", `([^,]*)`, ""}, {"O", `([^,\\]|\\.)*`, `Acme\, Inc.`}, {"CN", `[^=]+`, `a\=b`},
		{"CN", `([a-z0-9](?:[-a-z0-9]{0,20}[a-z0-9])?)`, "web-0"}, {"UID", `\d+`, "4711"}, {"DC", `(?:[a-z]+)`, "corp"},
		{"CN", `(\S+) (\S+)`, "Ada Lovelace"}, {"OU", `😀(.)`, "😀x"},
	}
	var patterns, values []string
	groups := 0
	for n := 1 + g.IntN(4); n > 0; n-- {
		a := pick(g, attributes...)
		patterns = append(patterns, a.keyword+"="+a.pattern)
		values = append(values, a.keyword+"="+a.value)
		groups += strings.Count(strings.ReplaceAll(a.pattern, "(?:", ""), "(")
	}
	text := strings.Join(patterns, pick(g, ",", ",", `\,`, `, ?`))
	switch g.IntN(5) {
	case 0:
	case 1:
		text = ".*" + text + ".*"
	case 2:
		text = "^" + text + ".*$"
	default:
		text = "^" + text + "$"
	}
	value := strings.Join(values, ",")
	return generated{text: "RULE:" + text + "/" + g.replacement(groups) + "/" + g.flag(), sample: func() string {
		if g.chance(300) {
			return g.mutated(value, letters)
		}
		return value
	}}
}

// subject makes a subject that has nothing to do with the rules.
func (g *generator) subject() string {
	switch g.IntN(4) {
	case 0:
		return pick(g, "", "CN=a", "CN=orders,OU=shop,O=signet", "CN=Zoë \\\"x\\\",O=Acme\\, Inc.,C=CH", `CN=\ a\ `,
			"1.2.840.113549.1.9.1=#160161,CN=a", `CN=a\00b`, "CN=😀,O=é", "a", "ab", "b", "CN=a+OU=b,C=c", "CN=ΑΣ", "O=ﬁß")
	default:
		var b strings.Builder
		for n := g.IntN(7); n > 0; n-- {
			b.WriteRune(g.letter())
		}
		return b.String()
	}
}

// topLevel makes a whole pattern, which may be anchored.
func (g *generator) topLevel(groups *int) generated {
	alternatives := 1
	if g.chance(150) {
		alternatives += 1 + g.IntN(2)
	}
	var all []generated
	for range alternatives {
		p := g.sequence(groups, 3)
		if g.chance(300) {
			p.text = "^" + p.text
		}
		if g.chance(300) {
			p.text += "$"
			if g.chance(30) {
				inner := p.sample
				p.sample = func() string { return inner() + pick(g, "\n", "\r\n", "\u2028", "\u0085", "\r") }
			}
		}
		all = append(all, p)
	}
	return g.alternation(all)
}

func (g *generator) alternation(all []generated) generated {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.text
	}
	return generated{text: strings.Join(texts, "|"), sample: func() string { return pick(g, all...).sample() }}
}

func (g *generator) sequence(groups *int, depth int) generated {
	var all []generated
	for n := pick(g, 1, 1, 1, 2, 2, 3, 4); n > 0; n-- {
		all = append(all, g.repeated(groups, depth))
	}
	if g.chance(15) {
		all = nil
	}
	var text strings.Builder
	for _, p := range all {
		text.WriteString(p.text)
	}
	return generated{text: text.String(), sample: func() string {
		var b strings.Builder
		for _, p := range all {
			b.WriteString(p.sample())
		}
		return b.String()
	}}
}

func (g *generator) repeated(groups *int, depth int) generated {
	if !g.chance(350) {
		return g.atom(groups, depth)
	}
	type quantifier struct {
		text     string
		min, max int
	}
	q := pick(g, quantifier{"?", 0, 1}, quantifier{"?", 0, 1}, quantifier{"*", 0, 3}, quantifier{"+", 1, 3},
		quantifier{"{2}", 2, 2}, quantifier{"{1,2}", 1, 2}, quantifier{"{0,2}", 0, 2}, quantifier{"{2,}", 2, 4},
		quantifier{"{1,}", 1, 3}, quantifier{"{0,1}", 0, 1}, quantifier{"{1}", 1, 1}, quantifier{"{1,3}", 1, 3})
	if q.text != "?" {
		if g.loops == 2 {
			return g.atom(groups, depth)
		}
		g.loops++
		defer func() { g.loops-- }()
	}
	p := g.atom(groups, depth)
	text := p.text + q.text + pick(g, "", "", "", "?")
	if g.chance(g.wild) {
		text += pick(g, "+", "*", "?", "{2}", "{0}", "{2", "{,2}", "{3,2}", "{a}", "{", "{2,x}", "{256}", "??")
	}
	return generated{text: text, sample: func() string {
		var b strings.Builder
		for n := q.min + g.IntN(q.max-q.min+1); n > 0; n-- {
			b.WriteString(p.sample())
		}
		return b.String()
	}}
}

func (g *generator) atom(groups *int, depth int) generated {
	if g.chance(g.wild) {
		return g.oddity()
	}
	switch n := g.IntN(100); {
	case n < 25 && depth > 0:
		capturing := g.chance(650)
		if capturing {
			*groups++
		}
		all := []generated{g.sequence(groups, depth-1)}
		for g.chance(300) && len(all) < 4 {
			all = append(all, g.sequence(groups, depth-1))
		}
		p := g.alternation(all)
		if capturing {
			p.text = "(" + p.text + ")"
		} else {
			p.text = "(?:" + p.text + ")"
		}
		return p
	case n < 50:
		return g.class()
	default:
		return g.literal()
	}
}

func (g *generator) literal() generated {
	r := g.letter()
	text := string(r)
	special := strings.ContainsRune(`.+*?()[]{}|^$\/`, r)
	switch {
	case special, r < 0x80 && !isAlphanumeric(r) && g.chance(300):
		text = `\` + text
	case r == '\u0085', r <= 0xFF && g.chance(40):
		text = fmt.Sprintf(`\x%02x`, r)
	case r == '\u2028', r <= 0xFFFF && g.chance(40):
		text = fmt.Sprintf(`\u%04X`, r)
	}
	return constant(text, string(r))
}

// classes are texts of one-character constructs, each with some characters that it matches.
var classes = [][2]string{
	{`.`, "abc,=é😀\\"}, {`\d`, "019"}, {`\D`, "a,é😀\n"}, {`\w`, "aB0_"}, {`\W`, ",é-😀\u2028"}, {`\s`, " \t\n\v"},
	{`\S`, "ab,é😀"}, {`[ab]`, "ab"}, {`[a-c]`, "abc"}, {`[^a]`, "bc,é😀\n"}, {`[^,]`, "abcé😀"}, {`[^,=]`, "ab-"},
	{`[a-zA-Z0-9.-]`, "aB0.-"}, {`[\w-.]`, "a0_-."}, {`[a-]`, "a-"}, {`[-a]`, "-a"}, {`[]a]`, "]a"}, {`[^]a]`, "bc"},
	{`[\x41-\x43]`, "ABC"}, {`[a\]b]`, "a]b"}, {`[&a]`, "&a"}, {`[a&b]`, "a&b"}, {`[a^]`, "a^"}, {`[\^a]`, "^a"},
	{`[\[a]`, "[a"}, {`[\[^a]`, "[^a"}, {`[^\[^a]`, "bc]"}, {`[é-ü]`, "éü"}, {`[\u0000-\uffff]`, "aé\n"}, {`[\s\S]`, "ab😀\n"}, {`[^\s\S]`, "a"},
	{`[.$*+?(){}|]`, ".$*+?(){}|"}, {`[😀a]`, "😀a"}, {`[^😀]`, "abé𐐷"}, {`[^a-\uffff]`, "A0,😀"}, {`[a-😀]`, "aé😀"},
	{`[+--]`, "+,-"}, {`[^\d]`, "ab,"}, {`[^\w,]`, "-=é"}, {`[\d,]`, "0,1"}, {`[^\D]`, "01"}, {`[\Wa]`, "a,-"},
	{`[\t-~]`, "a \n~"}, {`[ -\/]`, " ,-."}, {`[^ -~]`, "é😀\n"}, {`[a\-c]`, "a-c"}, {`[\\,]`, `\,`}, {`[!-&]`, "!&#"},
}

func (g *generator) class() generated {
	c := pick(g, classes...)
	return generated{text: c[0], sample: func() string { return string(pick(g, []rune(c[1])...)) }}
}

// oddity makes what is not supported, and what is wrong.
func (g *generator) oddity() generated {
	return constant(pick(g, `\b`, `\B`, `\A`, `\z`, `\Z`, `\G`, `\1`, `\k<a>`, `(?<a>a)`, `(?i)`, `(?i:a)`, `(?=a)`, `(?!a)`,
		`(?<=a)`, `(?<!a)`, `(?>a)`, `\p{L}`, `\pL`, `\P{Lu}`, `[a&&b]`, `[a[b]]`, `[[:alpha:]]`, `\Qa\E`, `\Q`, `\E`, `\R`,
		`\X`, `\h`, `\v`, `\N{DIGIT ONE}`, `\x{61}`, `\x6`, `\xg0`, `\u00`, `\uD83D\uDE00`, `\uD83D`, `\07`, `\cA`, `\i`, `\y`, `\C`,
		`[\b]`, `[\1]`, `[z-a]`, `[a-\d]`, `[a`, `[]`, `[^]`, `(`, `)`, `(?`, `(?:`, `*`, `+`, `?`, `{`, `{2}`, `}`, `]`, `a{`, `^`, `$`,
		`$a`, `a^`, `(^a)`, `(a$)`, `^*`, `$?`, `()*`, `(a*)*`, `(a?)+`, `(a|)*`, `()`, `(|a)`, `(a|)`, `||`, `(a*)?`, `(a?)??`, `[[^a]]`, `[a-[b]]`, `[&&a]`, `[a&&]`, `[a&&&b]`, `(?:a{40}){40}`, `(?:a{255}){255}`, `a{255}`, `\-`, `\_`, `\ `, `\é`, `\é+`,
		"\x00", "\n", `\`+"\n", "\t", `(?x) a`, `\Q\E{2}`, `a{2\Q\E}`, `[\Qa\E]`, `\uFFFF`, `[^\x00]`, `\x00`, `\z*`, `\b{g}`),
		pick(g, "a", "", "aa", "^", "1"))
}

func (g *generator) replacement(groups int) string {
	var b strings.Builder
	for n := g.IntN(4); n > 0; n-- {
		switch {
		case g.chance(450) && groups > 0:
			fmt.Fprintf(&b, "$%d", 1+g.IntN(groups))
		case g.chance(10 + 2*g.wild):
			b.WriteString(pick(g, "$1", "$2", "$9", "$10", "$12", "$123", "$01", "$00", "$99999999999", "$2147483647", "$2147483648",
				`\$1`, `\$5`, `\\$1`, `\\`, "$", "$a", "${a}", "${", `\a`, `$8$9`, `😀$8$9$7`, `$8😀$9`, `$7a$8a$9`, `\$8\$9`, `$1$9$8`,
				",RULE:", ", RULE:", "$٣", `\😀`))
		case g.chance(150):
			b.WriteString(pick(g, "$0", `\$`, `\/`, `\\`, `\a`, ",", " ", "User:", "é", "😀", "ß", "Σ", "İ"))
		default:
			b.WriteRune(pick(g, 'a', 'b', 'X', '.', '-', '_', '1', '@'))
		}
	}
	return b.String()
}

// mutated changes a text in a few places, by characters of alphabet or by its own.
func (g *generator) mutated(text, alphabet string) string {
	runes := []rune(text)
	for n := 1 + g.IntN(3); n > 0; n-- {
		if len(runes) == 0 {
			return string(pick(g, []rune(alphabet)...))
		}
		at := g.IntN(len(runes))
		other := pick(g, []rune(alphabet)...)
		switch g.IntN(5) {
		case 0:
			runes = append(runes[:at:at], runes[at+1:]...)
		case 1:
			runes[at] = other
		case 2:
			to := min(at+1+g.IntN(6), len(runes))
			runes = append(runes[:to:to], runes[at:]...)
		default:
			runes = append(runes[:at:at], append([]rune{other}, runes[at:]...)...)
		}
	}
	return string(runes)
}
