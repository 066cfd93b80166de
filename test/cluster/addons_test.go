package main

import (
	"archive/zip"
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func TestCertManagerChart(t *testing.T) {
	dir, err := moduleDir(t.Context(), "components/certmanager", "github.com/cert-manager/cert-manager")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(dir, "@"+certManagerVersion) {
		t.Errorf("components/certmanager requires %s, the images are called %s", filepath.Base(dir), certManagerVersion)
	}
	manifests, err := release{
		dir: filepath.Join(dir, "deploy", "charts", "cert-manager"), name: "cert-manager", namespace: "cert-manager",
		version: certManagerVersion, kubernetes: "v1.37.1", values: certManagerValues(),
	}.render()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"signet.test/cert-manager/cainjector:v1.21.2", "signet.test/cert-manager/controller:v1.21.2", "signet.test/cert-manager/webhook:v1.21.2",
	}
	if got := imagesIn(manifests); !slices.Equal(got, want) {
		t.Errorf("images %q, want only those that are loaded: %q", got, want)
	}
	if n := strings.Count(manifests, "kind: CustomResourceDefinition"); n != 6 {
		t.Errorf("%d CRDs, want 6", n)
	}
	// Whoever may approve all signers would approve a signer of somebody else's.
	approve := regexp.MustCompile(`resources: \["signers"\]\s+verbs: \["approve"\]\s+resourceNames:\s+- "issuers.cert-manager.io/\*"\s+- "clusterissuers.cert-manager.io/\*"\n\s*\n`)
	if !approve.MatchString(manifests) {
		t.Error("the approver may approve more than requests for cert-manager's own issuers")
	}
}

func TestIstioCharts(t *testing.T) {
	dir, err := moduleDir(t.Context(), "components/istio", "istio.io/istio")
	if err != nil {
		t.Fatal(err)
	}
	render := func(chart string) string {
		t.Helper()
		manifests, err := release{
			dir: filepath.Join(dir, "manifests", "charts", chart), name: "istio", namespace: "istio-system",
			kubernetes: "v1.37.1", values: istioValues(),
		}.render()
		if err != nil {
			t.Fatal(err)
		}
		return manifests
	}
	if base := render("base"); !strings.Contains(base, "name: peerauthentications.security.istio.io") {
		t.Error("the base chart brings no CRDs")
	}
	istiod := render("istio-control/istio-discovery")
	for _, want := range []string{
		`image: "signet.test/istio/pilot:1.31"`,
		"enablePrometheusMerge: false",
		"- name: PILOT_ENABLE_ALPN_FILTER\n",
		"- name: PILOT_ENABLE_METADATA_EXCHANGE\n",
	} {
		if !strings.Contains(istiod, want) {
			t.Errorf("istiod's manifests lack %q", want)
		}
	}
	// Indented ones are templates for gateways.
	if regexp.MustCompile(`(?m)^kind: (HorizontalPodAutoscaler|PodDisruptionBudget)`).MatchString(istiod) {
		t.Error("istiod's manifests hold what one node has no use for")
	}
}

// imagesIn returns the images that containers of the manifests run, sorted and without repetition.
func imagesIn(manifests string) []string {
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^\s+(?:- )?image: "?([^"\s]+)"?$`).FindAllStringSubmatch(manifests, -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestReleaseErrors(t *testing.T) {
	chart := func(files map[string]string) string {
		t.Helper()
		dir := t.TempDir()
		for name, content := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	const meta = "apiVersion: v2\nname: x\nversion: 0.1.0\n"
	for name, test := range map[string]struct {
		dir, kubernetes, want string
	}{
		"no chart":      {t.TempDir(), "v1.37.1", "Chart.yaml"},
		"bad version":   {chart(map[string]string{"Chart.yaml": meta}), "latest", "latest"},
		"bad template":  {chart(map[string]string{"Chart.yaml": meta, "templates/a.yaml": `{{ fail "told so" }}`}), "v1.37.1", "told so"},
		"crd directory": {chart(map[string]string{"Chart.yaml": meta, "crds/a.yaml": "kind: X\n"}), "v1.37.1", "1 CRDs"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := release{dir: test.dir, name: "x", namespace: "x", kubernetes: test.kubernetes}.render()
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.dir) {
				t.Errorf("error %v, want one that names the chart and says %q", err, test.want)
			}
		})
	}
}

func TestKafkaManifests(t *testing.T) {
	o := kafkaOptions{
		Image: kafkaImage, ClusterID: kafkaClusterID("demo"), DataDir: "/run/signet/demo/kafka", NodeIP: "10.9.8.7", NodePort: kafkaNodePort,
	}
	for _, file := range []string{"certificates.yaml", "kafka.yaml"} {
		got, err := o.render(file)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "addons", file)
		if *update {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from %s (go test -run TestKafkaManifests -update . rewrites it):\n%s", file, golden, got)
		}
	}
}

func TestKafkaClusterID(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range []string{"a", "b", "demo", "e2e"} {
		id := kafkaClusterID(name)
		// org.apache.kafka.common.Uuid: 16 bytes in base64url, 22 characters.
		if !regexp.MustCompile(`^[A-Za-f][A-Za-z0-9_-]{21}$`).MatchString(id) || seen[id] || id != kafkaClusterID(name) {
			t.Errorf("cluster %q has the id %q", name, id)
		}
		seen[id] = true
	}
}

func TestParseDependencies(t *testing.T) {
	const out = `kcat
  Depends: libc6
  Depends: librdkafka1
 |Depends: debconf
  Depends: <debconf-2.0>
    cdebconf
librdkafka1
  Depends: libc6
libc6
<debconf-2.0>
libc6
`
	if got := strings.Join(parseDependencies(out), " "); got != "kcat libc6 librdkafka1" {
		t.Errorf("packages %q", got)
	}
}

func TestUnzip(t *testing.T) {
	var buffer bytes.Buffer
	w := zip.NewWriter(&buffer)
	f, err := w.Create("pkg/_bin/tool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("binary")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	wheel := filepath.Join(dir, "x.whl")
	if err := os.WriteFile(wheel, buffer.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unzip(wheel, "pkg/_bin/tool", filepath.Join(dir, "tool")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "tool"))
	if err != nil || info.Size() != 6 || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("unpacked %v, %v", info, err)
	}
	if err := unzip(wheel, "pkg/other", filepath.Join(dir, "other")); err == nil || !strings.Contains(err.Error(), wheel) {
		t.Errorf("a file that is not there: %v", err)
	}
}
