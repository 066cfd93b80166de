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

// javaPair is two methods of the JMH benchmark PrincipalLookup, measured in one run. ratio is how many times faster
// Signet's is.
type javaPair struct {
	name, signet, kafka string
	target              float64
}

// javaPairs compare the mapping file in the broker with Kafka's SslPrincipalMapper.
var javaPairs = []javaPair{
	{"java-lookup-last-of-10000", "subjectSignetLastOf10000", "subjectKafkaLastOf10000", 100},
	{"java-lookup-one", "subjectSignetOf1", "subjectKafkaOf1", 1},
	{"java-request-one", "requestSignetOf10000", "requestKafkaOf1", 1},
}

// measureJava runs JMH for the pairs whose name contains only, and writes a line each. It tells whether there were any.
func measureJava(ctx context.Context, only string, out io.Writer) (bool, error) {
	var wanted []javaPair
	var methods []string
	for _, p := range javaPairs {
		if strings.Contains(p.name, only) {
			wanted = append(wanted, p)
			methods = append(methods, p.signet, p.kafka)
		}
	}
	if len(wanted) == 0 {
		return false, nil
	}
	root, err := stack.Root()
	if err != nil {
		return false, err
	}
	run := exec.CommandContext(ctx, "mvn", "--quiet", "--batch-mode", "-Pbench", "test-compile", "exec:exec", "-Dbench.args=("+strings.Join(methods, "|")+")$")
	run.Dir = filepath.Join(root, "broker")
	if said, err := run.CombinedOutput(); err != nil {
		return false, fmt.Errorf("jmh: %w\n%s", err, said)
	}
	text, err := os.ReadFile(filepath.Join(root, "broker", "target", "jmh.json"))
	if err != nil {
		return false, err
	}
	var results []struct {
		Benchmark     string
		PrimaryMetric struct{ ScorePercentiles map[string]float64 }
	}
	if err := json.Unmarshal(text, &results); err != nil {
		return false, fmt.Errorf("read jmh's result: %w", err)
	}
	medians := map[string]float64{}
	for _, r := range results {
		medians[r.Benchmark[strings.LastIndex(r.Benchmark, ".")+1:]] = r.PrimaryMetric.ScorePercentiles["50.0"]
	}
	for _, p := range wanted {
		value, baseline := medians[p.signet], medians[p.kafka]
		if value == 0 || baseline == 0 {
			return false, fmt.Errorf("jmh did not measure %s and %s", p.signet, p.kafka)
		}
		verdict := "short"
		if baseline/value >= p.target {
			verdict = "ok"
		}
		fmt.Fprintf(out, "bench %s value=%.1f unit=ns baseline=%.1f ratio=%.2f target=%.2f %s\n", p.name, value, baseline, baseline/value, p.target, verdict)
	}
	return true, nil
}
