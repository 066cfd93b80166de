// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func TestGenerateAndConvert(t *testing.T) {
	const strimzi = "apiVersion: kafka.strimzi.io/v1\nkind: KafkaUser\nmetadata: {name: ledger, namespace: kafka, labels: {strimzi.io/cluster: main}}\n"
	file := filepath.Join(t.TempDir(), "self-service.yaml")
	if err := os.WriteFile(file, []byte("name: cart\nconsume: [orders]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args     []string
		in       string
		code     int
		out, err []string
	}{
		"generate": {[]string{"generate", "-n", "shop", "--cluster", "kafka/main", "-f", file}, "", ExitOK,
			[]string{"name: cart", "namespace: shop", "name: main", "namespace: kafka", "- orders"}, nil},
		"generate without a cluster":  {[]string{"generate", "-n", "shop", "-f", file}, "", ExitError, nil, []string{"names no KafkaCluster"}},
		"generate from nowhere":       {[]string{"generate", "--cluster", "main", "-f", "nowhere.yaml"}, "", ExitError, nil, []string{"nowhere.yaml"}},
		"generate with a misspelling": {[]string{"generate", "--cluster", "main", "-f", "-"}, "name: a\nconsumes: [b]", ExitError, nil, []string{"document 1", `"consumes"`}},
		"a cluster of three parts":    {[]string{"generate", "--cluster", "a/b/c", "-f", file}, "", ExitError, nil, []string{"<namespace>/<name>"}},
		"convert":                     {[]string{"convert", "-f", "-"}, strimzi, ExitOK, []string{"name: ledger", "namespace: kafka", "name: main"}, nil},
		"convert into a namespace": {[]string{"convert", "-n", "shop", "-f", "-"}, strimzi, ExitOK,
			[]string{"namespace: shop", "name: main\n    namespace: kafka"}, nil},
		"convert what it cannot": {[]string{"convert", "-f", "-"}, strimzi + "---\nkind: Pod\napiVersion: v1\nmetadata: {name: \"a\\u001b[31m\"}\n", ExitNotReady,
			[]string{"name: ledger"}, []string{"not converted: Pod a"}},
		"convert no YAML":      {[]string{"convert", "-f", "-"}, "a: [", ExitError, nil, []string{"document 1"}},
		"convert without file": {[]string{"convert"}, "", ExitError, nil, []string{"filename"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
			var stdout, stderr bytes.Buffer
			code := Run(t.Context(), test.args, genericiooptions.IOStreams{In: strings.NewReader(test.in), Out: &stdout, ErrOut: &stderr}, "v1")
			if code != test.code {
				t.Errorf("exit code %d, want %d; %s", code, test.code, stderr.String())
			}
			for _, want := range test.out {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("no %q in\n%s", want, stdout.String())
				}
			}
			for _, want := range test.err {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("no %q in\n%s", want, stderr.String())
				}
			}
			if strings.Contains(stderr.String(), "\x1b") {
				t.Errorf("a control character from a file reaches the terminal: %q", stderr.String())
			}
		})
	}
}
