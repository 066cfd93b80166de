// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

const (
	// podLife is the lifetime of a pod's certificate where neither KafkaUser nor KafkaCluster says anything: the kubelet
	// renews it, at no cost to anybody.
	podLife = time.Hour
	// clusterDefault is the API server's default of a KafkaCluster's spec.certificates.duration, which is meant for
	// Secrets; a cluster that has it says nothing.
	clusterDefault = 6 * time.Hour
	// minPodValidity is the API server's lower bound of notAfter - notBefore.
	minPodValidity = time.Hour
	// defaultMaxExpiration is the API server's default of spec.maxExpirationSeconds.
	defaultMaxExpiration = 24 * time.Hour
	// refreshMargin is how far the API server wants beginRefreshAt from notBefore and from notAfter.
	refreshMargin = 10 * time.Minute
)

// PodFacts is what the decision on a PodCertificateRequest rests on.
type PodFacts struct {
	UserFacts
	Asked
	// Request is the PodCertificateRequest. Of a node the API server admits it only for a pod of that node that has such
	// a volume, and with that pod's service account (NodeRestriction); nobody but nodes may create any by default.
	Request *certificatesv1.PodCertificateRequest
}

// PodUser returns the name of the KafkaUser, in the pod's namespace, that a PodCertificateRequest is for: its user
// annotations are exactly AnnotationUser with this name.
func PodUser(request *certificatesv1.PodCertificateRequest) (string, error) {
	name, ok := request.Spec.UnverifiedUserAnnotations[v1alpha1.AnnotationUser]
	switch {
	case !ok || len(request.Spec.UnverifiedUserAnnotations) != 1:
		return "", fmt.Errorf("userAnnotations of the volume must be exactly %s: <name of a KafkaUser in the pod's namespace>", v1alpha1.AnnotationUser)
	case len(validation.IsDNS1123Label(name)) > 0:
		return "", fmt.Errorf("%s in userAnnotations of the volume must be the name of one KafkaUser in the pod's namespace, without the namespace", v1alpha1.AnnotationUser)
	}
	return name, nil
}

// DecidePod judges a PodCertificateRequest. A denial is final for the pod: the kubelet does not ask again. So only what
// is wrong with the request or with the pod itself is denied, and all else waits.
func DecidePod(f PodFacts) (*Grant, *Refusal) {
	r := f.Request
	name, err := PodUser(r)
	if err != nil {
		refusal := deny(ReasonUserAnnotations, "%s", err)
		refusal.Answer = err.Error()
		return nil, refusal
	}
	if f.CSR == nil {
		return nil, deny(ReasonMalformed, "%s", f.Problem)
	}
	if err := checkEmpty(f.CSR); err != nil {
		return nil, deny(ReasonAsksForMore, "%s", err)
	}
	issuer, _ := IssuerOfSigner(r.Spec.SignerName)
	switch {
	case f.Issuer == nil:
		return nil, noIssuer(issuer)
	case f.Issuer.Name != issuer:
		return nil, deny(ReasonOtherIssuer, "the signer is %.200q, not meshissuer %s", r.Spec.SignerName, f.Issuer.Name)
	case f.User == nil || !f.User.DeletionTimestamp.IsZero():
		return nil, wait(ReasonUserNotFound, "kafkauser %s/%s does not exist, or is being deleted", r.Namespace, name)
	case f.User.Namespace != r.Namespace || f.User.Name != name:
		return nil, deny(ReasonUserNotFound, "it is for kafkauser %s/%s, not for %s/%s", r.Namespace, name, f.User.Namespace, f.User.Name)
	}
	if w := f.User.Spec.Workload; w != nil && w.ServiceAccountName != r.Spec.ServiceAccountName {
		return nil, deny(ReasonServiceAccount, "kafkauser %s/%s is for the service account %s, the pod's is %s", r.Namespace, name, w.ServiceAccountName, r.Spec.ServiceAccountName)
	}
	// The delivery says what the next pod gets: one that has a podCertificate volume has to have its certificate renewed. For
	// the same reason what may pass is not denied, for after a denial the kubelet never asks for that pod again.
	if f.Cluster != nil && !isIssuerOf(f.UserFacts) {
		return nil, wait(ReasonOtherIssuer, "the certificates of kafkauser %s/%s come from another issuer than meshissuer %s", r.Namespace, name, f.Issuer.Name)
	}
	identity, refusal := entitle(f.UserFacts)
	if refusal != nil {
		return nil, refusal
	}
	if refusal := checkKey(f.Asked, f.Issuer, identity); refusal != nil {
		return nil, refusal
	}
	grant := f.grant(identity, podDuration(f.UserFacts), nil)
	grant.MinValidity, grant.MaxValidity = minPodValidity, defaultMaxExpiration
	if seconds := r.Spec.MaxExpirationSeconds; seconds != nil {
		grant.MaxValidity = time.Duration(*seconds) * time.Second
	}
	return grant, nil
}

// podDuration is the lifetime of a pod's certificate before the request's own limit and the CA's.
func podDuration(f UserFacts) time.Duration {
	d := podLife
	if c := f.Cluster.Spec.Certificates.Duration.Duration; c != 0 && c != clusterDefault {
		d = c
	}
	if c := f.User.Spec.Certificate; c != nil && c.Duration != nil {
		d = c.Duration.Duration
	}
	return max(min(d, certs.MaxDuration(f.Issuer)), minPodValidity)
}

// RefreshAt returns when the kubelet begins to renew a certificate that was signed at now: after 60 to 70 percent of what
// was then left of its life, by the request's UID, so that pods that were started at once do not all come back at once
// (the kubelet itself adds up to 5 minutes). It keeps the distance from both ends that the API server wants.
func RefreshAt(uid types.UID, now, notBefore, notAfter time.Time) time.Time {
	sum := sha256.Sum256([]byte(uid))
	share := 0.60 + 0.10*float64(binary.BigEndian.Uint32(sum[:4]))/(1<<32)
	at := now.Add(time.Duration(float64(notAfter.Sub(now)) * share)).UTC().Truncate(time.Second)
	if earliest := notBefore.Add(refreshMargin); at.Before(earliest) {
		at = earliest
	}
	if latest := notAfter.Add(-refreshMargin); at.After(latest) {
		at = latest
	}
	return at
}

// IssuerOfSigner returns the MeshIssuer of a signer name; not ok where it is not one of Signet's.
func IssuerOfSigner(signerName string) (issuer string, ok bool) {
	issuer, ok = strings.CutPrefix(signerName, v1alpha1.SignerName(""))
	return issuer, ok && issuer != ""
}
