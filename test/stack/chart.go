// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Chart renders charts/signet with its default values, for a release signet in signet-system, and returns each object (YAML)
// by "<kind> <name>", and by its kind alone, where the last one of a kind stands.
func (s *Stack) Chart(ctx context.Context) (map[string][]byte, error) {
	find := exec.CommandContext(ctx, "go", "tool", "-n", "helm")
	find.Dir = filepath.Join(s.Root, "tools", "helm")
	path, err := find.Output()
	if err != nil {
		return nil, fmt.Errorf("build helm from tools/helm: %w", err)
	}
	home, err := os.MkdirTemp("", "signet-helm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(home) //nolint:errcheck // a directory of temporary files
	helm := exec.CommandContext(ctx, strings.TrimSpace(string(path)), "template", "signet", filepath.Join(s.Root, "charts", "signet"), "--namespace", "signet-system")
	helm.Env = append(os.Environ(), "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home)
	rendered, err := helm.Output()
	if err != nil {
		return nil, fmt.Errorf("helm template: %w", err)
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
