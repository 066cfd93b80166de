// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what is done for every certificate and every pod, each as a ratio to a baseline that is
// measured in turn with it, so that the machine's own speed cancels out: `make bench` is this command.
//
// One line each: bench NAME value=V unit=U baseline=B ratio=R target=T ok|short. value and baseline are medians, or of what
// is done once a measurement and its stated bound. The benchmarks podcertificates, mutate-api, mutate-users-10000,
// users-10000 and acl start an API server, the last one also a Kafka broker, and take minutes.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// pair is a benchmark and its baseline.
type pair struct {
	name, unit string
	subject    func(b *testing.B)
	baseline   func(b *testing.B)
	// target is the upper bound of the ratio of the subject's time to the baseline's.
	target float64
}

func main() {
	only := flag.String("run", "", "run the benchmarks whose name contains this")
	rounds := flag.Int("rounds", 5, "how often subject and baseline are measured, in turn")
	users := flag.Int("users", 10_000, "KafkaUsers of the benchmarks users-10000, mutate-users-10000 and, the smaller one a tenth of it, acl-first-pass")
	testing.Init()
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if flag.Arg(0) == accessMode {
		err = runAccessControllers(ctx, flag.Args()[1:])
	} else {
		err = run(ctx, *only, *rounds, *users)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// heavy is a measurement that starts an API server; it writes a line for each name that contains only.
type heavy struct {
	names []string
	run   func(ctx context.Context, only string, out io.Writer) error
}

func run(ctx context.Context, only string, rounds, users int) error {
	log.SetLogger(logr.Discard())
	ran := false
	signing, err := signPairs(ctx)
	if err != nil {
		return err
	}
	for _, p := range signing {
		if strings.Contains(p.name, only) {
			ran = true
			measured, err := p.measure()
			if err != nil {
				return err
			}
			fmt.Println(measured)
		}
	}
	lookup, err := lookupPairs()
	if err != nil {
		return err
	}
	for _, p := range lookup {
		if strings.Contains(p.name, only) {
			ran = true
			fmt.Println(p.measure(rounds))
		}
	}
	alone, err := measureMutation(only, os.Stdout)
	if err != nil {
		return err
	}
	java, err := measureJava(ctx, only, os.Stdout)
	if err != nil {
		return err
	}
	people, acls := population(users), accessPopulation{few: max(users/10, 1), all: users}
	for _, h := range []heavy{
		{[]string{podCertificates, podCertificatesVersusCertManager}, measurePodCertificates},
		{apiNames(), measureAdmission},
		{[]string{people.webhookMemory()}, people.measureWebhookMemory},
		{[]string{people.memory(), people.calls()}, people.measure},
		{acls.names(), acls.measureAccess},
	} {
		if slices.ContainsFunc(h.names, func(name string) bool { return strings.Contains(name, only) }) {
			ran = true
			if err := h.run(ctx, only, os.Stdout); err != nil {
				return fmt.Errorf("%s: %w", h.names[0], err)
			}
		}
	}
	if !ran && !alone && !java {
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
		subjects, baselines, ratios = append(subjects, s), append(baselines, b), append(ratios, s/b)
	}
	ratio := median(ratios)
	return line(p.name, p.unit, median(subjects)/1000, median(baselines)/1000, ratio, p.target, ratio <= p.target)
}

// line is a line of the output.
func line(name, unit string, value, baseline, ratio, target float64, kept bool) string {
	verdict := "short"
	if kept {
		verdict = "ok"
	}
	return fmt.Sprintf("bench %s value=%.1f unit=%s baseline=%.1f ratio=%.2f target=%.2f %s", name, value, unit, baseline, ratio, target, verdict)
}

// work is what is done once, and its baseline; the target is the least ratio of their rates.
type work struct {
	name, unit        string
	subject, baseline func() error
	target            float64
}

// workTime is how long subject and baseline are done in turn, batch so many times each.
const (
	workTime = 8 * time.Second
	batch    = 25
)

// measure returns the line. The time is what this process spends on one processor, the garbage collector included: the
// rate is that of one core, and does not depend on who else wants it.
func (w work) measure() (string, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // else the garbage collector spins on the core that is left over
	var took [2][]float64
	for begin := time.Now(); time.Since(begin) < workTime; {
		for i, f := range []func() error{w.subject, w.baseline} {
			before, err := processorTime()
			if err != nil {
				return "", err
			}
			for range batch {
				if err := f(); err != nil {
					return "", fmt.Errorf("%s: %w", w.name, err)
				}
			}
			after, err := processorTime()
			if err != nil {
				return "", err
			}
			took[i] = append(took[i], (after-before).Seconds()/batch)
		}
	}
	value, baseline := 1/median(took[0]), 1/median(took[1])
	return line(w.name, w.unit, value, baseline, value/baseline, w.target, value/baseline >= w.target), nil
}

// processorTime is what all threads of this process have used.
func processorTime() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("read the processor time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

func nanoseconds(f func(*testing.B)) float64 {
	r := testing.Benchmark(f)
	return float64(r.T.Nanoseconds()) / float64(r.N)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
