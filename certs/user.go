// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
	"github.com/signet-kafka/signet/principal"
)

var (
	errConflict = errors.New("conflict")
	errInvalid  = errors.New("invalid")
)

// UserFacts is what a KafkaUser's certificate depends on, as it was read.
type UserFacts struct {
	User *v1alpha1.KafkaUser
	// Cluster is nil where the KafkaCluster does not exist.
	Cluster *v1alpha1.KafkaCluster
	// Admitted tells whether the cluster admits the user's namespace.
	Admitted bool
	// Issuer is nil where the issuer does not exist.
	Issuer *Issuer
	// Delivery is how the user's pods get key and certificate; undecided where Issuer is nil.
	Delivery Delivery
	// Err is why the user's objects could not be made or brought up to date; those from before stay.
	Err error
	// Others is why the files for a listener other than that of the user's pods could not be made or brought up to date;
	// those from before stay, and so does all else that the user has.
	Others error
	// Rendered tells whether both of the user's ConfigMaps exist, up to date or not.
	Rendered bool
	// Certificate is the user's cert-manager Certificate, nil where there is none.
	Certificate *cmv1.Certificate
	// Current is the CertificateRequest of the certificate in force, Next the one under way; each may be nil.
	Current, Next *cmv1.CertificateRequest
}

// Assess returns the condition CertificateReady of a KafkaUser, and what to show of its certificate (nil: none).
// A CA that is missing or cannot sign at the moment does not make what is in force less ready; the message tells of it.
func Assess(f UserFacts, now time.Time) (metav1.Condition, *v1alpha1.CertificateStatus) {
	c := metav1.Condition{Type: v1alpha1.ConditionCertificateReady, Status: metav1.ConditionFalse, ObservedGeneration: f.User.Generation, LastTransitionTime: metav1.NewTime(now)}
	shown := describe(f)
	ref := f.User.Spec.ClusterRef.In(f.User.Namespace)
	switch {
	case f.Cluster == nil:
		c.Reason, c.Message = v1alpha1.ReasonClusterNotFound, fmt.Sprintf("kafkacluster %s does not exist; nothing is issued", ref)
		return c, nil
	case !f.Admitted:
		c.Reason, c.Message = v1alpha1.ReasonNamespaceNotAllowed, fmt.Sprintf("kafkacluster %s does not admit namespace %s (spec.namespaceSelector against the namespace's labels); nothing is issued", ref, f.User.Namespace)
		return c, nil
	case f.User.Spec.Suspend:
		return assessSuspended(f, c, shown)
	case f.Issuer == nil:
		c.Reason, c.Message = v1alpha1.ReasonIssuerNotFound, issuerString(f.User.Issuer(f.Cluster))+" does not exist"
		return c, shown
	case f.Delivery.Problem != "":
		c.Reason, c.Message = v1alpha1.ReasonInvalid, f.Delivery.Problem
		return c, shown
	case f.Err != nil && (ReasonOf(f.Err) == "" || !f.Rendered || f.Delivery.Secret && !isIssued(f.Certificate, now)):
		c.Reason, c.Message = blockedReason(f.Err), f.Err.Error()
		if errors.Is(f.Err, ErrNotSetUp) && f.Issuer.Problem != "" {
			c.Reason, c.Message = f.Issuer.Reason, f.Issuer.Problem // which says what the CA lacks
		}
		return c, shown
	case !f.Delivery.Secret:
		return assessKubelet(f, c), nil
	case f.Certificate == nil:
		c.Reason, c.Message = v1alpha1.ReasonPending, "the certificate is being requested"
		return c, shown
	}
	if isIssued(f.Certificate, now) {
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonReady
		c.Message = "valid until " + f.Certificate.Status.NotAfter.UTC().Format(time.RFC3339)
		if r := f.Certificate.Status.RenewalTime; r != nil {
			c.Message += ", renewed from " + r.UTC().Format(time.RFC3339)
		}
		if f.Delivery.By == v1alpha1.DeliveryPodCertificate {
			c.Message += "; the kubelet gets each pod its own"
		}
		if f.Issuer.Problem != "" {
			c.Message += "; it cannot be renewed at the moment: " + f.Issuer.Problem
		} else if f.Err != nil {
			c.Message += "; its files cannot be brought up to date at the moment: " + f.Err.Error()
		}
		c.Message += others(f)
		return c, shown
	}
	c.Reason, c.Message = pending(f.Certificate, f.Next)
	if f.Issuer.Problem != "" {
		c.Reason, c.Message = f.Issuer.Reason, f.Issuer.Problem
	}
	return c, shown
}

// assessKubelet is about a user whose key only the kubelet may have: there is no certificate to look at, only what a pod
// needs to get one.
func assessKubelet(f UserFacts, c metav1.Condition) metav1.Condition {
	switch {
	case f.Issuer.Problem != "":
		c.Reason, c.Message = f.Issuer.Reason, f.Issuer.Problem
	case !f.Rendered:
		c.Reason, c.Message = v1alpha1.ReasonPending, "its files are being rendered"
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonReady
		c.Message = "the kubelet makes the key of each pod and gets its certificate from signer " + f.Delivery.SignerName
		if f.Err != nil {
			c.Message += "; files cannot be brought up to date at the moment: " + f.Err.Error()
		}
		c.Message += others(f)
	}
	return c
}

// others is what a user that is ready should know of listeners other than that of its pods.
func others(f UserFacts) string {
	if f.Others == nil {
		return ""
	}
	return "; the files for another listener cannot be brought up to date at the moment: " + f.Others.Error()
}

// assessSuspended is about a user that gets no certificate any more. The condition's transition time is when that was
// first seen of this declaration, even where it was False for another reason: what is out expires by that.
func assessSuspended(f UserFacts, c metav1.Condition, shown *v1alpha1.CertificateStatus) (metav1.Condition, *v1alpha1.CertificateStatus) {
	if since, before := suspendedSince(f.User); before {
		c.LastTransitionTime = since
	}
	if shown == nil {
		shown = f.User.Status.Certificate // of a Certificate that is gone; what it had signed is not
	}
	longest := principal.DefaultMaxDuration
	if f.Issuer != nil {
		longest = f.Issuer.MaxDuration
	}
	until := principal.LastCertificateUntil(shown, c.LastTransitionTime.Time, longest)
	c.Reason, c.Message = v1alpha1.ReasonSuspended, "spec.suspend is true: no certificate is signed or renewed; those that are out open connections, with no rights, until "+
		until.Format(time.RFC3339)+" at the latest"
	return c, shown
}

// suspendedSince tells since when the user's condition says that this very declaration suspends it.
func suspendedSince(user *v1alpha1.KafkaUser) (metav1.Time, bool) {
	c, current := condition.Of(user.Status.Conditions, v1alpha1.ConditionCertificateReady, user.Generation)
	return c.LastTransitionTime, current && c.Reason == v1alpha1.ReasonSuspended
}

// certificateUnwanted tells whether there must be no cert-manager Certificate: where only the kubelet may have the key, and
// for a suspended user of an issuer of cert-manager's own, which knows nothing of suspension and would go on signing. With
// a MeshIssuer it is Signet that refuses to sign, and the Certificate stays, so that nothing has to be made anew when the
// user is resumed.
func (f UserFacts) certificateUnwanted() bool {
	return f.User.Spec.Suspend && !f.User.Issuer(f.Cluster).IsMeshIssuer() || f.Issuer != nil && !f.Delivery.Secret
}

func blockedReason(err error) string {
	switch reason := ReasonOf(err); {
	case reason != "":
		return reason
	case errors.Is(err, errConflict):
		return v1alpha1.ReasonConflict
	case errors.Is(err, errInvalid):
		return v1alpha1.ReasonInvalid
	}
	return v1alpha1.ReasonPending
}

func isIssued(c *cmv1.Certificate, now time.Time) bool {
	if c == nil {
		return false
	}
	ready := apiutil.GetCertificateCondition(c, cmv1.CertificateConditionReady)
	return ready != nil && ready.Status == cmmeta.ConditionTrue && ready.ObservedGeneration == c.Generation &&
		c.Status.NotAfter != nil && now.Before(c.Status.NotAfter.Time)
}

// pending says how far the request under way is.
func pending(c *cmv1.Certificate, next *cmv1.CertificateRequest) (reason, message string) {
	if next == nil {
		if issuing := apiutil.GetCertificateCondition(c, cmv1.CertificateConditionIssuing); issuing != nil && issuing.Status == cmmeta.ConditionFalse {
			return v1alpha1.ReasonPending, "cert-manager: " + issuing.Message
		}
		return v1alpha1.ReasonPending, fmt.Sprintf("waiting for cert-manager to request certificate %s; if this lasts, see whether cert-manager runs", c.Name)
	}
	ready := apiutil.GetCertificateRequestCondition(next, cmv1.CertificateRequestConditionReady)
	switch {
	case ready == nil:
		return v1alpha1.ReasonPending, fmt.Sprintf("certificaterequest %s waits for the issuer", next.Name)
	case ready.Reason == cmv1.CertificateRequestReasonDenied, ready.Reason == cmv1.CertificateRequestReasonFailed:
		return v1alpha1.ReasonInvalid, fmt.Sprintf("certificaterequest %s: %s", next.Name, ready.Message)
	}
	return v1alpha1.ReasonPending, fmt.Sprintf("certificaterequest %s: %s", next.Name, ready.Message)
}

// describe returns what is known of the certificate in force; nil where none was ever issued.
func describe(f UserFacts) *v1alpha1.CertificateStatus {
	c := f.Certificate
	if c == nil || c.Status.NotAfter == nil {
		return nil
	}
	shown := &v1alpha1.CertificateStatus{Secret: c.Spec.SecretName, NotAfter: c.Status.NotAfter, RenewalTime: c.Status.RenewalTime}
	if f.Current != nil {
		if leaf := parseLeaf(f.Current.Status.Certificate); leaf != nil && leaf.NotAfter.Equal(c.Status.NotAfter.Time) {
			shown.Serial = SerialString(leaf)
		}
	}
	if was := f.User.Status.Certificate; shown.Serial == "" && was != nil && was.NotAfter.Equal(shown.NotAfter) {
		shown.Serial = was.Serial // the request is gone, the certificate is the same
	}
	return shown
}

// SerialString returns a certificate's serial number in lower-case hexadecimal.
func SerialString(c *x509.Certificate) string { return fmt.Sprintf("%x", c.SerialNumber) }

func parseLeaf(chain []byte) *x509.Certificate {
	if len(chain) > maxPEMBytes {
		return nil
	}
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return leaf
}
