// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/test/stack"
)

// goldenPod is a case of mutate/testdata/pods.
type goldenPod struct {
	Request struct {
		Operation, Namespace, SubResource string
		DryRun, ByWorkload                bool
	}
	Object map[string]any
	out    struct {
		Allowed  bool
		Message  string
		Warnings []string
		Patch    []map[string]any
	}
}

// TestCasesOnTheAPIServer creates the pods of mutate's golden cases on a real API server with the webhooks of the chart in
// front of it, and holds that it refuses, warns and makes the same pods as the files say. Then it takes the webhooks away
// and holds that the chart's policy refuses each pod that needed them, and no other.
func TestCasesOnTheAPIServer(t *testing.T) {
	api, config := startAPIServer(t, "webhook")
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	api.pods = client
	cases := goldenPods(t)
	api.prepare(t, cases)
	address := startWebhook(t, config)
	chart, err := stack.ChartObjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	api.point(t, chart["MutatingWebhookConfiguration"], address, filepath.Join(address.dir, "tls.crt"))

	for _, byWorkload := range []bool{false, true} {
		if byWorkload {
			api.kubectl(t, "label", "namespace", "shop", "other", v1alpha1.LabelInject+"="+v1alpha1.InjectEnabled)
		}
		api.settle(t, byWorkload)
		for _, name := range sorted(cases) {
			if c := cases[name]; c.Request.ByWorkload == byWorkload {
				t.Run(name, func(t *testing.T) { api.compare(t, c) })
			}
		}
	}
	if api.compared < 100 {
		t.Errorf("only %d pods were compared", api.compared)
	}
	t.Run("who wins", api.precedence)
	t.Run("the owner is told", api.event)

	t.Run("without the webhooks", func(t *testing.T) {
		api.kubectl(t, "delete", "mutatingwebhookconfiguration", "signet")
		guard := yamlOf(t, chart["ValidatingAdmissionPolicy signet-pods"], chart["ValidatingAdmissionPolicyBinding signet-pods"])
		if err := api.Apply(t.Context(), guard); err != nil {
			t.Fatal(err)
		}
		unmutated := map[string]any{
			"metadata": map[string]any{"name": "probe", "annotations": map[string]any{v1alpha1.AnnotationUser: "orders"}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "app", "image": "app"}}},
		}
		eventually(t, "the policy is in force", func() error {
			if _, err := api.create(t, "shop", unmutated); err == nil || !strings.Contains(err.Error(), "ask for the files of KafkaUser orders") {
				return fmt.Errorf("a pod without its volume: %w", err)
			}
			return nil
		})
		guarded := 0
		for _, name := range sorted(cases) {
			c := cases[name]
			if !c.out.Allowed || len(c.out.Patch) == 0 || c.Request.ByWorkload {
				continue
			}
			t.Run(name, func(t *testing.T) {
				pod := c.pod(t)
				volumesAreThere := !strings.Contains(fmt.Sprint(c.out.Patch), "path:/spec/volumes")
				if _, err := api.create(t, c.namespace(), pod); (err == nil) != volumesAreThere {
					t.Errorf("not mutated: %v", err)
				}
				if _, err := api.create(t, c.namespace(), c.patched(t, pod)); err != nil {
					t.Errorf("mutated: %v", err)
				}
				guarded++
			})
		}
		if guarded < 40 {
			t.Errorf("only %d pods were tried", guarded)
		}
		for annotation, value := range map[string]string{"": "", v1alpha1.AnnotationInject: "false", "app": "orders"} {
			annotations := map[string]any{}
			if annotation != "" {
				annotations[annotation] = value
			}
			if annotation == v1alpha1.AnnotationInject {
				annotations[v1alpha1.AnnotationUser] = "orders"
			}
			unmutated["metadata"] = map[string]any{"name": "probe", "annotations": annotations}
			if _, err := api.create(t, "shop", unmutated); err != nil {
				t.Errorf("a pod with annotations %v: %v", annotations, err)
			}
		}
	})
}

// startAPIServer starts an API server for one test, and returns how to speak to it; what it warns of is heard.
func startAPIServer(t *testing.T, name string) (*apiServer, *rest.Config) {
	t.Helper()
	ctrl.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	s, err := stack.ControlPlane(t.Context(), fmt.Sprintf("%s-%d", name, os.Getpid()), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	heard := &warnings{}
	config.WarningHandlerWithContext = heard
	return &apiServer{Stack: s, heard: heard}, config
}

// precedence creates a pod for each row of the table in docs/pods.md.
func (a *apiServer) precedence(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(a.Root, "docs", "pods.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "| the pod gets |\n|---|---|---|---|---|\n")
	if !found {
		t.Fatal("docs/pods.md has no table of precedence")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	labelled := map[string]string{"–": "plain", v1alpha1.InjectDisabled: "disabled", v1alpha1.InjectEnabled: "enabled"}
	for label, namespace := range labelled {
		a.kubectl(t, "create", "namespace", namespace)
		a.kubectl(t, "-n", namespace, "create", "serviceaccount", "reports")
		if label != "–" {
			a.kubectl(t, "label", "namespace", namespace, v1alpha1.LabelInject+"="+label)
		}
		eventually(t, "the default service account of "+namespace, func() error {
			_, err := a.Kubectl(t.Context(), "", "-n", namespace, "get", "serviceaccount", "default")
			return err
		})
		for _, user := range []string{"orders", "reports"} {
			a.kubectlWith(t, fmt.Sprintf("apiVersion: kafka.signet.dev/v1alpha1\nkind: KafkaUser\nmetadata: {name: %s, namespace: %s}\nspec: {clusterRef: {name: kafka, namespace: kafka}}\n", user, namespace), "create", "-f", "-")
		}
		a.kubectl(t, "-n", namespace, "patch", "kafkauser", "reports", "--type=merge", "-p", `{"spec":{"workload":{"serviceAccountName":"reports"}}}`)
	}
	rows := strings.Split(strings.TrimSpace(table), "\n")
	if len(rows) < 12 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		t.Run(row, func(t *testing.T) {
			cells := strings.Split(strings.ReplaceAll(row, "`", ""), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			label, inject, user, meant, want := cells[1], cells[2], cells[3], cells[4], cells[5]
			annotations := map[string]any{}
			if inject != "–" {
				annotations[v1alpha1.AnnotationInject] = inject
			}
			if user != "–" {
				annotations[v1alpha1.AnnotationUser] = user
			}
			spec := map[string]any{"automountServiceAccountToken": false, "containers": []any{map[string]any{"name": "app", "image": "app"}}}
			if meant == "yes" {
				spec["serviceAccountName"] = "reports"
			}
			namespace, known := labelled[label]
			if !known {
				t.Fatalf("label %q", label)
			}
			// The API server, and the webhook's cache, learn of a namespace and of a KafkaUser in a moment.
			eventually(t, "the pod gets "+want, func() error {
				pod, err := a.create(t, namespace, map[string]any{"metadata": map[string]any{"name": "p", "annotations": annotations}, "spec": spec})
				got := "nothing"
				switch {
				case err != nil && strings.Contains(err.Error(), "denied the request"):
					got = "refused"
				case err != nil:
					return err
				case len(pod.Spec.Volumes) > 0:
					got = strings.TrimPrefix(pod.Spec.Volumes[0].Name, "kafka-signet-")
				}
				if got != want {
					return fmt.Errorf("it gets %s", got)
				}
				return nil
			})
		})
	}
}

// event has a Deployment make pods that are refused.
func (a *apiServer) event(t *testing.T) {
	a.kubectlWith(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: wrong, namespace: billing}
spec:
  selector: {matchLabels: {app: wrong}}
  template:
    metadata: {labels: {app: wrong}, annotations: {kafka.signet.dev/usre: orders}}
    spec: {containers: [{name: app, image: app}]}
`, "create", "-f", "-")
	eventually(t, "the event", func() error {
		out, err := a.Kubectl(t.Context(), "", "-n", "billing", "get", "events", "--field-selector", "reason=PodRefused", "-o", "json")
		if err != nil {
			return err
		}
		var list struct {
			Items []struct {
				InvolvedObject corev1.ObjectReference
				Message        string
			}
		}
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Kind == "ReplicaSet" && strings.HasPrefix(e.InvolvedObject.Name, "wrong-") && e.Message == "annotation kafka.signet.dev/usre: did you mean kafka.signet.dev/user?" {
				return nil
			}
		}
		return fmt.Errorf("not among %d events: %+v", len(list.Items), list.Items)
	})
}

type apiServer struct {
	*stack.Stack
	pods     kubernetes.Interface
	heard    *warnings
	compared int
}

func (a *apiServer) kubectl(t *testing.T, args ...string) {
	t.Helper()
	if _, err := a.Kubectl(t.Context(), "", args...); err != nil {
		t.Fatal(err)
	}
}

// prepare makes what the cases suppose: the kinds, the objects of cache.yaml with their status, and service accounts.
func (a *apiServer) prepare(t *testing.T, cases map[string]*goldenPod) {
	t.Helper()
	a.kubectl(t, "apply", "--server-side", "-f", filepath.Join(a.Root, "charts", "signet", "files", "crds"))
	a.kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	for _, namespace := range []string{"shop", "other", "kafka", "billing", "injected"} {
		a.kubectl(t, "create", "namespace", namespace)
	}
	accounts := map[string]bool{"shop/default": true, "other/default": true, "injected/default": true}
	for _, c := range cases {
		spec, _ := c.Object["spec"].(map[string]any)
		if account, ok := spec["serviceAccountName"].(string); ok && account != "default" {
			accounts[c.namespace()+"/"+account] = true
		}
	}
	for account := range accounts {
		namespace, name, _ := strings.Cut(account, "/")
		if name != "default" {
			a.kubectl(t, "-n", namespace, "create", "serviceaccount", name)
		}
		eventually(t, "service account "+account, func() error {
			_, err := a.Kubectl(t.Context(), "", "-n", namespace, "get", "serviceaccount", name)
			return err
		})
	}
	text, err := os.ReadFile(filepath.Join(a.Root, "mutate", "testdata", "cache.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatal(err)
		}
		if kind.Kind == "Namespace" {
			a.kubectlWith(t, document, "apply", "--server-side", "--force-conflicts", "-f", "-")
		}
		if kind.Kind == "KafkaCluster" {
			a.kubectlWith(t, whole(t, document), "create", "-f", "-")
		}
		if kind.Kind != "KafkaUser" {
			continue
		}
		var user v1alpha1.KafkaUser
		if err := yaml.Unmarshal([]byte(document), &user); err != nil {
			t.Fatal(err)
		}
		a.kubectlWith(t, document, "create", "-f", "-")
		for i := range user.Status.Conditions {
			user.Status.Conditions[i].LastTransitionTime = metav1.Now()
		}
		status, err := json.Marshal(map[string]any{"status": user.Status})
		if err != nil {
			t.Fatal(err)
		}
		a.kubectl(t, "-n", user.Namespace, "patch", "kafkauser", user.Name, "--subresource=status", "--type=merge", "-p", string(status))
		if !user.DeletionTimestamp.IsZero() {
			a.kubectl(t, "-n", user.Namespace, "delete", "kafkauser", user.Name, "--wait=false")
		}
	}
}

// whole is a KafkaCluster of cache.yaml with what its CRD requires and the webhook does not look at.
func whole(t *testing.T, document string) string {
	t.Helper()
	cluster := map[string]any{}
	if err := yaml.Unmarshal([]byte(document), &cluster); err != nil {
		t.Fatal(err)
	}
	spec, _ := cluster["spec"].(map[string]any)
	for field, value := range map[string]any{
		"listeners":    []any{map[string]any{"name": "mtls", "scope": "Cluster", "bootstrapServers": []any{"kafka:9093"}}},
		"admin":        map[string]any{"listener": "mtls"},
		"certificates": map[string]any{"issuerRef": map[string]any{"name": "mesh"}},
	} {
		if _, ok := spec[field]; !ok {
			spec[field] = value
		}
	}
	text, err := json.Marshal(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (a *apiServer) kubectlWith(t *testing.T, stdin string, args ...string) {
	t.Helper()
	if _, err := a.Kubectl(t.Context(), stdin, args...); err != nil {
		t.Fatal(err)
	}
}

// listening is where a webhook of this process listens, and the directory of its certificate.
type listening struct{ address, dir string }

// startWebhook runs the command as main does, until the test ends.
func startWebhook(t *testing.T, config *rest.Config) listening {
	t.Helper()
	dir, now := t.TempDir(), time.Now()
	writeCertificate(t, dir, 1, now.Add(-time.Minute), now.Add(time.Hour))
	o := options{tlsDir: dir, webhookAddress: freeAddress(t), metricsAddress: "0", probeAddress: freeAddress(t)}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, config, o) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the webhook is ready", func() error { return get("http://"+o.probeAddress+"/readyz", nil) })
	return listening{o.webhookAddress, dir}
}

// point applies a configuration of the chart, with its webhooks at an address of this machine.
func (a *apiServer) point(t *testing.T, configuration []byte, at listening, caFile string) {
	t.Helper()
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := yaml.Unmarshal(configuration, &c); err != nil {
		t.Fatal(err)
	}
	webhooks, _ := c["webhooks"].([]any)
	if len(webhooks) == 0 {
		t.Fatal("the configuration has no webhooks")
	}
	for _, webhook := range webhooks {
		webhook, _ := webhook.(map[string]any)
		path, _, err := unstructured.NestedString(webhook, "clientConfig", "service", "path")
		if err != nil || path == "" {
			t.Fatalf("the path of webhook %v: %v", webhook["name"], err)
		}
		webhook["clientConfig"] = map[string]any{"url": "https://" + at.address + path, "caBundle": ca}
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Apply(t.Context(), string(text)); err != nil {
		t.Fatal(err)
	}
}

// settle waits until the API server calls the webhooks for the namespaces as they are labelled now.
func (a *apiServer) settle(t *testing.T, byWorkload bool) {
	t.Helper()
	for _, namespace := range []string{"shop", "other"} {
		misspelt := map[string]any{
			"metadata": map[string]any{"name": "probe", "annotations": map[string]any{"kafka.signet.dev/probe": ""}},
			"spec":     map[string]any{"serviceAccountName": "reports", "automountServiceAccountToken": false, "containers": []any{map[string]any{"name": "app", "image": "app"}}},
		}
		eventually(t, "the webhooks are called", func() error {
			if _, err := a.create(t, namespace, misspelt); err == nil || !strings.Contains(err.Error(), "is not one that this version") {
				return fmt.Errorf("a pod with an unknown annotation: %w", err)
			}
			return nil
		})
		misspelt["metadata"] = map[string]any{"name": "probe"}
		eventually(t, "the label counts", func() error {
			pod, err := a.create(t, namespace, misspelt)
			if err == nil && (len(pod.Spec.Volumes) > 0) != byWorkload {
				err = errors.New("it does not yet, or still")
			}
			return err
		})
	}
}

// create creates a pod in a dry run.
func (a *apiServer) create(t *testing.T, namespace string, pod map[string]any) (*corev1.Pod, error) {
	t.Helper()
	a.heard.take()
	body, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	created := &corev1.Pod{}
	err = a.pods.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").
		Param("dryRun", metav1.DryRunAll).SetHeader("Content-Type", "application/json").Body(body).Do(t.Context()).Into(created)
	return created, err
}

var spaces = regexp.MustCompile(`\s+`)

// compare holds the API server against the golden file.
func (a *apiServer) compare(t *testing.T, c *goldenPod) {
	pod := c.pod(t)
	got, err := a.create(t, c.namespace(), pod)
	said := a.heard.take()
	if !c.out.Allowed {
		if err == nil {
			t.Fatal("created")
		}
		if !strings.Contains(spaces.ReplaceAllString(err.Error(), " "), spaces.ReplaceAllString(c.out.Message, " ")) {
			t.Errorf("refused with %q, want %q", err, c.out.Message)
		}
		a.compared++
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(said, c.out.Warnings) {
		t.Errorf("warns with %q, want %q", said, c.out.Warnings)
	}
	want, err := a.create(t, c.namespace(), c.patched(t, pod))
	if err != nil {
		t.Fatalf("with the patch of the golden file: %v", err)
	}
	if !reflect.DeepEqual(got.Spec, want.Spec) || !reflect.DeepEqual(got.Annotations, want.Annotations) || !reflect.DeepEqual(got.Labels, want.Labels) {
		t.Errorf("created\n%+v\nwant\n%+v", got.Spec, want.Spec)
	}
	a.compared++
}

// isCreation tells whether the API server could ever send the case to the webhook: the creation of a pod that it takes.
// Of the others the handler's own test says that nothing happens.
func (c *goldenPod) isCreation() bool {
	spec, _ := c.Object["spec"].(map[string]any)
	_, ephemeral := spec["ephemeralContainers"]
	return (c.Request.Operation == "" || c.Request.Operation == "CREATE") && c.Request.SubResource == "" && !ephemeral
}

func (c *goldenPod) namespace() string {
	if c.Request.Namespace == "" {
		return "shop"
	}
	return c.Request.Namespace
}

// pod is the case's pod, without the token volume that the API server would add, whose name is random, and without a
// namespace, which the request names.
func (c *goldenPod) pod(t *testing.T) map[string]any {
	t.Helper()
	pod := copyOf(t, c.Object)
	metadata, _ := pod["metadata"].(map[string]any)
	delete(metadata, "namespace")
	if metadata["name"] == nil && metadata["generateName"] == nil {
		metadata["name"] = "pod"
	}
	if spec, ok := pod["spec"].(map[string]any); ok {
		spec["automountServiceAccountToken"] = false
	}
	return pod
}

// patched is the pod with the golden file's patch.
func (c *goldenPod) patched(t *testing.T, pod map[string]any) map[string]any {
	t.Helper()
	operations, err := json.Marshal(c.out.Patch)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.out.Patch) > 0 {
		patch, err := jsonpatch.DecodePatch(operations)
		if err != nil {
			t.Fatal(err)
		}
		if text, err = patch.Apply(text); err != nil {
			t.Fatal(err)
		}
	}
	patched := map[string]any{}
	if err := json.Unmarshal(text, &patched); err != nil {
		t.Fatal(err)
	}
	return patched
}

func copyOf(t *testing.T, object map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	copied := map[string]any{}
	if err := json.Unmarshal(text, &copied); err != nil {
		t.Fatal(err)
	}
	return copied
}

func goldenPods(t *testing.T) map[string]*goldenPod {
	t.Helper()
	dir := filepath.Join("..", "..", "mutate", "testdata", "pods")
	files, err := filepath.Glob(filepath.Join(dir, "*.in.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]*goldenPod{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".in.yaml")
		c := &goldenPod{}
		for file, into := range map[string]any{file: c, filepath.Join(dir, name+".out.yaml"): &c.out} {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal(text, into); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		if c.isCreation() {
			cases[name] = c
		}
	}
	return cases
}

func yamlOf(t *testing.T, objects ...[]byte) string {
	t.Helper()
	var texts []string
	for _, object := range objects {
		if object == nil {
			t.Fatal("the chart lacks an object")
		}
		texts = append(texts, string(object))
	}
	return strings.Join(texts, "\n---\n")
}

func sorted(cases map[string]*goldenPod) []string {
	var names []string
	for name := range cases {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// warnings collects the warnings of the API server.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _, text string) {
	if code != http.StatusNonAuthoritativeInfo && code != 299 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}
