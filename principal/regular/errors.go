// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

import "fmt"

// TooComplexError says that a question was not decided because it exceeds a bound. Callers refuse what they asked
// about: the answer is unknown, not negative.
type TooComplexError struct {
	// What was counted, in the plural, such as "states of the automaton".
	What string
	// Limit is the bound that was exceeded.
	Limit int
}

func (e *TooComplexError) Error() string {
	return fmt.Sprintf("too complex to decide: more than %d %s; write a simpler expression, or several", e.Limit, e.What)
}

// UndecidedError says that two functions have common words and that it was not decided, within the bounds, whether
// their outputs agree on all of them. Callers must take it for a difference.
type UndecidedError struct {
	// Witness is a shortest word of both functions; their outputs may or may not be equal on it.
	Witness string
}

func (e *UndecidedError) Error() string {
	return fmt.Sprintf("both match %q, and it is too complex to decide whether they always agree; "+
		"write simpler expressions", e.Witness)
}

// Reason says why NewFunction refuses an expression with its template.
type Reason string

// The reasons of a FunctionError.
const (
	// ReasonAmbiguous: some word, the Witness, is matched in two ways, so that the groups are not determined (and a
	// backtracking matcher can take exponential time).
	ReasonAmbiguous Reason = "ambiguous"
	// ReasonDead: a part of the expression can never match (see Language.HasDeadParts).
	ReasonDead Reason = "dead part"
	// ReasonGroupMissing: the template refers to a group that the expression does not have.
	ReasonGroupMissing Reason = "group missing"
	// ReasonGroupRepeated: the template refers to a group twice.
	ReasonGroupRepeated Reason = "group used twice"
	// ReasonGroupNested: a referenced group stands inside a repetition, an alternative or another referenced group.
	ReasonGroupNested Reason = "group nested"
	// ReasonInnerAnchor: \A or \z stands elsewhere than at the edges of an expression whose groups are referenced.
	ReasonInnerAnchor Reason = "inner anchor"
	// ReasonLiteral: a literal of the template is not UTF-8.
	ReasonLiteral Reason = "literal not UTF-8"
)

// FunctionError says that an expression and a template do not make a function that this package can decide about.
type FunctionError struct {
	Reason Reason
	// Group is the number of the group at fault, 0 if none is.
	Group int
	// Witness is a word that shows the fault, if Reason is ReasonAmbiguous.
	Witness string
}

func (e *FunctionError) Error() string {
	switch e.Reason {
	case ReasonAmbiguous:
		return fmt.Sprintf("%q can be matched in more than one way: "+
			"write the expression so that each part ends where the next one must begin", e.Witness)
	case ReasonDead:
		return "a part of the expression can never match: remove it"
	case ReasonGroupMissing:
		return fmt.Sprintf("the template refers to group %d, which the expression does not have", e.Group)
	case ReasonGroupRepeated:
		return fmt.Sprintf("the template refers to group %d more than once: refer to each group once", e.Group)
	case ReasonGroupNested:
		return fmt.Sprintf("group %d is inside a repetition, an alternative or another group that the template refers to: "+
			"move it to the top level", e.Group)
	case ReasonInnerAnchor:
		return `\A or \z inside the expression: put them only at its beginning and its end`
	case ReasonLiteral:
		return "a literal of the template is not valid UTF-8"
	}
	return string(e.Reason)
}
