// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"fmt"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// VerbSign is what a requester of a CertificateSigningRequest must be permitted to do to the KafkaUser
// (kafkausers.kafka.signet.dev, by name, in its namespace).
const VerbSign = "sign"

// defaultLife is the API server's default of a KafkaCluster's spec.certificates.duration.
const defaultLife = 6 * time.Hour

// SigningFacts is what the decision on a CertificateSigningRequest rests on.
type SigningFacts struct {
	UserFacts
	Asked
	// Request is the CertificateSigningRequest. Its requester (spec.username, uid, groups, extra) was set by the API
	// server and cannot change; its annotations are anybody's who may update it.
	Request *certificatesv1.CertificateSigningRequest
	// MaySign is the API server's answer to whether that requester may VerbSign the KafkaUser that the request names.
	MaySign bool
}

// SigningUser returns the KafkaUser that a CertificateSigningRequest claims to be for: its annotation AnnotationUser,
// <namespace>/<name>.
func SigningUser(request *certificatesv1.CertificateSigningRequest) (types.NamespacedName, error) {
	claim := request.Annotations[v1alpha1.AnnotationUser]
	namespace, name, _ := strings.Cut(claim, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Label(name)) > 0 {
		return types.NamespacedName{}, fmt.Errorf("the annotation %s must be <namespace>/<name> of a KafkaUser", v1alpha1.AnnotationUser)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

// signingUsages are the only usages of a CertificateSigningRequest that is signed.
var signingUsages = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}

// DecideSigning judges a CertificateSigningRequest: of somebody who has made a key outside the cluster and may sign for
// the KafkaUser. Whether others approved it is no matter.
//
// The right to sign is judged before anything is said of the KafkaUser, and the answer to who lacks it is the same
// whether the KafkaUser exists or not.
func DecideSigning(f SigningFacts) (*Grant, *Refusal) {
	r := f.Request
	named, err := SigningUser(r)
	if err != nil {
		refusal := deny(ReasonClaim, "%s", err)
		refusal.Answer = err.Error()
		return nil, refusal
	}
	if !f.MaySign {
		refusal := deny(ReasonSignNotPermitted, "%.200q may not %s kafkausers.%s/%s in namespace %s", r.Spec.Username, VerbSign, v1alpha1.GroupVersion.Group, named.Name, named.Namespace)
		refusal.Answer = refusal.Detail
		return nil, refusal
	}
	issuer, _ := IssuerOfSigner(r.Spec.SignerName)
	switch {
	case f.CSR == nil:
		return nil, deny(ReasonMalformed, "%s", f.Problem)
	case !sameUsages(r.Spec.Usages, signingUsages):
		return nil, deny(ReasonAsksForMore, "spec.usages are %.200q, not %q", r.Spec.Usages, signingUsages)
	case f.Issuer == nil:
		return nil, noIssuer(issuer)
	case f.Issuer.Name != issuer:
		return nil, deny(ReasonOtherIssuer, "the signer is %.200q, not meshissuer %s", r.Spec.SignerName, f.Issuer.Name)
	case f.User == nil || !f.User.DeletionTimestamp.IsZero():
		return nil, wait(ReasonUserNotFound, "kafkauser %s does not exist, or is being deleted", named)
	case f.User.Namespace != named.Namespace || f.User.Name != named.Name:
		return nil, deny(ReasonUserNotFound, "it is for kafkauser %s, not for %s/%s", named, f.User.Namespace, f.User.Name)
	case f.Cluster != nil && !isIssuerOf(f.UserFacts):
		return nil, deny(ReasonOtherIssuer, "the certificates of kafkauser %s come from another issuer than meshissuer %s", named, f.Issuer.Name)
	}
	if refusal := checkAdmitted(f.UserFacts); refusal != nil {
		return nil, refusal
	}
	identity, refusal := entitle(f.UserFacts)
	if refusal != nil {
		return nil, refusal
	}
	if refusal := checkKey(f.Asked, f.Issuer, identity); refusal != nil {
		return nil, refusal
	}
	if err := checkAsksAtMostFor(f.CSR, identity); err != nil {
		return nil, deny(ReasonAsksForMore, "%s", err)
	}
	csr := f.CSR
	if checkAsksFor(csr, identity) != nil {
		csr = nil // it leaves out what a CA that goes by the request would need
	}
	return f.grant(identity, signingDuration(f), csr), nil
}

func signingDuration(f SigningFacts) time.Duration {
	limit := certs.MaxDuration(f.Issuer)
	if seconds := f.Request.Spec.ExpirationSeconds; seconds != nil {
		return min(max(time.Duration(*seconds)*time.Second, minimumLife), limit)
	}
	d := defaultLife
	if c := f.Cluster.Spec.Certificates.Duration.Duration; c != 0 {
		d = c
	}
	if c := f.User.Spec.Certificate; c != nil && c.Duration != nil {
		d = c.Duration.Duration
	}
	return min(d, limit)
}
