// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// errNotAsGranted means that a CA signed something else than the policy granted. Nobody gets to see that certificate. It
// passes when somebody corrects the CA, so it is worth a retry; its text is for the log.
var errNotAsGranted = errors.New("the CA signed something else than was granted")

// harmlessExtensions are what a CA may add to a certificate beside the four that checkSigned looks into, as long as they are
// not critical: key identifiers, where the CA publishes what, its policies, and step-ca's own note of the provisioner.
var harmlessExtensions = []asn1.ObjectIdentifier{
	{2, 5, 29, 14},                         // subjectKeyIdentifier
	{2, 5, 29, 35},                         // authorityKeyIdentifier
	{2, 5, 29, 31},                         // cRLDistributionPoints
	{2, 5, 29, 32},                         // certificatePolicies
	{1, 3, 6, 1, 5, 5, 7, 1, 1},            // authorityInfoAccess
	{1, 3, 6, 1, 4, 1, 37476, 9000, 64, 1}, // step-ca's provisioner
	{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2},     // signed certificate timestamps (RFC 6962)
}

// checkSigned tells whether the certificate that a CA returned is what the policy granted: the same subject, byte for byte,
// the one URI as its only name, the same key, no CA, for nothing but client authentication, and valid no longer. It is
// asked about the answer of every CA that decides for itself. Errors wrap errNotAsGranted.
func checkSigned(got, want *x509.Certificate) error {
	if err := compareSigned(got, want); err != nil {
		return fmt.Errorf("%w: %w", errNotAsGranted, err)
	}
	return nil
}

func compareSigned(got, want *x509.Certificate) error {
	key, ok := want.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case len(want.RawSubject) == 0 || len(want.URIs) != 1:
		return errors.New("the grant itself has no subject or not one name")
	case !bytes.Equal(got.RawSubject, want.RawSubject):
		return fmt.Errorf("its subject is %.200q, or is encoded otherwise", got.Subject.String())
	case !ok || !key.Equal(got.PublicKey):
		return errors.New("its public key is another one")
	case got.IsCA:
		return errors.New("it is a CA")
	case got.KeyUsage != x509.KeyUsageDigitalSignature:
		return errors.New("its key usage is not digitalSignature alone")
	case !slices.Equal(got.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || len(got.UnknownExtKeyUsage) > 0:
		return errors.New("its extended key usage is not clientAuth alone")
	case got.NotAfter.After(want.NotAfter):
		return fmt.Errorf("it is valid until %s, longer than until %s", got.NotAfter.UTC().Format(time.RFC3339), want.NotAfter.UTC().Format(time.RFC3339))
	case !got.NotBefore.Before(got.NotAfter):
		return errors.New("it is valid at no time")
	}
	names := 0
	for _, extension := range got.Extensions {
		switch {
		case extension.Id.Equal(oidSubjectAltName):
			names++
			if err := checkSAN(extension.Value, want.URIs[0]); err != nil {
				return err
			}
		case extension.Id.Equal(oidKeyUsage), extension.Id.Equal(oidExtKeyUsage), extension.Id.Equal(oidBasicConstraints):
		case extension.Critical || !isHarmless(extension):
			return fmt.Errorf("it has the extension %s", extension.Id)
		}
	}
	if names != 1 {
		return fmt.Errorf("it has %d subjectAltName extensions, not the one with %s", names, want.URIs[0])
	}
	return nil
}

func isHarmless(extension pkix.Extension) bool {
	return slices.ContainsFunc(harmlessExtensions, extension.Id.Equal)
}
