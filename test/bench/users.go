// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// population is a number of KafkaUsers, in 100 namespaces.
type population int

func (n population) memory() string { return fmt.Sprintf("users-%d-memory", n) }
func (n population) calls() string  { return fmt.Sprintf("users-%d-calls", n) }

const (
	userNamespaces = 100

	// memoryBound is the resident memory of the controller, in MiB.
	memoryBound = 1536
	// callsBound is how many calls of the API server a minute the controller may make while nothing is due: it opens each
	// of its watches anew every 5 to 10 minutes, and that is all. A renewal by cert-manager, of which 10,000 users with
	// certificates for 6 hours have 42 a minute, comes on top.
	callsBound = 10
	// quiet is how long the controller is watched once nothing happens any more.
	quiet = 2 * time.Minute
)

// measure makes the KafkaUsers, lets the controller make all that belongs to them (Certificates,
// ConfigMaps, principals, status; no Kafka answers, and there is no cert-manager to sign), and reports its memory and the
// calls that it makes when it is done.
func (n population) measure(ctx context.Context, only string, out io.Writer) (err error) {
	p, err := newPlane(ctx, "users")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Down(context.WithoutCancel(ctx))) }()
	controller, err := p.startController(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, controller.stop()) }()
	begin := time.Now()
	if err := n.make(ctx, p, nil); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d KafkaUsers after %s\n", n, time.Since(begin).Round(time.Second))
	calls := func() (float64, error) { return controller.scrape(ctx, "rest_client_requests_total") }
	before := 0.0
	err = controller.until(ctx, "the controller comes to rest", 10*time.Second, 30*time.Minute, func() (bool, error) {
		now, err := calls()
		rested := before > float64(n) && now-before <= callsBound
		before = now
		return rested, err
	})
	if err != nil {
		return err
	}
	if err := n.check(ctx, p); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "at rest after %s and %.0f calls\n", time.Since(begin).Round(time.Second), before)
	first, err := p.serverCalls(ctx)
	if err != nil {
		return err
	}
	if before, err = calls(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(quiet):
	}
	after, err := calls()
	if err != nil {
		return err
	}
	memory, err := controller.scrape(ctx, "process_resident_memory_bytes")
	if err != nil {
		return err
	}
	heap, err := controller.scrape(ctx, "go_memstats_heap_inuse_bytes")
	if err != nil {
		return err
	}
	if err := controller.alive(); err != nil {
		return err
	}
	last, err := p.serverCalls(ctx)
	if err != nil {
		return err
	}
	for series, count := range last {
		if count > first[series] {
			fmt.Fprintf(os.Stderr, "  %4.0f %s\n", count-first[series], series)
		}
	}
	fmt.Fprintf(os.Stderr, "heap in use %.0f MiB\n", heap/(1<<20))
	if strings.Contains(n.memory(), only) {
		mib := memory / (1 << 20)
		fmt.Fprintln(out, line(n.memory(), "MiB", mib, memoryBound, mib/memoryBound, 1, mib <= memoryBound))
	}
	if strings.Contains(n.calls(), only) {
		perMinute := (after - before) / quiet.Minutes()
		fmt.Fprintln(out, line(n.calls(), "calls/min", perMinute, callsBound, perMinute/callsBound, 1, perMinute <= callsBound))
	}
	return nil
}

// make makes the KafkaUsers, and does with each what then says, if it is not nil.
func (n population) make(ctx context.Context, p *plane, then func(context.Context, *v1alpha1.KafkaUser) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	name := func(i int) string { return fmt.Sprintf("team-%d", i%userNamespaces) }
	for i := range userNamespaces {
		if err := p.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name(i)}}); err != nil {
			return err
		}
	}
	for i := range int(n) {
		group.Go(func() error {
			user := &v1alpha1.KafkaUser{
				ObjectMeta: metav1.ObjectMeta{Namespace: name(i), Name: fmt.Sprintf("user-%d", i)},
				Spec: v1alpha1.KafkaUserSpec{
					ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"},
					Consume:    []string{"orders", "payments"}, Produce: []string{"audit"},
				},
			}
			if err := p.client.Create(ctx, user); err != nil || then == nil {
				return err
			}
			return then(ctx, user)
		})
	}
	return group.Wait()
}

// check tells whether everything was made.
func (n population) check(ctx context.Context, p *plane) error {
	for kind, list := range map[string]client.ObjectList{"Certificates": &cmv1.CertificateList{}, "PrincipalMappings": &v1alpha1.PrincipalMappingList{}} {
		if err := p.client.List(ctx, list); err != nil {
			return err
		}
		have := 0
		switch list := list.(type) {
		case *cmv1.CertificateList:
			have = len(list.Items)
		case *v1alpha1.PrincipalMappingList:
			have = len(list.Items)
		}
		if have < int(n) {
			return fmt.Errorf("at rest with %d of %d %s", have, n, kind)
		}
	}
	return nil
}

// serverCalls are the API server's counts of calls by verb and resource, of whoever made them, to see what they were:
// without watches that are opened anew, and leases.
func (p *plane) serverCalls(ctx context.Context) (map[string]float64, error) {
	text, err := p.Kubectl(ctx, "", "get", "--raw", "/metrics")
	if err != nil {
		return nil, err
	}
	calls := map[string]float64{}
	for text := range strings.Lines(text) {
		series, ok := strings.CutPrefix(text, "apiserver_request_total{")
		if !ok || strings.Contains(series, `verb="WATCH"`) || strings.Contains(series, `resource="leases"`) {
			continue
		}
		n, err := sumOf([]byte(text), "apiserver_request_total")
		if err != nil {
			return nil, err
		}
		calls[series[:strings.LastIndexByte(series, '}')]] = n
	}
	return calls, nil
}
