// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// honestSigning returns the facts of the request of a person outside the cluster, with an empty CSR, who may sign for the
// KafkaUser shop/orders.
func honestSigning(t testing.TB, key crypto.Signer) SigningFacts {
	t.Helper()
	request := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "jane-1", UID: "signing-uid", Annotations: map[string]string{"kafka.signet.dev/user": "shop/orders"}},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: "kafka.signet.dev/mesh", Request: encodeCSR(t, &x509.CertificateRequest{}, key),
			Usages:   []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature},
			Username: "jane", UID: "jane-uid", Groups: []string{"shop", "system:authenticated"}, Extra: map[string]certificatesv1.ExtraValue{"scopes": {"a", "b"}},
		},
	}
	return SigningFacts{UserFacts: honest(t, key).UserFacts, Asked: asked(ParseCSR(request.Spec.Request)), Request: request, MaySign: true}
}

// decideSigning is DecideSigning on what now stands in the request.
func decideSigning(f SigningFacts) (*Grant, *Refusal) {
	a := asked(ParseCSR(f.Request.Spec.Request))
	f.CSR, f.Problem, f.KeySHA256 = a.CSR, a.Problem, a.KeySHA256
	return DecideSigning(f)
}

func TestDecideSigningGrants(t *testing.T) {
	days := int32(10 * 365 * 86400)
	day := int32(86400)
	hour := int32(3600)
	negative := int32(-1)
	for name, test := range map[string]struct {
		do       func(*testing.T, *SigningFacts)
		duration time.Duration
		withCSR  bool
	}{
		"empty CSR": {func(*testing.T, *SigningFacts) {}, 6 * time.Hour, false},
		"CSR that asks for all of it": {func(t *testing.T, f *SigningFacts) {
			f.Request.Spec.Request = csrWith(t, func(*x509.CertificateRequest) {})
		}, 6 * time.Hour, true},
		"subject as openssl encodes it, without the SAN": {func(t *testing.T, f *SigningFacts) {
			f.Request.Spec.Request = encodeCSR(t, &x509.CertificateRequest{RawSubject: utf8Subject(t)}, p256(t))
		}, 6 * time.Hour, false},
		"the SAN only": {func(t *testing.T, f *SigningFacts) {
			f.Request.Spec.Request = encodeCSR(t, &x509.CertificateRequest{URIs: []*url.URL{parseURL(t, "spiffe://kafka.signet.dev/user/shop/orders")}}, p256(t))
		}, 6 * time.Hour, false},
		"RSA where the issuer allows it": {func(t *testing.T, f *SigningFacts) {
			f.Issuer.Spec.KeyTypes = []v1alpha1.KeyType{v1alpha1.KeyRSA2048}
			f.Request.Spec.Request = encodeCSR(t, &x509.CertificateRequest{}, rsaKey(t))
		}, 6 * time.Hour, false},
		"ten years are cut":     {func(_ *testing.T, f *SigningFacts) { f.Request.Spec.ExpirationSeconds = &days }, 24 * time.Hour, false},
		"a day":                 {func(_ *testing.T, f *SigningFacts) { f.Request.Spec.ExpirationSeconds = &day }, 24 * time.Hour, false},
		"an hour":               {func(_ *testing.T, f *SigningFacts) { f.Request.Spec.ExpirationSeconds = &hour }, time.Hour, false},
		"a negative lifetime":   {func(_ *testing.T, f *SigningFacts) { f.Request.Spec.ExpirationSeconds = &negative }, 10 * time.Minute, false},
		"the cluster's default": {func(_ *testing.T, f *SigningFacts) { f.Cluster.Spec.Certificates.Duration.Duration = 3 * time.Hour }, 3 * time.Hour, false},
		"the user's default": {func(_ *testing.T, f *SigningFacts) {
			f.User.Spec.Certificate = &v1alpha1.UserCertificate{Duration: &metav1.Duration{Duration: 2 * time.Hour}}
		}, 2 * time.Hour, false},
		"delivery Secret": {func(_ *testing.T, f *SigningFacts) {
			f.User.Spec.Certificate = &v1alpha1.UserCertificate{Delivery: v1alpha1.DeliverySecret}
		}, 6 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := honestSigning(t, p256(t))
			test.do(t, &f)
			grant, refusal := decideSigning(f)
			if refusal != nil {
				t.Fatal(refusal)
			}
			if grant.Identity.Subject != "CN=orders,OU=shop,O=signet" || grant.Identity.URI.String() != "spiffe://kafka.signet.dev/user/shop/orders" {
				t.Errorf("identity %s, %s", grant.Identity.Subject, grant.Identity.URI)
			}
			if grant.Duration != test.duration || (grant.CSR != nil) != test.withCSR {
				t.Errorf("granted for %s, with a CSR: %t", grant.Duration, grant.CSR != nil)
			}
		})
	}
}

// utf8Subject is the honest subject in UTF8String throughout, as openssl writes it; Go writes PrintableString.
func utf8Subject(t *testing.T) []byte {
	t.Helper()
	value := func(text string) asn1.RawValue { return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(text)} }
	return rawSubject(t,
		pkix.RelativeDistinguishedNameSET{attribute(asn1.ObjectIdentifier{2, 5, 4, 10}, value("signet"))},
		pkix.RelativeDistinguishedNameSET{attribute(asn1.ObjectIdentifier{2, 5, 4, 11}, value("shop"))},
		pkix.RelativeDistinguishedNameSET{attribute(asn1.ObjectIdentifier{2, 5, 4, 3}, value("orders"))},
	)
}

func TestDecideSigningRefusesAttacks(t *testing.T) {
	cn, ou, o := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 11}, asn1.ObjectIdentifier{2, 5, 4, 10}
	one := func(a ...pkix.AttributeTypeAndValue) pkix.RelativeDistinguishedNameSET { return a }
	csr := func(change func(*x509.CertificateRequest)) func(*testing.T, *SigningFacts) {
		return func(t *testing.T, f *SigningFacts) { f.Request.Spec.Request = csrWith(t, change) }
	}
	subject := func(rdns ...pkix.RelativeDistinguishedNameSET) func(*testing.T, *SigningFacts) {
		return csr(func(c *x509.CertificateRequest) { c.RawSubject = rawSubject(t, rdns...) })
	}
	extension := func(oid asn1.ObjectIdentifier, value []byte) func(*testing.T, *SigningFacts) {
		return csr(func(c *x509.CertificateRequest) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oid, Value: value})
		})
	}
	claim := func(text string) func(*testing.T, *SigningFacts) {
		return func(_ *testing.T, f *SigningFacts) { f.Request.Annotations["kafka.signet.dev/user"] = text }
	}
	usages := func(u ...certificatesv1.KeyUsage) func(*testing.T, *SigningFacts) {
		return func(_ *testing.T, f *SigningFacts) { f.Request.Spec.Usages = u }
	}
	digital, client := certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth
	for name, attack := range map[string]struct {
		reason string
		do     func(*testing.T, *SigningFacts)
	}{
		"no annotation":             {ReasonClaim, func(_ *testing.T, f *SigningFacts) { f.Request.Annotations = nil }},
		"no namespace":              {ReasonClaim, claim("orders")},
		"no name":                   {ReasonClaim, claim("shop/")},
		"path":                      {ReasonClaim, claim("shop/orders/sub")},
		"parent directory":          {ReasonClaim, claim("../orders")},
		"two users":                 {ReasonClaim, claim("shop/orders,payments/billing")},
		"claim with a newline":      {ReasonClaim, claim("shop/orders\n")},
		"claim of a mebibyte":       {ReasonClaim, claim(strings.Repeat("a/", 1<<19))},
		"may not sign for the user": {ReasonSignNotPermitted, func(_ *testing.T, f *SigningFacts) { f.MaySign = false }},
		"may not sign, approved by somebody else": {ReasonSignNotPermitted, func(_ *testing.T, f *SigningFacts) {
			f.MaySign = false
			f.Request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: "True"}}
		}},
		"another user's claim, facts of this one": {ReasonUserNotFound, claim("payments/billing")},
		"same name in another namespace":          {ReasonUserNotFound, claim("payments/orders")},
		"namespace not admitted":                  {v1alpha1.ReasonNamespaceNotAllowed, func(_ *testing.T, f *SigningFacts) { f.Admitted = false }},
		"another signer's request":                {ReasonOtherIssuer, func(_ *testing.T, f *SigningFacts) { f.Request.Spec.SignerName = "kafka.signet.dev/other" }},
		"the signer of kubelets": {ReasonOtherIssuer, func(_ *testing.T, f *SigningFacts) {
			f.Request.Spec.SignerName = "kubernetes.io/kube-apiserver-client-kubelet"
		}},
		"user of another MeshIssuer": {ReasonOtherIssuer, func(_ *testing.T, f *SigningFacts) { f.Cluster.Spec.Certificates.IssuerRef.Name = "other" }},
		"no usages":                  {ReasonAsksForMore, usages()},
		"clientAuth only":            {ReasonAsksForMore, usages(client)},
		"serverAuth":                 {ReasonAsksForMore, usages(digital, client, certificatesv1.UsageServerAuth)},
		"serverAuth instead":         {ReasonAsksForMore, usages(digital, certificatesv1.UsageServerAuth)},
		"cert sign":                  {ReasonAsksForMore, usages(digital, client, certificatesv1.UsageCertSign)},
		"any":                        {ReasonAsksForMore, usages(certificatesv1.UsageAny)},
		"a usage twice":              {ReasonAsksForMore, usages(digital, client, client)},
		"signing, which is digital signature's synonym": {ReasonAsksForMore, usages(certificatesv1.UsageSigning, client)},

		"other user's subject": {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "payments")), one(attribute(cn, "billing")))},
		"stolen old CSR replayed for another user": {ReasonAsksForMore, func(_ *testing.T, f *SigningFacts) {
			f.User.Name, f.Request.Annotations["kafka.signet.dev/user"] = "billing", "shop/billing"
			f.Request.Spec.Request = csrWith(t, func(*x509.CertificateRequest) {})
		}},
		"stolen old CSR without a subject": {ReasonKeyReused, func(_ *testing.T, f *SigningFacts) {
			f.KeyHolder = "spiffe://kafka.signet.dev/user/payments/billing"
		}},
		"the controller's subject": {ReasonAsksForMore, subject(one(attribute(o, "signet-controller")), one(attribute(ou, "kafka")), one(attribute(cn, "kafka")))},
		"extra RDN":                {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop")), one(attribute(cn, "orders")), one(attribute(cn, "admin")))},
		"RDNs in another order":    {ReasonAsksForMore, subject(one(attribute(cn, "orders")), one(attribute(ou, "shop")), one(attribute(o, "signet")))},
		"multi-valued RDN":         {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop"), attribute(cn, "orders")))},
		"duplicate CN in one RDN":  {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop")), one(attribute(cn, "orders"), attribute(cn, "admin")))},
		"CN that looks like three": {ReasonAsksForMore, subject(one(attribute(cn, "orders,OU=shop,O=signet")))},
		"odd string type":          {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop")), one(attribute(cn, asn1.RawValue{Tag: asn1.TagBMPString, Bytes: []byte{0, 'o', 0, 'r', 0, 'd', 0, 'e', 0, 'r', 0, 's'}})))},
		"subject in another case":  {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop")), one(attribute(cn, "ORDERS")))},
		"trailing space":           {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop")), one(attribute(cn, "orders ")))},

		"SPIFFE ID of the mesh": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = []*url.URL{parseURL(t, "spiffe://cluster.local/ns/istio-system/sa/istiod")}
		})},
		"SPIFFE ID beside one's own": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = append(c.URIs, parseURL(t, "spiffe://cluster.local/ns/a/sa/b"))
		})},
		"DNS SAN":    {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.DNSNames = []string{"kafka.kafka.svc"} })},
		"IP SAN":     {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} })},
		"e-mail SAN": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.EmailAddresses = []string{"root@example.org"} })},
		"otherName SAN, which Go does not parse": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = nil
			c.ExtraExtensions = []pkix.Extension{{Id: oidSubjectAltName, Value: otherNameSAN(t, "spiffe://kafka.signet.dev/user/shop/orders")}}
		})},
		"empty SAN": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = nil
			c.ExtraExtensions = []pkix.Extension{{Id: oidSubjectAltName, Value: []byte{0x30, 0x00}}}
		})},
		"CA:TRUE":               {ReasonAsksForMore, extension(oidBasicConstraints, []byte{0x30, 0x03, 0x01, 0x01, 0xff})},
		"keyCertSign":           {ReasonAsksForMore, extension(oidKeyUsage, []byte{0x03, 0x02, 0x02, 0x84})},
		"serverAuth in the CSR": {ReasonAsksForMore, extension(oidExtKeyUsage, []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01})},
		"name constraints":      {ReasonAsksForMore, extension(asn1.ObjectIdentifier{2, 5, 29, 30}, []byte{0x30, 0x00})},
		"unknown extension":     {ReasonAsksForMore, extension(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, []byte{0x05, 0x00})},

		"no CSR": {ReasonMalformed, func(_ *testing.T, f *SigningFacts) { f.Request.Spec.Request = nil }},
		"two CSRs": {ReasonMalformed, func(_ *testing.T, f *SigningFacts) {
			f.Request.Spec.Request = append(f.Request.Spec.Request, f.Request.Spec.Request...)
		}},
		"somebody else's public key": {ReasonMalformed, func(t *testing.T, f *SigningFacts) {
			f.Request.Spec.Request = swapKey(t, f.Request.Spec.Request, &p256(t).PublicKey)
		}},
		"RSA by default": {ReasonUnsupportedKeyType, func(t *testing.T, f *SigningFacts) {
			f.Request.Spec.Request = encodeCSR(t, &x509.CertificateRequest{}, rsaKey(t))
		}},
		"P-521": {ReasonUnsupportedKeyType, func(t *testing.T, f *SigningFacts) {
			key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			f.Request.Spec.Request = encodeCSR(t, &x509.CertificateRequest{}, key)
		}},
		"RSA with close primes": {ReasonKeyNotAllowed, func(t *testing.T, f *SigningFacts) {
			f.Issuer.Spec.KeyTypes = anyKeyType
			f.Request.Spec.Request = closePrimesCSR(t)
		}},
		"key on the issuer's list": {ReasonKeyNotAllowed, func(_ *testing.T, f *SigningFacts) { f.Issuer.Spec.BlockedKeys = []string{f.KeySHA256} }},
		"another identity's key":   {ReasonKeyReused, func(_ *testing.T, f *SigningFacts) { f.KeyHolder = "spiffe://kafka.signet.dev/user/shop/billing" }},
		"the CA's key":             {ReasonKeyReused, func(_ *testing.T, f *SigningFacts) { f.KeyOfCA = true }},
	} {
		t.Run(name, func(t *testing.T) {
			f := honestSigning(t, p256(t))
			attack.do(t, &f)
			grant, refusal := decideSigning(f)
			checkDenied(t, grant, refusal, attack.reason, ReasonClaim, ReasonSignNotPermitted, ReasonUnsupportedKeyType)
		})
	}
}

// closePrimesCSR is a proper CSR of an RSA key whose primes are next to each other. Go signs with no such key.
func closePrimesCSR(t *testing.T) []byte {
	t.Helper()
	var n, d *big.Int
	for d == nil { // until 65537 is no factor of phi
		p, q := primes(t, big.NewInt(2))
		n = new(big.Int).Mul(p, q)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d = new(big.Int).ModInverse(big.NewInt(65537), phi)
	}
	key, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	der := assembleCSR(t, key, nil, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, func(hash []byte) []byte {
		// RFC 8017 section 9.2: PKCS#1 v1.5 with the DigestInfo of SHA-256.
		info := append([]byte{0x00, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}, hash...)
		padded := append([]byte{0x00, 0x01}, bytes.Repeat([]byte{0xff}, 256-2-len(info))...)
		message := new(big.Int).SetBytes(append(padded, info...))
		return message.Exp(message, d, n).FillBytes(make([]byte, 256))
	})
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// TestWhoMayNotSignLearnsNothing holds that the answer to who lacks the right says only that, and is the same whether or
// not the KafkaUser exists.
func TestWhoMayNotSignLearnsNothing(t *testing.T) {
	answers := map[string]bool{}
	for _, change := range []func(*SigningFacts){
		func(*SigningFacts) {},
		func(f *SigningFacts) { f.User, f.Cluster = nil, nil },
		func(f *SigningFacts) { f.User.Spec.Suspend = true },
		func(f *SigningFacts) { f.Issuer = nil },
		func(f *SigningFacts) { f.Admitted = false },
		func(f *SigningFacts) { f.KeyHolder = "spiffe://kafka.signet.dev/user/payments/billing" },
		func(f *SigningFacts) { f.Request.Spec.Request = nil },
	} {
		f := honestSigning(t, p256(t))
		f.MaySign = false
		change(&f)
		_, refusal := decideSigning(f)
		if refusal == nil || refusal.Reason != ReasonSignNotPermitted {
			t.Fatalf("refused %v", refusal)
		}
		answers[refusal.Answer] = true
	}
	if len(answers) != 1 {
		t.Errorf("%d different answers: %v", len(answers), answers)
	}
}

func TestDecideSigningWaits(t *testing.T) {
	for name, test := range map[string]struct {
		reason string
		do     func(*SigningFacts)
	}{
		"KafkaUser not there":     {ReasonUserNotFound, func(f *SigningFacts) { f.User, f.Cluster = nil, nil }},
		"KafkaUser being deleted": {ReasonUserNotFound, func(f *SigningFacts) { f.User.DeletionTimestamp = &metav1.Time{Time: testNow} }},
		"issuer not there":        {v1alpha1.ReasonIssuerNotFound, func(f *SigningFacts) { f.Issuer = nil }},
		"cluster not there":       {v1alpha1.ReasonClusterNotFound, func(f *SigningFacts) { f.Cluster = nil }},
		"suspended":               {v1alpha1.ReasonSuspended, func(f *SigningFacts) { f.User.Spec.Suspend = true }},
		"ledger silent":           {ReasonNotRecorded, func(f *SigningFacts) { f.User.Status.Conditions = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			f := honestSigning(t, p256(t))
			test.do(&f)
			grant, refusal := decideSigning(f)
			if grant != nil || refusal == nil || refusal.Kind != Wait || refusal.Reason != test.reason {
				t.Fatalf("granted %v, refused %v, want to wait for %s", grant, refusal, test.reason)
			}
		})
	}
}

func FuzzDecideSigning(f *testing.F) {
	honest := honestSigning(f, p256(f))
	f.Add("kafka.signet.dev/mesh", "shop/orders", string(certificatesv1.UsageClientAuth), honest.Request.Spec.Request, int32(3600), true)
	f.Add("kubernetes.io/kubelet-serving", "shop", "any", []byte("-----BEGIN CERTIFICATE REQUEST-----\n"), int32(-1), false)
	f.Fuzz(func(t *testing.T, signer, claim, usage string, csr []byte, seconds int32, maySign bool) {
		facts := honest
		facts.Request, facts.MaySign = honest.Request.DeepCopy(), maySign
		facts.Request.Annotations["kafka.signet.dev/user"] = claim
		spec := &facts.Request.Spec
		spec.SignerName, spec.Request, spec.ExpirationSeconds = signer, csr, &seconds
		spec.Usages = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.KeyUsage(usage)}
		grant, refusal := decideSigning(facts)
		if (grant == nil) == (refusal == nil) {
			t.Fatal("neither granted nor refused, or both")
		}
		if grant == nil {
			return
		}
		if !maySign || signer != "kafka.signet.dev/mesh" || claim != "shop/orders" || usage != "client auth" || grant.Identity.Subject != "CN=orders,OU=shop,O=signet" {
			t.Fatalf("granted %+v", grant)
		}
		if grant.Duration < minimumLife || grant.Duration > 24*time.Hour || CheckPublicKey(grant.PublicKey, nil, nil) != nil {
			t.Fatalf("granted for %s", grant.Duration)
		}
	})
}
