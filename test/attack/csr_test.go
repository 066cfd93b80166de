// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"slices"
	"testing"
	"time"
)

// The attributes of a subject (RFC 4519) and the extensions of a request (RFC 5280 section 4.2.1) that are asked for.
var (
	commonName         = asn1.ObjectIdentifier{2, 5, 4, 3}
	serialNumber       = asn1.ObjectIdentifier{2, 5, 4, 5}
	organization       = asn1.ObjectIdentifier{2, 5, 4, 10}
	organizationalUnit = asn1.ObjectIdentifier{2, 5, 4, 11}
	emailAttribute     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	userID             = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}

	subjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	keyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	extKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	basicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
)

// attribute is one attribute of a subject, in the string type of this tag.
func attribute(oid asn1.ObjectIdentifier, tag int, value string) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: oid, Value: asn1.RawValue{Tag: tag, Bytes: []byte(value)}}
}

// rdn is one relative distinguished name.
func rdn(attributes ...pkix.AttributeTypeAndValue) pkix.RelativeDistinguishedNameSET {
	return attributes
}

// printable is an RDN of one attribute, as Signet encodes it.
func printable(oid asn1.ObjectIdentifier, value string) pkix.RelativeDistinguishedNameSET {
	return rdn(attribute(oid, asn1.TagPrintableString, value))
}

// subjectOf is the subject of a KafkaUser, from the last RDN on.
func subjectOf(namespace, user string) pkix.RDNSequence {
	return pkix.RDNSequence{printable(organization, "signet"), printable(organizationalUnit, namespace), printable(commonName, user)}
}

// with is a subject with further RDNs.
func with(name pkix.RDNSequence, more ...pkix.RelativeDistinguishedNameSET) pkix.RDNSequence {
	return append(slices.Clone(name), more...)
}

// spiffeID is that of a KafkaUser.
func spiffeID(namespace, user string) string {
	return "spiffe://kafka.signet.dev/user/" + namespace + "/" + user
}

// istiod is the identity of the mesh that is worth most.
const istiod = "spiffe://cluster.local/ns/istio-system/sa/istiod-service-account"

// The general names of RFC 5280 section 4.2.1.6.
func generalName(tag int, value string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(value)}
}

func email(value string) asn1.RawValue { return generalName(1, value) }
func dns(value string) asn1.RawValue   { return generalName(2, value) }
func uri(value string) asn1.RawValue   { return generalName(6, value) }
func ip(value string) asn1.RawValue    { return generalName(7, value) }

// san is a subjectAltName extension.
func san(t *testing.T, names ...asn1.RawValue) pkix.Extension {
	t.Helper()
	return extension(t, subjectAltName, names)
}

func extension(t *testing.T, oid asn1.ObjectIdentifier, value any) pkix.Extension {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: oid, Value: der}
}

// request makes a certificate request (DER) and the key that it is for. A nil subject is an empty one.
func request(t *testing.T, name pkix.RDNSequence, extensions ...pkix.Extension) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := asn1.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: raw, ExtraExtensions: extensions}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func encodeRequest(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// parseChain reads certificates (PEM), the leaf first.
func parseChain(t *testing.T, text string) []*x509.Certificate {
	t.Helper()
	var chain []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		t.Fatalf("no certificate in %q", text)
	}
	return chain
}

// isHonest holds that a chain (PEM) leads to the mesh root and that everything in its leaf is what the KafkaUser is
// entitled to: its subject in Signet's own encoding, its SPIFFE ID as the only name, the key (where it is known), client
// authentication alone, and no more than this life.
func isHonest(t *testing.T, text, namespace, user string, key *ecdsa.PrivateKey, life time.Duration) {
	t.Helper()
	chain := parseChain(t, text)
	leaf := chain[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: meshRoots(t), Intermediates: pool(chain[1:]), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the chain of %s/%s does not lead to the mesh root: %v", namespace, user, err)
	}
	subject, err := asn1.Marshal(subjectOf(namespace, user))
	if err != nil {
		t.Fatal(err)
	}
	names := len(leaf.DNSNames) + len(leaf.IPAddresses) + len(leaf.EmailAddresses)
	switch {
	case string(leaf.RawSubject) != string(subject):
		t.Errorf("the subject is %x (%s), want %x", leaf.RawSubject, leaf.Subject, subject)
	case names > 0 || len(leaf.URIs) != 1 || leaf.URIs[0].String() != spiffeID(namespace, user):
		t.Errorf("the names are %v %v %v %v, want %s alone", leaf.URIs, leaf.DNSNames, leaf.IPAddresses, leaf.EmailAddresses, spiffeID(namespace, user))
	case leaf.IsCA || !leaf.BasicConstraintsValid:
		t.Error("it is a CA, or does not say that it is none")
	case leaf.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || len(leaf.UnknownExtKeyUsage) > 0:
		t.Errorf("it is for %b %v %v, want digitalSignature and clientAuth", leaf.KeyUsage, leaf.ExtKeyUsage, leaf.UnknownExtKeyUsage)
	case key != nil && !key.PublicKey.Equal(leaf.PublicKey):
		t.Error("it certifies another key")
	case leaf.NotAfter.Sub(leaf.NotBefore) > life+10*time.Minute: // it is backdated by minutes
		t.Errorf("it is valid for %s, want at most %s", leaf.NotAfter.Sub(leaf.NotBefore), life)
	case len(leaf.UnhandledCriticalExtensions) > 0:
		t.Errorf("it has the extensions %v", leaf.UnhandledCriticalExtensions)
	}
	known := []asn1.ObjectIdentifier{subjectAltName, keyUsage, extKeyUsage, basicConstraints, {2, 5, 29, 14}, {2, 5, 29, 35}}
	for _, e := range leaf.Extensions {
		if !slices.ContainsFunc(known, e.Id.Equal) {
			t.Errorf("it has the extension %s", e.Id)
		}
	}
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certificates {
		p.AddCert(c)
	}
	return p
}

// meshRoots are the roots that workloads of the mesh trust.
func meshRoots(t *testing.T) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM([]byte(get(t, "istio-system", "configmap", "istio-ca-root-cert").Data["root-cert.pem"])) {
		t.Fatal("ConfigMap istio-ca-root-cert holds no certificate")
	}
	return p
}
