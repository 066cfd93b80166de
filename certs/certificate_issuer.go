// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// Issuer is what a KafkaUser's certificates depend on of whoever signs them: a MeshIssuer, or an issuer of cert-manager's
// own, which has no limits but the defaults.
type Issuer struct {
	// Reference names it, complete with kind and group.
	Reference v1alpha1.IssuerReference
	// TrustDomain is the SPIFFE trust domain of the certificates.
	TrustDomain string
	// MaxDuration is the longest lifetime of a certificate.
	MaxDuration time.Duration
	// Mode is how a MeshIssuer signs; "" of cert-manager's own issuers.
	Mode v1alpha1.CAMode
	// Problem is why it cannot sign at the moment, and Reason the condition reason of that; both "" where it can.
	Problem, Reason string
}

// String returns kind and name as kubectl takes them, such as "clusterissuer mesh".
func (i Issuer) String() string { return issuerString(i.Reference) }

func issuerString(ref v1alpha1.IssuerReference) string {
	ref = complete(ref)
	return strings.ToLower(ref.Kind) + " " + ref.Name
}

// complete fills in what the API server defaults, for objects that did not pass through it.
func complete(ref v1alpha1.IssuerReference) v1alpha1.IssuerReference {
	if ref.IsMeshIssuer() {
		ref.Kind, ref.Group = "MeshIssuer", v1alpha1.GroupVersion.Group
	} else {
		ref.Group = cmv1.SchemeGroupVersion.Group
	}
	return ref
}

// FromMeshIssuer returns what certificates depend on of a MeshIssuer.
func FromMeshIssuer(issuer *v1alpha1.MeshIssuer) Issuer {
	i := Issuer{
		Reference:   complete(v1alpha1.IssuerReference{Name: issuer.Name}),
		TrustDomain: TrustDomain(issuer), MaxDuration: MaxDuration(issuer), Mode: Mode(issuer),
	}
	ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		i.Problem, i.Reason = fmt.Sprintf("%s is not ready yet", i), v1alpha1.ReasonIssuerNotReady
	case ready.Status == metav1.ConditionTrue:
	case slices.Contains([]string{v1alpha1.ReasonCANotFound, v1alpha1.ReasonCAInvalid, v1alpha1.ReasonCAExpired}, ready.Reason):
		i.Problem, i.Reason = fmt.Sprintf("%s: %s", i, ready.Message), ready.Reason
	default:
		i.Problem, i.Reason = fmt.Sprintf("%s: %s", i, ready.Message), v1alpha1.ReasonIssuerNotReady
	}
	return i
}

// FromStockIssuer returns what certificates depend on of an issuer of cert-manager's own, given its conditions. Its limits
// are the defaults of a MeshIssuer: that it signs more for others is not Signet's to prevent.
func FromStockIssuer(ref v1alpha1.IssuerReference, conditions []cmv1.IssuerCondition) Issuer {
	i := Issuer{Reference: complete(ref), TrustDomain: principal.DefaultTrustDomain, MaxDuration: principal.DefaultMaxDuration}
	for _, c := range conditions {
		if c.Type != cmv1.IssuerConditionReady {
			continue
		}
		if c.Status != cmmeta.ConditionTrue {
			i.Problem, i.Reason = fmt.Sprintf("%s: %s", i, c.Message), v1alpha1.ReasonIssuerNotReady
		}
		return i
	}
	i.Problem, i.Reason = fmt.Sprintf("%s is not ready yet; if this lasts, see whether cert-manager runs", i), v1alpha1.ReasonIssuerNotReady
	return i
}

// TrustDomain returns the SPIFFE trust domain of an issuer's certificates.
func TrustDomain(issuer *v1alpha1.MeshIssuer) string {
	if issuer.Spec.TrustDomain == "" {
		return principal.DefaultTrustDomain
	}
	return issuer.Spec.TrustDomain
}

// MaxDuration returns the longest lifetime of an issuer's certificates.
func MaxDuration(issuer *v1alpha1.MeshIssuer) time.Duration { return principal.LongestLife(issuer) }
