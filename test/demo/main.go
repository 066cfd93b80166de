// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Command demo shows Signet's main job with real programs on a real node, and takes everything down again: `make demo`
// is this command. Every value it prints is read back from the system; where something is not as the story says, it
// stops with an error.
package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/test/stack"
)

func main() {
	keep := flag.Bool("keep", false, "leave the cluster running, and say how to use it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, keep bool) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("the demo starts a real Kubernetes node, which needs root for namespaces, mounts and iptables: run `sudo make demo`")
	}
	name := fmt.Sprintf("demo-%d", os.Getpid())
	if keep {
		name = "demo"
	}
	fmt.Println("Signet demo: a real node, istiod, cert-manager and Kafka. The first run builds them, which takes a while.")
	s, err := stack.Up(ctx, stack.Options{Name: name, Keep: keep, Progress: os.Stdout})
	if err != nil {
		return err
	}
	if !keep {
		defer func() {
			fmt.Println()
			// The context may have ended; taking down is due all the same.
			err = errors.Join(err, s.Down(context.WithoutCancel(ctx)))
		}()
	}
	d := story{Stack: s, ctx: ctx}
	if err := d.tell(); err != nil {
		return err
	}
	if keep {
		fmt.Printf("\nThe cluster goes on. To use it:\n  eval \"$(bin/cluster env --name %s)\"; export PATH=$PWD/bin:$PATH\nTo remove it:\n  bin/cluster down --name %[1]s\n", name)
	}
	return nil
}

// story is the demo under way. The first failure ends it.
type story struct {
	*stack.Stack
	ctx context.Context
}

const (
	topicOrders  = "orders.placed"
	topicSecrets = "payroll"
	principal    = "User:shop.checkout"
	mount        = "/var/run/secrets/kafka.signet.dev/checkout"
)

func (d story) tell() error {
	for _, chapter := range []func() error{
		d.background, d.withoutAccess, d.declare, d.mutated, d.certificate, d.granted, d.noCertificate, d.outside, d.overview,
	} {
		if err := chapter(); err != nil {
			return err
		}
	}
	fmt.Println("\nAll of it was real, and all of it was as it should be.")
	return nil
}

func (d story) title(text string) { fmt.Printf("\n--- %s\n", text) }

// show prints a command as a user would type it.
func (d story) show(format string, args ...any) { fmt.Printf("$ %s\n", fmt.Sprintf(format, args...)) }

// background sets the scene: two topics and a namespace.
func (d story) background() error {
	d.title("two topics exist; a team has the namespace shop")
	var manifests strings.Builder
	manifests.WriteString(`
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: restricted}}
`)
	for i, topic := range []string{topicOrders, topicSecrets} {
		fmt.Fprintf(&manifests, `---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaTopic
metadata: {name: topic-%d, namespace: kafka}
spec: {clusterRef: {name: kafka}, topic: %s, partitions: 3}
`, i, topic)
	}
	if err := d.Apply(d.ctx, manifests.String()); err != nil {
		return err
	}
	if _, err := d.Kubectl(d.ctx, "", "-n", "kafka", "wait", "--for=condition=Ready", "kafkatopic", "--all", "--timeout=60s"); err != nil {
		return err
	}
	return d.print("-n", "kafka", "get", "kafkaclusters,kafkatopics")
}

// print shows a kubectl command and its output.
func (d story) print(args ...string) error {
	d.show("kubectl %s", strings.Join(args, " "))
	out, err := d.Kubectl(d.ctx, "", args...)
	fmt.Print(out)
	return err
}

func (d story) withoutAccess() error {
	d.title("a pod without access: it reaches the broker's plaintext listener, and sees nothing")
	if err := d.pod("before", false); err != nil {
		return err
	}
	topics, err := d.topics("before", "--bootstrap", "kafka.kafka.svc:9092")
	if err != nil {
		return err
	}
	fmt.Printf("it sees %d topics\n", len(topics))
	if len(topics) != 0 {
		return fmt.Errorf("a pod without access sees %v", topics)
	}
	return nil
}

const declaration = `apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: checkout, namespace: shop}
spec:
  clusterRef: {name: kafka, namespace: kafka}
  consume: [orders.placed]
  produce: [orders.placed]
`

func (d story) declare() error {
	d.title("the team declares what it consumes and produces")
	d.show("kubectl apply -f - <<EOF\n%sEOF", declaration)
	if err := d.Apply(d.ctx, declaration); err != nil {
		return err
	}
	if _, err := d.Kubectl(d.ctx, "", "-n", "shop", "wait", "--for=condition=Ready", "kafkauser/checkout", "--timeout=60s"); err != nil {
		return err
	}
	if err := d.print("-n", "shop", "get", "kafkausers"); err != nil {
		return err
	}
	return d.print("-n", "kafka", "get", "principalmapping", "shop.checkout", "-o", `jsonpath={range .spec.subjects[*]}{.exact}{.spiffe}{" -> "}{"`+principal+`\n"}{end}`)
}

// pod starts a pod of the franz-go client; annotated, it asks for the KafkaUser checkout.
func (d story) pod(name string, annotated bool) error {
	annotations := ""
	if annotated {
		annotations = ", annotations: {kafka.signet.dev/user: checkout}"
	}
	if err := d.Apply(d.ctx, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: shop%s}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 4242, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: %s
    imagePullPolicy: Never
    args: [sleep]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`, name, annotations, stack.ImageGo)); err != nil {
		return err
	}
	_, err := d.Kubectl(d.ctx, "", "-n", "shop", "wait", "--for=condition=Ready", "pod/"+name, "--timeout=90s")
	return err
}

func (d story) mutated() error {
	d.title("the next pod carries one annotation, and is mutated: one volume, read-only, for a non-root container")
	if err := d.pod("checkout", true); err != nil {
		return err
	}
	if err := d.print("-n", "shop", "get", "pod", "checkout", "-o", `jsonpath={range .spec.volumes[*].projected.sources[*]}{.secret.name}{.podCertificate.signerName}{.configMap.name}{" -> "}{.secret.items[*].path}{.podCertificate.credentialBundlePath}{" "}{.podCertificate.keyPath}{" "}{.podCertificate.certificateChainPath}{.configMap.items[*].path}{"\n"}{end}{range .spec.containers[0].env[*]}{.name}{"="}{.value}{.valueFrom.configMapKeyRef.key}{"\n"}{end}`); err != nil {
		return err
	}
	return nil
}

func (d story) certificate() error {
	d.title("the kubelet made its key; an intermediate below the mesh CA that istiod made, confined to Signet's names, signed")
	out, err := d.Kubectl(d.ctx, "", "-n", "shop", "get", "podcertificaterequests", "-o", `jsonpath={.items[?(@.spec.podName=="checkout")].status.certificateChain}`)
	if err != nil {
		return err
	}
	chain, err := certs.ParseCertificates([]byte(out))
	if err != nil {
		return fmt.Errorf("the certificate of the pod checkout: %w", err)
	}
	mesh, err := d.secretCertificate("istio-system", "istio-ca-secret", "ca-cert.pem")
	if err != nil {
		return err
	}
	leaf, roots, intermediates := chain[0], x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(mesh)
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("the mesh CA is not above the certificate: %w", err)
	}
	signer := paths[0][1]
	fmt.Printf("subject      %s\nSPIFFE ID    %s\nserial       %x\nexpires      %s (in %s)\n",
		leaf.Subject, leaf.URIs[0], leaf.SerialNumber, leaf.NotAfter.Format(time.RFC3339), time.Until(leaf.NotAfter).Round(time.Minute))
	fmt.Printf("intermediate %s (may sign names of %s only)\nmesh CA      %s (Secret istio-system/istio-ca-secret)\n", signer.Subject, strings.Join(signer.PermittedURIDomains, ", "), mesh.Subject)
	return nil
}

func (d story) secretCertificate(namespace, secret, key string) (*x509.Certificate, error) {
	out, err := d.Kubectl(d.ctx, "", "-n", namespace, "get", "secret", secret, "-o", fmt.Sprintf(`go-template={{index .data %q | base64decode}}`, key))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(out))
	if block == nil {
		return nil, fmt.Errorf("secret %s/%s: no PEM in %s", namespace, secret, key)
	}
	return x509.ParseCertificate(block.Bytes)
}

// client runs the franz-go client in a pod.
func (d story) client(pod string, args ...string) (string, error) {
	return d.Kubectl(d.ctx, "", append([]string{"-n", "shop", "exec", pod, "-c", "app", "--", "/usr/local/bin/goclient"}, args...)...)
}

func (d story) topics(pod string, args ...string) ([]string, error) {
	d.show("kubectl -n shop exec %s -- goclient topics %s", pod, strings.Join(args, " "))
	out, err := d.client(pod, append([]string{"topics"}, args...)...)
	if err != nil {
		return nil, err
	}
	return names(out)
}

func names(out string) ([]string, error) {
	var list []string
	for line := range strings.Lines(out) {
		var topic struct{ Topic string }
		if err := json.Unmarshal([]byte(line), &topic); err != nil {
			return nil, fmt.Errorf("the client printed %q: %w", line, err)
		}
		list = append(list, topic.Topic)
	}
	return list, nil
}

func (d story) granted() error {
	d.title("over mTLS the pod is " + principal + ", and sees exactly what was granted")
	topics, err := d.topics("checkout")
	if err != nil {
		return err
	}
	fmt.Printf("it sees %v\n", topics)
	if !slices.Equal(topics, []string{topicOrders}) {
		return fmt.Errorf("granted %s, it sees %v", topicOrders, topics)
	}
	for _, command := range [][]string{
		{"produce", topicOrders, "order 1 from a pod"},
		{"consume", topicOrders, "--group", "shop", "--count", "1"},
	} {
		d.show("kubectl -n shop exec checkout -- goclient %s", strings.Join(command, " "))
		out, err := d.client("checkout", command...)
		if err != nil {
			return err
		}
		fmt.Print(out)
	}
	d.show("kubectl -n shop exec checkout -- goclient consume %s", topicSecrets)
	if out, err := d.client("checkout", "consume", topicSecrets); err == nil {
		return fmt.Errorf("it reads %s: %s", topicSecrets, out)
	} else if failed := (&stack.CommandError{}); errors.As(err, &failed) {
		fmt.Println("refused:", firstLine(failed.Stderr))
	}
	d.show("kubectl -n kafka logs kafka-0 | grep %s", principal)
	log, err := d.Kubectl(d.ctx, "", "-n", "kafka", "logs", "kafka-0")
	if err != nil {
		return err
	}
	seen := ""
	for line := range strings.Lines(log) {
		if strings.Contains(line, "Principal = "+principal+" is Allowed") {
			seen = line
		}
	}
	if seen == "" {
		return fmt.Errorf("the broker never decided for %s", principal)
	}
	fmt.Printf("the broker's own authorizer: %s\n", strings.TrimSpace(seen[strings.Index(seen, "Principal"):]))
	return nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

func (d story) noCertificate() error {
	d.title("a client with no certificate cannot connect")
	args := []string{"topics", "--ca", mount + "/ca.crt", "--bootstrap", "kafka.kafka.svc:9093", "--timeout", "10s"}
	d.show("kubectl -n shop exec checkout -- goclient %s", strings.Join(args, " "))
	out, err := d.client("checkout", args...)
	if err == nil {
		return fmt.Errorf("a client with no certificate connects: %s", out)
	}
	failed := &stack.CommandError{}
	if !errors.As(err, &failed) || !strings.Contains(failed.Stderr, "certificate") {
		return fmt.Errorf("a client with no certificate fails for another reason: %w", err)
	}
	fmt.Println("refused:", firstLine(failed.Stderr))
	return nil
}

func (d story) outside() error {
	d.title("outside the cluster, with a key that is made there, it is the same principal")
	work, err := os.MkdirTemp("", "signet-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	dir := filepath.Join(work, "checkout")
	d.show("kubectl signet sign checkout -n shop --dir checkout")
	out, err := d.Signet(d.ctx, "sign", "checkout", "-n", "shop", "--dir", dir)
	if err != nil {
		return err
	}
	fmt.Print(strings.ReplaceAll(out, work+string(filepath.Separator), ""))
	program, err := d.HostClient(d.ctx)
	if err != nil {
		return err
	}
	for _, command := range [][]string{{"topics"}, {"produce", topicOrders, "order 2 from outside"}} {
		d.show("goclient %s --config checkout/kafka.json", strings.Join(command, " "))
		out, err := exec.CommandContext(d.ctx, program, append(command, "--config", filepath.Join(dir, "kafka.json"))...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("outside the cluster: %w: %s", err, out)
		}
		fmt.Print(string(out))
	}
	return nil
}

func (d story) overview() error {
	d.title("what is ready, what is not, and why")
	d.show("kubectl signet status -A")
	out, err := d.Signet(d.ctx, "status", "-A")
	fmt.Print(out)
	return err
}
