// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/test/await"
	"github.com/signet-kafka/signet/test/stack"
)

// TestGitOpsSeesNoDifference applies the chart's webhook configurations as a GitOps tool does, by server-side apply under its
// own name and without force, lets the controller fill in caBundle, and holds that a second apply changes nothing.
func TestGitOpsSeesNoDifference(t *testing.T) {
	t.Parallel()
	s, restConfig := controlPlane(t, "gitops")
	prepare(t, s)
	chart, err := stack.ChartObjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
	apply := func() {
		t.Helper()
		for _, kind := range kinds {
			if _, err := s.Kubectl(t.Context(), string(chart[kind]), "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-"); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply()
	defer running(t, restConfig)()
	// read returns the configuration's version, and whether each of its webhooks has a CA.
	read := func(kind string) (version string, filled bool) {
		t.Helper()
		out, err := s.Kubectl(t.Context(), "", "get", kind, "signet", "-o", "json")
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Metadata metav1.ObjectMeta
			Webhooks []struct {
				ClientConfig admissionregistrationv1.WebhookClientConfig
			}
		}
		if err := json.Unmarshal([]byte(out), &c); err != nil {
			t.Fatal(err)
		}
		for _, w := range c.Webhooks {
			if len(w.ClientConfig.CABundle) == 0 {
				return c.Metadata.ResourceVersion, false
			}
		}
		return c.Metadata.ResourceVersion, len(c.Webhooks) > 0
	}
	versions := map[string]string{}
	for _, kind := range kinds {
		await.Until(t, time.Minute, kind+" has its caBundle", func() (filled bool, version string) {
			version, filled = read(kind)
			versions[kind] = version
			return filled, version
		})
	}
	apply()
	for _, kind := range kinds {
		if version, filled := read(kind); version != versions[kind] || !filled {
			t.Errorf("%s is changed by a second apply: version %s, then %s; its CA is there: %t", kind, versions[kind], version, filled)
		}
	}
}
