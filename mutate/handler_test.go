// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/principal/subject"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// cache is an informer cache that holds what a file says. It lists the PrincipalMappings of a namespace and the KafkaUsers
// of a namespace for a service account, in no order that means anything, and refuses to list anything else.
type cache struct {
	client.Reader
	users    map[client.ObjectKey]v1alpha1.KafkaUser
	clusters map[client.ObjectKey]v1alpha1.KafkaCluster
	mappings []v1alpha1.PrincipalMapping
	// namespaces have the labels of those that the cache knows.
	namespaces map[string]map[string]string
}

// keep is the object as an informer keeps it.
func keep[T any](t testing.TB, object *T) T {
	t.Helper()
	seen, err := Seen(object)
	kept, ok := seen.(*T)
	if err != nil || !ok {
		t.Fatalf("of a %T the cache keeps a %T: %v", object, seen, err)
	}
	return *kept
}

func (c cache) List(_ context.Context, into client.ObjectList, opts ...client.ListOption) error {
	var options client.ListOptions
	options.ApplyOptions(opts)
	if users, ok := into.(*v1alpha1.KafkaUserList); ok {
		return c.listUsers(users, options)
	}
	if clusters, ok := into.(*v1alpha1.KafkaClusterList); ok {
		if len(opts) > 0 {
			return fmt.Errorf("the webhook must not list KafkaClusters by %+v", options)
		}
		clusters.Items = slices.Collect(maps.Values(c.clusters))
		return nil
	}
	list, ok := into.(*v1alpha1.PrincipalMappingList)
	if !ok {
		return fmt.Errorf("the webhook must not list %T", into)
	}
	if options.Namespace == "" || options.LabelSelector != nil || options.FieldSelector != nil {
		return fmt.Errorf("the webhook must not list by %+v", options)
	}
	for _, i := range rand.Perm(len(c.mappings)) {
		if c.mappings[i].Namespace == options.Namespace {
			list.Items = append(list.Items, c.mappings[i])
		}
	}
	return nil
}

func (c cache) listUsers(list *v1alpha1.KafkaUserList, options client.ListOptions) error {
	account, indexed := options.FieldSelector.RequiresExactMatch(WorkloadIndex)
	if options.Namespace == "" || !indexed || options.LabelSelector != nil {
		return fmt.Errorf("the webhook must not list KafkaUsers by %+v", options)
	}
	for _, user := range c.users { // in the order of a map, which is another one each time
		if user.Namespace == options.Namespace && slices.Contains(IndexWorkload(&user), account) {
			list.Items = append(list.Items, user)
		}
	}
	return nil
}

func (c cache) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	var found bool
	switch into := into.(type) {
	case *v1alpha1.KafkaUser:
		*into, found = c.users[key]
	case *v1alpha1.KafkaCluster:
		*into, found = c.clusters[key]
	case *metav1.PartialObjectMetadata:
		if into.Kind != "Namespace" || key.Namespace != "" {
			return fmt.Errorf("the webhook must not read %s %s", into.Kind, key)
		}
		into.Labels, found = c.namespaces[key.Name]
	default:
		return fmt.Errorf("the webhook must not read %T", into)
	}
	if !found {
		return apierrors.NewNotFound(schema.GroupResource{Group: "kafka.signet.dev"}, key.Name)
	}
	return nil
}

func loadCache(t testing.TB) cache {
	t.Helper()
	text, err := os.ReadFile("testdata/cache.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := cache{users: map[client.ObjectKey]v1alpha1.KafkaUser{}, clusters: map[client.ObjectKey]v1alpha1.KafkaCluster{}, namespaces: map[string]map[string]string{}}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatal(err)
		}
		switch kind.Kind {
		case "KafkaUser":
			var user v1alpha1.KafkaUser
			if err := yaml.UnmarshalStrict([]byte(document), &user); err != nil {
				t.Fatal(err)
			}
			c.users[client.ObjectKeyFromObject(&user)] = keep(t, &user)
		case "KafkaCluster":
			var cluster v1alpha1.KafkaCluster
			if err := yaml.UnmarshalStrict([]byte(document), &cluster); err != nil {
				t.Fatal(err)
			}
			c.clusters[client.ObjectKeyFromObject(&cluster)] = keep(t, &cluster)
		case "PrincipalMapping":
			var mapping v1alpha1.PrincipalMapping
			if err := yaml.UnmarshalStrict([]byte(document), &mapping); err != nil {
				t.Fatal(err)
			}
			c.mappings = append(c.mappings, keep(t, &mapping))
		case "Namespace":
			var namespace metav1.PartialObjectMetadata
			if err := yaml.UnmarshalStrict([]byte(document), &namespace); err != nil {
				t.Fatal(err)
			}
			c.namespaces[namespace.Name] = namespace.Labels
		default:
			t.Fatalf("cache.yaml: unexpected kind %q", kind.Kind)
		}
	}
	return c
}

// input is a case's <name>.in.yaml.
type input struct {
	Request struct {
		Operation   admissionv1.Operation `json:"operation,omitempty"`
		Namespace   string                `json:"namespace,omitempty"`
		SubResource string                `json:"subResource,omitempty"`
		DryRun      bool                  `json:"dryRun,omitempty"`
		// ByWorkload: the namespace has the label InjectEnabled.
		ByWorkload bool `json:"byWorkload,omitempty"`
	} `json:"request,omitempty"`
	Object    any `json:"object"`
	OldObject any `json:"oldObject,omitempty"`
}

// output is a case's <name>.out.yaml.
type output struct {
	Allowed  bool     `json:"allowed"`
	Code     int32    `json:"code,omitempty"`
	Message  string   `json:"message,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Counted is the one sample of signet_admission_decisions_total.
	Counted string           `json:"counted"`
	Patch   []map[string]any `json:"patch,omitempty"`
}

// webhook serves a handler the way controller-runtime's server does, and counts in a registry of its own.
type webhook struct {
	handler  http.Handler
	registry *prometheus.Registry
}

func newWebhook(t testing.TB, construct func(*Decisions) admission.Handler) *webhook {
	t.Helper()
	registry := prometheus.NewRegistry()
	decisions := NewDecisions()
	if err := registry.Register(decisions); err != nil {
		t.Fatal(err)
	}
	return &webhook{handler: (&admission.Webhook{Handler: construct(decisions)}).WithRecoverPanic(false), registry: registry}
}

func podWebhook(t testing.TB, reader client.Reader, byWorkload bool) *webhook {
	return newWebhook(t, func(d *Decisions) admission.Handler {
		return &Pods{Reader: reader, ByWorkload: byWorkload, Check: access.CheckDeclaration, Decisions: d}
	})
}

func userWebhook(t testing.TB, reader client.Reader) *webhook {
	// The real rules, less their wording, which their own packages test.
	rules := Rules{
		Declaration: func(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) (problems []error) {
			for _, err := range access.CheckDeclaration(user, cluster) {
				var problem *field.Error
				if !errors.As(err, &problem) {
					t.Errorf("%v is no field error", err)
					continue
				}
				problems = append(problems, &field.Error{Type: problem.Type, Field: problem.Field, BadValue: problem.BadValue, Detail: "by policy"})
			}
			return problems
		},
		Subject: func(text string) error {
			if subject.Check(text) != nil {
				return errors.New("by syntax")
			}
			return nil
		},
		Claimed: principal.Claimed,
	}
	return newWebhook(t, func(d *Decisions) admission.Handler { return NewKafkaUsers(reader, rules, Authors{}, d) })
}

func mappingWebhook(t testing.TB, reader client.Reader) *webhook {
	rules := Rules{Mapping: principal.Refused, Subject: subject.Check}
	return newWebhook(t, func(d *Decisions) admission.Handler { return NewPrincipalMappings(reader, rules, d) })
}

func topicWebhook(t testing.TB, reader client.Reader) *webhook {
	return newWebhook(t, func(d *Decisions) admission.Handler {
		return NewKafkaTopics(reader, Rules{Topic: access.CheckTopic}, d)
	})
}

func clusterWebhook(t testing.TB, reader client.Reader) *webhook {
	return newWebhook(t, func(d *Decisions) admission.Handler { return NewKafkaClusters(reader, d) })
}

func issuerWebhook(t testing.TB, reader client.Reader) *webhook {
	return newWebhook(t, func(d *Decisions) admission.Handler {
		return NewMeshIssuers(reader, Rules{SharesTrustDomain: principal.SharesTrustDomain}, d)
	})
}

// post sends an AdmissionReview over HTTP and returns the response in it.
func (w *webhook) post(t testing.TB, in input) (*admissionv1.AdmissionResponse, []byte) {
	t.Helper()
	raw := func(object any) runtime.RawExtension {
		if object == nil {
			return runtime.RawExtension{}
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		return runtime.RawExtension{Raw: text}
	}
	request := &admissionv1.AdmissionRequest{
		UID: "42", Operation: in.Request.Operation, Namespace: in.Request.Namespace, SubResource: in.Request.SubResource,
		DryRun: &in.Request.DryRun, Object: raw(in.Object), OldObject: raw(in.OldObject),
	}
	if request.Operation == "" {
		request.Operation = admissionv1.Create
	}
	if request.Namespace == "" {
		request.Namespace = "shop"
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: request,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, r)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &review); err != nil {
		t.Fatalf("response %q: %v", recorder.Body.String(), err)
	}
	if review.Response == nil || review.Response.UID != "42" {
		t.Fatalf("response %+v does not answer request 42", review.Response)
	}
	return review.Response, request.Object.Raw
}

// counted returns the samples of the decision counter that are not zero, as result/reason with a multiplier.
func (w *webhook) counted(t testing.TB) string {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var samples []string
	for _, family := range families {
		if family.GetName() != "signet_admission_decisions_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, pair := range metric.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			samples = append(samples, strings.TrimSuffix(fmt.Sprintf("%vx %s %s %s",
				metric.GetCounter().GetValue(), labels["webhook"], labels["result"], labels["reason"]), " "))
		}
	}
	return strings.Join(samples, ", ")
}

func cases(t *testing.T, dir string, run func(t *testing.T, in input) output) {
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.in.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata/%s: %v", dir, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".in.yaml")
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var in input
			if err := yaml.UnmarshalStrict(text, &in); err != nil {
				t.Fatal(err)
			}
			got, err := yaml.Marshal(run(t, in))
			if err != nil {
				t.Fatal(err)
			}
			golden := name + ".out.yaml"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v; go test -update writes it", err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s:\n%s\nwant:\n%s", golden, got, want)
			}
		})
	}
}

func toOutput(t *testing.T, w *webhook, response *admissionv1.AdmissionResponse) output {
	t.Helper()
	out := output{Allowed: response.Allowed, Warnings: response.Warnings, Counted: w.counted(t)}
	if !response.Allowed {
		out.Code, out.Message = response.Result.Code, response.Result.Message
		if strings.ContainsAny(out.Message, "\n\r") || len(out.Message) > 4096 {
			t.Errorf("the refusal is no short line: %q", out.Message)
		}
	}
	for _, warning := range response.Warnings {
		// The API server may cut what is longer.
		if len(warning) > 256 {
			t.Errorf("warning of %d characters: %q", len(warning), warning)
		}
	}
	if len(response.Patch) > 0 {
		if err := json.Unmarshal(response.Patch, &out.Patch); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestPods(t *testing.T) {
	reader := loadCache(t)
	cases(t, "pods", func(t *testing.T, in input) output {
		w := podWebhook(t, reader, in.Request.ByWorkload)
		response, pod := w.post(t, in)
		out := toOutput(t, w, response)
		checkPatch(t, podWebhook(t, reader, in.Request.ByWorkload), in, pod, response)
		again, _ := podWebhook(t, reader, in.Request.ByWorkload).post(t, in)
		if !reflect.DeepEqual(again, response) {
			t.Errorf("the same pod gives another response: %+v, then %+v", response, again)
		}
		return out
	})
}

// checkPatch shows that a patch only adds, and that the patched pod gets no second one.
func checkPatch(t testing.TB, w *webhook, in input, pod []byte, response *admissionv1.AdmissionResponse) {
	t.Helper()
	if len(response.Patch) == 0 {
		return
	}
	if !response.Allowed || *response.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Fatalf("a patch in %+v", response)
	}
	var operations []struct{ Op string }
	if err := json.Unmarshal(response.Patch, &operations); err != nil {
		t.Fatal(err)
	}
	for _, operation := range operations {
		if operation.Op != "add" {
			t.Errorf("operation %s in %s", operation.Op, response.Patch)
		}
	}
	patch, err := jsonpatch.DecodePatch(response.Patch)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply(pod)
	if err != nil {
		t.Fatalf("patch %s does not apply to %s: %v", response.Patch, pod, err)
	}
	var before, after any
	if err := errors.Join(json.Unmarshal(pod, &before), json.Unmarshal(patched, &after)); err != nil {
		t.Fatal(err)
	}
	if !extends(before, after) {
		t.Errorf("patched pod %s does not only add to %s", patched, pod)
	}
	in.Object = after
	second, _ := w.post(t, in)
	if !second.Allowed || len(second.Patch) > 0 || !reflect.DeepEqual(second.Warnings, response.Warnings) {
		t.Errorf("second pass: %+v, patch %s; want no patch and the same warnings", second, second.Patch)
	}
}

// extends tells whether after has everything of before, list elements in their places.
func extends(before, after any) bool {
	switch before := before.(type) {
	case nil:
		return true
	case map[string]any:
		after, ok := after.(map[string]any)
		for key, value := range before {
			if got, there := after[key]; !there || !extends(value, got) {
				return false
			}
		}
		return ok
	case []any:
		after, ok := after.([]any)
		if !ok || len(after) < len(before) {
			return false
		}
		for i := range before {
			if !extends(before[i], after[i]) {
				return false
			}
		}
		return true
	default:
		return before == after
	}
}

// TestOwnerIsTold holds that a refusal is told to whom the pod belongs to, once, and of no dry run.
func TestOwnerIsTold(t *testing.T) {
	owner := map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "7", "controller": true}
	for name, test := range map[string]struct {
		annotation string
		owners     []any
		dryRun     bool
		want       string
	}{
		"refused":                {"kafka.signet.dev/usre", []any{owner}, false, "apps/v1 ReplicaSet shop/web-1 7: annotation kafka.signet.dev/usre: did you mean kafka.signet.dev/user?"},
		"refused in a dry run":   {"kafka.signet.dev/usre", []any{owner}, true, ""},
		"refused, of nobody":     {"kafka.signet.dev/usre", nil, false, ""},
		"refused, not its owner": {"kafka.signet.dev/usre", []any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "8"}}, false, ""},
		"admitted":               {"kafka.signet.dev/user", []any{owner}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			w := newWebhook(t, func(d *Decisions) admission.Handler {
				return &Pods{Reader: loadCache(t), Decisions: d, Tell: func(owner *corev1.ObjectReference, sentence string) {
					told = append(told, fmt.Sprintf("%s %s %s/%s %s: %s", owner.APIVersion, owner.Kind, owner.Namespace, owner.Name, owner.UID, sentence))
				}}
			})
			var in input
			in.Request.DryRun = test.dryRun
			in.Object = map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{test.annotation: "orders"}, "ownerReferences": test.owners},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "app"}}},
			}
			w.post(t, in)
			if got := strings.Join(told, "\n"); got != test.want {
				t.Errorf("told %q, want %q", got, test.want)
			}
		})
	}
}

// TestNamespacesAreBounded holds that the number of series does not grow with the number of namespaces.
func TestNamespacesAreBounded(t *testing.T) {
	d := NewDecisions()
	for round := range 2 {
		for i := range maxNamespaces + 100 {
			d.countPod(fmt.Sprintf("team-%d", i), resultRefused, ReasonUnknownAnnotation)
		}
		if got := testutil.CollectAndCount(d, "signet_admission_pods_total"); got != maxNamespaces+1 {
			t.Errorf("round %d: %d series, want %d", round, got, maxNamespaces+1)
		}
	}
	if got := testutil.ToFloat64(d.pods.WithLabelValues(otherNamespaces, resultRefused)); got != 200 {
		t.Errorf("%v decisions beyond the bound, want 200", got)
	}
	if got := testutil.ToFloat64(d.pods.WithLabelValues("team-0", resultRefused)); got != 2 {
		t.Errorf("%v decisions in the first namespace, want 2", got)
	}
}

// TestKubeletLife holds that the kubelet never asks for what the API server would refuse the whole pod for.
func TestKubeletLife(t *testing.T) {
	for declared, want := range map[time.Duration]int32{
		0: 3600, time.Minute: 3600, time.Hour: 3600, 90*time.Minute + time.Millisecond: 5400,
		91 * 24 * time.Hour: 7862400, 92 * 24 * time.Hour: 7862400, 1<<63 - 1: 7862400, -time.Hour: 3600,
	} {
		user := &v1alpha1.KafkaUser{Spec: v1alpha1.KafkaUserSpec{Certificate: &v1alpha1.UserCertificate{Duration: &metav1.Duration{Duration: declared}}}}
		if got := kubeletLife(user); got != want {
			t.Errorf("%s: %d s, want %d", declared, got, want)
		}
	}
	for _, certificate := range []*v1alpha1.UserCertificate{nil, {}} {
		if got := kubeletLife(&v1alpha1.KafkaUser{Spec: v1alpha1.KafkaUserSpec{Certificate: certificate}}); got != 3600 {
			t.Errorf("nothing declared: %d s", got)
		}
	}
}

func TestKafkaUsers(t *testing.T)        { validations(t, "kafkausers", userWebhook) }
func TestKafkaTopics(t *testing.T)       { validations(t, "kafkatopics", topicWebhook) }
func TestKafkaClusters(t *testing.T)     { validations(t, "kafkaclusters", clusterWebhook) }
func TestMeshIssuers(t *testing.T)       { validations(t, "meshissuers", issuerWebhook) }
func TestPrincipalMappings(t *testing.T) { validations(t, "principalmappings", mappingWebhook) }

// validations sends the cases of a kind to its webhook.
func validations(t *testing.T, dir string, webhook func(testing.TB, client.Reader) *webhook) {
	reader := loadCache(t)
	cases(t, dir, func(t *testing.T, in input) output {
		w := webhook(t, reader)
		response, _ := w.post(t, in)
		if len(response.Patch) > 0 {
			t.Errorf("a validating webhook patches: %s", response.Patch)
		}
		return toOutput(t, w, response)
	})
}

// TestLedgerOfTheCases holds which mappings of cache.yaml are in force: the cases rest on it.
func TestLedgerOfTheCases(t *testing.T) {
	reader := loadCache(t)
	cluster := reader.clusters[client.ObjectKey{Namespace: "kafka", Name: "kafka"}]
	ledger, err := ledgerOf(t.Context(), reader, &cluster)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"shop.checkout": v1alpha1.ReasonReady, "billing.ledger": v1alpha1.ReasonReady, "legacy": v1alpha1.ReasonReady, "partner": v1alpha1.ReasonReady,
		"acme": v1alpha1.ReasonReady, "late": v1alpha1.ReasonConflict, "shop.second": v1alpha1.ReasonConflict,
	}
	verdicts := principal.Judge(&cluster, ledger, func(v1alpha1.MappingOwner) bool { return true })
	for name, verdict := range verdicts {
		if verdict.Reason != want[name] {
			t.Errorf("%s: %s: %s, want %q", name, verdict.Reason, verdict.Message, want[name])
		}
	}
	if len(verdicts) != len(want) {
		t.Errorf("%d mappings of the cluster, want %d: those of another cluster or namespace do not count", len(verdicts), len(want))
	}
}

// silent is a cache that does not answer.
type silent struct{ client.Reader }

func (silent) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("informer not synced")
}

// halfSynced is a cache whose informer for PrincipalMappings does not answer.
type halfSynced struct{ cache }

func (halfSynced) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("informer not synced")
}

// noNamespaces is a cache whose informer for namespaces does not answer.
type noNamespaces struct{ cache }

func (c noNamespaces) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	if _, ok := into.(*metav1.PartialObjectMetadata); ok {
		return errors.New("informer not synced")
	}
	return c.cache.Get(ctx, key, into, opts...)
}

func TestFailures(t *testing.T) {
	half := halfSynced{loadCache(t)}
	inKafka := map[string]any{"spec": map[string]any{"clusterRef": map[string]any{"name": "kafka", "namespace": "kafka"}}}
	declared := map[string]any{"metadata": map[string]any{"annotations": map[string]any{"kafka.signet.dev/user": "orders"}}}
	for name, test := range map[string]struct {
		webhook *webhook
		object  any
		code    int32
		counted string
	}{
		"pods: the cache does not answer":      {podWebhook(t, silent{}, false), declared, 500, "1x pods failed Cache"},
		"pods: not a pod":                      {podWebhook(t, silent{}, true), map[string]any{"spec": "none"}, 400, "1x pods failed Undecodable"},
		"pods: a declaration, and not a pod":   {podWebhook(t, silent{}, false), map[string]any{"metadata": declared["metadata"], "spec": "none"}, 400, "1x pods failed Undecodable"},
		"pods: no object":                      {podWebhook(t, silent{}, false), nil, 400, "1x pods failed Undecodable"},
		"users: the cache does not answer":     {userWebhook(t, silent{}), map[string]any{}, 500, "1x kafkausers failed Cache"},
		"users: not a KafkaUser":               {userWebhook(t, silent{}), []string{"x"}, 400, "1x kafkausers failed Undecodable"},
		"users: the ledger does not answer":    {userWebhook(t, half), inKafka, 500, "1x kafkausers failed Cache"},
		"mappings: the cache does not answer":  {mappingWebhook(t, silent{}), map[string]any{}, 500, "1x principalmappings failed Cache"},
		"mappings: the ledger does not answer": {mappingWebhook(t, half), map[string]any{"spec": map[string]any{"cluster": "kafka"}}, 500, "1x principalmappings failed Cache"},
		"mappings: not a PrincipalMapping":     {mappingWebhook(t, silent{}), []string{"x"}, 400, "1x principalmappings failed Undecodable"},
		"mappings: no object":                  {mappingWebhook(t, silent{}), nil, 400, "1x principalmappings failed Undecodable"},
		"topics: the cache does not answer":    {topicWebhook(t, silent{}), map[string]any{}, 500, "1x kafkatopics failed Cache"},
		"topics: the namespaces do not answer": {topicWebhook(t, noNamespaces(half)), inKafka, 500, "1x kafkatopics failed Cache"},
		"topics: not a KafkaTopic":             {topicWebhook(t, silent{}), []string{"x"}, 400, "1x kafkatopics failed Undecodable"},
		"clusters: the ledger does not answer": {clusterWebhook(t, half), map[string]any{}, 500, "1x kafkaclusters failed Cache"},
		"issuers: the cache does not answer":   {issuerWebhook(t, half), map[string]any{}, 500, "1x meshissuers failed Cache"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input{Object: test.object}
			if strings.HasPrefix(name, "mappings") {
				in.Request.Namespace = "kafka"
			}
			response, _ := test.webhook.post(t, in)
			if response.Allowed || response.Result.Code != test.code {
				t.Errorf("response %+v, want code %d", response, test.code)
			}
			if got := test.webhook.counted(t); got != test.counted {
				t.Errorf("counted %q, want %q", got, test.counted)
			}
		})
	}
}

// TestUndeclaredPodsNeedNoCache shows that a pod without a declaration is admitted whatever state the cache is in.
func TestUndeclaredPodsNeedNoCache(t *testing.T) {
	response, _ := podWebhook(t, silent{}, false).post(t, input{Object: map[string]any{"metadata": map[string]any{}}})
	if !response.Allowed {
		t.Errorf("refused: %+v", response.Result)
	}
}

// TestSkippedPodsDeclareNothing holds that a pod which is not even decoded declares nothing, however its JSON is written.
func TestSkippedPodsDeclareNothing(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`: false,
		`{"metadata":{"name":"a","annotations":{"a":"b\\u","c":"d\n\"\t"}}}`:    true, // an escaped backslash before a u
		`{"metadata":{"name":"a","annotations":{"a":"b","c":"d\n\"\t\\"}}}`:     false,
		`{"metadata":{"annotations":{"kafka.signet.dev/user":"a"}}}`:            true,
		`{"metadata":{"annotations":{"kafka.signet.dev\/user":"a"}}}`:           true,
		`{"metadata":{"annotations":{"\u006bafka.signet.dev/user":"a"}}}`:       true,
		`{"metadata":{"annotations":{"kafka\u002Esignet.dev\u002fuser":"a"}}}`:  true,
		`{"metadata":{"annotations":{"kafka.signet.devil/user":"a"}}}`:          false,
		`{"spec":{"containers":[{"args":["see kafka.signet.dev/user"]}]}}`:      true, // rather once too often
		`{"metadata":{"annotations":{"KAFKA.signet.dev/user":"an other key"}}}`: false,
		``: true,
	} {
		if got := mayDeclare([]byte(text)); got != want {
			t.Errorf("%s: may declare %v, want %v", text, got, want)
		}
		holdSkipped(t, []byte(text))
	}
}

// FuzzSkippedPods holds the same of any JSON.
func FuzzSkippedPods(f *testing.F) {
	addObjects(f, "testdata/pods/*.in.yaml")
	f.Add([]byte(`{"metadata":{"annotations":{"kafka.signet.dev\/user":"a"}}}`))
	f.Fuzz(holdSkipped)
}

func holdSkipped(t *testing.T, text []byte) {
	if mayDeclare(text) {
		return
	}
	pod, err := decodePod(text)
	if err != nil {
		return
	}
	if got, err := Declared(pod.Annotations, "shop", accountOf(pod)); err != nil || !reflect.DeepEqual(got, Declaration{}) {
		t.Errorf("%s is skipped, and declares %+v (%v)", text, got, err)
	}
}

// TestMutationAllocatesLittle bounds what the mutation of a pod with one container leaves to the garbage collector.
func TestMutationAllocatesLittle(t *testing.T) {
	handler := &Pods{Reader: loadCache(t), Check: access.CheckDeclaration, Decisions: NewDecisions()}
	webhook := handler.Webhook()
	allocations := func(annotations string) float64 {
		request := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UID: "1", Namespace: "shop", Operation: admissionv1.Create, Object: runtime.RawExtension{
			Raw: []byte(`{"metadata":{"annotations":{` + annotations + `}},"spec":{"containers":[{"name":"app","env":[{"name":"A","value":"b"}]}]}}`),
		}}}
		mutated := annotations != ""
		return testing.AllocsPerRun(100, func() {
			if response := webhook.Handle(t.Context(), request); !response.Allowed || (len(response.Patch) > 0) != mutated {
				t.Fatalf("%+v", response)
			}
		})
	}
	if got := allocations(`"kafka.signet.dev/user":"orders"`); got > 200 {
		t.Errorf("a mutation makes %v allocations, want at most 200", got)
	}
	if got := allocations(""); got > 20 {
		t.Errorf("a pod that declares nothing makes %v allocations: it is decoded", got)
	}
}

// TestRefusalIsLogged holds that a refusal's line names the request and holds nothing that the pod's author wrote, and that
// an admitted pod makes no line.
func TestRefusalIsLogged(t *testing.T) {
	var lines []string
	log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	handler, err := admission.StandaloneWebhook((&Pods{Reader: loadCache(t), Decisions: NewDecisions()}).Webhook(), admission.StandaloneOptions{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	w := &webhook{handler: handler}
	var in input
	pod := func(annotation string) map[string]any {
		return map[string]any{
			"metadata": map[string]any{"generateName": "web-", "annotations": map[string]any{annotation: "orders"}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "app", "env": []any{map[string]any{"name": "A", "value": "hunter2"}}}}},
		}
	}
	in.Object = pod("kafka.signet.dev/user")
	w.post(t, in)
	if len(lines) > 0 {
		t.Errorf("an admitted pod is logged: %q", lines)
	}
	in.Object = pod("kafka.signet.dev/usre")
	w.post(t, in)
	if len(lines) != 1 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for _, want := range []string{`"namespace"="shop"`, `"requestID"="42"`, `"reason"="UnknownAnnotation"`, `"generateName"="web-"`} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("%s lacks %s", lines[0], want)
		}
	}
	if strings.Contains(lines[0], "hunter2") || strings.Contains(lines[0], "usre") {
		t.Errorf("the line holds what is in the pod: %s", lines[0])
	}
}

// TestSeen holds that the cache drops what it need not hold, and leaves other objects whole. That the handlers miss nothing
// of what it drops is what all other tests show: their cache is filled through it.
func TestSeen(t *testing.T) {
	fields := []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	about := metav1.ObjectMeta{
		Namespace: "shop", Name: "orders", UID: "1", ResourceVersion: "2", ManagedFields: fields,
		Labels: map[string]string{"team": "shop", v1alpha1.LabelDeclaredBy: v1alpha1.DeclaredByPods}, Annotations: map[string]string{"a": "b"}, Finalizers: []string{"a/b"},
	}
	conditions := []metav1.Condition{
		{Type: v1alpha1.ConditionCertificateReady, Status: metav1.ConditionTrue, Reason: "Ready", Message: "long"},
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Suspended", Message: "longer"},
	}
	for name, test := range map[string]struct{ object, want any }{
		"KafkaUser": {
			&v1alpha1.KafkaUser{
				ObjectMeta: about,
				Spec:       v1alpha1.KafkaUserSpec{ClusterRef: v1alpha1.ClusterReference{Name: "kafka"}, Suspend: true, Consume: []string{"a"}, ExternalSubjects: []string{"CN=a"}},
				Status:     v1alpha1.KafkaUserStatus{Principal: "User:shop.orders", Delivery: v1alpha1.DeliverySecret, SignerName: "s", Conditions: conditions},
			},
			&v1alpha1.KafkaUser{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", UID: "1", ResourceVersion: "2", Labels: map[string]string{v1alpha1.LabelDeclaredBy: v1alpha1.DeclaredByPods}},
				Spec:       v1alpha1.KafkaUserSpec{ClusterRef: v1alpha1.ClusterReference{Name: "kafka"}, Suspend: true},
				Status: v1alpha1.KafkaUserStatus{Delivery: v1alpha1.DeliverySecret, SignerName: "s", Conditions: []metav1.Condition{
					{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Suspended"},
				}},
			},
		},
		"PrincipalMapping": {
			&v1alpha1.PrincipalMapping{ObjectMeta: about, Spec: v1alpha1.PrincipalMappingSpec{Principal: "User:a"}, Status: v1alpha1.PrincipalMappingStatus{Conditions: conditions}},
			&v1alpha1.PrincipalMapping{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", UID: "1", ResourceVersion: "2"}, Spec: v1alpha1.PrincipalMappingSpec{Principal: "User:a"}},
		},
		"another kind": {
			&v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Name: "kafka", ManagedFields: fields}, Spec: v1alpha1.KafkaClusterSpec{SuperUsers: []string{"User:a"}}},
			&v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Name: "kafka"}, Spec: v1alpha1.KafkaClusterSpec{SuperUsers: []string{"User:a"}}},
		},
		"no object": {"orders", "orders"},
	} {
		got, err := Seen(test.object)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: keeps %+v (%v), want %+v", name, got, err, test.want)
		}
		if again, err := Seen(got); err != nil || !reflect.DeepEqual(again, test.want) {
			t.Errorf("%s: a second time keeps %+v (%v)", name, again, err)
		}
	}
}
