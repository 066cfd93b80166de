// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrMalformed is what Parse says of octets that are no DER encoding of an X.501 name.
var ErrMalformed = errors.New("malformed X.501 name")

// Subject is a distinguished name. The zero value is the empty subject.
type Subject struct {
	// rdns are in encoded order; text has them in reverse.
	rdns [][]Attribute
}

// Attribute is one type and value of an RDN.
type Attribute struct {
	// Type is the dotted object identifier.
	Type string
	// DER is the encoded value, tag and length included.
	DER []byte

	tag     cryptobyte_asn1.Tag
	content []byte
}

// keywordOf are the attribute types that Java prints by name (RFC 2253 section 2.3, and STREET and UID); every other
// type is printed as OID=#hex.
var keywordOf = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "STREET",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"0.9.2342.19200300.100.1.25": "DC",
	"0.9.2342.19200300.100.1.1":  "UID",
}

// The ASN.1 string types whose values Java prints as text, beside those that cryptobyte names; UniversalString,
// NumericString and VisibleString are none of them. Their octets are read
// as UTF-8 whatever the type says, as Java does (which garbles a BMPString; brokers see the garbled text).
const (
	tagTeletexString = cryptobyte_asn1.Tag(20)
	tagGeneralString = cryptobyte_asn1.Tag(27)
	tagBMPString     = cryptobyte_asn1.Tag(30)
)

func isText(tag cryptobyte_asn1.Tag) bool {
	switch tag {
	case cryptobyte_asn1.PrintableString, cryptobyte_asn1.UTF8String, cryptobyte_asn1.IA5String,
		tagTeletexString, tagGeneralString, tagBMPString:
		return true
	}
	return false
}

// Parse reads the DER encoding of a name, a certificate's RawSubject. It errs with ErrMalformed. The time taken is
// linear in the number of octets.
func Parse(raw []byte) (Subject, error) {
	input := cryptobyte.String(raw)
	var name cryptobyte.String
	if !input.ReadASN1(&name, cryptobyte_asn1.SEQUENCE) || !input.Empty() {
		return Subject{}, ErrMalformed
	}
	var s Subject
	for !name.Empty() {
		var set cryptobyte.String
		if !name.ReadASN1(&set, cryptobyte_asn1.SET) || set.Empty() {
			return Subject{}, ErrMalformed
		}
		var rdn []Attribute
		for !set.Empty() {
			var sequence cryptobyte.String
			var oid asn1.ObjectIdentifier
			if !set.ReadASN1(&sequence, cryptobyte_asn1.SEQUENCE) || !sequence.ReadASN1ObjectIdentifier(&oid) {
				return Subject{}, ErrMalformed
			}
			attribute, ok := newAttribute(oid.String(), sequence)
			if !ok {
				return Subject{}, ErrMalformed
			}
			rdn = append(rdn, attribute)
		}
		s.rdns = append(s.rdns, rdn)
	}
	return s, nil
}

// newAttribute takes one DER element.
func newAttribute(attributeType string, element []byte) (Attribute, bool) {
	input := cryptobyte.String(element)
	var content cryptobyte.String
	var tag cryptobyte_asn1.Tag
	if !input.ReadAnyASN1(&content, &tag) || !input.Empty() {
		return Attribute{}, false
	}
	return Attribute{Type: attributeType, DER: element, tag: tag, content: content}, true
}

// Text returns the value as Java reads it: as UTF-8, with U+FFFD for what is none. It means something only for the
// ASN.1 string types.
func (a Attribute) Text() string { return javaText(a.content) }

// RDNs returns the relative distinguished names in encoded order, which is the reverse of the text's.
func (s Subject) RDNs() [][]Attribute { return s.rdns }

// IsEmpty tells whether the subject has no RDN, as mesh certificates usually have.
func (s Subject) IsEmpty() bool { return len(s.rdns) == 0 }
