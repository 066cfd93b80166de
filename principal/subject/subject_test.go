// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"bufio"
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

type attribute struct {
	oid   asn1.ObjectIdentifier
	tag   int
	value string
}

// der encodes RDNs in their encoded order, each a list of attributes, without sorting sets.
func der(t *testing.T, rdns ...[]attribute) []byte {
	t.Helper()
	marshal := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var name []byte
	for _, rdn := range rdns {
		var set []byte
		for _, a := range rdn {
			value := marshal(asn1.RawValue{Tag: a.tag, Bytes: []byte(a.value)})
			set = append(set, marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append(marshal(a.oid), value...)})...)
		}
		name = append(name, marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: set})...)
	}
	return marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: name})
}

var (
	oidCN    = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidO     = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidOU    = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidDC    = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	oidEmail = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

const utf8String = asn1.TagUTF8String

func printed(raw []byte) (string, error) {
	s, err := Parse(raw)
	return s.String(), err
}

func one(oid asn1.ObjectIdentifier, tag int, value string) []attribute {
	return []attribute{{oid, tag, value}}
}

func TestString(t *testing.T) {
	for _, c := range []struct {
		name string
		der  []byte
		want string
	}{
		{"empty subject", der(t), ""},
		{"last RDN first", der(t, one(oidO, utf8String, "signet"), one(oidOU, utf8String, "shop"), one(oidCN, utf8String, "orders")), "CN=orders,OU=shop,O=signet"},
		{"specials are escaped anywhere", der(t, one(oidCN, utf8String, `a,b=c+d<e>f#g;h"i\j`)), `CN=a\,b\=c\+d\<e\>f\#g\;h\"i\\j`},
		{"every leading and trailing space", der(t, one(oidCN, utf8String, "  a b  ")), `CN=\ \ a b\ \ `},
		{"only spaces", der(t, one(oidCN, utf8String, "  ")), `CN=\ \ `},
		{"NUL", der(t, one(oidCN, utf8String, "a\x00b")), `CN=a\00b`},
		{"UTF-8 stays raw", der(t, one(oidCN, utf8String, "Bücher")), "CN=Bücher"},
		{"multi-valued RDN in encoded order", der(t, []attribute{{oidOU, utf8String, "b"}, {oidCN, utf8String, "a"}}), "OU=b+CN=a"},
		{"e-mail is an OID with its DER", der(t, one(oidEmail, asn1.TagIA5String, "a@b")), "1.2.840.113549.1.9.1=#1603614062"},
		{"a UniversalString is no text to Java", der(t, one(oidOU, 28, "Z<")), "OU=#1c025a3c"},
		{"a BMPString is garbled", der(t, one(oidCN, 30, "\x00a\x00b")), `CN=\00a\00b`},
		{"octets that are no UTF-8, one by one", der(t, one(oidCN, utf8String, "\xff\xfe")), "CN=\uFFFD\uFFFD"},
		{"a truncated sequence", der(t, one(oidCN, utf8String, "\xe2\x82")), "CN=\uFFFD"},
		{"a surrogate", der(t, one(oidCN, utf8String, "\xed\xa0\x80")), "CN=\uFFFD"},
		{"an overlong sequence", der(t, one(oidCN, utf8String, "\xe0\x80\x80")), "CN=\uFFFD\uFFFD\uFFFD"},
		{"domain component", der(t, one(oidDC, asn1.TagIA5String, "org")), "DC=org"},
		{"a keyword with a value that is no string", der(t, one(oidCN, asn1.TagOctetString, "a")), "CN=#040161"},
		{"an RDN that imitates ours stays one attribute", der(t, one(oidCN, utf8String, "orders,OU=shop,O=signet")), `CN=orders\,OU\=shop\,O\=signet`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := printed(c.der)
			if err != nil || got != c.want {
				t.Fatalf("Parse = %q, %v; want %q", got, err, c.want)
			}
			if c.want != "" && !strings.ContainsRune(c.want, utf8.RuneError) {
				if err := Check(got); err != nil {
					t.Errorf("Check refuses what Java prints: %v", err)
				}
			}
		})
	}
}

func TestParseRefusesMalformedDER(t *testing.T) {
	good := der(t, one(oidCN, utf8String, "a"))
	for name, input := range map[string][]byte{
		"empty":         nil,
		"no sequence":   {0x05, 0x00},
		"trailing byte": append(bytes.Clone(good), 0),
		"truncated":     good[:len(good)-1],
		"empty set":     {0x30, 0x02, 0x31, 0x00},
	} {
		if got, err := printed(input); err == nil {
			t.Errorf("%s: Parse = %q, want an error", name, got)
		}
	}
}

func TestParseText(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "",
		"  ":                                    "",
		"CN=a,O=b":                              "CN=a,O=b",
		"cn=a, o=b":                             "CN=a,O=b",
		"CN = a ; O = b":                        "CN=a,O=b",
		"OID.2.5.4.3=a,2.5.4.10=b":              "CN=a,O=b",
		`CN="a,b",O=c`:                          `CN=a\,b,O=c`,
		`CN="a\"b" , O=c`:                       `CN=a\"b,O=c`,
		`CN=a\2Cb`:                              `CN=a\,b`,
		`CN=B\C3\BCcher`:                        "CN=Bücher",
		`CN=\ a\ `:                              `CN=\ a\ `,
		`CN=a\00b`:                              `CN=a\00b`,
		"OU=b + CN=a":                           "OU=b+CN=a",
		"CN=a=b#c":                              `CN=a\=b\#c`,
		"CN=#0c0161":                            "CN=a",
		"CN=#040161":                            "CN=#040161",
		"CN=":                                   "CN=",
		"1.2.840.113549.1.9.1=#1603614062,CN=a": "1.2.840.113549.1.9.1=#1603614062,CN=a",
	} {
		got, err := ParseText(text)
		if err != nil || got.String() != want {
			t.Errorf("ParseText(%q) prints %q, %v; want %q", text, got, err, want)
		}
	}
	reversed, err := ParseText("CN=a,OU=b,O=c")
	if rdns := reversed.RDNs(); err != nil || len(rdns) != 3 || rdns[0][0].Type != "2.5.4.10" || rdns[0][0].Text() != "c" {
		t.Errorf("RDNs are not in encoded order: %+v, %v", reversed, err)
	}
}

func TestCheckRefuses(t *testing.T) {
	for text, part := range map[string]string{
		"":                                   "empty",
		"orders":                             "keyword=value",
		"CN=a, OU=b":                         `"CN=a,OU=b"; write it so`,
		"cn=a":                               `"CN=a"; write it so`,
		"EMAILADDRESS=a@b":                   "OID=#hex",
		"1.2.840.113549.1.9.1=a@b":           "hexadecimal",
		"CN=a;O=b":                           `"CN=a,O=b"; write it so`,
		"CN=a<b":                             `write it as \<`,
		"CN=a=b":                             `\\=b`,
		`CN=a\x`:                             "escapes nothing",
		`CN=a\`:                              "escapes nothing",
		"CN= a":                              "write it so",
		"CN=a ,O=b":                          "write it so",
		"1.2.840.113549.1.9.1=#1Z":           "hexadecimal",
		"1.2.840.113549.1.9.1=#16":           "DER element",
		"CN=#0C0161":                         "write it so",
		"CN=a,":                              "keyword=value",
		`CN="a`:                              "closing quotation mark",
		`CN="a"b`:                            "behind its closing",
		"CN=a\xff":                           "UTF-8",
		`CN=\FF`:                             "UTF-8",
		"CN=a\uFFFD":                         "read alike",
		"CN=" + strings.Repeat("a", MaxText): "more than",
	} {
		err := Check(text)
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Check(%.40q) = %v, want an error with %q", text, err, part)
		}
	}
}

func FuzzParseText(f *testing.F) {
	f.Add("CN=orders,OU=shop,O=signet")
	f.Add(`CN=a\,b+OU=\ c,1.2.3=#0400`)
	f.Add(`CN="a;b"; O = c`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseText(text)
		if err != nil {
			return
		}
		again, err := ParseText(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("ParseText(%q) prints %q, which reads back as %q, %v", text, s, again, err)
		}
		if !s.IsEmpty() && !strings.ContainsRune(text, utf8.RuneError) && !strings.ContainsRune(s.String(), utf8.RuneError) && Check(s.String()) != nil {
			t.Fatalf("Check refuses %q, what ParseText(%q) prints: %v", s, text, Check(s.String()))
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0x30, 0x00})
	f.Add([]byte{0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, 0x61})
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Parse(raw)
		if err != nil {
			if s.String() != "" {
				t.Fatalf("Parse(%x) errs and returns %q", raw, s)
			}
			return
		}
		again, err := ParseText(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("Parse(%x) prints %q, which reads back as %q, %v", raw, s, again, err)
		}
	})
}

// TestPrintsWhatJavaPrints compares with javax.security.auth.x500.X500Principal itself, over seeded random names.
func TestPrintsWhatJavaPrints(t *testing.T) {
	java, err := exec.LookPath("java")
	if err != nil {
		t.Fatalf("this test needs a JDK 17 on the PATH: %v", err)
	}
	const seed, count = 20261122, 200000
	random := rand.New(rand.NewPCG(seed, 1))
	oids := []asn1.ObjectIdentifier{oidCN, oidO, oidOU, oidDC, oidEmail, {2, 5, 4, 6}, {2, 5, 4, 7}, {2, 5, 4, 8}, {2, 5, 4, 9}, {2, 5, 4, 5}, {0, 9, 2342, 19200300, 100, 1, 1}}
	// UTF8, Numeric, Printable, T61, IA5, Visible, General, Universal and BMP string, octet string, integer, null, OID.
	tags := []int{12, 12, 18, 19, 20, 22, 26, 27, 28, 30, 4, 2, 5, 6}
	letters := []string{"a", "Z", "9", " ", ",", "=", "+", "<", ">", "#", ";", `"`, `\`, "-", ".", "/", "@", "*", "_", "$", "\x00", "\t", "\r"}
	multibyte := []string{"é", "€", "𝄞", "\uFFFD", "\u0085", "\u2028"}
	broken := []string{"\xff", "\xc3", "\xe2\x82", "\xf0\x9d\x84", "\xed\xa0\x80", "\xed\xb0\x80", "\xc0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xf8", "\x80", "\xef\xbf", "\xf0\x80\x80\x80", "\xed\xa0"}
	var input bytes.Buffer
	var names [][]byte
	for range count {
		var rdns [][]attribute
		for range random.IntN(4) {
			var set []attribute
			for range 1 + random.IntN(5)/4 {
				a := attribute{oid: oids[random.IntN(len(oids))], tag: tags[random.IntN(len(tags))]}
				for range random.IntN(8) {
					a.value += letters[random.IntN(len(letters))]
					switch random.IntN(12) {
					case 0, 1:
						a.value += multibyte[random.IntN(len(multibyte))]
					case 2:
						a.value += broken[random.IntN(len(broken))]
					}
				}
				set = append(set, a)
			}
			rdns = append(rdns, set)
		}
		name := der(t, rdns...)
		names = append(names, name)
		input.WriteString(hex.EncodeToString(name) + "\n")
	}
	cmd := exec.Command(java, "-XX:TieredStopAtLevel=1", "testdata/PrintSubjects.java")
	cmd.Stdin = &input
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("java: %v\n%s", err, complaints.Bytes())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for i, name := range names {
		if !lines.Scan() {
			t.Fatalf("java printed %d of %d names", i, count)
		}
		want, err := hex.DecodeString(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		got, err := printed(name)
		if err != nil || got != string(want) {
			t.Fatalf("seed %d, name %d (%x): Parse = %q, %v; Java prints %q", seed, i, name, got, err, want)
		}
		if len(want) > 0 && !strings.ContainsRune(got, utf8.RuneError) {
			if err := Check(got); err != nil {
				t.Fatalf("seed %d, name %d: Check refuses what Java prints: %v", seed, i, err)
			}
		}
	}
}
