// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/signet-kafka/signet/principal/subject"
)

// maxCSRBytes bounds a request's CSR; an honest one has about 700 bytes.
const maxCSRBytes = 16 << 10

// The extensions that an honest request carries (RFC 5280 section 4.2.1).
var (
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
)

// Identity is the subject and the one SAN of a certificate.
type Identity struct {
	// RawSubject is the DER encoding of the subject.
	RawSubject []byte
	// Subject is the same as brokers print it (RFC 2253).
	Subject string
	// URI is the SPIFFE ID.
	URI *url.URL
}

// maxRSABits bounds the key whose signature is verified at all; the time that takes grows with its square.
const maxRSABits = 8192

// ParseCSR reads one PEM certificate request with nothing around it and verifies that its sender holds the private key
// (RFC 2986 section 4.2).
func ParseCSR(text []byte) (*x509.CertificateRequest, error) {
	if len(text) > maxCSRBytes {
		return nil, fmt.Errorf("the certificate request has %d bytes; at most %d are read", len(text), maxCSRBytes)
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil || (block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST"):
		return nil, errors.New("no PEM certificate request in it")
	case len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN")):
		return nil, errors.New("something stands before or after the certificate request")
	}
	csr, err := parseDER(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed with its own key: %w", err)
	}
	return csr, nil
}

// parseDER reads a certificate request; whether its sender holds the private key is for the caller to see.
func parseDER(der []byte) (*x509.CertificateRequest, error) {
	if len(der) > maxCSRBytes {
		return nil, fmt.Errorf("the certificate request has %d bytes; at most %d are read", len(der), maxCSRBytes)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("malformed certificate request: %w", err)
	}
	if key, ok := csr.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSABits {
		return nil, fmt.Errorf("the certificate request has an RSA key of %d bits; at most %d are read", key.N.BitLen(), maxRSABits)
	}
	return csr, nil
}

// checkEmpty tells whether a certificate request has a public key and nothing else: no subject, no attribute, hence no
// extension. The kubelet's are so.
func checkEmpty(csr *x509.CertificateRequest) error {
	// RFC 2986 section 4.1: version 0, an empty subject, the key, an empty set of attributes.
	expected := append([]byte{0x02, 0x01, 0x00, 0x30, 0x00}, csr.RawSubjectPublicKeyInfo...)
	expected = append(expected, 0xa0, 0x00)
	info := cryptobyte.String(csr.RawTBSCertificateRequest)
	var content cryptobyte.String
	if !info.ReadASN1(&content, cryptobyte_asn1.SEQUENCE) || !bytes.Equal(content, expected) {
		return errors.New("the certificate request asks for something beside its key to be certified; it has to be empty, as the kubelet makes it")
	}
	return nil
}

// checkAsksFor tells whether a certificate request asks for this identity and no more. Nothing of what it asks for would
// reach the certificate; a request that asks for more is refused all the same, so that whoever made it learns of it, and
// no tool that trusts the request's text is misled. The subject and the SANs are compared as bytes, so that no form that
// a parser leaves out (otherName, a second CN, another string type) slips through.
func checkAsksFor(csr *x509.CertificateRequest, want Identity) error {
	if !bytes.Equal(csr.RawSubject, want.RawSubject) {
		return fmt.Errorf("it asks for the subject %.200q, the KafkaUser's is %q", csr.Subject.String(), want.Subject)
	}
	names, err := checkExtensions(csr, want)
	if err != nil {
		return err
	}
	if names != 1 {
		return fmt.Errorf("it has %d subjectAltName extensions, not the one with %s", names, want.URI)
	}
	return nil
}

// checkAsksAtMostFor is checkAsksFor for requests that people make with tools of their own: the subject and the SAN may
// be missing, and the subject may be encoded in other string types as long as brokers print it the same.
func checkAsksAtMostFor(csr *x509.CertificateRequest, want Identity) error {
	if !bytes.Equal(csr.RawSubject, want.RawSubject) {
		asked, err := subject.Parse(csr.RawSubject)
		if err != nil {
			return fmt.Errorf("its subject is malformed: %w", err)
		}
		if !asked.IsEmpty() && asked.String() != want.Subject {
			return fmt.Errorf("it asks for the subject %.200q, the KafkaUser's is %q", asked.String(), want.Subject)
		}
	}
	names, err := checkExtensions(csr, want)
	if err != nil {
		return err
	}
	if names > 1 {
		return fmt.Errorf("it has %d subjectAltName extensions", names)
	}
	return nil
}

// checkExtensions refuses every extension that asks for more than the identity's certificate will have, and returns how
// many of them are subjectAltNames.
func checkExtensions(csr *x509.CertificateRequest, want Identity) (names int, err error) {
	for _, extension := range csr.Extensions {
		switch {
		case extension.Id.Equal(oidSubjectAltName):
			names++
			err = checkSAN(extension.Value, want.URI)
		case extension.Id.Equal(oidKeyUsage):
			if !bytes.Equal(extension.Value, keyUsageDigitalSignature) {
				err = errors.New("it asks for a key usage beyond digitalSignature")
			}
		case extension.Id.Equal(oidExtKeyUsage):
			if !bytes.Equal(extension.Value, extKeyUsageClientAuth) {
				err = errors.New("it asks for an extended key usage other than clientAuth")
			}
		case extension.Id.Equal(oidBasicConstraints):
			if !bytes.Equal(extension.Value, basicConstraintsNotCA) {
				err = errors.New("it asks to be a CA")
			}
		default:
			err = fmt.Errorf("it has the extension %s", extension.Id)
		}
		if err != nil {
			return names, err
		}
	}
	return names, nil
}

// The DER values of the extensions that an honest request may carry.
var (
	keyUsageDigitalSignature = []byte{0x03, 0x02, 0x07, 0x80}
	extKeyUsageClientAuth    = []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02}
	basicConstraintsNotCA    = []byte{0x30, 0x00}
)

// checkSAN tells whether a subjectAltName extension is exactly one URI (RFC 5280 section 4.2.1.6, tag 6), in DER.
func checkSAN(value []byte, want *url.URL) error {
	extension := cryptobyte.String(value)
	var names, uri cryptobyte.String
	if !extension.ReadASN1(&names, cryptobyte_asn1.SEQUENCE) || !extension.Empty() ||
		!names.ReadASN1(&uri, cryptobyte_asn1.Tag(6).ContextSpecific()) || !names.Empty() || string(uri) != want.String() {
		return fmt.Errorf("its subjectAltName is not exactly the URI %s", want)
	}
	return nil
}
