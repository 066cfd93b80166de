// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// report is what Surefire writes of one class (surefire-test-report.xsd).
type report struct {
	Cases []struct {
		Name    string    `xml:"name,attr"`
		Class   string    `xml:"classname,attr"`
		Failure *struct{} `xml:"failure"`
		Error   *struct{} `xml:"error"`
		Skipped *struct{} `xml:"skipped"`
	} `xml:"testcase"`
}

// runMaven verifies a Maven module: it compiles, tests, checks the format and packages. A test's name is
// Class.method.
func runMaven(ctx context.Context, dir string, results Results, out io.Writer) error {
	if _, err := exec.LookPath("mvn"); err != nil {
		return errors.New("mvn is not on the PATH: install Maven and a JDK of version 17 or later (Debian: apt-get install maven)")
	}
	cmd := exec.CommandContext(ctx, "mvn", "--quiet", "--batch-mode", "clean", "verify")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, os.Stderr
	failed := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	files, err := filepath.Glob(filepath.Join(dir, "target", "surefire-reports", "TEST-*.xml"))
	if err != nil {
		return err
	}
	bad := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var r report
		if err := xml.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		passed := 0
		for _, c := range r.Cases {
			outcome := "pass"
			switch {
			case c.Failure != nil, c.Error != nil:
				outcome = "fail"
				bad++
			case c.Skipped != nil:
				outcome = "skip"
			default:
				passed++
			}
			results.Add(c.Class, javaTestName(c.Class, c.Name), outcome)
		}
		fmt.Fprintf(out, "   %4d of %4d passed  %s\n", passed, len(r.Cases), strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "TEST-"), ".xml"))
	}
	if failed != nil && bad == 0 {
		results.Add(filepath.Base(dir), "", "fail") // it did not compile, or the format is wrong
	}
	if failed == nil && len(files) == 0 {
		return fmt.Errorf("%s has no test reports", dir)
	}
	return nil
}

// javaTestName is Class.method, without the package and without the parameters of a parameterized test.
func javaTestName(class, method string) string {
	class = class[strings.LastIndex(class, ".")+1:]
	if end := strings.IndexAny(method, "([{ "); end > 0 {
		method = method[:end]
	}
	return class + "." + method
}
