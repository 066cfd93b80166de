// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/signet-kafka/signet/principal/mapping"
)

// start is when everything begins here.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

const (
	ordersID  = "spiffe://cluster.local/ns/shop/sa/orders"
	billingID = "spiffe://cluster.local/ns/shop/sa/billing"
)

func testMapping() mapping.File {
	return mapping.File{
		Version: mapping.Version, Cluster: "kafka/kafka", Generation: 3, MeshTrustDomain: "cluster.local", Unmapped: mapping.Refuse,
		Exact:    map[string]string{"CN=legacy,O=Acme": "acme.legacy"},
		SPIFFE:   map[string]string{ordersID: "shop.orders", billingID: "shop.billing"},
		Patterns: []mapping.PatternEntry{{Pattern: "^CN=(.*),O=Partner$", Principal: "$1"}},
	}
}

// configured returns a filter; change may change its configuration.
func configured(t testing.TB, change func(c *Config, file *mapping.File)) *Filter {
	t.Helper()
	_, key := newKey(t)
	file := testMapping()
	c := Config{Token: TokenConfig{Issuer: "signet", Audience: "kafka", KeyID: "one", Key: key}}
	if change != nil {
		change(&c, &file)
	}
	var err error
	if c.Mapping, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(text, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// certificate is one as Envoy tells it.
func certificate(t testing.TB, subject pkix.Name, uris ...string) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject, NotBefore: start, NotAfter: start.Add(time.Hour)}
	for _, uri := range uris {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	key, _ := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// text is a Buffer.
type text []byte

func (b text) Len() int { return len(b) }

func (b text) Bytes(offset, length int) []byte { return bytes.Clone(b[offset : offset+length]) }

// wire is a connection as Envoy handles it, between a client and a broker that are tests.
type wire struct {
	c   *Connection
	now time.Time
	// waiting is Envoy's buffer of the client's bytes.
	waiting []byte
	// sent went to the broker, received to the client.
	sent, received []byte
	closed         bool
	log            []string
}

func newWire(f *Filter, certificate string) *wire {
	w := &wire{now: start}
	w.c = f.NewConnection(func() string { return certificate }, start)
	return w
}

func (w *wire) note(e Effect) {
	if e.Log != "" {
		w.log = append(w.log, e.Log)
	}
	w.closed = w.closed || e.Action == Close
}

func (w *wire) client(b []byte) { w.clientEnds(b, false) }

func (w *wire) clientEnds(b []byte, end bool) {
	if w.closed {
		return
	}
	w.waiting = append(w.waiting, b...)
	e := w.c.Downstream(text(w.waiting), end, w.now)
	w.note(e)
	switch e.Action {
	case Pass:
		w.sent, w.waiting = append(w.sent, w.waiting...), w.waiting[:0]
	case Replace, Send:
		w.sent, w.waiting = append(w.sent, e.Data...), w.waiting[:0]
	case Prepend:
		w.sent, w.waiting = append(append(w.sent, e.Data...), w.waiting...), w.waiting[:0]
	}
}

func (w *wire) broker(b []byte) { w.brokerEnds(b, false) }

func (w *wire) brokerEnds(b []byte, end bool) {
	if w.closed {
		return
	}
	e := w.c.Upstream(text(b), end, w.now)
	w.note(e)
	switch e.Action {
	case Pass:
		w.received = append(w.received, b...)
	case Replace:
		w.received = append(w.received, e.Data...)
	}
	if e.Resume {
		w.sent, w.waiting = append(append(w.sent, e.Held...), w.waiting...), w.waiting[:0]
	}
}

func (w *wire) tick() {
	if !w.closed {
		w.note(w.c.Tick(w.now))
	}
}

// frames cuts a stream into what Kafka reads of it; an incomplete last one is left out.
func frames(stream []byte) (all [][]byte, rest []byte) {
	for len(stream) >= 4 {
		n := int(binary.BigEndian.Uint32(stream)) + 4
		if n < 4 || n > len(stream) {
			break
		}
		all, stream = append(all, stream[:n]), stream[n:]
	}
	return all, stream
}

func answer(correlation uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	return append(binary.BigEndian.AppendUint32(b, correlation), body...)
}

func handshakeAnswer(code int16) []byte {
	r := kmsg.SASLHandshakeResponse{Version: 1, ErrorCode: code, SupportedMechanisms: []string{"PLAIN", "OAUTHBEARER"}}
	return answer(correlationHandshake, r.AppendTo(nil))
}

func authenticateAnswer(code int16, message string, challenge []byte, lifetime time.Duration) []byte {
	r := kmsg.SASLAuthenticateResponse{Version: 1, ErrorCode: code, SASLAuthBytes: challenge, SessionLifetimeMillis: lifetime.Milliseconds()}
	if message != "" {
		r.ErrorMessage = &message
	}
	return answer(correlationAuthenticate, r.AppendTo(nil))
}

func accepted(lifetime time.Duration) []byte {
	return append(handshakeAnswer(0), authenticateAnswer(0, "", nil, lifetime)...)
}

// clientRequest has an API key, a correlation ID and a body.
func clientRequest(key uint16, correlation uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	b = append(binary.BigEndian.AppendUint16(b, key), 0, 9)
	return append(binary.BigEndian.AppendUint32(b, correlation), body...)
}

// TestLogin: the broker is asked first, in Kafka's own encoding, with a token for the peer's principal; nothing of the
// client's goes through before both of its answers are there, and neither of them comes to the client.
func TestLogin(t *testing.T) {
	f := configured(t, nil)
	w := newWire(f, certificate(t, pkix.Name{}, ordersID))
	first, second := clientRequest(18, 1, []byte("first")), clientRequest(3, 2, []byte("second"))
	w.client(first)
	requests, rest := frames(w.sent)
	if len(requests) != 2 || len(rest) > 0 {
		t.Fatalf("sent %q", w.sent)
	}
	handshake, authenticate := kmsg.NewPtrSASLHandshakeRequest(), kmsg.NewPtrSASLAuthenticateRequest()
	handshake.Version, authenticate.Version = 1, 1
	handshake.Mechanism = "OAUTHBEARER"
	_, body, _ := bytes.Cut(requests[1], []byte("n,,"))
	authenticate.SASLAuthBytes = append([]byte("n,,"), body...)
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))
	for i, want := range [][]byte{formatter.AppendRequest(nil, handshake, correlationHandshake), formatter.AppendRequest(nil, authenticate, correlationAuthenticate)} {
		if !bytes.Equal(requests[i], want) {
			t.Errorf("request %d is %q, franz-go writes %q", i, requests[i], want)
		}
	}
	message := string(authenticate.SASLAuthBytes)
	token, before := strings.CutPrefix(message, "n,,\x01auth=Bearer ")
	token, behind := strings.CutSuffix(token, "\x01\x01")
	if !before || !behind {
		t.Errorf("message %q", message)
	}
	if claims := verify(t, token, &f.signer.Key.PublicKey); claims["sub"] != "shop.orders" {
		t.Errorf("claims %v", claims)
	}
	login := len(w.sent)
	w.client(second)
	w.broker(handshakeAnswer(0))
	if len(w.sent) != login || len(w.received) > 0 || w.c.LoggedIn() {
		t.Fatalf("before the second answer %q went to the broker, %q to the client", w.sent[login:], w.received)
	}
	w.broker(authenticateAnswer(0, "", nil, time.Hour))
	if got := w.sent[login:]; !bytes.Equal(got, append(first, second...)) || len(w.received) > 0 || !w.c.LoggedIn() {
		t.Fatalf("after the login %q went to the broker, %q to the client", got, w.received)
	}
	if want := `logged in as "shop.orders" by spiffe "` + ordersID + `"`; !slices.Equal(w.log, []string{want}) {
		t.Errorf("logged %q", w.log)
	}
	w.broker(answer(1, []byte("one")))
	w.client(second)
	if !bytes.HasSuffix(w.sent, second) || !bytes.Equal(w.received, answer(1, []byte("one"))) {
		t.Error("what follows does not go through as it is")
	}
}

// TestRefusesLogin: whatever the broker answers that is not yes, and whatever comes at the wrong time, closes the
// connection with a reason, and lets nothing through.
func TestRefusesLogin(t *testing.T) {
	const invalid = `{"status":"invalid_token"}`
	for _, c := range []struct {
		name   string
		answer []byte
		end    bool
		log    string
	}{
		{"handshake", handshakeAnswer(34), false, "refuses the handshake with error 34"},
		{"mechanism", handshakeAnswer(33), false, "does not offer OAUTHBEARER"},
		{"token, by error", append(handshakeAnswer(0), authenticateAnswer(58, "no", nil, 0)...), false, `error 58: "no"`},
		{"token, by challenge", append(handshakeAnswer(0), authenticateAnswer(0, "", []byte(invalid), 0)...), false, `refuses the token: "{\"status`},
		{"out of order", authenticateAnswer(0, "", nil, 0), false, "out of turn"},
		{"handshake twice", append(handshakeAnswer(0), handshakeAnswer(0)...), false, "out of turn"},
		{"somebody else's response", answer(1, []byte("hello")), false, "what it was not asked"},
		{"truncated handshake", answer(correlationHandshake, []byte{0}), false, "malformed"},
		{"truncated authentication", append(handshakeAnswer(0), answer(correlationAuthenticate, []byte{0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0})...), false, "malformed"},
		{"longer authentication", append(handshakeAnswer(0), answer(correlationAuthenticate, []byte{0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})...), false, "malformed"},
		{"negative length of a challenge", append(handshakeAnswer(0), answer(correlationAuthenticate, []byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0})...), false, "malformed"},
		{"negative lifetime", append(handshakeAnswer(0), authenticateAnswer(0, "", nil, -time.Hour)...), false, "malformed"},
		{"huge", append(binary.BigEndian.AppendUint32(nil, maxAnswer+1), handshakeAnswer(0)[4:]...), false, "more than 65536"},
		{"tiny", []byte{0, 0, 0, 3, 0, 0, 0, 0}, false, "less than 4"},
		{"hangs up", handshakeAnswer(0), true, "hung up before the login"},
		{"hangs up at once", nil, true, "hung up before the login"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int{1, max(len(c.answer), 1)} {
				w := newWire(configured(t, nil), certificate(t, pkix.Name{}, ordersID))
				w.client(clientRequest(18, 1, nil))
				login := len(w.sent)
				for part := range slices.Chunk(c.answer, step) {
					w.broker(part)
				}
				if c.end {
					w.brokerEnds(nil, true)
				}
				w.client(clientRequest(18, 2, nil))
				if !w.closed || len(w.sent) > login || len(w.received) > 0 || !strings.Contains(strings.Join(w.log, ""), c.log) {
					t.Errorf("in pieces of %d: closed %t, sent %q, received %q, logged %q; want %q", step, w.closed, w.sent[login:], w.received, w.log, c.log)
				}
			}
		})
	}
	// Together with the answers, before any request of the client's is there.
	for _, more := range [][]byte{{0, 0}, answer(1, nil), authenticateAnswer(0, "", nil, 0), handshakeAnswer(0)} {
		w := newWire(configured(t, nil), certificate(t, pkix.Name{}, ordersID))
		w.client(clientRequest(18, 1, nil))
		login := len(w.sent)
		w.broker(slices.Concat(accepted(time.Hour), more))
		if !w.closed || len(w.sent) > login || len(w.received) > 0 {
			t.Errorf("%q behind the answers: closed %t, sent %q, received %q", more, w.closed, w.sent[login:], w.received)
		}
	}
}

// TestRefusesPeer: who has no principal is closed at its first byte, and the broker hears nothing.
func TestRefusesPeer(t *testing.T) {
	explicit := func(_ *Config, f *mapping.File) { f.Unmapped = mapping.Explicit }
	for _, c := range []struct {
		name, certificate string
		change            func(*Config, *mapping.File)
		// principal that is logged in, or log why it is not.
		principal, log string
	}{
		{name: "no certificate", log: "presented no certificate"},
		{name: "no certificate, unmapped explicit", change: explicit, log: "presented no certificate"},
		{name: "no PEM", certificate: "hello", log: "cannot be read"},
		{name: "no URL", certificate: "%zz", log: "cannot be read"},
		{name: "a key", certificate: url.PathEscape("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), log: "cannot be read"},
		{name: "no DER", certificate: url.PathEscape("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), log: "cannot be read"},
		{name: "empty subject", certificate: certificate(t, pkix.Name{}), log: "unmapped"},
		{name: "stranger", certificate: certificate(t, pkix.Name{CommonName: "x"}), log: `subject "CN=x"`},
		{name: "another trust domain", certificate: certificate(t, pkix.Name{}, "spiffe://evil.local/ns/shop/sa/orders"), log: "unmapped"},
		{name: "another trust domain, unmapped explicit", change: explicit, certificate: certificate(t, pkix.Name{CommonName: "x"}, "spiffe://evil.local/ns/shop/sa/orders"),
			principal: "unmapped:" + fmt.Sprintf("%x", sha256.Sum256(subjectOf(t, pkix.Name{CommonName: "x"})))},
		{name: "unmapped workload, explicit", change: explicit, certificate: certificate(t, pkix.Name{}, "spiffe://cluster.local/ns/shop/sa/new"), principal: "sa:shop.new"},
		{name: "unmapped workload", certificate: certificate(t, pkix.Name{}, "spiffe://cluster.local/ns/shop/sa/new"), log: "unmapped"},
		{name: "two spiffe ids", certificate: certificate(t, pkix.Name{}, ordersID, billingID), log: "several-spiffe-ids"},
		{name: "disagreement", certificate: certificate(t, pkix.Name{CommonName: "legacy", Organization: []string{"Acme"}}, billingID), log: "disagreement"},
		{name: "a name that kafka would trim", certificate: certificate(t, pkix.Name{CommonName: "a ", Organization: []string{"Partner"}}), log: "begins or ends with a space"},
		{name: "a name with a space", certificate: certificate(t, pkix.Name{CommonName: "a b", Organization: []string{"Partner"}}), principal: "a b"},
		{name: "external subject", certificate: certificate(t, pkix.Name{CommonName: "legacy", Organization: []string{"Acme"}}), principal: "acme.legacy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := configured(t, c.change)
			w := newWire(f, c.certificate)
			w.client(clientRequest(18, 1, nil))
			if c.principal != "" {
				_, token, _ := bytes.Cut(w.sent, []byte("Bearer "))
				token, _, _ = bytes.Cut(token, []byte{1})
				if got := verify(t, string(token), &f.signer.Key.PublicKey)["sub"]; got != c.principal {
					t.Errorf("logs in as %q, want %q", got, c.principal)
				}
				return
			}
			if !w.closed || len(w.sent) > 0 || !strings.Contains(strings.Join(w.log, ""), c.log) {
				t.Errorf("closed %t, sent %q, logged %q; want %q", w.closed, w.sent, w.log, c.log)
			}
		})
	}
}

func subjectOf(t *testing.T, name pkix.Name) []byte {
	t.Helper()
	block, err := DecodeCertificate(certificate(t, name))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(block)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.RawSubject
}

// forbidden are what a client may not send, with why; each is a whole request or the beginning of one.
func forbidden() map[string][]byte {
	return map[string][]byte{
		"log in by itself (api key 17)":                   clientRequest(17, 1, []byte("OAUTHBEARER")),
		"log in by itself (api key 36)":                   clientRequest(36, 1, []byte("token")),
		"correlation ID 2147483640":                       clientRequest(18, 0x7ffffff8, nil),
		"correlation ID 2147483647":                       clientRequest(18, 0x7fffffff, nil),
		"request of 7 bytes":                              {0, 0, 0, 7, 0, 18, 0, 0, 0, 0, 0},
		"request of 0 bytes":                              {0, 0, 0, 0, 0, 0, 0, 10},
		"request of -1 bytes":                             {0xff, 0xff, 0xff, 0xff},
		"request of 104857601 bytes":                      {6, 0x40, 0, 1},
		"request of 1347571544 bytes":                     []byte("PROXY TCP4"),
		"request of 1195725856 bytes, not between 8 and ": []byte("GET / HTTP/1.1\r\n\r\n"),
	}
}

// TestRefusesRequest: what a client may not send closes the connection, as the first request, while the login is under
// way and ever after, in one piece and byte by byte.
func TestRefusesRequest(t *testing.T) {
	f := configured(t, nil)
	id := certificate(t, pkix.Name{}, ordersID)
	good := clientRequest(3, 5, []byte("body"))
	for why, bad := range forbidden() {
		for _, split := range []bool{false, true} {
			send := func(w *wire, b []byte) {
				if !split {
					w.client(b)
					return
				}
				for i := range b {
					w.client(b[i : i+1])
				}
			}
			for name, steps := range map[string]func(w *wire){
				"first":              func(w *wire) { send(w, bad) },
				"behind a request":   func(w *wire) { send(w, slices.Concat(good, bad)) },
				"during the login":   func(w *wire) { send(w, good); send(w, bad); w.broker(accepted(0)) },
				"after the login":    func(w *wire) { send(w, good); w.broker(accepted(0)); send(w, bad) },
				"behind a later one": func(w *wire) { send(w, good); w.broker(accepted(0)); send(w, slices.Concat(good, good, bad)) },
			} {
				w := newWire(f, id)
				steps(w)
				if last := strings.Join(w.log, "\n"); !w.closed || !strings.Contains(last, why) {
					t.Errorf("%s, %s, split %t: closed %t, logged %q", why, name, split, w.closed, last)
				}
				_, token, _ := bytes.Cut(w.sent, []byte("Bearer "))
				_, through, _ := bytes.Cut(token, []byte{1, 1})
				if bytes.Contains(through, bad) {
					t.Errorf("%s, %s, split %t: it went through", why, name, split)
				}
			}
		}
	}
}

// TestWaitingIsBounded: who does not log in within the time, hangs up, or sends too much before, is closed.
func TestWaitingIsBounded(t *testing.T) {
	f := configured(t, nil)
	id := certificate(t, pkix.Name{}, ordersID)
	large := clientRequest(0, 1, make([]byte, MaxHeld))
	for _, c := range []struct {
		name, log string
		steps     func(w *wire)
	}{
		{"silent client", "no login within 10s", func(w *wire) { w.now = start.Add(DefaultLoginTimeout); w.tick() }},
		{"client that speaks too late", "no login within 10s", func(w *wire) { w.now = start.Add(DefaultLoginTimeout); w.client(large[:100]) }},
		{"silent broker", "no login within 10s", func(w *wire) { w.client(large[:1]); w.now = start.Add(DefaultLoginTimeout); w.tick() }},
		{"client hangs up", "hung up", func(w *wire) { w.clientEnds(nil, true) }},
		{"client hangs up while waiting", "hung up", func(w *wire) { w.client(large[:100]); w.clientEnds(nil, true) }},
		{"too much at once", "more than 4194304 bytes", func(w *wire) { w.client(large) }},
		{"too much", "more than 4194304 bytes", func(w *wire) { w.client(large[:MaxHeld]); w.client(large[MaxHeld:]) }},
		{"broker that speaks first", "before it was asked", func(w *wire) { w.broker([]byte("220 smtp")) }},
	} {
		w := newWire(f, id)
		c.steps(w)
		if !w.closed || len(w.log) != 1 || !strings.Contains(w.log[0], c.log) {
			t.Errorf("%s: closed %t, logged %q", c.name, w.closed, w.log)
		}
	}
	w := newWire(f, id)
	w.now = start.Add(DefaultLoginTimeout - 1)
	w.tick()
	w.client(large[:MaxHeld/2])
	w.client(large[MaxHeld/2 : MaxHeld])
	w.broker(accepted(0))
	w.now = start.Add(1000 * time.Hour)
	w.tick()
	w.client(large[MaxHeld:])
	if !bytes.HasSuffix(w.sent, large) || w.closed {
		t.Errorf("what fits did not go through: closed %t, %q", w.closed, w.log)
	}
}

// TestConnectionsShareNothing: a connection knows nothing of one before it.
func TestConnectionsShareNothing(t *testing.T) {
	f := configured(t, nil)
	ids := map[string]string{"shop.orders": certificate(t, pkix.Name{}, ordersID), "shop.billing": certificate(t, pkix.Name{}, billingID), "": certificate(t, pkix.Name{})}
	for range 3 {
		for principal, id := range ids {
			w := newWire(f, id)
			w.client(clientRequest(3, 1, nil))
			_, token, _ := bytes.Cut(w.sent, []byte("Bearer "))
			if token, _, _ = bytes.Cut(token, []byte{1}); principal == "" {
				if len(w.sent) > 0 || !w.closed {
					t.Errorf("a stranger is logged in with %q", w.sent)
				}
				continue
			}
			if got := verify(t, string(token), &f.signer.Key.PublicKey)["sub"]; got != principal {
				t.Errorf("logged in as %q, want %q", got, principal)
			}
		}
	}
}

// TestPassesWithoutCopying: after the login a request costs a look at its header, whatever its size and pieces.
func TestPassesWithoutCopying(t *testing.T) {
	w := newWire(configured(t, nil), certificate(t, pkix.Name{}, ordersID))
	w.client(clientRequest(18, 1, nil))
	w.broker(accepted(time.Hour))
	request := clientRequest(0, 2, make([]byte, 50<<20))
	counting := &counter{}
	for part := range slices.Chunk(request, 1<<20) {
		counting.b = part
		if e := w.c.Downstream(counting, false, start); e.Action != Pass || e.Data != nil {
			t.Fatalf("%+v", e)
		}
	}
	for part := range slices.Chunk(answer(2, make([]byte, 50<<20)), 1<<20) {
		counting.b = part
		if e := w.c.Upstream(counting, false, start); e.Action != Pass || e.Data != nil {
			t.Fatalf("%+v", e)
		}
	}
	if counting.bytes != 12+8 {
		t.Errorf("copied %d bytes of 100 MiB, want the headers' 20", counting.bytes)
	}
}

type counter struct {
	b     text
	bytes int
}

func (c *counter) Len() int { return c.b.Len() }

func (c *counter) Bytes(offset, length int) []byte {
	c.bytes += length
	return c.b.Bytes(offset, length)
}

// kafka answers what a wire sends, one request after the other as Kafka does: a login, or a response that tells the
// request, or none (a request of API key 0 with an odd correlation ID, as acks=0).
type kafka struct {
	done     int
	logins   int
	lifetime time.Duration
	// responses to requests that were no logins; requests that were none.
	responses, requests []byte
}

func (k *kafka) serve(t testing.TB, sent []byte) (answers []byte) {
	t.Helper()
	all, rest := frames(sent[k.done:])
	k.done = len(sent) - len(rest)
	for _, f := range all {
		correlation := binary.BigEndian.Uint32(f[8:])
		switch key := binary.BigEndian.Uint16(f[4:]); key {
		case apiSaslHandshake:
			answers = append(answers, handshakeAnswer(0)...)
			k.logins++
		case apiSaslAuthenticate:
			answers = append(answers, authenticateAnswer(0, "", nil, k.lifetime)...)
		default:
			k.requests = append(k.requests, f...)
			if key == 0 && correlation%2 == 1 {
				continue
			}
			sum := sha256.Sum256(f)
			response := answer(correlation, sum[:4+int(sum[0])%20])
			k.responses = append(k.responses, response...)
			answers = append(answers, response...)
		}
	}
	return answers
}

// converse lets a client's stream and what the broker says to it pass in pieces, with time passing, as random says.
func converse(t testing.TB, f *Filter, id string, stream []byte, lifetime time.Duration, random *mathrand.Rand) (*wire, *kafka) {
	t.Helper()
	w, k := newWire(f, id), &kafka{lifetime: lifetime}
	var pending []byte
	size := func(n int) int {
		if random.IntN(20) == 0 {
			return n
		}
		return random.IntN(min(n, 40)) + 1
	}
	for (len(stream) > 0 || len(pending) > 0 || k.done < len(w.sent)) && !w.closed {
		pending = append(pending, k.serve(t, w.sent)...)
		if len(pending) > 0 && (len(stream) == 0 || random.IntN(2) == 0) {
			n := size(len(pending))
			w.broker(pending[:n])
			pending = pending[n:]
		} else if len(stream) > 0 {
			n := size(len(stream))
			w.client(stream[:n])
			stream = stream[n:]
		} else if rest := w.sent[k.done:]; len(rest) > 0 && len(pending) == 0 {
			break // an incomplete request
		}
		if w.c.LoggedIn() {
			w.now = w.now.Add(time.Duration(random.Int64N(int64(5 * time.Minute))))
		}
	}
	return w, k
}

// TestAnySplit: however a conversation is split, the client's and the broker's bytes arrive as they were sent, with logins
// between the client's requests alone, again and again, and none of it at the client.
func TestAnySplit(t *testing.T) {
	f := configured(t, nil)
	id := certificate(t, pkix.Name{}, ordersID)
	renewed := 0
	for seed := range uint64(300) {
		random := mathrand.New(mathrand.NewPCG(seed, 1))
		var stream []byte
		for range random.IntN(60) + 1 {
			body := make([]byte, random.IntN(80))
			for i := range body {
				body[i] = byte(random.Uint32())
			}
			stream = append(stream, clientRequest([]uint16{0, 1, 3, 18}[random.IntN(4)], random.Uint32N(minReservedCorrelation), body)...)
		}
		w, k := converse(t, f, id, stream, time.Hour, random)
		if w.closed {
			t.Fatalf("seed %d: closed: %q", seed, w.log)
		}
		if !bytes.Equal(k.requests, stream) {
			t.Fatalf("seed %d: the broker got other requests than the client sent", seed)
		}
		if !bytes.Equal(w.received, k.responses) {
			t.Fatalf("seed %d: the client got %q, the broker answered %q", seed, w.received, k.responses)
		}
		renewed += k.logins - 1
	}
	if renewed < 100 {
		t.Errorf("%d logins were renewed in 300 conversations", renewed)
	}
}

// TestEverySplitPoint: of the first 64 KiB in each direction, each place at which they may be split.
func TestEverySplitPoint(t *testing.T) {
	const length = 64 << 10
	f := configured(t, nil)
	id := certificate(t, pkix.Name{}, ordersID)
	var requests, responses []byte
	for i := uint32(0); len(requests) < length || len(responses) < length; i++ {
		requests = append(requests, clientRequest(3, i, make([]byte, i*i%700))...)
		responses = append(responses, answer(i, make([]byte, i*i%300))...)
	}
	yes := accepted(time.Hour)
	sent, received, waiting := make([]byte, 0, 2*length), make([]byte, 0, 2*length), make([]byte, 0, 2*length)
	for at := range length {
		w := newWire(f, id)
		w.sent, w.received, w.waiting = sent, received, waiting
		w.client(requests[:at])
		w.client(requests[at:])
		login := len(w.sent)
		if at < len(yes) {
			w.broker(yes[:at])
			w.broker(yes[at:])
		} else {
			w.broker(yes)
		}
		w.broker(responses[:at])
		w.broker(responses[at:])
		if !bytes.Equal(w.sent[login:], requests) || !bytes.Equal(w.received, responses) {
			t.Fatalf("split at %d: sent or received other bytes; %q", at, w.log)
		}
	}
}

// TestRenewal: the login is renewed at the first request after half of the session, not earlier, and not at all where
// the broker sets no end to the session.
func TestRenewal(t *testing.T) {
	f := configured(t, nil)
	id := certificate(t, pkix.Name{}, ordersID)
	for _, c := range []struct{ lifetime, renew time.Duration }{{time.Hour, 30 * time.Minute}, {10 * time.Second, 5 * time.Second}, {time.Second, 2 * time.Second}, {0, 0}} {
		w, k := newWire(f, id), &kafka{lifetime: c.lifetime}
		ask := func(after time.Duration) int {
			w.now = start.Add(after)
			w.client(clientRequest(3, 2, nil))
			for len(w.sent) > k.done {
				w.broker(k.serve(t, w.sent))
			}
			return k.logins
		}
		if c.renew == 0 {
			if ask(0) != 1 || ask(300*24*time.Hour) != 1 {
				t.Errorf("a session without an end is renewed")
			}
			continue
		}
		if ask(0) != 1 || ask(c.renew-1) != 1 || ask(c.renew) != 2 || ask(c.renew+1) != 2 || ask(2*c.renew) != 3 {
			t.Errorf("lifetime %s: %d logins after %s", c.lifetime, k.logins, w.now.Sub(start))
		}
	}
	// A renewal that fails closes the connection.
	w := newWire(f, id)
	w.client(clientRequest(3, 2, nil))
	w.broker(accepted(time.Minute))
	w.now = start.Add(time.Minute)
	w.client(clientRequest(3, 3, nil))
	w.broker(append(handshakeAnswer(0), authenticateAnswer(58, "Cannot change principals", nil, 0)...))
	if !w.closed || !strings.Contains(w.log[len(w.log)-1], "Cannot change principals") {
		t.Errorf("closed %t, logged %q", w.closed, w.log)
	}
}

// FuzzClient: whatever a client sends, and however it is split, nothing panics; what goes through is what it sent, and
// stops before what it may not send.
func FuzzClient(f *testing.F) {
	good := clientRequest(3, 5, []byte("body"))
	f.Add(good, uint64(1))
	for _, bad := range forbidden() {
		f.Add(bad, uint64(2))
		f.Add(slices.Concat(good, bad, good), uint64(3))
	}
	filter := configured(f, nil)
	id := certificate(f, pkix.Name{}, ordersID)
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		allowed, closes := allowed(stream)
		w, _ := converse(t, filter, id, stream, time.Hour, mathrand.New(mathrand.NewPCG(seed, 2)))
		if closes != w.closed {
			t.Fatalf("closed %t, want %t: %q", w.closed, closes, w.log)
		}
		through := withoutLogins(t, w.sent)
		if !bytes.HasPrefix(stream, through) || len(through) > allowed+11 {
			t.Fatalf("%d bytes went through, %d are allowed", len(through), allowed)
		}
		if !closes && len(through) != len(stream) && len(stream) > 0 {
			t.Fatalf("%d of %d bytes went through", len(through), len(stream))
		}
	})
}

// allowed counts the bytes before the first request that a client may not send, by another way than requests.scan.
func allowed(stream []byte) (n int, closes bool) {
	for n < len(stream) {
		rest := stream[n:]
		if len(rest) < 4 {
			return len(stream), false
		}
		length := int64(int32(binary.BigEndian.Uint32(rest)))
		if length < 8 || length > DefaultMaxRequest {
			return n, true
		}
		if len(rest) >= 6 && (rest[4] == 0 && (rest[5] == 17 || rest[5] == 36)) {
			return n, true
		}
		if len(rest) >= 12 && bytes.Compare(rest[8:12], []byte{0x7f, 0xff, 0xff, 0xf8}) >= 0 && rest[8] == 0x7f {
			return n, true
		}
		n += int(min(length+4, int64(len(rest))))
	}
	return n, false
}

// withoutLogins takes the filter's requests out of what was sent; the last of the client's may be incomplete.
func withoutLogins(t testing.TB, sent []byte) (rest []byte) {
	t.Helper()
	all, incomplete := frames(sent)
	for _, f := range all {
		if key := binary.BigEndian.Uint16(f[4:]); key != apiSaslHandshake && key != apiSaslAuthenticate {
			rest = append(rest, f...)
		}
	}
	return append(rest, incomplete...)
}

// FuzzBroker: whatever a broker answers, and however it is split, nothing panics, and no byte of the client's goes
// through unless both answers say yes.
func FuzzBroker(f *testing.F) {
	f.Add(accepted(time.Hour), uint64(1))
	f.Add(append(handshakeAnswer(0), authenticateAnswer(0, "", []byte("{}"), 0)...), uint64(2))
	f.Add(append(accepted(0), answer(1, []byte("hello"))...), uint64(3))
	f.Add(handshakeAnswer(33), uint64(4))
	filter := configured(f, nil)
	id := certificate(f, pkix.Name{}, ordersID)
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		random := mathrand.New(mathrand.NewPCG(seed, 3))
		w := newWire(filter, id)
		request := clientRequest(3, 1, []byte("secret"))
		w.client(request)
		login := len(w.sent)
		given := 0
		for len(stream) > given && !w.closed {
			n := min(random.IntN(20)+1, len(stream)-given)
			w.broker(stream[given : given+n])
			given += n
			if len(w.sent) > login && !saysYes(stream[:given]) {
				t.Fatalf("%q went through after %q", w.sent[login:], stream[:given])
			}
		}
		if w.c.LoggedIn() != (saysYes(stream[:given]) && !w.closed) {
			t.Fatalf("logged in %t after %q", w.c.LoggedIn(), stream[:given])
		}
	})
}

// saysYes reads the two answers with franz-go.
func saysYes(stream []byte) bool {
	all, _ := frames(stream)
	if len(all) < 2 || len(all[0]) < 8 || len(all[1]) < 8 {
		return false
	}
	handshake, authenticate := kmsg.NewPtrSASLHandshakeResponse(), kmsg.NewPtrSASLAuthenticateResponse()
	handshake.Version, authenticate.Version = 1, 1
	return len(all[0]) >= 10 && binary.BigEndian.Uint16(all[0][8:]) == 0 && binary.BigEndian.Uint32(all[0][4:]) == correlationHandshake &&
		authenticate.ReadFrom(all[1][8:]) == nil && authenticate.ErrorCode == 0 && len(authenticate.SASLAuthBytes) == 0 &&
		binary.BigEndian.Uint32(all[1][4:]) == correlationAuthenticate
}
