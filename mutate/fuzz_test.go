// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// addObjects makes seeds of the objects of the cases that the pattern names.
func addObjects(f *testing.F, pattern string) {
	f.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var in input
		if err := yaml.Unmarshal(text, &in); err != nil {
			f.Fatal(err)
		}
		object, err := json.Marshal(in.Object)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(object)
	}
}

// FuzzPods sends any JSON as a pod. The webhook never panics; whatever it makes of a pod that the API server could
// have sent only adds, and is stable under a second pass.
func FuzzPods(f *testing.F) {
	addObjects(f, "testdata/pods/*.in.yaml")
	reader := loadCache(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		var object any
		if json.Unmarshal(text, &object) != nil {
			return
		}
		podWebhook(t, reader, true).post(t, input{Object: object})

		// The API server sends what it has decoded, not what the client wrote.
		var pod corev1.Pod
		if json.Unmarshal(text, &pod) != nil {
			return
		}
		in := input{Object: pod}
		canonical, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		seen, err := decodePod(canonical)
		if err != nil {
			t.Fatalf("a pod that the API server reads is refused: %v", err)
		}
		if got, want := decisionOn(reader, seen), decisionOn(reader, &pod); got != want {
			t.Errorf("of what is seen of it %s, of the whole pod %s", got, want)
		}
		for _, byWorkload := range []bool{false, true} {
			response, sent := podWebhook(t, reader, byWorkload).post(t, in)
			checkPatch(t, podWebhook(t, reader, byWorkload), in, sent, response)
		}
	})
}

// decisionOn is what is decided on a pod, as a text.
func decisionOn(reader cache, pod *corev1.Pod) string {
	declaration, err := Declared(pod.Annotations, "shop", accountOf(pod))
	if err != nil {
		return err.Error()
	}
	pods := &Pods{Reader: reader, Check: access.CheckDeclaration}
	users, err := pods.users(context.Background(), pod, "shop", &declaration)
	if err != nil {
		return err.Error()
	}
	mutation, err := Mutate(pod, "shop", declaration, users)
	if err != nil {
		return err.Error()
	}
	text, err := json.Marshal(mutation)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// FuzzPrincipalMappings sends any JSON as a new PrincipalMapping. The webhook never panics and says the same twice; what
// it admits is in force once it is in the ledger, and puts nothing out of force that was there.
func FuzzPrincipalMappings(f *testing.F) {
	addObjects(f, "testdata/principalmappings/*.in.yaml")
	reader := loadCache(f)
	cluster := reader.clusters[client.ObjectKey{Namespace: "kafka", Name: "kafka"}]
	ledger, err := ledgerOf(f.Context(), reader, &cluster)
	if err != nil {
		f.Fatal(err)
	}
	everybody := func(v1alpha1.MappingOwner) bool { return true }
	before := principal.Judge(&cluster, ledger, everybody)
	f.Fuzz(func(t *testing.T, text []byte) {
		var object any
		if json.Unmarshal(text, &object) != nil {
			return
		}
		in := input{Object: object}
		in.Request.Namespace = "kafka"
		mappingWebhook(t, reader).post(t, in)

		// The API server sends what it has decoded, under a name that is new.
		var candidate v1alpha1.PrincipalMapping
		if json.Unmarshal(text, &candidate) != nil {
			return
		}
		candidate.ObjectMeta = metav1.ObjectMeta{Namespace: "kafka", Name: "fuzzed", CreationTimestamp: candidate.CreationTimestamp}
		in.Object = candidate
		response, _ := mappingWebhook(t, reader).post(t, in)
		if again, _ := mappingWebhook(t, reader).post(t, in); !reflect.DeepEqual(again, response) {
			t.Errorf("the same mapping gives another response: %+v, then %+v", response, again)
		}
		if !response.Allowed {
			if response.Result.Code != http.StatusUnprocessableEntity || response.Result.Message == "" {
				t.Errorf("refused by %+v", response.Result)
			}
			return
		}
		if candidate.Spec.Cluster != "kafka" {
			return
		}
		after := principal.Judge(&cluster, append(slices.Clone(ledger), candidate), everybody)
		if v := after["fuzzed"]; v.Reason != v1alpha1.ReasonReady {
			t.Errorf("admitted, then %s: %s", v.Reason, v.Message)
		}
		for name, v := range before {
			if v.Reason == v1alpha1.ReasonReady && after[name].Reason != v1alpha1.ReasonReady {
				t.Errorf("admitted, and %s is %s: %s", name, after[name].Reason, after[name].Message)
			}
		}
	})
}

// FuzzDeclared feeds any annotations: no panic, names that are valid and unique, refusals of one bounded line.
func FuzzDeclared(f *testing.F) {
	f.Add("kafka.signet.dev/user", "orders,payments", "true")
	f.Add("kafka.signet.dev/users", "shop/orders", "")
	f.Add("kafka.signet.dev/", ",,\n", "false")
	f.Fuzz(func(t *testing.T, key, user, inject string) {
		annotations := map[string]string{"kafka.signet.dev/user": user, key: user}
		if inject != "" {
			annotations["kafka.signet.dev/inject"] = inject
		}
		declaration, err := Declared(annotations, "shop", "default")
		if err != nil {
			if len(err.Error()) > 1500 || len(declaration.Users) > 0 {
				t.Errorf("refusal of %d bytes beside %q", len(err.Error()), declaration.Users)
			}
			return
		}
		if len(declaration.Users) > MaxUsers {
			t.Errorf("%d users", len(declaration.Users))
		}
		seen := map[string]bool{}
		for _, name := range declaration.Users {
			if seen[name] || checkName(name, "shop") != nil {
				t.Errorf("user %q in %q", name, declaration.Users)
			}
			seen[name] = true
		}
	})
}
