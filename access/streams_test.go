// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/principal"
)

// streams runs a real Kafka Streams application whose application.id is the namespace, with nothing but consume, produce and
// admin: its group, its repartition topic and its changelog follow from the conventions.
func streams(t *testing.T, h *harness, a *kafkatest.Authority, b *kafkatest.Broker) {
	libs := os.Getenv("SIGNET_STREAMS_LIBS")
	if libs == "" {
		t.Fatal("SIGNET_STREAMS_LIBS has to name the directory with the jars of Kafka Streams: (cd test/cluster && go run . streams-libs) makes it")
	}
	dir := t.TempDir()
	compile := exec.CommandContext(t.Context(), "javac", "-Xlint:all", "-Werror", "-cp", filepath.Join(libs, "*"), "-d", dir, filepath.Join("testdata", "WordCount.java"))
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	for _, name := range []string{"lines", "counts"} {
		h.must(h.admin().CreateTopic(h.ctx, name, Topic{Partitions: 1, ReplicationFactor: 1}))
	}
	user := h.user("bank", "words", v1alpha1.KafkaUserSpec{Consume: []string{"lines"}, Produce: []string{"counts"}, Admin: []string{"bank-*"}})
	h.pass()
	h.wantSynced(user)

	identity := clientOf(t, a, principal.UserSubject{Namespace: "bank", Name: "words", Organization: "signet"})
	properties := writeIdentity(t, dir, b, a, identity.Certificates[0])
	var log bytes.Buffer
	app := exec.CommandContext(context.WithoutCancel(t.Context()), "java", "-Xmx300m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Djava.io.tmpdir="+dir, "-cp", dir+string(os.PathListSeparator)+filepath.Join(libs, "*"), "WordCount", properties, "bank")
	app.Stdout, app.Stderr = &log, &log
	h.must(app.Start())
	ended := make(chan error, 1)
	go func() { ended <- app.Wait() }()
	t.Cleanup(func() {
		_ = app.Process.Kill() // it may have ended already
		if err := <-ended; err == nil {
			t.Error("the application ended by itself")
		}
	})

	admin, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.DialTLSConfig(controllerTLS(t, a)), kgo.ConsumeTopics("counts"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	h.must(err)
	defer admin.Close()
	h.must(admin.ProduceSync(h.ctx, &kgo.Record{Topic: "lines", Value: []byte("to be or not to be")}).FirstErr())
	counts := map[string]string{}
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Minute)
	defer cancel()
	for counts["to"] != "2" || counts["be"] != "2" || counts["or"] != "1" {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the application ends: %v\n%s", err, log.String())
		default:
		}
		fetches := admin.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("counted are %v", counts)
		}
		fetches.EachRecord(func(r *kgo.Record) { counts[string(r.Key)] = string(r.Value) })
	}
	topics, err := kadm.NewClient(admin).ListTopics(h.ctx)
	h.must(err)
	for _, name := range []string{"bank-words-changelog", "bank-words-repartition"} {
		if !slices.Contains(topics.Names(), name) {
			t.Errorf("no topic %s among %q", name, topics.Names())
		}
		h.must(h.admin().DeleteTopic(h.ctx, name))
	}
	groups, err := kadm.NewClient(admin).ListGroups(h.ctx)
	h.must(err)
	if !slices.Contains(groups.Groups(), "bank") {
		t.Errorf("no group bank among %q", groups.Groups())
	}
	for _, name := range []string{"lines", "counts"} {
		h.must(h.admin().DeleteTopic(h.ctx, name))
	}
}

// writeIdentity writes a client's certificate and configuration as Java reads them, and returns the configuration's path.
func writeIdentity(t *testing.T, dir string, b *kafkatest.Broker, a *kafkatest.Authority, certificate tls.Certificate) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keystore := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for _, der := range certificate.Certificate {
		keystore = append(keystore, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{
		"keystore.pem": string(keystore), "ca.crt": string(a.PEM()),
		"client.properties": fmt.Sprintf("bootstrap.servers=%s\nsecurity.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=%s\nssl.truststore.type=PEM\nssl.truststore.location=%s\nstate.dir=%s\n",
			b.Address, path("keystore.pem"), path("ca.crt"), path("state")),
	} {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path("client.properties")
}
