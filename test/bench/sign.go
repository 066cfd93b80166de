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
	"math/big"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/issuer"
)

// signPairs compare what Signet does for the certificate of a pod, from the facts to the PEM of the chain (policy, template,
// signature), with the one call of crypto/x509 that no issuer can do without, under the same CA key. Not in it is what every signer does before it decides and the API server does again: to parse the request and to
// verify its proof of possession.
func signPairs(ctx context.Context) ([]work, error) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	var pairs []work
	for _, ca := range []struct {
		name string
		key  crypto.Signer
	}{{"sign-p256", p256}, {"sign-rsa2048", rsa2048}} {
		p, err := signPair(ctx, ca.name, ca.key)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func signPair(ctx context.Context, name string, key crypto.Signer) (work, error) {
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"cluster.local"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		return work{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return work{}, err
	}
	ca, err := certs.ParseCA(map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	})
	if err != nil {
		return work{}, err
	}
	signer, err := issuer.NewSigner(ctx, ca, nil)
	if err != nil {
		return work{}, err
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return work{}, err
	}
	facts, err := podFacts(leaf)
	if err != nil {
		return work{}, err
	}
	grant, refusal := issuer.DecidePod(facts)
	if refusal != nil {
		return work{}, refusal
	}
	template, refusal := issuer.Template(*grant, big.NewInt(2), ca.Certificate.NotBefore, ca.Certificate.NotAfter, now)
	if refusal != nil {
		return work{}, refusal
	}
	return work{
		name: name, unit: "certificates/s", target: 0.90,
		subject: func() error {
			grant, refusal := issuer.DecidePod(facts)
			if refusal != nil {
				return refusal
			}
			_, refusal, err := signer.Sign(ctx, *grant, now)
			if refusal != nil {
				return refusal
			}
			return err
		},
		baseline: func() error {
			_, err := x509.CreateCertificate(rand.Reader, template, ca.Certificate, &leaf.PublicKey, key)
			return err
		},
	}, nil
}

// podFacts are those of a request for a pod of the KafkaUser shop/checkout, which gets its certificate.
func podFacts(key *ecdsa.PrivateKey) (issuer.PodFacts, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return issuer.PodFacts{}, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return issuer.PodFacts{}, err
	}
	user := &v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "checkout"}}
	user.Spec.ClusterRef = v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"}
	user.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: "checkout"}
	user.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionMappingRecorded, Status: metav1.ConditionTrue}}
	cluster := &v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"}}
	cluster.Spec.Certificates.IssuerRef = v1alpha1.IssuerReference{Name: "mesh"}
	return issuer.PodFacts{
		UserFacts: issuer.UserFacts{
			User: user, Cluster: cluster, Admitted: true,
			Issuer: &v1alpha1.MeshIssuer{ObjectMeta: metav1.ObjectMeta{Name: "mesh"}, Spec: v1alpha1.MeshIssuerSpec{TrustDomain: "kafka.signet.dev"}},
		},
		Asked:   issuer.Asked{CSR: csr, KeySHA256: issuer.KeyFingerprint(csr.PublicKey)},
		Request: podRequest(v1alpha1.SignerName("mesh"), "checkout", der),
	}, nil
}

// podRequest is a PodCertificateRequest as the kubelet makes it for a pod of a KafkaUser in the namespace shop.
func podRequest(signerName, user string, csr []byte) *certificatesv1.PodCertificateRequest {
	return &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", GenerateName: "req-"},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: signerName, PodName: "pod", PodUID: "pod-uid", ServiceAccountName: user, ServiceAccountUID: "service-account-uid",
			NodeName: "node", NodeUID: "node-uid", MaxExpirationSeconds: new(int32(86400)), StubPKCS10Request: csr,
			UnverifiedUserAnnotations: map[string]string{v1alpha1.AnnotationUser: user},
		},
	}
}
