// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"time"
)

// IntermediateTemplate returns the certificate of an intermediate CA of Signet's own: one that signs no further CA, only
// clients, and only names in the SPIFFE trust domain. The critical name constraints (RFC 5280 section 4.2.1.10) have the
// form that Go, OpenSSL, Java and BoringSSL read alike (test/verify):
//
//   - URIs of the trust domain's host only;
//   - no IP address. A constraint holds for names of its own kind alone, so every kind needs one;
//   - e-mail addresses of the trust domain's host only, for an exclusion of all of them crashes Java's verifier;
//   - no DNS name of a cluster. An exclusion of all DNS names crashes Java's verifier too, and Java takes every subject's
//     CN for a DNS name. With the leading dot a suffix never matches a CN without one, which the names of KafkaUsers are.
//
// Other kinds of names, the subject above all, cannot be constrained: Go knows no constraint of directory names, and refuses
// a certificate that has one.
func IntermediateTemplate(trustDomain string, serial *big.Int, notBefore, notAfter time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial,
		// Each has another subject, so that no verifier that looks for an issuer by name finds the wrong one.
		Subject:                     pkix.Name{CommonName: fmt.Sprintf("signet intermediate %x", serial)},
		NotBefore:                   notBefore,
		NotAfter:                    notAfter,
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		PermittedDNSDomainsCritical: true, // all name constraints, in spite of its name
		PermittedURIDomains:         []string{trustDomain},
		PermittedEmailAddresses:     []string{trustDomain},
		ExcludedDNSDomains:          []string{".svc", ".local", ".internal"},
		ExcludedIPRanges: []*net.IPNet{
			{IP: make(net.IP, net.IPv4len), Mask: net.CIDRMask(0, 32)},
			{IP: make(net.IP, net.IPv6len), Mask: net.CIDRMask(0, 128)},
		},
	}
}

// NewIntermediate makes an intermediate CA with a key of its own below parent, confined to the SPIFFE trust domain, that
// lives for life or as long as what is above it. The parent's key is used for this one signature.
//
// Errors wrap ErrCAExpired or ErrCANotYetValid where the parent is not valid at now, and ErrCAInvalid where no intermediate
// below it would verify.
func NewIntermediate(parent *CA, trustDomain string, life time.Duration, now time.Time) (*CA, error) {
	if err := parent.CheckTime(now); err != nil {
		return nil, err
	}
	if err := checkPathLength(parent, now); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the intermediate CA: %w", err)
	}
	serial, err := NewSerial()
	if err != nil {
		return nil, err
	}
	notBefore := now.Add(-clockSkew)
	if parent.Certificate.NotBefore.After(notBefore) {
		notBefore = parent.Certificate.NotBefore
	}
	template := IntermediateTemplate(trustDomain, serial, notBefore, earliest(now.Add(life), parent.NotAfter(now)))
	certificate, err := create(template, parent.Certificate, key.Public(), parent.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: make an intermediate CA for the trust domain %q below %q: %w", ErrCAInvalid, trustDomain, parent.Certificate.Subject, err)
	}
	ca := &CA{
		Certificate:   certificate,
		Key:           key,
		Intermediates: append([]*x509.Certificate{certificate}, parent.Intermediates...),
		Roots:         slices.Clone(parent.Roots),
	}
	if err := tryIntermediate(ca, trustDomain, now); err != nil {
		return nil, fmt.Errorf("%w: certificates of an intermediate CA below %q would be refused (%w); use a CA whose own constraints admit spiffe://%s/, or the mode Direct",
			ErrCAInvalid, parent.Certificate.Subject, err, trustDomain)
	}
	return ca, nil
}

// checkPathLength tells whether one more CA is allowed below the parent (RFC 5280 section 4.2.1.9). Self-issued
// certificates are counted, as Go's verifier does.
func checkPathLength(parent *CA, now time.Time) error {
	path := slices.Clone(parent.Intermediates)
	if anchor := parent.anchor(now); anchor != nil && !slices.ContainsFunc(path, anchor.Equal) {
		path = append(path, anchor)
	}
	for i, c := range path {
		// An absent path length is -1, or 0 without MaxPathLenZero.
		if limited := c.MaxPathLen > 0 || c.MaxPathLenZero; limited && c.MaxPathLen < i+1 {
			return fmt.Errorf("%w: certificate %q has the path length %d, which allows no intermediate CA of Signet's below %q; "+
				"take a CA with a longer path length, let the CA above sign one for Signet, or use the mode Direct",
				ErrCAInvalid, c.Subject, c.MaxPathLen, parent.Certificate.Subject)
		}
	}
	return nil
}

// tryIntermediate signs a certificate as Signet would and one as Signet must not be able to, and verifies both.
func tryIntermediate(ca *CA, trustDomain string, now time.Time) error {
	verify := func(id *url.URL) error {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		leaf, err := create(&x509.Certificate{
			SerialNumber: big.NewInt(1),
			Subject:      pkix.Name{CommonName: "signet"},
			URIs:         []*url.URL{id},
			NotBefore:    ca.Certificate.NotBefore,
			NotAfter:     ca.Certificate.NotAfter,
			KeyUsage:     x509.KeyUsageDigitalSignature,
			ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, ca.Certificate, key.Public(), ca.Key)
		if err != nil {
			return err
		}
		roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
		for _, c := range ca.Roots {
			roots.AddCert(c)
		}
		for _, c := range ca.Intermediates {
			intermediates.AddCert(c)
		}
		_, err = leaf.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		return err
	}
	if err := verify(&url.URL{Scheme: "spiffe", Host: trustDomain, Path: "/user/signet/signet"}); err != nil {
		return err
	}
	// Not a domain below the trust domain, which Go would admit.
	if verify(&url.URL{Scheme: "spiffe", Host: "x" + trustDomain, Path: "/ns/signet/sa/signet"}) == nil {
		return errors.New("its name constraints have no effect")
	}
	return nil
}
