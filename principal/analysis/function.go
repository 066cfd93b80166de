// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/signet-kafka/signet/principal/regular"
	"github.com/signet-kafka/signet/principal/rules"
)

// A function is what a rule gives as a function of the subject, before the case of letters is changed.
type function struct {
	*regular.Function
	// exact tells that no letter's case is changed.
	exact bool
}

// newFunction returns what a rule other than DEFAULT gives. It errs where that is more than groups and literals.
func newFunction(rule rules.Rule) (*function, error) {
	if text, ok := rule.Pattern.Literal(); ok {
		result, err := rules.List{rule}.Principal(text)
		if err != nil {
			return nil, err
		}
		literal, err := regular.NewFunction(regexp.QuoteMeta(text), []regular.Part{{Literal: result.Name}})
		return &function{literal, true}, err
	}
	if !rule.Pattern.Anchored() {
		return nil, errors.New("its pattern is not anchored as ^…$")
	}
	plain := rule
	plain.Case = rules.None
	expression := rule.Pattern.GoSyntax()
	var parts []regular.Part
	read, ok := plain.Parts()
	switch {
	case ok:
		for _, part := range read {
			parts = append(parts, regular.Part(part))
		}
	case rule.Replacement == "$0":
		// The whole subject is a group; of several alternatives, which have anchors each, that is refused.
		expression = `\A(` + strings.TrimSuffix(strings.TrimPrefix(expression, `\A`), `\z`) + `)\z`
		parts = []regular.Part{{Group: 1}}
	default:
		return nil, errors.New("its replacement has $0 and other things: write it with groups from $1 on")
	}
	made, err := regular.NewFunction(expression, parts)
	if err != nil {
		return nil, err
	}
	if word, some := made.Outputs().Shortest(); some && !slices.ContainsFunc(parts, func(p regular.Part) bool { return p.Group > 0 }) {
		// A constant has its case changed here, so that it compares with other names as they are in the end.
		constant, err := rules.Exact("CN=x", word)
		if err != nil {
			return nil, err
		}
		constant.Case = rule.Case
		result, err := rules.List{constant}.Principal("CN=x")
		if err != nil {
			return nil, err
		}
		made, err = regular.NewFunction(expression, []regular.Part{{Literal: result.Name}})
		return &function{made, true}, err
	}
	return &function{made, keepsCase(rule.Case, made.Outputs())}, nil
}

// keepsCase tells whether a change of case leaves names as they are; only of ASCII it is said that it does.
func keepsCase(c rules.Case, names *regular.Language) bool {
	var kept string
	switch c {
	case rules.None:
		return true
	case rules.Lower:
		kept = `[^A-Z\x{80}-\x{10FFFF}]*`
	case rules.Upper:
		kept = `[^a-z\x{80}-\x{10FFFF}]*`
	}
	language, err := regular.Compile(kept)
	if err != nil {
		return false
	}
	_, covered, err := regular.Covered(names, language)
	return err == nil && covered
}

// principalOf returns the principal that a rule alone gives a subject.
func principalOf(rule rules.Rule, subject string) (string, error) {
	result, err := rules.List{rule}.Principal(subject)
	if err != nil {
		return "", fmt.Errorf("rule %s: subject %q: %w", rule, subject, err)
	}
	return "User:" + result.Name, nil
}

// reason says in the words of a rule why package regular did not answer.
func reason(err error) string {
	var complicated *regular.TooComplexError
	var undecided *regular.UndecidedError
	var refused *regular.FunctionError
	switch {
	case errors.As(err, &complicated):
		return complicated.Error() // without the expression, which the list has
	case errors.As(err, &undecided):
		return "it would take too long; write simpler patterns"
	case !errors.As(err, &refused):
		return err.Error()
	}
	switch refused.Reason {
	case regular.ReasonInnerAnchor:
		return "its pattern has several alternatives with ^ and $ each: write a rule for each"
	case regular.ReasonGroupRepeated:
		return fmt.Sprintf("its replacement has group %d more than once", refused.Group)
	case regular.ReasonGroupNested:
		return fmt.Sprintf("group %d is inside a repetition, an alternative or another group that its replacement has: "+
			"move it to the top level", refused.Group)
	}
	return refused.Error()
}

// ambiguous returns the subject that a pattern matches in two ways, if that is the reason.
func ambiguous(err error) string {
	var refused *regular.FunctionError
	if errors.As(err, &refused) {
		return refused.Witness
	}
	return ""
}
