// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what is done for every certificate and every pod, each as a ratio to a baseline that is
// measured in turn with it, so that the machine's own speed cancels out: `make bench` is this command.
//
// One line each: bench NAME value=V unit=U baseline=B ratio=R target=T ok|short. value and baseline are medians.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// pair is a benchmark and its baseline.
type pair struct {
	name, unit string
	subject    func(b *testing.B)
	baseline   func(b *testing.B)
	// ratio of the subject's to the baseline's time or, with rate, of their rates; target is its bound: an upper one for
	// times, a lower one for rates.
	rate   bool
	target float64
}

func main() {
	only := flag.String("run", "", "run the benchmarks whose name contains this")
	rounds := flag.Int("rounds", 5, "how often subject and baseline are measured, in turn")
	testing.Init()
	flag.Parse()
	if err := run(context.Background(), *only, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, rounds int) error {
	log.SetLogger(logr.Discard())
	signing, err := signPairs(ctx)
	if err != nil {
		return err
	}
	mutation, err := mutatePairs()
	if err != nil {
		return err
	}
	lookup, err := lookupPairs()
	if err != nil {
		return err
	}
	ran := false
	for _, p := range slices.Concat(signing, mutation, lookup) {
		if strings.Contains(p.name, only) {
			ran = true
			fmt.Println(p.measure(rounds))
		}
	}
	java, err := measureJava(ctx, only, os.Stdout)
	if err != nil {
		return err
	}
	if !ran && !java {
		return fmt.Errorf("no benchmark %q", only)
	}
	return nil
}

// measure runs subject and baseline in turn, so that both see the same machine.
func (p pair) measure(rounds int) string {
	var subjects, baselines, ratios []float64
	for range rounds {
		s := nanoseconds(p.subject)
		b := nanoseconds(p.baseline)
		subjects, baselines = append(subjects, s), append(baselines, b)
		if p.rate {
			ratios = append(ratios, b/s)
		} else {
			ratios = append(ratios, s/b)
		}
	}
	value, baseline, ratio := median(subjects), median(baselines), median(ratios)
	kept := ratio <= p.target
	if p.rate {
		value, baseline, kept = 1e9/value, 1e9/baseline, ratio >= p.target
	} else {
		value, baseline = value/1000, baseline/1000
	}
	verdict := "short"
	if kept {
		verdict = "ok"
	}
	return fmt.Sprintf("bench %s value=%.1f unit=%s baseline=%.1f ratio=%.2f target=%.2f %s", p.name, value, p.unit, baseline, ratio, p.target, verdict)
}

func nanoseconds(f func(*testing.B)) float64 {
	r := testing.Benchmark(f)
	return float64(r.T.Nanoseconds()) / float64(r.N)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
