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
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/principal/mapping"
	"github.com/signet-kafka/signet/principal/rules"
)

// certificateWithSANs is a certificate in PEM whose subject alternative names are URIs, octet for octet.
func certificateWithSANs(t *testing.T, uris ...string) string {
	t.Helper()
	var names []asn1.RawValue
	for _, uri := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(uri)})
	}
	value, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), Subject: pkix.Name{CommonName: "x"},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestURIsAreThoseInTheCertificate holds that a SPIFFE ID is not put right on its way to the question: brokers compare
// octets, and refuse what Go's URLs would write in the usual form.
func TestURIsAreThoseInTheCertificate(t *testing.T) {
	set := parseSet(t, mapping.File{SPIFFE: map[string]string{"spiffe://mesh/a": "a"}, Exact: map[string]string{}})
	for name, c := range map[string]struct {
		uris   []string
		answer string
	}{
		"as it is recorded":          {[]string{"spiffe://mesh/a"}, "User:a"},
		"beside another kind of URI": {[]string{"https://example.com/x", "spiffe://mesh/a"}, "User:a"},
		"scheme in capitals":         {[]string{"SPIFFE://mesh/a"}, ""},
		"host in capitals":           {[]string{"spiffe://MESH/a"}, ""},
		"escaped":                    {[]string{"spiffe://mesh/%61"}, ""},
		"two":                        {[]string{"spiffe://mesh/a", "SPIFFE://mesh/b"}, ""},
	} {
		peer, err := readCertificate("x.pem", []byte(certificateWithSANs(t, c.uris...)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Equal(peer.URIs, c.uris) {
			t.Errorf("%s: URIs %q, want %q", name, peer.URIs, c.uris)
		}
		if got := Explain(peer, []Source{{Name: "m", Set: set}}).Answers[0]; got.Principal != c.answer {
			t.Errorf("%s: %q because of %s, want %q", name, got.Principal, got.Entry, c.answer)
		}
	}
}

func parseSet(t *testing.T, file mapping.File) *mapping.Set {
	t.Helper()
	file.Cluster, file.Generation = "kafka/kafka", 1
	if file.Unmapped == "" {
		file.Unmapped = mapping.Refuse
	}
	files, err := mapping.Render(file, mapping.MaxFile)
	if err != nil {
		t.Fatal(err)
	}
	set, err := mapping.Parse([]byte(files[mapping.FileName]), nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestExplainOfAClientThatNoEntryKnows holds what is said under the policy Explicit: a client that brokers let in is not
// called refused.
func TestExplainOfAClientThatNoEntryKnows(t *testing.T) {
	certificate, err := readCertificate("x.pem", []byte(certificateWithSANs(t)))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		policy mapping.Unmapped
		peer   Peer
		want   string
	}{
		"refused":                {mapping.Refuse, Peer{Subject: "CN=x"}, ""},
		"refused certificate":    {mapping.Refuse, certificate, ""},
		"refused workload":       {mapping.Refuse, Peer{URIs: []string{"spiffe://mesh/ns/a/sa/b"}}, ""},
		"named":                  {mapping.Explicit, Peer{Subject: "CN=x"}, "User:unmapped:<SHA-256 of the DER subject>"},
		"named certificate":      {mapping.Explicit, certificate, "User:unmapped:"},
		"named workload":         {mapping.Explicit, Peer{URIs: []string{"spiffe://mesh/ns/a/sa/b"}}, "User:sa:a.b"},
		"named foreign workload": {mapping.Explicit, Peer{URIs: []string{"spiffe://other/ns/a/sa/b"}}, "User:unmapped:<SHA-256 of the DER subject>"},
	} {
		set := parseSet(t, mapping.File{Unmapped: c.policy, MeshTrustDomain: "mesh"})
		e := Explain(c.peer, []Source{{Name: "m", Set: set}})
		if got := e.Answers[0].Principal; !strings.HasPrefix(got, c.want) || e.Mapped() != (c.want != "") {
			t.Errorf("%s: %q because of %s, mapped %v; want %q", name, got, e.Answers[0].Entry, e.Mapped(), c.want)
		}
		if c.want == "" && !strings.Contains(e.Answers[0].Entry, "no entry") {
			t.Errorf("%s: because of %s", name, e.Answers[0].Entry)
		}
	}
}

// TestHolderIsWhoeverHasTheEntryInForce holds that nobody is named as the holder who only claims it.
func TestHolderIsWhoeverHasTheEntryInForce(t *testing.T) {
	mapped := func(name, principal string, status metav1.ConditionStatus, approved bool, subjects ...v1alpha1.MappedSubject) v1alpha1.PrincipalMapping {
		m := v1alpha1.PrincipalMapping{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: name}, Spec: v1alpha1.PrincipalMappingSpec{Principal: principal, Subjects: subjects}}
		if status != "" {
			m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status}}
		}
		if approved {
			m.Spec.ApprovedSubjects = []string{"CN=x"}
		}
		return m
	}
	exact, external := v1alpha1.MappedSubject{Exact: "CN=x"}, v1alpha1.MappedSubject{External: "CN=x"}
	spiffe, pattern := v1alpha1.MappedSubject{SPIFFE: "spiffe://mesh/x"}, v1alpha1.MappedSubject{Pattern: "CN=.", Replacement: "User:$1"}
	for name, c := range map[string]struct {
		entry    mapping.Entry
		mappings []v1alpha1.PrincipalMapping
		want     string
	}{
		"exact":                   {mapping.Entry{Kind: "exact", Key: "CN=x", Name: "x"}, []v1alpha1.PrincipalMapping{mapped("m", "User:x", "True", false, exact)}, "PrincipalMapping kafka/m"},
		"not judged yet":          {mapping.Entry{Kind: "exact", Key: "CN=x", Name: "x"}, []v1alpha1.PrincipalMapping{mapped("m", "User:x", "", false, exact)}, "PrincipalMapping kafka/m"},
		"after one in dispute":    {mapping.Entry{Kind: "exact", Key: "CN=x", Name: "x"}, []v1alpha1.PrincipalMapping{mapped("late", "User:x", "False", false, exact), mapped("m", "User:x", "True", false, exact)}, "PrincipalMapping kafka/m"},
		"another principal":       {mapping.Entry{Kind: "exact", Key: "CN=x", Name: "x"}, []v1alpha1.PrincipalMapping{mapped("other", "User:y", "True", false, exact)}, ""},
		"approved external":       {mapping.Entry{Kind: "exact", Key: "CN=x", Name: "x"}, []v1alpha1.PrincipalMapping{mapped("claims", "User:x", "True", false, external), mapped("m", "User:x", "True", true, external)}, "PrincipalMapping kafka/m"},
		"external, not approved":  {mapping.Entry{Kind: "exact", Key: "CN=x", Name: "x"}, []v1alpha1.PrincipalMapping{mapped("claims", "User:x", "True", false, external)}, ""},
		"SPIFFE ID":               {mapping.Entry{Kind: "spiffe", Key: "spiffe://mesh/x", Name: "x"}, []v1alpha1.PrincipalMapping{mapped("m", "User:x", "True", false, exact, spiffe)}, "PrincipalMapping kafka/m"},
		"pattern":                 {mapping.Entry{Kind: "pattern", Key: "CN=.", Name: "anything"}, []v1alpha1.PrincipalMapping{mapped("m", "User:x", "True", false, exact, pattern)}, "PrincipalMapping kafka/m"},
		"nobody knows":            {mapping.Entry{Kind: "exact", Key: "CN=x", Name: "x"}, nil, ""},
		"an unmapped workload":    {mapping.Entry{Kind: "workload", Key: "spiffe://mesh/x", Name: "sa:a.b"}, []v1alpha1.PrincipalMapping{mapped("m", "User:x", "True", false, spiffe)}, ""},
		"Signet's own connection": {mapping.Entry{Kind: "exact", Key: "CN=kafka", Name: "signet:kafka.kafka"}, nil, "Signet itself"},
	} {
		if got := holderOf(c.mappings, c.entry); got != c.want && (c.want != "Signet itself" || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestClustersThatCannotBeRead holds that of several KafkaClusters the readable ones answer, and that what the others
// would say is not taken for a no.
func TestClustersThatCannotBeRead(t *testing.T) {
	cluster := func(name string) *v1alpha1.KafkaCluster {
		c := &v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: name}}
		c.Spec.Certificates.Organization = "signet"
		return c
	}
	config, err := principal.RenderBrokerConfig(cluster("one"), nil, []principal.Entry{{Kind: principal.KindExact, Subject: "CN=x,O=Acme", Principal: "User:x"}}, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	readable := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: v1alpha1.BrokerConfigName("one")}, Data: config.Data}
	broken := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: v1alpha1.BrokerConfigName("two")}, Data: maps.Clone(config.Data)}
	broken.Data[v1alpha1.KeyMappingFile] = "{"
	clientOf := func(objects ...client.Object) client.Reader {
		return fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objects...).Build()
	}
	for name, c := range map[string]struct {
		reader   client.Reader
		sources  int
		wrong    string
		contains []string
	}{
		"one of two has none":  {clientOf(cluster("one"), cluster("two"), readable), 2, "", []string{"kafka/two cannot be asked", "two-signet-broker"}},
		"one of two is broken": {clientOf(cluster("one"), cluster("two"), readable, broken), 2, "", []string{"kafka/two cannot be asked", "mapping file"}},
		"none":                 {clientOf(cluster("one"), cluster("two")), 0, "one-signet-broker", nil},
	} {
		sources, err := clusterSources(context.Background(), c.reader, "kafka", "")
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || len(sources) != c.sources {
			t.Errorf("%s: %d sources, %v", name, len(sources), err)
			continue
		}
		e := Explain(Peer{Subject: "CN=x,O=Acme"}, sources)
		notes := strings.Join(e.Notes, "\n")
		for _, part := range c.contains {
			if !strings.Contains(notes, part) {
				t.Errorf("%s: notes lack %q: %s", name, part, notes)
			}
		}
		if !e.Mapped() {
			t.Errorf("%s: not mapped", name)
		}
	}
	if _, err := clusterSources(context.Background(), clientOf(cluster("two"), broken), "kafka", "two"); err == nil || !strings.Contains(err.Error(), "two-signet-broker") {
		t.Errorf("a broken cluster that is asked for by name: %v", err)
	}
}

// TestParseProperties holds what java.util.Properties of Java 17 makes of each text (recorded).
func TestParseProperties(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                                     {},
		"a=b":                                  {"a": "b"},
		"a:b\nc d\re\tf\r\ng":                  {"a": "b", "c": "d", "e": "f", "g": ""},
		"  a  =  b  ":                          {"a": "b  "},
		"a==b":                                 {"a": "=b"},
		"a = : b":                              {"a": ": b"},
		"a\\=b\\:c\\ d=e":                      {"a=b:c d": "e"},
		"# a=b\n! c=d\n\n \t\f\ne=f":           {"e": "f"},
		"# no \\\na=b":                         {"a": "b"},
		"a=b\\\n  c\\\r\n\td":                  {"a": "bcd"},
		"a=b\\\r\n#c":                          {"a": "b#c"},
		"a=b\\\n\nc=d":                         {"a": "b", "c": "d"},
		"\\\n# c\na=b":                         {"a": "b"},
		"a=b\\\\\nc=d":                         {"a": "b\\", "c": "d"},
		"a=b\\":                                {"a": "b"},
		"a=\\.\\z\\t\\n\\\\":                   {"a": ".z\t\n\\"},
		"a=\\u00fc\\ud834\\udd1e\xfc":          {"a": "ü\U0001d11eü"},
		"a=1\na=2":                             {"a": "2"},
		"\\u0061=b":                            {"a": "b"},
		"=b":                                   {"": "b"},
		"a=${x}\ninclude = x":                  {"a": "${x}", "include": "x"},
		"rules=RULE:^CN=a\\\\,b$/\\$1/,\\\n x": {"rules": `RULE:^CN=a\,b$/$1/,x`},
	} {
		got, err := parseProperties([]byte(text))
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"a=\\u12", "a=\\u12g4", "\\u=b", "a=b\n\\uuuu"} {
		if got, err := parseProperties([]byte(text)); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: %q, %v; Java throws", text, got, err)
		}
	}
}

// TestPropertiesRoundTrip holds that what Signet renders for brokers is read back as it was.
func TestPropertiesRoundTrip(t *testing.T) {
	cluster := &v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"}}
	cluster.Spec.Listeners = []v1alpha1.Listener{{Name: "mtls", Authentication: v1alpha1.AuthenticationMTLS}}
	entries := []principal.Entry{
		{Kind: principal.KindExact, Subject: `CN=a\, b\#c,O=Bücher 𝄞`, Principal: `User:a $1/`},
		{Kind: principal.KindPattern, Subject: `CN=([a-z]+)\.acme,O=Acme`, Principal: "User:$1"},
	}
	config, err := principal.RenderBrokerConfig(cluster, nil, entries, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := rulesIn("server.properties", config.Data[v1alpha1.KeyServerProperties])
	if err != nil || len(sources) != 1 || sources[0].Name != "listener.name.mtls.ssl.principal.mapping.rules" {
		t.Fatalf("%+v, %v", sources, err)
	}
	if got := sources[0].Rules.String(); got != config.Data[v1alpha1.KeyMappingRules] {
		t.Errorf("rules read back:\n%s\nwant\n%s", got, config.Data[v1alpha1.KeyMappingRules])
	}
}

func TestRulesOfAFile(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"RULE:^CN=a$/a/":                      {"f": "RULE:^CN=a$/a/"},
		"\n  DEFAULT  \n":                     {"f": "DEFAULT"},
		"ssl.principal.mapping.rules=DEFAULT": {"ssl.principal.mapping.rules": "DEFAULT"},
		"listener.name.a-b.ssl.principal.mapping.rules=DEFAULT":                              {"listener.name.a-b.ssl.principal.mapping.rules": "DEFAULT"},
		"# windows\r\nssl.principal.mapping.rules=RULE:^CN=a$/a/,\\\r\n  DEFAULT\r\nx=y\r\n": {"ssl.principal.mapping.rules": "RULE:^CN=a$/a/,DEFAULT"},
		"ssl.principal.mapping.rules=DEFAULT\nlistener.name.x.ssl.principal.mapping.rules=RULE:^CN\\\\=a$/a/": {
			"ssl.principal.mapping.rules": "DEFAULT", "listener.name.x.ssl.principal.mapping.rules": `RULE:^CN\=a$/a/`},
		"other.ssl.principal.mapping.rules.x=y\nssl.principal.mapping.rules=DEFAULT": {"ssl.principal.mapping.rules": "DEFAULT"},
	} {
		sources, err := rulesIn("f", text)
		got := map[string]string{}
		for _, s := range sources {
			got[s.Name] = s.Rules.String()
		}
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                                    "has neither mapping rules",
		"a=b":                                 "Kafka takes DEFAULT",
		"a=\\uzzzz":                           "line 1: a: malformed",
		"ssl.principal.mapping.rules=RULE:^(": "f: ssl.principal.mapping.rules: ",
		"listener.name.MTLS.ssl.principal.mapping.rules=DEFAULT": "Kafka ignores listener.name.MTLS.ssl.principal.mapping.rules",
		"listener.name.a.b.ssl.principal.mapping.rules=DEFAULT":  "Kafka ignores",
		"x.ssl.principal.mapping.rules=DEFAULT":                  "Kafka ignores",
		"RULE:^CN=a$/a/\nssl.principal.mapping.rules=x":          "f: ",
	} {
		if sources, err := rulesIn("f", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want an error with %q", text, sources, err, want)
		}
	}
}

// FuzzRulesOfAFile holds that no file makes it panic, and that what is read can be written and read again.
func FuzzRulesOfAFile(f *testing.F) {
	f.Add("ssl.principal.mapping.rules=RULE:^CN=a$/a/,\\\r\n DEFAULT")
	f.Add("RULE:^CN=([^,]+),.*$/$1/L\n")
	f.Add("listener.name.x.ssl.principal.mapping.rules : \\u0044EFAULT")
	f.Fuzz(func(t *testing.T, text string) {
		sources, err := rulesIn("f", text)
		if err != nil {
			return
		}
		for _, s := range sources {
			if again, err := rules.Parse(s.Rules.String()); err != nil || again.String() != s.Rules.String() {
				t.Errorf("%q is read back as %q, %v", s.Rules, again, err)
			}
		}
	})
}

// TestExplainRefuses holds the exit code and the reason of what cannot be found out.
func TestExplainRefuses(t *testing.T) {
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	large := filepath.Join(dir, "large")
	written := map[string]string{
		kubeconfig: "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: c, context: {cluster: c}}]\n",
		large:      strings.Repeat("#", maxInput+1),
	}
	for name, text := range written {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		args []string
		in   string
		want string
	}{
		"no API server":               {[]string{"CN=a", "--kubeconfig", kubeconfig}, "", "refused"},
		"two subjects":                {[]string{"CN=a", "CN=b"}, "", "accepts at most 1 arg"},
		"files and a cluster":         {[]string{"CN=a", "--rules", "x", "--cluster", "y"}, "", "[cluster rules]"},
		"a mapping file and none":     {[]string{"--mapping", "x"}, "", "name a subject"},
		"a directory":                 {[]string{"CN=a", "--rules", dir}, "", "directory"},
		"a file that is too large":    {[]string{"CN=a", "--rules", large}, "", "more than 4194304 bytes"},
		"an input that is too large":  {[]string{"-", "--rules", large}, strings.Repeat("x", maxInput+1), "more than 4194304 bytes"},
		"a key":                       {[]string{"-", "--rules", large}, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", "standard input has no certificate in PEM"},
		"a subject that is none":      {[]string{"CN=a,=b", "--rules", large}, "", "attribute type"},
		"a file name that is hostile": {[]string{"\x1b]0;x\a\u202e.pem", "--rules", large}, "", "no file of that name exists"},
		"rules with a hostile name":   {[]string{"CN=a", "--rules", "\x1b]0;x\a\u202e"}, "", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := Run(t.Context(), append([]string{"explain"}, c.args...), genericiooptions.IOStreams{In: strings.NewReader(c.in), Out: &stdout, ErrOut: &stderr}, "v1")
			if code != ExitError || !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
				t.Errorf("exit code %d, output %q, error stream:\n%s", code, stdout.String(), stderr.String())
			}
			if strings.ContainsAny(stderr.String(), "\x1b\a\u202e") {
				t.Errorf("the terminal is made to obey: %q", stderr.String())
			}
		})
	}
}

// TestHostileContentIsPrintedSafely holds that subjects, principals, rules and notes keep a terminal from obeying, and
// each stay on one line.
func TestHostileContentIsPrintedSafely(t *testing.T) {
	const hostile = "\x1b]0;owned\a\r\n\u202egnihtemos\u2028\u009b31m"
	list, err := rules.Parse("RULE:^CN=(.*)$/\u202e$1/,DEFAULT")
	if err != nil {
		t.Fatal(err)
	}
	set := parseSet(t, mapping.File{Exact: map[string]string{"CN=" + hostile: "\u202ex"}})
	sources := []Source{{Name: hostile, Set: set, Rules: list, HasRules: true}, {Name: hostile, Unreadable: os.ErrNotExist}}
	var out bytes.Buffer
	explanation := Explain(Peer{Subject: "CN=" + hostile, Typed: hostile, URIs: []string{hostile}}, sources)
	if err := WriteExplanation(&out, explanation); err != nil {
		t.Fatal(err)
	}
	if err := WriteFindings(&out, hostile, list, nil); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\a\r\u202e\u2028\u009b\u0085") {
		t.Errorf("output %q", out.String())
	}
	// Subject, URI; a blank line, heading, two answers; a blank line and the notes; what the rules are.
	if want := 2 + 4 + 1 + len(explanation.Notes) + 1 + len(list); strings.Count(out.String(), "\n") != want {
		t.Errorf("%d lines, want %d:\n%s", strings.Count(out.String(), "\n"), want, out.String())
	}
}

// TestExplainHelp holds that the help says all that there is: it is the documentation of the command.
func TestExplainHelp(t *testing.T) {
	var stdout bytes.Buffer
	if code := Run(t.Context(), []string{"explain", "--help"}, genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &stdout, ErrOut: &bytes.Buffer{}}, "v1"); code != ExitOK {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{
		"kubectl signet explain [SUBJECT | CERTIFICATE.pem | SPIFFE-ID | -]", "--cluster", "--rules", "--mapping", "server.properties",
		"Exit code: 0", "1 when there is none", "2 when it could not be found out", "standard input", "never reached",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, stdout.String())
		}
	}
}
