// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build mesh

package filter

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/principal/mapping"
)

// The tests of this file start a real broker without any plug-in, and a real Envoy with the filter in front of it. They
// need java, in SIGNET_KAFKA_LIBS the directory with Kafka's jars, and in SIGNET_ENVOY an Envoy:
// go run ./test/run -only mesh

const (
	issuer, audience, keyID = "signet-mesh", "kafka/kafka", "one"
	// session is the broker's connections.max.reauth.ms: the filter renews its login after half of it.
	session = 16 * time.Second
	// patience bounds what takes milliseconds on an idle machine.
	patience = time.Minute
	// loginTimeout is the filter's.
	loginTimeout = 15 * time.Second

	largeID = "spiffe://cluster.local/ns/shop/sa/large"
)

// mesh is a broker with an Envoy in front of it.
type mesh struct {
	t         *testing.T
	authority *kafkatest.Authority
	broker    *kafkatest.Broker
	admin     *kadm.Client
	key       *ecdsa.PrivateKey
	dir       string
	log       string
	// Addresses of Envoy's listeners: the one that brokers advertise; one whose broker's bytes come one by one; one that
	// asks for a client certificate and takes clients without; the one of docs/mesh.md.
	main, dribble, optional, documented string
	// broken starts an Envoy whose filter has a configuration that it refuses, and returns what it said.
	broken func() (string, error)
}

func newMesh(t *testing.T) *mesh {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{t: t, authority: kafkatest.NewAuthority(t), key: key, dir: t.TempDir()}
	m.log = filepath.Join(m.dir, "envoy.log")
	ports := kafkatest.FreePorts(t, 4)
	address := func(i int) string { return fmt.Sprintf("localhost:%d", ports[i]) }
	m.main, m.dribble, m.optional, m.documented = address(0), address(1), address(2), address(3)
	// The listener is docs/mesh.md's, with sessions that are short enough for a test.
	properties := strings.ReplaceAll(block(t, "listener.name.mesh."), "/etc/kafka-signet/", "{dir}/") +
		fmt.Sprintf("listener.name.mesh.oauthbearer.connections.max.reauth.ms=%d\n", session.Milliseconds())
	m.broker = kafkatest.Start(t, m.authority, kafkatest.Options{
		Properties: kafkatest.Authorizer + properties, Mesh: m.main, Files: map[string][]byte{"jwks.json": jwks(t, key)},
		JVM: []string{"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{dir}/jwks.json"},
	})
	controller := m.authority.Client(&x509.Certificate{Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
		{Type: []int{2, 5, 4, 10}, Value: "signet-controller"}, {Type: []int{2, 5, 4, 11}, Value: "kafka"}, {Type: []int{2, 5, 4, 3}, Value: "kafka"},
	}}})
	c, err := kgo.NewClient(kgo.SeedBrokers(m.broker.Address), kgo.DialTLSConfig(controller), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	m.admin = kadm.NewClient(c)
	m.startEnvoy(ports)
	return m
}

// block is the one of docs/mesh.md that begins so.
func block(t *testing.T, begin string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "mesh.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```text\n"+begin)
	text, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatalf("docs/mesh.md has no block that begins with %q", begin)
	}
	return begin + text
}

func jwks(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encoding := base64.RawURLEncoding
	text, err := json.Marshal(object{"keys": []object{{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": keyID,
		"x": encoding.EncodeToString(point[1:33]), "y": encoding.EncodeToString(point[33:]),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// object is a JSON object.
type object = map[string]any

func (m *mesh) write(name string, content []byte) object {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		m.t.Fatal(err)
	}
	return object{"filename": path}
}

func (m *mesh) keyPEM() []byte {
	m.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// configuration is the filter's.
func (m *mesh) configuration(key object) string {
	m.t.Helper()
	token := object{"issuer": issuer, "audience": audience, "keyId": keyID, "lifetime": "5m"}
	for name, value := range key {
		token[name] = value
	}
	text, err := json.Marshal(object{
		"mapping": mapping.File{
			Version: mapping.Version, Cluster: "kafka/kafka", Generation: 1, MeshTrustDomain: "cluster.local", Unmapped: mapping.Refuse,
			Exact:    map[string]string{`CN=legacy\, Inc,O=Acme`: "shop.orders", "CN=orders,OU=shop,O=signet": "shop.orders"},
			SPIFFE:   map[string]string{ordersID: "shop.orders", billingID: "shop.billing", largeID: "shop.large"},
			Patterns: []mapping.PatternEntry{{Pattern: "^CN=([a-z]+),O=Partner$", Principal: "partner.$1"}},
		},
		"token": token, "loginTimeout": loginTimeout.String(),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

func (m *mesh) startEnvoy(ports []int) {
	m.t.Helper()
	binary := os.Getenv("SIGNET_ENVOY")
	if binary == "" {
		m.t.Fatal("SIGNET_ENVOY does not name an Envoy; test/run sets it, and in test/cluster `go run . envoy` prints one")
	}
	wasm := filepath.Join(m.dir, "filter.wasm")
	if out, err := exec.CommandContext(m.t.Context(), filepath.Join("..", "hack", "filter.sh"), wasm).CombinedOutput(); err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	const types = "type.googleapis.com/envoy.extensions."
	server, key := m.authority.Sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "sidecar"}, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		m.t.Fatal(err)
	}
	tlsContext := object{
		"tls_certificates": []object{{
			"certificate_chain": m.write("server.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Raw})),
			"private_key":       m.write("server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		}},
		"validation_context": object{"trusted_ca": m.write("ca.crt", m.authority.PEM())},
	}
	listener := func(name string, port int, cluster string, require bool, configuration string, vm object) object {
		vm["vm_id"], vm["runtime"], vm["code"] = name, "envoy.wasm.runtime.v8", object{"local": object{"filename": wasm}}
		return object{
			"name": name, "address": object{"socket_address": object{"address": "127.0.0.1", "port_value": port}},
			"filter_chains": []object{{
				"transport_socket": object{"name": "tls", "typed_config": object{
					"@type": types + "transport_sockets.tls.v3.DownstreamTlsContext", "require_client_certificate": require, "common_tls_context": tlsContext,
				}},
				"filters": []object{
					{"name": "signet", "typed_config": object{"@type": types + "filters.network.wasm.v3.Wasm", "config": object{
						"name": "signet", "root_id": "signet", "fail_open": false, "vm_config": vm,
						"configuration": object{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration},
					}}},
					{"name": "tcp", "typed_config": object{"@type": types + "filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": name, "cluster": cluster}},
				},
			}},
		}
	}
	cluster := func(name, address string) object {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			m.t.Fatal(err)
		}
		return object{"name": name, "type": "STATIC", "connect_timeout": "10s", "load_assignment": object{
			"cluster_name": name, "endpoints": []object{{"lb_endpoints": []object{{"endpoint": object{
				"address": object{"socket_address": object{"address": "127.0.0.1", "port_value": json.Number(port)}},
			}}}}},
		}}
	}
	const variable = "SIGNET_TOKEN_KEY"
	inline := m.configuration(object{"key": string(m.keyPEM())})
	clusters := []object{cluster("kafka", m.broker.Mesh), cluster("dribble", m.dribbler())}
	envoy := func(name string, config []byte) *exec.Cmd {
		m.write(name, config)
		cmd := exec.CommandContext(m.t.Context(), binary, "--config-path", filepath.Join(m.dir, name), "--disable-hot-restart", "--concurrency", "1",
			"--log-level", "warning", "--component-log-level", "wasm:info")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Env = append(os.Environ(), variable+"="+string(m.keyPEM()))
		return cmd
	}
	static := func(listeners ...object) []byte {
		config, err := json.Marshal(object{"static_resources": object{"listeners": listeners, "clusters": clusters}})
		if err != nil {
			m.t.Fatal(err)
		}
		return config
	}
	m.broken = func() (string, error) {
		out, err := envoy("broken.json", static(listener("broken", 0, "kafka", true, strings.Replace(inline, `"unmapped":"refuse"`, `"unmapped":"allow"`, 1), object{}))).CombinedOutput()
		return string(out), err
	}
	_, kafkaPort, _ := net.SplitHostPort(m.broker.Mesh)
	documented := strings.NewReplacer("0.0.0.0", "127.0.0.1", "9094", strconv.Itoa(ports[3]), "9095", kafkaPort, "/etc/envoy/filter.wasm", wasm,
		"/etc/envoy/tls.", m.dir+"/server.", "/etc/envoy/client-ca.pem", m.dir+"/ca.crt").Replace(block(m.t, "static_resources:"))
	logs, err := os.Create(m.log)
	if err != nil {
		m.t.Fatal(err)
	}
	defer logs.Close()
	for _, cmd := range []*exec.Cmd{
		envoy("envoy.json", static(
			listener("main", ports[0], "kafka", true, inline, object{}),
			listener("dribble", ports[1], "dribble", true, inline, object{}),
			listener("optional", ports[2], "kafka", false, inline, object{}),
		)),
		envoy("documented.yaml", []byte(documented)),
	} {
		// They share the file's offset.
		cmd.Stdout, cmd.Stderr = logs, logs
		if err := cmd.Start(); err != nil {
			m.t.Fatal(err)
		}
		m.t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Logf("envoy:\n%s", m.logged())
		}
	})
	m.eventually("envoy listens", func() bool {
		for _, address := range []string{m.main, m.documented} {
			c, err := (&net.Dialer{}).DialContext(m.t.Context(), "tcp", address)
			if err != nil {
				return false
			}
			c.Close()
		}
		return true
	})
}

// dribbler passes connections on to the broker; what the broker answers arrives in pieces of one to three bytes at first.
func (m *mesh) dribbler() string {
	m.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(m.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := (&net.Dialer{}).DialContext(m.t.Context(), "tcp", m.broker.Mesh)
			if err != nil {
				down.Close()
				continue
			}
			go dribble(up, down)
			go dribble(down, up)
		}
	}()
	return l.Addr().String()
}

func dribble(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	for i, b := 0, make([]byte, 64<<10); ; i++ {
		size := len(b)
		if i < 500 {
			size = 1 + i%3
		}
		n, err := from.Read(b[:size])
		if err != nil {
			return
		}
		if i < 500 {
			// So that the pieces are not read as one.
			time.Sleep(time.Millisecond)
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (m *mesh) logged() string {
	m.t.Helper()
	text, err := os.ReadFile(m.log)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

func (m *mesh) eventually(what string, check func() bool) {
	m.t.Helper()
	for deadline := time.Now().Add(patience); !check(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("not within %s: %s\n%s", patience, what, m.logged())
		}
	}
}

// peer is what a client presents: a certificate with this subject, nil for an empty one, and these URIs.
func (m *mesh) peer(subject *pkix.Name, uris ...string) *tls.Config {
	m.t.Helper()
	template := &x509.Certificate{RawSubject: []byte{0x30, 0x00}}
	if subject != nil {
		template.RawSubject, template.Subject = nil, *subject
	}
	for _, uri := range uris {
		parsed, err := url.Parse(uri)
		if err != nil {
			m.t.Fatal(err)
		}
		template.URIs = append(template.URIs, parsed)
	}
	return m.authority.Client(template)
}

// connect is a client whose every connection goes to one of Envoy's listeners.
func (m *mesh) connect(address string, config *tls.Config, options ...kgo.Opt) *kgo.Client {
	m.t.Helper()
	config = config.Clone()
	config.ServerName = "localhost"
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(address), kgo.MetadataMinAge(10 * time.Millisecond), kgo.RetryTimeout(2 * time.Second),
		kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
		}),
	}, options...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(c.Close)
	return c
}

// sees returns the topics that a client sees.
func (m *mesh) sees(address string, config *tls.Config) ([]string, error) {
	m.t.Helper()
	c := m.connect(address, config)
	defer c.Close()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	topics, err := kadm.NewClient(c).ListTopics(ctx)
	return topics.Names(), err
}

func (m *mesh) topic(name string, configs map[string]*string) {
	m.t.Helper()
	if _, err := m.admin.CreateTopic(m.t.Context(), 1, 1, configs, name); err != nil {
		m.t.Fatal(err)
	}
}

// grant gives a principal operations on a topic, and waits until the broker has them.
func (m *mesh) grant(principal, topic string, operations ...kadm.ACLOperation) {
	m.t.Helper()
	builder := kadm.NewACLs().Allow("User:" + principal).AllowHosts("*").Topics(topic).Operations(operations...).ResourcePatternType(kadm.ACLPatternLiteral)
	results, err := m.admin.CreateACLs(m.t.Context(), builder)
	if err != nil || results[0].Err != nil {
		m.t.Fatal(err, results)
	}
}

// raw is a connection of a client that speaks bytes.
func (m *mesh) raw(address string, config *tls.Config) *tls.Conn {
	m.t.Helper()
	config = config.Clone()
	config.ServerName = "localhost"
	c, err := (&tls.Dialer{Config: config}).DialContext(m.t.Context(), "tcp", address)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	return c.(*tls.Conn)
}

// versions is a request ApiVersions 0, with a client ID.
func versions(correlation uint32, client string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(10+len(client)))
	b = append(b, 0, 18, 0, 0)
	b = binary.BigEndian.AppendUint32(b, correlation)
	return appendString(b, client)
}

// response reads one, and checks whose it is.
func response(from io.Reader, correlation uint32) error {
	var header [8]byte
	if _, err := io.ReadFull(from, header[:]); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint32(header[4:]); got != correlation {
		return fmt.Errorf("response %d, want %d", got, correlation)
	}
	_, err := io.CopyN(io.Discard, from, int64(binary.BigEndian.Uint32(header[:]))-4)
	return err
}

// wantClosed reads until the other side closes; every byte before that is one too many.
func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	rest, err := io.ReadAll(c)
	var timeout net.Error
	if len(rest) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("read %d bytes, %v; want a closed connection", len(rest), err)
	}
}

func (m *mesh) wantLog(t *testing.T, part string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(m.logged(), part); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("envoy's log has no %q", part)
		}
	}
}

func TestMesh(t *testing.T) {
	m := newMesh(t)
	for _, name := range []string{"orders", "payments", "bills", "partner", "secret"} {
		m.topic(name, nil)
	}
	m.grant("shop.billing", "bills", kadm.OpDescribe)
	m.grant("partner.acme", "partner", kadm.OpDescribe)
	// First, while nothing is granted to it.
	t.Run("DenyGrantAllow", func(t *testing.T) { denyGrantAllow(t, m) })
	t.Run("WhoIsWho", func(t *testing.T) { whoIsWho(t, m) })
	t.Run("Documented", func(t *testing.T) {
		if got, err := m.sees(m.documented, m.peer(nil, ordersID)); err != nil || !slices.Equal(got, []string{"orders"}) {
			t.Errorf("with the configuration of docs/mesh.md the client sees %v, %v", got, err)
		}
		if got, err := m.sees(m.documented, m.peer(nil, billingID)); err == nil {
			t.Errorf("with the configuration of docs/mesh.md a stranger sees %v", got)
		}
	})
	t.Run("Refused", func(t *testing.T) { refused(t, m) })
	t.Run("Attacks", func(t *testing.T) { attacks(t, m) })
	t.Run("ForgedTokens", func(t *testing.T) { forgedTokens(t, m) })
	t.Run("SplitAnswers", func(t *testing.T) { splitAnswers(t, m) })
	t.Run("SplitRequests", func(t *testing.T) { splitRequests(t, m) })
	// Below the name of nobody before, so that nobody else sees it.
	m.topic("large", map[string]*string{"max.message.bytes": kadm.StringPtr("67108864")})
	t.Run("LargeRequests", func(t *testing.T) { largeRequests(t, m) })
	t.Run("SilentPeer", func(t *testing.T) { silentPeer(t, m) })
	t.Run("SessionOutlivesItsToken", func(t *testing.T) { sessionOutlivesItsToken(t, m) })
	t.Run("BrokerRestarts", func(t *testing.T) { brokerRestarts(t, m) })
	t.Run("NothingSecretIsLogged", func(t *testing.T) {
		// The broker's log has the tokens that it refuses, which are no secrets.
		body := strings.Split(string(m.keyPEM()), "\n")[1]
		for _, secret := range []string{"eyJ", body, "PRIVATE KEY"} {
			if strings.Contains(m.logged(), secret) {
				t.Errorf("envoy's log has %q", secret)
			}
		}
	})
}

// denyGrantAllow: a client of the mesh sees nothing, then exactly what is granted, and may do that and nothing else.
func denyGrantAllow(t *testing.T, m *mesh) {
	orders := m.peer(nil, ordersID)
	if got, err := m.sees(m.main, orders); err != nil || len(got) != 0 {
		t.Fatalf("without a grant the client sees %v, %v", got, err)
	}
	m.grant("shop.orders", "orders", kadm.OpDescribe, kadm.OpRead, kadm.OpWrite)
	m.eventually("the granted topic is seen", func() bool {
		got, err := m.sees(m.main, orders)
		return err == nil && slices.Equal(got, []string{"orders"})
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := m.connect(m.main, orders, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("paid")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if fetches := c.PollRecords(ctx, 1); fetches.Err() != nil || string(fetches.Records()[0].Value) != "paid" {
		t.Errorf("consumed %v, %v", fetches.Records(), fetches.Err())
	}
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "secret", Value: []byte("x")}).FirstErr(); err == nil {
		t.Error("produced to a topic that was not granted")
	}
}

// whoIsWho: each kind of peer is the principal that the mapping says, also when connections of others came before it.
func whoIsWho(t *testing.T, m *mesh) {
	peers := []struct {
		name   string
		config *tls.Config
		sees   string
	}{
		{"spiffe id, empty subject", m.peer(nil, ordersID), "orders"},
		{"another spiffe id", m.peer(nil, billingID), "bills"},
		{"signet's certificate", m.peer(&pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: []int{2, 5, 4, 10}, Value: "signet"}, {Type: []int{2, 5, 4, 11}, Value: "shop"}, {Type: []int{2, 5, 4, 3}, Value: "orders"},
		}}, "spiffe://kafka.signet.dev/user/shop/orders"), "orders"},
		{"external subject", m.peer(&pkix.Name{CommonName: "legacy, Inc", Organization: []string{"Acme"}}), "orders"},
		{"pattern", m.peer(&pkix.Name{CommonName: "acme", Organization: []string{"Partner"}}), "partner"},
	}
	for range 3 {
		for _, p := range peers {
			if got, err := m.sees(m.main, p.config); err != nil || !slices.Equal(got, []string{p.sees}) {
				t.Errorf("%s sees %v, %v; want %s", p.name, got, err, p.sees)
			}
		}
	}
}

// refused: who has no principal gets no byte of the broker's.
func refused(t *testing.T, m *mesh) {
	for _, c := range []struct {
		name, address string
		config        *tls.Config
		log           string
	}{
		{"unmapped", m.main, m.peer(&pkix.Name{CommonName: "stranger"}), `subject "CN=stranger" and spiffe id "" has no principal: unmapped`},
		{"empty subject", m.main, m.peer(nil), `subject "" and spiffe id "" has no principal: unmapped`},
		{"another trust domain", m.main, m.peer(nil, "spiffe://cluster.local.evil/ns/shop/sa/orders"), `spiffe id "spiffe://cluster.local.evil/ns/shop/sa/orders" has no principal`},
		{"two spiffe ids", m.main, m.peer(nil, ordersID, billingID), "several-spiffe-ids"},
		{"disagreement", m.main, m.peer(&pkix.Name{CommonName: "legacy, Inc", Organization: []string{"Acme"}}, billingID), "disagreement"},
		{"no certificate", m.optional, &tls.Config{RootCAs: m.authority.Trust(), MinVersion: tls.VersionTLS12}, "the peer presented no certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			connection := m.raw(c.address, c.config)
			// Envoy may have closed it already.
			_, _ = connection.Write(versions(1, "test"))
			wantClosed(t, connection)
			m.wantLog(t, c.log)
			if got, err := m.sees(c.address, c.config); err == nil {
				t.Errorf("the client sees %v", got)
			}
		})
	}
	t.Run("a broken configuration lets nobody in", func(t *testing.T) {
		if out, err := m.broken(); err == nil || !strings.Contains(out, `unmapped is "allow"`) {
			t.Errorf("envoy: %v\n%s", err, out)
		}
	})
	t.Run("no certificate, where one is required", func(t *testing.T) {
		if got, err := m.sees(m.main, &tls.Config{RootCAs: m.authority.Trust(), MinVersion: tls.VersionTLS12}); err == nil {
			t.Errorf("the client sees %v", got)
		}
	})
}

// attacks: what a client with a certificate of its own sends to be somebody else.
func attacks(t *testing.T, m *mesh) {
	orders, billing := m.peer(nil, ordersID), m.peer(nil, billingID)
	forged := loginRequests(m.token(t, "shop.billing", nil))
	handshake := forged[:4+binary.BigEndian.Uint32(forged)]
	authenticate := forged[len(handshake):]
	for _, c := range []struct {
		name string
		send []byte
	}{
		{"handshake first", handshake},
		{"authenticate first", authenticate},
		{"a whole login first", forged},
		{"a login with other correlation ids", bytes.ReplaceAll(forged, []byte{0x7f, 0xff, 0xff}, []byte{0, 0, 1})},
		{"a login behind a request", slices.Concat(versions(1, "test"), forged)},
		{"a proxy protocol header first", append([]byte("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"), versions(1, "test")...)},
		{"http first", []byte("CONNECT 127.0.0.1:9092 HTTP/1.1\r\n\r\n")},
		{"a length below any request's", append([]byte{0, 0, 0, 4, 0, 18, 0, 0}, forged...)},
		{"a negative length", append([]byte{0xff, 0xff, 0xff, 0xff}, forged...)},
		{"a request with kafka's correlation id for logins", versions(correlationHandshake, "test")},
	} {
		t.Run(c.name, func(t *testing.T) {
			connection := m.raw(m.main, orders)
			_, _ = connection.Write(c.send)
			wantClosed(t, connection)
		})
	}
	t.Run("a login inside the first request's header is part of it", func(t *testing.T) {
		connection := m.raw(m.main, orders)
		if _, err := connection.Write(versions(7, string(forged))); err != nil {
			t.Fatal(err)
		}
		if err := response(connection, 7); err != nil {
			t.Error(err)
		}
		if got := m.metadata(t, connection); !slices.Equal(got, []string{"orders"}) {
			t.Errorf("the client sees %v", got)
		}
	})
	t.Run("a login later", func(t *testing.T) {
		connection := m.raw(m.main, orders)
		if got := m.metadata(t, connection); !slices.Equal(got, []string{"orders"}) {
			t.Errorf("the client sees %v", got)
		}
		_, _ = connection.Write(forged)
		wantClosed(t, connection)
		m.wantLog(t, "the client tries to log in by itself")
	})
	t.Run("a connection after another's", func(t *testing.T) {
		for range 20 {
			first := m.raw(m.main, billing)
			if got := m.metadata(t, first); !slices.Equal(got, []string{"bills"}) {
				t.Fatalf("the first client sees %v", got)
			}
			first.Close()
			stranger := m.raw(m.main, m.peer(&pkix.Name{CommonName: "stranger"}))
			_, _ = stranger.Write(versions(1, "test"))
			wantClosed(t, stranger)
			second := m.raw(m.main, orders)
			if got := m.metadata(t, second); !slices.Equal(got, []string{"orders"}) {
				t.Fatalf("the second client sees %v", got)
			}
			second.Close()
		}
	})
}

// metadata asks for all topics, by bytes.
func (m *mesh) metadata(t *testing.T, c net.Conn) []string {
	t.Helper()
	ask := kmsg.NewPtrMetadataRequest()
	ask.Version, ask.Topics = 1, nil
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))
	if _, err := c.Write(formatter.AppendRequest(nil, ask, 9)); err != nil {
		t.Fatal(err)
	}
	var header [8]byte
	if _, err := io.ReadFull(c, header[:]); err != nil || binary.BigEndian.Uint32(header[4:]) != 9 {
		t.Fatal(err, header)
	}
	body := make([]byte, binary.BigEndian.Uint32(header[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	answer := kmsg.NewPtrMetadataResponse()
	answer.Version = 1
	if err := answer.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, topic := range answer.Topics {
		names = append(names, *topic.Topic)
	}
	return names
}

// token is one of the filter's, or, changed, one that somebody forged.
func (m *mesh) token(t *testing.T, principal string, change func(s *Signer, now *time.Time)) string {
	t.Helper()
	s, now := &Signer{Issuer: issuer, Audience: audience, KeyID: keyID, Lifetime: 5 * time.Minute, Key: m.key}, time.Now()
	if change != nil {
		change(s, &now)
	}
	token, err := s.Token(principal, now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// forgedTokens: whoever is in the broker's pod reaches its listener, and gets nowhere without the filter's key.
func forgedTokens(t *testing.T, m *mesh) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encoding := base64.RawURLEncoding
	claims := func(token string) string { return strings.Split(token, ".")[1] }
	honest := m.token(t, "shop.orders", nil)
	for _, c := range []struct {
		name, token string
		accepted    bool
	}{
		{"the filter's", honest, true},
		{"another key's", m.token(t, "shop.orders", func(s *Signer, _ *time.Time) { s.Key = other }), false},
		{"an unknown key's", m.token(t, "shop.orders", func(s *Signer, _ *time.Time) { s.Key, s.KeyID = other, "two" }), false},
		{"alg none", encoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + claims(honest) + ".", false},
		{"alg none with the key's id", encoding.EncodeToString([]byte(`{"alg":"none","kid":"`+keyID+`"}`)) + "." + claims(honest) + ".", false},
		{"the public key as a secret", hs256(t, m, claims(honest)), false},
		{"another's claims below its signature", strings.Replace(honest, claims(honest), claims(m.token(t, "shop.billing", nil)), 1), false},
		{"another issuer", m.token(t, "shop.orders", func(s *Signer, _ *time.Time) { s.Issuer = "evil" }), false},
		{"another audience", m.token(t, "shop.orders", func(s *Signer, _ *time.Time) { s.Audience = "kafka/other" }), false},
		{"expired", m.token(t, "shop.orders", func(_ *Signer, now *time.Time) { *now = now.Add(-time.Hour) }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", m.broker.Mesh)
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := loginBy(connection, c.token); (err == nil) != c.accepted {
				t.Errorf("login: %v", err)
			} else if err != nil && !strings.Contains(err.Error(), "the broker refuses the token") {
				t.Errorf("%v, want a refusal", err)
			}
		})
	}
}

// hs256 is the old confusion of algorithms: the public key, which everybody may know, as the secret of an HMAC.
func hs256(t *testing.T, m *mesh, claims string) string {
	t.Helper()
	encoding := base64.RawURLEncoding
	text := encoding.EncodeToString([]byte(`{"alg":"HS256","kid":"`+keyID+`"}`)) + "." + claims
	point, err := m.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, point)
	mac.Write([]byte(text))
	return text + "." + encoding.EncodeToString(mac.Sum(nil))
}

// loginBy presents a token as the filter does, and returns how long the session lasts.
func loginBy(c net.Conn, token string) (time.Duration, error) {
	if _, err := c.Write(loginRequests(token)); err != nil {
		return 0, err
	}
	l := &login{}
	for !l.done() {
		var header [8]byte
		if _, err := io.ReadFull(c, header[:]); err != nil {
			return 0, err
		}
		body := make([]byte, binary.BigEndian.Uint32(header[:])-4)
		if _, err := io.ReadFull(c, body); err != nil {
			return 0, err
		}
		if err := l.answer(body); err != nil {
			return 0, err
		}
	}
	return l.lifetime, nil
}

// splitAnswers: the broker's bytes arrive one by one, its two answers to the login among them.
func splitAnswers(t *testing.T, m *mesh) {
	for range 3 {
		if got, err := m.sees(m.dribble, m.peer(nil, ordersID)); err != nil || !slices.Equal(got, []string{"orders"}) {
			t.Errorf("the client sees %v, %v", got, err)
		}
	}
}

// splitRequests: the client's bytes arrive one by one, requests after requests without waiting for responses.
func splitRequests(t *testing.T, m *mesh) {
	connection := m.raw(m.main, m.peer(nil, ordersID))
	var all []byte
	const requests = 6
	for i := range uint32(requests) {
		all = append(all, versions(i, "test")...)
	}
	for i := range all {
		if _, err := connection.Write(all[i : i+1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	for i := range uint32(requests) {
		if err := response(connection, i); err != nil {
			t.Fatal(err)
		}
	}
}

// largeRequests: requests and responses of many megabytes arrive as they were sent, and so does what a client sends by the
// megabyte before the login is over.
func largeRequests(t *testing.T, m *mesh) {
	m.grant("shop.large", "large", kadm.OpDescribe, kadm.OpRead, kadm.OpWrite)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	connection := m.raw(m.main, m.peer(nil, largeID))
	long := strings.Repeat("x", 32<<10-1)
	for i := range uint32(100) {
		if _, err := connection.Write(versions(i, long)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(100) {
		if err := response(connection, i); err != nil {
			t.Fatal(err)
		}
	}
	// One request of 60 MiB, and one response.
	value := make([]byte, 60<<20)
	_, _ = rand.Read(value)
	c := m.connect(m.main, m.peer(nil, largeID), kgo.ProducerBatchMaxBytes(64<<20), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ConsumeTopics("large"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "large", Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	fetches := c.PollRecords(ctx, 1)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fetches.Records()[0].Value, value) {
		t.Error("what was consumed is not what was produced")
	}
}

// silentPeer: whoever connects and says nothing is disconnected, before the TLS handshake and after it.
func silentPeer(t *testing.T, m *mesh) {
	plain, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", m.main)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	defer wantClosed(t, plain)
	wantClosed(t, m.raw(m.main, m.peer(nil, ordersID)))
	m.wantLog(t, "no login within "+loginTimeout.String())
}

// sessionOutlivesItsToken: the broker ends sessions after a while. Connections last, whatever goes on on them, because the
// filter renews its login; one without the filter does not.
func sessionOutlivesItsToken(t *testing.T, m *mesh) {
	direct, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", m.broker.Mesh)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	// What the broker says of its sessions: they end with the token, or earlier.
	for lifetime, most := range map[time.Duration]time.Duration{5 * time.Minute: session, session / 2: session / 2} {
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", m.broker.Mesh)
		if err != nil {
			t.Fatal(err)
		}
		token := m.token(t, "shop.orders", func(s *Signer, _ *time.Time) { s.Lifetime = lifetime })
		if got, err := loginBy(connection, token); err != nil || got > most || got <= 0 {
			t.Errorf("with a token for %s the session lasts %s, %v; want %s at most", lifetime, got, err, most)
		}
		connection.Close()
	}
	if _, err := loginBy(direct, m.token(t, "shop.orders", nil)); err != nil {
		t.Fatal(err)
	}
	busy := m.raw(m.main, m.peer(nil, ordersID))
	idle := m.raw(m.main, m.peer(nil, ordersID))
	dribbled := m.raw(m.dribble, m.peer(nil, ordersID))
	if err := errors.Join(busy.SetDeadline(time.Now().Add(3*patience)), idle.SetDeadline(time.Now().Add(3*patience)), dribbled.SetDeadline(time.Now().Add(3*patience))); err != nil {
		t.Fatal(err)
	}
	ask := func(c net.Conn, correlation uint32, pipelined int) {
		t.Helper()
		var all []byte
		for i := range pipelined {
			all = append(all, versions(correlation+uint32(i), "test")...)
		}
		// In two pieces, so that a buffer begins within a request.
		for _, part := range [][]byte{all[:7], all[7:]} {
			if _, err := c.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		for i := range pipelined {
			if err := response(c, correlation+uint32(i)); err != nil {
				t.Fatalf("request %d: %v", correlation, err)
			}
		}
	}
	ask(idle, 1, 1)
	began := time.Now()
	for i := uint32(0); time.Since(began) < 2*session+session/4; i++ {
		ask(busy, 10*i, 5)
		ask(dribbled, 10*i, 2)
		time.Sleep(50 * time.Millisecond)
	}
	ask(idle, 2, 1)
	for _, c := range []net.Conn{busy, idle, dribbled} {
		if got := m.metadata(t, c); !slices.Equal(got, []string{"orders"}) {
			t.Errorf("the client sees %v", got)
		}
	}
	if err := direct.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _ = direct.Write(versions(1, "test"))
	wantClosed(t, direct)
}

// brokerRestarts: a client goes on after its broker was killed and started again.
func brokerRestarts(t *testing.T, m *mesh) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	c := m.connect(m.main, m.peer(nil, ordersID), kgo.RetryTimeout(2*patience))
	produce := func() error { return c.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("x")}).FirstErr() }
	if err := produce(); err != nil {
		t.Fatal(err)
	}
	m.broker.Kill()
	if got, err := m.sees(m.main, m.peer(nil, ordersID)); err == nil {
		t.Errorf("without a broker the client sees %v", got)
	}
	m.broker.Start()
	if err := produce(); err != nil {
		t.Error(err)
	}
}
