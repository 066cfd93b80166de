// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// A Part is a piece of what a rule's replacement stands for.
type Part struct {
	// Literal text, where Group is 0.
	Literal string
	// Group is the number of a capturing group, from 1.
	Group int
}

// Parts returns what the rule gives for a subject that its pattern matches once, as a whole. ok is false where that is
// more than literals and groups: the whole match ($0), or another letter case.
func (r Rule) Parts() (parts []Part, ok bool) {
	if r.Default || r.Case != None {
		return nil, false
	}
	read, err := parseReplacement(r.Replacement, r.Pattern)
	if err != nil {
		return nil, false
	}
	for _, p := range read {
		switch p.group {
		case literalPart:
			parts = append(parts, Part{Literal: p.literal})
		case 0:
			return nil, false
		default:
			parts = append(parts, Part{Group: p.group})
		}
	}
	return parts, true
}
