// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/smallstep/certificates/cas/apiv1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// Signer signs with one CA.
type Signer struct {
	ca     *certs.CA
	remote bool
	// version is that of the Secret that it was made with; "" where it needs none.
	version string
	cas     apiv1.CertificateAuthorityService
	// path, intermediates and roots are what of the CA does not change from one certificate to the next; the latter PEM.
	path                 certs.Path
	intermediates, roots []byte
	// reserve records that a certificate may live until then, before it is signed.
	reserve func(ctx context.Context, notAfter time.Time) error
}

// Signed is a signed certificate.
type Signed struct {
	// Certificate is the leaf: its DER is in Raw. Of one that was signed in this process the other fields may be those of
	// the template that it was made from.
	Certificate *x509.Certificate
	// Chain is the leaf and its intermediates, without the root (PEM).
	Chain []byte
	// Intermediates are the chain without the leaf.
	Intermediates []*x509.Certificate
	// Roots are what the chain leads to (PEM); all certificates share it.
	Roots []byte
	// CA is the certificate that signed; of a remote CA that returned no chain, its root.
	CA *x509.Certificate
}

// NewSigner returns a Signer for a CA whose key is in this process. reserve may be nil, for a CA
// whose certificates nobody keeps count of.
func NewSigner(ctx context.Context, ca *certs.CA, reserve func(context.Context, time.Time) error) (*Signer, error) {
	cas, err := newSoftCA(ctx, ca)
	if err != nil {
		return nil, err
	}
	return signerWith(ca, cas, reserve), nil
}

// signerWith computes what does not change from one certificate to the next.
func signerWith(ca *certs.CA, cas apiv1.CertificateAuthorityService, reserve func(context.Context, time.Time) error) *Signer {
	return &Signer{
		ca: ca, cas: cas, reserve: reserve,
		path: ca.Path(), intermediates: certs.EncodeCertificates(ca.Intermediates), roots: certs.EncodeCertificates(ca.Roots),
	}
}

// CA returns the CA that signs; of a remote one what is known of it.
func (s *Signer) CA() *certs.CA { return s.ca }

// Usable tells whether a certificate worth having can be signed at now. Errors are those of certs.ReasonOf.
func (s *Signer) Usable(now time.Time) error {
	if err := s.path.CheckTime(now); err != nil {
		return err
	}
	if notAfter := s.path.NotAfter(now); notAfter.Sub(now) < minimumLife {
		return fmt.Errorf("%w: it expires at %s, in less than %s", certs.ErrCAExpired, notAfter.UTC().Format(time.RFC3339), minimumLife)
	}
	return nil
}

// Sign signs what a grant allows. A refusal says that the CA cannot at the moment, or not this; an error is worth a
// retry. What another CA answers is compared with the grant before anybody sees it.
func (s *Signer) Sign(ctx context.Context, g Grant, now time.Time) (*Signed, *Refusal, error) {
	if err := s.Usable(now); err != nil {
		return nil, wait(v1alpha1.ReasonCAExpired, "%s", err), nil
	}
	serial, err := certs.NewSerial()
	if err != nil {
		return nil, nil, err
	}
	template, refusal := Template(g, serial, s.ca.Certificate.NotBefore, s.path.NotAfter(now), now)
	if refusal != nil {
		return nil, refusal, nil
	}
	if s.reserve != nil {
		if err := s.reserve(ctx, template.NotAfter); err != nil {
			return nil, nil, fmt.Errorf("sign the certificate of %s: %w", g.Identity.Subject, err)
		}
	}
	response, err := s.cas.CreateCertificate(&apiv1.CreateCertificateRequest{Template: template, CSR: g.CSR, Lifetime: template.NotAfter.Sub(now)})
	if err != nil {
		if refusal := refusalFor(err); refusal != nil {
			return nil, refusal, nil
		}
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", g.Identity.Subject, err)
	}
	leaf := response.Certificate
	if s.remote {
		if err := checkSigned(leaf, template); err != nil {
			return nil, nil, fmt.Errorf("sign the certificate of %s: %w", g.Identity.Subject, err)
		}
	}
	signed := &Signed{Certificate: leaf, Intermediates: s.ca.Intermediates, Roots: s.roots, CA: s.ca.Certificate}
	intermediates := s.intermediates
	if s.remote && len(response.CertificateChain) > 0 {
		signed.Intermediates, signed.CA = response.CertificateChain, response.CertificateChain[0]
		intermediates = certs.EncodeCertificates(signed.Intermediates)
	}
	signed.Chain = slices.Concat(certs.EncodeCertificates([]*x509.Certificate{leaf}), intermediates)
	return signed, nil, nil
}

// Signers keeps the Signer of each MeshIssuer, for as long as the same CA signs.
type Signers struct {
	reader      client.Reader
	authorities *certs.Authorities

	mu    sync.Mutex
	known map[string]*Signer
}

// NewSigners returns an empty Signers. reader is a certs.Named, for the Secrets of MeshIssuers; authorities say who signs.
func NewSigners(reader client.Reader, authorities *certs.Authorities) *Signers {
	return &Signers{reader: reader, authorities: authorities, known: map[string]*Signer{}}
}

// SignerFor returns the Signer of a MeshIssuer: the same one for as long as the same CA signs and the Secret that it
// reads is the same. Errors are those of certs.ReasonOf; whether the CA is valid at the moment is for Signer.Usable to say.
func (s *Signers) SignerFor(ctx context.Context, issuer *v1alpha1.MeshIssuer) (*Signer, error) {
	record, err := s.authorities.Record(ctx, issuer.Name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	known := s.known[issuer.Name]
	s.mu.Unlock()
	var version string
	if record.Signing.Mode != v1alpha1.ModeIntermediate {
		if version, err = certs.SecretVersion(ctx, s.reader, issuer); err != nil {
			return nil, fmt.Errorf("meshissuer %s: %w", issuer.Name, err)
		}
	}
	if known != nil && known.ca.Equal(record.Signing.CA) && known.version == version {
		return known, nil
	}
	signer, err := s.newSigner(ctx, issuer, record.Signing, known)
	if err != nil {
		return nil, fmt.Errorf("meshissuer %s: %w", issuer.Name, err)
	}
	signer.version = version
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[issuer.Name] = signer
	return signer, nil
}

// SignerOf returns a Signer for an authority that does not sign yet. Its certificates are for trying only: nobody keeps
// count of them.
func (s *Signers) SignerOf(ctx context.Context, issuer *v1alpha1.MeshIssuer, authority *certs.Authority) (*Signer, error) {
	signer, err := s.newSigner(ctx, issuer, authority, nil)
	if err != nil {
		return nil, fmt.Errorf("meshissuer %s: %w", issuer.Name, err)
	}
	signer.reserve = nil
	return signer, nil
}

// newSigner makes the Signer of an authority. The key of a Direct CA is in the MeshIssuer's Secret; where that holds
// another CA by now, former still has it.
func (s *Signers) newSigner(ctx context.Context, issuer *v1alpha1.MeshIssuer, authority *certs.Authority, former *Signer) (*Signer, error) {
	reserve := func(ctx context.Context, notAfter time.Time) error {
		return s.authorities.Reserve(ctx, issuer.Name, authority, notAfter)
	}
	switch authority.Mode {
	case v1alpha1.ModeStepCA:
		return s.newRemote(ctx, issuer, authority, reserve)
	case v1alpha1.ModeDirect:
		return s.newDirect(ctx, issuer, authority, former, reserve)
	}
	return NewSigner(ctx, authority.CA, reserve)
}

func (s *Signers) newDirect(ctx context.Context, issuer *v1alpha1.MeshIssuer, authority *certs.Authority, former *Signer, reserve func(context.Context, time.Time) error) (*Signer, error) {
	ca := authority.CA
	source, err := certs.ReadCA(ctx, s.reader, issuer)
	switch {
	case err != nil:
		return nil, err
	case source.Certificate.Equal(ca.Certificate):
		keyed := *ca
		keyed.Key = source.Key
		signer, err := NewSigner(ctx, &keyed, reserve)
		if err != nil {
			return nil, err
		}
		signer.ca = ca
		return signer, nil
	case former != nil && !former.remote && former.ca.Certificate.Equal(ca.Certificate):
		return signerWith(ca, former.cas, reserve), nil
	}
	return nil, fmt.Errorf("%w; the key of the former one, %q, is gone with the controller's restart", certs.ErrDistributing, ca.Certificate.Subject)
}

func (s *Signers) newRemote(ctx context.Context, issuer *v1alpha1.MeshIssuer, authority *certs.Authority, reserve func(context.Context, time.Time) error) (*Signer, error) {
	if issuer.Spec.CA.StepCA == nil {
		return nil, fmt.Errorf("%w; the step-ca that signed is no longer in spec.ca.stepCA", certs.ErrDistributing)
	}
	secret, err := certs.ReadStepCA(ctx, s.reader, issuer)
	if err != nil {
		return nil, err
	}
	cas, err := newStepCA(ctx, *issuer.Spec.CA.StepCA, secret)
	if err != nil {
		return nil, err
	}
	signer := signerWith(authority.CA, cas, reserve)
	signer.remote = true
	return signer, nil
}

// Forget drops the Signer, and with it the key, of a MeshIssuer that is gone.
func (s *Signers) Forget(issuer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, issuer)
}
