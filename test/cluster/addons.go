package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// installAddons builds what the options ask for, loads the images and starts the rest on a cluster whose node is Ready.
// It returns when everything answers, except Kafka's broker: it starts once the ConfigMap kafka-signet-broker exists,
// which says whom it trusts and which whoever uses the cluster writes. Kafka needs cert-manager, which then comes along;
// --mesh contains --istio.
//
// Building and starting are two lanes: what compiles Go runs one after the other, because each compiler already fills
// all processors; Java's part is mostly downloads and goes on beside it, as does the waiting for pods.
func installAddons(ctx context.Context, c *Cluster, o upOptions) error {
	b := builder{cache: c.Cache, source: c.Source, report: c.Progress}
	group, ctx := errgroup.WithContext(ctx)

	compiled := make(chan struct{}) // closed when cert-manager's compiler is done
	certManagerReady := make(chan struct{})

	if o.certManager || o.kafka {
		group.Go(func() error {
			archive, err := b.certManager(ctx)
			close(compiled)
			if err != nil {
				return err
			}
			if err := c.Load(ctx, archive); err != nil {
				return err
			}
			if err := installCertManager(ctx, c); err != nil {
				return err
			}
			close(certManagerReady)
			return nil
		})
	} else {
		close(compiled)
	}

	if o.kafka || o.clients {
		group.Go(func() error {
			archive, err := b.kafka(ctx, compiled)
			if err != nil {
				return err
			}
			return c.Load(ctx, archive)
		})
	}
	if o.kafka {
		group.Go(func() error {
			if err := receive(ctx, certManagerReady); err != nil {
				return err
			}
			return installKafka(ctx, c)
		})
	}

	if o.istio || o.mesh {
		group.Go(func() error {
			if err := receive(ctx, compiled); err != nil {
				return err
			}
			archives, err := b.istio(ctx, o.mesh)
			if err != nil {
				return err
			}
			if err := c.Load(ctx, archives...); err != nil {
				return err
			}
			return installIstio(ctx, c)
		})
	}
	return group.Wait()
}

// prebuild compiles beside Kubernetes: whenever one of the two downloads or links, which leaves a processor idle, the
// other goes on. Istio comes first, which has no version of a package in common with Kubernetes; by the time that it is
// done, what the rest shares with Kubernetes is compiled. An error is reported by whoever builds the same again.
func prebuild(ctx context.Context, c *Cluster, o upOptions) {
	b := builder{cache: c.Cache, source: c.Source, report: c.Progress}
	var builds []func() (string, error)
	if !o.controlPlane {
		builds = append(builds, func() (string, error) { return buildBaseImages(ctx, c.Cache, c.Source) })
	}
	if o.certManager || o.kafka {
		builds = append(builds, func() (string, error) { return b.certManager(ctx) })
	}
	if o.kafka || o.clients {
		builds = append(builds, func() (string, error) { return b.kafkaJars(ctx) })
	}
	if o.istio || o.mesh {
		builds = append([]func() (string, error){func() (string, error) { return b.istioBinary(ctx) }}, builds...)
	}
	for _, build := range builds {
		if _, err := build(); err != nil && ctx.Err() == nil {
			c.Progress("not built yet: %v", err)
		}
	}
}

func receive(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// apply creates or updates the objects of a YAML stream.
func apply(ctx context.Context, c *Cluster, manifests string) error {
	// Conflicts are forced: injectors own single fields of webhook configurations after the first time.
	_, err := c.Kubectl(ctx, strings.NewReader(manifests), "apply", "--server-side", "--force-conflicts", "--filename", "-")
	return err
}

// rollout waits until the Deployments of a namespace are ready. The error tells what their pods say.
func rollout(ctx context.Context, c *Cluster, namespace string, deployments ...string) error {
	for _, name := range deployments {
		if _, err := c.Kubectl(ctx, nil, "--namespace", namespace, "rollout", "status", "deployment/"+name, "--timeout=180s"); err != nil {
			return fmt.Errorf("%w\n%s", err, podReport(ctx, c, namespace))
		}
	}
	return nil
}

// eventually repeats do until it succeeds. The error is the last one, and tells what the pods of the namespace say.
func eventually(ctx context.Context, c *Cluster, namespace string, within time.Duration, do func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var last error
	for {
		err := do(limited)
		if err == nil {
			return nil
		}
		// An attempt that the deadline cut off says nothing.
		if last == nil || limited.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limited.Done():
			return fmt.Errorf("gave up after %s: %w\n%s", within, last, podReport(ctx, c, namespace))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// podReport is what somebody would look at first: the pods of a namespace, its latest warnings, and the last lines of
// every container that is not ready.
func podReport(ctx context.Context, c *Cluster, namespace string) string {
	// The context that made the caller give up may be over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	var report strings.Builder
	section := func(title string, args ...string) {
		out, err := c.Kubectl(ctx, nil, append([]string{"--namespace", namespace}, args...)...)
		if err != nil {
			out = []byte(err.Error())
		}
		if text := strings.TrimSpace(string(out)); text != "" {
			fmt.Fprintf(&report, "--- %s\n%s\n", title, text)
		}
	}
	section("pods of "+namespace, "get", "pods", "--output=wide")
	section("warnings", "get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp",
		"--output=custom-columns=OBJECT:.involvedObject.name,REASON:.reason,MESSAGE:.message")
	unready := `{range .items[*]}{.metadata.name}{range .status.containerStatuses[?(@.ready==false)]} {.name}{end}{"\n"}{end}`
	out, err := c.Kubectl(ctx, nil, "--namespace", namespace, "get", "pods", "--output=jsonpath="+unready)
	if err != nil {
		return report.String()
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		for _, container := range words[1:] {
			section("log of "+words[0]+"/"+container, "logs", "--tail=20", "--container", container, words[0])
		}
	}
	return report.String()
}
