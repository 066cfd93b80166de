// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package charts_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// module is a version of a Go module in which schemas are published, and its hash.
type module struct{ path, version, sum string }

// kubernetesReleases hold the OpenAPI document of a release.
var kubernetesReleases = []module{
	{"k8s.io/kubernetes", "v1.35.4", "h1:o/8dBC/pHVpYoGV4OAIytAlNPZbdYVTXJHoYvXC4qzM="},
	{"k8s.io/kubernetes", "v1.36.3", "h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o="},
	{"k8s.io/kubernetes", "v1.37.1", "h1:LTUzSbp9n0W7649oVKBYfC48zcoD3vCk++1PZQn28q8="},
}

// prometheusOperator holds the CRDs of ServiceMonitors and PrometheusRules.
var prometheusOperator = module{"github.com/prometheus-operator/prometheus-operator", "v0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="}

// TestKubeconform holds everything that the chart renders against the schemas of the releases of Kubernetes, and of
// cert-manager and the Prometheus operator, with the pinned kubeconform of tools/kubeconform: no field that is unknown there,
// none of another type, none missing.
func TestKubeconform(t *testing.T) {
	tool := exec.CommandContext(t.Context(), "go", "tool", "-n", "kubeconform")
	tool.Dir = filepath.Join("..", "tools", "kubeconform")
	path, err := tool.Output()
	if err != nil {
		t.Fatalf("build kubeconform from tools/kubeconform: %v", err)
	}
	kubeconform := strings.TrimSpace(string(path))
	custom := slices.Concat(
		crdSchemas(t, filepath.Join(required(t, "github.com/cert-manager/cert-manager"), "deploy", "crds", "cert-manager.io_*.yaml")),
		crdSchemas(t, filepath.Join(prometheusOperator.download(t), "example", "prometheus-operator-crd", "monitoring.coreos.com_*.yaml")),
	)
	for _, release := range kubernetesReleases {
		t.Run(release.version, func(t *testing.T) {
			dir := t.TempDir()
			for _, s := range append(kubernetesSchemas(t, filepath.Join(release.download(t), "api", "openapi-spec", "swagger.json")), custom...) {
				s.write(t, dir)
			}
			for name, args := range map[string][]string{
				"default":      nil,
				"cert-manager": {"--set", "webhook.servingCertificate.source=CertManager"},
				"everything":   append(slices.Clone(renderings["everything"]), "--set", "crds.install=true"),
			} {
				rendered := mustRender(t, append(args, "--kube-version", release.version)...)
				got := conform(t, kubeconform, dir, release.version, rendered)
				for _, r := range got {
					if r.Status != "statusValid" {
						t.Errorf("%s: %s %s: %s %s", name, r.Kind, r.Name, r.Status, r.Msg)
					}
				}
				if want := len(documents(t, rendered)); len(got) != want {
					t.Errorf("%s: %d objects were looked at, want %d", name, len(got), want)
				}
			}
			// What it should refuse, it does.
			rendered := mustRender(t, "--set", "crds.install=false", "--set", "serviceMonitor.enabled=true", "--set", "webhook.servingCertificate.source=CertManager")
			for _, change := range [][3]string{
				{"Deployment", "  replicas: 2", "  replicas: two"},
				{"Deployment", "  replicas: 2", "  replicaz: 2"},
				{"Deployment", "readOnlyRootFilesystem:", "readOnlyRootFileSystem:"},
				{"Service", "targetPort: webhook", "targetPort: [webhook]"},
				{"ValidatingAdmissionPolicy", "validations:", "validation:"},
				{"ServiceMonitor", "endpoints:", "endpoint:"},
				{"Certificate", "isCA: true", "isCA: maybe"},
			} {
				broken := bytes.Replace(rendered, []byte(change[1]), []byte(change[2]), 1)
				if bytes.Equal(broken, rendered) {
					t.Fatalf("the chart renders no %q", change[1])
				}
				refused := slices.DeleteFunc(conform(t, kubeconform, dir, release.version, broken), func(r result) bool { return r.Status == "statusValid" })
				if len(refused) != 1 || refused[0].Kind != change[0] || refused[0].Status != "statusInvalid" {
					t.Errorf("with %q it refuses %+v, want one %s", change[2], refused, change[0])
				}
			}
		})
	}
}

// result is what kubeconform says of one object.
type result struct{ Kind, Name, Status, Msg string }

func conform(t *testing.T, kubeconform, schemas, version string, rendered []byte) []result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), kubeconform, "-strict", "-verbose", "-output", "json",
		"-kubernetes-version", strings.TrimPrefix(version, "v"),
		"-schema-location", filepath.Join(schemas, "{{ .ResourceKind }}{{ .KindSuffix }}.json"), "-")
	cmd.Stdin = bytes.NewReader(rendered)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var said struct{ Resources []result }
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("kubeconform: %v\n%s%s", err, out, stderr.String())
	}
	return said.Resources
}

// download returns the directory of a module, which nothing else here requires.
func (m module) download(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", m.path+"@"+m.version)
	cmd.Dir = t.TempDir() // in no module, none of whose files it could touch
	out, err := cmd.Output()
	var got struct{ Dir, Sum, Error string }
	if decoding := json.Unmarshal(out, &got); decoding != nil || got.Error != "" || err != nil {
		t.Fatalf("go mod download %s@%s: %v %s", m.path, m.version, err, got.Error)
	}
	if got.Sum != m.sum {
		t.Fatalf("%s@%s has the hash %s, want %s", m.path, m.version, got.Sum, m.sum)
	}
	return got.Dir
}

// required returns the directory of a module that this one requires.
func required(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// schema is the JSON schema of one kind in one version.
type schema struct {
	group, version, kind string
	content              map[string]any
}

// write writes the schema under the name by which kubeconform looks for it.
func (s schema) write(t *testing.T, dir string) {
	t.Helper()
	name := s.kind + "-" + s.version
	if group, _, _ := strings.Cut(s.group, "."); group != "" {
		name = s.kind + "-" + group + "-" + s.version
	}
	content := maps.Clone(s.content)
	content["$schema"] = "http://json-schema.org/draft-07/schema#"
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, strings.ToLower(name)+".json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// kubernetesSchemas makes a schema of each kind of an OpenAPI v2 document, complete in itself.
func kubernetesSchemas(t *testing.T, swagger string) (schemas []schema) {
	t.Helper()
	text, err := os.ReadFile(swagger)
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for _, definition := range document.Definitions {
		forbidUnknown(definition)
	}
	// OpenAPI v2 has no type for what may be either of two.
	document.Definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = map[string]any{"type": []string{"integer", "string"}}
	document.Definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = map[string]any{"type": []string{"number", "string"}}
	for _, definition := range document.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue // none, or such as DeleteOptions, which every group has
		}
		kind, _ := kinds[0].(map[string]any)
		s := schema{content: maps.Clone(definition)}
		s.group, _ = kind["group"].(string)
		s.version, _ = kind["version"].(string)
		s.kind, _ = kind["kind"].(string)
		needed := map[string]any{}
		collect(definition, document.Definitions, needed)
		s.content["definitions"] = needed
		schemas = append(schemas, s)
	}
	if len(schemas) < 100 {
		t.Fatalf("%s: only %d kinds", swagger, len(schemas))
	}
	return schemas
}

// collect adds every definition that value refers to, and what these refer to.
func collect(value any, definitions map[string]map[string]any, needed map[string]any) {
	switch value := value.(type) {
	case map[string]any:
		if reference, ok := value["$ref"].(string); ok {
			name := strings.TrimPrefix(reference, "#/definitions/")
			if _, known := needed[name]; !known {
				needed[name] = definitions[name]
				collect(definitions[name], definitions, needed)
			}
			return
		}
		for _, member := range value {
			collect(member, definitions, needed)
		}
	case []any:
		for _, element := range value {
			collect(element, definitions, needed)
		}
	}
}

// crdSchemas makes a schema of each kind and version of CRDs.
func crdSchemas(t *testing.T, pattern string) (schemas []schema) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs at %s: %v", pattern, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema map[string]any }
				}
			}
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, version := range crd.Spec.Versions {
			forbidUnknown(version.Schema.OpenAPIV3Schema)
			schemas = append(schemas, schema{crd.Spec.Group, version.Name, crd.Spec.Names.Kind, version.Schema.OpenAPIV3Schema})
		}
	}
	return schemas
}

// forbidUnknown makes every object that lists its properties refuse others.
func forbidUnknown(s map[string]any) {
	if properties, ok := s["properties"].(map[string]any); ok {
		for _, property := range properties {
			if property, ok := property.(map[string]any); ok {
				forbidUnknown(property)
			}
		}
		if _, open := s["additionalProperties"]; !open && s["x-kubernetes-preserve-unknown-fields"] != true {
			s["additionalProperties"] = false
		}
	}
	for _, member := range []string{"items", "additionalProperties"} {
		if member, ok := s[member].(map[string]any); ok {
			forbidUnknown(member)
		}
	}
}
