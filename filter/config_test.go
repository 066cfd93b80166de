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
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// verify checks an ES256 token and returns its claims.
func verify(t testing.TB, token string, key *ecdsa.PublicKey) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q", token)
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if s := decoded[2]; len(s) != 64 || !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:])) {
		t.Fatal("the signature is wrong")
	}
	var header, claims map[string]any
	if err := json.Unmarshal(decoded[0], &header); err != nil || header["alg"] != "ES256" || header["kid"] != "one" {
		t.Fatalf("header %v, %v", header, err)
	}
	if err := json.Unmarshal(decoded[1], &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestToken: what is in a token, and that it is made anew only after half of its life.
func TestToken(t *testing.T) {
	f := configured(t, nil)
	token := func(principal string, after time.Duration) string {
		text, err := f.signer.Token(principal, start.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first := token("a", 0)
	claims := verify(t, first, &f.signer.Key.PublicKey)
	id, _ := claims["jti"].(string)
	delete(claims, "jti")
	want := map[string]any{"iss": "signet", "aud": "kafka", "sub": "a", "iat": float64(start.Unix()), "exp": float64(start.Unix() + 600)}
	if got, _ := json.Marshal(claims); string(got) != string(must(json.Marshal(want))) || len(id) < 20 {
		t.Errorf("claims %s, jti %q", got, id)
	}
	if token("a", 5*time.Minute-1) != first {
		t.Error("signed again before half of its life")
	}
	if token("a", 5*time.Minute) == first || token("b", 0) == first {
		t.Error("an old token, or another's")
	}
	for _, name := range []string{`quote " and \ `, "Grüße", "a\u2028b", "<&>"} {
		if got := verify(t, token(name, 0), &f.signer.Key.PublicKey)["sub"]; got != name {
			t.Errorf("sub %q, want %q", got, name)
		}
	}
	for i := range maxTokens + 10 {
		f.signer.tokens[string(rune(i+0x10000))] = f.signer.tokens["a"]
	}
	token("c", 0)
	if len(f.signer.tokens) > maxTokens {
		t.Errorf("%d tokens are kept", len(f.signer.tokens))
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// keys are PEMs that ParseKey reads, and that it refuses.
func keys(t testing.TB) (good, bad map[string][]byte) {
	t.Helper()
	key, pkcs8 := newKey(t)
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKCS8PrivateKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	otherSEC1, err := x509.MarshalECPrivateKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	good = map[string][]byte{"PKCS #8": []byte(pkcs8), "SEC 1": block("EC PRIVATE KEY", sec1)}
	bad = map[string][]byte{
		"empty": nil, "text": []byte("hunter2"), "P-384": block("PRIVATE KEY", other), "P-384, SEC 1": block("EC PRIVATE KEY", otherSEC1),
		"another type": block("RSA PRIVATE KEY", sec1), "truncated": block("PRIVATE KEY", sec1[:20]), "SEC 1 as PKCS #8": block("PRIVATE KEY", sec1),
		"encrypted": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: sec1}),
	}
	return good, bad
}

func TestParseKey(t *testing.T) {
	good, bad := keys(t)
	for name, text := range good {
		key, err := ParseKey(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sum := sha256.Sum256([]byte("x"))
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
			t.Errorf("%s does not sign: %v", name, err)
		}
	}
	for name, text := range bad {
		if _, err := ParseKey(text); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// FuzzParseKey: what crypto/x509 reads as a P-256 key is read, as the same key, and nothing panics.
func FuzzParseKey(f *testing.F) {
	good, bad := keys(f)
	for _, text := range good {
		block, _ := pem.Decode(text)
		f.Add(block.Bytes, block.Type == "PRIVATE KEY")
	}
	for _, text := range bad {
		if block, _ := pem.Decode(text); block != nil {
			f.Add(block.Bytes, true)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte, pkcs8 bool) {
		kind := "EC PRIVATE KEY"
		var parsed any
		var err error
		if pkcs8 {
			kind = "PRIVATE KEY"
			parsed, err = x509.ParsePKCS8PrivateKey(der)
		} else {
			parsed, err = x509.ParseECPrivateKey(der)
		}
		got, gotErr := ParseKey(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		want, _ := parsed.(*ecdsa.PrivateKey)
		// crypto/x509 also takes scalars of other lengths than 32 octets, which RFC 5915 forbids.
		if gotErr == nil && (err != nil || want == nil || !want.Equal(got)) {
			t.Fatalf("read %x, which crypto/x509 reads as %v, %v", der, parsed, err)
		}
	})
}

// TestCertificatesAgree: a certificate is read as crypto/x509 reads it.
func TestCertificatesAgree(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":            certificate(t, pkix.Name{}),
		"one id":             certificate(t, pkix.Name{}, ordersID),
		"two ids":            certificate(t, pkix.Name{CommonName: "x", Organization: []string{"a+b", "c"}}, ordersID, "https://example.com/a%20b"),
		"a subject":          certificate(t, pkix.Name{CommonName: "x"}),
		"other alternatives": withNames(t),
	} {
		der, err := DecodeCertificate(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		agree(t, der, true)
	}
}

// withNames has alternative names of every kind, and other extensions.
func withNames(t testing.TB) string {
	t.Helper()
	uri, err := url.Parse(ordersID)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: start, NotAfter: start.Add(time.Hour), DNSNames: []string{"a.example"}, EmailAddresses: []string{"a@example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, URIs: []*url.URL{uri}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, SubjectKeyId: []byte{1, 2, 3},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func agree(t testing.TB, der []byte, readable bool) {
	t.Helper()
	want, err := x509.ParseCertificate(der)
	got, gotErr := ReadCertificate(der)
	if err != nil {
		if readable {
			t.Fatal(err)
		}
		return
	}
	if gotErr != nil {
		t.Fatalf("%v, crypto/x509 reads it: %x", gotErr, der)
	}
	var uris []string
	for _, u := range want.URIs {
		uris = append(uris, u.String())
	}
	same := len(uris) == len(got.URIs)
	for i := 0; same && i < len(uris); i++ {
		parsed, err := url.Parse(got.URIs[i])
		same = err == nil && parsed.String() == uris[i]
	}
	if !bytes.Equal(got.Subject, want.RawSubject) || !same {
		t.Fatalf("subject %x, uris %q; crypto/x509 reads %x, %q", got.Subject, got.URIs, want.RawSubject, uris)
	}
}

// FuzzReadCertificate: what crypto/x509 reads is read, and as the same peer; nothing panics.
func FuzzReadCertificate(f *testing.F) {
	for _, text := range []string{certificate(f, pkix.Name{}), certificate(f, pkix.Name{CommonName: "x"}, ordersID, billingID), withNames(f)} {
		der, err := DecodeCertificate(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) { agree(t, der, false) })
}

// TestConfiguration: every fault is refused with its field, nothing half-applies, and no key is quoted.
func TestConfiguration(t *testing.T) {
	_, key := newKey(t)
	mappingFile := string(must(json.Marshal(testMapping())))
	token := map[string]any{"issuer": "signet", "audience": "kafka", "keyId": "one", "key": key}
	valid := map[string]any{"mapping": json.RawMessage(mappingFile), "token": token}
	tokenWith := func(name string, value any) map[string]any {
		changed := map[string]any{}
		for k, v := range token {
			changed[k] = v
		}
		if changed[name] = value; value == nil {
			delete(changed, name)
		}
		return changed
	}
	for _, c := range []struct {
		name, field string
		value       any
		want        string
	}{
		{"valid", "", nil, ""},
		{"every field", "loginTimeout", "30s", ""},
		{"unknown field", "maping", 1, `unknown field "maping"`},
		{"no mapping", "mapping", nil, "mapping is missing"},
		{"mapping", "mapping", json.RawMessage(strings.Replace(mappingFile, "refuse", "allow", 1)), `unmapped is "allow"`},
		{"shard that is not there", "mapping", json.RawMessage(strings.Replace(mappingFile, `"version":1`, `"version":1,"shards":[{"file":"mapping-1.json","sha256":"`+strings.Repeat("0", 64)+`"}]`, 1)), "shards has no mapping-1.json"},
		{"no issuer", "token", tokenWith("issuer", nil), "token: issuer is missing"},
		{"no audience", "token", tokenWith("audience", nil), "token: audience is missing"},
		{"no key id", "token", tokenWith("keyId", nil), "token: keyId is missing"},
		{"no key", "token", tokenWith("key", nil), "token: one of key and keyEnvironment"},
		{"two keys", "token", tokenWith("keyEnvironment", "KEY"), "token: one of key and keyEnvironment"},
		{"a key that is none", "token", tokenWith("key", "hunter2"), "token: key: it is no PEM"},
		{"an empty environment", "token", map[string]any{"issuer": "a", "audience": "b", "keyId": "c", "keyEnvironment": "NOTHING"}, "environment variable NOTHING: it is no PEM"},
		{"a key in the environment", "token", map[string]any{"issuer": "a", "audience": "b", "keyId": "c", "keyEnvironment": "KEY"}, ""},
		{"lifetime that is none", "token", tokenWith("lifetime", "long"), `token: lifetime: "long" is no duration`},
		{"lifetime too short", "token", tokenWith("lifetime", "59s"), "59s is not between 1m0s and 24h0m0s"},
		{"lifetime too long", "token", tokenWith("lifetime", "25h"), "not between"},
		{"timeout", "loginTimeout", "0.5s", "loginTimeout: 500ms is not between"},
		{"request size", "maxRequestBytes", 10, "maxRequestBytes is 10"},
		{"negative request size", "maxRequestBytes", -1, "maxRequestBytes is -1"},
		{"request size too large", "maxRequestBytes", 1 << 31, "maxRequestBytes is 2147483648"},
	} {
		changed := map[string]any{}
		for k, v := range valid {
			changed[k] = v
		}
		if c.field != "" {
			changed[c.field] = c.value
		}
		if c.value == nil {
			delete(changed, c.field)
		}
		_, err := New(must(json.Marshal(changed)), func(name string) string { return map[string]string{"KEY": key}[name] })
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), key[40:80])):
			t.Errorf("%s: the error quotes the key: %v", c.name, err)
		}
	}
	for _, text := range []string{"", "null", "[]", "{", `{"token":{},"token":{}}`} {
		if _, err := New([]byte(text), func(string) string { return "" }); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	f := configured(t, nil)
	if got := f.Describe(); !strings.Contains(got, "kafkacluster kafka/kafka, generation 3, 4 entries; tokens of signet for kafka, key one, 10m0s") || strings.Contains(got, key[40:80]) {
		t.Errorf("described as %q", got)
	}
}

// TestShards: entries may be in shards, as in a broker's ConfigMaps.
func TestShards(t *testing.T) {
	file := testMapping()
	shard := `{"version":1,"exact":{"CN=sharded":"shop.sharded"},"spiffe":{}}`
	text := strings.Replace(string(must(json.Marshal(file))), `"version":1`, `"version":1,"shards":[{"file":"mapping-1.json","sha256":"`+fmt.Sprintf("%x", sha256.Sum256([]byte(shard)))+`"}]`, 1)
	_, key := newKey(t)
	f, err := New(must(json.Marshal(map[string]any{
		"mapping": json.RawMessage(text), "shards": map[string]string{"mapping-1.json": shard},
		"token": map[string]any{"issuer": "a", "audience": "b", "keyId": "c", "key": key},
	})), nil)
	if err != nil {
		t.Fatal(err)
	}
	if entry, err := identify(f.set, certificate(t, pkix.Name{CommonName: "sharded"})); err != nil || entry.Name != "shop.sharded" {
		t.Errorf("%+v, %v", entry, err)
	}
	if f.set.Len() != 5 {
		t.Errorf("%d entries", f.set.Len())
	}
}
