// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/observe"
	"github.com/signet-kafka/signet/principal"
)

// credentialsFor writes a directory as kubectl signet sign does.
func credentialsFor(t *testing.T, a *kafkatest.Authority, b *kafkatest.Broker, subject principal.UserSubject) string {
	t.Helper()
	raw, err := subject.RawDER()
	if err != nil {
		t.Fatal(err)
	}
	config := a.Client(&x509.Certificate{RawSubject: raw})
	key, err := x509.MarshalPKCS8PrivateKey(config.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{"bootstrapServers": []string{b.Address}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		v1alpha1.FileJSON:        settings,
		v1alpha1.FileCertificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]}),
		v1alpha1.FileKey:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		v1alpha1.FileCA:          a.PEM(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestKafkaObservedCommands reads the access log of a real broker with credentials of three kinds, applies what is suggested,
// and holds that preflight is empty then. The records are written by the test, in the format of the authorizer.
func TestKafkaObservedCommands(t *testing.T) {
	a := kafkatest.NewAuthority(t)
	b := kafkatest.Start(t, a, kafkatest.Options{Properties: kafkatest.Authorizer})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, cluster := observedWorld(t, v1alpha1.AuthorizationHybrid)
	super := credentialsFor(t, a, b, principal.ControllerSubject(cluster))
	auditor := credentialsFor(t, a, b, principal.SubjectOf(cluster, "shop", "auditor"))
	flags := func(dir string) *logFlags { return &logFlags{dir: dir, since: observe.Window} }
	if _, err := flags(super).observe(t.Context(), &bytes.Buffer{}); !errors.Is(err, observe.ErrNoTopic) {
		t.Errorf("without the topic: %v", err)
	}

	kafka, err := dialKafka(super)
	must(err)
	defer kafka.Close()
	admin := access.NewAdmin("kafka/kafka", kafka)
	for _, topic := range []string{"orders", "refunds", "shop-out", "payments", "logs-a", "logs-b", "logs-c"} {
		must(admin.CreateTopic(t.Context(), topic, access.Topic{Partitions: 1, ReplicationFactor: 1}))
	}
	compact := "compact"
	_, err = kadm.NewClient(kafka).CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &compact}, observe.AccessTopic)
	must(err)
	text, err := os.ReadFile(filepath.Join("testdata", "observed", "access.log"))
	must(err)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		must(kafka.ProduceSync(t.Context(), &kgo.Record{Topic: observe.AccessTopic, Key: []byte(key), Value: []byte(value)}).FirstErr())
	}

	if _, err := flags(auditor).observe(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "consume: [__signet_access]") {
		t.Errorf("a client that may not read the log: %v", err)
	}
	reader := observedUser("auditor", func(u *v1alpha1.KafkaUser) { u.Spec.Consume = []string{observe.AccessTopic} })
	must(admin.Apply(t.Context(), access.Diff(map[string]access.Bindings{"User:shop.auditor": access.Grants(reader, cluster, access.Facts{})}, nil, nil)))
	var seen *observation
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if seen, err = flags(auditor).observe(t.Context(), &bytes.Buffer{}); err == nil || time.Now().After(deadline) {
			break
		}
	}
	must(err)
	want := accessLog(t).graph.Uses(nil)
	if got := seen.graph.Uses(nil); seen.held || len(got) != len(want) || !slices.Equal(seen.existing.Topics, []string{observe.AccessTopic}) {
		t.Errorf("the auditor reads %d uses of %d, sees the topics %q, may describe ACLs: %t", len(got), len(want), seen.existing.Topics, seen.held)
	}

	seen, err = flags(super).observe(t.Context(), &bytes.Buffer{})
	must(err)
	if !seen.held || !slices.Contains(seen.existing.Topics, "refunds") {
		t.Errorf("the super user sees %q, may describe ACLs: %t", seen.existing.Topics, seen.held)
	}
	users, err := usersByPrincipal(t.Context(), c, cluster)
	must(err)
	denied := func() []observe.Use {
		t.Helper()
		seen, err := flags(super).observe(t.Context(), &bytes.Buffer{})
		must(err)
		p := preflight{cluster: cluster, users: users, seen: seen, now: noon, since: observe.Window, complaints: &bytes.Buffer{}}
		return p.wouldBeDenied("User:shop.orders")
	}
	if got := denied(); len(got) != 6 {
		t.Errorf("before anything is granted %+v would be denied", got)
	}
	var out bytes.Buffer
	must(suggest(t.Context(), c, cluster, seen, suggestOptions{principal: "User:shop.orders"}, noon.Add(-observe.Window), genericiooptions.IOStreams{Out: &out, ErrOut: &bytes.Buffer{}}))
	var suggested v1alpha1.KafkaUser
	must(yaml.UnmarshalStrict(out.Bytes(), &suggested))
	must(admin.Apply(t.Context(), access.Diff(map[string]access.Bindings{"User:shop.orders": access.Grants(&suggested, cluster, access.Facts{})}, nil, nil)))
	var rest []observe.Use
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if rest = denied(); len(rest) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if len(rest) > 0 {
		t.Errorf("with what was suggested, %+v would be denied", rest)
	}
}
