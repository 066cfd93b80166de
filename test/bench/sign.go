// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/issuer"
)

// signPairs compare what Signet does for a granted certificate (template, checks, softcas) with the one call of
// crypto/x509 that no issuer can do without, under the same CA key.
func signPairs(ctx context.Context) ([]pair, error) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for _, ca := range []struct {
		name string
		key  crypto.Signer
	}{{"sign-p256-ca", p256}, {"sign-rsa2048-ca", rsa2048}} {
		p, err := signPair(ctx, ca.name, ca.key)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func signPair(ctx context.Context, name string, key crypto.Signer) (pair, error) {
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"cluster.local"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		return pair{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	ca, err := certs.ParseCA(map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	})
	if err != nil {
		return pair{}, err
	}
	signer, err := issuer.NewSigner(ctx, ca)
	if err != nil {
		return pair{}, err
	}
	user := &v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "checkout"}}
	cluster := &v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"}}
	identity, err := issuer.UserIdentity(user, cluster, &v1alpha1.MeshIssuer{Spec: v1alpha1.MeshIssuerSpec{TrustDomain: "kafka.signet.dev"}})
	if err != nil {
		return pair{}, err
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	grant := issuer.Grant{Identity: identity, PublicKey: &leaf.PublicKey, Duration: 6 * time.Hour}
	template, refusal := issuer.Template(grant, big.NewInt(2), ca.Certificate.NotBefore, ca.Certificate.NotAfter, now)
	if refusal != nil {
		return pair{}, fmt.Errorf("template: %w", refusal)
	}
	return pair{
		name: name, unit: "certificates/s", rate: true, target: 0.90,
		subject: func(b *testing.B) {
			for b.Loop() {
				if _, refusal, err := signer.Sign(grant, now); refusal != nil || err != nil {
					b.Fatal(refusal, err)
				}
			}
		},
		baseline: func(b *testing.B) {
			for b.Loop() {
				if _, err := x509.CreateCertificate(rand.Reader, template, ca.Certificate, &leaf.PublicKey, key); err != nil {
					b.Fatal(err)
				}
			}
		},
	}, nil
}
