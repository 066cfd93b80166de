// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/signet-kafka/signet/principal/pattern"
)

var update = flag.Bool("update", false, "rewrite what is recorded in testdata/regressions.json")

// A regression is a known case. The test with the build tag kafka checks what Kafka is recorded to say.
type regression struct {
	Name    string       `json:"name"`
	Rules   string       `json:"rules"`
	Subject string       `json:"subject"`
	Kafka   kafkaOutcome `json:"kafka"`
	// Signet is what judged.compare says.
	Signet string `json:"signet"`
}

// kafkaOutcome is what Kafka does: one of its fields is set.
type kafkaOutcome struct {
	// Refused is the exception that Kafka refuses the rules with.
	Refused string `json:"refused,omitempty"`
	// Throws is the exception that the request of a client ends with.
	Throws    string  `json:"throws,omitempty"`
	NoMatch   bool    `json:"noMatch,omitempty"`
	Principal *string `json:"principal,omitempty"`
	// TakesTooLong is never recorded: the matcher would not come back.
	TakesTooLong bool `json:"-"`
}

func (k kafkaOutcome) String() string {
	switch {
	case k.Refused != "":
		return "refuses the rules: " + k.Refused
	case k.Throws != "":
		return "throws " + k.Throws
	case k.NoMatch:
		return "no rule applies"
	case k.Principal == nil:
		return "nothing"
	}
	return fmt.Sprintf("principal %q", *k.Principal)
}

// judged is what this package makes of a rule set.
type judged struct {
	rules string
	list  List
	err   error
	// Of a rule set that is refused because of a replacement: the rules before, and the one.
	before   List
	throwing *pattern.Pattern
}

func judge(rules string) judged {
	j := judged{rules: rules}
	j.list, j.err = Parse(rules)
	var replacement *ReplacementError
	if errors.As(j.err, &replacement) && replacement.Throws {
		items, _ := scan(rules)
		for _, i := range items {
			if !i.isRule && !i.isDefault {
				continue
			}
			r, err := i.rule()
			if err != nil {
				j.throwing, _ = pattern.Parse(i.pattern)
				break
			}
			j.before = append(j.before, r)
		}
	}
	return j
}

// compare names what this package says of a subject, and errs if that does not go together with what Kafka does: what
// it accepts, Kafka accepts and gives the same principal; what Kafka refuses, it refuses; what it says that Kafka
// refuses or throws at, Kafka does.
func (j *judged) compare(subject string, kafka kafkaOutcome) (signet string, err error) {
	differ := func(signet string) (string, error) {
		return signet, fmt.Errorf("rules %q, subject %q: Kafka: %v; Signet: %s, %w", j.rules, subject, kafka, signet, j.err)
	}
	if j.err != nil {
		var syntax *SyntaxError
		var dropped *DroppedError
		var replacement *ReplacementError
		var bound *BoundError
		var unsupported *pattern.UnsupportedError
		var tooLarge *pattern.TooLargeError
		switch {
		case errors.As(j.err, &syntax):
			if kafka.Refused == "" {
				return differ("syntax")
			}
			return "syntax", nil
		case errors.As(j.err, &replacement) && replacement.Throws:
			_, err := j.before.Principal(subject)
			if errors.Is(err, ErrNoMatch) && kafka.Refused == "" {
				_, applies := j.throwing.MatchWhole(subject)
				if applies && kafka.Throws == "" {
					return differ("throws")
				}
				if applies {
					return "throws", nil
				}
			}
			return "throws for other subjects", nil
		case errors.As(j.err, &replacement):
			return "replacement", nil
		case errors.As(j.err, &dropped):
			return "dropped", nil
		case errors.As(j.err, &bound):
			return "bound", nil
		case errors.As(j.err, &unsupported):
			return "unsupported", nil
		case errors.As(j.err, &tooLarge):
			return "too large", nil
		}
		return differ("unknown error")
	}
	if kafka.Refused != "" {
		return differ("accepted")
	}
	var unpredictable *UnpredictableError
	result, err := j.list.Principal(subject)
	switch {
	case errors.As(err, &unpredictable):
		return "unpredictable", nil
	case errors.Is(err, ErrNoMatch):
		if !kafka.NoMatch {
			return differ("no rule applies")
		}
		return "no rule applies", nil
	case err != nil:
		return differ(err.Error())
	case kafka.Principal == nil || *kafka.Principal != result.Name:
		return differ(fmt.Sprintf("principal %q", result.Name))
	}
	return "same", nil
}

var regressionsFile = filepath.Join("testdata", "regressions.json")

func readRegressions(t *testing.T) []regression {
	t.Helper()
	raw, err := os.ReadFile(regressionsFile)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var recorded []regression
	if err := decoder.Decode(&recorded); err != nil {
		t.Fatal(err)
	}
	return recorded
}

func writeRegressions(t *testing.T, recorded []regression) {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(recorded); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(regressionsFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRegressions(t *testing.T) {
	recorded := readRegressions(t)
	for i, r := range recorded {
		t.Run(r.Name, func(t *testing.T) {
			j := judge(r.Rules)
			signet, err := j.compare(r.Subject, r.Kafka)
			if err != nil {
				t.Fatal(err)
			}
			if signet != r.Signet && !*update {
				t.Errorf("%q, want %q; error %v", signet, r.Signet, j.err)
			}
			recorded[i].Signet = signet
		})
	}
	if *update {
		writeRegressions(t, recorded)
	}
}
