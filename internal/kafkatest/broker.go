// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package kafkatest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Broker is a real Kafka in KRaft's combined mode.
type Broker struct {
	t    T
	libs string
	jars []string
	// Dir has the broker's files.
	Dir string
	// Address is host:port of the listener MTLS, which is the brokers' own and has ssl.principal.mapping.rules.
	Address string
	// Signet is host:port of the listener SIGNET; "" without Options.Signet.
	Signet string
	// SASL and SASLPlaintext are host:port of the listeners SASL (SASL_SSL) and SASLPLAINTEXT; "" without Options.SASL.
	SASL, SASLPlaintext string
	// Mesh is host:port of the listener MESH; "" without Options.Mesh.
	Mesh    string
	jvm     []string
	command *exec.Cmd
}

// Options say what a broker has beside its mTLS listener.
type Options struct {
	// Properties are more lines of server.properties. {dir} stands for the broker's directory, {address} for Address.
	Properties string
	// Rules are more ssl.principal.mapping.rules of the listener MTLS, behind those of the tests.
	Rules string
	// Signet adds a second mTLS listener, SIGNET, whose properties begin with listener.name.signet.
	Signet bool
	// SASL adds the listeners SASL and SASLPLAINTEXT. They know SCRAM (no user at first) and OAUTHBEARER: tokens that a key
	// of the file jwks.json in the broker's directory signed, for as long as they live.
	SASL bool
	// JWKS are the public keys of whoever signs tokens (RFC 7517), with SASL.
	JWKS []byte
	// Mesh adds a listener MESH without TLS and with SASL on the loopback address, and advertises this host:port for it;
	// its properties begin with listener.name.mesh.
	Mesh string
	// Files are put into the broker's directory before it starts.
	Files map[string][]byte
	// JVM are more arguments of java. {dir} stands for the broker's directory.
	JVM []string
	// Jars are put on the class path.
	Jars []string
	// Libs is the directory with Kafka's jars; "" for the environment's SIGNET_KAFKA_LIBS.
	Libs string
	// ClientCAs (PEM) are trusted for clients beside the authority.
	ClientCAs []byte
}

// The principals of KafkaUsers, of Signet's own connection and of the broker on the listener MTLS.
const rules = `RULE:^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=signet$/$2.$1/,RULE:^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=signet-controller$/signet:$2.$1/,RULE:^CN=broker$/broker/`

const properties = `process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:%[3]d
controller.listener.names=CONTROLLER
listeners=MTLS://localhost:%[2]d,CONTROLLER://localhost:%[3]d%[5]s
advertised.listeners=MTLS://localhost:%[2]d%[6]s
listener.security.protocol.map=MTLS:SSL,CONTROLLER:SSL,SIGNET:SSL,SASL:SASL_SSL,SASLPLAINTEXT:SASL_PLAINTEXT,MESH:SASL_PLAINTEXT
inter.broker.listener.name=MTLS
ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location=%[1]s/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=%[1]s/ca.pem
ssl.principal.mapping.rules=%[4]s
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

// saslProperties are those of the listeners of Options.SASL.
const saslProperties = `listener.name.%[1]s.sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,OAUTHBEARER
listener.name.%[1]s.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.%[1]s.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.%[1]s.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.%[1]s.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.%[1]s.oauthbearer.connections.max.reauth.ms=3600000
`

// Authorizer are the properties of a broker that enforces ACLs, with the broker itself and Signet's own connection to
// the KafkaCluster kafka/kafka as super users.
const Authorizer = `authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:broker;User:signet:kafka.kafka
`

// Start starts a broker that trusts the authority, and ends it with the test.
func Start(t T, a *Authority, o Options) *Broker {
	t.Helper()
	libs := cmp.Or(o.Libs, os.Getenv("SIGNET_KAFKA_LIBS"))
	if libs == "" {
		t.Fatal("SIGNET_KAFKA_LIBS must name the directory with Kafka's jars")
	}
	b := &Broker{t: t, libs: libs, jars: o.Jars, Dir: t.TempDir()}
	cert, key := a.Sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ports := FreePorts(t, 6)
	b.Address = fmt.Sprintf("localhost:%d", ports[0])
	more := ""
	if o.Signet {
		b.Signet = fmt.Sprintf("localhost:%d", ports[2])
		more = ",SIGNET://" + b.Signet
	}
	sasl := ""
	if o.SASL {
		b.SASL, b.SASLPlaintext = fmt.Sprintf("localhost:%d", ports[3]), fmt.Sprintf("localhost:%d", ports[4])
		more += ",SASL://" + b.SASL + ",SASLPLAINTEXT://" + b.SASLPlaintext
		sasl = fmt.Sprintf(saslProperties, "sasl") + fmt.Sprintf(saslProperties, "saslplaintext") +
			"sasl.oauthbearer.jwks.endpoint.url=file://" + b.Dir + "/jwks.json\n"
		b.jvm = append(b.jvm, "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://"+b.Dir+"/jwks.json")
		b.Write("jwks.json", o.JWKS)
	}
	advertised := more
	if o.Mesh != "" {
		b.Mesh = fmt.Sprintf("127.0.0.1:%d", ports[5])
		more += ",MESH://" + b.Mesh
		advertised += ",MESH://" + o.Mesh
	}
	for _, argument := range o.JVM {
		b.jvm = append(b.jvm, strings.ReplaceAll(argument, "{dir}", b.Dir))
	}
	for name, content := range o.Files {
		b.Write(name, content)
	}
	all := rules
	if o.Rules != "" {
		all += "," + strings.ReplaceAll(o.Rules, `\`, `\\`)
	}
	b.Write("keystore.pem", slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), a.PEM()))
	b.Write("ca.pem", append(a.PEM(), o.ClientCAs...))
	replaced := strings.NewReplacer("{dir}", b.Dir, "{address}", b.Address).Replace(o.Properties)
	b.Write("server.properties", []byte(fmt.Sprintf(properties, b.Dir, ports[0], ports[1], all, more, advertised)+sasl+replaced))
	b.Write("log4j2.yaml", []byte(`Configuration:
  Appenders: {Console: {name: STDOUT, PatternLayout: {pattern: "[%d] %p %m (%c)%n"}}}
  Loggers: {Root: {level: WARN, AppenderRef: {ref: STDOUT}}, Logger: [{name: kafka.server.KafkaRaftServer, level: INFO}]}
`))
	format := b.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", filepath.Join(b.Dir, "server.properties"), "--standalone")
	if out, err := format.CombinedOutput(); err != nil {
		t.Fatalf("format: %v\n%s", err, out)
	}
	b.Start()
	t.Cleanup(b.Kill)
	return b
}

// Write replaces a file in the broker's directory at once, as a mounted volume does.
func (b *Broker) Write(name string, content []byte) {
	b.t.Helper()
	path := filepath.Join(b.Dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		b.t.Fatal(err)
	}
}

func (b *Broker) java(arguments ...string) *exec.Cmd {
	classPath := strings.Join(append(slices.Clone(b.jars), b.libs+"/*"), string(os.PathListSeparator))
	// Not the test's context: that ends before the test's clean-up, which kills the broker.
	return exec.CommandContext(context.WithoutCancel(b.t.Context()), "java", slices.Concat([]string{"-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + filepath.Join(b.Dir, "log4j2.yaml"), "-cp", classPath}, b.jvm, arguments)...)
}

// Start starts the broker, which does not run, and waits until it is ready.
func (b *Broker) Start() {
	b.t.Helper()
	log, err := os.Create(filepath.Join(b.Dir, "log"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.command = b.java("kafka.Kafka", filepath.Join(b.Dir, "server.properties"))
	b.command.Stdout, b.command.Stderr = log, log
	if err := errors.Join(b.command.Start(), log.Close()); err != nil {
		b.t.Fatal(err)
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out := b.Log()
		if bytes.Contains(out, []byte("Kafka Server started")) {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the broker does not start:\n%s", out)
		}
	}
}

// Log is what the broker has logged since its start.
func (b *Broker) Log() []byte {
	b.t.Helper()
	out, err := os.ReadFile(filepath.Join(b.Dir, "log"))
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// PID is the broker's process.
func (b *Broker) PID() int { return b.command.Process.Pid }

// Kill ends the broker as a crash would.
func (b *Broker) Kill() {
	if b.command == nil {
		return
	}
	// Both report that the process had ended already, at worst.
	_ = b.command.Process.Kill()
	_ = b.command.Wait()
	b.command = nil
}

// FreePorts returns ports of the loopback address that nobody listens on.
func FreePorts(t T, count int) []int {
	t.Helper()
	var ports []int
	var listeners []net.Listener
	for range count {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	for _, l := range listeners {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return ports
}
