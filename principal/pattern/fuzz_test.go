// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"errors"
	"regexp"
	"testing"
)

func FuzzPattern(f *testing.F) {
	f.Add(`^CN=(.*?),O=[^,\\]+$`, `CN=a,O=b`)
	f.Fuzz(func(t *testing.T, java, s string) {
		p, err := Parse(java)
		if err != nil {
			var wrong *SyntaxError
			var unsupported *UnsupportedError
			var tooLarge *TooLargeError
			if !errors.As(err, &wrong) && !errors.As(err, &unsupported) && !errors.As(err, &tooLarge) {
				t.Fatalf("%q: %v", java, err)
			}
			return
		}
		if p.Size() > MaxInstructions || p.String() != java {
			t.Fatalf("%q: size %d, string %q", java, p.Size(), p)
		}
		compiled, err := regexp.Compile(p.GoSyntax())
		if err != nil || compiled.NumSubexp() != p.Groups() {
			t.Fatalf("%q: %v, %d groups in %s", java, err, p.Groups(), p.GoSyntax())
		}
		again, err := Parse(p.String())
		if err != nil || again.GoSyntax() != p.GoSyntax() {
			t.Fatalf("%q: %v on the second reading", java, err)
		}
		if text, literal := p.Literal(); literal {
			if indexes, ok := p.MatchWhole(text); !ok || indexes[1] != len(text) || !compiled.MatchString(text) {
				t.Fatalf("%q does not match itself", java)
			}
		}
		if len(s) > 200 {
			return
		}
		whole, matches := p.MatchWhole(s)
		if matches && (len(whole) < 2 || whole[0] != 0 || whole[1] != len(s)) {
			t.Fatalf("%q on %q: %v", java, s, whole)
		}
		found, ok := p.Find(s, 0)
		if matches && (!ok || found[0] != 0) {
			t.Fatalf("%q matches %q and is not found at its start: %v", java, s, found)
		}
		if ok && p.Anchored() && !matches {
			t.Fatalf("%q is anchored, found in %q, and does not match", java, s)
		}
	})
}
