// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
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
	// Issuer is nil where the MeshIssuer does not exist.
	Issuer *v1alpha1.MeshIssuer
	// Err is why the user's objects could not be made or brought up to date; those from before stay.
	Err error
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
	case f.Issuer == nil:
		c.Reason, c.Message = v1alpha1.ReasonIssuerNotFound, fmt.Sprintf("meshissuer %s does not exist", f.User.Issuer(f.Cluster).Name)
		return c, shown
	case f.Err != nil && (ReasonOf(f.Err) == "" || !f.Rendered || f.Certificate == nil || !isIssued(f.Certificate, now)):
		c.Reason, c.Message = blockedReason(f.Err), f.Err.Error()
		return c, shown
	case f.Certificate == nil:
		c.Reason, c.Message = v1alpha1.ReasonPending, "the certificate is being requested"
		return c, shown
	}
	issuerProblem, issuerReason := unready(f.Issuer)
	if isIssued(f.Certificate, now) {
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonReady
		c.Message = "valid until " + f.Certificate.Status.NotAfter.UTC().Format(time.RFC3339)
		if r := f.Certificate.Status.RenewalTime; r != nil {
			c.Message += ", renewed from " + r.UTC().Format(time.RFC3339)
		}
		if issuerProblem != "" {
			c.Message += "; it cannot be renewed at the moment: " + issuerProblem
		} else if f.Err != nil {
			c.Message += "; its files cannot be brought up to date at the moment: " + f.Err.Error()
		}
		return c, shown
	}
	c.Reason, c.Message = pending(f.Certificate, f.Next)
	if issuerProblem != "" {
		c.Reason, c.Message = issuerReason, issuerProblem
	}
	return c, shown
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

// unready says why the issuer cannot sign, with the reason to show; "" where it can.
func unready(issuer *v1alpha1.MeshIssuer) (problem, reason string) {
	ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return fmt.Sprintf("meshissuer %s is not ready yet", issuer.Name), v1alpha1.ReasonIssuerNotReady
	case ready.Status == metav1.ConditionTrue:
		return "", ""
	case slices.Contains([]string{v1alpha1.ReasonCANotFound, v1alpha1.ReasonCAInvalid, v1alpha1.ReasonCAExpired}, ready.Reason):
		reason = ready.Reason
	default:
		reason = v1alpha1.ReasonIssuerNotReady
	}
	return fmt.Sprintf("meshissuer %s: %s", issuer.Name, ready.Message), reason
}

func isIssued(c *cmv1.Certificate, now time.Time) bool {
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
