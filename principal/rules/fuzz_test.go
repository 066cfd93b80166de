// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"errors"
	"slices"
	"testing"

	"github.com/signet-kafka/signet/principal/pattern"
)

func FuzzParse(f *testing.F) {
	f.Add("RULE:^CN=(.*?),.*$/$1/L,DEFAULT", "CN=a,O=b")
	f.Fuzz(func(t *testing.T, text, subject string) {
		list, err := Parse(text)
		if err != nil {
			var wrong *SyntaxError
			var dropped *DroppedError
			var bound *BoundError
			var item *ItemError
			var replacement *ReplacementError
			var unsupported *pattern.UnsupportedError
			var tooLarge *pattern.TooLargeError
			switch {
			case errors.As(err, &wrong), errors.As(err, &dropped), errors.As(err, &bound):
			case errors.As(err, &item) && (errors.As(err, &replacement) || errors.As(err, &unsupported) || errors.As(err, &tooLarge)):
			default:
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := Parse(list.String())
		if err != nil || !slices.EqualFunc(again, list, Rule.Equal) {
			t.Fatalf("%q renders as %q: %v", text, list, err)
		}
		if len(subject) > 200 {
			return
		}
		result, err := list.Principal(subject)
		var unpredictable *UnpredictableError
		switch matching := list.Matches(subject); {
		case err == nil:
			if len(matching) == 0 || matching[0] != result.Rule {
				t.Fatalf("%q, %q: rule %d applies, %v match", text, subject, result.Rule, matching)
			}
		case errors.Is(err, ErrNoMatch):
			if len(matching) > 0 {
				t.Fatalf("%q, %q: %v match and none applies", text, subject, matching)
			}
		case !errors.As(err, &unpredictable):
			t.Fatalf("%q, %q: %v", text, subject, err)
		}
	})
}
