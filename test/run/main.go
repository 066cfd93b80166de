// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Command run runs every test of the project, module by module, prints what fails and how many tests ran, and checks
// docs/guarantees.md against what it saw: `make test` is this command.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/signet-kafka/signet/test/stack"
)

// suite is one invocation of go test.
type suite struct {
	name, dir string
	args      []string
	// maven marks a Maven module, whose tests are not Go's.
	maven bool
	// prepare returns more environment for the tests; nil where they need none.
	prepare func(ctx context.Context, root string) ([]string, error)
}

// stages run one after the other, in the order of what they need; the lanes of a stage side by side, each lane's suites
// in their order. The tests of the cluster mostly wait for a node, which leaves the processors to plain Go and to Kafka.
var stages = [][][]suite{
	{
		{{name: "cluster", dir: "test/cluster", args: []string{"./..."}}},
		{
			{name: "unit", dir: ".", args: []string{"./api/...", "./access/...", "./certs/...", "./charts/...", "./clientconfig/...", "./cmd", "./cmd/kubectl-signet/...", "./cmd/webhook/...", "./internal/...", "./issuer/...", "./mutate/...", "./principal/...", "./readiness/...", "./test/run/..."}},
			{name: "images", dir: "images", args: []string{"./..."}},
			{name: "clients", dir: "test/cluster/components/clients/goclient", args: []string{"./..."}},
			{name: "broker", dir: "broker", maven: true},
			{name: "kafka", dir: ".", args: []string{"-tags=kafka", "-run=TestKafka|TestDifferential|TestLetterCase|TestStack|TestRecordedRegressions", "./access", "./principal", "./principal/rules"}, prepare: kafkaLibs},
		},
	},
	{{
		{name: "api", dir: ".", args: []string{"./cmd/controller/..."}},
		{name: "e2e", dir: ".", args: []string{"./test/e2e/..."}},
	}},
}

func main() {
	only := flag.String("only", "", "run one suite: unit, images, clients, cluster, broker, kafka, api or e2e; guarantees are then not checked")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "test:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string) error {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	if only == "" && os.Geteuid() != 0 {
		return errors.New("the tests start real Kubernetes nodes, which needs root for namespaces, mounts and iptables: run `sudo make test`, or what needs no root: go run ./test/run -only unit (images, clients, broker, kafka and api need none either)")
	}
	results := Results{}
	start := time.Now()
	ran := false
	for _, lanes := range stages {
		side, stage := errgroup.WithContext(ctx)
		outcomes := make([]Results, len(lanes))
		for i, lane := range lanes {
			lane = slices.DeleteFunc(slices.Clone(lane), func(s suite) bool { return only != "" && only != s.name })
			ran = ran || len(lane) > 0
			outcomes[i] = Results{}
			side.Go(func() error {
				for _, s := range lane {
					fmt.Printf("== %s (%s after start)\n", s.name, time.Since(start).Round(time.Second))
					if err := s.run(stage, root, outcomes[i]); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := side.Wait(); err != nil {
			return err
		}
		for _, o := range outcomes {
			results.Merge(o)
		}
	}
	if !ran {
		return fmt.Errorf("no suite %q", only)
	}
	var problems []string
	if only == "" {
		table, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
		if err != nil {
			return err
		}
		problems = CheckGuarantees(string(table), results)
	}
	for _, p := range problems {
		fmt.Println("guarantees:", p)
	}
	passed, failed, skipped := results.Count()
	fmt.Printf("== done after %s\n%d passed, %d failed, %d skipped\n", time.Since(start).Round(time.Second), passed, failed, skipped)
	if failed+len(problems) > 0 {
		return fmt.Errorf("%d tests failed, %d guarantees are not kept", failed, len(problems))
	}
	return nil
}

// event is one line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// run runs the suite, printing a line for each package, for each end-to-end test, and all output of what failed.
func (s suite) run(ctx context.Context, root string, results Results) error {
	if s.maven {
		return runMaven(ctx, filepath.Join(root, s.dir), results, os.Stdout)
	}
	// Packages share two cores and one Kafka; the end-to-end tests bring their progress on standard error.
	args := slices.Concat([]string{"test", "-json", "-count=1", "-timeout=60m", "-p=2"}, stack.BuildFlags, s.args)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(root, s.dir)
	cmd.Env = slices.Concat(os.Environ(), stack.BuildEnv)
	if s.prepare != nil {
		environment, err := s.prepare(ctx, root)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", s.name, err)
		}
		cmd.Env = append(cmd.Env, environment...)
	}
	// The test process removes its cluster when it is interrupted; killing it would leave that to the cluster's guard.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	read(out, results, s.name == "e2e" || s.name == "cluster")
	if err := cmd.Wait(); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// kafkaLibs names the jars from which tests start brokers of their own: Kafka's, and Signet's for brokers, which is
// built if there is none yet.
func kafkaLibs(ctx context.Context, root string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"run"}, stack.BuildFlags, []string{".", "kafka-libs"})...)
	cmd.Env = slices.Concat(os.Environ(), stack.BuildEnv)
	cmd.Dir, cmd.Stderr = filepath.Join(root, "test", "cluster"), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	jar := filepath.Join(root, "broker", "target", "signet-kafka-broker.jar")
	if _, err := os.Stat(jar); err != nil {
		build := exec.CommandContext(ctx, "mvn", "--quiet", "--batch-mode", "package", "-DskipTests")
		build.Dir, build.Stdout, build.Stderr = filepath.Join(root, "broker"), os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build broker/: %w", err)
		}
	}
	return []string{"SIGNET_KAFKA_LIBS=" + strings.TrimSpace(string(out)), "SIGNET_BROKER_JAR=" + jar}, nil
}

// read follows go test -json.
func read(out io.Reader, results Results, verbose bool) {
	kept := map[string]*strings.Builder{}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if line == "" && err != nil {
			return
		}
		var e event
		if json.Unmarshal([]byte(line), &e) != nil {
			fmt.Print(line)
			continue
		}
		name := e.Package + "." + e.Test
		switch e.Action {
		case "output", "build-output":
			if e.Action == "build-output" {
				name = e.ImportPath + "."
			}
			if kept[name] == nil {
				kept[name] = &strings.Builder{}
			}
			fmt.Fprint(kept[name], e.Output)
			// Lines that no test wrote are the progress of a package's set-up.
			if verbose && e.Test == "" && e.Action == "output" && !strings.HasPrefix(e.Output, "ok ") && e.Output != "PASS\n" && e.Output != "FAIL\n" {
				fmt.Print(e.Output)
			}
		case "pass", "fail", "skip":
			results.Add(e.Package, e.Test, e.Action)
			if e.Test == "" && e.Action != "skip" || verbose && e.Action != "pass" || verbose && !strings.Contains(e.Test, "/") {
				fmt.Printf("   %-4s %7.1fs  %s %s\n", e.Action, e.Elapsed, strings.TrimPrefix(e.Package, "github.com/signet-kafka/signet/"), e.Test)
			}
			if e.Action == "fail" && kept[name] != nil && (e.Test != "" || !verbose) {
				fmt.Print(kept[name])
			}
			delete(kept, name)
		case "build-fail":
			if output := kept[e.ImportPath+"."]; output != nil {
				fmt.Print(output)
			}
		}
	}
}
