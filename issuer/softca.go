// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/smallstep/certificates/cas/apiv1"
	"github.com/smallstep/certificates/cas/softcas"

	"github.com/signet-kafka/signet/certs"
)

// softCA is smallstep's softcas, except that with an ECDSA key it does not parse what it has just made: beside a P-256
// signature that is a tenth of the work and of the garbage. Nothing decides here but the template, so there is nothing to be
// found out. Beside an RSA signature it is nothing, and softcas knows which scheme such a CA wants.
type softCA struct{ *softcas.SoftCAS }

func newSoftCA(ctx context.Context, ca *certs.CA) (softCA, error) {
	soft, err := softcas.New(ctx, apiv1.Options{
		Type:             apiv1.SoftCAS,
		CertificateChain: append([]*x509.Certificate{ca.Certificate}, ca.Intermediates...),
		Signer:           ca.Key,
	})
	if err != nil {
		return softCA{}, fmt.Errorf("set up the CA: %w", err)
	}
	return softCA{soft}, nil
}

// CreateCertificate signs the template. Of what softcas does not sign, the certificate in the answer is the template with the
// DER in Raw. It implements apiv1.CertificateAuthorityService.
func (c softCA) CreateCertificate(req *apiv1.CreateCertificateRequest) (*apiv1.CreateCertificateResponse, error) {
	signer, err := c.GetSigner()
	if err != nil {
		return nil, err
	}
	template := req.Template
	if _, ok := signer.Public().(*ecdsa.PublicKey); !ok || template.SubjectKeyId == nil {
		return c.SoftCAS.CreateCertificate(req)
	}
	// x509 verifies the signature with the CA certificate's own key before it returns.
	if template.Raw, err = x509.CreateCertificate(rand.Reader, template, c.CertificateChain[0], template.PublicKey, signer); err != nil {
		return nil, fmt.Errorf("sign with the CA %q: %w", c.CertificateChain[0].Subject, err)
	}
	return &apiv1.CreateCertificateResponse{Certificate: template, CertificateChain: c.CertificateChain}, nil
}
