// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/signet-kafka/signet/test/stack"
)

// javaPair is two methods of the JMH benchmarks of broker/, measured in one run. ratio is how many times less Signet's
// takes.
type javaPair struct {
	name, signet, kafka string
	// unit is ns, ms, or octets that are allocated in each call.
	unit   string
	target float64
}

const allocated = "B/op"

// javaPairs compare the mapping file in the broker with Kafka's SslPrincipalMapper, and the authorizer, with all that it
// counts, with StandardAuthorizer. With 10 ACLs it may take 1.10 times as long, and load 200,000 in twice the time.
var javaPairs = []javaPair{
	{"java-lookup-last-of-10000", "subjectSignetLastOf10000", "subjectKafkaLastOf10000", "ns", 100},
	{"java-lookup-one", "subjectSignetOf1", "subjectKafkaOf1", "ns", 1},
	{"java-request-one", "requestSignetOf10000", "requestKafkaOf1", "ns", 1},
	{"java-authorizer-10", "authorizeSignetOf10", "authorizeKafkaOf10", "ns", 1 / 1.10},
	{"java-authorizer-10-allocated", "authorizeSignetOf10", "authorizeKafkaOf10", allocated, 0},
	{"java-authorizer-100000", "authorizeSignetOf100000", "authorizeKafkaOf100000", "ns", 200},
	{"java-authorizer-100000-allocated", "authorizeSignetOf100000", "authorizeKafkaOf100000", allocated, 0},
	{"java-authorizer-by-type-100000", "byTypeSignetOf100000", "byTypeKafkaOf100000", "ns", 200},
	{"java-authorizer-load-200000", "loadSignet200000", "loadKafka200000", "ms", 0.5},
}

const (
	// moreAllocated is how many octets a call may allocate more than Kafka's.
	moreAllocated = 48
	// authorizerMemory is what is kept for 200,000 ACLs, beside the ACLs, with the index and without.
	authorizerMemory = "java-authorizer-memory-200000"
	// authorizerMemoryTarget is how many times as much as StandardAuthorizer alone, which is a part of it.
	authorizerMemoryTarget = 3.0
)

// jmhResult is what JMH writes of a method.
type jmhResult struct {
	Benchmark        string
	PrimaryMetric    struct{ ScorePercentiles map[string]float64 }
	SecondaryMetrics map[string]struct{ ScorePercentiles map[string]float64 }
}

// measureJava runs JMH for the pairs whose name contains only, and writes a line each. It tells whether there were any.
func measureJava(ctx context.Context, only string, out io.Writer) (bool, error) {
	root, err := stack.Root()
	if err != nil {
		return false, err
	}
	var wanted []javaPair
	var methods []string
	for _, p := range javaPairs {
		if strings.Contains(p.name, only) {
			wanted = append(wanted, p)
			methods = append(methods, p.signet, p.kafka)
		}
	}
	memory := strings.Contains(authorizerMemory, only)
	if len(wanted) == 0 && !memory {
		return false, nil
	}
	if len(wanted) > 0 {
		var results []jmhResult
		if err := runJava(ctx, root, "jmh.json", &results, "-Dbench.args=("+strings.Join(methods, "|")+")$ -prof gc"); err != nil {
			return false, err
		}
		for _, p := range wanted {
			measured, err := p.line(results)
			if err != nil {
				return false, err
			}
			fmt.Fprintln(out, measured)
		}
	}
	if memory {
		var kept struct{ Kafka, Signet float64 }
		if err := runJava(ctx, root, "memory.json", &kept, "-Dbench.main=dev.signet.kafka.broker.bench.AclMemory"); err != nil {
			return false, err
		}
		ratio := kept.Signet / kept.Kafka
		fmt.Fprintln(out, line(authorizerMemory, "MiB", kept.Signet/(1<<20), kept.Kafka/(1<<20), ratio, authorizerMemoryTarget, ratio <= authorizerMemoryTarget))
	}
	return true, nil
}

// runJava runs a benchmark of broker/, which writes a file, and reads it.
func runJava(ctx context.Context, root, file string, into any, argument string) error {
	run := exec.CommandContext(ctx, "mvn", "--quiet", "--batch-mode", "-Pbench", "test-compile", "exec:exec", argument)
	run.Dir = filepath.Join(root, "broker")
	if said, err := run.CombinedOutput(); err != nil {
		return fmt.Errorf("java benchmark: %w\n%s", err, said)
	}
	text, err := os.ReadFile(filepath.Join(root, "broker", "target", file))
	if err != nil {
		return fmt.Errorf("java benchmark: %w", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

// line is the pair's line of the output.
func (p javaPair) line(results []jmhResult) (string, error) {
	value, baseline := p.score(results, p.signet), p.score(results, p.kafka)
	if value == 0 || baseline == 0 {
		return "", fmt.Errorf("jmh did not measure %s and %s", p.signet, p.kafka)
	}
	target := p.target
	if p.unit == allocated {
		target = baseline / (baseline + moreAllocated)
	}
	return line(p.name, p.unit, value, baseline, baseline/value, target, baseline/value >= target), nil
}

// score is what a method took in the pair's unit, the median of several; 0 if it was not measured.
func (p javaPair) score(results []jmhResult, method string) float64 {
	for _, r := range results {
		if r.Benchmark[strings.LastIndex(r.Benchmark, ".")+1:] != method {
			continue
		}
		switch p.unit {
		case allocated:
			return r.SecondaryMetrics["gc.alloc.rate.norm"].ScorePercentiles["50.0"]
		case "ms":
			// What is done once and takes long is disturbed by whoever else wants the processors: the quickest of several.
			return r.PrimaryMetric.ScorePercentiles["0.0"] / 1e6
		default:
			return r.PrimaryMetric.ScorePercentiles["50.0"]
		}
	}
	return 0
}
