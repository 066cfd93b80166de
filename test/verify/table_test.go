// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/certs"
)

// golden is the table as docs/security.md shows it.
var golden = filepath.Join("testdata", "table.md")

// verifiers are the columns of the table, in order.
var verifiers = []string{"Go", "OpenSSL", "Java", "Envoy"}

// titles of the two parts of the table.
var titles = map[use]string{
	asClient: "presented to a broker or a sidecar, as a client",
	asServer: "presented to a Kafka client, as if by a broker",
}

// answers says for each row, by its name, which verifiers accept it.
type answers map[string]map[string]bool

// set notes what a verifier says of a row.
func (a answers) set(p presented, verifier string, accepts bool) {
	if a[p.name] == nil {
		a[p.name] = map[string]bool{}
	}
	a[p.name][verifier] = accepts
}

// line is the row's line of the table.
func (a answers) line(r row) string {
	cells, open := make([]string, 0, len(verifiers)), false
	for _, v := range verifiers {
		cells = append(cells, word(a[r.name][v]))
		open = open || a[r.name][v] && r.want != accepted
	}
	cover := ""
	if open {
		cover = r.cover
	}
	return fmt.Sprintf("| %s | %s | %s |\n", r.what, strings.Join(cells, " | "), cover)
}

func word(accepts bool) string {
	if accepts {
		return "accepted"
	}
	return "refused"
}

// render returns the table in Markdown.
func render(a answers) string {
	var out strings.Builder
	for _, u := range []use{asClient, asServer} {
		if u == asServer {
			out.WriteString("\n")
		}
		fmt.Fprintf(&out, "| %s | %s | where it is accepted, what covers it |\n|---|%s---|\n", titles[u], strings.Join(verifiers, " | "), strings.Repeat("---|", len(verifiers)))
		for _, r := range rows() {
			if r.use == u {
				out.WriteString(a.line(r))
			}
		}
	}
	return out.String()
}

// check demands what every row demands of a verifier.
func check(t *testing.T, verifier string, r row, accepts bool) {
	t.Helper()
	if r.want != differs && word(accepts) != string(r.want) {
		t.Errorf("%s: %s (%s) is %s", verifier, r.what, r.name, word(accepts))
	}
	if accepts && r.want == differs && r.cover == "" {
		t.Errorf("%s: %s (%s) is accepted and nothing covers it", verifier, r.what, r.name)
	}
}

// acceptsGo is the verifier of crypto/tls.
func acceptsGo(mesh *certs.CA, p presented) (bool, error) {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range mesh.Roots {
		roots.AddCert(c)
	}
	for _, c := range p.chain[1:] {
		intermediates.AddCert(c)
	}
	purpose := map[use]x509.ExtKeyUsage{asClient: x509.ExtKeyUsageClientAuth, asServer: x509.ExtKeyUsageServerAuth}[p.use]
	_, err := p.chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{purpose}})
	return err == nil, err
}

func TestGoKeepsToTheTable(t *testing.T) {
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "\n\n")
	if len(parts) != 2 {
		t.Fatalf("%s has %d tables, not two", golden, len(parts))
	}
	part := map[use]string{asClient: parts[0], asServer: parts[1]}
	mesh, all := forge(t)
	for _, p := range all {
		accepts, err := acceptsGo(mesh, p)
		check(t, "Go", p.row, accepts)
		if want := fmt.Sprintf("\n| %s | %s |", p.what, word(accepts)); !strings.Contains(part[p.use], want) {
			t.Errorf("%s: Go says %s (%v); %s does not", p.name, word(accepts), err, golden)
		}
	}
}

// TestTableInDocs keeps the page that users read to what was measured.
func TestTableInDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n\n") {
		if !strings.Contains(string(page), strings.TrimSpace(part)) {
			t.Errorf("docs/security.md does not have this part of %s:\n%s", golden, part)
		}
	}
}
