// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// escaped are the characters that RFC 2253 section 2.4 and Java put a backslash before, wherever they stand.
const escaped = `,=+<>#;"\`

// String prints the subject as X500Principal.getName() does. An empty subject is "".
func (s Subject) String() string {
	var b strings.Builder
	for i := len(s.rdns) - 1; i >= 0; i-- {
		for j, a := range s.rdns[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			a.print(&b)
		}
		if i > 0 {
			b.WriteByte(',')
		}
	}
	return b.String()
}

func (a Attribute) print(b *strings.Builder) {
	if keyword, known := keywordOf[a.Type]; known && isText(a.tag) {
		b.WriteString(keyword)
		b.WriteByte('=')
		escape(b, a.Text())
		return
	}
	name := a.Type
	if keyword, known := keywordOf[a.Type]; known {
		name = keyword
	}
	b.WriteString(name + "=#" + hex.EncodeToString(a.DER))
}

// escape follows sun.security.x509.AVA.toRFC2253String: special characters anywhere, and each leading and trailing
// space or carriage return.
func escape(b *strings.Builder, value string) {
	isEdge := func(c byte) bool { return c == ' ' || c == '\r' }
	lead, trail := 0, len(value)
	for lead < len(value) && isEdge(value[lead]) {
		lead++
	}
	for trail > 0 && isEdge(value[trail-1]) {
		trail--
	}
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
}

// javaText decodes octets as new String(octets, UTF_8) does in Java 17: every maximal malformed subpart becomes one
// U+FFFD, a surrogate in three octets becomes one, not three.
func javaText(octets []byte) string {
	if utf8.Valid(octets) {
		return string(octets)
	}
	var b strings.Builder
	for len(octets) > 0 {
		r, size := utf8.DecodeRune(octets)
		if r == utf8.RuneError && size == 1 {
			size = malformedLength(octets)
		}
		b.WriteRune(r)
		octets = octets[size:]
	}
	return b.String()
}

// malformedLength returns how many octets at the beginning of malformed UTF-8 Java replaces by one U+FFFD.
func malformedLength(octets []byte) int {
	at := func(i int) byte {
		if i < len(octets) {
			return octets[i]
		}
		return 0
	}
	continues := func(c byte) bool { return c&0xc0 == 0x80 }
	first, second := octets[0], at(1)
	switch {
	case first&0xf0 == 0xe0:
		switch {
		case !continues(second), first == 0xe0 && second < 0xa0:
			return 1
		case continues(at(2)): // a surrogate
			return 3
		}
		return 2
	case first >= 0xf0 && first <= 0xf4:
		switch {
		case !continues(second), first == 0xf0 && second < 0x90, first == 0xf4 && second > 0x8f:
			return 1
		case !continues(at(2)):
			return 2
		}
		return 3
	}
	return 1
}
