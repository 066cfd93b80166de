// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
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

// Kind says what the caller does about a Refusal. What is worth a retry, such as an API server that does not answer, is an
// error and no Refusal.
type Kind int

const (
	// Permanent means that the request is denied for good.
	Permanent Kind = iota
	// Wait means that something that is watched has to change first.
	Wait
)

// Reasons of refusals, as they stand in the audit log.
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

// Facts is what a decision rests on. Each was read from the API server; the owners were found by the name in the owner
// reference and are compared by UID here.
type Facts struct {
	// Request is the CertificateRequest. Its spec.username was set by cert-manager's admission webhook and cannot change.
	Request *cmv1.CertificateRequest
	// CertManager is the user name of cert-manager's controller.
	CertManager string
	// Certificate has the name that the request's owner reference gives; nil where none has.
	Certificate *cmv1.Certificate
	// User has the name that the Certificate's owner reference gives; nil where none has.
	User *v1alpha1.KafkaUser
	// Cluster is the user's; nil where it does not exist.
	Cluster *v1alpha1.KafkaCluster
	// Admitted tells whether the cluster admits the user's namespace.
	Admitted bool
	// Issuer is the MeshIssuer that the request names; nil where it does not exist.
	Issuer *v1alpha1.MeshIssuer
}

// Grant is what may be signed, before a CA is looked at.
type Grant struct {
	Identity  Identity
	PublicKey crypto.PublicKey
	// Duration is the lifetime asked for, cut to the MeshIssuer's limit.
	Duration time.Duration
}

// Decide judges a CertificateRequest. It refuses for good whatever does not come from a Certificate that Signet made for
// an existing KafkaUser or asks for anything but that user's certificate; it waits where the user is entitled as soon as
// something else is in order.
func Decide(f Facts) (*Grant, *Refusal) {
	if refusal := checkChain(f); refusal != nil {
		return nil, refusal
	}
	ref := f.User.Spec.ClusterRef.In(f.User.Namespace)
	switch {
	case f.Issuer == nil:
		return nil, wait(v1alpha1.ReasonIssuerNotFound, "meshissuer %s does not exist", f.Request.Spec.IssuerRef.Name)
	case f.Cluster == nil:
		return nil, wait(v1alpha1.ReasonClusterNotFound, "kafkacluster %s does not exist", ref)
	case !f.Admitted:
		return nil, deny(v1alpha1.ReasonNamespaceNotAllowed, "kafkacluster %s does not admit namespace %s", ref, f.User.Namespace)
	}
	// A stock broker gives this certificate a principal by a static rule, whatever the ledger says: nobody gets one
	// before the ledger has decided that the principal is his.
	if recorded := meta.FindStatusCondition(f.User.Status.Conditions, v1alpha1.ConditionMappingRecorded); recorded == nil {
		return nil, wait(ReasonNotRecorded, "the principal of kafkauser %s/%s is not recorded yet", f.User.Namespace, f.User.Name)
	} else if recorded.Status != metav1.ConditionTrue {
		return nil, wait(ReasonNotRecorded, "the principal of kafkauser %s/%s is not recorded: %s", f.User.Namespace, f.User.Name, recorded.Message)
	}
	desired, err := certs.DesiredCertificate(f.User, f.Cluster, f.Issuer)
	if err != nil {
		return nil, wait(ReasonDeclarationInvalid, "%s", err)
	}
	identity, err := UserIdentity(f.User, f.Cluster, f.Issuer)
	if err != nil {
		return nil, wait(ReasonDeclarationInvalid, "%s", err)
	}
	csr, err := ParseCSR(f.Request.Spec.Request)
	if err != nil {
		return nil, deny(ReasonMalformed, "%s", err)
	}
	if err := checkPublicKey(csr.PublicKey); err != nil {
		return nil, deny(ReasonKeyNotAllowed, "%s", err)
	}
	if err := checkAsksFor(csr, identity); err != nil {
		return nil, deny(ReasonAsksForMore, "%s", err)
	}
	if f.Request.Spec.IsCA {
		return nil, deny(ReasonAsksForMore, "spec.isCA is true")
	}
	if !sameUsages(f.Request.Spec.Usages, desired.Usages) {
		return nil, deny(ReasonAsksForMore, "spec.usages are %.200q, not %q", f.Request.Spec.Usages, desired.Usages)
	}
	// The Certificate is Signet's own and was changed since, by somebody or by a new declaration. Signet restores it, and
	// cert-manager replaces a request that no longer fits; a denial would make it pause for an hour.
	if field := certs.DifferingField(f.Certificate.Spec, desired); field != "" {
		return nil, wait(ReasonCertificateDiffers, "certificate %s/%s differs in spec.%s from what Signet makes for the kafkauser; waiting until it is restored", f.Certificate.Namespace, f.Certificate.Name, field)
	}
	duration := desired.Duration.Duration
	if asked := f.Request.Spec.Duration; asked != nil {
		duration = min(asked.Duration, certs.MaxDuration(f.Issuer))
	}
	return &Grant{Identity: identity, PublicKey: csr.PublicKey, Duration: duration}, nil
}

// checkChain verifies who asked and for whom. Names, user name and UIDs are what the API server and cert-manager's
// webhook vouch for; owner references and annotations are only claims, which hold where the named object has that UID
// and where the request's own name, which cannot change, is the one that cert-manager gives to that Certificate's
// requests. Without the latter, who may update CertificateRequests could hand a request of a Certificate of his own to
// the Certificate of a KafkaUser.
func checkChain(f Facts) *Refusal {
	r := f.Request
	if f.CertManager == "" || r.Spec.Username != f.CertManager {
		return deny(ReasonRequester, "made by %.200q, not by cert-manager (%s)", r.Spec.Username, f.CertManager)
	}
	owner := metav1.GetControllerOf(r)
	switch {
	case owner == nil || owner.Kind != "Certificate" || owner.APIVersion != cmv1.SchemeGroupVersion.String():
		return deny(ReasonNotFromCertificate, "no Certificate controls it")
	case f.Certificate == nil:
		return deny(ReasonNotFromCertificate, "its owner, certificate %s, does not exist", owner.Name)
	case f.Certificate.UID != owner.UID || f.Certificate.Namespace != r.Namespace || f.Certificate.Name != owner.Name:
		return deny(ReasonNotFromCertificate, "its owner, certificate %s with uid %s, does not exist; another one has the name", owner.Name, owner.UID)
	case !isRequestName(r.Name, owner.Name):
		return deny(ReasonNotFromCertificate, "its name is not one that cert-manager gives to requests of certificate %s, which is %s-<revision> (cert-manager's feature StableCertificateRequestName, on by default)", owner.Name, owner.Name)
	case !f.Certificate.DeletionTimestamp.IsZero():
		return deny(ReasonNotFromCertificate, "certificate %s is being deleted", owner.Name)
	}
	owner = metav1.GetControllerOf(f.Certificate)
	switch {
	case owner == nil || owner.Kind != "KafkaUser" || owner.APIVersion != v1alpha1.GroupVersion.String():
		return deny(ReasonNotFromUser, "no KafkaUser controls certificate %s: declare a KafkaUser; Signet makes its Certificate", f.Certificate.Name)
	case f.User == nil:
		return deny(ReasonNotFromUser, "the owner of certificate %s, kafkauser %s, does not exist", f.Certificate.Name, owner.Name)
	case f.User.UID != owner.UID || f.User.Namespace != r.Namespace || f.User.Name != owner.Name:
		return deny(ReasonNotFromUser, "the owner of certificate %s, kafkauser %s with uid %s, does not exist; another one has the name", f.Certificate.Name, owner.Name, owner.UID)
	case f.Certificate.Name != v1alpha1.CertificateName(f.User.Name):
		return deny(ReasonNotFromUser, "certificate %s is not the one that Signet makes for kafkauser %s (%s)", f.Certificate.Name, f.User.Name, v1alpha1.CertificateName(f.User.Name))
	case !f.User.DeletionTimestamp.IsZero():
		return deny(ReasonNotFromUser, "kafkauser %s is being deleted", f.User.Name)
	}
	return nil
}

func isRequestName(name, certificate string) bool {
	suffix, ok := strings.CutPrefix(name, certificate+"-")
	revision, err := strconv.Atoi(suffix)
	return ok && err == nil && name == certs.RequestName(certificate, revision) && revision > 0
}

func sameUsages(a, b []cmv1.KeyUsage) bool {
	x, y := slices.Clone(a), slices.Clone(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
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
	raw, err := subject.RawDER()
	if err != nil {
		return Identity{}, err
	}
	return Identity{RawSubject: raw, Subject: subject.String(), URI: uri}, nil
}

// Template returns the complete certificate for a grant under a CA that is valid from caNotBefore to caNotAfter. It
// waits where the CA has too little life left, or none.
func Template(g Grant, serial *big.Int, caNotBefore, caNotAfter, now time.Time) (*x509.Certificate, *Refusal) {
	notBefore := now.Add(-backdate)
	if caNotBefore.After(notBefore) {
		notBefore = caNotBefore
	}
	notAfter := now.Add(g.Duration)
	if caNotAfter.Before(notAfter) {
		notAfter = caNotAfter
	}
	notBefore, notAfter = notBefore.UTC().Truncate(time.Second), notAfter.UTC().Truncate(time.Second)
	if now.Before(caNotBefore) {
		return nil, wait(v1alpha1.ReasonCAExpired, "the CA is valid from %s only", caNotBefore.UTC().Format(time.RFC3339))
	}
	if left := notAfter.Sub(now); left < minimumLife-time.Second {
		return nil, wait(v1alpha1.ReasonCAExpired, "the certificate would live for %s only, because the CA expires at %s", max(left, 0).Round(time.Second), caNotAfter.UTC().Format(time.RFC3339))
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            bytes.Clone(g.Identity.RawSubject),
		URIs:                  []*url.URL{g.Identity.URI},
		PublicKey:             g.PublicKey,
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, nil
}

// opaque is what the sender of a denied request is told beside the one-word reason. Whoever probes learns nothing of what
// exists; the audit log has everything.
const opaque = "this issuer signs only the certificates of KafkaUsers, by the Certificates that Signet makes for them; the audit log of the Signet controller says what was wrong with this request"

func deny(reason, format string, args ...any) *Refusal {
	return &Refusal{Kind: Permanent, Reason: reason, Detail: fmt.Sprintf(format, args...), Answer: opaque}
}

// wait tells its reason to the requester too: everything before it was verified, so this is the user's own object.
func wait(reason, format string, args ...any) *Refusal {
	detail := fmt.Sprintf(format, args...)
	return &Refusal{Kind: Wait, Reason: reason, Detail: detail, Answer: detail}
}
