// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build verifiers

package verify

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/signet-kafka/signet/certs"
)

var update = flag.Bool("update", false, "write testdata/table.md")

// patience bounds each handshake; an honest one takes milliseconds.
const patience = 10 * time.Second

// TestVerifiers hands every row to all four verifiers.
func TestVerifiers(t *testing.T) {
	mesh, all := forge(t)
	b := newBench(t, mesh, all)
	a := answers{}
	java := b.java(t)
	envoy := b.envoy(t)
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			said := map[string]bool{"OpenSSL": b.openssl(t, p), "Java": java[p.name], "Envoy": envoy(t, p)}
			said["Go"], _ = acceptsGo(mesh, p)
			for _, v := range verifiers {
				check(t, v, p.row, said[v])
				a.set(p, v, said[v])
			}
		})
	}
	if t.Failed() {
		return
	}
	table := render(a)
	if *update {
		if err := os.WriteFile(golden, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if table != string(want) {
		t.Errorf("%s is not what the verifiers say now (-update writes it):\n%s", golden, table)
	}
}

// bench is a directory with every row's files, and a server certificate of the mesh CA.
type bench struct {
	dir    string
	rows   []presented
	server authority
}

func newBench(t *testing.T, mesh *certs.CA, all []presented) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), rows: all}
	template := honest()
	template.Subject, template.URIs = pkix.Name{CommonName: "broker"}, nil
	template.DNSNames, template.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	b.server = sign(t, template, authority{mesh.Certificate, mesh.Key})
	b.write(t, "root.pem", certs.EncodeCertificates(mesh.Roots))
	b.write(t, "server.pem", certs.EncodeCertificates([]*x509.Certificate{b.server.certificate}))
	b.write(t, "server.key", encodeKey(t, b.server.key))
	for _, p := range all {
		b.write(t, p.name+".leaf.pem", certs.EncodeCertificates(p.chain[:1]))
		b.write(t, p.name+".rest.pem", certs.EncodeCertificates(p.chain[1:]))
		b.write(t, p.name+".pem", p.chainPEM())
	}
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(b.path(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func encodeKey(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// java asks the trust manager that Kafka's brokers and clients use, one process for all rows.
func (b *bench) java(t *testing.T) map[string]bool {
	t.Helper()
	args := []string{"Verify.java", b.path("root.pem")}
	for _, p := range b.rows {
		args = append(args, p.name, string(p.use), b.path(p.name+".pem"))
	}
	cmd := exec.CommandContext(t.Context(), "java", args...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("java: %v\n%s", err, &problems)
	}
	said := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		answer, reason, _ := strings.Cut(rest, "\t")
		if answer != "accepted" && answer != "refused" {
			t.Errorf("java: %s: %q", name, rest)
		}
		t.Logf("java: %s: %s %s", name, answer, reason)
		said[name] = answer == "accepted"
	}
	if len(said) != len(b.rows) {
		t.Fatalf("java answered for %d rows of %d:\n%s%s", len(said), len(b.rows), out, &problems)
	}
	return said
}

// openssl verifies twice, by `openssl verify` and by a handshake, which have to agree.
func (b *bench) openssl(t *testing.T, p presented) bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", "verify", "-purpose", "ssl"+string(p.use), "-CAfile", b.path("root.pem"),
		"-untrusted", b.path(p.name+".rest.pem"), b.path(p.name+".leaf.pem")).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("openssl: %s", bytes.TrimSpace(out))
	var shook bool
	if p.use == asClient {
		address, stop := b.opensslServer(t)
		shook = connect(t, "tcp", address, p)
		stop()
	} else {
		socket := b.path(p.name + ".openssl")
		shook = offer(t, socket, p, func() (stop func()) {
			return b.start(t, nil, "openssl", "s_client", "-unix", socket, "-CAfile", b.path("root.pem"), "-verify", "8", "-verify_return_error", "-quiet")
		})
	}
	if verified := err == nil; shook != verified {
		t.Errorf("openssl verify says %s, a handshake %s", word(verified), word(shook))
	}
	return shook
}

// opensslServer starts a server for one connection.
func (b *bench) opensslServer(t *testing.T) (address string, stop func()) {
	t.Helper()
	listening := make(chan string, 1)
	stop = b.start(t, listening, "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", b.path("server.pem"), "-key", b.path("server.key"),
		"-CAfile", b.path("root.pem"), "-Verify", "8", "-verify_return_error", "-naccept", "1")
	select {
	case address = <-listening:
	case <-time.After(patience):
		t.Fatal("openssl s_server does not say where it listens")
	}
	return address, stop
}

// envoy starts one Envoy that has a listener for clients, and for every server's row one that connects to it.
func (b *bench) envoy(t *testing.T) func(*testing.T, presented) bool {
	t.Helper()
	binary := os.Getenv("SIGNET_ENVOY")
	if binary == "" {
		t.Fatal("SIGNET_ENVOY does not name an Envoy; test/run sets it, and in test/cluster `go run . envoy` prints one")
	}
	// Envoy connects to it before the handshake with the client is over, and would end that if it could not.
	sink, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", b.path("envoy.sink"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	config, err := json.Marshal(b.envoyConfig())
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, "envoy.json", config)
	b.start(t, nil, binary, "--config-path", b.path("envoy.json"), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
	return func(t *testing.T, p presented) bool {
		if p.use == asClient {
			return connect(t, "unix", b.path("envoy.clients"), p)
		}
		return offer(t, b.path(p.name+".upstream"), p, func() func() {
			c := dial(t, "unix", b.path(p.name+".downstream"))
			return func() { c.Close() }
		})
	}
}

// object is a JSON object.
type object = map[string]any

func (b *bench) envoyConfig() object {
	file := func(name string) object { return object{"filename": b.path(name)} }
	pipe := func(name string) object { return object{"pipe": object{"path": b.path(name)}} }
	const types = "type.googleapis.com/envoy.extensions."
	listener := func(name, cluster string, transport object) object {
		chain := object{"filters": []object{{"name": "tcp", "typed_config": object{
			"@type": types + "filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": name, "cluster": cluster,
		}}}}
		if transport != nil {
			chain["transport_socket"] = transport
		}
		return object{"name": name, "address": pipe(name), "filter_chains": []object{chain}}
	}
	cluster := func(name string, transport object) object {
		c := object{"name": name, "type": "STATIC", "connect_timeout": "10s", "load_assignment": object{
			"cluster_name": name, "endpoints": []object{{"lb_endpoints": []object{{"endpoint": object{"address": pipe(name)}}}}},
		}}
		if transport != nil {
			c["transport_socket"] = transport
		}
		return c
	}
	trust := object{"trusted_ca": file("root.pem")}
	listeners := []object{listener("envoy.clients", "envoy.sink", object{"name": "tls", "typed_config": object{
		"@type": types + "transport_sockets.tls.v3.DownstreamTlsContext", "require_client_certificate": true, "common_tls_context": object{
			"tls_certificates":   []object{{"certificate_chain": file("server.pem"), "private_key": file("server.key")}},
			"validation_context": trust,
		},
	}})}
	clusters := []object{cluster("envoy.sink", nil)}
	for _, p := range b.rows {
		if p.use == asServer {
			listeners = append(listeners, listener(p.name+".downstream", p.name+".upstream", nil))
			clusters = append(clusters, cluster(p.name+".upstream", object{"name": "tls", "typed_config": object{
				"@type": types + "transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": object{"validation_context": trust},
			}}))
		}
	}
	return object{"static_resources": object{"listeners": listeners, "clusters": clusters}}
}

// start runs a program until stop, or until the end of the test, and shows what it printed if the test failed. The address
// after the word ACCEPT, which openssl s_server prints, goes to listening.
func (b *bench) start(t *testing.T, listening chan<- string, program string, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // when a test times out, nothing else ends it
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	// s_client would end with its input.
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	printed := make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if address, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok && listening != nil {
				listening <- address
			}
			fmt.Fprintln(&all, lines.Text())
		}
		printed <- all.String()
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		input.Close()
		all := <-printed
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", program, all)
		}
	})
	t.Cleanup(stop)
	return stop
}

// dial connects as soon as somebody listens.
func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := (&net.Dialer{}).DialContext(t.Context(), network, address)
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// connect presents a row's certificate to the TLS server behind the socket and tells whether it is accepted. In TLS 1.2 the
// server's answer is part of the handshake; which certificates it accepts does not depend on the version.
func connect(t *testing.T, network, address string, p presented) bool {
	t.Helper()
	c := dial(t, network, address)
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return answer(t, tls.Client(lastWord{c}, &tls.Config{
		InsecureSkipVerify:   true,
		MaxVersion:           tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.certificate(), nil },
	}).HandshakeContext(t.Context()))
}

// offer presents a row's certificate as a TLS server at the socket, to which begin makes somebody connect, and tells whether
// it is accepted.
func offer(t *testing.T, socket string, p presented, begin func() (stop func())) bool {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.(*net.UnixListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	defer begin()()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return answer(t, tls.Server(lastWord{c}, &tls.Config{Certificates: []tls.Certificate{*p.certificate()}, MaxVersion: tls.VersionTLS12}).HandshakeContext(t.Context()))
}

// lastWord is a connection to which writing never fails: who refuses a certificate may hang up in the middle of what this side
// sends, and its alert is to be read nevertheless.
type lastWord struct{ net.Conn }

func (c lastWord) Write(b []byte) (int, error) {
	_, _ = c.Conn.Write(b)
	return len(b), nil
}

// answer tells what a handshake said. Anything but success and the other side's alert is a fault of the test.
func answer(t *testing.T, err error) bool {
	t.Helper()
	var alert *net.OpError
	if err != nil && (!errors.As(err, &alert) || alert.Op != "remote error") {
		t.Fatalf("handshake: %v", err)
	}
	if err != nil {
		t.Logf("handshake: %v", err)
	}
	return err == nil
}

func (p presented) certificate() *tls.Certificate {
	c := &tls.Certificate{PrivateKey: p.key}
	for _, x := range p.chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c
}
