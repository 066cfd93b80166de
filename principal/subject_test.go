// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"bufio"
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
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

func one(oid asn1.ObjectIdentifier, tag int, value string) []attribute {
	return []attribute{{oid, tag, value}}
}

func TestSubjectString(t *testing.T) {
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
		{"domain component", der(t, one(oidDC, asn1.TagIA5String, "org")), "DC=org"},
		{"a keyword with a value that is no string", der(t, one(oidCN, asn1.TagOctetString, "a")), "CN=#040161"},
		{"an RDN that imitates ours stays one attribute", der(t, one(oidCN, utf8String, "orders,OU=shop,O=signet")), `CN=orders\,OU\=shop\,O\=signet`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := SubjectString(c.der)
			if err != nil || got != c.want {
				t.Fatalf("SubjectString = %q, %v; want %q", got, err, c.want)
			}
			if c.want != "" {
				if err := CheckSubject(got); err != nil {
					t.Errorf("CheckSubject refuses what Java prints: %v", err)
				}
			}
		})
	}
}

func TestSubjectStringRefusesMalformedDER(t *testing.T) {
	good := der(t, one(oidCN, utf8String, "a"))
	for name, input := range map[string][]byte{
		"empty":         nil,
		"no sequence":   {0x05, 0x00},
		"trailing byte": append(bytes.Clone(good), 0),
		"truncated":     good[:len(good)-1],
		"empty set":     {0x30, 0x02, 0x31, 0x00},
	} {
		if got, err := SubjectString(input); err == nil {
			t.Errorf("%s: SubjectString = %q, want an error", name, got)
		}
	}
}

func TestUserSubjectPrintsAsItsCertificateDoes(t *testing.T) {
	s := UserSubject{Namespace: "shop", Name: "orders", Organization: "signet"}
	raw, err := s.RawDER()
	if err != nil {
		t.Fatal(err)
	}
	printed, err := SubjectString(raw)
	if err != nil || printed != s.String() {
		t.Fatalf("certificate prints %q, %v; String() is %q", printed, err, s)
	}
	var sequence pkix.RDNSequence
	if rest, err := asn1.Unmarshal(raw, &sequence); err != nil || len(rest) > 0 || len(sequence) != 3 {
		t.Fatalf("encoded as %v, %v", sequence, err)
	}
}

func TestCheckSubjectRefuses(t *testing.T) {
	for text, part := range map[string]string{
		"":                         "empty",
		"orders":                   "keyword=value",
		"CN=a, OU=b":               `attribute type " OU"`,
		"cn=a":                     `attribute type "cn"`,
		"EMAILADDRESS=a@b":         "OID=#hex",
		"CN=a;b":                   `write it as \;`,
		"CN=a=b":                   `write it as \=`,
		`CN=a\x`:                   "escapes nothing",
		`CN=a\`:                    "escapes nothing",
		"CN= a":                    "space",
		"CN=a ,O=b":                "space",
		"1.2.840.113549.1.9.1=#1Z": "hexadecimal",
		"CN=a,":                    "keyword=value",
	} {
		err := CheckSubject(text)
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("CheckSubject(%q) = %v, want an error with %q", text, err, part)
		}
	}
}

func FuzzCheckSubject(f *testing.F) {
	f.Add("CN=orders,OU=shop,O=signet")
	f.Add(`CN=a\,b+OU=\ c,1.2.3=#0400`)
	f.Fuzz(func(t *testing.T, text string) {
		if CheckSubject(text) == nil && (text == "" || !strings.Contains(text, "=")) {
			t.Fatalf("CheckSubject accepts %q", text)
		}
	})
}

func FuzzSubjectString(f *testing.F) {
	f.Add([]byte{0x30, 0x00})
	f.Add([]byte{0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, 0x61})
	f.Fuzz(func(t *testing.T, raw []byte) {
		printed, err := SubjectString(raw)
		if err == nil && printed != "" && !strings.Contains(printed, "=") {
			t.Fatalf("SubjectString(%x) = %q", raw, printed)
		}
	})
}

// TestSubjectStringAgreesWithJava compares with javax.security.auth.x500.X500Principal itself, over seeded random names.
func TestSubjectStringAgreesWithJava(t *testing.T) {
	java, err := exec.LookPath("java")
	if err != nil {
		t.Fatalf("this test needs a JDK 17 on the PATH: %v", err)
	}
	const seed, count = 20261122, 20000
	random := rand.New(rand.NewPCG(seed, 1))
	oids := []asn1.ObjectIdentifier{oidCN, oidO, oidOU, oidDC, oidEmail, {2, 5, 4, 6}, {2, 5, 4, 7}, {2, 5, 4, 8}, {2, 5, 4, 9}, {2, 5, 4, 5}, {0, 9, 2342, 19200300, 100, 1, 1}}
	tags := []int{asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagT61String, asn1.TagGeneralString}
	letters := []string{"a", "Z", "9", " ", ",", "=", "+", "<", ">", "#", ";", `"`, `\`, "-", ".", "/", "@", "*", "_", "$", "\x00", "\t", "\r"}
	multibyte := []string{"é", "€", "𝄞"}
	var input bytes.Buffer
	var names [][]byte
	for range count {
		var rdns [][]attribute
		for range random.IntN(4) {
			var set []attribute
			for range 1 + random.IntN(5)/4 {
				a := attribute{oid: oids[random.IntN(len(oids))], tag: tags[random.IntN(len(tags))]}
				for range 1 + random.IntN(7) {
					a.value += letters[random.IntN(len(letters))]
					if a.tag == asn1.TagUTF8String && random.IntN(4) == 0 {
						a.value += multibyte[random.IntN(len(multibyte))]
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
		got, err := SubjectString(name)
		if err != nil || got != string(want) {
			t.Fatalf("seed %d, name %d (%x): SubjectString = %q, %v; Java prints %q", seed, i, name, got, err, want)
		}
		if len(want) > 0 {
			if err := CheckSubject(got); err != nil {
				t.Fatalf("seed %d, name %d: CheckSubject refuses what Java prints: %v", seed, i, err)
			}
		}
	}
}
