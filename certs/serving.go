// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// The lives of the webhook's serving certificate and its CA. Both are renewed at two thirds.
const (
	servingCALife   = 10 * 365 * 24 * time.Hour
	servingLeafLife = 90 * 24 * time.Hour
	// clockSkew is how far certificates are dated back, for readers whose clock is behind.
	clockSkew = 2 * time.Minute
	// bundleSettle is how long a new CA has been in the webhook configurations before it signs a leaf: API servers learn
	// of a change by a watch, and until then refuse what it signed.
	bundleSettle = 2 * time.Minute
	// leafSettle is how long an old CA stays trusted after a new one signed the leaf: the kubelet brings the new Secret
	// to each webhook pod within minutes.
	leafSettle = time.Hour
)

// Serving is the state of the webhook's serving certificate as it is stored; parts that are missing or malformed are
// nil, and are made anew.
type Serving struct {
	// CA signs the leaf.
	CA *CA
	// Trusted are the CA's certificate and what else is stored under ca.crt: the CA before it, during a renewal.
	Trusted []*x509.Certificate
	// Leaf is the serving certificate.
	Leaf *x509.Certificate
	// Announced tells whether every webhook configuration trusts all that Trusted holds.
	Announced bool
}

// ServingPlan says what to do about the serving certificate. The steps are taken one after the other in the order of
// the fields, each with a plan of its own, so that a controller that dies in between goes on where it was.
type ServingPlan struct {
	// NewCA: make a CA; the present one stays trusted.
	NewCA bool
	// DropOldCA: trust only the present CA.
	DropOldCA bool
	// Announce: write what is trusted into the webhook configurations.
	Announce bool
	// NewLeaf: sign a serving certificate.
	NewLeaf bool
	// Recheck is when to plan again at the latest.
	Recheck time.Time
}

// PlanServing decides the next step. A leaf that a new CA signed is served only after the API server had the time to
// learn to trust that CA, unless there is no leaf that works now.
func PlanServing(s Serving, dnsNames []string, now time.Time) ServingPlan {
	if s.CA == nil || s.CA.CheckTime(now) != nil || isDue(s.CA.Certificate, now) {
		return ServingPlan{NewCA: true, Recheck: now}
	}
	ca := s.CA.Certificate
	signed := s.Leaf != nil && issued(ca, s.Leaf)
	if signed && len(s.Trusted) > 1 && !now.Before(started(s.Leaf).Add(leafSettle)) {
		return ServingPlan{DropOldCA: true, Recheck: now}
	}
	plan := ServingPlan{Announce: !s.Announced, Recheck: dueAt(ca)}
	works := s.Leaf != nil && now.Before(s.Leaf.NotAfter) && now.After(s.Leaf.NotBefore) && covers(s.Leaf, dnsNames) &&
		slices.ContainsFunc(s.Trusted, func(c *x509.Certificate) bool { return issued(c, s.Leaf) })
	settled := started(ca).Add(bundleSettle)
	switch {
	case !works || signed && isDue(s.Leaf, now) || !signed && s.Announced && !now.Before(settled):
		plan.NewLeaf, plan.Recheck = true, now
	case !signed && now.Before(settled):
		plan.Recheck = settled
	case !signed:
		plan.Recheck = now // once it is announced
	default:
		plan.Recheck = earliest(plan.Recheck, dueAt(s.Leaf))
		if len(s.Trusted) > 1 {
			plan.Recheck = earliest(plan.Recheck, started(s.Leaf).Add(leafSettle))
		}
	}
	return plan
}

// trustedWith returns what to trust once next is the CA: it, the present CA, and whichever signed the present leaf.
func (s Serving) trustedWith(next *x509.Certificate) []*x509.Certificate {
	trusted := []*x509.Certificate{next}
	if s.CA != nil {
		trusted = append(trusted, s.CA.Certificate)
	}
	for _, c := range s.Trusted {
		if s.Leaf != nil && issued(c, s.Leaf) {
			trusted = append(trusted, c)
		}
	}
	return unique(trusted)
}

func covers(leaf *x509.Certificate, dnsNames []string) bool {
	return !slices.ContainsFunc(dnsNames, func(name string) bool { return leaf.VerifyHostname(name) != nil })
}

// started is when a certificate was made, given that it is dated back.
func started(c *x509.Certificate) time.Time { return c.NotBefore.Add(clockSkew) }

func dueAt(c *x509.Certificate) time.Time {
	return started(c).Add(c.NotAfter.Sub(started(c)) * 2 / 3)
}

func isDue(c *x509.Certificate, now time.Time) bool { return !now.Before(dueAt(c)) }

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// newServingCA makes a CA for the webhook's serving certificate, which may sign serving certificates only.
func newServingCA(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of the webhook's CA: %w", err)
	}
	serial, err := NewSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: fmt.Sprintf("signet webhook ca %d", now.Unix())},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(servingCALife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	c, err := create(template, template, key.Public(), key)
	return c, key, err
}

// newServingLeaf signs a serving certificate for the DNS names.
func newServingLeaf(ca *CA, dnsNames []string, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	if len(dnsNames) == 0 {
		return nil, nil, errors.New("the webhook's serving certificate needs a DNS name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the webhook's key: %w", err)
	}
	serial, err := NewSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		DNSNames:              dnsNames,
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              earliest(now.Add(servingLeafLife), ca.Certificate.NotAfter),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	c, err := create(template, ca.Certificate, key.Public(), ca.Key)
	return c, key, err
}

func create(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	return c, nil
}

// NewSerial returns a random positive serial number of 128 bits, the top one always set so that its length is constant
// (RFC 5280 section 4.1.2.2 allows 20 octets).
func NewSerial() (*big.Int, error) {
	bits := make([]byte, 16)
	if _, err := rand.Read(bits); err != nil {
		return nil, fmt.Errorf("random serial number: %w", err)
	}
	bits[0] |= 0x80
	return new(big.Int).SetBytes(bits), nil
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
