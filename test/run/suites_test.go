// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/test/stack"
)

// TestEveryPackageIsInASuite: each file of Go tests is run by exactly one suite, that of its build tag where it has one, and
// a suite that selects tests by name selects all of those.
func TestEveryPackageIsInASuite(t *testing.T) {
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != root || entry.Name() == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			files++
			checkSuites(t, root, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("only %d files of tests were found below %s", files, root)
	}
}

func checkSuites(t *testing.T, root, path string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return
	}
	name, err := filepath.Rel(root, path)
	if err != nil {
		t.Fatal(err)
	}
	tag := buildTag(file)
	var runs []string
	for _, s := range slices.Concat(lanes...) {
		if s.maven || s.option("-tags=") != tag || !s.has(root, filepath.Dir(path)) {
			continue
		}
		runs = append(runs, s.name)
		selects := regexp.MustCompile(s.option("-run="))
		for _, test := range tests(file) {
			if !selects.MatchString(test) {
				t.Errorf("%s: suite %s does not select %s", name, s.name, test)
			}
		}
	}
	if len(runs) != 1 {
		t.Errorf("%s (build tag %q) is run by the suites %q, want one", name, tag, runs)
	}
}

// option returns the value of an option of the suite's arguments ("-tags="), or "".
func (s suite) option(name string) string {
	for _, arg := range s.args {
		if value, ok := strings.CutPrefix(arg, name); ok {
			return value
		}
	}
	return ""
}

// has tells whether the suite's patterns match the package in a directory of its module.
func (s suite) has(root, dir string) bool {
	module := filepath.Join(root, s.dir)
	for d := dir; d != module; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil || d == filepath.Dir(d) {
			return false // it is in another module
		}
	}
	pkg, err := filepath.Rel(module, dir)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(s.args, func(pattern string) bool {
		pattern, ok := strings.CutPrefix(pattern, "./")
		parent, all := strings.CutSuffix(pattern, "...")
		return ok && (pattern == pkg || all && strings.HasPrefix(pkg+"/", parent))
	})
}

// buildTag is the one tag that the file's //go:build line asks for, or "". A constraint on the system is none.
func buildTag(file *ast.File) string {
	for _, group := range file.Comments {
		for _, c := range group.List {
			if c.Pos() > file.Package || !constraint.IsGoBuild(c.Text) {
				continue
			}
			if expr, err := constraint.Parse(c.Text); err == nil {
				if tag, ok := expr.(*constraint.TagExpr); ok && !slices.Contains([]string{"linux", "unix"}, tag.Tag) {
					return tag.Tag
				}
			}
		}
	}
	return ""
}

// tests are the names of a file's test functions.
func tests(file *ast.File) (names []string) {
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
			names = append(names, f.Name.Name)
		}
	}
	return names
}
