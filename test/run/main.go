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
	// node marks the tests that share a node with Signet on it.
	node bool
	// prepare returns more environment for the tests; nil where they need none.
	prepare func(ctx context.Context, root string) ([]string, error)
}

// lanes run side by side, each lane's suites in their order, and end at about the same time. The tests of the cluster, and the
// end-to-end tests, mostly wait for a node, which leaves the processors to plain Go. The tests with Kafka take the jar that
// the broker's make.
var lanes = [][]suite{
	{
		{name: "cluster", dir: "test/cluster", args: []string{"./..."}},
		{name: "e2e", dir: ".", args: []string{"-parallel=6", "./test/e2e/..."}, node: true},
		{name: "attack", dir: ".", args: []string{"-parallel=4", "./test/attack/..."}, node: true},
	},
	{
		{name: "broker", dir: "broker", maven: true},
		{name: "unit", dir: ".", args: []string{"./api/...", "./access/...", "./certs/...", "./charts/...", "./clientconfig/...", "./convert/...", "./declare/...", "./filter/...", "./cmd", "./cmd/kubectl-signet/...", "./internal/...", "./issuer/...", "./mutate/...", "./observe/...", "./principal/...", "./readiness/...", "./test/run/...", "./test/verify/..."}},
		{name: "images", dir: "images", args: []string{"./..."}},
		{name: "clients", dir: "test/cluster/components/clients/goclient", args: []string{"./..."}},
		{name: "api", dir: ".", args: []string{"./cmd/controller/...", "./cmd/webhook/..."}},
		{name: "kafka", dir: ".", args: []string{"-tags=kafka", "-run=TestKafka|TestDifferential|TestLetterCase|TestStack|TestRecordedRegressions", "./access", "./cmd/kubectl-signet/cli", "./issuer", "./observe", "./principal", "./principal/rules", "./test/authorizer"}, prepare: kafkaLibs},
		{name: "verifiers", dir: ".", args: []string{"-tags=verifiers", "-run=TestVerifiers", "./test/verify"}, prepare: built("envoy", "SIGNET_ENVOY")},
		{name: "mesh", dir: ".", args: []string{"-tags=mesh", "-run=TestMesh", "./filter"}, prepare: meshParts},
		{name: "stepca", dir: ".", args: []string{"-tags=stepca", "-run=TestStepCA", "./issuer"}, prepare: built("step-ca", "SIGNET_STEPCA")},
		{name: "controller", dir: ".", args: []string{"-tags=kafka", "-run=TestAgainstKafka", "./cmd/controller"}, prepare: kafkaLibs},
		{name: "demo", dir: ".", args: []string{"./test/demo/..."}},
	},
}

func main() {
	only := flag.String("only", "", "run one suite, and do not check the guarantees: "+strings.Join(names(), ", "))
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
		return errors.New("the tests start real Kubernetes nodes, which needs root for namespaces, mounts and iptables: run `sudo make test`, or what needs no root: go run ./test/run -only unit (nor do images, clients, broker, kafka, verifiers, mesh, stepca and api)")
	}
	results := Results{}
	start := time.Now()
	ran := false
	side, sideCtx := errgroup.WithContext(ctx)
	outcomes := make([]Results, len(lanes))
	for i, lane := range lanes {
		lane = slices.DeleteFunc(slices.Clone(lane), func(s suite) bool { return only != "" && only != s.name })
		ran = ran || len(lane) > 0
		outcomes[i] = Results{}
		side.Go(func() error { return runLane(sideCtx, root, lane, start, outcomes[i]) })
	}
	if err := side.Wait(); err != nil {
		return err
	}
	for _, o := range outcomes {
		results.Merge(o)
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

// names are those of the suites, in their order.
func names() (all []string) {
	for _, s := range slices.Concat(lanes...) {
		all = append(all, s.name)
	}
	return all
}

// runLane runs suites one after the other. Those that need a node share one, which goes down after the last of them, and
// with this process however that ends.
func runLane(ctx context.Context, root string, suites []suite, start time.Time, results Results) (err error) {
	var environment []string
	for _, s := range suites {
		fmt.Printf("== %s (%s after start)\n", s.name, time.Since(start).Round(time.Second))
		var more []string
		switch {
		case s.node && environment == nil:
			node, err := stack.Up(ctx, stack.Options{Name: fmt.Sprintf("test-%d", os.Getpid()), Mesh: true, Progress: os.Stderr})
			if err != nil {
				return fmt.Errorf("prepare %s: %w", s.name, err)
			}
			defer func() { err = errors.Join(err, node.Down(context.WithoutCancel(ctx))) }()
			environment = []string{stack.EnvCluster + "=" + node.Name, stack.EnvInstalled + "=true"}
			more = environment
		case s.node:
			more = environment
		case s.prepare != nil:
			if more, err = s.prepare(ctx, root); err != nil {
				return fmt.Errorf("prepare %s: %w", s.name, err)
			}
		}
		if err := s.run(ctx, root, more, results); err != nil {
			return err
		}
	}
	return nil
}

// event is one line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// run runs the suite, printing a line for each package, for each end-to-end test, and all output of what failed.
func (s suite) run(ctx context.Context, root string, environment []string, results Results) error {
	if s.maven {
		return runMaven(ctx, filepath.Join(root, s.dir), results, os.Stdout)
	}
	// Packages share two cores and one Kafka; the end-to-end tests bring their progress on standard error.
	// Nobody debugs these binaries; without the tables for that they are linked in half the time.
	args := slices.Concat([]string{"test", "-json", "-count=1", "-timeout=60m", "-p=2", "-ldflags=-w"}, stack.BuildFlags, s.args)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(root, s.dir)
	cmd.Env = slices.Concat(os.Environ(), stack.BuildEnv, environment)
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
	read(out, results, s.node || s.name == "cluster")
	if err := cmd.Wait(); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// built returns how to make something that test/cluster knows how to make, and to name its path in a variable of the
// environment.
func built(what, variable string) func(ctx context.Context, root string) ([]string, error) {
	return func(ctx context.Context, root string) ([]string, error) {
		cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"run"}, stack.BuildFlags, []string{".", what})...)
		cmd.Env = slices.Concat(os.Environ(), stack.BuildEnv)
		cmd.Dir, cmd.Stderr = filepath.Join(root, "test", "cluster"), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", what, err)
		}
		return []string{variable + "=" + strings.TrimSpace(string(out))}, nil
	}
}

// meshParts names Kafka's jars and an Envoy.
func meshParts(ctx context.Context, root string) ([]string, error) {
	environment, err := built("kafka-libs", "SIGNET_KAFKA_LIBS")(ctx, root)
	if err != nil {
		return nil, err
	}
	envoy, err := built("envoy", "SIGNET_ENVOY")(ctx, root)
	return append(environment, envoy...), err
}

// kafkaLibs names the jars from which tests start brokers of their own: Kafka's, and Signet's for brokers, which is
// built if there is none yet.
func kafkaLibs(ctx context.Context, root string) ([]string, error) {
	environment, err := built("kafka-libs", "SIGNET_KAFKA_LIBS")(ctx, root)
	if err != nil {
		return nil, err
	}
	streams, err := built("streams-libs", "SIGNET_STREAMS_LIBS")(ctx, root)
	if err != nil {
		return nil, err
	}
	environment = append(environment, streams...)
	jar := filepath.Join(root, "broker", "target", "signet-kafka-broker.jar")
	if _, err := os.Stat(jar); err != nil {
		build := exec.CommandContext(ctx, "mvn", "--quiet", "--batch-mode", "package", "-DskipTests")
		build.Dir, build.Stdout, build.Stderr = filepath.Join(root, "broker"), os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build broker/: %w", err)
		}
	}
	return append(environment, "SIGNET_BROKER_JAR="+jar), nil
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
