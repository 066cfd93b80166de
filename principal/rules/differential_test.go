// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package rules

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	seed  = flag.Uint64("seed", 1, "seed of the generated rule sets")
	cases = flag.Int("cases", 200_000, "number of generated rule sets")
)

// javaCommand runs testdata/KafkaRules.java with Kafka's own classes.
func javaCommand(t *testing.T, mode string, options ...string) *exec.Cmd {
	t.Helper()
	libs := os.Getenv("SIGNET_KAFKA_LIBS")
	if libs == "" {
		t.Fatal("SIGNET_KAFKA_LIBS must name the directory with Kafka's jars")
	}
	program := []string{"-cp", filepath.Join(libs, "*"), filepath.Join("testdata", "KafkaRules.java"), mode}
	command := exec.CommandContext(t.Context(), "java", append(options, program...)...)
	command.Stderr = os.Stderr
	return command
}

// word is how KafkaRules.java is told a text.
func word(mark, text string) string { return mark + base64.StdEncoding.EncodeToString([]byte(text)) }

func line(c question) string {
	words := []string{word(".", c.testCase.rules)}
	for _, p := range c.patterns {
		words = append(words, word("?", p))
	}
	for _, s := range c.subjects {
		words = append(words, word(".", s))
	}
	return strings.Join(words, " ") + "\n"
}

// A question is a test case with what this package makes of it.
type question struct {
	testCase
	judged
	// patterns are those that Java may take exponential time for.
	patterns []string
}

// slow finds repeated groups, and many repetitions.
var slow = regexp.MustCompile(`\)[*+{]|([*+{].*){4}`)

func newQuestion(c testCase) question {
	q := question{testCase: c, judged: judge(c.rules)}
	for _, r := range append(slices.Clone(q.list), q.before...) {
		if !r.Default && slow.MatchString(r.Pattern.String()) {
			q.patterns = append(q.patterns, r.Pattern.String())
		}
	}
	if q.throwing != nil {
		q.patterns = append(q.patterns, q.throwing.String())
	}
	if q.err != nil && q.throwing == nil { // only whether Kafka refuses the rules is of interest
		q.subjects = q.subjects[:1]
		q.subjects[0] = ""
	}
	return q
}

// answers runs the cases through Kafka, in a JVM with options, and calls answered for each, in order, with the outcome
// of each subject.
func answers(t *testing.T, options []string, cases <-chan question, answered func(q question, kafka []kafkaOutcome)) {
	t.Helper()
	command := javaCommand(t, "rules", options...)
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	const batch = 1000
	sent := make(chan question, 2*batch)
	failed := make(chan error, 1)
	go func() {
		defer close(sent)
		w := bufio.NewWriterSize(in, 1<<16)
		n := 0
		for c := range cases {
			sent <- c
			text := line(c)
			if n++; n%batch == 0 {
				text += "flush\n"
			}
			if _, err := w.WriteString(text); err != nil { // Flush says it again
				break
			}
			if n%batch == 0 && w.Flush() != nil {
				break
			}
		}
		failed <- errors.Join(w.Flush(), in.Close())
	}()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<24)
	for c := range sent {
		if !lines.Scan() {
			t.Fatalf("Kafka gave no answer to %q: %v", c.testCase.rules, lines.Err())
		}
		answered(c, outcomes(t, lines.Text(), len(c.subjects)))
	}
	if err := errors.Join(<-failed, command.Wait()); err != nil {
		t.Fatal(err)
	}
}

// outcomes reads the line that answers a case with so many subjects.
func outcomes(t *testing.T, answer string, subjects int) []kafkaOutcome {
	t.Helper()
	if refused, ok := strings.CutPrefix(answer, "#"); ok {
		return slices.Repeat([]kafkaOutcome{{Refused: refused}}, subjects)
	}
	words := strings.Split(answer, " ")
	if len(words) != subjects {
		t.Fatalf("%d subjects, answer %q", subjects, answer)
	}
	all := make([]kafkaOutcome, subjects)
	for i, w := range words {
		switch {
		case w == "-":
			all[i].NoMatch = true
		case w == "~":
			all[i].TakesTooLong = true
		case strings.HasPrefix(w, "!"):
			all[i].Throws = w[1:]
		case strings.HasPrefix(w, "="):
			name := text(t, w[1:])
			all[i].Principal = &name
		default:
			t.Fatalf("answer %q", answer)
		}
	}
	return all
}

// text reads UTF-16 in hexadecimal.
func text(t *testing.T, word string) string {
	t.Helper()
	raw, err := hex.DecodeString(word)
	if err != nil {
		t.Fatal(err)
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	return string(utf16.Decode(units))
}

// TestDifferential compares with Kafka's SslPrincipalMapper over generated rule sets and subjects.
func TestDifferential(t *testing.T) {
	t.Logf("-seed %d -cases %d", *seed, *cases)
	generated := make(chan question, 1000)
	go func() {
		defer close(generated)
		for i := range *cases {
			c := newGenerator(*seed, uint64(i)).testCase()
			if !utf8.ValidString(c.rules) { // a Java string cannot hold it
				continue
			}
			generated <- newQuestion(c)
		}
	}()
	tally := map[string]int{}
	differences := 0
	answers(t, nil, generated, func(q question, kafka []kafkaOutcome) {
		for i, subject := range q.subjects {
			if kafka[i].TakesTooLong {
				tally["takes Java too long"]++
				continue
			}
			signet, err := q.compare(subject, kafka[i])
			tally[signet]++
			if err == nil {
				continue
			}
			if differences++; differences <= 20 {
				vector, _ := json.Marshal(regression{Rules: q.testCase.rules, Subject: subject, Kafka: kafka[i], Signet: signet})
				t.Errorf("seed %d: %v\n%s", *seed, err, vector)
			}
		}
	})
	for _, key := range slices.Sorted(maps.Keys(tally)) {
		t.Logf("%8d %s", tally[key], key)
	}
	t.Logf("%8d differences", differences)
	if tooLong := tally["takes Java too long"]; tooLong > *cases/100 {
		t.Errorf("%d subjects were left out", tooLong)
	}
	if same := tally["same"]; same < *cases {
		t.Errorf("only %d subjects were given to rule sets that both accept: the generator proves too little", same)
	}
}

// TestRecordedRegressions asks Kafka what testdata/regressions.json says that it says; -update records it.
func TestRecordedRegressions(t *testing.T) {
	recorded := readRegressions(t)
	in := make(chan question, len(recorded))
	for _, r := range recorded {
		in <- question{testCase: testCase{rules: r.Rules, subjects: []string{r.Subject}}}
	}
	close(in)
	i := 0
	answers(t, nil, in, func(_ question, kafka []kafkaOutcome) {
		r := &recorded[i]
		i++
		// What cannot be told may be something else in another version of Java.
		if !*update && r.Signet != "unpredictable" && kafka[0].String() != r.Kafka.String() {
			t.Errorf("%s: Kafka says %v, recorded is %v", r.Name, kafka[0], r.Kafka)
		}
		r.Kafka = kafka[0]
	})
	if *update {
		writeRegressions(t, recorded)
	}
}

// TestLetterCase compares the case mapping of every character with Java's.
func TestLetterCase(t *testing.T) {
	out, err := javaCommand(t, "case").Output()
	if err != nil {
		t.Fatal(err)
	}
	type mapping struct{ lower, upper string }
	java := map[string]mapping{}
	for row := range strings.Lines(string(out)) {
		words := strings.Fields(row)
		java[text(t, words[0])] = mapping{text(t, words[1]), text(t, words[2])}
	}
	if len(java) < 2500 {
		t.Fatalf("Java knows the case of %d characters only", len(java))
	}
	for r := range unicode.MaxRune + 1 {
		if utf16.IsSurrogate(r) {
			continue
		}
		c := string(r)
		want, mapped := java[c]
		if !mapped {
			want = mapping{c, c}
		}
		if got, err := Upper.apply(c); err == nil && got != want.upper {
			t.Errorf("%U: upper case %q, in Java %q", r, got, want.upper)
		} else if err != nil && !unicode.Is(unsettled, r) {
			t.Errorf("%U: %v", r, err)
		}
		if got, err := Lower.apply(c); err == nil && got != want.lower {
			t.Errorf("%U: lower case %q, in Java %q", r, got, want.lower)
		} else if err != nil && !unicode.Is(unsettled, r) && r != finalSigma {
			t.Errorf("%U: %v", r, err)
		}
	}
}

// TestStack matches subjects as long as are accepted with patterns that make Java recurse, and parses rules as long as
// are accepted. An interpreted frame is the largest.
func TestStack(t *testing.T) {
	var in []testCase
	for _, p := range []string{
		`(a|b)*`, `(?:a|b)+?`, `(?:(?:(?:(?:a|b))))*`, `((((((((((((a|b))))))))))))*`, `(?:a[bc]?)+`, `(?:[a-z]+x?)*`,
		`(?:a?b?a)*`, `(?:(?:a|b)+c?)+`, `(?:(?:(?:a|b)+c?)+d?)+`, `(?:aa|a)+`, `(?:aab?c?|aaa)*a?a?`, `(?:b?b?b?b?b?b?a)+`,
		`(?:(a|b)(a|b)?)*`, `(?:[a😀]{1,3}b?)*`, `(?:ab?){2,}`, `(?:a|b)*(?:a|b)*(?:a|b)*`,
		strings.Repeat("a?", 400) + `a*`, strings.Repeat("(?:a?", 130) + strings.Repeat(")", 130) + `a*`,
		`(?:` + strings.Repeat("(?:b?c?", 20) + strings.Repeat(")", 20) + `a)*`,
		`(?:` + strings.Repeat("(?:b?", 20) + strings.Repeat(")?", 20) + `a)*`,
	} {
		rules := "RULE:" + p + "/x/"
		list, err := Parse(rules)
		if err != nil {
			t.Fatal(err)
		}
		n := MaxSubject
		for list[0].Pattern.Frames(n) > maxFrames {
			n--
		}
		subject := strings.Repeat("a", n)
		if strings.Contains(p, "😀") {
			subject = strings.Repeat("a😀", n/3)
		}
		if got, err := list.Principal(subject); err != nil {
			t.Errorf("%s, %d characters: %v, %v", p, n, got, err)
		}
		t.Logf("%4d characters: %.60s", n, p)
		in = append(in, testCase{rules: rules, subjects: []string{subject}})
	}
	half := strings.Repeat("a", (MaxRule-len("RULE:///L"))/2)
	in = append(in,
		testCase{rules: "RULE:" + half + half + "//L", subjects: []string{half + half}},
		testCase{rules: "RULE:" + half + "/" + half + "/L", subjects: []string{half}})
	queue := make(chan question, len(in))
	for _, c := range in {
		queue <- question{testCase: c}
	}
	close(queue)
	answers(t, []string{"-Xint", "-Xss1m"}, queue, func(q question, kafka []kafkaOutcome) {
		if kafka[0].Principal == nil {
			t.Errorf("%.100s: %v", q.testCase.rules, kafka[0])
		}
	})
}
