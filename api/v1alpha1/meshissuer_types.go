// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MeshIssuer signs the client certificates of KafkaUsers, and nothing else, below the CA of the service mesh: as a
// cert-manager external issuer, as the signer kafka.signet.dev/<name> of the kubelet's PodCertificateRequests, and of
// CertificateSigningRequests for clients outside the cluster. From a request it takes the public key only; the subject is
// built from the KafkaUser.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=signet,shortName=mi
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="CA",type=string,JSONPath=`.status.ca.subject`
// +kubebuilder:printcolumn:name="Rotation",type=string,JSONPath=`.status.rotation.phase`
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
	// CA says who signs.
	CA CASource `json:"ca"`

	// TrustDomain is Signet's own SPIFFE trust domain. Every certificate carries exactly one SAN,
	// spiffe://<trustDomain>/user/<namespace>/<name>. It must not be the mesh's, so that no certificate of this issuer
	// is a mesh workload's identity: neither the meshTrustDomain of a KafkaCluster that names this issuer nor one above it.
	// +optional
	// +kubebuilder:default=kafka.signet.dev
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9.]+$')",message="trustDomain must be a name: verifiers match no name constraint against an address"
	// +kubebuilder:validation:XValidation:rule="self != 'cluster.local'",message="trustDomain must be Signet's own, not the mesh's default cluster.local"
	TrustDomain string `json:"trustDomain,omitempty"`

	// MaxDuration is the longest lifetime of a certificate, at least 1h; default 24h. Longer requests are cut to it.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,9}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1h')",message="maxDuration must be at least 1h, written like 6h or 90m"
	MaxDuration metav1.Duration `json:"maxDuration,omitempty"`

	// KeyTypes are the public keys that are certified; default ECDSAP256 and ECDSAP384, which every Kafka client loads.
	// RSA is for external clients whose key store knows nothing else.
	// +optional
	// +kubebuilder:default={ECDSAP256,ECDSAP384}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	KeyTypes []KeyType `json:"keyTypes,omitempty"`

	// BlockedKeys are public keys that are never certified again, such as stolen ones: the SHA-256 of the
	// SubjectPublicKeyInfo in lower-case hexadecimal, as the audit log prints it (keySHA256).
	// +optional
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[0-9a-f]{64}$`
	// +listType=set
	BlockedKeys []string `json:"blockedKeys,omitempty"`
}

// KeyType is a kind and size of public key, named as in PodCertificateRequests (certificates.k8s.io/v1).
// +kubebuilder:validation:Enum=ECDSAP256;ECDSAP384;RSA2048;RSA3072;RSA4096
type KeyType string

// The key types.
const (
	KeyECDSAP256 KeyType = "ECDSAP256"
	KeyECDSAP384 KeyType = "ECDSAP384"
	KeyRSA2048   KeyType = "RSA2048"
	KeyRSA3072   KeyType = "RSA3072"
	KeyRSA4096   KeyType = "RSA4096"
)

// CAMode is how a MeshIssuer signs.
// +kubebuilder:validation:Enum=Intermediate;Direct;StepCA
type CAMode string

const (
	// ModeIntermediate signs with an intermediate CA of Signet's own, below the CA in secretRef, that name constraints
	// confine to Signet's trust domain.
	ModeIntermediate CAMode = "Intermediate"
	// ModeDirect signs with the CA in secretRef itself.
	ModeDirect CAMode = "Direct"
	// ModeStepCA has a step-ca sign.
	ModeStepCA CAMode = "StepCA"
)

// CASource says who signs.
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) == (self.mode != 'StepCA')",message="set secretRef with the modes Intermediate and Direct, and with them only"
// +kubebuilder:validation:XValidation:rule="has(self.stepCA) == (self.mode == 'StepCA')",message="set stepCA with the mode StepCA, and with it only"
// +kubebuilder:validation:XValidation:rule="!has(self.intermediateDuration) || self.mode == 'Intermediate'",message="set intermediateDuration with the mode Intermediate only: with others Signet makes no intermediate"
type CASource struct {
	// Mode is Intermediate (default: Signet makes itself an intermediate CA below the CA in secretRef, which cannot sign
	// an identity of the mesh, and reads the mesh's key only when it makes one), Direct (the CA in secretRef itself
	// signs), or StepCA (a remote step-ca signs).
	// +optional
	// +kubebuilder:default=Intermediate
	Mode CAMode `json:"mode,omitempty"`

	// SecretRef names a Secret in one of three forms, recognised by its keys: Istio's self-signed istio-ca-secret
	// (ca-cert.pem, ca-key.pem), Istio's plugged-in cacerts (these, cert-chain.pem and root-cert.pem), or cert-manager's
	// (tls.crt, tls.key and perhaps ca.crt). The Secret is watched; a new CA is first distributed to whoever has to
	// trust it, and signs after that.
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`

	// IntermediateDuration is the lifetime of Signet's intermediate CA in the mode Intermediate, at least 48h; default 2160h (90
	// days). It is renewed at two thirds of it, and cut to the life of the CA above.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,9}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('48h')",message="intermediateDuration must be at least 48h, written like 72h"
	IntermediateDuration *metav1.Duration `json:"intermediateDuration,omitempty"`

	// StepCA is the remote CA of the mode StepCA.
	// +optional
	StepCA *StepCASource `json:"stepCA,omitempty"`
}

// StepCASource is a remote step-ca and the JWK provisioner by which Signet asks it.
type StepCASource struct {
	// URL of the step-ca, https.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https://[^/?#@\s]+(/[^?#\s]*)?$`
	// +kubebuilder:validation:XValidation:rule="isURL(self)",message="url must be https://host[:port][/path]"
	URL string `json:"url"`

	// Fingerprint of its root certificate: SHA-256, lower-case hexadecimal, as `step certificate fingerprint` prints it.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	Fingerprint string `json:"fingerprint"`

	// Provisioner is the name of a JWK provisioner whose X.509 template gives certificates the URI SAN of the request and
	// the extended key usage clientAuth only; Signet refuses any other certificate that comes back.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Provisioner string `json:"provisioner"`

	// SecretRef names the Secret with the provisioner's private key (key jwk: a JSON Web Key, perhaps encrypted) and its
	// password (key password), where it has one.
	SecretRef SecretReference `json:"secretRef"`
}

// SecretReference names a Secret.
type SecretReference struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`

	// Namespace of the Secret. Signet's controller must be granted to read it there (chart value
	// controller.caSecrets).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace"`
}

// MeshIssuerStatus is what the issuer can do at the moment.
type MeshIssuerStatus struct {
	// CA is the signing certificate in use.
	// +optional
	CA *CAStatus `json:"ca,omitempty"`

	// Rotation is how far a change of CA has come.
	// +optional
	Rotation *RotationStatus `json:"rotation,omitempty"`

	// SignerName is what pods' podCertificate volumes name as signer: kafka.signet.dev/<name>.
	// +optional
	SignerName string `json:"signerName,omitempty"`

	// Conditions: Ready. Reasons: Ready, CANotFound, CAInvalid, CAExpired, Distributing.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RotationPhase is a step of a change of CA. Each ends by what is seen, not by the clock alone.
// +kubebuilder:validation:Enum=Stable;Distributing;Signing;Retiring
type RotationPhase string

const (
	// RotationStable is when one CA signs and is trusted.
	RotationStable RotationPhase = "Stable"
	// RotationDistributing is when the new root goes into every trust bundle; the old CA still signs. It ends when every bundle
	// holds the new root and every broker accepts a certificate below it.
	RotationDistributing RotationPhase = "Distributing"
	// RotationSigning is when the new CA signs; the old root stays trusted until the last certificate below it has expired.
	RotationSigning RotationPhase = "Signing"
	// RotationRetiring is when the old root leaves every trust bundle.
	RotationRetiring RotationPhase = "Retiring"
)

// RotationStatus is how far a change of CA has come.
type RotationStatus struct {
	// Phase is Stable, Distributing, Signing or Retiring.
	Phase RotationPhase `json:"phase"`

	// Message says what the phase waits for.
	// +optional
	Message string `json:"message,omitempty"`

	// Next is the CA that will sign; set while Distributing.
	// +optional
	Next *CAStatus `json:"next,omitempty"`

	// Trusted are the root certificates that verifiers trust at the moment.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Trusted []CAStatus `json:"trusted,omitempty"`

	// LeavesUntil is when the last certificate below a former CA expires; set while Signing.
	// +optional
	LeavesUntil *metav1.Time `json:"leavesUntil,omitempty"`
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
