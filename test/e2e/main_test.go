// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/test/await"
	"github.com/signet-kafka/signet/test/stack"
)

// s is the stack that all tests share.
var s *stack.Stack

// patience is how long a state may take to come about. A test that waits so long fails.
const patience = 90 * time.Second

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	var done func(context.Context) error
	var err error
	if s, done, err = stack.ForTests(ctx, "e2e", os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	code := m.Run()
	if err := leave(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: something is left behind:", err)
		code = 1
	}
	if err := done(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: cluster down:", err)
		return 1
	}
	return code
}

// kubectl runs kubectl and fails the test where it fails.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.Kubectl(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply applies manifests and fails the test where that fails.
func apply(t *testing.T, format string, args ...any) {
	t.Helper()
	if err := s.Apply(t.Context(), fmt.Sprintf(format, args...)); err != nil {
		t.Fatal(err)
	}
}

// refused applies manifests and returns what the API server says against them.
func refused(t *testing.T, manifests string) string {
	t.Helper()
	err := s.Apply(t.Context(), manifests)
	var failed *stack.CommandError
	if !errors.As(err, &failed) {
		t.Fatalf("the API server accepts:\n%s", manifests)
	}
	return failed.Stderr
}

// left are the namespaces that tests deleted and that may still be going.
var left struct {
	sync.Mutex
	namespaces []string
}

// leave waits until everything that the tests made is gone, and releases the principals that the ledger keeps for it.
func leave(ctx context.Context) error {
	var problems []error
	for _, name := range left.namespaces {
		if _, err := s.Kubectl(ctx, "", "wait", "--for=delete", "namespace/"+name, "--timeout=90s"); err != nil {
			problems = append(problems, err)
		}
	}
	mappings, err := s.Kubectl(ctx, "", "-n", "kafka", "get", "principalmappings", "-o", `jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}`)
	if err != nil {
		problems = append(problems, err)
	}
	for _, mapping := range strings.Fields(mappings) {
		if namespace, _, _ := strings.Cut(mapping, "."); slices.Contains(left.namespaces, namespace) {
			if _, err := s.Kubectl(ctx, "", "-n", "kafka", "delete", "principalmapping", mapping); err != nil {
				problems = append(problems, err)
			}
		}
	}
	return errors.Join(problems...)
}

// namespace makes a namespace that enforces the restricted Pod Security Standard, and removes it with the test.
func namespace(t *testing.T, prefix string) string {
	t.Helper()
	name := fmt.Sprintf("%s-%d", prefix, time.Now().UnixNano()%1e9)
	apply(t, `
apiVersion: v1
kind: Namespace
metadata:
  name: %s
  labels: {pod-security.kubernetes.io/enforce: restricted}
`, name)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Describe(context.Background(), name))
		}
		// A namespace takes seconds to go; leave collects them all at the end.
		cleanup(t, "delete", "namespace", name, "--wait=false")
		left.Lock()
		defer left.Unlock()
		left.namespaces = append(left.namespaces, name)
	})
	return name
}

// eventually waits until check is satisfied; check returns what is the matter otherwise.
func eventually(t *testing.T, what string, check func() (ok bool, state string)) {
	t.Helper()
	await.Until(t, patience, what, check)
}

// condition is one condition of an object's status.
type condition struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

// object is what the tests read of an object.
type object struct {
	Metadata struct {
		Name, UID   string
		Generation  int64
		Annotations map[string]string
	}
	Spec   json.RawMessage
	Status struct {
		Principal, Subject string
		ACLs               *int
		Effective          int
		PendingSubjects    []string
		AdminPrincipal     string
		Topic              string
		Partitions         int
		Certificate        struct{ Secret, Serial, NotAfter, RenewalTime string }
		CA                 struct{ Subject, Serial, Fingerprint, NotAfter string }
		Conditions         []condition
	}
	Data map[string]string
}

// api reads objects as kubectl does, in this process: most of what these tests do is look whether something has come about.
var api = sync.OnceValues(func() (dynamic.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // no limit
	return dynamic.NewForConfig(config)
})

// read returns an object of a resource, nil where it does not exist.
func read(t *testing.T, resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	client, err := api()
	if err != nil {
		t.Fatal(err)
	}
	found, err := client.Resource(resource).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// get reads a ConfigMap or an object of a kind of Signet's.
func get(t *testing.T, namespace, kind, name string) (object, bool) {
	t.Helper()
	var o object
	resource := v1alpha1.GroupVersion.WithResource(kind + "s")
	if kind == "configmap" {
		resource = corev1.SchemeGroupVersion.WithResource("configmaps")
	}
	found := read(t, resource, namespace, name)
	if found == nil {
		return o, false
	}
	text, err := found.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o, true
}

// waitCondition waits until the object's condition has the status and, where one is given, the reason, at the object's
// current generation.
func waitCondition(t *testing.T, namespace, kind, name, conditionType, status, reason string) object {
	t.Helper()
	var o object
	eventually(t, fmt.Sprintf("%s %s/%s: %s=%s %s", kind, namespace, name, conditionType, status, reason), func() (bool, string) {
		var found bool
		if o, found = get(t, namespace, kind, name); !found {
			return false, "not found"
		}
		for _, c := range o.Status.Conditions {
			if c.Type == conditionType && c.Status == status && (reason == "" || c.Reason == reason) && c.ObservedGeneration == o.Metadata.Generation {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", o.Status.Conditions)
	})
	return o
}

func (o object) condition(conditionType string) condition {
	for _, c := range o.Status.Conditions {
		if c.Type == conditionType {
			return c
		}
	}
	return condition{}
}

// pod is a running client pod.
type pod struct{ namespace, name string }

// startPod creates the pod app of a client image that sleeps, as restricted Pod Security wants it, and waits until it runs.
func startPod(t *testing.T, namespace, image string, annotations map[string]string) pod {
	t.Helper()
	apply(t, "%s", podManifest(namespace, "app", image, annotations))
	p := pod{namespace, "app"}
	p.waitReady(t)
	return p
}

func podManifest(namespace, name, image string, annotations map[string]string) string {
	encoded, err := json.Marshal(annotations)
	if err != nil {
		panic(err)
	}
	command := map[string]string{stack.ImageGo: "args: [sleep]", stack.ImageJava: "args: [sleep]", stack.ImageKcat: `command: [sleep, "100000"]`}[image]
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, annotations: %s}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 4242, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: %s
    imagePullPolicy: Never
    %s
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`, name, namespace, encoded, image, command)
}

func (p pod) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, fmt.Sprintf("pod %s/%s runs", p.namespace, p.name), func() (bool, string) {
		found := read(t, corev1.SchemeGroupVersion.WithResource("pods"), p.namespace, p.name)
		if found == nil {
			return false, "not found"
		}
		var running corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, &running); err != nil {
			t.Fatal(err)
		}
		ready := slices.ContainsFunc(running.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		return ready, fmt.Sprintf("%s: %+v", running.Status.Phase, running.Status.ContainerStatuses)
	})
}

// exec runs a command in the pod's container.
func (p pod) exec(t *testing.T, command ...string) (string, error) {
	t.Helper()
	return s.Kubectl(t.Context(), "", append([]string{"-n", p.namespace, "exec", p.name, "-c", "app", "--"}, command...)...)
}

// client is a program that speaks Kafka.
type client struct {
	name, image string
	topics      func() []string
	produce     func(topic, message string) []string
	consume     func(topic, group string) []string
}

const mount = "/var/run/secrets/kafka.signet.dev/"

// clients are the three that the stories run with; they read the files of KafkaUser orders.
func clients() []client {
	const user = "orders"
	kcat := func(args ...string) []string {
		return append([]string{"kcat", "-F", mount + user + "/librdkafka.conf"}, args...)
	}
	java := func(args ...string) []string {
		return append([]string{
			"/opt/java/bin/java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Dlog4j2.configurationFile=/etc/kafka/log4j2.yaml",
			"-cp", "/opt/kafka/classes:/opt/kafka/libs/*", "dev.signet.testcluster.Client",
		}, args...)
	}
	return []client{
		{
			name: "franz-go", image: stack.ImageGo,
			topics: func() []string { return []string{"/usr/local/bin/goclient", "topics"} },
			produce: func(topic, message string) []string {
				return []string{"/usr/local/bin/goclient", "produce", topic, message}
			},
			consume: func(topic, group string) []string {
				return []string{"/usr/local/bin/goclient", "consume", topic, "--group", group, "--count", "1"}
			},
		},
		{
			name: "Java", image: stack.ImageJava,
			topics:  func() []string { return java("topics") },
			produce: func(topic, message string) []string { return java("produce", topic, message) },
			consume: func(topic, group string) []string {
				return java("consume", topic, "--group", group, "--count", "1")
			},
		},
		{
			name: "kcat", image: stack.ImageKcat,
			topics: func() []string { return kcat("-L", "-J") },
			produce: func(topic, message string) []string {
				return []string{"sh", "-c", fmt.Sprintf("echo %s | kcat -F %s%s/librdkafka.conf -P -t %s", message, mount, user, topic)}
			},
			consume: func(topic, group string) []string {
				return kcat("-C", "-G", group, "-X", "auto.offset.reset=earliest", "-c", "1", topic)
			},
		},
	}
}

// cleanup runs kubectl after the test, whose own context has ended by then.
func cleanup(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := s.Kubectl(ctx, "", args...); err != nil {
		t.Errorf("clean up: %v", err)
	}
}
