// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// Facts is what the decision on a CertificateRequest rests on. Each was read from the API server; the owners were found
// by the name in the owner reference and are compared by UID here.
type Facts struct {
	UserFacts
	Asked
	// Request is the CertificateRequest. Its spec.username was set by cert-manager's admission webhook and cannot change.
	Request *cmv1.CertificateRequest
	// CertManager is the user name of cert-manager's controller.
	CertManager string
	// Certificate has the name that the request's owner reference gives; nil where none has. The KafkaUser has the name
	// that the Certificate's owner reference gives.
	Certificate *cmv1.Certificate
}

// Decide judges a CertificateRequest. It refuses for good whatever does not come from a Certificate that Signet made for
// an existing KafkaUser or asks for anything but that user's certificate; it waits where the user is entitled as soon as
// something else is in order.
func Decide(f Facts) (*Grant, *Refusal) {
	if refusal := checkChain(f); refusal != nil {
		return nil, refusal
	}
	if f.Issuer == nil {
		return nil, noIssuer(f.Request.Spec.IssuerRef.Name)
	}
	if refusal := checkAdmitted(f.UserFacts); refusal != nil {
		return nil, refusal
	}
	identity, refusal := entitle(f.UserFacts)
	if refusal != nil {
		return nil, refusal
	}
	desired, err := certs.DesiredCertificate(f.User, f.Cluster, f.Issuer)
	if err != nil {
		return nil, wait(ReasonDeclarationInvalid, "%s", err)
	}
	if refusal := checkKey(f.Asked, f.Issuer, identity); refusal != nil {
		return nil, refusal
	}
	if err := checkAsksFor(f.CSR, identity); err != nil {
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
	if !reflect.DeepEqual(f.Certificate.Spec, desired) { // a fraction of the cost of naming the field, and mostly enough
		if field := certs.DifferingField(f.Certificate.Spec, desired); field != "" {
			return nil, wait(ReasonCertificateDiffers, "certificate %s/%s differs in spec.%s from what Signet makes for the kafkauser; waiting until it is restored", f.Certificate.Namespace, f.Certificate.Name, field)
		}
	}
	duration := desired.Duration.Duration
	if asked := f.Request.Spec.Duration; asked != nil {
		duration = min(asked.Duration, certs.MaxDuration(f.Issuer))
	}
	return f.grant(identity, duration, f.CSR), nil
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

// sameUsages compares two lists of usages as sets.
func sameUsages[T ~string](a, b []T) bool {
	x, y := slices.Clone(a), slices.Clone(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}
