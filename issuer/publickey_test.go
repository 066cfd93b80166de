// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

var anyKeyType = []v1alpha1.KeyType{v1alpha1.KeyECDSAP256, v1alpha1.KeyECDSAP384, v1alpha1.KeyRSA2048, v1alpha1.KeyRSA3072, v1alpha1.KeyRSA4096}

func ecdsaPublic(t testing.TB, curve elliptic.Curve) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

// number returns a random odd number of exactly that many bits.
func number(t *testing.T, bits int) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		t.Fatal(err)
	}
	n.SetBit(n, 0, 1)
	n.SetBit(n, bits-2, 1)
	return n.SetBit(n, bits-1, 1)
}

// primes returns two primes of 1024 bits; the second is the next one from the first plus distance.
func primes(t *testing.T, distance *big.Int) (p, q *big.Int) {
	t.Helper()
	p, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	q = new(big.Int).Add(p, distance)
	q.SetBit(q, 0, 1)
	for !q.ProbablyPrime(0) {
		q.Add(q, big.NewInt(2))
	}
	return p, q
}

// rocaKey is a key of the generator that made the ROCA attack (CVE-2017-15361) possible: a public test vector of the
// detection tool by CRoCS (MIT licence), as github.com/titanous/rocacheck has it.
func rocaKey(t testing.TB) *rsa.PublicKey {
	t.Helper()
	text, err := os.ReadFile("testdata/roca.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PublicKey)
}

func TestCheckPublicKeyRefusesBadKeys(t *testing.T) {
	honest := &rsaKey(t).PublicKey
	with := func(change func(*rsa.PublicKey)) *rsa.PublicKey {
		key := &rsa.PublicKey{N: new(big.Int).Set(honest.N), E: honest.E}
		change(key)
		return key
	}
	exponent := func(e int) *rsa.PublicKey { return with(func(k *rsa.PublicKey) { k.E = e }) }
	p, q := primes(t, big.NewInt(2))
	close2 := new(big.Int).Mul(p, q)
	// The difference of these two is about 2^520: past the first rounds of Fermat's method, and within its bound.
	p, q = primes(t, new(big.Int).Lsh(big.NewInt(1), 515))
	close515 := new(big.Int).Mul(p, q)
	small := new(big.Int).Mul(number(t, 2036), big.NewInt(4093)) // the largest prime that is looked for
	for small.BitLen() != 2048 {
		small = new(big.Int).Mul(number(t, 2036), big.NewInt(4093))
	}
	offCurve := *ecdsaPublic(t, elliptic.P256())
	offCurve.Y = new(big.Int).Add(offCurve.Y, big.NewInt(1)) //nolint:staticcheck // made invalid on purpose
	negative := *ecdsaPublic(t, elliptic.P256())
	negative.Y = new(big.Int).Neg(negative.Y) //nolint:staticcheck // made invalid on purpose
	blocked := ecdsaPublic(t, elliptic.P256())
	for name, test := range map[string]struct {
		key  crypto.PublicKey
		says string
	}{
		"ROCA":                        {rocaKey(t), "ROCA"},
		"neighbouring primes":         {&rsa.PublicKey{N: close2, E: 65537}, "too close"},
		"close primes":                {&rsa.PublicKey{N: close515, E: 65537}, "too close"},
		"small factor":                {&rsa.PublicKey{N: small, E: 65537}, "factor below"},
		"even modulus":                {with(func(k *rsa.PublicKey) { k.N.SetBit(k.N, 0, 0) }), "even"},
		"negative modulus":            {with(func(k *rsa.PublicKey) { k.N.Neg(k.N) }), "negative"},
		"exponent 1":                  {exponent(1), "exponent 1;"},
		"exponent 3":                  {exponent(3), "exponent 3;"},
		"even exponent":               {exponent(65538), "exponent 65538"},
		"negative exponent":           {exponent(-65537), "exponent -65537"},
		"exponent of 33 bits":         {exponent(1<<32 + 1), "exponent 4294967297"},
		"square":                      {&rsa.PublicKey{N: new(big.Int).Mul(p, p), E: 65537}, "too close"},
		"point off the curve":         {&offCurve, "unsafe"},
		"negative coordinate":         {&negative, "unsafe"},
		"on the list of the mesh":     {blocked, "blocked"},
		"RSA on the list of the mesh": {honest, "blocked"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckPublicKey(test.key, anyKeyType, []string{"00", KeyFingerprint(blocked), KeyFingerprint(honest)})
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%v, want %q", err, test.says)
			}
			if _, ok := errors.AsType[*UnsupportedKeyTypeError](err); ok {
				t.Error("a bad key is taken for an unsupported type")
			}
		})
	}
}

func TestCheckPublicKeyTypes(t *testing.T) {
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := func(bits int) *rsa.PublicKey { return &rsa.PublicKey{N: number(t, bits), E: 65537} }
	good := &rsaKey(t).PublicKey
	for name, test := range map[string]struct {
		key     crypto.PublicKey
		allowed []v1alpha1.KeyType
		got     string // as the error names it; "" where the key is allowed
	}{
		"P-256 by default":           {ecdsaPublic(t, elliptic.P256()), nil, ""},
		"P-384 by default":           {ecdsaPublic(t, elliptic.P384()), nil, ""},
		"RSA by default":             {good, nil, "RSA2048"},
		"RSA 2048 allowed":           {good, []v1alpha1.KeyType{v1alpha1.KeyRSA2048}, ""},
		"RSA 2048, 4096 is allowed":  {good, []v1alpha1.KeyType{v1alpha1.KeyRSA4096}, "RSA2048"},
		"P-256, only P-384 allowed":  {ecdsaPublic(t, elliptic.P256()), []v1alpha1.KeyType{v1alpha1.KeyECDSAP384}, "ECDSAP256"},
		"P-224":                      {ecdsaPublic(t, elliptic.P224()), anyKeyType, "ECDSAP224"},
		"P-521":                      {ecdsaPublic(t, elliptic.P521()), anyKeyType, "ECDSAP521"},
		"P-521 that somebody allows": {ecdsaPublic(t, elliptic.P521()), []v1alpha1.KeyType{"ECDSAP521"}, "ECDSAP521"},
		"Ed25519":                    {edPublic, anyKeyType, "ED25519"},
		"RSA 1024":                   {of(1024), anyKeyType, "RSA1024"},
		"RSA 2047":                   {of(2047), anyKeyType, "RSA2047"},
		"RSA 2056":                   {of(2056), anyKeyType, "RSA2056"},
		"RSA 16384":                  {of(16384), anyKeyType, "RSA16384"},
		"no key":                     {nil, anyKeyType, "<nil>"},
		"text":                       {"key", anyKeyType, "string"},
		"empty RSA":                  {&rsa.PublicKey{}, anyKeyType, "RSA without a modulus"},
		"nil RSA":                    {(*rsa.PublicKey)(nil), anyKeyType, "RSA without a modulus"},
		"empty ECDSA":                {&ecdsa.PublicKey{}, anyKeyType, "ECDSA without a point"},
		"ECDSA with a curve only":    {&ecdsa.PublicKey{Curve: elliptic.P256()}, anyKeyType, "ECDSA without a point"},
		"nil ECDSA":                  {(*ecdsa.PublicKey)(nil), anyKeyType, "ECDSA without a point"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckPublicKey(test.key, test.allowed, nil)
			if test.got == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			unsupported, ok := errors.AsType[*UnsupportedKeyTypeError](err)
			if !ok || unsupported.Got != test.got || len(unsupported.Allowed) == 0 {
				t.Fatalf("%v, want an unsupported %s", err, test.got)
			}
			if !strings.Contains(err.Error(), string(unsupported.Allowed[0])) {
				t.Errorf("no key type is suggested: %s", err)
			}
		})
	}
}

// TestCheckPublicKeyAdmitsHonestKeys holds that no check takes an honest key for a weak one.
func TestCheckPublicKeyAdmitsHonestKeys(t *testing.T) {
	for _, bits := range []int{2048, 3072, 4096} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckPublicKey(&key.PublicKey, anyKeyType, nil); err != nil {
			t.Errorf("RSA %d: %v", bits, err)
		}
	}
	for range 50 {
		if err := CheckPublicKey(ecdsaPublic(t, elliptic.P256()), nil, []string{strings.Repeat("0", 64)}); err != nil {
			t.Error(err)
		}
	}
}

func TestKeyFingerprint(t *testing.T) {
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := []crypto.PublicKey{ecdsaPublic(t, elliptic.P384()), &rsaKey(t).PublicKey, edPublic}
	for range 300 { // so that some coordinate begins with a zero byte
		keys = append(keys, ecdsaPublic(t, elliptic.P256()))
	}
	for _, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := KeyFingerprint(key), certs.Fingerprint(der); got != want {
			t.Fatalf("%T: %s, want %s", key, got, want)
		}
	}
	for _, key := range []crypto.PublicKey{nil, "key"} {
		if got := KeyFingerprint(key); got != "" {
			t.Errorf("%T has the fingerprint %s", key, got)
		}
	}
}

func TestIsSquare(t *testing.T) {
	root := new(big.Int)
	squares := map[int64]bool{}
	for i := range int64(400) {
		squares[i*i] = true
	}
	for n := range int64(399 * 399) {
		if got := isSquare(big.NewInt(n), root); got != squares[n] {
			t.Fatalf("isSquare(%d) = %t", n, got)
		}
	}
}

func BenchmarkCheckPublicKey(b *testing.B) {
	for name, key := range map[string]crypto.PublicKey{"P256": ecdsaPublic(b, elliptic.P256()), "RSA2048": &rsaKey(b).PublicKey} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := CheckPublicKey(key, anyKeyType, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
