// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// alone are the pages whose commands are about all of Signet: that all is well, and its installation.
var alone = []string{"install.md", "troubleshooting.md"}

// elsewhere are the pages that need other brokers than those of these tests: their commands are no part of TestDocs.
// TestMigratePage of cmd/kubectl-signet/cli holds that they are commands.
var elsewhere = map[string]bool{"migrate.md": true}

// TestDocs executes every command and manifest of README.md and docs/, a page at a time, as a reader would: in one
// shell, top to bottom, from the root of the checkout.
func TestDocs(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(s.Root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, topicName := range []string{"orders", "payments", "orders.placed"} {
		topic(t, topicName)
	}
	follow(t, "README.md")
	for _, page := range pages {
		if !slices.Contains(alone, filepath.Base(page)) && !elsewhere[filepath.Base(page)] {
			follow(t, filepath.Join("docs", filepath.Base(page)))
		}
	}
}

// TestDocsOfTheWhole executes the pages that TestDocs leaves out, beside which no other test runs.
func TestDocsOfTheWhole(t *testing.T) {
	for _, page := range alone {
		follow(t, filepath.Join("docs", page))
	}
}

// follow executes a page.
func follow(t *testing.T, page string) {
	t.Run(filepath.Base(page), func(t *testing.T) {
		content, err := os.ReadFile(filepath.Join(s.Root, page))
		if err != nil {
			t.Fatal(err)
		}
		var script strings.Builder
		for _, block := range fence.FindAllStringSubmatch(string(content), -1) {
			switch block[1] {
			case "sh":
				// TestDemo runs the one, and this is part of the other.
				if block[2] != "make demo\nmake test\n" {
					script.WriteString(block[2])
				}
			case "text":
			default:
				t.Errorf("a block fenced as %q: use sh for what a test runs, text for output", block[1])
			}
		}
		if script.Len() == 0 {
			return
		}
		t.Cleanup(func() {
			cleanup(t, "delete", "namespace", "shop", "store", "billing", "--ignore-not-found", "--timeout=80s")
			cleanup(t, "-n", "kafka", "delete", "principalmapping", "shop.checkout", "shop.reporting", "store.cart", "shop.cart", "shop.mailer", "shop.ledger", "shop.billing",
				"billing.invoices", "billing.refunds", "billing.warehouse", "--ignore-not-found")
			cleanup(t, "-n", "kafka", "patch", "kafkacluster", "kafka", "--type=merge", "-p", `{"spec":{"policy":{"adminTopicExemptions":null}}}`)
		})
		// The pages name files relative to the checkout, and write files of their own.
		dir := t.TempDir()
		if err := os.Symlink(filepath.Join(s.Root, "charts"), filepath.Join(dir, "charts")); err != nil {
			t.Fatal(err)
		}
		shell := exec.CommandContext(t.Context(), "bash", "-euxo", "pipefail", "-c", script.String())
		shell.Dir, shell.Env = dir, s.Env()
		if out, err := shell.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
