// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
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
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("malformed certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed with its own key: %w", err)
	}
	return csr, nil
}

// checkPublicKey admits ECDSA on P-256 and P-384: what Signet asks cert-manager for, and all that Kafka's Java client,
// librdkafka and franz-go load alike (the first loads no Ed25519 key).
func checkPublicKey(key crypto.PublicKey) error {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return fmt.Errorf("the key is a %T; ECDSA on P-256 or P-384 is needed", key)
	}
	if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
		return fmt.Errorf("the key is on curve %s; P-256 or P-384 is needed", k.Params().Name)
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
	names := 0
	for _, extension := range csr.Extensions {
		var err error
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
			return err
		}
	}
	if names != 1 {
		return fmt.Errorf("it has %d subjectAltName extensions, not the one with %s", names, want.URI)
	}
	return nil
}

// The DER values of the extensions that an honest request may carry.
var (
	keyUsageDigitalSignature = []byte{0x03, 0x02, 0x07, 0x80}
	extKeyUsageClientAuth    = []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02}
	basicConstraintsNotCA    = []byte{0x30, 0x00}
)

// checkSAN compares a subjectAltName extension with the encoding of exactly one URI (RFC 5280 section 4.2.1.6, tag 6).
func checkSAN(value []byte, want *url.URL) error {
	expected, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(want.String())}})
	if err != nil {
		return fmt.Errorf("encode the expected SAN: %w", err)
	}
	if !bytes.Equal(value, expected) {
		return fmt.Errorf("its subjectAltName is not exactly the URI %s", want)
	}
	return nil
}
