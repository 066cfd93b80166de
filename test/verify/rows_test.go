// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
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
	"testing"
	"time"

	"github.com/signet-kafka/signet/certs"
)

// trustDomain is Signet's, meshDomain the mesh's.
const (
	trustDomain = "kafka.signet.dev"
	meshDomain  = "cluster.local"
)

// use is what a certificate is presented for.
type use string

const (
	asClient use = "client" // to a broker or a sidecar
	asServer use = "server" // to a Kafka client, in the place of a broker
)

// verdict is what the test demands of all four verifiers. Where it demands nothing the verifiers may differ: the golden file
// says how, and the row what covers it.
type verdict string

const (
	accepted verdict = "accepted"
	refused  verdict = "refused"
	differs  verdict = ""
)

// row is one certificate that is signed with the key of Signet's intermediate.
type row struct {
	name string // of files
	what string // as the table says it
	use  use
	want verdict
	// cover says why it does no harm where a verifier accepts it.
	cover string
	// change makes the honest certificate what the row says.
	change func(*x509.Certificate)
	// below makes the certificates between Signet's intermediate and the leaf, the one next to the leaf first; nil where
	// the intermediate signs the leaf itself. See authority.
	below func(t *testing.T, intermediate authority) []authority
}

// authority is a certificate and its key.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

const (
	coverPrefix = "who reads SPIFFE IDs compares the whole prefix `spiffe://<trust domain>/`, as Istio and Signet's principal builder do"
	coverNobody = "nobody takes an identity from it: Istio reads URIs, Signet's principal builder URIs and the subject, stock brokers the subject"
	coverCN     = "a CN with a dot is no KafkaUser's: no rule and no mapping of Signet's has one"
	coverServer = "let Kafka clients trust a `serverCA` of the brokers' own, not the mesh root"
)

// rows is the table.
func rows() []row {
	own := uri("spiffe://" + trustDomain + "/user/shop/orders")
	mesh := uri("spiffe://" + meshDomain + "/ns/bank/sa/ledger")
	serverNames := func(c *x509.Certificate, names ...string) {
		c.URIs, c.DNSNames, c.ExtKeyUsage = nil, names, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	return []row{
		{name: "honest", what: "a KafkaUser's certificate", use: asClient, want: accepted},
		{name: "honest-local", what: "a KafkaUser's certificate whose name is `local`", use: asClient, want: accepted, change: func(c *x509.Certificate) { c.Subject.CommonName = "local" }},
		{name: "mesh", what: "SPIFFE ID of a mesh workload", use: asClient, want: refused, change: func(c *x509.Certificate) { c.URIs = []*url.URL{mesh} }},
		{name: "own-and-mesh", what: "SPIFFE ID of a mesh workload after Signet's own", use: asClient, want: refused, change: func(c *x509.Certificate) { c.URIs = []*url.URL{own, mesh} }},
		{name: "mesh-and-own", what: "SPIFFE ID of a mesh workload before Signet's own", use: asClient, want: refused, change: func(c *x509.Certificate) { c.URIs = []*url.URL{mesh, own} }},
		{name: "foreign", what: "SPIFFE ID of a third trust domain", use: asClient, want: refused, change: func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://example.org/ns/bank/sa/ledger")} }},
		{name: "subdomain", what: "SPIFFE ID of the trust domain `mesh." + trustDomain + "`", use: asClient, cover: "do not give a mesh a trust domain below Signet's", change: func(c *x509.Certificate) {
			c.URIs = []*url.URL{uri("spiffe://mesh." + trustDomain + "/ns/bank/sa/ledger")}
		}},
		{name: "userinfo", what: "`spiffe://" + trustDomain + ":x@" + meshDomain + "/…`", use: asClient, cover: coverPrefix, change: func(c *x509.Certificate) {
			c.URIs = []*url.URL{uri("spiffe://" + trustDomain + ":x@" + meshDomain + "/ns/bank/sa/ledger")}
		}},
		{name: "hostless", what: "URI without a host (`urn:…`)", use: asClient, cover: coverPrefix, change: func(c *x509.Certificate) { c.URIs = []*url.URL{uri("urn:mesh:ledger")} }},
		{name: "ipv4", what: "IPv4 address", use: asClient, want: refused, change: func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} }},
		{name: "ipv6", what: "IPv6 address", use: asClient, want: refused, change: func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("fd00::1")} }},
		{name: "email", what: "e-mail address", use: asClient, want: refused, change: func(c *x509.Certificate) { c.EmailAddresses = []string{"root@example.org"} }},
		{name: "dns-cluster", what: "DNS name `kafka.kafka.svc`", use: asClient, want: refused, change: func(c *x509.Certificate) { c.DNSNames = []string{"kafka.kafka.svc"} }},
		{name: "dns-cluster-long", what: "DNS name `kafka.kafka.svc.cluster.local`", use: asClient, want: refused, change: func(c *x509.Certificate) { c.DNSNames = []string{"kafka.kafka.svc.cluster.local"} }},
		{name: "dns-other", what: "DNS name `kafka.example.org`", use: asClient, cover: coverNobody, change: func(c *x509.Certificate) { c.DNSNames = []string{"kafka.example.org"} }},
		{name: "other-name", what: "name of another kind (otherName)", use: asClient, cover: coverNobody, change: func(c *x509.Certificate) {
			c.URIs, c.ExtraExtensions = nil, []pkix.Extension{otherName()}
		}},
		{name: "no-san", what: "no alternative name", use: asClient, cover: "it is no more than another KafkaUser, see below", change: func(c *x509.Certificate) { c.URIs = nil }},
		{name: "cn-cluster", what: "CN `kafka.kafka.svc`", use: asClient, cover: coverCN, change: func(c *x509.Certificate) { c.Subject.CommonName = "kafka.kafka.svc" }},
		{name: "cn-other", what: "CN `kafka.example.org`", use: asClient, cover: coverCN, change: func(c *x509.Certificate) { c.Subject.CommonName = "kafka.example.org" }},
		{name: "below", what: "signed by a CA below Signet's", use: asClient, want: refused, below: subordinate("another ca")},
		{name: "self-issued", what: "SPIFFE ID of a mesh workload, by a CA below Signet's with its name and no constraints", use: asClient, want: refused, change: func(c *x509.Certificate) { c.URIs = []*url.URL{mesh} }, below: subordinate("")},
		{name: "below-leaf", what: "signed by a KafkaUser's certificate", use: asClient, want: refused, below: func(t *testing.T, intermediate authority) []authority {
			issuer := honest()
			issuer.Subject.CommonName = "payments" // or it would look self-signed
			return []authority{sign(t, issuer, intermediate)}
		}},
		{name: "ten-years", what: "valid for ten years", use: asClient, cover: "its chain ends with Signet's intermediate, after `intermediateDuration` at the latest", change: func(c *x509.Certificate) { c.NotAfter = c.NotAfter.AddDate(10, 0, 0) }},
		{name: "another-user", what: "another KafkaUser", use: asClient, cover: "**nothing**: whoever has this key is every KafkaUser until this intermediate expires, or the root is no longer trusted", change: func(c *x509.Certificate) {
			c.Subject.CommonName, c.URIs = "payments", []*url.URL{uri("spiffe://" + trustDomain + "/user/shop/payments")}
		}},
		{name: "controller", what: "Signet's own administrator of Kafka (`O=signet-controller`)", use: asClient, cover: "**nothing**, as in the row before", change: func(c *x509.Certificate) {
			c.Subject = pkix.Name{Organization: []string{"signet-controller"}, OrganizationalUnit: []string{"kafka"}, CommonName: "kafka"}
			c.URIs = []*url.URL{uri("spiffe://" + trustDomain + "/controller/kafka/kafka")}
		}},

		{name: "honest-server", what: "a KafkaUser's certificate", use: asServer, want: refused},
		{name: "server-cluster", what: "serverAuth, DNS name `kafka.kafka.svc`", use: asServer, want: refused, change: func(c *x509.Certificate) { serverNames(c, "kafka.kafka.svc") }},
		{name: "server-cluster-cn", what: "serverAuth, CN `kafka.kafka.svc`", use: asServer, want: refused, change: func(c *x509.Certificate) {
			serverNames(c)
			c.URIs, c.Subject.CommonName = []*url.URL{own}, "kafka.kafka.svc"
		}},
		{name: "server-address", what: "serverAuth, IP address", use: asServer, want: refused, change: func(c *x509.Certificate) {
			serverNames(c)
			c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)}
		}},
		{name: "server-other", what: "serverAuth, DNS name `kafka.example.org`", use: asServer, cover: coverServer, change: func(c *x509.Certificate) { serverNames(c, "kafka.example.org") }},
		{name: "server-short", what: "serverAuth, DNS name `kafka`", use: asServer, cover: coverServer, change: func(c *x509.Certificate) { serverNames(c, "kafka") }},
		{name: "server-any", what: "no extended key usage, DNS name `kafka.example.org`", use: asServer, cover: coverServer, change: func(c *x509.Certificate) {
			serverNames(c, "kafka.example.org")
			c.ExtKeyUsage = nil
		}},
		{name: "server-self-issued", what: "serverAuth, DNS name `kafka.kafka.svc`, by a CA below Signet's with its name and no constraints", use: asServer, want: refused, change: func(c *x509.Certificate) { serverNames(c, "kafka.kafka.svc") }, below: subordinate("")},
	}
}

// honest is the certificate of a KafkaUser as Signet's issuer makes it.
func honest() *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"signet"}, OrganizationalUnit: []string{"shop"}, CommonName: "orders"},
		URIs:                  []*url.URL{uri("spiffe://" + trustDomain + "/user/shop/orders")},
		NotBefore:             now.Add(-2 * time.Minute),
		NotAfter:              now.Add(6 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
}

// subordinate returns what makes a CA below the intermediate, without any constraint. With an empty name it has the subject of
// the intermediate: such self-issued certificates do not count for the path length (RFC 5280 section 4.2.1.9).
func subordinate(name string) func(*testing.T, authority) []authority {
	return func(t *testing.T, intermediate authority) []authority {
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			NotBefore: intermediate.certificate.NotBefore, NotAfter: intermediate.certificate.NotAfter,
		}
		if name == "" {
			template.RawSubject = intermediate.certificate.RawSubject
			template.AuthorityKeyId = intermediate.certificate.SubjectKeyId // or it would look self-signed
		}
		return []authority{sign(t, template, intermediate)}
	}
}

// presented is a row's certificate and key.
type presented struct {
	row
	key crypto.Signer
	// chain is the leaf and what is above it, up to Signet's intermediate.
	chain []*x509.Certificate
}

// chainPEM is what a client or server sends.
func (p presented) chainPEM() []byte { return certs.EncodeCertificates(p.chain) }

// forge makes a mesh CA as Istio makes its own, an intermediate of Signet's below it, and the certificates of all rows.
func forge(t *testing.T) (mesh *certs.CA, all []presented) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{Organization: []string{meshDomain}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	mesh, err = certs.ParseCA(map[string][]byte{
		"ca-cert.pem":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"ca-key.pem":     pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		"cert-chain.pem": nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := certs.NewIntermediate(mesh, trustDomain, 90*24*time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	intermediate := authority{ca.Certificate, ca.Key}
	for _, r := range rows() {
		p, signer := presented{row: r}, intermediate
		if r.below != nil {
			between := r.below(t, intermediate)
			for _, a := range between {
				p.chain = append(p.chain, a.certificate)
			}
			signer = between[0]
		}
		leaf := honest()
		if r.change != nil {
			r.change(leaf)
		}
		signed := sign(t, leaf, signer)
		p.key = signed.key
		p.chain = append(append([]*x509.Certificate{signed.certificate}, p.chain...), ca.Intermediates...)
		all = append(all, p)
	}
	return mesh, all
}

// sign makes a key and signs a certificate for it with nothing but crypto/x509, as an attacker would.
func sign(t *testing.T, template *x509.Certificate, signer authority) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{c, key}
}

// otherName is a subjectAltName with one otherName, a user principal name, and nothing else.
func otherName() pkix.Extension {
	value := must(asn1.MarshalWithParams("ledger@bank", "utf8"))
	name := must(asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}))
	name = append(name, must(asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value}))...)
	return pkix.Extension{
		Id:    asn1.ObjectIdentifier{2, 5, 29, 17},
		Value: must(asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: name}})),
	}
}

func uri(text string) *url.URL { return must(url.Parse(text)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
