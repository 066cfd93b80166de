// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// keywords are the attribute types that javax.security.auth.x500.X500Principal.getName() prints by name (RFC 2253
// section 2.3); every other type is printed as OID=#hex.
var keywords = map[string]string{
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

// The ASN.1 string types whose values Java prints as text, beside those that cryptobyte names. Their octets are read
// as UTF-8 whatever the type says, as Java does (which garbles a BMPString; brokers see the garbled text).
const (
	tagTeletexString   = cryptobyte_asn1.Tag(20)
	tagGeneralString   = cryptobyte_asn1.Tag(27)
	tagUniversalString = cryptobyte_asn1.Tag(28)
	tagBMPString       = cryptobyte_asn1.Tag(30)
)

// escaped are the characters that RFC 2253 section 2.4 and Java put a backslash before, wherever they stand.
const escaped = `,=+<>#;"\`

var errMalformedSubject = errors.New("malformed X.501 name")

// SubjectString prints a DER-encoded X.501 name (a certificate's RawSubject) byte for byte as Java's
// X500Principal.getName() does, which is what Kafka's ssl.principal.mapping.rules are matched against: RFC 2253, last
// RDN first. An empty name is "". Go's pkix.Name.String differs and must not be used for this.
func SubjectString(rawSubject []byte) (string, error) {
	input := cryptobyte.String(rawSubject)
	var name cryptobyte.String
	if !input.ReadASN1(&name, cryptobyte_asn1.SEQUENCE) || !input.Empty() {
		return "", errMalformedSubject
	}
	var rdns []string
	for !name.Empty() {
		var set cryptobyte.String
		if !name.ReadASN1(&set, cryptobyte_asn1.SET) || set.Empty() {
			return "", errMalformedSubject
		}
		var attributes []string
		for !set.Empty() {
			attribute, err := readAttribute(&set)
			if err != nil {
				return "", err
			}
			attributes = append(attributes, attribute)
		}
		rdns = append(rdns, strings.Join(attributes, "+"))
	}
	for i, j := 0, len(rdns)-1; i < j; i, j = i+1, j-1 {
		rdns[i], rdns[j] = rdns[j], rdns[i]
	}
	return strings.Join(rdns, ","), nil
}

func readAttribute(set *cryptobyte.String) (string, error) {
	var attribute, value cryptobyte.String
	var oid asn1.ObjectIdentifier
	var tag cryptobyte_asn1.Tag
	if !set.ReadASN1(&attribute, cryptobyte_asn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&oid) {
		return "", errMalformedSubject
	}
	element := attribute
	if !attribute.ReadAnyASN1(&value, &tag) || !attribute.Empty() {
		return "", errMalformedSubject
	}
	keyword, known := keywords[oid.String()]
	if !known || !isText(tag) {
		if !known {
			keyword = oid.String()
		}
		return keyword + "=#" + hex.EncodeToString(element), nil
	}
	return keyword + "=" + escapeValue(string(value)), nil
}

func isText(tag cryptobyte_asn1.Tag) bool {
	switch tag {
	case cryptobyte_asn1.PrintableString, cryptobyte_asn1.UTF8String, cryptobyte_asn1.IA5String,
		tagTeletexString, tagGeneralString, tagUniversalString, tagBMPString:
		return true
	}
	return false
}

// escapeValue follows sun.security.x509.AVA.toRFC2253String: special characters anywhere, and each leading and
// trailing space or carriage return.
func escapeValue(value string) string {
	value = strings.ToValidUTF8(value, "\uFFFD")
	isEdge := func(c byte) bool { return c == ' ' || c == '\r' }
	lead, trail := 0, len(value)
	for lead < len(value) && isEdge(value[lead]) {
		lead++
	}
	for trail > 0 && isEdge(value[trail-1]) {
		trail--
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == 0:
			b.WriteString(`\00`)
			continue
		case strings.IndexByte(escaped, c) >= 0, i < lead, i >= trail:
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// CheckSubject tells whether text can be what SubjectString prints, that is, whether a broker could ever see it:
// attributes keyword=value or OID=#hex, joined by "," and "+", specials escaped. It errs with the reason and what to
// write instead. It accepts no empty subject.
func CheckSubject(text string) error {
	if text == "" {
		return errors.New("empty subject")
	}
	rest := text
	for {
		end, err := checkAttribute(rest)
		if err != nil {
			return fmt.Errorf("subject %q: %w", text, err)
		}
		if end == len(rest) {
			return nil
		}
		rest = rest[end+1:]
	}
}

// checkAttribute checks the attribute that text begins with, and returns the index of the separator behind it.
func checkAttribute(text string) (end int, err error) {
	attributeType, value, found := strings.Cut(text, "=")
	if !found {
		return 0, fmt.Errorf("%q is no attribute: write it as keyword=value", text)
	}
	if strings.HasPrefix(value, "#") {
		end = strings.IndexAny(value, ",+")
		if end < 0 {
			end = len(value)
		}
		raw, err := hex.DecodeString(value[1:end])
		if err != nil || len(raw) < 2 || strings.ToLower(value[:end]) != value[:end] {
			return 0, fmt.Errorf("the value of %s is no lower-case hexadecimal DER", attributeType)
		}
		return len(attributeType) + 1 + end, nil
	}
	if !isKeyword(attributeType) {
		return 0, fmt.Errorf("attribute type %q: Java prints it as OID=#hex; write it as `kubectl signet explain` or `openssl x509 -subject -nameopt RFC2253` of the certificate shows it (keywords are CN, C, L, ST, STREET, O, OU, DC and UID, without spaces after commas)", attributeType)
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\':
			if strings.HasPrefix(value[i+1:], "00") {
				i += 2
				continue
			}
			if i+1 == len(value) || (strings.IndexByte(escaped, value[i+1]) < 0 && value[i+1] != ' ' && value[i+1] != '\r') {
				return 0, fmt.Errorf("the value of %s has a backslash that escapes nothing", attributeType)
			}
			i++
		case c == ',' || c == '+':
			return len(attributeType) + 1 + i, checkEdges(attributeType, value[:i])
		case strings.IndexByte(escaped, c) >= 0:
			return 0, fmt.Errorf("the value of %s holds %q: write it as \\%c", attributeType, c, c)
		}
	}
	return len(text), checkEdges(attributeType, value)
}

func checkEdges(attributeType, value string) error {
	if strings.HasPrefix(value, " ") || (strings.HasSuffix(value, " ") && !strings.HasSuffix(value, `\ `)) {
		return fmt.Errorf("the value of %s begins or ends with a space: write it as \"\\ \"", attributeType)
	}
	return nil
}

func isKeyword(attributeType string) bool {
	for _, keyword := range keywords {
		if keyword == attributeType {
			return true
		}
	}
	return false
}
