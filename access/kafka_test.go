// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// The tests of this file start real brokers. They need java and, in SIGNET_KAFKA_LIBS, the directory with the jars of a
// Kafka of version 4 or later: go test -tags kafka ./access

// authority is a CA of the brokers and of their clients.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(template, nil)
	return a
}

func (a *authority) sign(template *x509.Certificate, subject *principal.UserSubject) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if subject != nil {
		if template.RawSubject, err = subject.RawDER(); err != nil {
			a.t.Fatal(err)
		}
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// client returns what a client with this subject presents and trusts.
func (a *authority) client(subject principal.UserSubject) *tls.Config {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, &subject)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
}

// controllerTLS is Signet's own identity.
func (a *authority) controllerTLS() *tls.Config {
	return a.client(principal.ControllerSubject(newCluster(v1alpha1.ClusterPolicy{})))
}

// broker is a real Kafka in KRaft's combined mode, with an mTLS listener.
type broker struct {
	t         *testing.T
	libs      string
	dir       string
	bootstrap string
	command   *exec.Cmd
}

const brokerProperties = `process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:%[3]d
controller.listener.names=CONTROLLER
listeners=MTLS://localhost:%[2]d,CONTROLLER://localhost:%[3]d
advertised.listeners=MTLS://localhost:%[2]d
listener.security.protocol.map=MTLS:SSL,CONTROLLER:SSL
inter.broker.listener.name=MTLS
ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location=%[1]s/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=%[1]s/ca.pem
ssl.principal.mapping.rules=RULE:^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=signet$/$2.$1/,RULE:^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=signet-controller$/signet:$2.$1/,RULE:^CN=broker$/broker/
%[4]s
log.dirs=%[1]s/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
num.io.threads=2
num.network.threads=2
background.threads=2
`

const withAuthorizer = `authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:broker;User:signet:kafka.kafka`

func startBroker(t *testing.T, a *authority, extra string) *broker {
	t.Helper()
	libs := os.Getenv("SIGNET_KAFKA_LIBS")
	if libs == "" {
		t.Fatal("SIGNET_KAFKA_LIBS must name the directory with Kafka's jars")
	}
	b := &broker{t: t, libs: libs, dir: t.TempDir()}
	cert, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, nil)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 2)
	b.bootstrap = fmt.Sprintf("localhost:%d", ports[0])
	b.write("keystore.pem", slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), a.pem()))
	b.write("ca.pem", a.pem())
	b.write("server.properties", fmt.Appendf(nil, brokerProperties, b.dir, ports[0], ports[1], extra))
	b.write("log4j2.yaml", []byte(`Configuration:
  Appenders: {Console: {name: STDOUT, PatternLayout: {pattern: "[%d] %p %m (%c)%n"}}}
  Loggers: {Root: {level: WARN, AppenderRef: {ref: STDOUT}}, Logger: [{name: kafka.server.KafkaRaftServer, level: INFO}]}
`))
	format := b.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", filepath.Join(b.dir, "server.properties"), "--standalone")
	if out, err := format.CombinedOutput(); err != nil {
		t.Fatalf("format: %v\n%s", err, out)
	}
	b.start()
	t.Cleanup(b.kill)
	return b
}

func (b *broker) write(name string, content []byte) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *broker) java(arguments ...string) *exec.Cmd {
	return exec.Command("java", append([]string{"-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + filepath.Join(b.dir, "log4j2.yaml"), "-cp", b.libs + "/*"}, arguments...)...)
}

// start starts the broker and waits until it is ready.
func (b *broker) start() {
	b.t.Helper()
	log, err := os.Create(filepath.Join(b.dir, "log"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	b.command = b.java("kafka.Kafka", filepath.Join(b.dir, "server.properties"))
	b.command.Stdout, b.command.Stderr = log, log
	if err := b.command.Start(); err != nil {
		b.t.Fatal(err)
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, err := os.ReadFile(log.Name())
		if err != nil {
			b.t.Fatal(err)
		}
		if bytes.Contains(out, []byte("Kafka Server started")) {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the broker does not start:\n%s", out)
		}
	}
}

// kill ends the broker as a crash would.
func (b *broker) kill() {
	if b.command == nil {
		return
	}
	// Both report that the process had ended already, at worst.
	_ = b.command.Process.Kill()
	_ = b.command.Wait()
	b.command = nil
}

func freePorts(t *testing.T, count int) []int {
	t.Helper()
	var ports []int
	for range count {
		l, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// wipe empties a broker of ACLs and of topics.
func wipe(t *testing.T, h *harness) {
	t.Helper()
	bindings, err := h.admin().Describe(h.ctx)
	h.must(err)
	h.must(h.admin().Apply(h.ctx, Diff(principalsOf(bindings), bindings, nil)))
	for _, topic := range []string{"shop-orders", "payments", "secret"} {
		h.must(h.admin().DeleteTopic(h.ctx, topic))
		h.eventually(func() bool {
			actual, err := h.admin().Topic(h.ctx, topic)
			return err == nil && actual == nil
		})
	}
	for _, principal := range slices.Collect(maps.Keys(principalsOf(bindings))) {
		h.wantHeld(principal, nil)
	}
}

func principalsOf(bindings []Binding) map[string]Bindings {
	out := map[string]Bindings{}
	for _, b := range bindings {
		out[b.Principal] = nil
	}
	return out
}

func TestKafka(t *testing.T) {
	a := newAuthority(t)
	b := startBroker(t, a, withAuthorizer)
	with := func(t *testing.T) *harness {
		h := newHarness(t, &adminTLS{config: a.controllerTLS()}, []string{b.bootstrap}, v1alpha1.ClusterPolicy{})
		wipe(t, h)
		return h
	}
	for name, scenario := range scenarios {
		t.Run(name, func(t *testing.T) { scenario(t, with(t)) })
	}
	t.Run("Facts", func(t *testing.T) {
		brokers, err := with(t).admin().Brokers(t.Context())
		if err != nil || brokers != (Brokers{Answered: 1, Known: 1}) {
			t.Errorf("%+v, %v", brokers, err)
		}
	})
	t.Run("UnknownTopicConfig", func(t *testing.T) { unknownTopicConfig(t, with(t)) })
	t.Run("OneRefusedAmongMany", func(t *testing.T) { oneRefused(t, with(t)) })
	t.Run("ThousandsOfACLs", func(t *testing.T) { thousands(t, with(t)) })
	t.Run("ClientSeesExactlyItsTopics", func(t *testing.T) { clientStory(t, with(t), a, b) })
	t.Run("NotASuperUser", func(t *testing.T) {
		ordinary := a.client(principal.UserSubject{Namespace: "shop", Name: "ordinary", Organization: "signet"})
		h := newHarness(t, &adminTLS{config: ordinary}, []string{b.bootstrap}, v1alpha1.ClusterPolicy{})
		user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
		h.pass()
		for _, c := range []metav1.Condition{h.wantReason(user, v1alpha1.ReasonRefusedByBroker), h.ask()} {
			t.Log(c.Message)
			if c.Reason != v1alpha1.ReasonRefusedByBroker || !strings.Contains(c.Message, "status.adminPrincipal a super user") {
				t.Errorf("%s: %s", c.Reason, c.Message)
			}
		}
	})
	t.Run("UntrustedBroker", func(t *testing.T) {
		h := newHarness(t, &adminTLS{config: newAuthority(t).controllerTLS()}, []string{b.bootstrap}, v1alpha1.ClusterPolicy{})
		c := h.ask()
		t.Log(c.Message)
		if c.Reason != v1alpha1.ReasonUnreachable || !strings.Contains(c.Message, "x509") {
			t.Errorf("%s: %s", c.Reason, c.Message)
		}
	})
	t.Run("UntrustedClient", func(t *testing.T) {
		config := newAuthority(t).controllerTLS()
		config.RootCAs = a.controllerTLS().RootCAs
		h := newHarness(t, &adminTLS{config: config}, []string{b.bootstrap}, v1alpha1.ClusterPolicy{})
		c := h.ask()
		t.Log(c.Message)
		if c.Reason != v1alpha1.ReasonUnreachable || !strings.Contains(c.Message, "tls") {
			t.Errorf("%s: %s", c.Reason, c.Message)
		}
	})
	t.Run("BrokerDies", func(t *testing.T) { brokerDies(t, with(t), b) })
}

// TestKafkaWithoutAuthorizer holds what is said where the brokers enforce nothing.
func TestKafkaWithoutAuthorizer(t *testing.T) {
	a := newAuthority(t)
	b := startBroker(t, a, "")
	h := newHarness(t, &adminTLS{config: a.controllerTLS()}, []string{b.bootstrap}, v1alpha1.ClusterPolicy{})
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	for _, c := range []metav1.Condition{h.wantReason(user, v1alpha1.ReasonRefusedByBroker), h.ask()} {
		t.Log(c.Message)
		if c.Reason != v1alpha1.ReasonRefusedByBroker || !strings.Contains(c.Message, "authorizer.class.name") {
			t.Errorf("%s: %s", c.Reason, c.Message)
		}
	}
}

func unknownTopicConfig(t *testing.T, h *harness) {
	topic := newTopic(func(k *v1alpha1.KafkaTopic) { k.Spec.Config = map[string]string{"no.such.config": "1"} })
	h.must(h.api.Create(h.ctx, topic))
	refused := func() {
		t.Helper()
		if c := h.topic(topic); c.Reason != v1alpha1.ReasonRefusedByBroker || !strings.Contains(c.Message, "no.such.config") {
			t.Errorf("%s: %s", c.Reason, c.Message)
		}
	}
	refused()
	topic.Spec.Config, topic.Generation = nil, 2
	h.must(h.api.Update(h.ctx, topic))
	if c := h.topic(topic); c.Status != metav1.ConditionTrue {
		t.Fatalf("%s: %s", c.Reason, c.Message)
	}
	topic.Spec.Config, topic.Generation = map[string]string{"no.such.config": "1", "retention.ms": "1"}, 3
	h.must(h.api.Update(h.ctx, topic))
	refused()
	if actual, err := h.admin().Topic(h.ctx, "shop-orders"); err != nil || len(actual.Config) != 0 {
		t.Errorf("half of a configuration was applied: %+v, %v", actual, err)
	}
}

// oneRefused sends a binding that Kafka refuses (it has no resource name) among others that it takes.
func oneRefused(t *testing.T, h *harness) {
	good := sorted(Grants(newUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"payments"} }), newCluster(v1alpha1.ClusterPolicy{}), Facts{}))
	bad := good[0]
	bad.ResourceName = ""
	err := h.admin().Apply(h.ctx, Change{Create: slices.Concat(good[:2], []Binding{bad}, good[2:])})
	var partial *PartialError
	if !errors.Is(err, ErrPartial) || !errors.As(err, &partial) || len(partial.Refused) != 1 || partial.Refused[0].Binding != bad {
		t.Errorf("%v", err)
	}
	h.wantHeld("User:shop.orders", good)
}

// thousands holds that a user with more bindings than a request may carry comes and goes.
func thousands(t *testing.T, h *harness) {
	var topics []string
	for i := range 1000 {
		topics = append(topics, fmt.Sprintf("shop-%04d", i))
	}
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Admin: topics})
	other := h.user("shop", "other", v1alpha1.KafkaUserSpec{Produce: topics})
	started := time.Now()
	h.pass()
	h.wantSynced(user)
	h.wantSynced(other)
	t.Logf("%d bindings created in %s", *user.Status.ACLs+*other.Status.ACLs, time.Since(started).Round(time.Millisecond))
	started = time.Now()
	h.fullPass()
	t.Logf("a pass without change: %s", time.Since(started).Round(time.Millisecond))
	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Admin = topics[:990] })
	started = time.Now()
	h.pass()
	h.wantSynced(user)
	t.Logf("60 bindings of one user removed in %s", time.Since(started).Round(time.Millisecond))
	h.must(h.api.Delete(h.ctx, user))
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	started = time.Now()
	h.pass()
	t.Logf("%d bindings of a deleted user removed in %s", *user.Status.ACLs, time.Since(started).Round(time.Millisecond))
	h.wantHeld("User:shop.orders", nil)
	if !h.gone(user) {
		t.Error("still there")
	}
	h.wantSynced(other)
}

// clientStory runs a real client through what access means: no topics, exactly the granted one, produce and consume with
// the free group and a transaction, and nothing again.
func clientStory(t *testing.T, h *harness, a *authority, b *broker) {
	for _, name := range []string{"payments", "secret"} {
		h.must(h.admin().CreateTopic(h.ctx, name, Topic{Partitions: 1, ReplicationFactor: 1}))
	}
	identity := a.client(principal.UserSubject{Namespace: "shop", Name: "orders", Organization: "signet"})
	connect := func(options ...kgo.Opt) *kgo.Client {
		connection, err := kgo.NewClient(append(options, kgo.SeedBrokers(b.bootstrap), kgo.DialTLSConfig(identity))...)
		h.must(err)
		return connection
	}
	seen := func() []string {
		connection := connect()
		defer connection.Close()
		topics, err := kadm.NewClient(connection).ListTopics(h.ctx)
		h.must(err)
		return topics.Names()
	}
	if got := seen(); len(got) != 0 {
		t.Errorf("without access the client sees %v", got)
	}
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}, Produce: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	h.eventually(func() bool { return slices.Equal(seen(), []string{"payments"}) })
	producer := connect(kgo.TransactionalID("shop.orders-1"))
	defer producer.Close()
	h.must(producer.BeginTransaction())
	h.must(producer.ProduceSync(h.ctx, &kgo.Record{Topic: "payments", Value: []byte("paid")}).FirstErr())
	h.must(producer.EndTransaction(h.ctx, kgo.TryCommit))
	for _, group := range []string{"shop", "shop.workers"} {
		consumer := connect(kgo.ConsumerGroup(group), kgo.ConsumeTopics("payments"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		fetches := consumer.PollRecords(h.ctx, 1)
		if records := fetches.Records(); fetches.Err() != nil || len(records) != 1 || string(records[0].Value) != "paid" {
			t.Errorf("group %s: %v, %v", group, records, fetches.Err())
		}
		consumer.Close()
	}
	stranger := connect(kgo.ConsumerGroup("bank"), kgo.ConsumeTopics("payments"))
	if err := stranger.PollRecords(h.ctx, 1).Err(); !errors.Is(err, kerr.GroupAuthorizationFailed) {
		t.Errorf("another namespace's group: %v", err)
	}
	stranger.Close()
	plain := connect()
	defer plain.Close()
	ctx, cancel := context.WithTimeout(h.ctx, 20*time.Second)
	defer cancel()
	if err := plain.ProduceSync(ctx, &kgo.Record{Topic: "secret", Value: []byte("x")}).FirstErr(); err == nil {
		t.Error("produced to a topic that was not granted")
	}
	h.must(h.api.Delete(h.ctx, user))
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	h.pass()
	h.eventually(func() bool { return len(seen()) == 0 })
}

// brokerDies kills the broker between two changes, and while a pass is under way, and starts it again.
func brokerDies(t *testing.T, h *harness, b *broker) {
	before := h.user("shop", "before", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(before)
	var topics []string
	for i := range 1000 {
		topics = append(topics, fmt.Sprintf("shop-%04d", i))
	}
	during := h.user("shop", "during", v1alpha1.KafkaUserSpec{Admin: topics})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		// Somewhere within the pass; whatever it had done by then, the outcome must be the same.
		time.Sleep(150 * time.Millisecond)
		b.kill()
	}()
	h.pass()
	<-killed
	h.edit(before, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"refunds"} })
	h.now = h.now.Add(2 * time.Minute)
	h.pass()
	c := h.wantReason(before, v1alpha1.ReasonUnreachable)
	t.Log(c.Message)
	if !strings.Contains(c.Message, "refused") {
		t.Errorf("message without the cause: %s", c.Message)
	}
	if c := h.ask(); c.Reason != v1alpha1.ReasonUnreachable {
		t.Errorf("Reachable: %s: %s", c.Reason, c.Message)
	}
	b.start()
	if c := h.ask(); c.Status != metav1.ConditionTrue {
		t.Errorf("Reachable again: %s: %s", c.Reason, c.Message)
	}
	h.fullPass()
	h.wantSynced(before)
	h.wantSynced(during)
}
