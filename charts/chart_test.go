// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package charts_test renders the charts with the pinned helm command of tools/helm and judges the result: golden
// files, the schema of the values, what each service account may do, and which pods depend on the webhook.
package charts_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/cel-go/cel"
	"github.com/prometheus/client_golang/prometheus"
	yamlnode "go.yaml.in/yaml/v3"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	psaapi "k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/issuer"
	"github.com/signet-kafka/signet/mutate"
	"github.com/signet-kafka/signet/readiness"
	"github.com/signet-kafka/signet/test/stack"
)

var update = flag.Bool("update", false, "rewrite the golden files and the table of values in README.md")

// render runs helm template and returns its output.
func render(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	return stack.RenderChart(t.Context(), args...)
}

func mustRender(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := render(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// documents splits a rendering into its objects.
func documents(t *testing.T, rendered []byte) [][]byte {
	t.Helper()
	var docs [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(rendered)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
}

// objects decodes all rendered objects of one kind, strictly: a field that the kind does not have is an error.
func objects[T any](t *testing.T, rendered []byte, kind string) []T {
	t.Helper()
	var found []T
	for _, doc := range documents(t, rendered) {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &meta); err != nil {
			t.Fatal(err)
		}
		if meta.Kind != kind {
			continue
		}
		var object T
		if err := yaml.UnmarshalStrict(doc, &object); err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, doc)
		}
		found = append(found, object)
	}
	if len(found) == 0 {
		t.Fatalf("the chart renders no %s", kind)
	}
	return found
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what the chart renders; look at it with go test ./charts -update && git diff\n%s", path, firstDifference(got, want))
	}
}

func firstDifference(got, want []byte) string {
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

var renderings = map[string][]string{
	"default":    {"--set", "crds.install=false"},
	"everything": {"--values", "testdata/everything.values.yaml"},
}

func TestRenderings(t *testing.T) {
	for name, args := range renderings {
		t.Run(name, func(t *testing.T) { golden(t, name+".yaml", mustRender(t, args...)) })
	}
}

// TestRBAC compares everything that each service account may do with a list.
func TestRBAC(t *testing.T) {
	for name, args := range renderings {
		t.Run(name, func(t *testing.T) { golden(t, name+".rbac.txt", []byte(permissions(t, mustRender(t, args...)))) })
	}
}

func permissions(t *testing.T, rendered []byte) string {
	t.Helper()
	rules := map[string][]rbacv1.PolicyRule{}
	for _, role := range objects[rbacv1.ClusterRole](t, rendered, "ClusterRole") {
		rules["ClusterRole/"+role.Name] = role.Rules
	}
	for _, role := range objects[rbacv1.Role](t, rendered, "Role") {
		rules[role.Namespace+"/Role/"+role.Name] = role.Rules
	}
	granted := map[string][]string{}
	grant := func(where, ref string, subjects []rbacv1.Subject) {
		if _, ok := rules[ref]; !ok {
			t.Errorf("a binding names %s, which the chart does not render", ref)
		}
		for _, subject := range subjects {
			account := fmt.Sprintf("%s %s/%s", subject.Kind, subject.Namespace, subject.Name)
			for _, rule := range rules[ref] {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						line := fmt.Sprintf("%s: %s %s", where, strings.Join(rule.Verbs, ","), strings.TrimPrefix(group+"/"+resource, "/"))
						if len(rule.ResourceNames) > 0 {
							line += " named " + strings.Join(rule.ResourceNames, ",")
						}
						granted[account] = append(granted[account], line)
					}
				}
			}
		}
	}
	for _, b := range objects[rbacv1.ClusterRoleBinding](t, rendered, "ClusterRoleBinding") {
		grant("everywhere", b.RoleRef.Kind+"/"+b.RoleRef.Name, b.Subjects)
	}
	for _, b := range objects[rbacv1.RoleBinding](t, rendered, "RoleBinding") {
		grant("in "+b.Namespace, b.Namespace+"/"+b.RoleRef.Kind+"/"+b.RoleRef.Name, b.Subjects)
	}
	var out strings.Builder
	for _, account := range slices.Sorted(maps.Keys(granted)) {
		lines := granted[account]
		slices.Sort(lines)
		fmt.Fprintf(&out, "%s\n  %s\n", account, strings.Join(slices.Compact(lines), "\n  "))
	}
	return out.String()
}

// TestSecretsAreNamed says in code what the golden lists show: no rule reaches all Secrets, and the
// webhook's service account reaches none.
func TestSecretsAreNamed(t *testing.T) {
	for name, args := range renderings {
		t.Run(name, func(t *testing.T) {
			account := ""
			for line := range strings.Lines(permissions(t, mustRender(t, args...))) {
				if !strings.HasPrefix(line, " ") {
					account = strings.TrimSpace(line)
					continue
				}
				_, rule, _ := strings.Cut(strings.TrimSpace(line), ": ")
				verbs, resource, _ := strings.Cut(rule, " ")
				if !strings.HasPrefix(resource, "secrets") && !strings.Contains(resource, "*") {
					continue
				}
				if strings.HasSuffix(account, "-webhook") {
					t.Errorf("%s may %s", account, rule)
				}
				if verbs != "create" && !strings.Contains(resource, " named ") {
					t.Errorf("%s may %s without a name", account, rule)
				}
				if strings.HasPrefix(strings.TrimSpace(line), "everywhere") && strings.HasPrefix(resource, "secrets") {
					t.Errorf("%s may %s everywhere", account, rule)
				}
			}
		})
	}
}

// TestSignersAreSignets holds that whatever the controller may approve, sign or attest is of Signet's own signers.
func TestSignersAreSignets(t *testing.T) {
	for name, args := range renderings {
		t.Run(name, func(t *testing.T) {
			rules := 0
			for _, role := range objects[rbacv1.ClusterRole](t, mustRender(t, args...), "ClusterRole") {
				for _, rule := range role.Rules {
					if !slices.Contains(rule.Resources, "signers") {
						continue
					}
					rules++
					for _, signer := range rule.ResourceNames {
						if signer != "kafka.signet.dev/*" && signer != "meshissuers.kafka.signet.dev/*" {
							t.Errorf("%s may %s for %s", role.Name, rule.Verbs, signer)
						}
					}
					if len(rule.ResourceNames) == 0 {
						t.Errorf("%s may %s for every signer", role.Name, rule.Verbs)
					}
				}
			}
			if rules != 2 {
				t.Errorf("%d rules about signers, want cert-manager's and Kubernetes'", rules)
			}
		})
	}
}

// TestExternalClientRole holds that what is there to be bound gives nothing but requests of one's own making, and who signs.
func TestExternalClientRole(t *testing.T) {
	for rendering, args := range renderings {
		rendered := mustRender(t, args...)
		var found []string
		for _, role := range objects[rbacv1.ClusterRole](t, rendered, "ClusterRole") {
			if strings.HasSuffix(role.Name, "-external-client") {
				found = append(found, role.Name)
				if got := fmt.Sprint(role.Rules); got != "[{[create get] [certificates.k8s.io] [certificatesigningrequests] [] []} {[get] [kafka.signet.dev] [meshissuers] [] []}]" {
					t.Errorf("%s: %s permits %s", rendering, role.Name, got)
				}
			}
		}
		for _, binding := range objects[rbacv1.ClusterRoleBinding](t, rendered, "ClusterRoleBinding") {
			if slices.Contains(found, binding.RoleRef.Name) {
				t.Errorf("%s: %s is bound", rendering, binding.RoleRef.Name)
			}
		}
		if len(found) != 1 {
			t.Errorf("%s: roles %v", rendering, found)
		}
	}
}

func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	for _, d := range objects[appsv1.Deployment](t, mustRender(t, renderings["default"]...), "Deployment") {
		pod := d.Spec.Template
		for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", d.Name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		for _, c := range pod.Spec.Containers {
			if ro := c.SecurityContext.ReadOnlyRootFilesystem; ro == nil || !*ro {
				t.Errorf("%s: container %s has a writable root file system", d.Name, c.Name)
			}
			if c.LivenessProbe == nil || c.ReadinessProbe == nil || c.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: container %s lacks a probe or a memory limit", d.Name, c.Name)
			}
		}
		if !selects(t, d.Spec.Selector, pod.Labels) {
			t.Errorf("%s selects other pods than its own", d.Name)
		}
	}
}

// has tells how many objects of a kind are rendered.
func has(t *testing.T, rendered []byte, kind string) (n int) {
	t.Helper()
	for _, doc := range documents(t, rendered) {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &meta); err != nil {
			t.Fatal(err)
		}
		if meta.Kind == kind {
			n++
		}
	}
	return n
}

// TestServingCertificate holds that one of the two makes the webhook's certificate, that the webhook mounts what that one
// makes, that the API server is told by that one whom to trust, and that the controller may do no more than its part.
func TestServingCertificate(t *testing.T) {
	const webhook = "signet-webhook"
	for name, tc := range map[string]struct {
		args                  []string
		secret, injectFrom    string
		issuers, certificates int
		issuer, issuerKind    string
	}{
		"self-managed": {secret: "signet-webhook-tls"},
		"cert-manager": {
			args: []string{"--set", "webhook.servingCertificate.source=CertManager"}, secret: "signet-webhook-serving", injectFrom: "signet-system/" + webhook,
			issuers: 2, certificates: 2, issuer: "signet-webhook-root", issuerKind: "Issuer",
		},
		"an issuer of one's own": {
			args:   []string{"--set", "webhook.servingCertificate.source=CertManager,webhook.servingCertificate.issuerRef.name=corporate,webhook.servingCertificate.issuerRef.kind=ClusterIssuer"},
			secret: "signet-webhook-serving", injectFrom: "signet-system/" + webhook,
			certificates: 1, issuer: "corporate", issuerKind: "ClusterIssuer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			rendered := mustRender(t, tc.args...)
			if got := [2]int{has(t, rendered, "Issuer"), has(t, rendered, "Certificate")}; got != [2]int{tc.issuers, tc.certificates} {
				t.Errorf("%d issuers and %d certificates", got[0], got[1])
			}
			self := tc.injectFrom == ""
			for _, d := range objects[appsv1.Deployment](t, rendered, "Deployment") {
				pod := d.Spec.Template.Spec
				if d.Name == webhook && pod.Volumes[0].Secret.SecretName != tc.secret {
					t.Errorf("the webhook mounts %s", pod.Volumes[0].Secret.SecretName)
				}
				if d.Name != webhook && !slices.Contains(pod.Containers[0].Args, fmt.Sprintf("--manage-serving-certificate=%t", self)) {
					t.Errorf("the controller is told %q", pod.Containers[0].Args)
				}
			}
			for _, annotations := range []map[string]string{
				objects[admissionregistrationv1.MutatingWebhookConfiguration](t, rendered, "MutatingWebhookConfiguration")[0].Annotations,
				objects[admissionregistrationv1.ValidatingWebhookConfiguration](t, rendered, "ValidatingWebhookConfiguration")[0].Annotations,
			} {
				if got := annotations[cmv1.WantInjectAnnotation]; got != tc.injectFrom {
					t.Errorf("the CA is injected from %q", got)
				}
			}
			may := permissions(t, rendered)
			for _, part := range []string{"mutatingwebhookconfigurations", "signet-webhook-tls", "signet-webhook-ca"} {
				if strings.Contains(may, part) != self {
					t.Errorf("about %s the accounts may\n%s", part, may)
				}
			}
			if self {
				return
			}
			for _, c := range objects[cmv1.Certificate](t, rendered, "Certificate") {
				if c.Name != webhook {
					if !c.Spec.IsCA || c.Spec.PrivateKey.RotationPolicy != cmv1.RotationPolicyNever || c.Spec.SecretName == tc.secret {
						t.Errorf("the CA is %+v", c.Spec)
					}
					continue
				}
				ref := c.Spec.IssuerRef
				if c.Spec.IsCA || c.Spec.SecretName != tc.secret || ref.Name != tc.issuer || ref.Kind != tc.issuerKind || ref.Group != "cert-manager.io" {
					t.Errorf("the certificate is %+v", c.Spec)
				}
				if want := []string{"signet-webhook.signet-system.svc", "signet-webhook.signet-system"}; !slices.Equal(c.Spec.DNSNames, want) {
					t.Errorf("its names are %q, want %q", c.Spec.DNSNames, want)
				}
			}
		})
	}
}

// TestAvailability holds what keeps the webhook answering while nodes come and go: several replicas on several nodes, of which
// a drain takes one at a time and an upgrade none before its successor answers, which no pod of lower priority displaces,
// and which are told to go some time before they go.
func TestAvailability(t *testing.T) {
	rendered := mustRender(t)
	quota := objects[corev1.ResourceQuota](t, rendered, "ResourceQuota")[0].Spec
	budgets := map[string]policyv1.PodDisruptionBudget{}
	for _, b := range objects[policyv1.PodDisruptionBudget](t, mustRender(t, "--set", "controller.replicas=2"), "PodDisruptionBudget") {
		budgets[b.Name] = b
	}
	for _, d := range objects[appsv1.Deployment](t, mustRender(t, "--set", "controller.replicas=2"), "Deployment") {
		pod := d.Spec.Template.Spec
		if *d.Spec.Replicas < 2 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
			t.Errorf("%s: %d replicas, strategy %+v", d.Name, *d.Spec.Replicas, d.Spec.Strategy)
		}
		if b, ok := budgets[d.Name]; !ok || b.Spec.MaxUnavailable.IntValue() != 1 || !selects(t, b.Spec.Selector, d.Spec.Template.Labels) {
			t.Errorf("%s: its budget is %+v", d.Name, b.Spec)
		}
		if s := pod.TopologySpreadConstraints; len(s) != 1 || s[0].TopologyKey != corev1.LabelHostname || !selects(t, s[0].LabelSelector, d.Spec.Template.Labels) {
			t.Errorf("%s: spread by %+v", d.Name, s)
		}
		if class := quota.ScopeSelector.MatchExpressions[0]; class.ScopeName != corev1.ResourceQuotaScopePriorityClass || !slices.Contains(class.Values, pod.PriorityClassName) {
			t.Errorf("%s: no quota is for its class %s", d.Name, pod.PriorityClassName)
		}
		if !strings.HasSuffix(d.Name, "-webhook") {
			continue
		}
		drain := slices.IndexFunc(pod.Containers[0].Args, func(arg string) bool { return strings.HasPrefix(arg, "--drain-delay=") })
		if drain < 0 {
			t.Fatalf("%s: does not drain: %q", d.Name, pod.Containers[0].Args)
		}
		delay, err := time.ParseDuration(strings.TrimPrefix(pod.Containers[0].Args[drain], "--drain-delay="))
		if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; err != nil || delay < time.Second || grace < 2*delay {
			t.Errorf("%s: drains for %s of %s: %v", d.Name, delay, grace, err)
		}
	}
	if got := has(t, mustRender(t, "--set", "webhook.priorityClassName=,controller.priorityClassName=high"), "ResourceQuota"); got != 0 {
		t.Errorf("%d quotas for no pod", got)
	}
}

// TestCRDs compares the rendered CRDs with the generated ones: equal but for the labels and the policy that keeps them.
func TestCRDs(t *testing.T) {
	files, err := filepath.Glob("signet/files/crds/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	rendered := map[string]apiextensionsv1.CustomResourceDefinition{}
	for _, crd := range objects[apiextensionsv1.CustomResourceDefinition](t, mustRender(t), "CustomResourceDefinition") {
		rendered[crd.Name] = crd
	}
	if len(rendered) != len(files) {
		t.Errorf("%d CRDs rendered, %d generated", len(rendered), len(files))
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(raw, &want); err != nil {
			t.Fatal(err)
		}
		got := rendered[want.Name]
		if got.Annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s: helm uninstall would delete it and all its objects", want.Name)
		}
		if got.Labels["app.kubernetes.io/managed-by"] != "Helm" {
			t.Errorf("%s: has no labels", want.Name)
		}
		gotSpec, _ := json.Marshal(got.Spec)
		wantSpec, _ := json.Marshal(want.Spec)
		if !bytes.Equal(gotSpec, wantSpec) {
			t.Errorf("%s: the chart renders another spec than %s", want.Name, file)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"unknown value":              {[]string{"--set", "webhok.replicas=3"}, "webhok"},
		"unknown nested value":       {[]string{"--set", "webhook.replica=3"}, "replica"},
		"no replica":                 {[]string{"--set", "webhook.replicas=0"}, "/webhook/replicas"},
		"replicas as text":           {[]string{"--set-string", "webhook.replicas=2"}, "/webhook/replicas"},
		"unknown failure policy":     {[]string{"--set", "webhook.failurePolicy=Maybe"}, "/webhook/failurePolicy"},
		"timeout beyond Kubernetes'": {[]string{"--set", "webhook.timeoutSeconds=31"}, "/webhook/timeoutSeconds"},
		"CA Secret without name":     {[]string{"--set", "controller.caSecrets[0].namespace=a"}, "/controller/caSecrets/0"},
		"CA Secret by pattern":       {[]string{"--set", "controller.caSecrets[0].namespace=a,controller.caSecrets[0].name=*"}, "/controller/caSecrets/0/name"},
		"namespace with YAML in it":  {[]string{"--set-json", `webhook.excludedNamespaces=["a\n- b"]`}, "/webhook/excludedNamespaces/0"},
		"unknown certificate source": {[]string{"--set", "webhook.servingCertificate.source=Vault"}, "/webhook/servingCertificate/source"},
		"issuer without a name":      {[]string{"--set", "webhook.servingCertificate.issuerRef.kind=ClusterIssuer"}, "/webhook/servingCertificate/issuerRef"},
		"quota of no pod":            {[]string{"--set", "priorityQuota.pods=0"}, "/priorityQuota/pods"},
		"drain of no duration":       {[]string{"--set", "webhook.drainDelay=5"}, "/webhook/drainDelay"},
		"tag with a space":           {[]string{"--set", "image.tag=a b"}, "/image/tag"},
		"account that is no account": {[]string{"--set", "controller.certManagerServiceAccount=admin"}, "/controller/certManagerServiceAccount"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := render(t, tc.args...)
			if err == nil {
				t.Fatalf("accepted, %d bytes rendered", len(out))
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error does not name %q: %v", tc.want, err)
			}
		})
	}
}

// matchConditions is what the API server decides before it calls the webhook; here with the same language but without
// its types, which the conditions do not need.
func matchConditions(t *testing.T, conditions []admissionregistrationv1.MatchCondition, vars map[string]any) bool {
	t.Helper()
	env, err := cel.NewEnv(cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("request", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	matches := true
	for _, condition := range conditions {
		ast, issues := env.Compile(condition.Expression)
		if issues.Err() != nil {
			t.Fatalf("%s: %v", condition.Name, issues.Err())
		}
		program, err := env.Program(ast)
		if err != nil {
			t.Fatalf("%s: %v", condition.Name, err)
		}
		result, _, err := program.Eval(vars)
		if err != nil {
			t.Fatalf("%s: an error is a refusal under failurePolicy Fail: %v", condition.Name, err)
		}
		matches = matches && result.Value() == true
	}
	return matches
}

func TestWhichPodsDependOnTheWebhook(t *testing.T) {
	webhooks := objects[admissionregistrationv1.MutatingWebhookConfiguration](t, mustRender(t, renderings["default"]...), "MutatingWebhookConfiguration")[0].Webhooks
	for _, webhook := range webhooks {
		if webhook.ClientConfig.CABundle != nil {
			t.Errorf("%s: caBundle is set: Helm and the controller would fight over it", webhook.Name)
		}
	}
	webhook, byWorkload := webhooks[0], webhooks[1]
	for name, tc := range map[string]struct {
		annotations map[string]any
		want        bool
	}{
		"no annotations at all":        {nil, false},
		"other annotations only":       {map[string]any{"prometheus.io/scrape": "true"}, false},
		"a user":                       {map[string]any{"kafka.signet.dev/user": "orders"}, true},
		"a misspelt annotation":        {map[string]any{"kafka.signet.dev/users": "orders"}, true},
		"a user, opted out":            {map[string]any{"kafka.signet.dev/user": "orders", "kafka.signet.dev/inject": "false"}, false},
		"a user, opted out in no form": {map[string]any{"kafka.signet.dev/user": "orders", "kafka.signet.dev/inject": "no"}, true},
		"a similar prefix":             {map[string]any{"kafka.signet.development/user": "orders"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			metadata := map[string]any{"name": "p"}
			if tc.annotations != nil {
				metadata["annotations"] = tc.annotations
			}
			vars := map[string]any{"object": map[string]any{"metadata": metadata}}
			if got := matchConditions(t, webhook.MatchConditions, vars); got != tc.want {
				t.Errorf("reaches the webhook: %v, want %v", got, tc.want)
			}
			// Where workloads opt in, all come but those that opted out.
			if got := matchConditions(t, byWorkload.MatchConditions, vars); got != (tc.annotations["kafka.signet.dev/inject"] != "false") {
				t.Errorf("in a namespace with the label: reaches the webhook: %v", got)
			}
		})
	}
}

func TestWhichNamespacesDependOnTheWebhook(t *testing.T) {
	rendered := mustRender(t, renderings["default"]...)
	webhooks := objects[admissionregistrationv1.MutatingWebhookConfiguration](t, rendered, "MutatingWebhookConfiguration")[0].Webhooks
	guard := policy(t, rendered, "signet-pods")
	for name, tc := range map[string]struct {
		labels map[string]string
		want   string // the path of the one webhook for its pods
	}{
		"shop":                           {nil, mutate.PathPods},
		"kube-system":                    {nil, ""},
		"signet-system":                  {nil, ""},
		"disabled by its label":          {map[string]string{v1alpha1.LabelInject: v1alpha1.InjectDisabled}, ""},
		"enabled by its label":           {map[string]string{v1alpha1.LabelInject: v1alpha1.InjectEnabled}, mutate.PathWorkloadPods},
		"labelled with something else":   {map[string]string{v1alpha1.LabelInject: "true"}, mutate.PathPods},
		"disabled by another's label":    {map[string]string{"istio-injection": "disabled"}, mutate.PathPods},
		"enabled by a label of our name": {map[string]string{"inject": v1alpha1.InjectEnabled}, mutate.PathPods},
	} {
		t.Run(name, func(t *testing.T) {
			set := map[string]string{"kubernetes.io/metadata.name": name}
			maps.Copy(set, tc.labels)
			var got []string
			for _, webhook := range webhooks {
				if selects(t, webhook.NamespaceSelector, set) {
					got = append(got, *webhook.ClientConfig.Service.Path)
				}
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("its pods go to %q, want %q", got, tc.want)
			}
			if guarded := selects(t, guard.Spec.MatchConstraints.NamespaceSelector, set); guarded != (tc.want != "") {
				t.Errorf("its pods are guarded: %t", guarded)
			}
		})
	}
}

// policy returns the ValidatingAdmissionPolicy with this name.
func policy(t *testing.T, rendered []byte, name string) admissionregistrationv1.ValidatingAdmissionPolicy {
	t.Helper()
	policies := objects[admissionregistrationv1.ValidatingAdmissionPolicy](t, rendered, "ValidatingAdmissionPolicy")
	i := slices.IndexFunc(policies, func(p admissionregistrationv1.ValidatingAdmissionPolicy) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("no ValidatingAdmissionPolicy %s", name)
	}
	return policies[i]
}

func TestWhichChangesOfDeclarationsDependOnTheWebhook(t *testing.T) {
	webhooks := objects[admissionregistrationv1.ValidatingWebhookConfiguration](t, mustRender(t, renderings["default"]...), "ValidatingWebhookConfiguration")[0].Webhooks
	user := func(topic string, finalizers ...any) map[string]any {
		return map[string]any{"metadata": map[string]any{"finalizers": finalizers}, "spec": map[string]any{"consume": []any{topic}}}
	}
	for name, tc := range map[string]struct {
		operation   string
		object, old any
		want        bool
	}{
		"creation":              {"CREATE", user("a"), nil, true},
		"another declaration":   {"UPDATE", user("b"), user("a"), true},
		"a finalizer is added":  {"UPDATE", user("a", "kafka.signet.dev/access"), user("a"), false},
		"the finalizer is gone": {"UPDATE", user("a"), user("a", "kafka.signet.dev/access"), false},
	} {
		t.Run(name, func(t *testing.T) {
			request := map[string]any{"operation": tc.operation, "userInfo": map[string]any{"username": "jane"}}
			vars := map[string]any{"request": request, "object": tc.object, "oldObject": tc.old}
			for _, webhook := range webhooks {
				if got := matchConditions(t, webhook.MatchConditions, vars); got != tc.want {
					t.Errorf("reaches %s: %v, want %v", webhook.Name, got, tc.want)
				}
			}
		})
	}
}

// validating returns the validating webhook of that name.
func validating(t *testing.T, rendered []byte, name string) admissionregistrationv1.ValidatingWebhook {
	t.Helper()
	for _, webhook := range objects[admissionregistrationv1.ValidatingWebhookConfiguration](t, rendered, "ValidatingWebhookConfiguration")[0].Webhooks {
		if webhook.Name == name {
			return webhook
		}
	}
	t.Fatalf("no webhook %s", name)
	return admissionregistrationv1.ValidatingWebhook{}
}

func TestWhichChangesOfPrincipalMappingsDependOnTheWebhook(t *testing.T) {
	for rendering, args := range renderings {
		rendered := mustRender(t, args...)
		webhook := validating(t, rendered, "principalmappings.kafka.signet.dev")
		controller := ""
		for _, d := range objects[appsv1.Deployment](t, rendered, "Deployment") {
			if d.Labels["app.kubernetes.io/component"] == "controller" {
				controller = "system:serviceaccount:signet-system:" + d.Spec.Template.Spec.ServiceAccountName
			}
		}
		mapping := func(subject string, label ...string) map[string]any {
			return map[string]any{"metadata": map[string]any{"labels": label}, "spec": map[string]any{"subjects": []any{map[string]any{"exact": subject}}}}
		}
		for name, tc := range map[string]struct {
			operation, user string
			object, old     any
			want            bool
		}{
			"an administrator's creation":                  {"CREATE", "jane", mapping("CN=a"), nil, true},
			"an administrator claims more":                 {"UPDATE", "jane", mapping("CN=b"), mapping("CN=a"), true},
			"an administrator sets a label":                {"UPDATE", "jane", mapping("CN=a", "x"), mapping("CN=a"), false},
			"the controller records a KafkaUser":           {"CREATE", controller, mapping("CN=a"), nil, false},
			"the controller records a changed KafkaUser":   {"UPDATE", controller, mapping("CN=b"), mapping("CN=a"), false},
			"the webhook's own account":                    {"CREATE", strings.Replace(controller, "-controller", "-webhook", 1), mapping("CN=a"), nil, true},
			"an account of that name in another namespace": {"CREATE", strings.Replace(controller, ":signet-system:", ":shop:", 1), mapping("CN=a"), nil, true},
		} {
			t.Run(rendering+": "+name, func(t *testing.T) {
				request := map[string]any{"operation": tc.operation, "userInfo": map[string]any{"username": tc.user}}
				vars := map[string]any{"request": request, "object": tc.object, "oldObject": tc.old}
				if got := matchConditions(t, webhook.MatchConditions, vars); got != tc.want {
					t.Errorf("reaches the webhook: %v, want %v", got, tc.want)
				}
			})
		}
	}
}

// TestValidatingWebhooksAgree holds what every validating webhook has in common: Helm and the controller do not fight
// over caBundle, a dry run has no side effects, and each asks for its own kind at a path of its own.
func TestValidatingWebhooksAgree(t *testing.T) {
	configuration := objects[admissionregistrationv1.ValidatingWebhookConfiguration](t, mustRender(t, renderings["default"]...), "ValidatingWebhookConfiguration")[0]
	// What happens where the webhook does not answer, by path: an administrator's declarations are accepted.
	left := map[string]admissionregistrationv1.FailurePolicyType{
		mutate.PathKafkaUsers: admissionregistrationv1.Fail, mutate.PathKafkaTopics: admissionregistrationv1.Fail,
		mutate.PathKafkaClusters: admissionregistrationv1.Ignore, mutate.PathMeshIssuers: admissionregistrationv1.Ignore,
		mutate.PathPrincipalMappings: admissionregistrationv1.Fail,
	}
	for _, webhook := range configuration.Webhooks {
		resource, _, _ := strings.Cut(webhook.Name, ".")
		path := *webhook.ClientConfig.Service.Path
		policy, known := left[path]
		if path != "/validate-"+resource || !known {
			t.Errorf("%s: path %s", webhook.Name, path)
		}
		delete(left, path)
		if len(webhook.Rules) != 1 || !slices.Equal(webhook.Rules[0].Resources, []string{resource}) || !slices.Equal(webhook.Rules[0].APIGroups, []string{"kafka.signet.dev"}) {
			t.Errorf("%s: rules %+v", webhook.Name, webhook.Rules)
		}
		if webhook.ClientConfig.CABundle != nil || *webhook.SideEffects != admissionregistrationv1.SideEffectClassNone || *webhook.FailurePolicy != policy {
			t.Errorf("%s: %+v", webhook.Name, webhook)
		}
	}
	if len(left) > 0 {
		t.Errorf("no validating webhooks at %v", slices.Sorted(maps.Keys(left)))
	}
}

// TestWhatTheControllerMayWrite evaluates the policy that confines the controller, and that it is asked about all of that.
func TestWhatTheControllerMayWrite(t *testing.T) {
	policy := policy(t, mustRender(t, renderings["default"]...), "signet-controller")
	const controller = "system:serviceaccount:signet-system:signet-controller"
	var validations []admissionregistrationv1.MatchCondition
	for _, v := range policy.Spec.Validations {
		validations = append(validations, admissionregistrationv1.MatchCondition{Name: v.Message, Expression: v.Expression})
	}
	const configMaps, trustBundles = "configmaps", "clustertrustbundles"
	for object, want := range map[[2]string]bool{
		{configMaps, v1alpha1.ClientConfigName("orders")}:            true,
		{configMaps, v1alpha1.TrustBundleName("orders")}:             true,
		{configMaps, v1alpha1.BrokerConfigName("kafka")}:             true,
		{configMaps, v1alpha1.BrokerShardName("kafka", 1)}:           true,
		{configMaps, v1alpha1.BrokerShardName("kafka", 15)}:          true,
		{configMaps, v1alpha1.BrokerShardName("kafka", 100)}:         false,
		{configMaps, "kafka-signet-broker-"}:                         false,
		{configMaps, "kafka-signet-broker-x"}:                        false,
		{configMaps, "kafka-signet-broker-1-x"}:                      false,
		{configMaps, "kafka-signet-brokers"}:                         false,
		{configMaps, "kafka-kafka-client-1"}:                         false,
		{configMaps, "kube-root-ca.crt"}:                             false,
		{configMaps, "istio-ca-root-cert"}:                           false,
		{configMaps, "coredns"}:                                      false,
		{configMaps, "signet-broker"}:                                false,
		{configMaps, v1alpha1.TrustBundleObject("mesh")}:             false,
		{trustBundles, v1alpha1.TrustBundleObject("mesh")}:           true,
		{trustBundles, v1alpha1.TrustBundleObject("mesh.second")}:    true,
		{trustBundles, "kafka.signet.dev:mesh:others"}:               false,
		{trustBundles, "kafka.signet.dev:mesh:x:roots"}:              false,
		{trustBundles, "kafka.signet.dev::roots"}:                    false,
		{trustBundles, "kafkaxsignet.dev:mesh:roots"}:                false,
		{trustBundles, "x.kafka.signet.dev:mesh:roots"}:              false,
		{trustBundles, "kubernetes.io:kube-apiserver-serving:roots"}: false,
		{trustBundles, "company-roots"}:                              false,
		{trustBundles, v1alpha1.TrustBundleName("orders")}:           false,
	} {
		resource, name := object[0], object[1]
		object := map[string]any{"metadata": map[string]any{"name": name}}
		for _, operation := range []string{"CREATE", "UPDATE", "DELETE"} {
			request := map[string]any{"operation": operation, "userInfo": map[string]any{"username": controller}, "resource": map[string]any{"resource": resource}}
			vars := map[string]any{"request": request, "object": object, "oldObject": object}
			if operation == "DELETE" {
				vars["object"] = nil
			}
			if !matchConditions(t, policy.Spec.MatchConditions, vars) {
				t.Fatal("the policy is not about the controller")
			}
			if got := matchConditions(t, validations, vars); got != want {
				t.Errorf("%s of %s %s: permitted %v, want %v", operation, resource, name, got, want)
			}
		}
	}
	var asked []string
	for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
		asked = append(asked, fmt.Sprint(rule.APIGroups, rule.Resources, rule.Operations))
	}
	if want := []string{"[] [configmaps] [CREATE UPDATE DELETE]", "[certificates.k8s.io] [clustertrustbundles] [CREATE UPDATE DELETE]"}; !slices.Equal(asked, want) {
		t.Errorf("the policy is asked about %q, want %q", asked, want)
	}
	vars := map[string]any{"request": map[string]any{"operation": "CREATE", "userInfo": map[string]any{"username": "jane"}}}
	if matchConditions(t, policy.Spec.MatchConditions, vars) {
		t.Error("the policy confines somebody else")
	}
}

// TestAlertsHaveRunbooks holds that each alert leads to a section of docs/runbooks.md, that no section is of none, and that
// alerts and dashboard name metrics that the binaries have.
func TestAlertsHaveRunbooks(t *testing.T) {
	rendered := mustRender(t, "--set", "prometheusRule.enabled=true", "--set", "dashboard.enabled=true")
	rules := objects[struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            struct {
			Groups []struct {
				Name  string
				Rules []struct {
					Alert, Expr, For    string
					Labels, Annotations map[string]string
				}
			}
		}
	}](t, rendered, "PrometheusRule")[0]
	page, err := os.ReadFile("../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(page), -1) {
		sections[strings.ToLower(heading[1])] = true
	}
	var expressions []string
	for _, rule := range rules.Spec.Groups[0].Rules {
		address, anchor, _ := strings.Cut(rule.Annotations["runbook_url"], "#")
		if anchor != strings.ToLower(rule.Alert) || !sections[anchor] || !strings.HasSuffix(address, "/docs/runbooks.md") {
			t.Errorf("%s: its runbook %q is no section of docs/runbooks.md", rule.Alert, rule.Annotations["runbook_url"])
		}
		delete(sections, anchor)
		if rule.For == "" || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
			t.Errorf("%s lacks a duration, a severity or a summary", rule.Alert)
		}
		expressions = append(expressions, rule.Expr)
	}
	for section := range sections {
		t.Errorf("docs/runbooks.md has a section %q, and there is no such alert", section)
	}
	dashboards := slices.DeleteFunc(objects[corev1.ConfigMap](t, rendered, "ConfigMap"), func(c corev1.ConfigMap) bool { return c.Data["signet.json"] == "" })
	if len(dashboards) != 1 || dashboards[0].Labels["grafana_dashboard"] != "1" {
		t.Fatalf("%d dashboards", len(dashboards))
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(dashboards[0].Data["signet.json"]), &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) < 8 {
		t.Errorf("%d panels", len(dashboard.Panels))
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	known := metricNames(t)
	for _, expression := range expressions {
		for _, name := range regexp.MustCompile(`signet_[a-z_]+`).FindAllString(expression, -1) {
			if !known[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("no binary has the metric %s of %q", name, expression)
			}
		}
	}
}

// metricNames are the names of the metrics of both binaries, as their descriptions say.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	registered := &describer{names: map[string]bool{}}
	if _, err := issuer.NewMetrics(registered); err != nil {
		t.Fatal(err)
	}
	registered.MustRegister(mutate.NewDecisions(), issuer.NewExpiry(nil), readiness.NewObjects(nil))
	return registered.names
}

// describer is a prometheus.Registerer that keeps the names of what is registered.
type describer struct{ names map[string]bool }

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

func (d *describer) Register(collector prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 100)
	collector.Describe(descs)
	close(descs)
	for desc := range descs {
		d.names[fqName.FindStringSubmatch(desc.String())[1]] = true
	}
	return nil
}

func (d *describer) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		if err := d.Register(collector); err != nil {
			panic(err)
		}
	}
}

func (d *describer) Unregister(prometheus.Collector) bool { return false }

func selects(t *testing.T, selector *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(set))
}

// value is one row of the table of values: a leaf of values.yaml with its comment.
type value struct{ path, fallback, doc string }

// values walks values.yaml. A mapping whose key has a comment of its own ("# --") is one value; any other mapping is a
// group.
func values(t *testing.T) []value {
	t.Helper()
	raw, err := os.ReadFile("signet/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yamlnode.Node
	if err := yamlnode.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	var found []value
	var walk func(prefix string, node *yamlnode.Node)
	walk = func(prefix string, node *yamlnode.Node) {
		for i := 0; i < len(node.Content); i += 2 {
			key, content := node.Content[i], node.Content[i+1]
			path := prefix + key.Value
			_, doc, documented := strings.Cut(key.HeadComment, "# -- ")
			switch {
			case documented:
				var plain any
				if err := content.Decode(&plain); err != nil {
					t.Fatal(err)
				}
				fallback, err := json.Marshal(plain)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, value{path, string(fallback), doc})
			case content.Kind == yamlnode.MappingNode && len(content.Content) > 0:
				walk(path+".", content)
			default:
				t.Errorf("values.yaml: %s has no comment that begins with \"# -- \"", path)
			}
		}
	}
	walk("", document.Content[0])
	return found
}

func TestReadmeListsAllValues(t *testing.T) {
	const begin, end = "<!-- values: written from values.yaml by go test ./charts -update -->\n", "<!-- end of values -->\n"
	readme, err := os.ReadFile("signet/README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("signet/README.md: the marks of the table of values are gone")
	}
	var want strings.Builder
	want.WriteString("| value | default | |\n|---|---|---|\n")
	for _, v := range values(t) {
		fmt.Fprintf(&want, "| `%s` | `%s` | %s |\n", v.path, v.fallback, v.doc)
	}
	if *update {
		if err := os.WriteFile("signet/README.md", []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want.String() {
		t.Errorf("the table of values in signet/README.md is not current; run go test ./charts -update\n%s", firstDifference([]byte(table), []byte(want.String())))
	}
}

// TestSchemaKnowsAllValues compares the schema's properties with the keys of values.yaml, both ways.
func TestSchemaKnowsAllValues(t *testing.T) {
	raw, err := os.ReadFile("signet/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type schema struct {
		AdditionalProperties any                        `json:"additionalProperties"`
		Properties           map[string]json.RawMessage `json:"properties"`
	}
	var known []string
	var walk func(prefix string, raw json.RawMessage)
	walk = func(prefix string, raw json.RawMessage) {
		var s schema
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Properties) == 0 {
			known = append(known, prefix)
			return
		}
		if s.AdditionalProperties != false {
			t.Errorf("values.schema.json: %s accepts unknown values", cmp.Or(prefix, "the root"))
		}
		for name, property := range s.Properties {
			walk(strings.TrimPrefix(prefix+"."+name, "."), property)
		}
	}
	walk("", raw)
	var documented []string
	for _, v := range values(t) {
		documented = append(documented, v.path)
	}
	for _, path := range known {
		if path != "global" && !slices.Contains(documented, path) {
			t.Errorf("values.schema.json knows %s, values.yaml does not", path)
		}
	}
	for _, path := range documented {
		if !slices.Contains(known, path) {
			t.Errorf("values.yaml has %s, values.schema.json does not", path)
		}
	}
}
