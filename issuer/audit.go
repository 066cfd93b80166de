// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
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
	// Retries means that something failed on the way; the request is decided anew.
	Retries Outcome = "retry"
	// Unknown means that a certificate was signed and handed to the API server, and that its answer is lost: the
	// certificate may be out there.
	Unknown Outcome = "unknown"
)

// outcomeOf names what a refusal does to the request.
func outcomeOf(kind Kind) Outcome {
	switch kind {
	case Wait:
		return Waits
	case Retry:
		return Retries
	}
	return Denied
}

// Audit is the record of one decision: one line with fixed keys, and nothing secret in it.
type Audit struct {
	Outcome Outcome
	// Requester is the authenticated user that asked; of a PodCertificateRequest the node.
	Requester string
	// Pod is the pod that a PodCertificateRequest is for, and its service account; empty for the other kinds.
	Pod string
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
	if a.Pod != "" {
		fields = append(fields, "pod", a.Pod)
	}
	if a.Detail != "" {
		fields = append(fields, "detail", a.Detail)
	}
	if a.Grant != nil {
		key := a.Grant.KeySHA256
		if key == "" {
			key = KeyFingerprint(a.Grant.PublicKey)
		}
		fields = append(fields, "subject", a.Grant.Identity.Subject, "uri", a.Grant.Identity.URI.String(), "keySHA256", key)
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
