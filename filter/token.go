// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxTokens bounds how many identities' tokens are kept; one more throws them all away, which costs a signature each.
const maxTokens = 10000

// Signer makes the tokens by which the filter logs in: JSON Web Tokens (RFC 7519) signed with ES256 (RFC 7518 section
// 3.4). A token is kept for its identity until half of its life is over.
type Signer struct {
	// Issuer, Audience and KeyID are the claims iss and aud and the header kid.
	Issuer, Audience, KeyID string
	// Lifetime of a token.
	Lifetime time.Duration
	// Key is on P-256.
	Key *ecdsa.PrivateKey

	tokens map[string]token
}

type token struct {
	text  string
	fresh time.Time
}

// Token returns a token for a principal that is valid for at least half of Lifetime from now.
func (s *Signer) Token(principal string, now time.Time) (string, error) {
	if t, ok := s.tokens[principal]; ok && now.Before(t.fresh) {
		return t.text, nil
	}
	text, err := s.sign(principal, now)
	if err != nil {
		return "", fmt.Errorf("sign a token for %q: %w", principal, err)
	}
	if s.tokens == nil || len(s.tokens) >= maxTokens {
		s.tokens = map[string]token{}
	}
	s.tokens[principal] = token{text: text, fresh: now.Add(s.Lifetime / 2)}
	return text, nil
}

func (s *Signer) sign(principal string, now time.Time) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ"`
	}{"ES256", s.KeyID, "JWT"})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Subject  string `json:"sub"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		ID       string `json:"jti"`
	}{s.Issuer, s.Audience, principal, now.Unix(), now.Add(s.Lifetime).Unix(), rand.Text()})
	if err != nil {
		return "", err
	}
	encoding := base64.RawURLEncoding
	text := encoding.EncodeToString(header) + "." + encoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(text))
	r, v, err := ecdsa.Sign(rand.Reader, s.Key, digest[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return text + "." + encoding.EncodeToString(signature[:]), nil
}

var (
	errKey = errors.New("it is no PEM of an unencrypted P-256 key, BEGIN PRIVATE KEY (PKCS #8) or BEGIN EC PRIVATE KEY (SEC 1)")

	oidPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidP256      = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
)

// ParseKey reads a P-256 key in PEM. Its error never quotes the text. It is not crypto/x509's for the reason that
// ReadCertificate gives.
func ParseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || len(block.Headers) > 0 {
		return nil, errKey
	}
	key := cryptobyte.String(block.Bytes)
	switch block.Type {
	case "EC PRIVATE KEY":
		return readECKey(key, false)
	case "PRIVATE KEY": // RFC 5958 section 2
		var version int
		var info, algorithm, inner cryptobyte.String
		var oid, curve asn1.ObjectIdentifier
		if !key.ReadASN1(&info, cryptobyte_asn1.SEQUENCE) || !key.Empty() || !info.ReadASN1Integer(&version) || version != 0 ||
			!info.ReadASN1(&algorithm, cryptobyte_asn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidPublicKey) ||
			!algorithm.ReadASN1ObjectIdentifier(&curve) || !curve.Equal(oidP256) || !algorithm.Empty() ||
			!info.ReadASN1(&inner, cryptobyte_asn1.OCTET_STRING) {
			return nil, errKey
		}
		return readECKey(inner, true)
	}
	return nil, errKey
}

// readECKey reads an ECPrivateKey (RFC 5915 section 3), which names its curve unless what is around it does.
func readECKey(key cryptobyte.String, curveKnown bool) (*ecdsa.PrivateKey, error) {
	var version int
	var sequence, scalar, parameters cryptobyte.String
	var named bool
	if !key.ReadASN1(&sequence, cryptobyte_asn1.SEQUENCE) || !key.Empty() || !sequence.ReadASN1Integer(&version) || version != 1 ||
		!sequence.ReadASN1(&scalar, cryptobyte_asn1.OCTET_STRING) ||
		!sequence.ReadOptionalASN1(&parameters, &named, cryptobyte_asn1.Tag(0).Constructed().ContextSpecific()) {
		return nil, errKey
	}
	if named {
		var curve asn1.ObjectIdentifier
		if !parameters.ReadASN1ObjectIdentifier(&curve) || !curve.Equal(oidP256) {
			return nil, errKey
		}
	} else if !curveKnown {
		return nil, errKey
	}
	parsed, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		return nil, errKey
	}
	return parsed, nil
}
