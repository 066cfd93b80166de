// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"unicode"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/signet-kafka/signet/principal/mapping"
)

// Why a peer has no principal, beside what mapping.Refused says.
var (
	errNoCertificate = errors.New("the peer presented no certificate, or this Envoy does not tell it (attribute connection.peer_certificate, which Envoy 1.40 has): require client certificates on the listener")
	errCertificate   = errors.New("the peer's certificate cannot be read")
)

// DecodeCertificate returns the DER of a certificate as Envoy's attribute connection.peer_certificate has it: PEM, in
// which what a URL may not hold is percent-encoded.
func DecodeCertificate(text string) ([]byte, error) {
	if text == "" {
		return nil, errNoCertificate
	}
	// Envoy encodes the + of base64 too, so that it makes no difference that this leaves a bare + alone.
	decoded, err := url.PathUnescape(text)
	if err != nil {
		return nil, errCertificate
	}
	block, _ := pem.Decode([]byte(decoded))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errCertificate
	}
	return block.Bytes, nil
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// ReadCertificate returns what mapping needs of a certificate (RFC 5280 section 4.1): the DER of its subject and the
// URIs among its subject alternative names, octet for octet. Envoy has verified the certificate. crypto/x509 would do
// it too, with URIs that went through net/url; without it the filter is a seventh smaller, and starts sooner.
func ReadCertificate(der []byte) (mapping.Peer, error) {
	input := cryptobyte.String(der)
	var certificate, tbs, subject, extensions cryptobyte.String
	var hasExtensions bool
	if !input.ReadASN1(&certificate, cryptobyte_asn1.SEQUENCE) || !input.Empty() ||
		!certificate.ReadASN1(&tbs, cryptobyte_asn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(cryptobyte_asn1.Tag(0).Constructed().ContextSpecific()) || // version
		!tbs.SkipASN1(cryptobyte_asn1.INTEGER) || // serial number
		!tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) || // signature algorithm
		!tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) || // issuer
		!tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) || // validity
		!tbs.ReadASN1Element(&subject, cryptobyte_asn1.SEQUENCE) ||
		!tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) || // public key
		!tbs.SkipOptionalASN1(cryptobyte_asn1.Tag(1).ContextSpecific()) || // issuer's unique identifier
		!tbs.SkipOptionalASN1(cryptobyte_asn1.Tag(2).ContextSpecific()) || // subject's unique identifier
		!tbs.ReadOptionalASN1(&extensions, &hasExtensions, cryptobyte_asn1.Tag(3).Constructed().ContextSpecific()) ||
		!tbs.Empty() {
		return mapping.Peer{}, errCertificate
	}
	peer := mapping.Peer{Subject: subject}
	if !hasExtensions {
		return peer, nil
	}
	var list cryptobyte.String
	if !extensions.ReadASN1(&list, cryptobyte_asn1.SEQUENCE) || !extensions.Empty() {
		return mapping.Peer{}, errCertificate
	}
	names := 0
	for !list.Empty() {
		var extension, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !list.ReadASN1(&extension, cryptobyte_asn1.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&oid) ||
			!extension.SkipOptionalASN1(cryptobyte_asn1.BOOLEAN) ||
			!extension.ReadASN1(&value, cryptobyte_asn1.OCTET_STRING) || !extension.Empty() {
			return mapping.Peer{}, errCertificate
		}
		if !oid.Equal(oidSubjectAltName) {
			continue
		}
		uris, ok := readURIs(value)
		if names++; !ok || names > 1 {
			return mapping.Peer{}, errCertificate
		}
		peer.URIs = uris
	}
	return peer, nil
}

// readURIs returns the uniformResourceIdentifiers of an extension SubjectAltName (RFC 5280 section 4.2.1.6).
func readURIs(value cryptobyte.String) (uris []string, ok bool) {
	var names cryptobyte.String
	if !value.ReadASN1(&names, cryptobyte_asn1.SEQUENCE) || !value.Empty() {
		return nil, false
	}
	for !names.Empty() {
		var name cryptobyte.String
		var tag cryptobyte_asn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return nil, false
		}
		if tag == cryptobyte_asn1.Tag(6).ContextSpecific() {
			uris = append(uris, string(name))
		}
	}
	return uris, true
}

// identify returns the name of the principal of the peer that Envoy describes so.
func identify(set *mapping.Set, certificate string) (mapping.Entry, error) {
	der, err := DecodeCertificate(certificate)
	if err != nil {
		return mapping.Entry{}, err
	}
	peer, err := ReadCertificate(der)
	if err != nil {
		return mapping.Entry{}, err
	}
	entry, err := set.Principal(peer)
	if err != nil {
		return mapping.Entry{}, err
	}
	// Kafka's validator of tokens drops space around the claim (ClaimValidationUtils.sanitizeString), which would make
	// it another principal.
	if runes := []rune(entry.Name); unicode.IsSpace(runes[0]) || unicode.IsSpace(runes[len(runes)-1]) {
		return mapping.Entry{}, fmt.Errorf("principal %q begins or ends with a space, which kafka drops from tokens", entry.Name)
	}
	return entry, nil
}
