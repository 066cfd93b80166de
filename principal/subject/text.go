// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// MaxText bounds what ParseText reads, in bytes: a TLS certificate message has at most 16 MiB, but no CA issues
// subjects anywhere near this.
const MaxText = 64 << 10

var dottedOID = regexp.MustCompile(`^[0-2](\.(0|[1-9][0-9]{0,8})){1,30}$`)

// ParseText reads a name as RFC 4514 and RFC 2253 write it, the older forms of RFC 2253 section 4 included (";" for
// ",", quoted values, spaces around separators, OID. before a number) and with keywords in any case. What it returns
// prints as Java would print the certificate's name.
//
// It refuses a value in text for an attribute type that Java prints in hexadecimal: its ASN.1 type cannot be known.
func ParseText(text string) (Subject, error) {
	if len(text) > MaxText {
		return Subject{}, fmt.Errorf("subject has %d bytes, more than %d", len(text), MaxText)
	}
	if !utf8.ValidString(text) {
		return Subject{}, fmt.Errorf("subject %q is not UTF-8", text)
	}
	rest := strings.TrimLeft(text, " ")
	if rest == "" {
		return Subject{}, nil
	}
	var s Subject
	var rdn []Attribute
	for {
		attribute, separator, behind, err := parseAttribute(rest)
		if err != nil {
			return Subject{}, fmt.Errorf("subject %q: %w", text, err)
		}
		rdn = append(rdn, attribute)
		if separator != '+' {
			s.rdns, rdn = append(s.rdns, rdn), nil
		}
		if separator == 0 {
			break
		}
		rest = strings.TrimLeft(behind, " ")
	}
	for i, j := 0, len(s.rdns)-1; i < j; i, j = i+1, j-1 {
		s.rdns[i], s.rdns[j] = s.rdns[j], s.rdns[i]
	}
	return s, nil
}

// parseAttribute reads the attribute that text begins with, the separator (one of , ; + or 0 at the end) and what is
// behind it.
func parseAttribute(text string) (a Attribute, separator byte, behind string, err error) {
	name, value, found := strings.Cut(text, "=")
	if !found {
		return a, 0, "", fmt.Errorf("%q is no attribute: write it as keyword=value", text)
	}
	name = strings.TrimRight(name, " ")
	attributeType, known := typeOf(name)
	if attributeType == "" {
		return a, 0, "", fmt.Errorf("attribute type %q is none of CN, C, L, ST, STREET, O, OU, DC, UID: Java prints it as OID=#hex; copy it from the certificate: kubectl signet explain FILE.pem", name)
	}
	value = strings.TrimLeft(value, " ")
	if strings.HasPrefix(value, "#") {
		digits, separator, behind := cutValue(value)
		element, err := hex.DecodeString(strings.TrimRight(digits, " ")[1:])
		if err == nil {
			var ok bool
			if a, ok = newAttribute(attributeType, element); !ok {
				err = errors.New("not one DER element")
			}
		}
		if err != nil {
			return a, 0, "", fmt.Errorf("the value of %s is no hexadecimal DER: %w", name, err)
		}
		return a, separator, behind, nil
	}
	content, separator, behind, err := parseValue(value)
	if err != nil {
		return a, 0, "", fmt.Errorf("the value of %s %w", name, err)
	}
	if !known {
		return a, 0, "", fmt.Errorf("the value of %s has to be in hexadecimal, as Java prints it: copy it from the certificate: kubectl signet explain FILE.pem", name)
	}
	element, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: content})
	if err != nil {
		return a, 0, "", fmt.Errorf("encode the value of %s: %w", name, err)
	}
	a, _ = newAttribute(attributeType, element)
	return a, separator, behind, nil
}

// typeOf returns the object identifier of a keyword or of a dotted number, and whether Java prints it by keyword.
func typeOf(name string) (oid string, known bool) {
	if len(name) > 4 && strings.EqualFold(name[:4], "OID.") {
		name = name[4:]
	}
	if dottedOID.MatchString(name) {
		_, known = keywordOf[name]
		return name, known
	}
	for oid, keyword := range keywordOf {
		if strings.EqualFold(keyword, name) {
			return oid, true
		}
	}
	return "", false
}

// cutValue cuts at the first separator; there are no escapes in hexadecimal.
func cutValue(text string) (value string, separator byte, behind string) {
	if i := strings.IndexAny(text, ",;+"); i >= 0 {
		return text[:i], text[i], text[i+1:]
	}
	return text, 0, ""
}

// parseValue reads a value in text up to its separator.
func parseValue(text string) (content []byte, separator byte, behind string, err error) {
	if strings.HasPrefix(text, `"`) {
		return parseQuoted(text[1:])
	}
	kept := 0 // everything before this is part of the value even if it is a space
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			octet, width, err := unescape(text[i+1:])
			if err != nil {
				return nil, 0, "", err
			}
			content = append(content, octet)
			kept, i = len(content), i+width
		case ',', ';', '+':
			return trimSpaces(content, kept), c, text[i+1:], validText(content)
		case '"', '<', '>':
			return nil, 0, "", fmt.Errorf(`holds %q: write it as \%c`, c, c)
		default:
			content = append(content, c)
		}
	}
	return trimSpaces(content, kept), 0, "", validText(content)
}

// parseQuoted reads a value in quotation marks (RFC 1779, RFC 2253 section 4), behind the opening one.
func parseQuoted(text string) (content []byte, separator byte, behind string, err error) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			octet, width, err := unescape(text[i+1:])
			if err != nil {
				return nil, 0, "", err
			}
			content, i = append(content, octet), i+width
		case '"':
			rest := strings.TrimLeft(text[i+1:], " ")
			if rest == "" {
				return content, 0, "", validText(content)
			}
			if strings.IndexByte(",;+", rest[0]) < 0 {
				return nil, 0, "", fmt.Errorf("has %q behind its closing quotation mark", rest)
			}
			return content, rest[0], rest[1:], validText(content)
		default:
			content = append(content, c)
		}
	}
	return nil, 0, "", errors.New("has no closing quotation mark")
}

// unescape reads what is behind a backslash: a special character, or two hexadecimal digits.
func unescape(text string) (octet byte, width int, err error) {
	if text == "" {
		return 0, 0, errors.New("ends in a backslash that escapes nothing")
	}
	if strings.IndexByte(escaped, text[0]) >= 0 || text[0] == ' ' || text[0] == '\r' {
		return text[0], 1, nil
	}
	if len(text) >= 2 {
		if octets, err := hex.DecodeString(text[:2]); err == nil {
			return octets[0], 2, nil
		}
	}
	return 0, 0, errors.New("has a backslash that escapes nothing: a literal backslash is written \\\\")
}

// trimSpaces removes unescaped spaces at the end.
func trimSpaces(content []byte, kept int) []byte {
	end := len(content)
	for end > kept && content[end-1] == ' ' {
		end--
	}
	return content[:end]
}

func validText(content []byte) error {
	if !utf8.Valid(content) {
		return errors.New("is not UTF-8")
	}
	return nil
}

// Check tells whether text is what String prints, so that a broker could ever see it, and errs with what is wrong or
// what to write instead. It refuses the empty subject, which is nobody, and U+FFFD, which Java shows in place of
// octets that it cannot read: two different subjects would read alike.
func Check(text string) error {
	s, err := ParseText(text)
	if err != nil {
		return err
	}
	if s.IsEmpty() {
		return errors.New("empty subject")
	}
	if strings.ContainsRune(text, utf8.RuneError) {
		return fmt.Errorf("subject %q has U+FFFD, which brokers show for octets that are no UTF-8: different subjects read alike", text)
	}
	if printed := s.String(); printed != text {
		return fmt.Errorf("subject %q: brokers see it as %q; write it so", text, printed)
	}
	return nil
}
