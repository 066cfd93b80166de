// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Namespace is where Signet is installed.
const Namespace = "signet-system"

// Images of the test clients; the cluster has them.
const (
	ImageGo   = "signet.test/goclient:dev"
	ImageJava = "signet.test/javaclient:dev"
	ImageKcat = "signet.test/kcat:dev"
)

// ExternalPort is the port of the node's address at which Kafka's listener for clients outside the cluster answers.
const ExternalPort = 30094

// Options say how to bring a stack up.
type Options struct {
	// Name of the cluster; a cluster of that name that is already up is used.
	Name string
	// Mesh gives pods the sidecars of Istio where they ask for them; without it there is its CA only.
	Mesh bool
	// Keep leaves the cluster running when this process ends; otherwise it goes down with it, however it ends.
	Keep bool
	// Progress gets a line for each step.
	Progress io.Writer
}

// Stack is a running stack.
type Stack struct {
	// Name of the cluster.
	Name string
	// Root of the checkout.
	Root string
	// Kubeconfig of the cluster's administrator.
	Kubeconfig string
	// NodeIP is where the host reaches the node.
	NodeIP string
	// Bin is the directory with kubectl-signet and helm.
	Bin string

	kubectl  string
	helm     func() (string, error)
	progress io.Writer
	start    time.Time
}

// Root returns the root of the checkout that the working directory is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		module, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(module, []byte("module github.com/signet-kafka/signet\n")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the working directory is not in a checkout of Signet")
		}
		dir = filepath.Dir(dir)
	}
}

// BuildFlags are how everything is compiled, tests included. With one set of flags what the projects have in common, most
// of all Kubernetes' own packages, is compiled once; it halves the time of a first run.
var (
	BuildFlags = []string{"-trimpath", "-buildvcs=false"}
	BuildEnv   = []string{"CGO_ENABLED=0"}
)

// Up builds what is missing, starts the cluster and installs Signet. Where a step fails the cluster is left to its
// owner: the process's end takes it down unless Keep is set.
func Up(ctx context.Context, o Options) (*Stack, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	s := &Stack{Name: o.Name, Root: root, Bin: filepath.Join(root, "bin"), progress: o.Progress, start: time.Now()}
	if err := s.long(ctx, "cluster", filepath.Join(root, "test", "cluster"), "build", "-o", s.tool("cluster"), "."); err != nil {
		return nil, err
	}
	// The cluster's components and Signet's own are built side by side: a compiler that downloads or links leaves the
	// processors to the other.
	group, together := errgroup.WithContext(ctx)
	istio := "--istio"
	if o.Mesh {
		istio = "--mesh"
	}
	group.Go(func() error { return s.up(together, o.Keep, "--cert-manager", istio, "--kafka", "--clients") })
	group.Go(func() error { return s.build(together) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := s.locate(ctx); err != nil {
		return nil, err
	}
	if err := s.install(ctx, o.Keep); err != nil {
		return nil, err
	}
	return s, nil
}

// Environment variables by which whoever runs tests gives them a cluster; see ForTests.
const (
	// EnvCluster names the cluster.
	EnvCluster = "SIGNET_E2E_CLUSTER"
	// EnvInstalled is "true" where Signet, as it is in this checkout, is installed there already.
	EnvInstalled = "SIGNET_E2E_INSTALLED"
)

// ForTests returns the stack that the tests of a process share, and what to call when they are done. It is a cluster of
// their own, unless EnvCluster names one, which is started where there is none, and stays.
func ForTests(ctx context.Context, prefix string, progress io.Writer) (s *Stack, done func(context.Context) error, err error) {
	stays := func(context.Context) error { return nil }
	name := os.Getenv(EnvCluster)
	switch {
	case os.Geteuid() != 0:
		return nil, nil, errors.New("these tests start a real Kubernetes node and need root: run them with sudo")
	case name == "":
		s, err = Up(ctx, Options{Name: fmt.Sprintf("%s-%d", prefix, os.Getpid()), Mesh: true, Progress: progress})
		if err != nil {
			return nil, nil, err
		}
		return s, s.Down, nil
	case os.Getenv(EnvInstalled) != "true":
		s, err = Up(ctx, Options{Name: name, Mesh: true, Keep: true, Progress: progress})
		return s, stays, err
	}
	root, err := Root()
	if err != nil {
		return nil, nil, err
	}
	s = &Stack{Name: name, Root: root, Bin: filepath.Join(root, "bin"), progress: progress, start: time.Now()}
	return s, stays, s.locate(ctx)
}

// ControlPlane starts an API server with nothing behind it: no node, no Signet, and no need for root. It goes down with
// this process.
func ControlPlane(ctx context.Context, name string, progress io.Writer) (*Stack, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	// Few of those who need an API server need helm: it is built when it is asked for.
	s := &Stack{Name: name, Root: root, Bin: filepath.Join(root, "bin"), helm: helm, progress: progress, start: time.Now()}
	if err := s.long(ctx, "cluster", filepath.Join(root, "test", "cluster"), "build", "-o", s.tool("cluster"), "."); err != nil {
		return nil, err
	}
	if err := s.up(ctx, false, "--control-plane"); err != nil {
		return nil, err
	}
	return s, s.locate(ctx)
}

// up starts the cluster.
func (s *Stack) up(ctx context.Context, keep bool, flags ...string) error {
	args := append([]string{s.tool("cluster"), "up", "--name", s.Name}, flags...)
	if !keep {
		args = append(args, "--owner", strconv.Itoa(os.Getpid()))
	}
	if err := s.stream(ctx, args...); err != nil {
		return fmt.Errorf("cluster up: %w", err)
	}
	return nil
}

// Down removes the cluster.
func (s *Stack) Down(ctx context.Context) error {
	return s.stream(ctx, s.tool("cluster"), "down", "--name", s.Name)
}

// build makes the project's own commands and images.
func (s *Stack) build(ctx context.Context) error {
	for _, b := range []struct{ name, dir, pkg string }{
		{"helm", "tools/helm", "helm.sh/helm/v4/cmd/helm"},
		{"kubectl-signet", ".", "./cmd/kubectl-signet"},
	} {
		if err := s.long(ctx, b.name, filepath.Join(s.Root, b.dir), "build", "-o", s.tool(b.name), b.pkg); err != nil {
			return err
		}
	}
	// The chart's own version, so that it is installed as it stands.
	chart, err := os.ReadFile(filepath.Join(s.Root, "charts", "signet", "Chart.yaml"))
	if err != nil {
		return err
	}
	version := string(regexp.MustCompile(`(?m)^appVersion: "?([^"\s]+)`).FindSubmatch(chart)[1])
	return s.long(ctx, "Signet's images, version "+version, filepath.Join(s.Root, "images"),
		"run", "./cmd/images", "--root", s.Root, "--output", s.archive(), "--tag", version)
}

// long runs a subcommand of go that may take minutes the first time, and says every 15 seconds that it still does.
func (s *Stack) long(ctx context.Context, what, dir, subcommand string, args ...string) error {
	s.Say("building %s", what)
	done := make(chan error, 1)
	go func() {
		_, err := s.run(ctx, dir, nil, slices.Concat([]string{"go", subcommand}, BuildFlags, args)...)
		done <- err
	}()
	begun := time.Now()
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			s.Say("still building %s (%s)", what, time.Since(begun).Round(time.Second))
		}
	}
}

func (s *Stack) archive() string { return filepath.Join(s.Root, "dist", "images", "signet.tar") }

// locate reads where the cluster is, which lies in cluster.json beside the kubeconfig that `cluster env` names.
func (s *Stack) locate(ctx context.Context) error {
	out, err := s.Cluster(ctx, "env", "--name", s.Name)
	if err != nil {
		return err
	}
	kubeconfig := regexp.MustCompile(`KUBECONFIG=["']?([^"'\n]+)`).FindStringSubmatch(out)
	if kubeconfig == nil {
		return fmt.Errorf("cluster env names no KUBECONFIG: %s", out)
	}
	s.Kubeconfig = kubeconfig[1]
	description := filepath.Join(filepath.Dir(s.Kubeconfig), "cluster.json")
	raw, err := os.ReadFile(description)
	if err != nil {
		return err
	}
	var cluster struct {
		NodeIP  string `json:"nodeIP"`
		Kubectl string `json:"kubectl"`
	}
	if err := json.Unmarshal(raw, &cluster); err != nil {
		return fmt.Errorf("%s: %w", description, err)
	}
	s.NodeIP, s.kubectl = cluster.NodeIP, cluster.Kubectl
	return nil
}

// install loads Signet's images, installs the chart and describes the Kafka to Signet.
func (s *Stack) install(ctx context.Context, restart bool) error {
	if err := s.stream(ctx, s.tool("cluster"), "load", "--name", s.Name, s.archive()); err != nil {
		return err
	}
	s.Say("helm installs Signet")
	if _, err := s.Helm(ctx, "upgrade", "--install", "signet", filepath.Join(s.Root, "charts", "signet"),
		"--namespace", Namespace, "--create-namespace", "--wait", "--timeout", "3m",
		"--set", "controller.trustSecrets[0].namespace=kafka", "--set", "controller.trustSecrets[0].name=kafka-broker-tls",
		"--set", "controller.caSettle=10s",
	); err != nil {
		return fmt.Errorf("%w\n%s", err, s.Describe(ctx, Namespace))
	}
	if restart {
		// The tag is the same for every build, so that pods of an earlier one would stay.
		for _, args := range [][]string{{"restart", "deployment"}, {"status", "deployment", "--timeout=120s"}} {
			if _, err := s.Kubectl(ctx, "", append([]string{"-n", Namespace, "rollout"}, args...)...); err != nil {
				return err
			}
		}
	}
	s.Say("Signet learns of the Kafka")
	if err := s.Apply(ctx, Kafka(s.NodeIP)); err != nil {
		return err
	}
	for _, wait := range [][]string{
		{"wait", "--for=condition=Ready", "meshissuer/mesh", "--timeout=60s"},
		{"-n", "kafka", "wait", "--for=condition=BrokerConfigRendered", "kafkacluster/kafka", "--timeout=60s"},
		{"-n", "kafka", "rollout", "status", "statefulset/kafka", "--timeout=180s"},
		{"-n", "kafka", "wait", "--for=condition=Ready", "kafkacluster/kafka", "--timeout=120s"},
	} {
		if _, err := s.Kubectl(ctx, "", wait...); err != nil {
			return fmt.Errorf("%w\n%s%s", err, s.Describe(ctx, "kafka"), s.Describe(ctx, Namespace))
		}
	}
	s.Say("ready")
	return nil
}

// HostClient builds the franz-go test client for the host and returns its path.
func (s *Stack) HostClient(ctx context.Context) (string, error) {
	path := s.tool("goclient")
	return path, s.long(ctx, "goclient", filepath.Join(s.Root, "test", "cluster", "components", "clients", "goclient"), "build", "-o", path, ".")
}

// Kafka returns the manifests by which an administrator describes the stack's Kafka to Signet.
func Kafka(nodeIP string) string {
	return fmt.Sprintf(`
apiVersion: kafka.signet.dev/v1alpha1
kind: MeshIssuer
metadata:
  name: mesh
spec:
  ca:
    secretRef: {namespace: istio-system, name: istio-ca-secret}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata:
  name: kafka
  namespace: kafka
spec:
  listeners:
  - name: mtls
    scope: Cluster
    bootstrapServers: [kafka.kafka.svc:9093]
    serverCA: {secret: kafka-broker-tls}
  - name: external
    scope: External
    bootstrapServers: ["%s:%d"]
    serverCA: {secret: kafka-broker-tls}
  admin: {listener: mtls}
  certificates:
    issuerRef: {name: mesh}
  namespaceSelector: {}
  superUsers: ["User:broker"]
`, nodeIP, ExternalPort)
}

// Kubectl runs kubectl as the cluster's administrator and returns its standard output.
func (s *Stack) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	out, err := s.run(ctx, s.Root, strings.NewReader(stdin), append([]string{s.kubectl}, args...)...)
	return string(out), err
}

// Helm runs helm and returns its standard output.
func (s *Stack) Helm(ctx context.Context, args ...string) (string, error) {
	path := s.tool("helm")
	if s.helm != nil {
		var err error
		if path, err = s.helm(); err != nil {
			return "", err
		}
	}
	out, err := s.run(ctx, s.Root, nil, append([]string{path}, args...)...)
	return string(out), err
}

// Signet runs the kubectl plugin and returns its standard output.
func (s *Stack) Signet(ctx context.Context, args ...string) (string, error) {
	out, err := s.run(ctx, s.Root, nil, append([]string{s.tool("kubectl-signet")}, args...)...)
	return string(out), err
}

// Cluster runs the cluster command and returns its standard output.
func (s *Stack) Cluster(ctx context.Context, args ...string) (string, error) {
	out, err := s.run(ctx, s.Root, nil, append([]string{s.tool("cluster")}, args...)...)
	return string(out), err
}

// Apply applies manifests as kubectl apply does.
func (s *Stack) Apply(ctx context.Context, manifests string) error {
	_, err := s.Kubectl(ctx, manifests, "apply", "-f", "-")
	return err
}

// Describe returns what the pods of a namespace say, for error messages.
func (s *Stack) Describe(ctx context.Context, namespace string) string {
	var b strings.Builder
	for _, args := range [][]string{
		{"-n", namespace, "get", "pods,kafkaclusters,kafkausers", "-o", "wide"},
		{"-n", namespace, "get", "events", "--sort-by=.lastTimestamp"},
		{"-n", namespace, "logs", "--all-containers", "--prefix", "--tail=40", "-l", "app.kubernetes.io/part-of=signet"},
	} {
		out, err := s.Kubectl(ctx, "", args...)
		fmt.Fprintf(&b, "$ kubectl %s\n%s", strings.Join(args, " "), out)
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	return b.String()
}

// Say prints a line of progress, in one write.
func (s *Stack) Say(format string, args ...any) {
	fmt.Fprintf(s.progress, "%6.1fs  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// Env is the environment in which a user's commands work: kubectl, kubectl-signet and helm on the PATH, KUBECONFIG set.
func (s *Stack) Env() []string {
	return append(slices.Concat(os.Environ(), BuildEnv), "KUBECONFIG="+s.Kubeconfig, "PATH="+strings.Join([]string{filepath.Dir(s.kubectl), s.Bin, os.Getenv("PATH")}, string(os.PathListSeparator)))
}

func (s *Stack) tool(name string) string { return filepath.Join(s.Bin, name) }

// CommandError is a process that failed.
type CommandError struct {
	// Command line.
	Command string
	// Stdout and Stderr are what it said.
	Stdout, Stderr string
	// ExitCode, or -1 where it did not start or was killed.
	ExitCode int
	err      error
}

// Error names the command and holds what it said on standard error.
func (e *CommandError) Error() string {
	return fmt.Sprintf("%s: %v: %s", e.Command, e.err, strings.TrimSpace(e.Stderr))
}

// Unwrap returns the cause.
func (e *CommandError) Unwrap() error { return e.err }

func (s *Stack) run(ctx context.Context, dir string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, s.Env(), stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		failed := &CommandError{Command: filepath.Base(args[0]) + " " + strings.Join(args[1:], " "), Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: -1, err: err}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			failed.ExitCode = exit.ExitCode()
		}
		return stdout.Bytes(), failed
	}
	return stdout.Bytes(), nil
}

// stream runs a command whose output is progress.
func (s *Stack) stream(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.Root, s.Env(), s.progress, s.progress
	return cmd.Run()
}
