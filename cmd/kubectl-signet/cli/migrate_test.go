// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

var (
	shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	manifest   = regexp.MustCompile(`(?ms)<<EOF\n(.*?)^EOF$`)
	clusterOf  = regexp.MustCompile(`patch kafkacluster kafka --type=merge -p '(.*?)'`)
)

// TestMigratePage holds that what docs/migrate.md has a reader type exists: each of its commands takes the flags and
// arguments that it is given, and its manifests and patches have no field that the kinds do not have.
func TestMigratePage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string]int{}
	for _, block := range shellBlock.FindAllStringSubmatch(string(page), -1) {
		for line := range strings.Lines(manifest.ReplaceAllString(block[1], "")) {
			words, ok := strings.CutPrefix(strings.TrimSpace(line), "kubectl signet ")
			if !ok {
				continue
			}
			words, _, _ = strings.Cut(words, " > ")
			words, _, _ = strings.Cut(words, " || ")
			root := newCommand(genericclioptions.NewConfigFlags(true), genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &bytes.Buffer{}, ErrOut: &bytes.Buffer{}}, "test")
			found, arguments, err := root.Find(strings.Fields(words))
			if err != nil || found == root {
				t.Errorf("%s: %v", words, err)
				continue
			}
			// The command is taken as it is, but for what it does.
			found.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.ValidateRequiredFlags() }
			root.SetArgs(append([]string{found.Name()}, arguments...))
			if err := root.ExecuteContext(t.Context()); err != nil {
				t.Errorf("%s: %v", words, err)
			}
			commands[found.Name()]++
		}
		for _, text := range manifest.FindAllStringSubmatch(block[1], -1) {
			var user v1alpha1.KafkaUser
			if err := yaml.UnmarshalStrict([]byte(text[1]), &user); err != nil || user.Kind != "KafkaUser" {
				t.Errorf("%v in\n%s", err, text[1])
			}
		}
		for _, patch := range clusterOf.FindAllStringSubmatch(block[1], -1) {
			decoder := json.NewDecoder(strings.NewReader(patch[1]))
			decoder.DisallowUnknownFields()
			var cluster v1alpha1.KafkaCluster
			if err := decoder.Decode(&cluster); err != nil || cluster.Spec.Authorization == nil {
				t.Errorf("%v in %s", err, patch[1])
			}
		}
	}
	for _, name := range []string{"access", "consumers", "producers", "naming", "suggest", "preflight", "enforce"} {
		if commands[name] == 0 {
			t.Errorf("the page does not say how to use %s", name)
		}
	}
}
