// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

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
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/principal"
)

const certManager = "system:serviceaccount:cert-manager:cert-manager"

var testNow = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encodeCSR(t testing.TB, template *x509.CertificateRequest, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// requested returns the CSR that cert-manager itself makes for a Certificate.
func requested(t testing.TB, spec cmv1.CertificateSpec, key crypto.Signer) []byte {
	t.Helper()
	csr, err := pki.GenerateCSR(&cmv1.Certificate{Spec: spec}, pki.WithUseLiteralSubject(true), pki.WithNameConstraints(true), pki.WithOtherNames(true))
	if err != nil {
		t.Fatal(err)
	}
	der, err := pki.EncodeCSR(csr, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func controlledBy(apiVersion, kind, name string, uid types.UID) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: uid, Controller: &yes}}
}

// mappingRecorded is what the ledger decided of a KafkaUser's principal.
func mappingRecorded(status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: v1alpha1.ConditionMappingRecorded, Status: status, Reason: reason, Message: "because of " + reason}
}

// honest returns the facts of a request as cert-manager makes it for the KafkaUser shop/orders.
func honest(t testing.TB, key crypto.Signer) Facts {
	t.Helper()
	user := &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", UID: "user-uid"},
		Spec:       v1alpha1.KafkaUserSpec{ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"}},
		Status:     v1alpha1.KafkaUserStatus{Conditions: []metav1.Condition{mappingRecorded(metav1.ConditionTrue, v1alpha1.ReasonReady)}},
	}
	cluster := &v1alpha1.KafkaCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"},
		Spec: v1alpha1.KafkaClusterSpec{
			Listeners:    []v1alpha1.Listener{{Name: "mtls", BootstrapServers: []string{"kafka:9093"}, Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationMTLS}},
			Admin:        v1alpha1.AdminConnection{Listener: "mtls"},
			Certificates: v1alpha1.CertificateDefaults{IssuerRef: v1alpha1.IssuerReference{Name: "mesh"}, Organization: "signet"},
		},
	}
	issuer := &v1alpha1.MeshIssuer{ObjectMeta: metav1.ObjectMeta{Name: "mesh"}, Spec: v1alpha1.MeshIssuerSpec{
		CA:          v1alpha1.CASource{SecretRef: &v1alpha1.SecretReference{Namespace: "istio-system", Name: "istio-ca-secret"}},
		TrustDomain: "kafka.signet.dev", MaxDuration: metav1.Duration{Duration: 24 * time.Hour},
	}}
	spec, err := certs.DesiredCertificate(user, cluster, issuer)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &cmv1.Certificate{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "orders-kafka-tls", UID: "certificate-uid",
			OwnerReferences: controlledBy("kafka.signet.dev/v1alpha1", "KafkaUser", "orders", "user-uid"),
		},
		Spec: spec,
	}
	request := &cmv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "orders-kafka-tls-1", UID: "request-uid",
			OwnerReferences: controlledBy("cert-manager.io/v1", "Certificate", "orders-kafka-tls", "certificate-uid"),
		},
		Spec: cmv1.CertificateRequestSpec{
			Username: certManager, Duration: spec.Duration, IssuerRef: spec.IssuerRef,
			Usages: spec.Usages, Request: requested(t, spec, key),
		},
	}
	return Facts{
		UserFacts: UserFacts{User: user, Cluster: cluster, Admitted: true, Issuer: issuer}, Asked: asked(ParseCSR(request.Spec.Request)),
		Request: request, CertManager: certManager, Certificate: certificate,
	}
}

// asked is what RegistrationAuthority.examine says of a key that was never seen.
func asked(csr *x509.CertificateRequest, problem error) Asked {
	if csr == nil {
		return Asked{Problem: problem}
	}
	return Asked{CSR: csr, KeySHA256: KeyFingerprint(csr.PublicKey)}
}

// decide is Decide on what now stands in the request.
func decide(f Facts) (*Grant, *Refusal) {
	a := asked(ParseCSR(f.Request.Spec.Request))
	f.CSR, f.Problem, f.KeySHA256 = a.CSR, a.Problem, a.KeySHA256
	return Decide(f)
}

func TestDecideGrantsWhatCertManagerAsksFor(t *testing.T) {
	key := p256(t)
	grant, refusal := decide(honest(t, key))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if grant.Identity.Subject != "CN=orders,OU=shop,O=signet" || grant.Identity.URI.String() != "spiffe://kafka.signet.dev/user/shop/orders" {
		t.Errorf("identity %s, %s", grant.Identity.Subject, grant.Identity.URI)
	}
	if !key.PublicKey.Equal(grant.PublicKey) || grant.Duration != 6*time.Hour {
		t.Errorf("key or duration %s", grant.Duration)
	}
}

// A renewal with the key that one has is no reuse.
func TestDecideGrantsOnesOwnKeyAgain(t *testing.T) {
	f := honest(t, p256(t))
	f.KeyHolder = "spiffe://kafka.signet.dev/user/shop/orders"
	if _, refusal := Decide(f); refusal != nil {
		t.Fatal(refusal)
	}
}

// The attacks below start from this CSR, so it must be good without them.
// TestDecideGrantsKeystores holds that the keystores that a KafkaUser declares keep nothing from being signed.
func TestDecideGrantsKeystores(t *testing.T) {
	f := honest(t, p256(t))
	f.User.Spec.Certificate = &v1alpha1.UserCertificate{Keystores: v1alpha1.KeystoreFormats()}
	var err error
	if f.Certificate.Spec, err = certs.DesiredCertificate(f.User, f.Cluster, f.Issuer); err != nil {
		t.Fatal(err)
	}
	if _, refusal := decide(f); refusal != nil {
		t.Errorf("refused: %v", refusal)
	}
}

func TestDecideGrantsTheUnchangedCSR(t *testing.T) {
	f := honest(t, p256(t))
	f.Request.Spec.Request = csrWith(t, func(*x509.CertificateRequest) {})
	if _, refusal := decide(f); refusal != nil {
		t.Fatal(refusal)
	}
}

// csrWith returns an attacker's CSR: the honest one's content, changed.
func csrWith(t *testing.T, change func(*x509.CertificateRequest)) []byte {
	t.Helper()
	raw, err := asn1.Marshal(pkix.RDNSequence{
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "signet"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "shop"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "orders"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{RawSubject: raw, URIs: []*url.URL{parseURL(t, "spiffe://kafka.signet.dev/user/shop/orders")}}
	change(template)
	return encodeCSR(t, template, p256(t))
}

func parseURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func rawSubject(t *testing.T, rdns ...pkix.RelativeDistinguishedNameSET) []byte {
	t.Helper()
	raw, err := asn1.Marshal(pkix.RDNSequence(rdns))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func attribute(oid asn1.ObjectIdentifier, value any) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: oid, Value: value}
}

// checkDenied holds that a request is denied for good, for this reason, and that the requester learns nothing, unless the
// reason is one of those that say how to do it right.
func checkDenied(t *testing.T, grant *Grant, refusal *Refusal, reason string, helpful ...string) {
	t.Helper()
	if grant != nil || refusal == nil {
		t.Fatalf("granted %+v", grant)
	}
	if refusal.Kind != Permanent || refusal.Reason != reason {
		t.Errorf("refused as %d %s (%s), want permanent %s", refusal.Kind, refusal.Reason, refusal.Detail, reason)
	}
	switch {
	case !slices.Contains(helpful, reason):
		if refusal.Answer != opaque {
			t.Errorf("the requester learns: %s", refusal.Answer)
		}
	case len(refusal.Answer) > 300:
		t.Errorf("an answer of %d bytes", len(refusal.Answer))
	}
}

func TestDecideRefusesAttacks(t *testing.T) {
	cn, ou, o := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 11}, asn1.ObjectIdentifier{2, 5, 4, 10}
	csr := func(change func(*x509.CertificateRequest)) func(*testing.T, *Facts) {
		return func(t *testing.T, f *Facts) { f.Request.Spec.Request = csrWith(t, change) }
	}
	subject := func(rdns ...pkix.RelativeDistinguishedNameSET) func(*testing.T, *Facts) {
		return func(t *testing.T, f *Facts) {
			f.Request.Spec.Request = csrWith(t, func(c *x509.CertificateRequest) { c.RawSubject = rawSubject(t, rdns...) })
		}
	}
	extension := func(oid asn1.ObjectIdentifier, value []byte) func(*testing.T, *Facts) {
		return csr(func(c *x509.CertificateRequest) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oid, Value: value})
		})
	}
	one := func(a ...pkix.AttributeTypeAndValue) pkix.RelativeDistinguishedNameSET { return a }
	for name, attack := range map[string]struct {
		reason string
		do     func(*testing.T, *Facts)
	}{
		"hand-made CertificateRequest":                      {ReasonRequester, func(_ *testing.T, f *Facts) { f.Request.Spec.Username = "jane" }},
		"requester unknown (cert-manager's webhook is off)": {ReasonRequester, func(_ *testing.T, f *Facts) { f.Request.Spec.Username = "" }},
		"no cert-manager configured, no requester":          {ReasonRequester, func(_ *testing.T, f *Facts) { f.Request.Spec.Username, f.CertManager = "", "" }},
		"cert-manager's cainjector as requester": {ReasonRequester, func(_ *testing.T, f *Facts) {
			f.Request.Spec.Username = "system:serviceaccount:cert-manager:cert-manager-cainjector"
		}},
		"stolen old CSR in a request of one's own": {ReasonRequester, func(_ *testing.T, f *Facts) {
			f.Request.Spec.Username, f.Request.Name = "jane", "orders-kafka-tls-7"
		}},
		"request without an owner": {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Request.OwnerReferences = nil }},
		"owner that does not control": {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) {
			no := false
			f.Request.OwnerReferences[0].Controller = &no
		}},
		"owner of another kind":                             {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Request.OwnerReferences[0].Kind = "Issuer" }},
		"owner of another group":                            {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Request.OwnerReferences[0].APIVersion = "evil.io/v1" }},
		"owner's UID invented":                              {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Request.OwnerReferences[0].UID = "other" }},
		"owner gone":                                        {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Certificate = nil }},
		"owner in another namespace":                        {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Certificate.Namespace = "other" }},
		"request of another Certificate handed to this one": {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Request.Name = "mine-1" }},
		"request of a Certificate named to look like it":    {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Request.Name = "orders-kafka-tls-1-1" }},
		"revision with a sign":                              {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Request.Name = "orders-kafka-tls-+1" }},
		"revision zero":                                     {ReasonNotFromCertificate, func(_ *testing.T, f *Facts) { f.Request.Name = "orders-kafka-tls-0" }},
		"hand-made Certificate":                             {ReasonNotFromUser, func(_ *testing.T, f *Facts) { f.Certificate.OwnerReferences = nil }},
		"Certificate of a Deployment":                       {ReasonNotFromUser, func(_ *testing.T, f *Facts) { f.Certificate.OwnerReferences[0].Kind = "Deployment" }},
		"KafkaUser of another group":                        {ReasonNotFromUser, func(_ *testing.T, f *Facts) { f.Certificate.OwnerReferences[0].APIVersion = "kafka.strimzi.io/v1" }},
		"Certificate with an invented KafkaUser UID":        {ReasonNotFromUser, func(_ *testing.T, f *Facts) { f.Certificate.OwnerReferences[0].UID = "other" }},
		"KafkaUser gone":                                    {ReasonNotFromUser, func(_ *testing.T, f *Facts) { f.User = nil }},
		"KafkaUser of another namespace":                    {ReasonNotFromUser, func(_ *testing.T, f *Facts) { f.User.Namespace = "payments" }},
		"KafkaUser being deleted": {ReasonNotFromUser, func(_ *testing.T, f *Facts) {
			f.User.DeletionTimestamp = &metav1.Time{Time: testNow}
		}},
		"second Certificate of a KafkaUser": {ReasonNotFromUser, func(_ *testing.T, f *Facts) {
			f.Certificate.Name, f.Request.OwnerReferences[0].Name, f.Request.Name = "copy", "copy", "copy-1"
		}},
		"namespace not admitted": {v1alpha1.ReasonNamespaceNotAllowed, func(_ *testing.T, f *Facts) { f.Admitted = false }},

		"other user's subject":     {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "payments")), one(attribute(cn, "billing")))},
		"other namespace":          {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "payments")), one(attribute(cn, "orders")))},
		"the controller's subject": {ReasonAsksForMore, subject(one(attribute(o, "signet-controller")), one(attribute(ou, "kafka")), one(attribute(cn, "kafka")))},
		"empty subject":            {ReasonAsksForMore, subject()},
		"extra RDN":                {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop")), one(attribute(cn, "orders")), one(attribute(cn, "admin")))},
		"RDNs in another order":    {ReasonAsksForMore, subject(one(attribute(cn, "orders")), one(attribute(ou, "shop")), one(attribute(o, "signet")))},
		"multi-valued RDN":         {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop"), attribute(cn, "orders")))},
		"duplicate CN in one RDN":  {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop")), one(attribute(cn, "orders"), attribute(cn, "admin")))},
		"odd string type":          {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop")), one(attribute(cn, asn1.RawValue{Tag: asn1.TagBMPString, Bytes: []byte{0, 'o', 0, 'r'}})))},
		"subject in another case":  {ReasonAsksForMore, subject(one(attribute(o, "signet")), one(attribute(ou, "shop")), one(attribute(cn, "ORDERS")))},
		"SPIFFE ID of the mesh": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = []*url.URL{parseURL(t, "spiffe://cluster.local/ns/istio-system/sa/istiod")}
		})},
		"SPIFFE ID beside one's own": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = append(c.URIs, parseURL(t, "spiffe://cluster.local/ns/a/sa/b"))
		})},
		"other user's SPIFFE ID": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = []*url.URL{parseURL(t, "spiffe://kafka.signet.dev/user/payments/billing")}
		})},
		"no SAN":     {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.URIs = nil })},
		"DNS SAN":    {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.DNSNames = []string{"kafka.kafka.svc"} })},
		"IP SAN":     {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} })},
		"e-mail SAN": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.EmailAddresses = []string{"root@example.org"} })},
		"otherName SAN, which Go does not parse": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = nil
			c.ExtraExtensions = []pkix.Extension{{Id: oidSubjectAltName, Value: otherNameSAN(t, "spiffe://kafka.signet.dev/user/shop/orders")}}
		})},
		"CA:TRUE":                      {ReasonAsksForMore, extension(oidBasicConstraints, []byte{0x30, 0x03, 0x01, 0x01, 0xff})},
		"keyCertSign":                  {ReasonAsksForMore, extension(oidKeyUsage, []byte{0x03, 0x02, 0x02, 0x84})},
		"serverAuth":                   {ReasonAsksForMore, extension(oidExtKeyUsage, []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01})},
		"serverAuth beside clientAuth": {ReasonAsksForMore, extension(oidExtKeyUsage, []byte{0x30, 0x14, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01})},
		"name constraints":             {ReasonAsksForMore, extension(asn1.ObjectIdentifier{2, 5, 29, 30}, []byte{0x30, 0x00})},
		"unknown extension":            {ReasonAsksForMore, extension(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, []byte{0x05, 0x00})},
		"isCA in the request":          {ReasonAsksForMore, func(_ *testing.T, f *Facts) { f.Request.Spec.IsCA = true }},
		"serverAuth in the request": {ReasonAsksForMore, func(_ *testing.T, f *Facts) {
			f.Request.Spec.Usages = append(f.Request.Spec.Usages, cmv1.UsageServerAuth)
		}},
		"cert sign in the request": {ReasonAsksForMore, func(_ *testing.T, f *Facts) {
			f.Request.Spec.Usages = []cmv1.KeyUsage{cmv1.UsageCertSign, cmv1.UsageClientAuth}
		}},
		"Certificate with a DNS name added": {ReasonAsksForMore, func(t *testing.T, f *Facts) {
			f.Certificate.Spec.DNSNames = []string{"kafka.kafka.svc"}
			f.Request.Spec.Request = requested(t, f.Certificate.Spec, p256(t))
		}},
		"Certificate with another user's subject": {ReasonAsksForMore, func(t *testing.T, f *Facts) {
			f.Certificate.Spec.LiteralSubject = "CN=billing,OU=payments,O=signet"
			f.Request.Spec.Request = requested(t, f.Certificate.Spec, p256(t))
		}},

		"RSA 1024": {ReasonUnsupportedKeyType, func(t *testing.T, f *Facts) {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				t.Fatal(err)
			}
			f.Request.Spec.Request = encodeCSR(t, &x509.CertificateRequest{}, key)
		}},
		"P-224": {ReasonUnsupportedKeyType, func(t *testing.T, f *Facts) {
			key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			f.Request.Spec.Request = encodeCSR(t, &x509.CertificateRequest{}, key)
		}},
		"Ed25519": {ReasonUnsupportedKeyType, func(t *testing.T, f *Facts) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			f.Request.Spec.Request = encodeCSR(t, &x509.CertificateRequest{}, key)
		}},
		"key on the issuer's list": {ReasonKeyNotAllowed, func(_ *testing.T, f *Facts) { f.Issuer.Spec.BlockedKeys = []string{f.KeySHA256} }},
		"RSA where the issuer says only ECDSA": {ReasonUnsupportedKeyType, func(t *testing.T, f *Facts) {
			f.Issuer.Spec.KeyTypes = []v1alpha1.KeyType{v1alpha1.KeyECDSAP256}
			f.Request.Spec.Request = encodeCSR(t, &x509.CertificateRequest{}, rsaKey(t))
		}},
		"another identity's key": {ReasonKeyReused, func(_ *testing.T, f *Facts) { f.KeyHolder = "spiffe://kafka.signet.dev/user/payments/billing" }},
		"the CA's key":           {ReasonKeyReused, func(_ *testing.T, f *Facts) { f.KeyOfCA = true }},
		"somebody else's public key": {ReasonMalformed, func(t *testing.T, f *Facts) {
			f.Request.Spec.Request = swapKey(t, f.Request.Spec.Request, &p256(t).PublicKey)
		}},
		"no CSR":   {ReasonMalformed, func(_ *testing.T, f *Facts) { f.Request.Spec.Request = nil }},
		"two CSRs": {ReasonMalformed, func(_ *testing.T, f *Facts) { f.Request.Spec.Request = bytes.Repeat(f.Request.Spec.Request, 2) }},
		"text before": {ReasonMalformed, func(_ *testing.T, f *Facts) {
			f.Request.Spec.Request = append([]byte("x\n"), f.Request.Spec.Request...)
		}},
		"a certificate": {ReasonMalformed, func(_ *testing.T, f *Facts) {
			f.Request.Spec.Request = bytes.ReplaceAll(f.Request.Spec.Request, []byte(" REQUEST"), nil)
		}},
		"a mebibyte": {ReasonMalformed, func(_ *testing.T, f *Facts) { f.Request.Spec.Request = bytes.Repeat([]byte("-----BEGIN "), 100_000) }},
		"garbage in PEM": {ReasonMalformed, func(_ *testing.T, f *Facts) {
			f.Request.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := honest(t, p256(t))
			attack.do(t, &f)
			grant, refusal := decide(f)
			checkDenied(t, grant, refusal, attack.reason, ReasonUnsupportedKeyType)
		})
	}
}

// otherNameSAN is a subjectAltName with one otherName (a Microsoft UPN).
func otherNameSAN(t *testing.T, value string) []byte {
	t.Helper()
	sans, err := pki.MarshalSANs(pki.GeneralNames{
		UniformResourceIdentifiers: []string{value},
		OtherNames: []pki.OtherName{{
			TypeID: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3},
			Value:  asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte{0x0c, 0x05, 'a', 'd', 'm', 'i', 'n'}},
		}},
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	return sans.Value
}

// swapKey puts another public key into a CSR and leaves its signature.
func swapKey(t *testing.T, text []byte, key *ecdsa.PublicKey) []byte {
	t.Helper()
	csr, err := ParseCSR(text)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	der := bytes.Replace(csr.Raw, csr.RawSubjectPublicKeyInfo, other, 1)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestDecideWaits(t *testing.T) {
	ledger := func(status metav1.ConditionStatus, reason string) func(*Facts) {
		return func(f *Facts) { f.User.Status.Conditions = []metav1.Condition{mappingRecorded(status, reason)} }
	}
	for name, test := range map[string]struct {
		reason string
		do     func(*Facts)
	}{
		"ledger silent": {ReasonNotRecorded, func(f *Facts) { f.User.Status.Conditions = nil }},
		"ledger speaks of something else": {ReasonNotRecorded, func(f *Facts) {
			f.User.Status.Conditions[0].Type = v1alpha1.ConditionCertificateReady
		}},
		"ledger undecided":                 {ReasonNotRecorded, ledger(metav1.ConditionFalse, v1alpha1.ReasonPending)},
		"principal is another's":           {ReasonNotRecorded, ledger(metav1.ConditionFalse, v1alpha1.ReasonPrincipalConflict)},
		"subject is another's":             {ReasonNotRecorded, ledger(metav1.ConditionFalse, v1alpha1.ReasonConflict)},
		"principal is a former owner's":    {ReasonNotRecorded, ledger(metav1.ConditionFalse, v1alpha1.ReasonReserved)},
		"condition with an unknown status": {ReasonNotRecorded, ledger(metav1.ConditionUnknown, v1alpha1.ReasonReady)},
		"issuer not there":                 {v1alpha1.ReasonIssuerNotFound, func(f *Facts) { f.Issuer = nil }},
		"cluster not there":                {v1alpha1.ReasonClusterNotFound, func(f *Facts) { f.Cluster = nil }},
		"suspended":                        {v1alpha1.ReasonSuspended, func(f *Facts) { f.User.Spec.Suspend = true }},
		"user of another MeshIssuer":       {ReasonOtherIssuer, func(f *Facts) { f.Cluster.Spec.Certificates.IssuerRef.Name = "other" }},
		"user of a stock issuer": {ReasonOtherIssuer, func(f *Facts) {
			f.User.Spec.Certificate = &v1alpha1.UserCertificate{IssuerRef: &v1alpha1.IssuerReference{Kind: "ClusterIssuer", Group: "cert-manager.io", Name: "mesh"}}
		}},
		"trust domain of the mesh": {ReasonDeclarationInvalid, func(f *Facts) { f.Cluster.Spec.MeshTrustDomain = "kafka.signet.dev" }},
		"secret redirected":        {ReasonCertificateDiffers, func(f *Facts) { f.Certificate.Spec.SecretName = "stolen" }},
		"keystore added":           {ReasonCertificateDiffers, func(f *Facts) { f.Certificate.Spec.Keystores = &cmv1.CertificateKeystores{} }},
		"keystore not there yet": {ReasonCertificateDiffers, func(f *Facts) {
			f.User.Spec.Certificate = &v1alpha1.UserCertificate{Keystores: v1alpha1.KeystoreFormats()}
		}},
		"declaration changed": {ReasonCertificateDiffers, func(f *Facts) { f.Cluster.Spec.Certificates.Duration.Duration = 2 * time.Hour }},
	} {
		t.Run(name, func(t *testing.T) {
			f := honest(t, p256(t))
			test.do(&f)
			grant, refusal := decide(f)
			if grant != nil || refusal == nil || refusal.Kind != Wait || refusal.Reason != test.reason {
				t.Fatalf("granted %v, refused %v, want to wait for %s", grant, refusal, test.reason)
			}
			if test.reason != ReasonNotRecorded {
				return
			}
			if !strings.Contains(refusal.Answer, "kafkauser shop/orders") {
				t.Errorf("the requester is not told whose principal: %s", refusal.Answer)
			}
			if c := f.User.Status.Conditions; len(c) > 0 && c[0].Type == v1alpha1.ConditionMappingRecorded && !strings.Contains(refusal.Answer, c[0].Message) {
				t.Errorf("the requester is not told why: %s", refusal.Answer)
			}
		})
	}
}

// TestAttackersLearnNothingOfTheLedger holds that who is denied for good is told so, whatever the ledger says.
func TestAttackersLearnNothingOfTheLedger(t *testing.T) {
	f := honest(t, p256(t))
	f.User.Status.Conditions = []metav1.Condition{mappingRecorded(metav1.ConditionFalse, v1alpha1.ReasonPrincipalConflict)}
	f.Request.Spec.Username = "jane"
	if grant, refusal := decide(f); grant != nil || refusal == nil || refusal.Reason != ReasonRequester || refusal.Answer != opaque {
		t.Errorf("granted %v, refused %v", grant, refusal)
	}
}

func TestTenYearsAreCut(t *testing.T) {
	f := honest(t, p256(t))
	f.Request.Spec.Duration = &metav1.Duration{Duration: 10 * 365 * 24 * time.Hour}
	grant, refusal := decide(f)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if grant.Duration != 24*time.Hour {
		t.Errorf("granted %s", grant.Duration)
	}
}

func TestTemplateTimes(t *testing.T) {
	grant, refusal := decide(honest(t, p256(t)))
	if refusal != nil {
		t.Fatal(refusal)
	}
	for name, test := range map[string]struct {
		caFrom, caTo    time.Duration // relative to now
		from, to        time.Duration
		refused         bool
		atLeast, atMost time.Duration // from notBefore to notAfter
	}{
		"long-lived CA":            {-1000 * time.Hour, 1000 * time.Hour, -2 * time.Minute, 6 * time.Hour, false, 0, 0},
		"CA ends first":            {-1000 * time.Hour, time.Hour, -2 * time.Minute, time.Hour, false, 0, 0},
		"CA was made a moment ago": {-time.Second, 1000 * time.Hour, -time.Second, 6 * time.Hour, false, 0, 0},
		"CA has ten minutes":       {-1000 * time.Hour, 10 * time.Minute, -2 * time.Minute, 10 * time.Minute, false, 0, 0},
		"CA has five minutes":      {-1000 * time.Hour, 5 * time.Minute, 0, 0, true, 0, 0},
		"CA expired":               {-1000 * time.Hour, -time.Hour, 0, 0, true, 0, 0},
		"CA of the future":         {time.Minute, 1000 * time.Hour, 0, 0, true, 0, 0},
		"an hour from notBefore":   {-1000 * time.Hour, 1000 * time.Hour, -2 * time.Minute, 58 * time.Minute, false, time.Hour, time.Hour},
		"at most a day":            {-1000 * time.Hour, 1000 * time.Hour, -2 * time.Minute, 6 * time.Hour, false, time.Hour, 24 * time.Hour},
		"CA too short for an hour": {-1000 * time.Hour, 57 * time.Minute, 0, 0, true, time.Hour, 24 * time.Hour},
		"CA has just the hour":     {-1000 * time.Hour, 58 * time.Minute, -2 * time.Minute, 58 * time.Minute, false, time.Hour, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			grant := *grant
			grant.MinValidity, grant.MaxValidity = test.atLeast, test.atMost
			c, refusal := Template(grant, big.NewInt(1), testNow.Add(test.caFrom), testNow.Add(test.caTo), testNow)
			if test.refused {
				if refusal == nil || refusal.Kind != Wait || refusal.Reason != v1alpha1.ReasonCAExpired {
					t.Fatalf("got %v, %v", c, refusal)
				}
				return
			}
			if refusal != nil {
				t.Fatal(refusal)
			}
			if !c.NotBefore.Equal(testNow.Add(test.from)) || !c.NotAfter.Equal(testNow.Add(test.to)) {
				t.Errorf("valid from %s to %s", c.NotBefore, c.NotAfter)
			}
		})
	}
}

// TestEncodeLabels holds that the fast encoding of a subject is the one that the principal's package makes.
func TestEncodeLabels(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := mathrand.New(mathrand.NewPCG(seed, 0))
	label := func() string {
		text := make([]byte, 1+r.IntN(63))
		for i := range text {
			text[i] = letters[r.IntN(len(letters))]
		}
		return string(text)
	}
	long := strings.Repeat("a", 63)
	subjects := []principal.UserSubject{{Namespace: "shop", Name: "orders", Organization: "signet"}, {Namespace: long, Name: long, Organization: long}, {Namespace: "a", Name: "b", Organization: "c"}}
	for range 2000 {
		subjects = append(subjects, principal.UserSubject{Namespace: label(), Name: label(), Organization: label()})
	}
	for _, s := range subjects {
		want, err := s.RawDER()
		if err != nil {
			t.Fatal(err)
		}
		if got := encodeLabels(s); !bytes.Equal(got, want) {
			t.Fatalf("%s: %x, want %x", s, got, want)
		}
	}
	for _, odd := range []string{"", "a.b", "a b", "é", "a_b", "a=b", "a,b", long + "a"} {
		s := principal.UserSubject{Namespace: "shop", Name: odd, Organization: "signet"}
		if encodeLabels(s) != nil {
			t.Errorf("%q is taken for a label", odd)
		}
		want, err := s.RawDER()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := newIdentity(s, nil); err != nil || !bytes.Equal(got.RawSubject, want) {
			t.Errorf("%q: %x, %v", odd, got.RawSubject, err)
		}
	}
}

func FuzzParseCSR(f *testing.F) {
	want := honest(f, p256(f))
	f.Add(want.Request.Spec.Request)
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		facts := want
		facts.Request = want.Request.DeepCopy()
		facts.Request.Spec.Request = text
		grant, refusal := decide(facts)
		if (grant == nil) == (refusal == nil) {
			t.Fatal("neither granted nor refused, or both")
		}
		if grant != nil && (grant.Identity.Subject != "CN=orders,OU=shop,O=signet" || CheckPublicKey(grant.PublicKey, nil, nil) != nil) {
			t.Fatalf("granted %+v", grant)
		}
		if refusal != nil && strings.Contains(refusal.Answer, "PRIVATE KEY") {
			t.Fatal("the answer repeats the input")
		}
	})
}
