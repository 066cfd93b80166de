// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// FuzzPods sends any JSON as a pod. The webhook never panics; whatever it makes of a pod that the API server could
// have sent only adds, and is stable under a second pass.
func FuzzPods(f *testing.F) {
	files, err := filepath.Glob("testdata/pods/*.in.yaml")
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
		pod, err := json.Marshal(in.Object)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pod)
	}
	reader := loadCache(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		var object any
		if json.Unmarshal(text, &object) != nil {
			return
		}
		podWebhook(t, reader).post(t, input{Object: object})

		// The API server sends what it has decoded, not what the client wrote.
		var pod corev1.Pod
		if json.Unmarshal(text, &pod) != nil {
			return
		}
		in := input{Object: pod}
		response, sent := podWebhook(t, reader).post(t, in)
		checkPatch(t, podWebhook(t, reader), in, sent, response)
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
		declaration, err := Declared(annotations, "shop")
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
