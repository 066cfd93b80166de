// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cmd_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestLinkage shows what Signet's server binaries do not contain. The certificate authority server of smallstep brings
// databases along that are never used here: 20 MB, and the advisories of three database drivers.
func TestLinkage(t *testing.T) {
	databases := []string{
		"github.com/smallstep/certificates/authority", "github.com/smallstep/nosql",
		"github.com/dgraph-io/badger", "github.com/jackc/pgx", "github.com/go-sql-driver",
	}
	for command, absent := range map[string][]string{
		"controller": databases,
		// The webhook signs nothing.
		"webhook": append([]string{"github.com/smallstep/certificates"}, databases...),
	} {
		t.Run(command, func(t *testing.T) {
			list := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/signet-kafka/signet/cmd/"+command)
			out, err := list.Output()
			if err != nil {
				t.Fatalf("%s: %v", list, err)
			}
			packages := strings.Fields(string(out))
			if len(packages) < 100 {
				t.Fatalf("%s lists only %d packages", list, len(packages))
			}
			for _, path := range packages {
				for _, prefix := range absent {
					if path == prefix || strings.HasPrefix(path, prefix+"/") || strings.HasPrefix(path, prefix+".") {
						t.Errorf("%s links %s", command, path)
					}
				}
			}
		})
	}
}
