// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/principal/mapping"
)

// explained runs a command line in a directory with files and returns what it prints.
func explained(t *testing.T, files map[string]string, in string, args ...string) (out, complaints string, code int) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	code = Run(t.Context(), append([]string{"explain"}, args...), genericiooptions.IOStreams{In: strings.NewReader(in), Out: &stdout, ErrOut: &stderr}, "v1")
	return stdout.String(), stderr.String(), code
}

// certificateOf is a certificate in PEM.
func certificateOf(t *testing.T, user principal.UserSubject, ids ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	if template.RawSubject, err = user.RawDER(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		parsed, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, parsed)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func mappingFiles(t *testing.T, room int) map[string]string {
	t.Helper()
	files, err := mapping.Render(mapping.File{
		Cluster: "kafka/kafka", Generation: 1, Unmapped: mapping.Refuse,
		Exact:    map[string]string{"CN=orders,OU=shop,O=signet": "shop.orders", "CN=web.acme,O=Acme": "special"},
		SPIFFE:   map[string]string{"spiffe://kafka.signet.dev/user/shop/orders": "shop.orders", "spiffe://other/x": "other"},
		Patterns: []mapping.PatternEntry{{Pattern: `CN=([a-z]+)\.acme,O=Acme`, Principal: "acme.$1"}},
	}, room)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const serverProperties = `# brokers
num.io.threads=8
ssl.principal.mapping.rules=RULE:^CN=([^,]+),O=Acme$/$1/L,\
  DEFAULT
listener.name.mtls.ssl.principal.mapping.rules=RULE:^CN\\=a\\.b$/dotted/
`

func TestExplainCommand(t *testing.T) {
	orders := principal.UserSubject{Namespace: "shop", Name: "orders", Organization: "signet"}
	surprising := "RULE:^CN=([^,]+),OU=([^,]+),O=Acme$/$2-$1/,RULE:^CN=admin,.*$/admin/,RULE:^CN=admin,OU=x,O=Acme$/x/,RULE:CN=late/z/"
	for name, c := range map[string]struct {
		files map[string]string
		in    string
		args  []string
		code  int
	}{
		"subject":                    {mappingFiles(t, mapping.MaxFile), "", []string{"CN=orders,OU=shop,O=signet", "--mapping", "mapping.json"}, ExitOK},
		"subject-in-shards":          {mappingFiles(t, 440), "", []string{"CN=orders,OU=shop,O=signet", "--mapping", "mapping.json"}, ExitOK},
		"subject-in-another-form":    {mappingFiles(t, mapping.MaxFile), "", []string{"cn=orders, ou=shop, o=signet", "--mapping", "mapping.json"}, ExitOK},
		"subject-that-shadows":       {mappingFiles(t, mapping.MaxFile), "", []string{"CN=web.acme,O=Acme", "--mapping", "mapping.json"}, ExitOK},
		"subject-of-nobody":          {mappingFiles(t, mapping.MaxFile), "", []string{"CN=stranger", "--mapping", "mapping.json"}, ExitNotReady},
		"spiffe-id":                  {mappingFiles(t, mapping.MaxFile), "", []string{"spiffe://kafka.signet.dev/user/shop/orders", "--mapping", "mapping.json"}, ExitOK},
		"certificate":                {with(mappingFiles(t, mapping.MaxFile), "client.pem", certificateOf(t, orders, "spiffe://kafka.signet.dev/user/shop/orders")), "", []string{"client.pem", "--mapping", "mapping.json"}, ExitOK},
		"certificate-from-input":     {mappingFiles(t, mapping.MaxFile), certificateOf(t, orders), []string{"-", "--mapping", "mapping.json"}, ExitOK},
		"certificate-that-disagrees": {mappingFiles(t, mapping.MaxFile), certificateOf(t, orders, "spiffe://other/x"), []string{"-", "--mapping", "mapping.json"}, ExitNotReady},
		"rules":                      {map[string]string{"rules": surprising}, "", []string{"CN=admin,OU=x,O=Acme", "--rules", "rules"}, ExitOK},
		"rules-analysed":             {map[string]string{"rules": surprising}, "", []string{"--rules", "rules"}, ExitNotReady},
		"rules-without-findings":     {map[string]string{"rules": `RULE:^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=signet$/$2.$1/`}, "", []string{"--rules", "rules"}, ExitOK},
		"empty-subject-by-default":   {map[string]string{"rules": "DEFAULT"}, "", []string{"", "--rules", "rules"}, ExitOK},
		"server-properties":          {map[string]string{"server.properties": serverProperties}, "", []string{"CN=A.B,O=Acme", "--rules", "server.properties"}, ExitOK},
		"rules-that-kafka-rejects":   {map[string]string{"rules": "RULE:^CN=(a/x/"}, "", []string{"--rules", "rules"}, ExitError},
		"rules-that-kafka-drops":     {map[string]string{"rules": "RULE:^CN=a$/a/\nRULE:^CN=b$/b/"}, "", []string{"--rules", "rules"}, ExitError},
		"rules-with-look-ahead":      {map[string]string{"rules": "RULE:^CN=(?!admin).*$/x/"}, "", []string{"--rules", "rules"}, ExitError},
		"no-rules-in-the-file":       {map[string]string{"server.properties": "a=b\n"}, "", []string{"--rules", "server.properties"}, ExitError},
		"broken-mapping-file":        {map[string]string{"mapping.json": `{"version":2}`}, "", []string{"CN=a", "--mapping", "mapping.json"}, ExitError},
		"no-such-file":               {nil, "", []string{"client.pem"}, ExitError},
		"no-certificate":             {map[string]string{"key.pem": "nothing"}, "", []string{"key.pem", "--rules", "key.pem"}, ExitError},
		"nothing-asked":              {nil, "", nil, ExitError},
		"hostile-subject":            {map[string]string{"rules": "RULE:^CN=([^,]*)$/$1/"}, "", []string{"CN=a\x1b[31mred", "--rules", "rules"}, ExitOK},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.Abs("testdata")
			if err != nil {
				t.Fatal(err)
			}
			out, complaints, code := explained(t, c.files, c.in, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if strings.ContainsRune(out+complaints, 0x1b) {
				t.Errorf("the output has control characters: %q", out)
			}
			t.Chdir(filepath.Dir(dir))
			golden(t, filepath.Join("explain", name+".txt"), []byte(out+complaints))
		})
	}
}

func with(files map[string]string, name, text string) map[string]string {
	files[name] = text
	return files
}

func TestExplainAsksClusters(t *testing.T) {
	cluster := &v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"}, Spec: v1alpha1.KafkaClusterSpec{MeshTrustDomain: "cluster.local"}}
	cluster.Spec.Certificates.Organization = "signet"
	entries := []principal.Entry{{Kind: principal.KindExact, Subject: "CN=orders,OU=shop,O=signet", Principal: "User:shop.orders"}}
	for range 9000 {
		id := "spiffe://cluster.local/ns/shop/sa/" + strings.Repeat("x", 100) + string(rune('a'+len(entries)%26)) + strings.Repeat("y", len(entries)%97) + strings.Repeat("z", len(entries)/97)
		entries = append(entries, principal.Entry{Kind: principal.KindSPIFFE, Subject: id, Principal: "User:shop.orders"})
	}
	config, err := principal.RenderBrokerConfig(cluster, nil, entries, nil, 4)
	if err != nil || len(config.Shards) == 0 {
		t.Fatalf("%d shards, %v", len(config.Shards), err)
	}
	objects := []client.Object{cluster,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: v1alpha1.BrokerConfigName("kafka")}, Data: config.Data},
		&v1alpha1.PrincipalMapping{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "shop.orders"}, Spec: v1alpha1.PrincipalMappingSpec{
			Cluster: "kafka", Principal: "User:shop.orders", Owner: &v1alpha1.MappingOwner{Namespace: "shop", Name: "orders"},
			Subjects: []v1alpha1.MappedSubject{{Exact: "CN=orders,OU=shop,O=signet"}},
		}},
	}
	for i, shard := range config.Shards {
		objects = append(objects, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: v1alpha1.BrokerShardName("kafka", i+1)}, Data: shard})
	}
	everything := fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objects...).Build()
	noLedger := deny(t, objects, func(verb string, o runtime.Object, _ client.ObjectKey) bool {
		_, ledger := o.(*v1alpha1.PrincipalMappingList)
		return ledger
	})
	for name, c := range map[string]struct {
		client client.Reader
		ask    string
		note   string
	}{
		"all":             {everything, "", "PrincipalMapping kafka/shop.orders (KafkaUser shop/orders)"},
		"by name":         {everything, "kafka/kafka", "PrincipalMapping kafka/shop.orders (KafkaUser shop/orders)"},
		"without a right": {noLedger, "kafka/kafka", ""},
	} {
		sources, err := clusterSources(context.Background(), c.client, "kafka", c.ask)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e := Explain(Peer{Subject: "CN=orders,OU=shop,O=signet"}, sources)
		if len(e.Answers) != 2 || e.Answers[0].Principal != "User:shop.orders" || e.Answers[1].Principal != "User:shop.orders" {
			t.Errorf("%s: %+v", name, e.Answers)
		}
		if notes := strings.Join(e.Notes, "\n"); !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
			t.Errorf("%s: notes %q, want %q", name, notes, c.note)
		}
	}
	if _, err := clusterSources(context.Background(), everything, "kafka", "other"); err == nil || !strings.Contains(err.Error(), "kafka/other") {
		t.Errorf("an unknown cluster: %v", err)
	}
	empty := fake.NewClientBuilder().WithScheme(testScheme(t)).Build()
	if _, err := clusterSources(context.Background(), empty, "kafka", ""); err == nil || !strings.Contains(err.Error(), "--rules") {
		t.Errorf("no cluster: %v", err)
	}
}
