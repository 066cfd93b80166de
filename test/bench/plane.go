// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/test/stack"
)

// plane is an API server with the kinds of Signet and cert-manager, and nothing that works on them but what is started.
type plane struct {
	*stack.Stack
	config *rest.Config
	// client and clientset do not wait for a rate limit; of built-in kinds both speak protobuf.
	client    client.Client
	clientset kubernetes.Interface
	// controller is the path of Signet's.
	controller string
}

// newPlane starts it. The caller ends it with Down.
func newPlane(ctx context.Context, name string) (*plane, error) {
	s, err := stack.ControlPlane(ctx, fmt.Sprintf("bench-%s-%d", name, os.Getpid()), os.Stderr)
	if err != nil {
		return nil, err
	}
	p := &plane{Stack: s}
	if err := p.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Down(ctx))
	}
	return p, nil
}

func (p *plane) prepare(ctx context.Context) error {
	var err error
	if p.config, err = clientcmd.BuildConfigFromFlags("", p.Kubeconfig); err != nil {
		return err
	}
	p.config.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, cmv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	if p.client, err = client.New(p.config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	protobuf := rest.CopyConfig(p.config)
	protobuf.ContentType = runtime.ContentTypeProtobuf
	if p.clientset, err = kubernetes.NewForConfig(protobuf); err != nil {
		return err
	}
	if p.controller, err = p.build(ctx, "bench-controller", p.Root, "./cmd/controller"); err != nil {
		return err
	}
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	list.Dir = p.Root
	module, err := list.Output()
	if err != nil {
		return fmt.Errorf("find cert-manager: %w", err)
	}
	for _, dir := range []string{filepath.Join(p.Root, "charts", "signet", "files", "crds"), filepath.Join(strings.TrimSpace(string(module)), "deploy", "crds")} {
		if _, err := p.Kubectl(ctx, "", "apply", "--server-side", "-f", dir); err != nil {
			return err
		}
	}
	if _, err := p.Kubectl(ctx, "", "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"); err != nil {
		return err
	}
	certificate, key, err := newCA()
	if err != nil {
		return err
	}
	return p.Apply(ctx, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: signet-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: kafka}
---
apiVersion: v1
kind: Secret
metadata: {name: ca, namespace: istio-system}
data: {tls.crt: %[1]s, tls.key: %[2]s}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: MeshIssuer
metadata: {name: mesh}
spec: {ca: {secretRef: {namespace: istio-system, name: ca}}}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: kafka}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["127.0.0.1:1"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}}
  namespaceSelector: {}
`, certificate, key))
}

// build compiles a command into bin/ and returns its path.
func (p *plane) build(ctx context.Context, name, dir, command string) (string, error) {
	path := filepath.Join(p.Bin, name)
	args := append([]string{"build"}, stack.BuildFlags...)
	build := exec.CommandContext(ctx, "go", append(args, "-o", path, command)...)
	build.Dir, build.Env = dir, append(os.Environ(), stack.BuildEnv...)
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, said)
	}
	return path, nil
}

// process is a command that works on the plane.
type process struct {
	cmd     *exec.Cmd
	ended   chan error
	log     *os.File
	metrics string
}

// startController starts Signet's controller as its image does, with metrics at an address of the host.
func (p *plane) startController(ctx context.Context) (*process, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	running, err := p.start(ctx, p.controller, "--metrics-bind-address="+address, "--health-probe-bind-address=0")
	if err != nil {
		return nil, err
	}
	running.metrics = "http://" + address + "/metrics"
	return running, nil
}

// freeAddress is one of the host that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// start runs a command until stop, or until this process ends.
func (p *plane) start(ctx context.Context, path string, args ...string) (*process, error) {
	log, err := os.CreateTemp("", "signet-bench-*.log")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.Env(), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close(), os.Remove(log.Name()))
	}
	running := &process{cmd: cmd, ended: make(chan error, 1), log: log}
	go func() { running.ended <- cmd.Wait() }()
	return running, nil
}

// stop ends the process and waits for it.
func (r *process) stop() error {
	err := r.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil // alive says why
	}
	ended := <-r.ended
	var exit *exec.ExitError
	if errors.As(ended, &exit) {
		ended = nil // alive says why
	}
	return errors.Join(err, ended, r.log.Close(), os.Remove(r.log.Name()))
}

// alive tells, in its error, what the process last said if it ended.
func (r *process) alive() error {
	select {
	case err := <-r.ended:
		r.ended <- err
		said, _ := os.ReadFile(r.log.Name())
		return fmt.Errorf("%s ended: %w: %s", filepath.Base(r.cmd.Path), err, said[max(0, len(said)-2000):])
	default:
		return nil
	}
}

// until waits until done, which is asked every period.
func (r *process) until(ctx context.Context, what string, period, timeout time.Duration, done func() (bool, error)) error {
	deadline := time.Now().Add(timeout)
	for {
		if err := r.alive(); err != nil {
			return err
		}
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s", what, timeout)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(period):
		}
	}
}

// scrape returns the sum of the samples of a metric whose labels contain all of these texts.
func (r *process) scrape(ctx context.Context, name string, labels ...string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.metrics, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil // not listening yet; alive tells if it never will
	}
	defer response.Body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	return sumOf(text, name, labels...)
}

func sumOf(text []byte, name string, labels ...string) (float64, error) {
	total := 0.0
	for line := range bytes.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(string(line)), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		matches := true
		for _, label := range labels {
			matches = matches && strings.Contains(rest, label)
		}
		if !matches {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		total += value
	}
	return total, nil
}

// rate returns how many a second were done between a tenth and nine tenths of total, by a count that is asked every period:
// without the start of the process and its end.
func (r *process) rate(ctx context.Context, what string, total int, period time.Duration, count func() (float64, error)) (float64, error) {
	var begin, end time.Time
	var first, last float64
	err := r.until(ctx, what, period, 10*time.Minute, func() (bool, error) {
		n, err := count()
		if err != nil {
			return false, err
		}
		now := time.Now()
		if begin.IsZero() && n >= 0.1*float64(total) {
			begin, first = now, n
		}
		if end.IsZero() && n >= 0.9*float64(total) {
			end, last = now, n
		}
		return n >= float64(total), nil
	})
	if err != nil {
		return 0, err
	}
	if last <= first {
		return 0, fmt.Errorf("%s: too fast to be measured with %d", what, total)
	}
	return (last - first) / end.Sub(begin).Seconds(), nil
}
