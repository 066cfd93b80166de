// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MeshIssuer is a cert-manager external issuer that signs the client certificates of KafkaUsers, and nothing else, with
// the CA of the service mesh. From a request it takes the public key only; the subject is built from the KafkaUser.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=signet,shortName=mi
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="CA",type=string,JSONPath=`.status.ca.subject`
// +kubebuilder:printcolumn:name="CA Expires",type=string,JSONPath=`.status.ca.notAfter`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MeshIssuer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec MeshIssuerSpec `json:"spec"`
	// +optional
	Status MeshIssuerStatus `json:"status,omitempty"`
}

// MeshIssuerSpec says which CA signs, and its limits.
type MeshIssuerSpec struct {
	// CA is where the signing certificate and key are.
	CA CASource `json:"ca"`

	// TrustDomain is Signet's own SPIFFE trust domain. Every certificate carries exactly one SAN,
	// spiffe://<trustDomain>/user/<namespace>/<name>. It must not be the mesh's, so that no certificate of this issuer
	// is a mesh workload's identity.
	// +optional
	// +kubebuilder:default=kafka.signet.dev
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self != 'cluster.local'",message="trustDomain must be Signet's own, not the mesh's default cluster.local"
	TrustDomain string `json:"trustDomain,omitempty"`

	// MaxDuration is the longest lifetime of a certificate, at least 1h; default 24h. Longer requests are cut to it.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h')",message="maxDuration must be at least 1h"
	MaxDuration metav1.Duration `json:"maxDuration,omitempty"`
}

// CASource is where a CA's certificate and key are.
type CASource struct {
	// SecretRef names a Secret in one of three forms, recognised by its keys: Istio's self-signed istio-ca-secret
	// (ca-cert.pem, ca-key.pem), Istio's plugged-in cacerts (these, cert-chain.pem and root-cert.pem), or cert-manager's
	// (tls.crt, tls.key and perhaps ca.crt). The Secret is watched; a new one takes effect at once.
	SecretRef SecretReference `json:"secretRef"`
}

// SecretReference names a Secret.
type SecretReference struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Namespace of the Secret. Signet's controller must be granted to read it there (chart value
	// controller.caSecrets).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
}

// MeshIssuerStatus is what the issuer can do at the moment.
type MeshIssuerStatus struct {
	// CA is the signing certificate in use.
	// +optional
	CA *CAStatus `json:"ca,omitempty"`

	// Conditions: Ready. Reasons: Ready, CANotFound, CAInvalid, CAExpired.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CAStatus describes a CA certificate.
type CAStatus struct {
	// Subject, RFC 2253.
	// +optional
	Subject string `json:"subject,omitempty"`

	// Serial number, hexadecimal.
	// +optional
	Serial string `json:"serial,omitempty"`

	// Fingerprint is the SHA-256 of the certificate (DER), hexadecimal.
	// +optional
	Fingerprint string `json:"fingerprint,omitempty"`

	// NotAfter is when it expires.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
}

// MeshIssuerList is a list of MeshIssuers.
// +kubebuilder:object:root=true
type MeshIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MeshIssuer `json:"items"`
}
