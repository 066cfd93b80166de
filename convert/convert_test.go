// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func golden(t *testing.T, name string, all []Converted) {
	t.Helper()
	var b bytes.Buffer
	for _, c := range all {
		if c.Object == nil {
			fmt.Fprintf(&b, "# %s is not converted: %s\n", c.Source, strings.Join(c.Notes, "; "))
		}
	}
	if err := WriteYAML(&b, all); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if b.String() != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", path, b.String(), want)
	}
	for _, c := range all {
		if user, ok := c.Object.(*v1alpha1.KafkaUser); ok {
			if errs := access.CheckDeclaration(user, nil); len(errs) > 0 {
				t.Errorf("%s: %v", c.Source, errs)
			}
		}
	}
}

func TestManifests(t *testing.T) {
	for _, name := range []string{"strimzi", "koperator"} {
		text := testFile(t, name+".yaml")
		for output, target := range map[string]Target{
			name + ".golden.yaml":           {Namespace: "default"},
			name + ".elsewhere.golden.yaml": {Namespace: "shop", Override: true, Cluster: v1alpha1.ClusterReference{Name: "kafka", Namespace: "kafka"}},
		} {
			t.Run(output, func(t *testing.T) {
				all, err := Manifests(text, target)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, output, all)
			})
		}
	}
}

func TestSelfService(t *testing.T) {
	all, err := SelfService(testFile(t, "self-service.yaml"), Target{Namespace: "shop", Cluster: v1alpha1.ClusterReference{Name: "kafka", Namespace: "kafka"}})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "self-service.golden.yaml", all)
}

func TestSelfServiceRefuses(t *testing.T) {
	target := Target{Namespace: "shop", Cluster: v1alpha1.ClusterReference{Name: "kafka"}}
	for name, test := range map[string]struct{ text, says string }{
		"unknown field":     {"name: a\nconsumes: [x]", `document 1: error unmarshaling JSON: while decoding JSON: unknown field "consumes"`},
		"no name":           {"name: a\n---\nconsume: [x]", `document 2: name "":`},
		"a name with a dot": {"name: a.b", `document 1: name "a.b":`},
		"a name twice":      {"name: a\n---\nname: a", `document 2: name "a" is taken by service 1 of the file`},
		"a star inside":     {"name: a\nconsume: ['a*b']", "document 1: service a: spec.consume[0]"},
		"no YAML":           {"name: [", "document 1:"},
		"a scalar":          {"hello", "document 1:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := SelfService([]byte(test.text), target)
			var document *DocumentError
			if !errors.As(err, &document) || !strings.HasPrefix(err.Error(), test.says) {
				t.Errorf("%v, want a DocumentError that begins with %q", err, test.says)
			}
		})
	}
	if _, err := SelfService([]byte("name: a"), Target{Namespace: "shop"}); err == nil {
		t.Error("no cluster, and no error")
	}
}

// TestEveryDifferenceIsNoted: what was granted and is not allowed any more, and what is allowed and was not granted, has a
// note that names the resource.
func TestEveryDifferenceIsNoted(t *testing.T) {
	all := []operation{read, write, create, remove, describe, describeConfigs, "ALTER", "ALTER_CONFIGS", every}
	topics := []name{"payments", "shop-orders", "shop-*", "*"}
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		granted := newRights()
		for _, topic := range topics {
			for _, o := range all {
				if r.IntN(5) == 0 {
					granted.topics[topic] = append(granted.topics[topic], o)
				}
			}
		}
		user := newUser("shop", "orders", v1alpha1.ClusterReference{Name: "kafka"})
		c := &Converted{}
		granted.declare(user, c)
		for _, topic := range topics {
			was := map[operation]bool{}
			for _, o := range granted.topics[topic] {
				was[o] = true
				if o == every {
					for _, each := range all {
						was[each] = true
					}
				}
			}
			is := map[operation]bool{}
			for _, bundle := range bundles {
				if slices.Contains(map[string][]string{"consume": user.Spec.Consume, "produce": user.Spec.Produce, "admin": user.Spec.Admin}[bundle.list], string(topic)) {
					for _, o := range bundle.allows {
						is[o] = true
					}
				}
			}
			noted := slices.ContainsFunc(c.Notes, func(note string) bool { return strings.Contains(note, " topic "+string(topic)+" ") })
			for _, o := range []operation{read, write, create, remove, "ALTER", "ALTER_CONFIGS"} {
				if was[o] != is[o] && !noted {
					t.Fatalf("%s on %s: was %t, is %t, and no note says so: %v\n%+v", o, topic, was[o], is[o], granted.topics[topic], user.Spec)
				}
			}
		}
	}
}

// FuzzManifests: whatever a file holds, nothing panics, and what comes out is YAML that has the objects and nothing else.
func FuzzManifests(f *testing.F) {
	for _, name := range []string{"strimzi.yaml", "koperator.yaml", "self-service.yaml"} {
		f.Add(testFile(f, name))
	}
	f.Add([]byte("apiVersion: kafka.strimzi.io/v1\nkind: KafkaUser\nmetadata: {name: \"a\\nkind: Secret\", labels: {strimzi.io/cluster: k}}\nspec: {\"x\\n---\\nkind\": 1}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := Manifests(text, Target{Namespace: "shop"})
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := WriteYAML(&b, all); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		if err := documents(b.Bytes(), func(document []byte) error {
			var object unstructured.Unstructured
			if err := yaml.Unmarshal(document, &object.Object); err != nil {
				return err
			}
			kinds = append(kinds, object.GetKind())
			return nil
		}); err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		var want []string
		for _, c := range all {
			if c.Object != nil {
				want = append(want, c.Object.GetObjectKind().GroupVersionKind().Kind)
			}
		}
		if !slices.Equal(kinds, want) {
			t.Errorf("written are %q, want %q:\n%s", kinds, want, b.String())
		}
	})
}
