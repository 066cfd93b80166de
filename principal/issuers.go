// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"fmt"
	"time"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// The defaults of a MeshIssuer, which are also the limits of the KafkaUsers of an issuer of cert-manager's own.
const (
	// DefaultTrustDomain is the SPIFFE trust domain of certificates.
	DefaultTrustDomain = "kafka.signet.dev"
	// DefaultMaxDuration is the longest lifetime of a certificate.
	DefaultMaxDuration = 24 * time.Hour
)

// LongestLife returns the longest lifetime of the certificates that an issuer signs, whoever asks for them and how.
func LongestLife(issuer *v1alpha1.MeshIssuer) time.Duration {
	if issuer.Spec.MaxDuration.Duration == 0 {
		return DefaultMaxDuration
	}
	return issuer.Spec.MaxDuration.Duration
}

// underWay is how long a signature that was decided before a change was seen may take.
const underWay = time.Minute

// LastCertificateUntil returns when the last certificate of a KafkaUser expires that gets no more of them since the given
// time: the one that its status shows (nil: none), or one that lives the longest and that nobody keeps a record of, such
// as a pod's own or an external client's. Until then a certificate opens connections; what they may do is up to the ACLs.
func LastCertificateUntil(shown *v1alpha1.CertificateStatus, since time.Time, longest time.Duration) time.Time {
	until := since.Add(underWay + longest)
	if shown != nil && shown.NotAfter != nil && shown.NotAfter.After(until) {
		until = shown.NotAfter.Time
	}
	return until.UTC().Truncate(time.Second)
}

// certificatesUntilAnnotation is on the PrincipalMapping of a KafkaUser that is gone: LastCertificateUntil, RFC 3339.
const certificatesUntilAnnotation = v1alpha1.AnnotationPrefix + "certificates-until"

// reservedMessage says of a PrincipalMapping whose KafkaUser is gone what is left of it.
func reservedMessage(m *v1alpha1.PrincipalMapping) string {
	message := fmt.Sprintf("KafkaUser %s/%s is gone; %s stays reserved until this PrincipalMapping is deleted", m.Spec.Owner.Namespace, m.Spec.Owner.Name, m.Spec.Principal)
	if until, err := time.Parse(time.RFC3339, m.Annotations[certificatesUntilAnnotation]); err == nil {
		message += "; " + openUntil(until.UTC().Format(time.RFC3339))
	}
	return message
}

func openUntil(until string) string {
	return "certificates of it that are out open connections, with no rights, until " + until + " at the latest"
}
