// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Results are the outcomes of tests, by name.
type Results map[string][]string

// Add records an outcome: pass, fail or skip. A package that fails without a failing test counts as a test of its own.
func (r Results) Add(pkg, test, outcome string) {
	if test == "" {
		if outcome == "fail" {
			r[pkg] = append(r[pkg], outcome)
		}
		return
	}
	r[test] = append(r[test], outcome)
}

// Merge adds the outcomes of other tests.
func (r Results) Merge(other Results) {
	for name, outcomes := range other {
		r[name] = append(r[name], outcomes...)
	}
}

// Count counts the outcomes.
func (r Results) Count() (passed, failed, skipped int) {
	for _, outcomes := range r {
		for _, o := range outcomes {
			switch o {
			case "pass":
				passed++
			case "fail":
				failed++
			default:
				skipped++
			}
		}
	}
	return passed, failed, skipped
}

// rows are the ids that the table of guarantees must have, in order.
var rows = func() []string {
	var ids []string
	for _, section := range []struct {
		letter string
		count  int
	}{{"A", 8}, {"B", 6}, {"C", 6}, {"D", 10}, {"E", 5}, {"F", 4}, {"G", 5}} {
		for i := range section.count {
			ids = append(ids, fmt.Sprintf("%s%d", section.letter, i+1))
		}
	}
	return ids
}()

// testName recognises Go's tests and, as Class.method, Java's.
var testName = regexp.MustCompile("`((?:Test|Fuzz)[^`]*|[A-Z][A-Za-z]+Test\\.[a-z][A-Za-z0-9]*)`")

// CheckGuarantees compares the table `| id | guarantee | tests |` with what ran: every id is there once and in order,
// every named test ran and passed, and a row without tests says "not yet". It returns what is wrong.
func CheckGuarantees(table string, results Results) []string {
	var problems, ids []string
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !regexp.MustCompile(`^[A-G]\d+$`).MatchString(strings.TrimSpace(cells[0])) {
			continue
		}
		id := strings.TrimSpace(cells[0])
		ids = append(ids, id)
		names := testName.FindAllStringSubmatch(cells[2], -1)
		if len(names) == 0 && strings.TrimSpace(cells[2]) != "not yet" {
			problems = append(problems, fmt.Sprintf("%s names no test and does not say \"not yet\"", id))
		}
		for _, name := range names {
			outcomes := results[name[1]]
			if len(outcomes) == 0 {
				problems = append(problems, fmt.Sprintf("%s names %s, which did not run", id, name[1]))
			} else if slices.ContainsFunc(outcomes, func(o string) bool { return o != "pass" }) {
				problems = append(problems, fmt.Sprintf("%s names %s, which ended as %s", id, name[1], strings.Join(outcomes, ", ")))
			}
		}
	}
	if !slices.Equal(ids, rows) {
		problems = append(problems, fmt.Sprintf("the table has the rows %v, want %v", ids, rows))
	}
	return problems
}
