// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheckGuarantees(t *testing.T) {
	complete := func(first string) string {
		var table strings.Builder
		table.WriteString("| id | guarantee | tests |\n|---|---|---|\n")
		for i, id := range rows {
			tests := "not yet"
			if i == 0 {
				tests = first
			}
			fmt.Fprintf(&table, "| %s | something | %s |\n", id, tests)
		}
		return table.String()
	}
	results := Results{"TestA": {"pass"}, "TestB": {"skip"}, "TestC": {"pass", "fail"}, "TestA/sub case": {"pass"}}
	for _, c := range []struct{ name, table, problem string }{
		{"kept", complete("`TestA`, `TestA/sub case`"), ""},
		{"a test that does not exist", complete("`TestNone`"), "A1 names TestNone, which did not run"},
		{"a test that was skipped", complete("`TestB`"), "A1 names TestB, which ended as skip"},
		{"a test that failed once", complete("`TestC`"), "A1 names TestC, which ended as pass, fail"},
		{"no test", complete("soon"), `A1 names no test`},
		{"a row is missing", strings.Replace(complete("`TestA`"), "| B3 |", "| Z3 |", 1), "the table has the rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems := CheckGuarantees(c.table, results)
			if got := strings.Join(problems, "; "); c.problem == "" && got != "" || !strings.Contains(got, c.problem) {
				t.Errorf("CheckGuarantees = %q, want %q", got, c.problem)
			}
		})
	}
}

func TestCountIncludesPackagesThatDoNotBuild(t *testing.T) {
	r := Results{}
	r.Add("pkg", "TestA", "pass")
	r.Add("pkg", "", "pass")
	r.Add("broken", "", "fail")
	if passed, failed, skipped := r.Count(); passed != 1 || failed != 1 || skipped != 0 {
		t.Errorf("Count = %d, %d, %d", passed, failed, skipped)
	}
}
