// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"github.com/smallstep/certificates/cas/apiv1"
	"github.com/smallstep/certificates/cas/softcas"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// Signer signs with one CA.
type Signer struct {
	ca  *certs.CA
	cas apiv1.CertificateAuthorityService
}

// Signed is a signed certificate.
type Signed struct {
	// Certificate is the leaf.
	Certificate *x509.Certificate
	// Chain is the leaf and its intermediates, without the root (PEM).
	Chain []byte
	// Roots are what the chain leads to (PEM).
	Roots []byte
	// CA is the certificate that signed.
	CA *x509.Certificate
}

// NewSigner returns a Signer for the CA, whose key stays in this process (smallstep's softcas).
func NewSigner(ctx context.Context, ca *certs.CA) (*Signer, error) {
	cas, err := softcas.New(ctx, apiv1.Options{
		Type:             apiv1.SoftCAS,
		CertificateChain: append([]*x509.Certificate{ca.Certificate}, ca.Intermediates...),
		Signer:           ca.Key,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the CA: %w", err)
	}
	return &Signer{ca: ca, cas: cas}, nil
}

// CA returns the CA that signs.
func (s *Signer) CA() *certs.CA { return s.ca }

// Usable tells whether a certificate worth having can be signed at now. Errors are those of certs.ReasonOf.
func (s *Signer) Usable(now time.Time) error {
	if err := s.ca.CheckTime(now); err != nil {
		return err
	}
	if notAfter := s.ca.NotAfter(now); notAfter.Sub(now) < minimumLife {
		return fmt.Errorf("%w: it expires at %s, in less than %s", certs.ErrCAExpired, notAfter.UTC().Format(time.RFC3339), minimumLife)
	}
	return nil
}

// Sign signs what a grant allows. A refusal says that the CA cannot at the moment; an error is worth a retry.
func (s *Signer) Sign(g Grant, now time.Time) (*Signed, *Refusal, error) {
	if err := s.Usable(now); err != nil {
		return nil, wait(v1alpha1.ReasonCAExpired, "%s", err), nil
	}
	serial, err := certs.NewSerial()
	if err != nil {
		return nil, nil, err
	}
	template, refusal := Template(g, serial, s.ca.Certificate.NotBefore, s.ca.NotAfter(now), now)
	if refusal != nil {
		return nil, refusal, nil
	}
	response, err := s.cas.CreateCertificate(&apiv1.CreateCertificateRequest{Template: template, Lifetime: template.NotAfter.Sub(now)})
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", g.Identity.Subject, err)
	}
	leaf := response.Certificate
	return &Signed{
		Certificate: leaf,
		Chain:       certs.EncodeCertificates(append([]*x509.Certificate{leaf}, s.ca.Intermediates...)),
		Roots:       certs.EncodeCertificates(s.ca.Roots),
		CA:          s.ca.Certificate,
	}, nil, nil
}

// Signers keeps the Signer of each MeshIssuer for as long as its Secret stays the same.
type Signers struct {
	reader client.Reader

	mu    sync.Mutex
	known map[string]knownSigner
}

type knownSigner struct {
	secret  v1alpha1.SecretReference
	version string
	signer  *Signer
	err     error
}

// NewSigners returns an empty Signers. reader is a certs.Named, so that a change of the Secret is seen at once.
func NewSigners(reader client.Reader) *Signers {
	return &Signers{reader: reader, known: map[string]knownSigner{}}
}

// SignerFor returns the Signer of a MeshIssuer as its Secret is now: the same one until the Secret changes. Errors are
// those of certs.ReasonOf; whether the CA is valid at the moment is for Signer.Usable to say.
func (s *Signers) SignerFor(ctx context.Context, issuer *v1alpha1.MeshIssuer) (*Signer, error) {
	data, version, err := certs.ReadCASecret(ctx, s.reader, issuer)
	if err != nil {
		return nil, fmt.Errorf("meshissuer %s: %w", issuer.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	secret := issuer.Spec.CA.SecretRef
	if known, ok := s.known[issuer.Name]; ok && known.secret == secret && known.version == version {
		return known.signer, known.err
	}
	known := knownSigner{secret: secret, version: version}
	ca, err := certs.ParseCA(data)
	if err == nil {
		known.signer, err = NewSigner(ctx, ca)
	}
	if err != nil {
		known.err = fmt.Errorf("meshissuer %s: Secret %s/%s: %w", issuer.Name, secret.Namespace, secret.Name, err)
	}
	s.known[issuer.Name] = known
	return known.signer, known.err
}

// Forget drops the Signer, and with it the key, of a MeshIssuer that is gone.
func (s *Signers) Forget(issuer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, issuer)
}
