// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/signet-kafka/signet/certs"
)

// BenchmarkPod compares what a PodCertificateRequest costs in this process, step by step, with the one call that no
// signer can do without.
func BenchmarkPod(b *testing.B) {
	ca := newCA(b, "mesh", p256(b), nil, testNow.Add(-time.Hour), testNow.Add(1000*time.Hour))
	parsed, err := certs.ParseCA(ca.secret(b, "1", ca).Data)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := NewSigner(b.Context(), parsed, nil)
	if err != nil {
		b.Fatal(err)
	}
	f := honestPod(b, p256(b))
	grant, refusal := DecidePod(f)
	if refusal != nil {
		b.Fatal(refusal)
	}
	template, refusal := Template(*grant, big.NewInt(1), ca.certificate.NotBefore, ca.certificate.NotAfter, testNow)
	if refusal != nil {
		b.Fatal(refusal)
	}
	keys := NewKeys(1000)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"x509", func() {
			if _, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, grant.PublicKey, ca.key); err != nil {
				b.Fatal(err)
			}
		}},
		{"parse", func() {
			if _, err := x509.ParseCertificateRequest(f.Request.Spec.StubPKCS10Request); err != nil {
				b.Fatal(err)
			}
		}},
		{"verify", func() {
			if err := f.CSR.CheckSignature(); err != nil {
				b.Fatal(err)
			}
		}},
		{"fingerprint", func() { KeyFingerprint(f.CSR.PublicKey) }},
		{"claim", func() { keys.Claim(f.KeySHA256, "a", testNow.Add(time.Hour), testNow) }},
		{"identity", func() {
			if _, err := UserIdentity(f.User, f.Cluster, f.Issuer); err != nil {
				b.Fatal(err)
			}
		}},
		{"decide", func() {
			if _, refusal := DecidePod(f); refusal != nil {
				b.Fatal(refusal)
			}
		}},
		{"template", func() {
			if _, refusal := Template(*grant, big.NewInt(1), ca.certificate.NotBefore, ca.certificate.NotAfter, testNow); refusal != nil {
				b.Fatal(refusal)
			}
		}},
		{"sign", func() {
			if _, refusal, err := signer.Sign(b.Context(), *grant, testNow); refusal != nil || err != nil {
				b.Fatal(refusal, err)
			}
		}},
	} {
		b.Run(step.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step.do()
			}
		})
	}
	honest := honest(b, p256(b))
	b.Run("decide a CertificateRequest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, refusal := Decide(honest); refusal != nil {
				b.Fatal(refusal)
			}
		}
	})
}
