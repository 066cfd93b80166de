// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package kafkatest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// T is what brokers and their CA use of *testing.T. It is an interface so that benchmarks, which are none, can have them too.
type T interface {
	// Helper, Fatal, Fatalf, TempDir, Cleanup and Context are those of *testing.T: Fatal and Fatalf do not return.
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	TempDir() string
	Cleanup(f func())
	Context() context.Context
}

// Authority is a CA of brokers and of their clients.
type Authority struct {
	t    T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes a CA with a key of its own.
func NewAuthority(t T) *Authority {
	t.Helper()
	a := &Authority{t: t}
	a.cert, a.key = a.Sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// Sign completes the template (serial number, validity of a day) and signs it for a new key.
func (a *Authority) Sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// PEM is the CA's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Trust returns a pool with the CA.
func (a *Authority) Trust() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Client returns what a client presents whose certificate has the template's subject and names, and that trusts the CA
// for brokers.
func (a *Authority) Client(template *x509.Certificate) *tls.Config {
	a.t.Helper()
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, key := a.Sign(template)
	return &tls.Config{RootCAs: a.Trust(), MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
}
