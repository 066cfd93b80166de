// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"crypto"
	"crypto/x509"
	"time"

	"github.com/go-logr/logr"

	"github.com/signet-kafka/signet/certs"
)

// Outcome is what became of a request.
type Outcome string

// The outcomes.
const (
	Issued Outcome = "issued"
	Denied Outcome = "denied"
	Waits  Outcome = "pending"
)

// Audit is the record of one decision: one line with fixed keys, and nothing secret in it.
type Audit struct {
	Outcome Outcome
	// Requester is the authenticated user that asked.
	Requester string
	// Object is what was asked for: kind namespace/name.
	Object string
	// Issuer is the name of the MeshIssuer.
	Issuer string
	// Reason is one word: the refusal's, or KafkaUser or Controller for whom it was issued.
	Reason string
	// Detail says more of a refusal.
	Detail string
	// Grant is what was granted, nil for a refusal.
	Grant *Grant
	// Signed is what was signed, nil for a refusal.
	Signed *Signed
}

// Log writes the record.
func (a Audit) Log(log logr.Logger) {
	fields := []any{"outcome", string(a.Outcome), "requester", a.Requester, "object", a.Object, "issuer", a.Issuer, "reason", a.Reason}
	if a.Detail != "" {
		fields = append(fields, "detail", a.Detail)
	}
	if a.Grant != nil {
		fields = append(fields, "subject", a.Grant.Identity.Subject, "uri", a.Grant.Identity.URI.String(), "keySHA256", KeyFingerprint(a.Grant.PublicKey))
	}
	if a.Signed != nil {
		fields = append(fields,
			"serial", certs.SerialString(a.Signed.Certificate),
			"notAfter", a.Signed.Certificate.NotAfter.UTC().Format(time.RFC3339),
			"ca", a.Signed.CA.Subject.String(),
			"caSHA256", certs.Fingerprint(a.Signed.CA.Raw))
	}
	log.Info("certificate decision", fields...)
}

// KeyFingerprint returns the SHA-256 of a public key's SubjectPublicKeyInfo, in hexadecimal (RFC 7469 section 2.4 hashes
// the same bytes).
func KeyFingerprint(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	return certs.Fingerprint(der)
}
