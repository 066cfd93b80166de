// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/certs"
)

type testCA struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newCA(t testing.TB, name string, key crypto.Signer, parent *testCA, from, to time.Time) testCA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(from.UnixNano()), Subject: pkix.Name{Organization: []string{name}}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signer, issuer := key, template
	if parent != nil {
		signer, issuer = parent.key, parent.certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return testCA{certificate: c, key: key}
}

// secret returns the CA as a Secret of Istio's plugged-in form, with its chain.
func (ca testCA) secret(t testing.TB, version string, root testCA, chain ...testCA) *corev1.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		t.Fatal(err)
	}
	var certificates []*x509.Certificate
	for _, c := range chain {
		certificates = append(certificates, c.certificate)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istio-ca-secret", UID: "secret-uid", ResourceVersion: version},
		Data: map[string][]byte{
			"ca-cert.pem":    certs.EncodeCertificates([]*x509.Certificate{ca.certificate}),
			"ca-key.pem":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
			"cert-chain.pem": certs.EncodeCertificates(certificates),
			"root-cert.pem":  certs.EncodeCertificates([]*x509.Certificate{root.certificate}),
		},
	}
}

func signWith(t testing.TB, secret *corev1.Secret, now time.Time) (*Signed, *Grant) {
	t.Helper()
	grant, refusal := Decide(honest(t, p256(t)))
	if refusal != nil {
		t.Fatal(refusal)
	}
	return signGrantWith(t, secret, grant, now), grant
}

func signGrantWith(t testing.TB, secret *corev1.Secret, grant *Grant, now time.Time) *Signed {
	t.Helper()
	ca, err := certs.ParseCA(secret.Data)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(t.Context(), ca, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, refusal, err := signer.Sign(t.Context(), *grant, now)
	if err != nil || refusal != nil {
		t.Fatal(refusal, err)
	}
	return signed
}

// The certificate is judged by Go and by OpenSSL, at the present time because openssl knows no other.
func TestSignVerifies(t *testing.T) {
	now := time.Now()
	from, to := now.Add(-24*time.Hour), now.Add(1000*time.Hour)
	rsaRoot := newCA(t, "cluster.local", rsaKey(t), nil, from, to)
	ecRoot := newCA(t, "root", p256(t), nil, from, to)
	ecMiddle := newCA(t, "middle", p256(t), &rsaRoot, from, to)
	rsaMiddle := newCA(t, "middle", rsaKey(t), &ecRoot, from, to)
	for name, test := range map[string]struct {
		secret    *corev1.Secret
		root      testCA
		inChain   int
		algorithm x509.SignatureAlgorithm
	}{
		"RSA root, as istiod makes it": {rsaRoot.secret(t, "1", rsaRoot), rsaRoot, 1, x509.SHA256WithRSA},
		"ECDSA root":                   {ecRoot.secret(t, "1", ecRoot), ecRoot, 1, x509.ECDSAWithSHA256},
		"ECDSA intermediate, RSA root": {ecMiddle.secret(t, "1", rsaRoot, ecMiddle, rsaRoot), rsaRoot, 2, x509.ECDSAWithSHA256},
		"RSA intermediate, ECDSA root": {rsaMiddle.secret(t, "1", ecRoot, rsaMiddle), ecRoot, 2, x509.SHA256WithRSA},
	} {
		t.Run(name, func(t *testing.T) {
			signed, grant := signWith(t, test.secret, now)
			chain, err := certs.ParseCertificates(signed.Chain)
			if err != nil {
				t.Fatal(err)
			}
			if len(chain) != test.inChain {
				t.Errorf("%d certificates in the chain, want %d (leaf first, no root)", len(chain), test.inChain)
			}
			leaf := chain[0]
			if leaf.SignatureAlgorithm != test.algorithm {
				t.Errorf("signed with %s", leaf.SignatureAlgorithm)
			}
			checkLeaf(t, leaf, grant)
			if err := checkSigned(leaf, signed.Certificate); err != nil {
				t.Errorf("not what the template says: %v", err)
			}
			roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
			roots.AppendCertsFromPEM(signed.Roots)
			for _, c := range chain[1:] {
				intermediates.AddCert(c)
			}
			for usage, good := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageClientAuth: true, x509.ExtKeyUsageServerAuth: false} {
				_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: now})
				if (err == nil) != good {
					t.Errorf("usage %v: %v", usage, err)
				}
			}
			opensslVerify(t, signed, now)
		})
	}
}

// What an RSA CA was itself signed with is what it signs with; and every RSA leaf names its key, whoever signs it (RFC 5280,
// section 4.2.1.2).
func TestSignWithRSA(t *testing.T) {
	now := time.Now()
	from, to := now.Add(-24*time.Hour), now.Add(1000*time.Hour)
	pss := rsaKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"pss"}}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SignatureAlgorithm: x509.SHA384WithRSAPSS,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pss.Public(), pss)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		ca        testCA
		algorithm x509.SignatureAlgorithm
	}{
		"ECDSA CA":   {newCA(t, "ecdsa", p256(t), nil, from, to), x509.ECDSAWithSHA256},
		"RSA CA":     {newCA(t, "rsa", rsaKey(t), nil, from, to), x509.SHA256WithRSA},
		"RSA-PSS CA": {testCA{certificate, pss}, x509.SHA384WithRSAPSS},
	} {
		t.Run(name, func(t *testing.T) {
			grant, refusal := Decide(honest(t, p256(t)))
			if refusal != nil {
				t.Fatal(refusal)
			}
			key := rsaKey(t)
			grant.PublicKey = key.Public()
			signed := signGrantWith(t, test.ca.secret(t, "1", test.ca), grant, now)
			chain, err := certs.ParseCertificates(signed.Chain)
			if err != nil {
				t.Fatal(err)
			}
			if chain[0].SignatureAlgorithm != test.algorithm {
				t.Errorf("signed with %s, want %s", chain[0].SignatureAlgorithm, test.algorithm)
			}
			if len(chain[0].SubjectKeyId) == 0 {
				t.Error("no subject key identifier")
			}
			if !key.PublicKey.Equal(chain[0].PublicKey) {
				t.Error("another public key")
			}
			opensslVerify(t, signed, now)
		})
	}
}

func checkLeaf(t *testing.T, leaf *x509.Certificate, grant *Grant) {
	t.Helper()
	if !bytes.Equal(leaf.RawSubject, grant.Identity.RawSubject) {
		t.Errorf("subject %s", leaf.Subject)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://kafka.signet.dev/user/shop/orders" || len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) != 0 {
		t.Errorf("SANs %v %v %v %v", leaf.URIs, leaf.DNSNames, leaf.IPAddresses, leaf.EmailAddresses)
	}
	if leaf.IsCA || !leaf.BasicConstraintsValid || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || len(leaf.UnknownExtKeyUsage) != 0 {
		t.Errorf("isCA %t, key usage %b, extended %v %v", leaf.IsCA, leaf.KeyUsage, leaf.ExtKeyUsage, leaf.UnknownExtKeyUsage)
	}
	if leaf.SerialNumber.BitLen() != 128 {
		t.Errorf("serial number of %d bits", leaf.SerialNumber.BitLen())
	}
	if len(leaf.UnhandledCriticalExtensions) != 0 || len(leaf.AuthorityKeyId) == 0 {
		t.Errorf("critical %v, authority key id %x", leaf.UnhandledCriticalExtensions, leaf.AuthorityKeyId)
	}
	if key, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(grant.PublicKey) {
		t.Error("another public key")
	}
}

func opensslVerify(t *testing.T, signed *Signed, now time.Time) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is needed for this test; install it (apt-get install openssl)")
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"chain.pem": signed.Chain, "roots.pem": signed.Roots} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for purpose, good := range map[string]bool{"sslclient": true, "sslserver": false} {
		command := exec.CommandContext(t.Context(), openssl, "verify", "-x509_strict", "-attime", big.NewInt(now.Unix()).String(), "-purpose", purpose, "-CAfile", "roots.pem", "-untrusted", "chain.pem", "chain.pem")
		command.Dir = dir
		output, err := command.CombinedOutput()
		if (err == nil) != good {
			t.Errorf("openssl verify -purpose %s: %v\n%s", purpose, err, output)
		}
	}
	command := exec.CommandContext(t.Context(), openssl, "x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", "chain.pem")
	command.Dir = dir
	output, err := command.CombinedOutput()
	if err != nil || strings.TrimSpace(string(output)) != "subject=CN=orders,OU=shop,O=signet" {
		t.Errorf("openssl prints %s (%v)", output, err)
	}
}

// secretReader is a client.Reader with one Secret.
type secretReader struct {
	client.Reader
	secret atomic.Pointer[corev1.Secret]
}

func (r *secretReader) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	r.secret.Load().DeepCopyInto(into.(*corev1.Secret))
	return nil
}

func TestSignRefusesAnUnusableCA(t *testing.T) {
	for name, test := range map[string]struct{ from, to time.Duration }{
		"expired":     {-2 * time.Hour, -time.Hour},
		"of tomorrow": {24 * time.Hour, 48 * time.Hour},
		"ends soon":   {-2 * time.Hour, 9 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			authority := newCA(t, "mesh", p256(t), nil, testNow.Add(test.from), testNow.Add(test.to))
			ca, err := certs.ParseCA(authority.secret(t, "1", authority).Data)
			if err != nil {
				t.Fatal(err)
			}
			signer, err := NewSigner(t.Context(), ca, nil)
			if err != nil {
				t.Fatal(err)
			}
			grant, refusal := Decide(honest(t, p256(t)))
			if refusal != nil {
				t.Fatal(refusal)
			}
			signed, refusal, err := signer.Sign(t.Context(), *grant, testNow)
			if err != nil || signed != nil || refusal == nil || refusal.Kind != Wait {
				t.Errorf("signed %v, refusal %v, error %v", signed, refusal, err)
			}
		})
	}
}

func TestAuditLine(t *testing.T) {
	authority := newCA(t, "mesh", p256(t), nil, testNow.Add(-time.Hour), testNow.Add(1000*time.Hour))
	signed, grant := signWith(t, authority.secret(t, "1", authority), testNow)
	var lines []string
	log := funcr.NewJSON(func(line string) { lines = append(lines, line) }, funcr.Options{})
	Audit{Outcome: Issued, Requester: certManager, Object: "CertificateRequest shop/orders-kafka-tls-1", Issuer: "mesh", Reason: "KafkaUser", Grant: grant, Signed: signed}.Log(log)
	Audit{Outcome: Denied, Requester: "jane", Object: "CertificateRequest shop/x", Issuer: "mesh", Reason: ReasonRequester, Detail: "evil\nsecond line"}.Log(log)
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, want := range []string{
		`"outcome":"issued"`, `"requester":"` + certManager + `"`, `"subject":"CN=orders,OU=shop,O=signet"`, `"serial":"` + certs.SerialString(signed.Certificate) + `"`,
		`"keySHA256":"` + KeyFingerprint(grant.PublicKey) + `"`, `"notAfter":"2031-05-06T13:08:09Z"`, `"ca":"O=mesh"`,
	} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("%s is missing in %s", want, lines[0])
		}
	}
	if strings.Contains(lines[1], "\n") || !strings.Contains(lines[1], `"reason":"`+ReasonRequester+`"`) {
		t.Errorf("line %q", lines[1])
	}
	if len(KeyFingerprint(grant.PublicKey)) != 64 {
		t.Error("fingerprint")
	}
}
