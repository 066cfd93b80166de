// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

var testNow = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

// authority is a CA for tests.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newAuthority makes a CA; a nil parent makes it self-signed. change may alter the template.
func newAuthority(t testing.TB, name string, key crypto.Signer, parent *authority, change func(*x509.Certificate)) authority {
	t.Helper()
	serial, err := NewSerial()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{name}},
		NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if change != nil {
		change(template)
	}
	signer, issuer := key, template
	if parent != nil {
		signer, issuer = parent.key, parent.certificate
	}
	c, err := create(template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate: c, key: key}
}

func (a authority) pem() []byte { return EncodeCertificates([]*x509.Certificate{a.certificate}) }

func (a authority) pkcs8(t testing.TB) []byte {
	t.Helper()
	text, err := encodeKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func block(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// istioSelfSigned is istio-ca-secret as istiod writes it: RSA 2048, PKCS#1, two empty keys.
func istioSelfSigned(t testing.TB) (map[string][]byte, authority) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t, "cluster.local", key, nil, nil)
	return map[string][]byte{
		"ca-cert.pem": ca.pem(), "root-cert.pem": ca.pem(), "cert-chain.pem": {}, "key.pem": {},
		"ca-key.pem": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
	}, ca
}

func TestParseCAForms(t *testing.T) {
	selfSigned, mesh := istioSelfSigned(t)
	root := newAuthority(t, "root", newKey(t), nil, nil)
	middle := newAuthority(t, "middle", newKey(t), &root, nil)
	low := newAuthority(t, "low", newKey(t), &middle, nil)
	renewed := newAuthority(t, "root", root.key, nil, nil)
	sec1, err := x509.MarshalECPrivateKey(low.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data          map[string][]byte
		signing       authority
		intermediates []authority
		roots         []authority
	}{
		"istio self-signed": {selfSigned, mesh, nil, []authority{mesh}},
		"istio plugged in": {map[string][]byte{
			"ca-cert.pem": low.pem(), "ca-key.pem": block("EC PRIVATE KEY", sec1),
			"cert-chain.pem": join(low.pem(), middle.pem(), root.pem()), "root-cert.pem": root.pem(),
		}, low, []authority{low, middle}, []authority{root}},
		"istio plugged in, chain in the wrong order": {map[string][]byte{
			"ca-cert.pem": low.pem(), "ca-key.pem": low.pkcs8(t),
			"cert-chain.pem": join(root.pem(), middle.pem(), low.pem()), "root-cert.pem": root.pem(),
		}, low, []authority{low, middle}, []authority{root}},
		"two roots of one key": {map[string][]byte{
			"ca-cert.pem": middle.pem(), "ca-key.pem": middle.pkcs8(t), "root-cert.pem": join(root.pem(), renewed.pem()),
		}, middle, []authority{middle}, []authority{root, renewed}},
		"cert-manager self-signed": {map[string][]byte{
			"tls.crt": root.pem(), "tls.key": root.pkcs8(t), "ca.crt": root.pem(),
		}, root, nil, []authority{root}},
		"cert-manager self-signed without ca.crt": {map[string][]byte{
			"tls.crt": root.pem(), "tls.key": root.pkcs8(t),
		}, root, nil, []authority{root}},
		"cert-manager intermediate": {map[string][]byte{
			"tls.crt": join(low.pem(), middle.pem()), "tls.key": low.pkcs8(t), "ca.crt": root.pem(),
		}, low, []authority{low, middle}, []authority{root}},
		"openssl ecparam writes parameters first": {map[string][]byte{
			"tls.crt": join(low.pem(), middle.pem()), "ca.crt": root.pem(),
			"tls.key": join(block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), block("EC PRIVATE KEY", sec1)),
		}, low, []authority{low, middle}, []authority{root}},
	} {
		t.Run(name, func(t *testing.T) {
			ca, err := ParseCA(test.data)
			if err != nil {
				t.Fatal(err)
			}
			if !ca.Certificate.Equal(test.signing.certificate) {
				t.Errorf("signing certificate %s, want %s", ca.Certificate.Subject, test.signing.certificate.Subject)
			}
			checkList(t, "intermediates", ca.Intermediates, test.intermediates)
			checkList(t, "roots", ca.Roots, test.roots)
			if err := ca.CheckTime(testNow); err != nil {
				t.Error(err)
			}
		})
	}
}

func checkList(t *testing.T, what string, have []*x509.Certificate, want []authority) {
	t.Helper()
	if len(have) != len(want) {
		t.Fatalf("%d %s, want %d", len(have), what, len(want))
	}
	for i := range have {
		if !have[i].Equal(want[i].certificate) {
			t.Errorf("%s[%d] is %s, want %s", what, i, have[i].Subject, want[i].certificate.Subject)
		}
	}
}

func TestParseCARefuses(t *testing.T) {
	root := newAuthority(t, "root", newKey(t), nil, nil)
	middle := newAuthority(t, "middle", newKey(t), &root, nil)
	other := newAuthority(t, "other", newKey(t), nil, nil)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak := newAuthority(t, "weak", small, nil, nil)
	edwards := newAuthority(t, "edwards", edKey, nil, nil)
	leaf := newAuthority(t, "leaf", newKey(t), nil, func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = x509.KeyUsageDigitalSignature })
	noSign := newAuthority(t, "no sign", newKey(t), nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	server := newAuthority(t, "server only", newKey(t), nil, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	pair := func(a authority) map[string][]byte {
		return map[string][]byte{"tls.crt": a.pem(), "tls.key": a.pkcs8(t)}
	}
	with := func(data map[string][]byte, key string, value []byte) map[string][]byte {
		data[key] = value
		return data
	}
	for name, test := range map[string]struct {
		data map[string][]byte
		want error
		text string
	}{
		"empty":                  {nil, ErrCANotFound, "neither"},
		"other keys":             {map[string][]byte{"username": []byte("x")}, ErrCANotFound, "neither"},
		"both forms":             {map[string][]byte{"tls.crt": root.pem(), "ca-key.pem": []byte("x")}, ErrCAInvalid, "both"},
		"half-written: no key":   {map[string][]byte{"tls.crt": root.pem()}, ErrCAInvalid, "tls.key is missing"},
		"half-written: no cert":  {map[string][]byte{"ca-key.pem": root.pkcs8(t)}, ErrCAInvalid, "ca-cert.pem is missing"},
		"half-written: cut cert": {with(pair(root), "tls.crt", root.pem()[:200]), ErrCAInvalid, "does not end"},
		"cut second certificate": {with(pair(root), "tls.crt", join(root.pem(), other.pem()[:100])), ErrCAInvalid, "does not end"},
		"cut key":                {with(pair(root), "tls.key", root.pkcs8(t)[:60]), ErrCAInvalid, "no PEM private key"},
		"wrong key":              {with(pair(root), "tls.key", other.pkcs8(t)), ErrCAInvalid, "not that of certificate"},
		"garbage certificate":    {with(pair(root), "tls.crt", block("CERTIFICATE", []byte("x"))), ErrCAInvalid, "certificate 1"},
		"garbage key":            {with(pair(root), "tls.key", block("PRIVATE KEY", []byte("x"))), ErrCAInvalid, "malformed private key"},
		"key among certificates": {with(pair(root), "tls.crt", join(root.pem(), root.pkcs8(t))), ErrCAInvalid, "only certificates belong here"},
		"two keys":               {with(pair(root), "tls.key", join(root.pkcs8(t), other.pkcs8(t))), ErrCAInvalid, "something follows"},
		"encrypted key":          {with(pair(root), "tls.key", block("ENCRYPTED PRIVATE KEY", []byte("x"))), ErrCAInvalid, "encrypted"},
		"not a CA":               {pair(leaf), ErrCAInvalid, "not a CA"},
		"may not sign":           {pair(noSign), ErrCAInvalid, "keyCertSign"},
		"server only":            {pair(server), ErrCAInvalid, "clientAuth"},
		"RSA 1024":               {pair(weak), ErrCAInvalid, "1024 bits"},
		"Ed25519":                {pair(edwards), ErrCAInvalid, "neither RSA nor ECDSA"},
		"intermediate, no root":  {pair(middle), ErrCAInvalid, "root is missing"},
		"foreign root":           {with(pair(middle), "ca.crt", other.pem()), ErrCAInvalid, "no certificate of the chain"},
		"10 MB":                  {with(pair(root), "tls.crt", bytes.Repeat([]byte("-----BEGIN CERTIFICATE-----\n"), 360_000)), ErrCAInvalid, "at most 262144"},
		"many certificates":      {with(pair(root), "ca.crt", bytes.Repeat(root.pem(), maxCertificates+1)), ErrCAInvalid, "more than 128"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCA(test.data)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %q does not say %q", err, test.text)
			}
			if ReasonOf(err) == "" {
				t.Error("no condition reason")
			}
		})
	}
}

func TestCATime(t *testing.T) {
	root := newAuthority(t, "root", newKey(t), nil, func(c *x509.Certificate) { c.NotAfter = testNow.Add(10 * time.Hour) })
	longer := newAuthority(t, "root", root.key, nil, func(c *x509.Certificate) { c.NotAfter = testNow.Add(1000 * time.Hour) })
	middle := newAuthority(t, "middle", newKey(t), &root, func(c *x509.Certificate) { c.NotAfter = testNow.Add(20 * time.Hour) })
	parse := func(roots ...[]byte) *CA {
		ca, err := ParseCA(map[string][]byte{"tls.crt": middle.pem(), "tls.key": middle.pkcs8(t), "ca.crt": join(roots...)})
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	one, two := parse(root.pem()), parse(root.pem(), longer.pem())
	for name, test := range map[string]struct {
		ca       *CA
		at       time.Time
		want     error
		notAfter time.Time
	}{
		"valid; the root ends first":              {one, testNow, nil, root.certificate.NotAfter},
		"root expired":                            {one, testNow.Add(11 * time.Hour), ErrCAExpired, root.certificate.NotAfter},
		"before all":                              {one, testNow.Add(-2 * time.Hour), ErrCANotYetValid, root.certificate.NotAfter},
		"renewed root: the intermediate is first": {two, testNow.Add(11 * time.Hour), nil, middle.certificate.NotAfter},
		"intermediate expired":                    {two, testNow.Add(21 * time.Hour), ErrCAExpired, middle.certificate.NotAfter},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.ca.CheckTime(test.at); !errors.Is(err, test.want) {
				t.Errorf("CheckTime: %v, want %v", err, test.want)
			} else if err != nil && ReasonOf(err) != v1alpha1.ReasonCAExpired {
				t.Errorf("reason %s", ReasonOf(err))
			}
			if got := test.ca.NotAfter(test.at); !got.Equal(test.notAfter) {
				t.Errorf("NotAfter %s, want %s", got, test.notAfter)
			}
		})
	}
}

func TestPEMIsThatOfThePEMPackage(t *testing.T) {
	for n := range 200 {
		der := bytes.Repeat([]byte{0xa5}, n)
		if got, want := appendPEM([]byte("before"), der), join([]byte("before"), block("CERTIFICATE", der)); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: %q, want %q", n, got, want)
		}
	}
}

func TestErrorsHoldNoKey(t *testing.T) {
	root := newAuthority(t, "root", newKey(t), nil, nil)
	key := root.pkcs8(t)
	secret := string(key[40:80])
	for name, data := range map[string]map[string][]byte{
		"key as certificate":   {"tls.crt": key, "tls.key": key},
		"key of another type":  {"tls.crt": root.pem(), "tls.key": bytes.ReplaceAll(key, []byte("PRIVATE KEY"), []byte("SECRET"))},
		"key without its end":  {"tls.crt": root.pem(), "tls.key": key[:len(key)-10]},
		"key of another CA":    {"tls.crt": newAuthority(t, "other", newKey(t), nil, nil).pem(), "tls.key": key},
		"key read as PKCS#1":   {"tls.crt": root.pem(), "tls.key": bytes.ReplaceAll(key, []byte("PRIVATE KEY"), []byte("RSA PRIVATE KEY"))},
		"text behind the key":  {"tls.crt": root.pem(), "tls.key": join(key, key[40:80])},
		"key in the wrong key": {"tls.crt": root.pem(), "tls.key": root.pem(), "ca.crt": key},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCA(data)
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error holds key material: %v", err)
			}
		})
	}
}

func FuzzParseCA(f *testing.F) {
	selfSigned, _ := istioSelfSigned(f)
	f.Add(selfSigned["ca-cert.pem"], selfSigned["ca-key.pem"], selfSigned["cert-chain.pem"], selfSigned["root-cert.pem"], true)
	root := newAuthority(f, "root", newKey(f), nil, nil)
	f.Add(root.pem(), root.pkcs8(f), []byte(nil), []byte(nil), false)
	f.Add([]byte("-----BEGIN CERTIFICATE-----"), []byte("x"), []byte("y"), []byte("z"), true)
	f.Fuzz(func(t *testing.T, cert, key, chain, rootCert []byte, istio bool) {
		data := map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": rootCert}
		if istio {
			data = map[string][]byte{"ca-cert.pem": cert, "ca-key.pem": key, "cert-chain.pem": chain, "root-cert.pem": rootCert}
		}
		ca, err := ParseCA(data)
		if err != nil {
			if ReasonOf(err) == "" {
				t.Fatalf("error without a reason: %v", err)
			}
			return
		}
		if len(ca.Roots) == 0 || !ca.Certificate.IsCA {
			t.Fatal("accepted something that is no CA, or has no root")
		}
		if ca.NotAfter(testNow).IsZero() {
			t.Fatal("no end")
		}
		if _, err := ParseCertificates(EncodeCertificates(ca.Roots)); err != nil {
			t.Fatal(err)
		}
	})
}
