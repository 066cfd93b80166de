// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/principal/rules"
)

func parse(t *testing.T, text string) rules.List {
	t.Helper()
	list, err := rules.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return list
}

// alone evaluates one rule of a list.
func alone(t *testing.T, list rules.List, rule int, subject string) string {
	t.Helper()
	result, err := list[rule : rule+1].Principal(subject)
	if err != nil {
		t.Fatalf("rule %d of %s gives %q nothing: %v", rule+1, list, subject, err)
	}
	return result.Name
}

// verify evaluates what a finding says by the rules themselves.
func verify(t *testing.T, list rules.List, f Finding) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %+v: %s", list, f, fmt.Sprintf(format, args...))
	}
	if f.Detail == "" || strings.ContainsAny(f.Detail, "\n") || strings.HasSuffix(f.Detail, ".") {
		fail("no sentence")
	}
	if f.Other >= 0 && f.Rule >= f.Other {
		fail("the rules are out of order")
	}
	if f.Kind != Shared && f.OtherSubject != "" {
		fail("another subject")
	}
	switch f.Kind {
	case Overlap:
		if first, second := alone(t, list, f.Rule, f.Subject), alone(t, list, f.Other, f.Subject); first == second {
			fail("both give %q", first)
		}
		result, err := list.Principal(f.Subject)
		if err != nil {
			fail("%v", err)
		} else if said := strings.Contains(f.Detail, "; but rule"); said == (result.Rule == f.Rule) {
			fail("rule %d decides", result.Rule+1)
		}
	case Shared:
		other := f.Other
		if other < 0 {
			other = f.Rule
		}
		first, second := alone(t, list, f.Rule, f.Subject), alone(t, list, other, f.OtherSubject)
		if f.Subject == f.OtherSubject || first != second {
			fail("they give %q and %q", first, second)
		}
		if !strings.Contains(f.Detail, `"User:`+first+`"`) {
			fail("the principal is %q", first)
		}
		if strings.Contains(f.Detail, "; but rule") {
			return
		}
		for _, subject := range []string{f.Subject, f.OtherSubject} {
			if result, err := list.Principal(subject); err != nil || result.Name != first {
				fail("in the list, %q gets %+v, %v", subject, result, err)
			}
		}
	case CatchAll:
		for _, subject := range []string{"a", "CN=a", `O=\"\,+=`, "\x00", "é\U0010FFFF", " "} {
			if len(list[f.Rule:f.Rule+1].Matches(subject)) == 0 {
				fail("%q is not caught", subject)
			}
		}
	case Unanchored:
		if list[f.Rule].Pattern.Anchored() {
			fail("it is")
		}
	}
}

// brief says what was found, without the words.
func brief(findings []Finding) string {
	texts := make([]string, len(findings))
	for i, f := range findings {
		texts[i] = fmt.Sprintf("%s %d", f.Kind, f.Rule+1)
		if f.Other >= 0 {
			texts[i] += fmt.Sprintf(",%d", f.Other+1)
		}
		if f.Subject != "" || f.OtherSubject != "" {
			texts[i] += " " + f.Subject
		}
		if f.Kind == Shared {
			texts[i] += " & " + f.OtherSubject
		}
	}
	return strings.Join(texts, "; ")
}

const signets = `RULE:^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=signet$/$2.$1/`

func TestRules(t *testing.T) {
	for _, test := range []struct{ name, rules, want string }{
		{"no rules", ``, ``},
		{"Signet's own", signets, ``},
		{"Signet's own and exact ones", signets + `,RULE:^CN\=signet\,O\=shop$/signet/,RULE:^CN=a\\,b$/a,b/`, ``},
		{"an exact rule that says the same", `RULE:^CN=a,OU=b,O=signet$/b.a/,` + signets, ``},
		{"plain text without anchors", `RULE:CN=a/a/`, ``},
		{"plain text in upper case", `RULE:CN=a/$0/U`, ``},
		{"a case that changes nothing", `RULE:^CN=([a-z0-9-]+)$/$1/L,RULE:^UID=([A-Z]+)$/$1/U`, ``},
		{"the whole subject", `RULE:^CN=(?:a|b)*$/$0/`, ``},
		{"two rules apart", `RULE:^CN=([a-z]+)$/$1/,RULE:^OU=([A-Z]+)$/$1/`, ``},
		{"two rules that agree", `RULE:^CN=([a-z]+),O=x$/$1/,RULE:^CN=([a-z]+),O=[xy]$/$1/`,
			`shared principal 2 CN=a,O=x & CN=a,O=y; shared principal 1,2 CN=a,O=x & CN=a,O=y`},

		{"DEFAULT alone", `DEFAULT`, `catch-all 1`},
		{"DEFAULT at the end", signets + `,DEFAULT`, `catch-all 2`},
		{"DEFAULT in the middle", `RULE:^CN=a$/a/,DEFAULT,` + signets, `catch-all 2; unreachable 3`},
		{"DEFAULT in front", `DEFAULT,RULE:^CN=(.*)$/$1/`, `catch-all 1; unreachable 2`},
		{"DEFAULT twice", `DEFAULT,DEFAULT`, `catch-all 1; unreachable 2`},

		{"the same again", `RULE:^CN=a$/a/,RULE:^CN=a$/b/`, `unreachable 2`},
		{"covered by two together", `RULE:^C=[a-m]$/x$0/,RULE:^C=[l-z]$/$0/,RULE:^C=([c-v])$/$1/`,
			`undecided 1; overlap 1,2 C=l; unreachable 3`},
		{"nothing matches", `RULE:^[^\s\S]$/a/,RULE:^a$/a/`, `unreachable 1`},
		{"an unreachable rule is not compared", `RULE:^[ab]$/$0/,RULE:^a$/c/,RULE:^([bc])$/$1/`, `unreachable 2`},
		{"reached by line breaks only", `RULE:^(.*)$/$1/,RULE:^((?:.|\n)*)$/$1/`, `catch-all 1; catch-all 2`},

		{"overlap", `RULE:^CN=a$/a/,RULE:^UID=([bc])$/$1/,RULE:^UID=([cd])$/x$1/`, `overlap 2,3 UID=c`},
		{"overlap with a general rule", `RULE:^CN=admin,O=x$/root/,RULE:^CN=([^,]+),O=x$/$1/`,
			`overlap 1,2 CN=admin,O=x; shared principal 1,2 CN=admin,O=x & CN=root,O=x`},
		{"overlap where an earlier rule decides", `RULE:^a$/x/,RULE:^([ab])$/$1/,RULE:^([ac])$/y$1/`,
			`overlap 1,2 a; overlap 1,3 a; overlap 2,3 a`},
		{"overlap only in longer subjects", `RULE:^(a*)b?$/$1/,RULE:^(a*)$/$1/,RULE:^(a*)(b?)$/$2$1/`,
			`shared principal 1  & b; unreachable 2; unreachable 3`},
		{"overlap only beyond the shortest", `RULE:^(a+)(c?)$/$1$2/,RULE:^(a+)(c?)(d?)$/$2$1$3/`,
			`overlap 1,2 ac`},
		{"overlap by letter case", `RULE:^([aB])$/$1/,RULE:^([aBc])$/$1/L`, `undecided 2; undecided 1,2 a`},
		{"overlap by letter case alone", `RULE:^(B)$/$1/,RULE:^([aB])$/$1/L`,
			`undecided 2; overlap 1,2 B`},
		{"the same letter case", `RULE:^CN=(.),O=x$/$1/L,RULE:^CN=(.),O=x?$/$1/L`,
			`undecided 1; shared principal 2 CN=a,O= & CN=a,O=x; shared principal 1,2 CN=a,O=x & CN=a,O=`},

		{"a dropped part", `RULE:^CN=([^,]+),OU=.*$/$1/`, `shared principal 1 CN=a,OU= & CN=a,OU=a`},
		{"a constant", `RULE:^CN=[ab]$/x/`, `shared principal 1 CN=a & CN=b`},
		{"a join without a separator", `RULE:^CN=([a-z]+),OU=([a-z]+)$/$1$2/`,
			`shared principal 1 CN=aa,OU=a & CN=a,OU=aa`},
		{"a join by a character of the parts", `RULE:^CN=([a-z-]+),OU=([a-z-]+)$/$1-$2/`,
			`shared principal 1 CN=a-,OU=a & CN=a,OU=-a`},
		{"two organizations", `RULE:^CN=([a-z]+),O=a$/$1/,RULE:^CN=([a-z]+),O=b$/$1/`,
			`shared principal 1,2 CN=a,O=a & CN=a,O=b`},
		{"shared with a plain text", `RULE:CN=a/x/,RULE:^UID=([x-z])$/$1/`, `shared principal 1,2 CN=a & UID=x`},
		{"shared beside one subject of both", `RULE:^([ab]+)-(c*)$/$1$2/,RULE:^(a)-(b*c*)$/$1$2/`,
			`shared principal 1,2 ab- & a-b`},

		{"unanchored", `RULE:CN=a.*/a/`, `unanchored 1`},
		{"unanchored at the end", `RULE:^CN=(a|ab)/$1/`, `unanchored 1`},
		{"unanchored for everything", `RULE:.*/x/`, `catch-all 1; unanchored 1`},
		{"unanchored behind", `RULE:^ab$/x/,RULE:a|ab/x/`, `unanchored 2; overlap 1,2 ab`},

		{"catch-all", `RULE:^(.*)$/$1/`, `catch-all 1`},
		{"catch-all but for the empty subject", `RULE:^(.+)$/$1/`, `catch-all 1`},
		{"no catch-all", `RULE:^([^\x00]*)$/$1/`, ``},

		{"ambiguous boundaries", `RULE:^CN=([^,]+)-([^,]+),O=x$/$1-$2/`, `undecided 1 CN=a--a,O=x`},
		{"nested", `RULE:^(?:a(b)|c)$/$1/`, `undecided 1`},
		{"alternatives with anchors", `RULE:^a$|^b$/$0/`, `undecided 1`},
		{"used twice", `RULE:^([a-z])$/$1$1/`, `undecided 1`},
		{"letter case", `RULE:^CN=([a-zA-Z]+)$/$1/L`, `undecided 1`},
		{"letter case and a dropped part", `RULE:^CN=([a-zA-Z]+)(?:,.*)?$/$1/U`, `shared principal 1 CN=a & CN=a,`},
		{"undecided overlap", `RULE:^CN=([^,]+)-([^,]+)$/$1-$2/,RULE:^(?:CN|UID)=([^,]+)$/$1/`,
			`undecided 1 CN=a--a; shared principal 2 CN=a & UID=a; undecided 1,2 CN=a-a`},
	} {
		t.Run(test.name, func(t *testing.T) {
			list := parse(t, test.rules)
			findings := Rules(list)
			if got := brief(findings); got != test.want {
				t.Errorf("%s:\n got %s\nwant %s", test.rules, got, test.want)
			}
			for _, f := range findings {
				verify(t, list, f)
			}
		})
	}
}

// TestDetail shows the sentence of each kind.
func TestDetail(t *testing.T) {
	for _, test := range []struct{ rules, want string }{
		{`DEFAULT,DEFAULT`, `rule 1 gives a principal to every certificate of the CA, whoever it was issued to; ` +
			`one with an empty subject, as a mesh issues them, becomes "User:"
rule 2 is never reached: rule 1, DEFAULT, takes every subject`},
		{`RULE:^(.+)$/$1/,RULE:^a$/a/`,
			`rule 1 gives a principal to every certificate of the CA, whoever it was issued to
rule 2 is never reached: earlier rules take every subject that it matches`},
		{`RULE:^[^\s\S]$/a/`, `rule 1 is never reached: no subject matches its pattern`},
		{`RULE:^a$/x/,RULE:^([ab])$/$1/,RULE:^([ac])$/y$1/`,
			`rules 1 and 2 both match "a": rule 1 comes first and gives "User:x", rule 2 would give "User:a"
rules 1 and 3 both match "a": rule 1 comes first and gives "User:x", rule 3 would give "User:ya"
rules 2 and 3 both match "a" and would give "User:a" and "User:ya"; but rule 1 comes first for "a"`},
		{`RULE:^CN=([^,]+),.*$/$1/`, `rule 1 gives "CN=a," and "CN=a,a" the same principal, "User:a"`},
		{`RULE:^CN=([a-z]+),O=a$/$1/,RULE:^CN=([a-z]+),O=b$/$1/`,
			`rule 1 gives "CN=a,O=a", and rule 2 gives "CN=a,O=b", the same principal, "User:a"`},
		{`RULE:a/x/,RULE:b/y/,RULE:^[abc]$/z/`, `rule 3 gives "a" and "b" the same principal, "User:z"; ` +
			`but rule 1 comes first for "a", and rule 2 comes first for "b"
rules 1 and 3 both match "a": rule 1 comes first and gives "User:x", rule 3 would give "User:z"
rules 2 and 3 both match "b": rule 2 comes first and gives "User:y", rule 3 would give "User:z"`},
		{`RULE:CN=a.*/a/`, `rule 1 is not anchored as ^…$: its pattern has to match the whole subject, but Kafka then ` +
			`replaces each place where it is found, so that RULE:.*/x/ gives User:xx`},
		{`RULE:^CN=([^,]+)-([^,]+)$/$1/`, `whether rule 1 gives two subjects one principal is not decided: ` +
			`"CN=a--a" can be matched in more than one way: ` +
			`write the expression so that each part ends where the next one must begin`},
		{`RULE:^([a-z])$/$1$1/`, `whether rule 1 gives two subjects one principal is not decided: ` +
			`its replacement has group 1 more than once`},
		{`RULE:^(?:a(b)|c)$/$1/`, `whether rule 1 gives two subjects one principal is not decided: group 1 is inside a ` +
			`repetition, an alternative or another group that its replacement has: move it to the top level`},
		{`RULE:^a$|^b$/$0/`, `whether rule 1 gives two subjects one principal is not decided: ` +
			`its pattern has several alternatives with ^ and $ each: write a rule for each`},
	} {
		list := parse(t, test.rules)
		var details []string
		for _, f := range Rules(list) {
			verify(t, list, f)
			details = append(details, f.Detail)
		}
		if got := strings.Join(details, "\n"); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.rules, got, test.want)
		}
	}
}

func TestManyRules(t *testing.T) {
	var list rules.List
	for i := range MaxRules + 5 {
		rule, err := rules.Exact(fmt.Sprintf("CN=%d", i), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rule)
	}
	if findings := Rules(list[:MaxRules]); len(findings) > 0 {
		t.Errorf("at the bound: %+v", findings)
	}
	list = append(list, list[0])
	want := []Finding{{Kind: Undecided, Rule: -1, Other: -1,
		Detail: "the rules behind rule 200 are not analysed: 206 are too many"}}
	if findings := Rules(list); !slices.Equal(findings, want) {
		t.Errorf("beyond it: %+v", findings)
	}
}

// TestManyFindings has rules of which each shares its principals with each other one.
func TestManyFindings(t *testing.T) {
	var texts []string
	for i := range 60 {
		texts = append(texts, fmt.Sprintf("RULE:^CN=([a-z]+),O=%d$/$1/", i))
	}
	findings := Rules(parse(t, strings.Join(texts, ",")))
	last := findings[len(findings)-1]
	want := Finding{Kind: Undecided, Rule: -1, Other: -1,
		Detail: "the rules behind rule 46 are not analysed: there are 1035 findings already"} // 46*45/2
	if len(findings) != 1036 || last != want {
		t.Errorf("%d findings, at last %+v", len(findings), last)
	}
}

// TestTooComplex has rules that are small for package rules and large for automata: each question that is given up is a
// finding.
func TestTooComplex(t *testing.T) {
	const simpler = "; write a simpler expression, or several"
	const subsets = "too complex to decide: more than 50000 subsets of the states that cover" + simpler
	const pairs = "too complex to decide: more than 2000000 pairs of states of two automata" + simpler
	const large = `^a{0,255}a{0,255}a{0,255}a{0,220}`
	for _, test := range []struct {
		name, rules string
		want        []string
	}{
		{"is it reached", `RULE:^[ab]*a[ab]{40}$/x/,RULE:^[ab]*a[ab]{41}$/x/`, []string{
			"whether rule 2 is ever reached is not decided: " + subsets}},
		{"is it a catch-all", `RULE:^((?:.*a.{40}|.*b)?)$/x/,RULE:^(?:.*a.{40}|.+)$/x/`, []string{
			"whether rule 2 takes every certificate is not decided: " + subsets}},
		{"do they overlap", `RULE:` + large + `b$/x/,RULE:` + large + `c$/y/`, []string{
			"whether rules 1 and 2 match one subject is not decided: " + pairs}},
		{"do they agree", `RULE:^((?:a{199}b)*)-((?:a{199}b)*)$/$1$2/,RULE:^((?:a{199}b)*)-((?:a{199}b)*)c?$/$2$1/`, []string{
			`rules 1 and 2 both match "-", and whether they always give one principal is not decided: ` +
				`it would take too long; write simpler patterns`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			list := parse(t, test.rules)
			var got []string
			for _, f := range Rules(list) {
				verify(t, list, f)
				if f.Kind == Undecided {
					got = append(got, f.Detail)
				}
			}
			for _, want := range test.want {
				if !slices.Contains(got, want) {
					t.Errorf("%s:\n got %s\nwant %s", test.rules, strings.Join(got, "\n     "), want)
				}
			}
		})
	}
}

// TestWorkEnds gives too little work: the analysis is a beginning of the whole one, and says where it ends.
func TestWorkEnds(t *testing.T) {
	list := parse(t, `RULE:^(a+)(c?)$/$1$2/,RULE:^(a+)(c?)(d?)$/$1$2$3/,RULE:^(a+)(c?)(e?)$/$2$1$3/,DEFAULT`)
	whole := Rules(list)
	ends := map[string]bool{}
	for work := 1; ; work *= 2 {
		findings := within(work, list)
		if slices.Equal(findings, whole) {
			break
		}
		last := findings[len(findings)-1]
		if n := len(findings) - 1; work > 10*differWork || n > len(whole) || !slices.Equal(findings[:n], whole[:n]) ||
			last.Kind != Undecided || last.Rule != -1 || last.Other != -1 {
			t.Fatalf("work %d: %+v", work, findings)
		}
		ends[last.Detail] = true
	}
	for i := 1; i <= 3; i++ {
		detail := fmt.Sprintf("the analysis ends at rule %d: the patterns are too complex to compare all of them", i)
		if !ends[detail] {
			t.Errorf("never: %s; %v", detail, ends)
		}
	}
	// Rules 1 and 2 agree, and have a subject in common, which costs two calls of Differ.
	findings := within(differWork*3/2, list)
	if last := findings[len(findings)-1]; !strings.HasPrefix(last.Detail, "the analysis ends at rule 2:") {
		t.Errorf("%+v", findings)
	}
}

// TestGivingUpIsWork: an answer that is not found has cost work, too.
func TestGivingUpIsWork(t *testing.T) {
	want := Finding{Kind: Undecided, Rule: -1, Other: -1,
		Detail: "the analysis ends at rule 2: the patterns are too complex to compare all of them"}
	for _, text := range []string{
		`RULE:^[ab]*a[ab]{40}$/x/,RULE:^[ab]*a[ab]{41}$/x/,RULE:c/c/`,
		`RULE:c/c/,RULE:^(?:.*a.{40}|.+)$/x/,RULE:\x00\n/c/`,
	} {
		findings := within(coverWork, parse(t, text))
		if n := len(findings); n == 0 || findings[n-1] != want {
			t.Errorf("%s: %+v", text, findings)
		}
	}
}

func TestIsRulesProperty(t *testing.T) {
	for name, want := range map[string]bool{
		"ssl.principal.mapping.rules":                   true,
		"listener.name.tls.ssl.principal.mapping.rules": true,
		"":                                       false,
		"my-ssl.principal.mapping.rules":         false,
		"ssl.principal.mapping.rules.more":       false,
		"sasl.kerberos.principal.to.local.rules": false,
		"listener.name.tls.ssl_principal.mapping.rules":  false,
		"listener.name.tls.ssl.principal.mapping.rules ": false,
	} {
		if got := IsRulesProperty(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

// TestConstantsWithALetterCase holds that a constant is compared as it is in the end.
func TestConstantsWithALetterCase(t *testing.T) {
	for _, text := range []string{"RULE:^ab$/a/U,RULE:^[a-b]b$/a/U", "RULE:^[ab]aa$/a/U,RULE:^a$/a/U", "RULE:^(?:a|-)$/x/U,RULE:^aa$/x/U"} {
		list, err := rules.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(Rules(list), func(f Finding) bool { return f.Kind == Shared && f.Rule == 0 && f.Other == 1 }) {
			t.Errorf("%s: %+v lacks the shared principal", text, Rules(list))
		}
	}
}
