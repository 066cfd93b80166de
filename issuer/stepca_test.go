// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/certificates/cas/apiv1"
	"go.step.sm/crypto/jose"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// stepAuthority is the CA of a step-ca: a root, and an intermediate that signs.
type stepAuthority struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey
}

func newStepAuthority(t testing.TB) stepAuthority {
	t.Helper()
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		}
	}
	rootKey, key := stepKey(t), stepKey(t)
	root := stepSign(t, authority("step root"), nil, rootKey.Public(), rootKey)
	return stepAuthority{root: root, intermediate: stepSign(t, authority("step intermediate"), root, key.Public(), rootKey), key: key}
}

func stepKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// stepSign signs a template; a nil parent makes it self-signed.
func stepSign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = template
	}
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(time.Now().UnixNano())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sign signs below the intermediate.
func (a stepAuthority) sign(t testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	return stepSign(t, template, a.intermediate, public, a.key)
}

// serving is a server's certificate for 127.0.0.1.
func (a stepAuthority) serving(t testing.TB) tls.Certificate {
	t.Helper()
	key := stepKey(t)
	leaf := a.sign(t, &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, a.intermediate.Raw}, PrivateKey: key}
}

// granted is a grant's template and the request of its KafkaUser.
func granted(t testing.TB) *apiv1.CreateCertificateRequest {
	t.Helper()
	key := stepKey(t)
	subject, err := asn1.Marshal(pkix.Name{Organization: []string{"signet"}, OrganizationalUnit: []string{"shop"}, CommonName: "orders"}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	id := &url.URL{Scheme: "spiffe", Host: "kafka.signet.dev", Path: "/user/shop/orders"}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: subject, URIs: []*url.URL{id}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	return &apiv1.CreateCertificateRequest{CSR: csr, Template: &x509.Certificate{
		SerialNumber: big.NewInt(7), RawSubject: subject, URIs: []*url.URL{id}, PublicKey: key.Public(),
		NotBefore: now.Add(-2 * time.Minute), NotAfter: now.Add(6 * time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}}
}

func TestCheckSigned(t *testing.T) {
	ca := newStepAuthority(t)
	extension := func(critical bool, id ...int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: []byte{5, 0}})
		}
	}
	for name, test := range map[string]struct {
		change func(*x509.Certificate)
		says   string // empty where it is what was granted
	}{
		"as granted":                 {func(*x509.Certificate) {}, ""},
		"shorter":                    {func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(-time.Hour) }, ""},
		"no basic constraints":       {func(c *x509.Certificate) { c.BasicConstraintsValid = false }, ""},
		"step-ca's own extension":    {extension(false, 1, 3, 6, 1, 4, 1, 37476, 9000, 64, 1), ""},
		"with a CRL":                 {func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://ca/crl"} }, ""},
		"another subject":            {func(c *x509.Certificate) { c.RawSubject, c.Subject = nil, pkix.Name{CommonName: "payments"} }, "subject"},
		"the subject in another way": {func(c *x509.Certificate) { c.RawSubject = utf8Subject(t) }, "subject"},
		"no subject":                 {func(c *x509.Certificate) { c.RawSubject, c.Subject = nil, pkix.Name{} }, "subject"},
		"a second URI": {func(c *x509.Certificate) {
			c.URIs = append(c.URIs, &url.URL{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/a/sa/b"})
		}, "subjectAltName"},
		"another URI": {func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/a/sa/b"}}
		}, "subjectAltName"},
		"a DNS name":                  {func(c *x509.Certificate) { c.DNSNames = []string{"kafka"} }, "subjectAltName"},
		"an IP address":               {func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} }, "subjectAltName"},
		"an e-mail address":           {func(c *x509.Certificate) { c.EmailAddresses = []string{"a@b.c"} }, "subjectAltName"},
		"no name":                     {func(c *x509.Certificate) { c.URIs = nil }, "0 subjectAltName"},
		"a CA":                        {func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageDigitalSignature }, "a CA"},
		"keyEncipherment":             {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyEncipherment }, "key usage"},
		"no key usage":                {func(c *x509.Certificate) { c.KeyUsage = 0 }, "key usage"},
		"serverAuth too":              {func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) }, "clientAuth"},
		"serverAuth":                  {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "clientAuth"},
		"any usage":                   {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, "clientAuth"},
		"no extended key usage":       {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, "clientAuth"},
		"an unknown usage":            {func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }, "clientAuth"},
		"longer":                      {func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) }, "valid until"},
		"an unknown extension":        {extension(false, 1, 2, 3, 4), "extension 1.2.3.4"},
		"step-ca's own, critical":     {extension(true, 1, 3, 6, 1, 4, 1, 37476, 9000, 64, 1), "extension 1.3.6.1.4.1.37476.9000.64.1"},
		"a proxy certificate":         {extension(true, 1, 3, 6, 1, 5, 5, 7, 1, 14), "extension 1.3.6.1.5.5.7.1.14"},
		"name constraints of its own": {func(c *x509.Certificate) { c.PermittedURIDomains = []string{"kafka.signet.dev"} }, "extension 2.5.29.30"},
	} {
		t.Run(name, func(t *testing.T) {
			grant := granted(t)
			changed := *grant.Template
			test.change(&changed)
			err := checkSigned(ca.sign(t, &changed, grant.Template.PublicKey), grant.Template)
			switch {
			case test.says == "" && err != nil:
				t.Error(err)
			case test.says != "" && (!errors.Is(err, errNotAsGranted) || !strings.Contains(err.Error(), test.says)):
				t.Errorf("%v; want %q", err, test.says)
			}
		})
	}
	t.Run("another key", func(t *testing.T) {
		grant := granted(t)
		if err := checkSigned(ca.sign(t, grant.Template, stepKey(t).Public()), grant.Template); !errors.Is(err, errNotAsGranted) {
			t.Error(err)
		}
	})
	t.Run("a grant of nothing", func(t *testing.T) {
		if err := checkSigned(ca.root, &x509.Certificate{}); !errors.Is(err, errNotAsGranted) {
			t.Error(err)
		}
	})
}

// FuzzCheckSigned: whatever a CA returns, what passes is what was granted. The key is not part of it, for a seed has to mean the
// same in every process.
func FuzzCheckSigned(f *testing.F) {
	ca, template := newStepAuthority(f), granted(f).Template
	template.NotBefore, template.NotAfter = time.Unix(1900000000, 0), time.Unix(1900036000, 0)
	f.Add(ca.sign(f, template, template.PublicKey).Raw)
	f.Add(ca.root.Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		got, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		want := *template
		want.PublicKey = got.PublicKey
		if checkSigned(got, &want) != nil {
			return
		}
		if got.Subject.String() != "CN=orders,OU=shop,O=signet" || len(got.URIs) != 1 || got.URIs[0].String() != "spiffe://kafka.signet.dev/user/shop/orders" ||
			len(got.DNSNames)+len(got.IPAddresses)+len(got.EmailAddresses) > 0 || got.IsCA || got.NotAfter.After(want.NotAfter) || len(got.UnhandledCriticalExtensions) > 0 {
			t.Errorf("passes: %x", der)
		}
	})
}

// provisioner is the key of a JWK provisioner.
type provisioner struct {
	public  *jose.JSONWebKey
	private *jose.JSONWebKey
}

const stepPassword = "correct horse"

func newProvisioner(t testing.TB) provisioner {
	t.Helper()
	key, err := jose.GenerateJWK("EC", "P-256", "ES256", "sig", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if key.KeyID, err = jose.Thumbprint(key); err != nil {
		t.Fatal(err)
	}
	public := key.Public()
	return provisioner{public: &public, private: key}
}

// plain is the private key as JSON.
func (p provisioner) plain(t testing.TB) string {
	t.Helper()
	text, err := json.Marshal(p.private)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// encrypted is the private key as `step crypto jwk create` writes it, which takes a tenth of a second.
func (p provisioner) encrypted(t testing.TB) string {
	t.Helper()
	encrypted, err := jose.EncryptJWK(p.private, []byte(stepPassword))
	if err != nil {
		t.Fatal(err)
	}
	text, err := encrypted.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// secret is the data of a Secret with the key as it is.
func (p provisioner) secret(t testing.TB) map[string][]byte {
	t.Helper()
	return map[string][]byte{keyJWK: []byte(p.plain(t))}
}

func TestProvisionerKey(t *testing.T) {
	p := newProvisioner(t)
	plain, encrypted := p.plain(t), p.encrypted(t)
	var private struct {
		D string `json:"d"`
	}
	if err := json.Unmarshal([]byte(plain), &private); err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(p.public)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data map[string][]byte
		want error // nil where it is a key
	}{
		"encrypted":           {map[string][]byte{keyJWK: []byte(encrypted), keyPassword: []byte(stepPassword + "\n")}, nil},
		"not encrypted":       {map[string][]byte{keyJWK: []byte(plain)}, nil},
		"password for naught": {map[string][]byte{keyJWK: []byte(plain), keyPassword: []byte("x")}, nil},
		"nothing":             {nil, certs.ErrCANotFound},
		"wrong password":      {map[string][]byte{keyJWK: []byte(encrypted), keyPassword: []byte("wrong horse")}, certs.ErrCAInvalid},
		"no password":         {map[string][]byte{keyJWK: []byte(encrypted)}, certs.ErrCAInvalid},
		"cut short":           {map[string][]byte{keyJWK: []byte(plain[:len(plain)-9])}, certs.ErrCAInvalid},
		"public key":          {map[string][]byte{keyJWK: public}, certs.ErrCAInvalid},
		"symmetric key":       {map[string][]byte{keyJWK: []byte(`{"kty":"oct","k":"` + private.D + `"}`)}, certs.ErrCAInvalid},
		"algorithm of others": {map[string][]byte{keyJWK: []byte(strings.Replace(plain, "ES256", "RS256", 1))}, certs.ErrCAInvalid},
		"10 MB":               {map[string][]byte{keyJWK: make([]byte, 10<<20)}, certs.ErrCAInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := provisionerSigner(test.data)
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), private.D) || strings.Contains(err.Error(), "horse")) {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

// fakeStepCA answers as a step-ca would, or worse.
type fakeStepCA struct {
	*httptest.Server
	stepAuthority

	provisioner provisioner
	handlers    map[string]http.HandlerFunc
	tokens      []string
}

func newFakeStepCA(t *testing.T) *fakeStepCA {
	t.Helper()
	f := &fakeStepCA{stepAuthority: newStepAuthority(t), provisioner: newProvisioner(t), handlers: map[string]http.HandlerFunc{}}
	f.handlers["/root/"+certs.Fingerprint(f.root.Raw)] = answering(200, map[string]any{"ca": pemOf(f.root)})
	f.handlers["/roots"] = answering(201, map[string]any{"crts": []string{pemOf(f.root)}})
	f.handlers["/1.0/sign"] = func(w http.ResponseWriter, r *http.Request) {
		grant := f.read(t, r)
		template := *grant.Template
		template.RawSubject, template.URIs = grant.CSR.RawSubject, grant.CSR.URIs
		f.signed(t, &template, grant.CSR.PublicKey, f.intermediate, f.root)(w, r)
	}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handle := f.handlers[r.URL.Path]; handle != nil {
			handle(w, r)
			return
		}
		answering(404, map[string]any{"status": 404, "message": "The requested resource could not be found."})(w, r)
	}))
	f.TLS = &tls.Config{Certificates: []tls.Certificate{f.serving(t)}}
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are what is tested
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// signed answers with a certificate and this chain.
func (f *fakeStepCA) signed(t *testing.T, template *x509.Certificate, public crypto.PublicKey, chain ...*x509.Certificate) http.HandlerFunc {
	texts := []string{pemOf(f.sign(t, template, public))}
	for _, c := range chain {
		texts = append(texts, pemOf(c))
	}
	return answering(201, map[string]any{"crt": texts[0], "ca": texts[1], "certChain": texts})
}

// read takes the request apart and notes its token.
func (f *fakeStepCA) read(t *testing.T, r *http.Request) *apiv1.CreateCertificateRequest {
	var body struct {
		CSR      string    `json:"csr"`
		Token    string    `json:"ott"`
		NotAfter time.Time `json:"notAfter"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		t.Error(err)
	}
	f.tokens = append(f.tokens, body.Token)
	block, _ := pem.Decode([]byte(body.CSR))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Error(err)
	}
	template := *granted(t).Template
	template.NotAfter = body.NotAfter
	return &apiv1.CreateCertificateRequest{CSR: csr, Template: &template}
}

func answering(code int, body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}
}

func pemOf(c *x509.Certificate) string {
	return string(certs.EncodeCertificates([]*x509.Certificate{c}))
}

func (f *fakeStepCA) source() v1alpha1.StepCASource {
	return v1alpha1.StepCASource{
		URL: f.URL, Fingerprint: certs.Fingerprint(f.root.Raw), Provisioner: "signet",
		SecretRef: v1alpha1.SecretReference{Namespace: "signet-system", Name: "step"},
	}
}

func (f *fakeStepCA) backEnd(t *testing.T) apiv1.CertificateAuthorityService {
	t.Helper()
	ca, err := newStepCA(t.Context(), f.source(), f.provisioner.secret(t))
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestStepCASigns(t *testing.T) {
	f := newFakeStepCA(t)
	ca := f.backEnd(t)
	seen := map[string]bool{}
	for range 2 {
		grant := granted(t)
		response, err := ca.CreateCertificate(grant)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkSigned(response.Certificate, grant.Template); err != nil {
			t.Error(err)
		}
		if len(response.CertificateChain) != 1 || !response.CertificateChain[0].Equal(f.intermediate) {
			t.Errorf("the chain is not the intermediate alone: %d certificates", len(response.CertificateChain))
		}
		token, err := jose.ParseSigned(f.tokens[len(f.tokens)-1])
		if err != nil {
			t.Fatal(err)
		}
		var claims struct {
			jose.Claims
			SANs         []string          `json:"sans"`
			Confirmation map[string]string `json:"cnf"`
		}
		if err := token.Claims(f.provisioner.public, &claims); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(grant.CSR.Raw)
		if claims.Issuer != "signet" || claims.Subject != "orders" || !slices.Equal(claims.Audience, jose.Audience{f.URL + "/1.0/sign"}) ||
			!slices.Equal(claims.SANs, []string{"spiffe://kafka.signet.dev/user/shop/orders"}) ||
			claims.Confirmation["x5rt#S256"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
			t.Errorf("claims %+v", claims)
		}
		if life := claims.Expiry.Time().Sub(claims.IssuedAt.Time()); life != 5*time.Minute || token.Headers[0].KeyID != f.provisioner.public.KeyID {
			t.Errorf("token lives %s, key %s", life, token.Headers[0].KeyID)
		}
		if seen[claims.ID] || len(claims.ID) < 64 {
			t.Errorf("token id %q", claims.ID)
		}
		seen[claims.ID] = true
	}
}

func TestStepCANeedsARequest(t *testing.T) {
	f := newFakeStepCA(t)
	ca := f.backEnd(t)
	for name, change := range map[string]func(*apiv1.CreateCertificateRequest){
		"none":        func(r *apiv1.CreateCertificateRequest) { r.CSR = nil },
		"no template": func(r *apiv1.CreateCertificateRequest) { r.Template = nil },
		"a kubelet's": func(r *apiv1.CreateCertificateRequest) {
			r.CSR = &x509.CertificateRequest{Raw: r.CSR.Raw, RawSubject: []byte{0x30, 0}}
		},
		"another subject": func(r *apiv1.CreateCertificateRequest) { r.Template.RawSubject = utf8Subject(t) },
		"another URI":     func(r *apiv1.CreateCertificateRequest) { r.Template.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} },
		"two URIs":        func(r *apiv1.CreateCertificateRequest) { r.CSR.URIs = append(r.CSR.URIs, r.CSR.URIs...) },
	} {
		grant := granted(t)
		change(grant)
		_, err := ca.CreateCertificate(grant)
		if refusal := refusalFor(err); refusal == nil || refusal.Kind != Permanent || !strings.Contains(refusal.Answer, "delivery Secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(f.tokens) > 0 {
		t.Errorf("the step-ca was asked %d times", len(f.tokens))
	}
	if refusalFor(errCARefused) != nil || refusalFor(nil) != nil {
		t.Error("a refusal for what another try may help")
	}
}

func TestStepCAAnswers(t *testing.T) {
	f := newFakeStepCA(t)
	ca := f.backEnd(t)
	other := newStepAuthority(t)
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    error // nil where it is any other error
		says    string
	}{
		"refusal":     {answering(403, map[string]any{"message": "no\nsuch name" + strings.Repeat("!", 1000)}), errCARefused, `"no\nsuch name!!!`},
		"wrong token": {answering(401, map[string]any{}), errCARefused, "HTTP 401: no reason given"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, errCARefused, "HTTP 307"},
		"out of order": {answering(500, map[string]any{"message": "The certificate authority encountered an Internal Server Error."}), nil, "out of order"},
		"busy":         {answering(429, map[string]any{}), nil, "out of order"},
		"no JSON":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, nil, "JSON"},
		"10 MB":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10<<20)) }, nil, "more than"},
		"nothing":      {answering(201, map[string]any{}), certs.ErrCAInvalid, "no PEM certificate"},
		"a key":        {answering(201, map[string]any{"crt": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}), certs.ErrCAInvalid, "only certificates belong here"},
		"long chain":   {f.signed(t, granted(t).Template, stepKey(t).Public(), f.intermediate, f.root, f.root, f.root, f.root, f.root, f.root, f.root, f.root), errNotAsGranted, "longer"},
		"no chain":     {answering(201, map[string]any{"crt": pemOf(f.sign(t, granted(t).Template, stepKey(t).Public()))}), errNotAsGranted, "unknown authority"},
		"another CA":   {answering(201, map[string]any{"certChain": []string{pemOf(other.sign(t, granted(t).Template, stepKey(t).Public())), pemOf(other.intermediate), pemOf(other.root)}}), errNotAsGranted, "unknown authority"},
		"outlives its CA": {func() http.HandlerFunc {
			template := *granted(t).Template
			template.NotAfter = f.intermediate.NotAfter.Add(time.Hour)
			return f.signed(t, &template, stepKey(t).Public(), f.intermediate)
		}(), errNotAsGranted, "outlives"},
	} {
		t.Run(name, func(t *testing.T) {
			f.handlers["/1.0/sign"] = test.handler
			response, err := ca.CreateCertificate(granted(t))
			if response != nil || err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%v, %v; want %q", response, err, test.says)
			}
			for _, kind := range []error{errCARefused, errNotAsGranted, errNoRequest, certs.ErrCAInvalid} {
				if errors.Is(err, kind) != errors.Is(kind, test.want) {
					t.Errorf("%v: is it %v?", err, kind)
				}
			}
			if len(err.Error()) > 700 || strings.Contains(err.Error(), "\n") {
				t.Errorf("unbounded: %v", err)
			}
		})
	}
}

func TestStepRoots(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*testing.T, *fakeStepCA, *v1alpha1.StepCASource)
		want   error // what the error wraps; nil where it is any other error
		says   string
	}{
		"wrong fingerprint": {func(_ *testing.T, _ *fakeStepCA, s *v1alpha1.StepCASource) { s.Fingerprint = strings.Repeat("0", 64) }, certs.ErrCAInvalid, "correct spec.ca.stepCA.fingerprint"},
		"a liar": {func(t *testing.T, f *fakeStepCA, _ *v1alpha1.StepCASource) {
			f.handlers["/root/"+certs.Fingerprint(f.root.Raw)] = answering(200, map[string]any{"ca": pemOf(newStepAuthority(t).root)})
		}, certs.ErrCAInvalid, "find out who answers there"},
		"two roots for one": {func(_ *testing.T, f *fakeStepCA, _ *v1alpha1.StepCASource) {
			f.handlers["/root/"+certs.Fingerprint(f.root.Raw)] = answering(200, map[string]any{"ca": pemOf(f.root) + pemOf(f.intermediate)})
		}, certs.ErrCAInvalid, "fingerprint"},
		"somebody in between": {func(t *testing.T, f *fakeStepCA, _ *v1alpha1.StepCASource) {
			f.TLS.Certificates[0] = newStepAuthority(t).serving(t)
		}, certs.ErrCAInvalid, "has no certificate for that name"},
		"another name": {func(_ *testing.T, f *fakeStepCA, s *v1alpha1.StepCASource) {
			s.URL = strings.Replace(f.URL, "127.0.0.1", "localhost", 1)
		}, certs.ErrCAInvalid, "has no certificate for that name"},
		"a root that is none": {func(t *testing.T, f *fakeStepCA, _ *v1alpha1.StepCASource) {
			leaf := f.sign(t, granted(t).Template, stepKey(t).Public())
			f.handlers["/roots"] = answering(201, map[string]any{"crts": []string{pemOf(f.root), pemOf(leaf)}})
		}, certs.ErrCAInvalid, "is not a CA"},
		"too many": {func(t *testing.T, f *fakeStepCA, _ *v1alpha1.StepCASource) {
			var texts []string
			for range 17 {
				texts = append(texts, pemOf(newStepAuthority(t).root))
			}
			f.handlers["/roots"] = answering(201, map[string]any{"crts": texts})
		}, certs.ErrCAInvalid, "18 roots"},
		"a redirect": {func(_ *testing.T, f *fakeStepCA, _ *v1alpha1.StepCASource) {
			f.handlers["/roots"] = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/health", http.StatusFound) }
		}, errCARefused, "HTTP 302"},
		"nobody there": {func(_ *testing.T, f *fakeStepCA, _ *v1alpha1.StepCASource) { f.Close() }, nil, "connection refused"},
		"not https": {func(_ *testing.T, f *fakeStepCA, s *v1alpha1.StepCASource) {
			s.URL = "http" + strings.TrimPrefix(f.URL, "https")
		}, certs.ErrCAInvalid, "spec.ca.stepCA.url"},
		"a user in it": {func(_ *testing.T, _ *fakeStepCA, s *v1alpha1.StepCASource) { s.URL = "https://a:b@127.0.0.1/" }, certs.ErrCAInvalid, "spec.ca.stepCA.url"},
		"no host":      {func(_ *testing.T, _ *fakeStepCA, s *v1alpha1.StepCASource) { s.URL = "https:///x" }, certs.ErrCAInvalid, "spec.ca.stepCA.url"},
		"out of order": {func(_ *testing.T, f *fakeStepCA, _ *v1alpha1.StepCASource) {
			f.handlers["/roots"] = answering(503, nil)
		}, nil, "out of order"},
		"never answers": {func(_ *testing.T, f *fakeStepCA, _ *v1alpha1.StepCASource) {
			f.handlers["/roots"] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, context.DeadlineExceeded, "step-ca"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStepCA(t)
			source := f.source()
			test.change(t, f, &source)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if errors.Is(test.want, context.DeadlineExceeded) {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			roots, err := stepRoots(ctx, source)
			if roots != nil || err == nil || !strings.Contains(err.Error(), test.says) || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("%v, %v; want %v and %q", roots, err, test.want, test.says)
			}
			if test.want == nil && certs.ReasonOf(err) != "" {
				t.Errorf("not worth a retry: %v", err)
			}
			if ca, err := newStepCA(ctx, source, f.provisioner.secret(t)); ca != nil || err == nil {
				t.Errorf("a back end: %v", err)
			}
		})
	}
	t.Run("a root to come", func(t *testing.T) {
		f := newFakeStepCA(t)
		next := newStepAuthority(t)
		f.handlers["/roots"] = answering(201, map[string]any{"crts": []string{pemOf(next.root), pemOf(f.root)}})
		roots, err := stepRoots(t.Context(), f.source())
		if err != nil || !slices.EqualFunc(roots, []*x509.Certificate{f.root, next.root}, (*x509.Certificate).Equal) {
			t.Errorf("%d roots, %v", len(roots), err)
		}
	})
}

func TestStepCAOnlySigns(t *testing.T) {
	ca := &stepCA{}
	var notImplemented apiv1.NotImplementedError
	if _, err := ca.RenewCertificate(nil); !errors.As(err, &notImplemented) {
		t.Error(err)
	}
	if _, err := ca.RevokeCertificate(nil); !errors.As(err, &notImplemented) {
		t.Error(err)
	}
	if apiv1.TypeOf(ca) != apiv1.StepCAS {
		t.Error(apiv1.TypeOf(ca))
	}
}
