// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/principal/subject"
)

var update = flag.Bool("update", false, "rewrite test/vectors/mapping")

// vector is what every implementation of the mapping file has to agree on.
type vector struct {
	Name   string            `json:"name"`
	File   string            `json:"file"`
	Shards map[string]string `json:"shards,omitempty"`
	Error  Code              `json:"error"`
	Peers  []vectorPeer      `json:"peers,omitempty"`
}

type vectorPeer struct {
	// Subject is the DER in hexadecimal.
	Subject   string   `json:"subject"`
	URIs      []string `json:"uris,omitempty"`
	Principal string   `json:"principal"`
	Refused   Reason   `json:"refused"`

	text string
}

func encodeRDNs(t testing.TB, s subject.Subject) []byte {
	t.Helper()
	marshal := func(tag int, compound bool, content []byte) []byte {
		der, err := asn1.Marshal(asn1.RawValue{Tag: tag, IsCompound: compound, Bytes: content})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	var name []byte
	for _, rdn := range s.RDNs() {
		var set []byte
		for _, a := range rdn {
			var oid asn1.ObjectIdentifier
			for part := range strings.SplitSeq(a.Type, ".") {
				var n int
				if _, err := fmt.Sscan(part, &n); err != nil {
					t.Fatal(err)
				}
				oid = append(oid, n)
			}
			typ, err := asn1.Marshal(oid)
			if err != nil {
				t.Fatal(err)
			}
			set = append(set, marshal(asn1.TagSequence, true, append(typ, a.DER...))...)
		}
		name = append(name, marshal(asn1.TagSet, true, set)...)
	}
	return marshal(asn1.TagSequence, true, name)
}

// vectors are written by hand; -update writes them out for the other implementations.
func vectors(t *testing.T) []vector {
	const (
		head    = `"version":1,"cluster":"kafka/kafka","generation":3`
		orders  = "CN=orders,OU=shop,O=signet"
		ordersI = "spiffe://kafka.signet.dev/user/shop/orders"
		ordersM = "spiffe://cluster.local/ns/shop/sa/orders"
	)
	mapped := func(text, principal string, uris ...string) vectorPeer {
		return vectorPeer{text: text, URIs: uris, Principal: principal}
	}
	refused := func(text string, reason Reason, uris ...string) vectorPeer {
		return vectorPeer{text: text, URIs: uris, Refused: reason}
	}
	hash := func(text string) string {
		sum := sha256.Sum256(encode(t, text))
		return "unmapped:" + hex.EncodeToString(sum[:])
	}
	exact := `{` + head + `,"meshTrustDomain":"cluster.local","unmapped":"refuse",
 "exact":{"` + orders + `":"shop.orders","CN=legacy\\,Inc,O=Acme":"shop.orders","CN=Bücher,O=Acme":"shop.bücher","CN=other":"other","CN=same":"shop.orders"},
 "spiffe":{"` + ordersI + `":"shop.orders","` + ordersM + `":"shop.orders"}}`
	explicit := `{` + head + `,"meshTrustDomain":"cluster.local","unmapped":"explicit","exact":{},"spiffe":{"` + ordersM + `":"shop.orders"}}`
	patterns := `{` + head + `,"unmapped":"refuse","exact":{"CN=a.acme.example,O=Acme":"special"},"spiffe":{},"patterns":[
 {"pattern":"CN=([a-z0-9-]+)\\.acme\\.example,O=Acme","principal":"acme.$1"},
 {"pattern":"CN=(?:([a-z]+)|([0-9]+)),O=Either","principal":"either.$1.$2"},
 {"pattern":"CN=([^,]*),O=Dollar","principal":"$$1.$1"},
 {"pattern":"CN=([^,]*),O=Any","principal":"$1"}]}`
	shard := `{"version":1,"exact":{"CN=sharded":"sharded"},"spiffe":{"spiffe://x/y":"sharded"}}`
	sum := sha256.Sum256([]byte(shard))
	sharded := func(file, hash string) string {
		return `{` + head + `,"unmapped":"refuse","exact":{"CN=main":"main"},"spiffe":{},"shards":[{"file":"` + file + `","sha256":"` + hash + `"}]}`
	}
	bad := func(name, file string, code Code) vector { return vector{Name: name, File: file, Error: code} }
	rest := `,"unmapped":"refuse","exact":{},"spiffe":{}}`
	withPattern := func(pattern, principal string) string {
		return `{` + head + `,"unmapped":"refuse","exact":{},"spiffe":{},"patterns":[{"pattern":"` + pattern + `","principal":"` + principal + `"}]}`
	}
	list := []vector{
		{Name: "exact", File: exact, Peers: []vectorPeer{
			mapped(orders, "shop.orders"),
			mapped(orders, "shop.orders", ordersI),
			mapped("", "shop.orders", ordersM),
			mapped("", "shop.orders", "https://example.com/", ordersM),
			mapped(`CN=legacy\,Inc,O=Acme`, "shop.orders"),
			mapped("CN=Bücher,O=Acme", "shop.bücher"),
			mapped("CN=same", "shop.orders", ordersM),
			mapped("CN=other", "other", "spiffe://elsewhere/x"),
			refused("", ReasonUnmapped),
			refused("", ReasonUnmapped, "spiffe://cluster.local/ns/shop/sa/nobody"),
			refused("CN=orders,OU=shop,O=signet-controller", ReasonUnmapped),
			refused("cn=orders,OU=shop,O=Signet", ReasonUnmapped),
			refused(`CN=orders\,OU\=shop\,O\=signet`, ReasonUnmapped),
			refused("O=signet,OU=shop,CN=orders", ReasonUnmapped),
			refused("CN=orders+OU=shop,O=signet", ReasonUnmapped),
			refused("CN=other", ReasonDisagreement, ordersI),
			refused(orders, ReasonSeveral, ordersI, ordersM),
			refused(orders, ReasonSeveral, ordersI, "SPIFFE://x/y"),
			refused("", ReasonUnmapped, "SPIFFE://kafka.signet.dev/user/shop/orders"),
			{Subject: "3003310100", Refused: ReasonMalformed},
			{Subject: "", Refused: ReasonMalformed},
		}},
		{Name: "explicit", File: explicit, Peers: []vectorPeer{
			mapped("", "shop.orders", ordersM),
			mapped("", "sa:shop.nobody", "spiffe://cluster.local/ns/shop/sa/nobody"),
			mapped("CN=ignored", "sa:shop.a.b-c", "spiffe://cluster.local/ns/shop/sa/a.b-c"),
			mapped("", hash("")),
			mapped("CN=stranger", hash("CN=stranger")),
			mapped("", hash(""), "spiffe://cluster.local.evil/ns/shop/sa/nobody"),
			mapped("", hash(""), "spiffe://cluster.local/ns/shop/sa/nobody/more"),
			mapped("", hash(""), "spiffe://cluster.local/ns/sh.op/sa/nobody"),
			mapped("", hash(""), "spiffe://cluster.local/ns/shop/sa/"),
			mapped("", hash(""), "spiffe://clusterXlocal/ns/shop/sa/nobody"),
			refused("", ReasonSeveral, ordersM, ordersM),
		}},
		{Name: "patterns", File: patterns, Peers: []vectorPeer{
			mapped("CN=a.acme.example,O=Acme", "special"),
			mapped("CN=web-1.acme.example,O=Acme", "acme.web-1"),
			mapped("CN=abc,O=Either", "either.abc."),
			mapped("CN=12,O=Either", "either..12"),
			mapped("CN=x,O=Dollar", "$1.x"),
			mapped("CN=,O=Dollar", "$1."),
			mapped("CN=Grüße 𝄞,O=Any", "Grüße 𝄞"),
			refused("CN=,O=Any", ReasonUnmapped),
			refused("CN=a\tb,O=Any", ReasonUnmapped),
			refused("CN=a\u2028b,O=Any", ReasonUnmapped),
			refused("CN=a\u0085b,O=Any", ReasonUnmapped),
			refused("CN=a\uFFFDb,O=Any", ReasonUnmapped),
			refused(`CN=a\,b,O=Any`, ReasonUnmapped),
			refused("CN="+strings.Repeat("x", 513)+",O=Any", ReasonUnmapped),
			refused("CN="+strings.Repeat("x", 3000)+",O=Dollar", ReasonUnmapped),
			refused("CN=x.acme.example,O=Acme,C=DE", ReasonUnmapped),
			refused("DC=y,CN=x.acme.example,O=Acme", ReasonUnmapped),
		}},
		{Name: "shard", File: sharded("mapping-1.json", hex.EncodeToString(sum[:])), Shards: map[string]string{"mapping-1.json": shard}, Peers: []vectorPeer{
			mapped("CN=main", "main"), mapped("CN=sharded", "sharded"), mapped("", "sharded", "spiffe://x/y"),
		}},
		{Name: "shard-torn", File: sharded("mapping-1.json", strings.Repeat("0", 64)), Shards: map[string]string{"mapping-1.json": shard}, Error: CodeShard},
		{Name: "shard-outside", File: sharded("../mapping-1.json", hex.EncodeToString(sum[:])), Shards: map[string]string{"mapping-1.json": shard}, Error: CodeShard},
		{Name: "shard-missing", File: sharded("mapping-2.json", hex.EncodeToString(sum[:])), Error: CodeShard},
		{Name: "shard-duplicate-key", File: strings.Replace(sharded("mapping-1.json", hex.EncodeToString(sum[:])), "CN=main", "CN=sharded", 1), Shards: map[string]string{"mapping-1.json": shard}, Error: CodeDuplicate},
		bad("empty", ``, CodeSyntax),
		bad("no-json", `exact`, CodeSyntax),
		bad("trailing", `{`+head+rest+`{}`, CodeSyntax),
		bad("array", `[]`, CodeSyntax),
		bad("version-2", `{"version":2,"cluster":"a/b","generation":1`+rest, CodeVersion),
		bad("version-missing", `{"cluster":"a/b","generation":1`+rest, CodeVersion),
		bad("version-text", `{"version":"1","cluster":"a/b","generation":1`+rest, CodeSyntax),
		bad("unknown-field", `{`+head+`,"more":1`+rest, CodeUnknown),
		bad("field-in-other-case", `{`+head+`,"Exact":{"CN=a":"a"}`+rest, CodeUnknown),
		bad("duplicate-field", `{`+head+`,"exact":{"CN=a":"a"}`+rest, CodeDuplicate),
		bad("duplicate-subject", `{`+head+`,"unmapped":"refuse","exact":{"CN=a":"a","CN=a":"b"},"spiffe":{}}`, CodeDuplicate),
		bad("no-generation", `{"version":1,"cluster":"a/b"`+rest, CodeValue),
		bad("generation-0", `{"version":1,"cluster":"a/b","generation":0`+rest, CodeValue),
		bad("generation-fraction", `{"version":1,"cluster":"a/b","generation":1.5`+rest, CodeSyntax),
		bad("no-cluster", `{"version":1,"generation":1`+rest, CodeValue),
		bad("unmapped-else", `{`+head+`,"unmapped":"allow","exact":{},"spiffe":{}}`, CodeValue),
		bad("no-exact", `{`+head+`,"unmapped":"refuse","spiffe":{}}`, CodeValue),
		bad("exact-null", `{`+head+`,"unmapped":"refuse","exact":null,"spiffe":{}}`, CodeValue),
		bad("patterns-null", `{`+head+`,"patterns":null`+rest, CodeValue),
		bad("shards-null", `{`+head+`,"shards":null`+rest, CodeValue),
		bad("trust-domain-null", `{`+head+`,"meshTrustDomain":null`+rest, CodeValue),
		bad("half-surrogate", `{`+head+`,"unmapped":"refuse","exact":{"CN=\ud800":"a"},"spiffe":{}}`, CodeValue),
		bad("replacement-character", `{`+head+`,"unmapped":"refuse","exact":{"CN=`+"\uFFFD"+`":"a"},"spiffe":{}}`, CodeValue),
		bad("principal-with-replacement-character", `{`+head+`,"unmapped":"refuse","exact":{"CN=a":"`+"\uFFFD"+`"},"spiffe":{}}`, CodeValue),
		bad("empty-subject", `{`+head+`,"unmapped":"refuse","exact":{"":"a"},"spiffe":{}}`, CodeValue),
		bad("empty-principal", `{`+head+`,"unmapped":"refuse","exact":{"CN=a":""},"spiffe":{}}`, CodeValue),
		bad("principal-with-newline", `{`+head+`,"unmapped":"refuse","exact":{"CN=a":"a\nb"},"spiffe":{}}`, CodeValue),
		bad("principal-too-long", `{`+head+`,"unmapped":"refuse","exact":{"CN=a":"`+strings.Repeat("x", 513)+`"},"spiffe":{}}`, CodeValue),
		bad("spiffe-else", `{`+head+`,"unmapped":"refuse","exact":{},"spiffe":{"http://a":"a"}}`, CodeValue),
		bad("pattern-empty", withPattern("", "a"), CodeBounds),
		bad("pattern-too-long", withPattern(strings.Repeat("x", 513), "a"), CodeBounds),
		bad("pattern-lookahead", withPattern("(?=a)a", "a"), CodePattern),
		bad("pattern-back-reference", withPattern(`(a)\\1`, "a"), CodePattern),
		bad("pattern-possessive", withPattern("a*+b", "a"), CodePattern),
		bad("pattern-atomic", withPattern("(?>a)b", "a"), CodePattern),
		bad("pattern-flag", withPattern("(?i)a", "a"), CodePattern),
		bad("pattern-unclosed", withPattern("(a", "a"), CodePattern),
		bad("pattern-intersection", withPattern("[a-z&&[b]]", "a"), CodePattern),
		bad("pattern-word-boundary", withPattern(`\\ba`, "a"), CodePattern),
		bad("template-group", withPattern("(a)", "$2"), CodeTemplate),
		bad("template-dollar", withPattern("(a)", "a$"), CodeTemplate),
		bad("template-zero", withPattern("(a)", "$0"), CodeTemplate),
		bad("template-repeated-group", withPattern("(?:(a),)*b", "$1"), CodeTemplate),
		bad("template-empty", withPattern("(a)", ""), CodeTemplate),
	}
	for i := range list {
		for j := range list[i].Peers {
			p := &list[i].Peers[j]
			if p.Refused != ReasonMalformed {
				p.Subject = hex.EncodeToString(encode(t, p.text))
			}
		}
	}
	return list
}

func TestVectors(t *testing.T) {
	dir := filepath.Join("..", "..", "test", "vectors", "mapping")
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			var b bytes.Buffer
			encoder := json.NewEncoder(&b)
			encoder.SetEscapeHTML(false)
			encoder.SetIndent("", " ")
			if err := encoder.Encode(v); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, v.Name+".json")
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, b.Bytes()) {
				t.Errorf("%s is not current: run go test ./principal/mapping -update (%v)", path, err)
			}
			check(t, v)
		})
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(vectors(t)) {
		t.Errorf("%d files in %s, want %d (%v)", len(files), dir, len(vectors(t)), err)
	}
}

func check(t *testing.T, v vector) {
	set, err := Parse([]byte(v.File), func(file string) ([]byte, error) {
		if text, ok := v.Shards[file]; ok {
			return []byte(text), nil
		}
		return nil, fileError(CodeShard, "no %s", file)
	})
	if v.Error != "" {
		var refused *FileError
		if !errors.As(err, &refused) || refused.Code != v.Error {
			t.Fatalf("Parse = %v, want code %s", err, v.Error)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Peers {
		der, err := hex.DecodeString(p.Subject)
		if err != nil {
			t.Fatal(err)
		}
		entry, err := set.Principal(Peer{Subject: der, URIs: p.URIs})
		var refused *Refused
		errors.As(err, &refused)
		switch {
		case p.Refused == "" && (err != nil || entry.Name != p.Principal):
			t.Errorf("%q %v: %q, %v; want %q", p.text, p.URIs, entry.Name, err, p.Principal)
		case p.Refused != "" && (refused == nil || refused.Reason != p.Refused):
			t.Errorf("%q %v: %q, %v; want refused as %s", p.text, p.URIs, entry.Name, err, p.Refused)
		}
	}
}
