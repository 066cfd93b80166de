// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

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
		t.Errorf("%s:\n--- got\n%s\n--- want\n%s", path, got, want)
	}
}

func testScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return scheme
}

// load reads the objects of a file, strictly.
func load(t *testing.T, name string) []client.Object {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	scheme := testScheme(t)
	var objects []client.Object
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatal(err)
		}
		object, err := scheme.New(kind.GroupVersionKind())
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(doc, object); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, doc)
		}
		objects = append(objects, object.(client.Object))
	}
}

func seen(t *testing.T, name string) Cluster {
	t.Helper()
	c := Cluster{Now: noon, SignetNamespace: "signet-system", Pods: []corev1.Pod{}}
	for _, object := range load(t, name) {
		switch o := object.(type) {
		case *appsv1.Deployment:
			c.Deployments = append(c.Deployments, *o)
		case *v1alpha1.MeshIssuer:
			c.Issuers = append(c.Issuers, *o)
		case *v1alpha1.KafkaCluster:
			c.Clusters = append(c.Clusters, *o)
		case *v1alpha1.KafkaUser:
			c.Users = append(c.Users, *o)
		case *v1alpha1.KafkaTopic:
			c.Topics = append(c.Topics, *o)
		case *corev1.Pod:
			c.Pods = append(c.Pods, *o)
		default:
			t.Fatalf("%T", o)
		}
	}
	return c
}

func TestSummary(t *testing.T) {
	for name, ready := range map[string]bool{"ready": true, "troubled": false, "rotating": true, "suspended": false} {
		t.Run(name, func(t *testing.T) {
			c := seen(t, name+".in.yaml")
			if name == "suspended" {
				c.SignetNamespace = "" // this is about one user, as its team sees it
			}
			report := Summarize(c)
			if report.Ready != ready {
				t.Errorf("ready: %v, want %v", report.Ready, ready)
			}
			var tables, object bytes.Buffer
			if err := errors.Join(WriteTables(&tables, report, noon), WriteJSON(&object, report)); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(tables.String(), "\x1b\r") {
				t.Error("a message reaches the terminal with control characters")
			}
			golden(t, name+".txt", tables.Bytes())
			golden(t, name+".json", object.Bytes())
		})
	}
}

func TestSummaryWithoutSignet(t *testing.T) {
	c := seen(t, "ready.in.yaml")
	c.Deployments = nil
	if r := Summarize(c); r.Ready || len(r.Signet) != 1 || r.Signet[0].Problems[0].Reason != "Missing" {
		t.Errorf("without its Deployments: %+v", r.Signet)
	}
	c.SignetNamespace = ""
	if r := Summarize(c); !r.Ready || len(r.Signet) != 0 {
		t.Errorf("with Deployments that the caller may not see: %+v", r.Signet)
	}
}

// deny makes a client that may not do something.
func deny(t *testing.T, objects []client.Object, denied func(verb string, o runtime.Object, key client.ObjectKey) bool) client.Client {
	t.Helper()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "x", errors.New("no rule allows it"))
	return fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if denied("get", o, key) {
				return forbidden
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			var options client.ListOptions
			options.ApplyOptions(opts)
			if denied("list", list, client.ObjectKey{Namespace: options.Namespace}) {
				return forbidden
			}
			return c.List(ctx, list, opts...)
		},
	}).Build()
}

func TestLookAsATeamMember(t *testing.T) {
	c := deny(t, load(t, "ready.in.yaml"), func(_ string, o runtime.Object, key client.ObjectKey) bool {
		if _, ok := o.(*v1alpha1.KafkaCluster); ok {
			return false
		}
		return key.Namespace != "shop"
	})
	seen, err := look(t.Context(), c, "shop", "signet-system", noon)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen.Users) != 1 || len(seen.Topics) != 1 || len(seen.Clusters) != 1 || len(seen.Issuers) != 0 || len(seen.Pods) != 3 {
		t.Errorf("saw %d users, %d topics, %d clusters, %d issuers, %d pods", len(seen.Users), len(seen.Topics), len(seen.Clusters), len(seen.Issuers), len(seen.Pods))
	}
	want := "you may not read MeshIssuers\nyou may not read Deployments of namespace signet-system"
	if got := strings.Join(seen.Notes, "\n"); got != want {
		t.Errorf("notes:\n%s\nwant:\n%s", got, want)
	}
	if !Summarize(seen).Ready {
		t.Error("what the caller may not see makes it not ready")
	}
}

func TestLookEverywhere(t *testing.T) {
	objects := load(t, "ready.in.yaml")
	for _, o := range objects {
		if d, ok := o.(*appsv1.Deployment); ok {
			d.Labels = map[string]string{"app.kubernetes.io/part-of": "signet"}
		}
	}
	c := deny(t, objects, func(string, runtime.Object, client.ObjectKey) bool { return false })
	seen, err := look(t.Context(), c, "", "signet-system", noon)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen.Deployments) != 2 || len(seen.Issuers) != 1 || len(seen.Clusters) != 1 || len(seen.Users) != 1 || len(seen.Notes) != 0 {
		t.Errorf("%+v", seen)
	}
}

func TestLookWithoutTheRightToSeeKafkaUsers(t *testing.T) {
	c := deny(t, nil, func(string, runtime.Object, client.ObjectKey) bool { return true })
	if _, err := look(t.Context(), c, "shop", "signet-system", noon); !apierrors.IsForbidden(err) {
		t.Errorf("got %v", err)
	}
}

func TestExitCodes(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	config := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: c, context: {cluster: c}}]\n"
	if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"version":                {[]string{"version"}, ExitOK, ""},
		"unknown command":        {[]string{"statsu"}, ExitError, "unknown command"},
		"unknown output format":  {[]string{"status", "-o", "yaml"}, ExitError, "the only other format is json"},
		"no API server":          {[]string{"status", "--kubeconfig", kubeconfig}, ExitError, "refused"},
		"export without user":    {[]string{"export", "-o", "x"}, ExitError, "accepts 1 arg"},
		"export without target":  {[]string{"export", "orders"}, ExitError, `"output" not set`},
		"sign what":              {[]string{"sign", "orders"}, ExitError, "--csr FILE"},
		"sign for a second":      {[]string{"sign", "orders", "--dir", "x", "--duration", "1s"}, ExitError, "no less than 10m"},
		"sign both ways":         {[]string{"sign", "orders", "--dir", "x", "--csr", "x", "--key-file", "x"}, ExitError, "choose one of"},
		"sign --csr with --path": {[]string{"sign", "orders", "--csr", "x", "--path", "/x"}, ExitError, "need --dir"},
		"sign --dir with -o":     {[]string{"sign", "orders", "--dir", "x", "-o", "x"}, ExitError, "no meaning with --dir"},
		"renew without target":   {[]string{"renew"}, ExitError, `"dir" not set`},
		"renew nothing":          {[]string{"renew", "--dir", filepath.Dir(kubeconfig)}, ExitError, "holds no credentials that kubectl signet sign wrote"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := Run(t.Context(), tc.args, genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &stdout, ErrOut: &stderr}, "v9.9.9")
			if code != tc.code || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("exit code %d, want %d; error stream:\n%s", code, tc.code, stderr.String())
			}
			if name == "version" && !strings.HasPrefix(stdout.String(), "kubectl-signet v9.9.9 (go") {
				t.Errorf("version prints %q", stdout.String())
			}
		})
	}
}
