// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/test/stack"
)

// TestDemo runs the demo as a user does, and holds what it shows.
func TestDemo(t *testing.T) {
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	demo := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"run"}, stack.BuildFlags, []string{"./test/demo"})...)
	demo.Dir, demo.Env = root, append(os.Environ(), stack.BuildEnv...)
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"it sees 0 topics", "kafka.signet.dev/mesh", "O=cluster.local", "Principal = User:shop.checkout is Allowed",
		"it sees [orders.placed]", "order 1 from a pod", "refused:", "order 2 from outside", "all of it was as it should be",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out)
		}
	}
}
