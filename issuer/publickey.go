// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/titanous/rocacheck"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// UnsupportedKeyTypeError says that a public key is of a kind or size that is not certified. The requester may well make
// another one; any other error of CheckPublicKey is about this very key.
type UnsupportedKeyTypeError struct {
	// Got is what the key is, in the form of the API's key types: RSA1024, ECDSAP521, ED25519.
	Got string
	// Allowed is what is certified.
	Allowed []v1alpha1.KeyType
}

// Error says what came and what is needed.
func (e *UnsupportedKeyTypeError) Error() string {
	allowed := make([]string, len(e.Allowed))
	for i, t := range e.Allowed {
		allowed[i] = string(t)
	}
	return fmt.Sprintf("the key is of the type %s; certified are %s", e.Got, strings.Join(allowed, ", "))
}

// defaultKeyTypes are the default of the API server, for a MeshIssuer that did not pass through it: what every Kafka
// client loads (the Java one loads no Ed25519 key).
var defaultKeyTypes = []v1alpha1.KeyType{v1alpha1.KeyECDSAP256, v1alpha1.KeyECDSAP384}

// CheckPublicKey tells whether a public key may be certified: it is of an allowed type (none given: ECDSAP256 and
// ECDSAP384), its private key cannot be computed by any of the known shortcuts, and its fingerprint (KeyFingerprint) is
// not blocked. An error is an *UnsupportedKeyTypeError, or is about this very key.
//
// Of an ECDSA key the point must be on its curve. Of an RSA key the exponent must be odd and from 65537 to 2^32-1, and
// the modulus must have no small factor, no two factors close to each other (CVE-2022-26320, Fermat's method), and not
// the shape of Infineon's broken generator (ROCA, CVE-2017-15361).
func CheckPublicKey(key crypto.PublicKey, allowed []v1alpha1.KeyType, blocked []string) error {
	if len(allowed) == 0 {
		allowed = defaultKeyTypes
	}
	keyType, name := keyTypeOf(key)
	if keyType == "" || !slices.Contains(allowed, keyType) {
		return &UnsupportedKeyTypeError{Got: name, Allowed: allowed}
	}
	var err error
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		_, err = k.Bytes() // encodes no point that is off the curve
	case *rsa.PublicKey:
		err = checkRSA(k)
	}
	if err != nil {
		return fmt.Errorf("the key is unsafe: %w", err)
	}
	if len(blocked) > 0 {
		if fingerprint := KeyFingerprint(key); slices.Contains(blocked, fingerprint) {
			return fmt.Errorf("the key with the SHA-256 %s is on the list of blocked keys", fingerprint)
		}
	}
	return nil
}

// keyTypeOf returns the type of a key, "" for one that the API has no name for, and its name for people.
func keyTypeOf(key crypto.PublicKey) (v1alpha1.KeyType, string) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k == nil || k.Curve == nil || k.X == nil || k.Y == nil { //nolint:staticcheck // only compared with nil
			return "", "ECDSA without a point"
		}
		switch k.Curve {
		case elliptic.P256():
			return v1alpha1.KeyECDSAP256, string(v1alpha1.KeyECDSAP256)
		case elliptic.P384():
			return v1alpha1.KeyECDSAP384, string(v1alpha1.KeyECDSAP384)
		}
		return "", "ECDSA" + strings.ReplaceAll(k.Params().Name, "-", "")
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return "", "RSA without a modulus"
		}
		name := "RSA" + strconv.Itoa(k.N.BitLen())
		switch t := v1alpha1.KeyType(name); t {
		case v1alpha1.KeyRSA2048, v1alpha1.KeyRSA3072, v1alpha1.KeyRSA4096:
			return t, name
		}
		return "", name
	case ed25519.PublicKey:
		return "", "ED25519"
	}
	return "", fmt.Sprintf("%T", key)
}

// KeyFingerprint returns the SHA-256 of a public key's SubjectPublicKeyInfo, in lower-case hexadecimal (RFC 7469 section
// 2.4 hashes the same bytes); "" where it has none. It is made from the key, not from a request's encoding of it, which
// may vary.
func KeyFingerprint(key crypto.PublicKey) string {
	if k, ok := key.(*ecdsa.PublicKey); ok && k != nil && k.Curve == elliptic.P256() {
		if point, err := k.Bytes(); err == nil {
			return certs.Fingerprint(append(p256Info[:len(p256Info):len(p256Info)], point...))
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	return certs.Fingerprint(der)
}

// p256Info is what stands before the point in the SubjectPublicKeyInfo of a P-256 key (RFC 5480 section 2.1): what
// crypto/x509 writes, without its reflection.
var p256Info = []byte{
	0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
	0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
}

// subjectKeyID returns the key identifier of RFC 7093 section 2, method 1, for an ECDSA key; nil leaves it to the CA.
func subjectKeyID(key crypto.PublicKey) []byte {
	if k, ok := key.(*ecdsa.PublicKey); ok {
		if point, err := k.Bytes(); err == nil {
			sum := sha256.Sum256(point)
			return sum[:20]
		}
	}
	return nil
}

func checkRSA(key *rsa.PublicKey) error {
	switch e := int64(key.E); {
	case e < 65537 || e >= 1<<32 || e%2 == 0:
		return fmt.Errorf("RSA exponent %d; an odd one from 65537 to 4294967295 is needed", e)
	case key.N.Sign() <= 0 || key.N.Bit(0) == 0:
		return errors.New("the RSA modulus is even or negative")
	case hasSmallFactor(key.N):
		return fmt.Errorf("the RSA modulus has a factor below %d", maxTrialFactor)
	case rocacheck.IsWeak(key):
		return errors.New("the RSA modulus has the shape of a generator whose keys can be factored (ROCA, CVE-2017-15361)")
	case hasCloseFactors(key.N):
		return errors.New("the two factors of the RSA modulus are too close to each other")
	}
	return nil
}

// maxTrialFactor bounds the prime factors that are looked for.
const maxTrialFactor = 4096

// trialPrimes returns the product of all odd primes below maxTrialFactor.
var trialPrimes = sync.OnceValue(func() *big.Int {
	product := big.NewInt(1)
	for n := int64(3); n < maxTrialFactor; n += 2 {
		if p := big.NewInt(n); p.ProbablyPrime(0) { // exact below 2^64
			product.Mul(product, p)
		}
	}
	return product
})

func hasSmallFactor(n *big.Int) bool {
	rest := new(big.Int).Mod(trialPrimes(), n)
	return rest.GCD(nil, nil, rest, n).BitLen() > 1
}

// fermatRounds bounds the search for close factors. The broken generators that are known need a single round; honest
// factors of 1024 bits need about 2^1022.
const fermatRounds = 256

// hasCloseFactors runs Fermat's factorization: n = a²-b² with a from the root of n upwards.
func hasCloseFactors(n *big.Int) bool {
	a := new(big.Int).Sqrt(n)
	b2 := new(big.Int).Mul(a, a)
	b2.Sub(b2, n)
	step := new(big.Int)
	root := new(big.Int)
	for range fermatRounds {
		if b2.Sign() >= 0 && isSquare(b2, root) {
			return true
		}
		// (a+1)² - n = a² - n + 2a + 1
		step.Lsh(a, 1)
		b2.Add(b2, step)
		b2.Add(b2, one)
		a.Add(a, one)
	}
	return false
}

var one = big.NewInt(1)

// squaresMod64 has a bit for each square modulo 64: 12 of the 64. Only these are worth the root.
const squaresMod64 = 1<<0 | 1<<1 | 1<<4 | 1<<9 | 1<<16 | 1<<17 | 1<<25 | 1<<33 | 1<<36 | 1<<41 | 1<<49 | 1<<57

func isSquare(n, root *big.Int) bool {
	low := uint(0)
	for i := range 6 {
		low |= n.Bit(i) << i
	}
	if uint64(squaresMod64)>>low&1 == 0 {
		return false
	}
	root.Sqrt(n)
	return root.Mul(root, root).Cmp(n) == 0
}
