// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/principal/pattern"
)

func TestParse(t *testing.T) {
	list, notes, err := ParseNotes(" RULE:^CN=([^,]+),.*$/$1/L,\n,RULE:.*/\\/$0/U\v\f,\tDEFAULT,RULE:^a$//")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		if r.Default {
			got = append(got, "default")
			continue
		}
		got = append(got, fmt.Sprintf("%s → %s %s", r.Pattern, r.Replacement, r.Case))
	}
	want := []string{`^CN=([^,]+),.*$ → $1 L`, `.* → \/$0 U`, "default", "^a$ →  "}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if text, want := list.String(), `RULE:^CN=([^,]+),.*$/$1/L,RULE:.*/\/$0/U,DEFAULT,RULE:^a$//`; text != want {
		t.Errorf("%s, want %s", text, want)
	}
	var offsets []int
	for _, n := range notes {
		offsets = append(offsets, n.Offset)
	}
	if want := []int{28, 29, 55}; !slices.Equal(offsets, want) {
		t.Errorf("notes %v, want them at %v", notes, want)
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{" DEFAULT, foo bar ,DEFAULT", `ssl.principal.mapping.rules, offset 10: Kafka refuses "foo bar ": neither DEFAULT nor RULE:pattern/replacement/`},
		{"x\f\vy,DEFAULT", `ssl.principal.mapping.rules, offset 0: Kafka refuses "x\f\vy": neither DEFAULT nor RULE:pattern/replacement/`},
		{"RULE:a/b", `ssl.principal.mapping.rules, offset 0: Kafka refuses "RULE:a/b": a rule is RULE:pattern/replacement/, with an L or a U behind it or nothing`},
		{"RULE:a/b/LU,DEFAULT", `ssl.principal.mapping.rules, offset 10: Kafka refuses "U": behind a rule comes a comma (and before it, at most an L or a U)`},
		{"DEFAULT,RULE:a(/b/", `ssl.principal.mapping.rules, offset 8: Kafka refuses "RULE:a(/b/": regular expression, offset 1: the group is not closed with )`},
		{"DEFAULT,\nRULE:a/b/\nRULE:c/d/", `ssl.principal.mapping.rules, offset 9: "RULE:a/b/": Kafka silently drops what comes before a line break: write a comma between rules (behind a rule comes a comma)`},
		{"DEFAULT\nDEFAULT", `ssl.principal.mapping.rules, offset 0: "DEFAULT": Kafka silently drops what comes before a line break: write a comma between rules (neither DEFAULT nor RULE:pattern/replacement/)`},
		{"RULE:a\nb/c/", `ssl.principal.mapping.rules, offset 0: "RULE:a\nb/c/": Kafka reads this as one rule, with the line break in it: a slash or a comma is missing`},
		{"RULE:a, RULE:b/c/", `ssl.principal.mapping.rules, offset 0: "RULE:a, RULE:b/c/": Kafka reads this as one rule, for a slash is missing before ",RULE:" (or write "\,RULE:")`},
		{"DEFAULT,\u2028DEFAULT", "ssl.principal.mapping.rules, offset 8: \"\\u2028\": U+2028 is a line break to Kafka, before which it drops text: write a comma"},
		{"RULE:(?i)a/b/", `ssl.principal.mapping.rules, offset 0: rule "RULE:(?i)a/b/": regular expression, offset 0: inline flag (?…): not supported`},
		{"RULE:a/$1/", `ssl.principal.mapping.rules, offset 0: rule "RULE:a/$1/": replacement "$1": the pattern has no group 1, only 0: Kafka would throw an exception at every client that the rule is for`},
		{"RULE:(?:(a)b)*/$1/", `ssl.principal.mapping.rules, offset 0: rule "RULE:(?:(a)b)*/$1/": replacement "$1": a reference to group 1, which is inside a repetition (put a group around the repetition): not supported`},
		{"DEFAULT,RULE:" + strings.Repeat("é", 993) + "//", `ssl.principal.mapping.rules, offset 8: ssl`},
		{"DEFAULT,RULE:" + strings.Repeat("é", 994) + "//", `ssl.principal.mapping.rules, offset 8: the rule is longer than 1000 characters: Kafka's own parser overflows the JVM's stack from about 1,600, and the broker does not start`},
		{"\xFF", `ssl.principal.mapping.rules, offset 0: "": not UTF-8: Kafka would read replacement characters`},
		{strings.Repeat("x", 70) + "\n" + strings.Repeat("é", 70), `ssl.principal.mapping.rules, offset 0: "` + strings.Repeat("x", 60) + `…": Kafka silently drops what comes before a line break: write a comma between rules (neither DEFAULT nor RULE:pattern/replacement/)`},
	} {
		_, err := Parse(c.text)
		if strings.HasSuffix(c.want, ": ssl") { // one character less than the next
			if err != nil {
				t.Errorf("%.40q: %v", c.text, err)
			}
			continue
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("%.40q:\n%v, want\n%s", c.text, err, c.want)
		}
	}
}

func TestBounds(t *testing.T) {
	groups := strings.Repeat("(?:a|b)", 100)
	for what, text := range map[string]string{
		BoundText:  strings.Repeat(" ", MaxText) + ",",
		BoundRule:  "RULE:" + strings.Repeat("a", MaxText-5),
		BoundRules: strings.Repeat("DEFAULT,", MaxRules+1),
		BoundSize:  strings.Repeat("RULE:"+groups+"//,", MaxSize/300),
	} {
		_, err := Parse(text)
		var bound *BoundError
		if !errors.As(err, &bound) || bound.What != what {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list, err := Parse(strings.Repeat("DEFAULT,", MaxRules)); err != nil || len(list) != MaxRules {
		t.Errorf("%d rules, %v", len(list), err)
	}
	if list, err := Parse(strings.Repeat("RULE:^CN=a$/a/,", MaxRules)); err != nil || len(list) != MaxRules {
		t.Errorf("%d rules of characters only, %v", len(list), err)
	}
	if list, err := Parse(strings.Repeat(",", MaxText)); err != nil || len(list) != 0 {
		t.Errorf("%d rules of nothing, %v", len(list), err)
	}
	list := List{{Default: true}}
	if _, err := list.Principal(strings.Repeat("a", MaxSubject)); err != nil {
		t.Error(err)
	}
	var bound *BoundError
	if _, err := list.Principal(strings.Repeat("a", MaxSubject+1)); !errors.As(err, &bound) || bound.What != BoundSubject {
		t.Error(err)
	}
}

// TestTextsThatTakeAPoorParserLong are of the largest size; a parser that goes back would not come to an end.
func TestTextsThatTakeAPoorParserLong(t *testing.T) {
	fill := func(piece string) string { return strings.Repeat(piece, MaxText/len(piece)) }
	for _, text := range []string{
		fill("RULE:"), fill("RULE:/"), fill("RULE:\\\n"), fill("RULE:a/b/ "), fill("RULE:a/b/\n"), fill(" \n"), "x" + fill(" ") + "y",
		fill("x "), fill("x\n"), fill(", "), fill("DEFAULT "), fill("\\"), "RULE:a/b/" + fill(" ") + "x", "RULE:a/b/x" + fill(" \t"),
		fill("RULE:" + strings.Repeat("x", 300) + "\\\n"),
	} {
		text = text[:min(len(text), MaxText)]
		list, err := Parse(text)
		if err == nil && len(list) > 1 {
			t.Errorf("%.40q: %d rules", text, len(list))
		}
	}
}

func TestPrincipalOf(t *testing.T) {
	list, err := Parse(`RULE:^CN=([^,]+),OU=([^,]+),O=signet$/$2.$1/L,RULE:^CN=b.*$/b/,RULE:[A-Z]+=|(.*)/x/`)
	if err != nil {
		t.Fatal(err)
	}
	for subject, want := range map[string]Result{
		"CN=A,OU=Shop,O=signet": {"shop.a", 0},
		"CN=b,OU=shop,O=signet": {"shop.b", 0},
		"CN=b,O=signet":         {"b", 1},
		"CN=c":                  {"xxx", 2},
		"":                      {"x", 2},
	} {
		if got, err := list.Principal(subject); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", subject, got, err, want)
		}
	}
	if got, want := list.Matches("CN=b,OU=shop,O=signet"), []int{0, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("matching rules %v, want %v", got, want)
	}
	if _, err := list.Principal("CN=a\nb"); !errors.Is(err, ErrNoMatch) {
		t.Error(err)
	}
	if got := list.Matches("CN=a\nb"); len(got) != 0 {
		t.Errorf("matching rules %v, want none", got)
	}
	var throws *ReplacementError
	byHand := List{{Pattern: list[0].Pattern, Replacement: "$"}}
	if _, err := byHand.Principal("CN=A,OU=Shop,O=signet"); !errors.As(err, &throws) {
		t.Error(err)
	}
}

func TestUnpredictable(t *testing.T) {
	for _, c := range []struct {
		rules, subject string
		rule           int
	}{
		{"DEFAULT", "\xFF", -1},
		{"RULE:^[^x]*$/y/", "a\n", 0},
		{"RULE:^[^x]*$/y/", "a\u0085", 0},
		{"RULE:^b$/y/,RULE:(?:|.*)/-/", "a😀", 1},
		{"RULE:.*/$0/L", "ΑΣ", 0},
		{"RULE:.*/$0/L", "Ɤ", 0},
		{"RULE:.*/$0/U", "ɤ", 0},
		{"RULE:(?:a|b)*/x/", strings.Repeat("ab", 400), 0},
		{"RULE:(?:a|b)*/x/,DEFAULT", strings.Repeat("c", 800), 0},         // Java may overflow before it sees that it does not match
		{"RULE:[ab]{0,200}c|[ab]|[ab]*/x/", strings.Repeat("ab", 500), 0}, // found in too many places
	} {
		list, err := Parse(c.rules)
		if err != nil {
			t.Fatal(err)
		}
		got, err := list.Principal(c.subject)
		var unpredictable *UnpredictableError
		if !errors.As(err, &unpredictable) || unpredictable.Rule != c.rule {
			t.Errorf("%.60s, %.20q: %v, %v", c.rules, c.subject, got, err)
		}
	}
	for rules, subject := range map[string]string{ // near, and certain
		"RULE:^[^x]*/y/":   "a\n",
		"RULE:^[^x]$/y/":   "😀",
		"RULE:.*/$0/U":     "ας",
		"RULE:.*?|.*/-$0/": "aé",
		"RULE:(?:a|b)*/x/": strings.Repeat("ab", 200),
	} {
		list, err := Parse(rules)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := list.Principal(subject); err != nil {
			t.Errorf("%s, %.20q: %v", rules, subject, err)
		}
	}
}

func TestExact(t *testing.T) {
	for subject, want := range map[string]string{
		"CN=orders,OU=shop,O=signet": `RULE:^CN\=orders\,OU\=shop\,O\=signet$/shop.orders/`,
		`CN=Zoë\, A\+B\\,O=\ x\ `:    `RULE:^CN\=Zoë\\\,\ A\\\+B\\\\\,O\=\\\ x\\\ $/shop.orders/`,
		`CN=a/b.c*[]{}()^$|?_-`:      `RULE:^CN\=a\/b\.c\*\[\]\{\}\(\)\^\$\|\?\_\-$/shop.orders/`,
		"CN=a,RULE:b":                `RULE:^CN\=a\,RULE\:b$/shop.orders/`,
		"CN=\x01\t😀":                 "RULE:^CN\\=\\\x01\\\t😀$/shop.orders/",
		"":                           `RULE:^$/shop.orders/`,
	} {
		rule, err := Exact(subject, "shop.orders")
		if err != nil {
			t.Errorf("%q: %v", subject, err)
			continue
		}
		if got := rule.String(); got != want {
			t.Errorf("%q: %s, want %s", subject, got, want)
		}
		if got, err := (List{rule}).Principal(subject); err != nil || got.Name != "shop.orders" {
			t.Errorf("%q: %v, %v", subject, got, err)
		}
		if _, err := (List{rule}).Principal(subject + "x"); !errors.Is(err, ErrNoMatch) {
			t.Errorf("%q and more: %v", subject, err)
		}
	}
	for _, name := range []string{`a\b$1/c${d}`, "a,b", "L", "é😀", `\`, `$`, "RULE:", " "} {
		rule, err := Exact("CN=a", name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got, err := (List{rule}).Principal("CN=a"); err != nil || got.Name != name {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	var bound *BoundError
	if _, err := Exact("CN="+strings.Repeat("a", 1000), "b"); !errors.As(err, &bound) || bound.What != BoundRule {
		t.Error(err)
	}
	var unsupported *pattern.UnsupportedError
	if _, err := Exact("CN=\x00", "b"); !errors.As(err, &unsupported) {
		t.Error(err)
	}
	for _, wrong := range [][2]string{{"CN=a\nb", "c"}, {"CN=a", "b\nc"}, {"CN=a\u2028", "c"}, {"CN=a\xFF", "c"}, {"CN=a", "b,RULE:c"}} {
		var dropped *DroppedError
		if rule, err := Exact(wrong[0], wrong[1]); !errors.As(err, &dropped) {
			t.Errorf("%q: %v, %v", wrong, rule, err)
		}
	}
}

// TestExactOfAnySubject proves that Exact escapes enough: whatever is accepted maps its subject, and reads back.
func TestExactOfAnySubject(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	accepted := 0
	for i := range uint64(5000) {
		g := newGenerator(seed, i)
		subject, name := g.mutated(g.subject(), "\\/,$^()[]{}*+?|.RULE: \t"), g.mutated("User:a$1", "\\/,$^L\"'")
		rule, err := Exact(subject, name)
		if err != nil {
			continue
		}
		accepted++
		if got, err := (List{rule}).Principal(subject); err != nil || got.Name != name {
			t.Fatalf("%q, %q: %v, %v", subject, name, got, err)
		}
		again, err := Parse(rule.String() + ",DEFAULT")
		if err != nil || len(again) != 2 || !again[0].Equal(rule) {
			t.Fatalf("%q, %q: %s is read as %v, %v", subject, name, rule, again, err)
		}
	}
	if accepted < 4000 {
		t.Errorf("only %d subjects were accepted", accepted)
	}
}

func TestNew(t *testing.T) {
	rule, err := New(`^CN=([^,\/]+)$`, `a\/$1`, Upper)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rule.String(), `RULE:^CN=([^,\/]+)$/a\/$1/U`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, wrong := range [][2]string{{"a/b", "c"}, {"a", "b/,RULE:c/d"}, {"a", "b/"}, {"a\\", "b"}, {"a", "b\\"}, {"", "/L,DEFAULT"}} {
		if rule, err := New(wrong[0], wrong[1], None); err == nil {
			t.Errorf("%q: %s", wrong, rule)
		}
	}
	if rule, err := New("a", "b", 'X'); err == nil {
		t.Errorf("%s", rule)
	}
}

func TestReplacement(t *testing.T) {
	groups := func(n int) *pattern.Pattern {
		p, err := pattern.Parse(strings.Repeat("(a)", n))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		replacement string
		groups      int
		want        string // "" where it throws
	}{
		{`a`, 0, `a`},
		{`\a\\\$\/`, 0, `a\$/`},
		{`$0`, 0, `<0>`},
		{`$05`, 0, `<0>5`},
		{`$05`, 5, `<5>`},
		{`$1`, 0, ``},
		{`$1`, 1, `<1>`},
		{`$12`, 1, `<1>2`},
		{`$12`, 12, `<12>`},
		{`$123`, 12, `<12>3`},
		{`$10`, 1, `<1>0`},
		{`$9`, 1, `$9`},
		{`$99`, 1, `$99`},
		{`a$9b`, 1, `a$9b`},
		{`$9$9`, 1, ``},
		{`ab$9c$8`, 1, ``},
		{`ab$9c\$8`, 1, ``}, // the backslash for $8 comes to stand before the one that is there
		{`\$9`, 1, ``},
		{`\$1`, 1, `$1`},
		{`$`, 1, ``},
		{`$a`, 1, ``},
		{`${a}`, 1, ``},
		{`$٣`, 1, ``},
		{`a\`, 1, ``},
		{`$2147483647`, 1, `$2147483647`},
		{`$2147483648`, 1, ``},
		{`$2147483648`, 0, ``},
		{`$02147483648`, 1, `<0>2147483648`},
		{`😀$7`, 1, `😀$7`},
	} {
		parts, err := parseReplacement(c.replacement, groups(c.groups))
		var throws *ReplacementError
		if c.want == "" {
			if !errors.As(err, &throws) || !throws.Throws {
				t.Errorf("%s with %d groups: %v, %v", c.replacement, c.groups, parts, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s with %d groups: %v", c.replacement, c.groups, err)
			continue
		}
		var b strings.Builder
		for _, p := range parts {
			if p.group == literalPart {
				b.WriteString(p.literal)
			} else {
				fmt.Fprintf(&b, "<%d>", p.group)
			}
		}
		if got := b.String(); got != c.want {
			t.Errorf("%s with %d groups: %s, want %s", c.replacement, c.groups, got, c.want)
		}
	}
}

// TestGeneratedRoundTrip proves that what is accepted reads back from its own rendering.
func TestGeneratedRoundTrip(t *testing.T) {
	const seed = 2
	t.Logf("seed %d", seed)
	accepted := 0
	for i := range uint64(20_000) {
		c := newGenerator(seed, i).testCase()
		list, err := Parse(c.rules)
		if err != nil {
			continue
		}
		accepted++
		again, err := Parse(list.String())
		if err != nil || !slices.EqualFunc(again, list, Rule.Equal) {
			t.Fatalf("%q renders as %q: %v", c.rules, list, err)
		}
	}
	if accepted < 10_000 {
		t.Errorf("only %d rule sets were accepted", accepted)
	}
}

func ExampleList_Principal() {
	list, _ := Parse(`RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L,RULE:CN=a|CN=ab/x/`)
	fmt.Println(list.Principal("CN=Orders,OU=ServiceUsers,O=Acme"))
	// The whole subject matches, and then Kafka replaces what it finds first.
	fmt.Println(list.Principal("CN=ab"))
	// Output:
	// {orders 0} <nil>
	// {xb 1} <nil>
}
