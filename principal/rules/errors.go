// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"errors"
	"fmt"
)

// ErrNoMatch says that no rule applies: Kafka throws NoMatchingRule and closes the connection, without telling the
// client that authentication failed.
var ErrNoMatch = errors.New("no rule of ssl.principal.mapping.rules applies: Kafka closes the connection")

// SyntaxError says that Kafka would refuse the text: a broker with it does not start.
type SyntaxError struct {
	// Offset is where the refused item begins, in bytes from the start of the text.
	Offset int
	// Text is the item, shortened.
	Text string
	// Reason is what is wrong with it.
	Reason string
	// Err is the error of package pattern if Java would refuse the pattern, else nil.
	Err error
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("ssl.principal.mapping.rules, offset %d: Kafka refuses %q: %s", e.Offset, e.Text, e.Reason)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// DroppedError says that Kafka would take the text, but not as it reads: it would silently drop a part, or read two
// rules as one. (It may be that Kafka refuses what follows.)
type DroppedError struct {
	// Offset is where that part begins, in bytes from the start of the text.
	Offset int
	// Text is the part, shortened.
	Text string
	// Reason is what Kafka does, and what to write instead.
	Reason string
}

func (e *DroppedError) Error() string {
	return fmt.Sprintf("ssl.principal.mapping.rules, offset %d: %q: %s", e.Offset, e.Text, e.Reason)
}

// ReplacementError refuses the replacement of a rule.
type ReplacementError struct {
	// Replacement is the replacement as it stands in the rule.
	Replacement string
	// Reason is what is wrong with it.
	Reason string
	// Throws tells that Kafka takes the rule, and then throws on every request of a client whose subject the pattern
	// matches. Else the replacement is good for Kafka and only not for this package.
	Throws bool
}

func (e *ReplacementError) Error() string {
	if e.Throws {
		return fmt.Sprintf("replacement %q: %s: Kafka would throw an exception at every client that the rule is for",
			e.Replacement, e.Reason)
	}
	return fmt.Sprintf("replacement %q: %s: not supported", e.Replacement, e.Reason)
}

// BoundError says that something is larger than this package takes. The constants say why.
type BoundError struct {
	// What is too large: BoundText, BoundRule, BoundRules, BoundSize or BoundSubject.
	What string
	// Limit is the largest value accepted, in the unit of the constant for it.
	Limit int
	// Offset is where the bound was crossed, in bytes from the start of the text; 0 for a subject.
	Offset int
}

// What a BoundError is about.
const (
	BoundText    = "the text"             // MaxText
	BoundRule    = "the rule"             // MaxRule
	BoundRules   = "the number of rules"  // MaxRules
	BoundSize    = "the size of patterns" // MaxSize
	BoundSubject = "the subject"          // MaxSubject
)

func (e *BoundError) Error() string {
	switch e.What {
	case BoundSubject:
		return fmt.Sprintf("the subject is longer than %d characters", e.Limit)
	case BoundRule:
		return fmt.Sprintf("ssl.principal.mapping.rules, offset %d: the rule is longer than %d characters: Kafka's own parser "+
			"overflows the JVM's stack from about 1,600, and the broker does not start", e.Offset, e.Limit)
	}
	return fmt.Sprintf("ssl.principal.mapping.rules, offset %d: %s is above %d", e.Offset, e.What, e.Limit)
}

// ItemError says which rule of a text has an error that knows nothing of its surroundings: a [*ReplacementError], or a
// *pattern.UnsupportedError or *pattern.TooLargeError.
type ItemError struct {
	// Offset is where the rule begins, in bytes from the start of the text.
	Offset int
	// Text is the rule, shortened.
	Text string
	// Err is the reason.
	Err error
}

func (e *ItemError) Error() string {
	return fmt.Sprintf("ssl.principal.mapping.rules, offset %d: rule %q: %v", e.Offset, e.Text, e.Err)
}

func (e *ItemError) Unwrap() error { return e.Err }

// UnpredictableError says that the principal of this subject depends on what only the broker's JVM knows.
type UnpredictableError struct {
	// Rule is the index in the list of the rule in question, or -1 if it is the subject by itself.
	Rule int
	// Reason is what cannot be known.
	Reason string
}

func (e *UnpredictableError) Error() string {
	if e.Rule < 0 {
		return "what Kafka makes of this subject cannot be told: " + e.Reason
	}
	return fmt.Sprintf("rule %d: what Kafka makes of this subject cannot be told: %s", e.Rule+1, e.Reason)
}

// excerpt shortens text for a message.
func excerpt(text string) string {
	const length = 60
	if len(text) <= length {
		return text
	}
	cut := length
	for cut > 0 && text[cut]&0xC0 == 0x80 { // inside a character
		cut--
	}
	return text[:cut] + "…"
}
