// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/principal"
)

const (
	// backdate is how far notBefore lies in the past, for brokers whose clock is behind.
	backdate = 2 * time.Minute
	// minimumLife is the shortest certificate worth signing: cert-manager renews at two thirds, and a pod needs a minute
	// to see a new Secret. A CA with less left has to be renewed first.
	minimumLife = 10 * time.Minute
)

// Kind says what the caller does about a Refusal.
type Kind int

const (
	// Permanent means that the request is denied for good.
	Permanent Kind = iota
	// Wait means that something that is watched has to change first.
	Wait
	// Retry means that something failed that may work the next time, such as a remote CA that does not answer.
	Retry
)

// Reasons of refusals, as they stand in the audit log, in metrics and in conditions.
const (
	ReasonRequester          = "RequesterNotCertManager"
	ReasonNotFromCertificate = "NotFromCertificate"
	ReasonNotFromUser        = "NotFromKafkaUser"
	ReasonMalformed          = "MalformedRequest"
	ReasonKeyNotAllowed      = "KeyNotAllowed"
	ReasonAsksForMore        = "AsksForMore"
	ReasonCertificateDiffers = "CertificateDiffers"
	ReasonDeclarationInvalid = "DeclarationInvalid"
	// ReasonNotRecorded means that the ledger does not (yet) give the KafkaUser its principal.
	ReasonNotRecorded = "PrincipalNotRecorded"
	// ReasonUserNotFound means that the KafkaUser does not exist (yet), or is being deleted.
	ReasonUserNotFound = "KafkaUserNotFound"
	// ReasonOtherIssuer means that the KafkaUser's certificates come from another issuer.
	ReasonOtherIssuer = "OtherIssuer"
	// ReasonKeyReused means that the key is that of another identity or of a CA.
	ReasonKeyReused = "KeyReused"
	// ReasonUnsupportedKeyType is the word that the API has for it (PodCertificateRequest).
	ReasonUnsupportedKeyType = certificatesv1.PodCertificateRequestConditionUnsupportedKeyType
	// ReasonUserAnnotations is the word that the API has for annotations that a signer does not accept.
	ReasonUserAnnotations = certificatesv1.PodCertificateRequestConditionInvalidUserConfig
	// ReasonServiceAccount means that the KafkaUser is another service account's.
	ReasonServiceAccount = "ServiceAccountNotAllowed"
	// ReasonClaim means that a CertificateSigningRequest does not say, or says wrong, which KafkaUser it is for.
	ReasonClaim = "KafkaUserNotNamed"
	// ReasonSignNotPermitted means that the requester lacks the verb sign on the KafkaUser.
	ReasonSignNotPermitted = "SignNotPermitted"
	// ReasonTemporary means that it is tried again soon.
	ReasonTemporary = "TemporaryFailure"
)

// Refusal is why a request is not signed.
type Refusal struct {
	Kind Kind
	// Reason is one word for logs and metrics.
	Reason string
	// Detail is for the operator's log: everything that helps to find out.
	Detail string
	// Answer is for the requester: nothing that the requester did not know.
	Answer string
}

// Error returns the detail.
func (r *Refusal) Error() string { return r.Reason + ": " + r.Detail }

// UserFacts is what entitles a KafkaUser to a certificate, whoever asks for it. Each was read from the API server.
type UserFacts struct {
	// User is the KafkaUser that the request is for; nil where it does not exist.
	User *v1alpha1.KafkaUser
	// Cluster is the user's; nil where it does not exist.
	Cluster *v1alpha1.KafkaCluster
	// Admitted tells whether the cluster admits the user's namespace.
	Admitted bool
	// Issuer is the MeshIssuer that the request names; nil where it does not exist.
	Issuer *v1alpha1.MeshIssuer
}

// Asked is what the sender of a request brings along, and what is known of the key in it.
type Asked struct {
	// CSR is the certificate request, signed by the key in it; nil where there is none.
	CSR *x509.CertificateRequest
	// Problem is why there is none.
	Problem error
	// KeySHA256 is the fingerprint (KeyFingerprint) of its key.
	KeySHA256 string
	// KeyHolder is the identity (URI) with an unexpired certificate for this key, or "".
	KeyHolder string
	// KeyOfCA tells whether a CA certificate that the issuer signs with or leads to has this key.
	KeyOfCA bool
}

// Grant is what may be signed, before a CA is looked at.
type Grant struct {
	Identity  Identity
	PublicKey crypto.PublicKey
	// KeySHA256 is KeyFingerprint of the public key; it may be left empty.
	KeySHA256 string
	// CSR is the certificate request, for a CA that wants to see it: it asks for exactly this identity. Nil where the
	// request was empty, as the kubelet's are.
	CSR *x509.CertificateRequest
	// Duration is the lifetime asked for, cut to the MeshIssuer's limit.
	Duration time.Duration
	// MinValidity and MaxValidity bound the time from notBefore to notAfter; 0 is no bound. The API server checks them for
	// PodCertificateRequests.
	MinValidity, MaxValidity time.Duration
}

func (a Asked) grant(identity Identity, duration time.Duration, csr *x509.CertificateRequest) *Grant {
	return &Grant{Identity: identity, PublicKey: a.CSR.PublicKey, KeySHA256: a.KeySHA256, CSR: csr, Duration: duration}
}

// entitle tells who a KafkaUser's certificate is for, or what has to change before it gets one.
func entitle(f UserFacts) (Identity, *Refusal) {
	if f.Issuer == nil {
		return Identity{}, noIssuer("that the request names")
	}
	if f.User == nil || !f.User.DeletionTimestamp.IsZero() {
		return Identity{}, wait(ReasonUserNotFound, "the kafkauser does not exist, or is being deleted")
	}
	user := f.User.Namespace + "/" + f.User.Name
	ref := f.User.Spec.ClusterRef.In(f.User.Namespace)
	switch {
	case f.Cluster == nil:
		return Identity{}, wait(v1alpha1.ReasonClusterNotFound, "kafkacluster %s does not exist", ref)
	case !f.Admitted:
		return Identity{}, wait(v1alpha1.ReasonNamespaceNotAllowed, "kafkacluster %s does not admit namespace %s", ref, f.User.Namespace)
	case f.User.Spec.Suspend:
		return Identity{}, wait(v1alpha1.ReasonSuspended, "kafkauser %s is suspended", user)
	case !isIssuerOf(f):
		return Identity{}, wait(ReasonOtherIssuer, "the certificates of kafkauser %s come from another issuer", user)
	}
	// A stock broker gives this certificate a principal by a static rule, whatever the ledger says: nobody gets one
	// before the ledger has decided that the principal is his.
	if recorded := meta.FindStatusCondition(f.User.Status.Conditions, v1alpha1.ConditionMappingRecorded); recorded == nil {
		return Identity{}, wait(ReasonNotRecorded, "the principal of kafkauser %s is not recorded yet", user)
	} else if recorded.Status != metav1.ConditionTrue {
		return Identity{}, wait(ReasonNotRecorded, "the principal of kafkauser %s is not recorded: %s", user, recorded.Message)
	}
	if td := f.Cluster.Spec.MeshTrustDomain; principal.SharesTrustDomain(certs.TrustDomain(f.Issuer), td) {
		return Identity{}, wait(ReasonDeclarationInvalid, "the mesh's trust domain %q of kafkacluster %s is that of meshissuer %s, or below it: its CA could sign mesh identities", td, ref, f.Issuer.Name)
	}
	identity, err := UserIdentity(f.User, f.Cluster, f.Issuer)
	if err != nil {
		return Identity{}, wait(ReasonDeclarationInvalid, "%s", err)
	}
	return identity, nil
}

func noIssuer(name string) *Refusal {
	return wait(v1alpha1.ReasonIssuerNotFound, "meshissuer %s does not exist", name)
}

// checkAdmitted denies where entitle would wait, for requesters that come again by themselves.
func checkAdmitted(f UserFacts) *Refusal {
	if f.Issuer == nil || f.Cluster == nil || f.Admitted {
		return nil
	}
	return deny(v1alpha1.ReasonNamespaceNotAllowed, "kafkacluster %s does not admit namespace %s", f.User.Spec.ClusterRef.In(f.User.Namespace), f.User.Namespace)
}

// isIssuerOf tells whether the KafkaUser's certificates come from the MeshIssuer.
func isIssuerOf(f UserFacts) bool {
	ref := f.User.Issuer(f.Cluster)
	return ref.IsMeshIssuer() && ref.Name == f.Issuer.Name
}

// checkKey tells whether the key of a request may be certified for the identity.
func checkKey(a Asked, issuer *v1alpha1.MeshIssuer, identity Identity) *Refusal {
	if a.CSR == nil {
		return deny(ReasonMalformed, "%s", a.Problem)
	}
	if err := CheckPublicKey(a.CSR.PublicKey, issuer.Spec.KeyTypes, issuer.Spec.BlockedKeys); err != nil {
		refusal := deny(ReasonKeyNotAllowed, "%s", err)
		if unsupported, ok := errors.AsType[*UnsupportedKeyTypeError](err); ok {
			refusal.Reason, refusal.Answer = ReasonUnsupportedKeyType, unsupported.Error()
		}
		return refusal
	}
	if a.KeyOfCA {
		return keyOfCA()
	}
	if a.KeyHolder != "" && a.KeyHolder != identity.URI.String() {
		return keyReused(a.KeyHolder)
	}
	return nil
}

func keyOfCA() *Refusal { return deny(ReasonKeyReused, "the key is that of a CA") }

func keyReused(holder string) *Refusal {
	return deny(ReasonKeyReused, "the key is that of an unexpired certificate of %s: a key belongs to one identity", holder)
}

// UserIdentity returns the identity in a KafkaUser's certificate.
func UserIdentity(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, issuer *v1alpha1.MeshIssuer) (Identity, error) {
	id, err := principal.UserSPIFFEID(certs.TrustDomain(issuer), user.Namespace, user.Name)
	if err != nil {
		return Identity{}, err
	}
	return newIdentity(principal.SubjectOf(cluster, user.Namespace, user.Name), id.URL())
}

func newIdentity(subject principal.UserSubject, uri *url.URL) (Identity, error) {
	raw := encodeLabels(subject)
	if raw == nil {
		var err error
		if raw, err = subject.RawDER(); err != nil {
			return Identity{}, err
		}
	}
	return Identity{RawSubject: raw, Subject: subject.String(), URI: uri}, nil
}

// encodeLabels is UserSubject.RawDER for subjects of DNS labels, which are all that the API admits, in a tenth of the
// time; nil for every other.
func encodeLabels(s principal.UserSubject) []byte {
	raw := make([]byte, 0, 256)
	for _, attribute := range []struct {
		oid   byte // below id-at, 2.5.4
		value string
	}{{10, s.Organization}, {11, s.Namespace}, {3, s.Name}} {
		if !isLabel(attribute.value) {
			return nil
		}
		n := byte(len(attribute.value))
		// SET { SEQUENCE { OBJECT IDENTIFIER, PrintableString } }; every length is below 128.
		raw = append(raw, 0x31, n+9, 0x30, n+7, 0x06, 0x03, 0x55, 0x04, attribute.oid, 0x13, n)
		raw = append(raw, attribute.value...)
	}
	if n := byte(len(raw)); n >= 128 {
		return append([]byte{0x30, 0x81, n}, raw...)
	}
	return append([]byte{0x30, byte(len(raw))}, raw...)
}

// isLabel tells whether a text has 1 to 63 letters, digits and hyphens: all in the alphabet of PrintableString.
func isLabel(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return 0 < len(text) && len(text) <= 63
}

// Template returns the complete certificate for a grant under a CA that is valid from caNotBefore to caNotAfter. It
// waits where the CA has too little life left, or none.
func Template(g Grant, serial *big.Int, caNotBefore, caNotAfter, now time.Time) (*x509.Certificate, *Refusal) {
	notBefore := now.Add(-backdate)
	if caNotBefore.After(notBefore) {
		notBefore = caNotBefore
	}
	notBefore = notBefore.UTC().Truncate(time.Second)
	notAfter := now.Add(g.Duration)
	if caNotAfter.Before(notAfter) {
		notAfter = caNotAfter
	}
	if latest := notBefore.Add(g.MaxValidity); g.MaxValidity > 0 && latest.Before(notAfter) {
		notAfter = latest
	}
	notAfter = notAfter.UTC().Truncate(time.Second)
	if now.Before(caNotBefore) {
		return nil, wait(v1alpha1.ReasonCAExpired, "the CA is valid from %s only", caNotBefore.UTC().Format(time.RFC3339))
	}
	if left := notAfter.Sub(now); left < minimumLife-time.Second {
		return nil, wait(v1alpha1.ReasonCAExpired, "the certificate would live for %s only, because the CA expires at %s", max(left, 0).Round(time.Second), caNotAfter.UTC().Format(time.RFC3339))
	}
	if valid := notAfter.Sub(notBefore); valid < g.MinValidity {
		return nil, wait(v1alpha1.ReasonCAExpired, "the certificate would be valid for %s, and %s are needed, because the CA expires at %s", valid, g.MinValidity, caNotAfter.UTC().Format(time.RFC3339))
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            bytes.Clone(g.Identity.RawSubject),
		URIs:                  []*url.URL{g.Identity.URI},
		PublicKey:             g.PublicKey,
		SubjectKeyId:          subjectKeyID(g.PublicKey),
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, nil
}

// opaque is what the sender of a denied request is told beside the one-word reason. Whoever probes learns nothing of what
// exists; the audit log has everything.
const opaque = "this issuer signs only the certificates of KafkaUsers, for those who may ask for them; the audit log of the Signet controller says what was wrong with this request"

func deny(reason, format string, args ...any) *Refusal {
	return &Refusal{Kind: Permanent, Reason: reason, Detail: fmt.Sprintf(format, args...), Answer: opaque}
}

// wait tells its reason to the requester too: everything before it was verified, so this is the user's own object.
func wait(reason, format string, args ...any) *Refusal {
	detail := fmt.Sprintf(format, args...)
	return &Refusal{Kind: Wait, Reason: reason, Detail: detail, Answer: detail}
}

// retry hides its reason from the requester: it may name what is behind the issuer.
func retry(err error) *Refusal {
	return &Refusal{Kind: Retry, Reason: ReasonTemporary, Detail: err.Error(), Answer: "the issuer cannot answer at the moment and tries again"}
}
