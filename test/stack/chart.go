// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// helm builds the pinned helm command once and says where it is.
var helm = sync.OnceValues(func() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "tool", "-n", "helm")
	cmd.Dir = filepath.Join(root, "tools", "helm")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build helm from tools/helm: %w\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// RenderChart returns what helm template makes of charts/signet, for a release signet in signet-system; args are further
// arguments, such as values. It needs no cluster.
func RenderChart(ctx context.Context, args ...string) ([]byte, error) {
	path, err := helm()
	if err != nil {
		return nil, err
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "signet-helm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(home) //nolint:errcheck // a directory of temporary files
	cmd := exec.CommandContext(ctx, path, append([]string{"template", "signet", filepath.Join(root, "charts", "signet"), "--namespace", "signet-system"}, args...)...)
	cmd.Env = append(os.Environ(), "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("helm template: %w: %s", err, stderr.String())
	}
	return out, nil
}

// ChartObjects renders the chart with its default values and returns each object (YAML) by "<kind> <name>", and by its kind
// alone, where the last one of a kind stands.
func ChartObjects(ctx context.Context) (map[string][]byte, error) {
	rendered, err := RenderChart(ctx)
	if err != nil {
		return nil, err
	}
	objects := map[string][]byte{}
	for document := range strings.SplitSeq(string(rendered), "\n---\n") {
		var object metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return nil, fmt.Errorf("helm template: %w", err)
		}
		objects[object.Kind], objects[object.Kind+" "+object.Name] = []byte(document), []byte(document)
	}
	return objects, nil
}
