// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// PrincipalMapping records which certificate subjects and SPIFFE IDs are one Kafka principal. It is the ledger of a
// KafkaCluster, in the cluster's namespace: Signet writes one for each KafkaUser, administrators may write others. The
// first claim to a subject wins. A principal stays reserved after its KafkaUser is gone; deleting the PrincipalMapping
// releases it.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=signet,shortName=pm
// +kubebuilder:printcolumn:name="Principal",type=string,JSONPath=`.spec.principal`
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.cluster`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PrincipalMapping struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PrincipalMappingSpec `json:"spec"`
	// +optional
	Status PrincipalMappingStatus `json:"status,omitempty"`
}

// PrincipalMappingSpec is one principal and who is it.
// +kubebuilder:validation:XValidation:rule="!has(self.owner) || self.subjects.all(s, !has(s.pattern))",message="a pattern is an administrator's; a mapping with an owner has none"
// +kubebuilder:validation:XValidation:rule="self.cluster == oldSelf.cluster",message="cluster cannot change"
// +kubebuilder:validation:XValidation:rule="self.principal == oldSelf.principal",message="principal cannot change; create another PrincipalMapping"
type PrincipalMappingSpec struct {
	// Cluster is the name of the KafkaCluster, in this namespace.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Cluster string `json:"cluster"`

	// Principal in Kafka, with its type: User:<name>.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^User:[^\s;\\]+$`
	Principal string `json:"principal"`

	// Owner is the KafkaUser whose principal this is; none on a mapping that an administrator wrote.
	// +optional
	Owner *MappingOwner `json:"owner,omitempty"`

	// Subjects that are this principal.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Subjects []MappedSubject `json:"subjects"`

	// ApprovedSubjects are those external subjects of the owner that an administrator confirms to be the same
	// principal, written as there. Signet never writes this list.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=set
	ApprovedSubjects []string `json:"approvedSubjects,omitempty"`
}

// MappingOwner is the KafkaUser that a principal belongs to.
type MappingOwner struct {
	// Namespace of the KafkaUser.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace"`

	// Name of the KafkaUser.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// NamespaceUID is the UID of the namespace. A KafkaUser that is deleted and created again in the same namespace
	// keeps its principal; one in another namespace of the same name does not.
	NamespaceUID types.UID `json:"namespaceUID"`
}

// MappedSubject is one identity of a principal. Exactly one of its fields is set.
// +kubebuilder:validation:XValidation:rule="(has(self.exact) ? 1 : 0) + (has(self.spiffe) ? 1 : 0) + (has(self.external) ? 1 : 0) + (has(self.pattern) ? 1 : 0) == 1",message="set exactly one of exact, spiffe, external and pattern"
// +kubebuilder:validation:XValidation:rule="!has(self.replacement) || has(self.pattern)",message="replacement is for a pattern"
type MappedSubject struct {
	// Exact is a certificate subject, RFC 2253 as Java's X500Principal.getName() prints it.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Exact string `json:"exact,omitempty"`

	// SPIFFE is a SPIFFE ID, spiffe://<trust domain>/<path>.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^spiffe://[a-z0-9._-]+/.+$`
	SPIFFE string `json:"spiffe,omitempty"`

	// External is a certificate subject of a foreign CA that the owner claims; it counts once it is listed in
	// approvedSubjects.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	External string `json:"external,omitempty"`

	// Pattern is a regular expression that a whole certificate subject has to match, anchored by itself: the part of
	// Java's syntax that means the same everywhere (no look-around, no back-reference). It must match no subject of a
	// KafkaUser, and every subject in one way only.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Pattern string `json:"pattern,omitempty"`

	// Replacement is the principal, with its type, of the subjects that Pattern matches, such as User:acme.$1: $1 to $9
	// are the pattern's groups, $$ is a dollar. Default: spec.principal.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^User:[^\s;\\]+$`
	Replacement string `json:"replacement,omitempty"`
}

// PrincipalMappingStatus says whether a mapping is in force.
type PrincipalMappingStatus struct {
	// Effective is the number of subjects that brokers map to the principal.
	// +optional
	Effective int32 `json:"effective,omitempty"`

	// PendingSubjects are the external subjects that wait for an administrator.
	// +optional
	// +listType=set
	PendingSubjects []string `json:"pendingSubjects,omitempty"`

	// Conditions: Ready. Reasons: Ready, Reserved, Conflict (of a subject), PrincipalConflict, Invalid.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PrincipalMappingList is a list of PrincipalMappings.
// +kubebuilder:object:root=true
type PrincipalMappingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PrincipalMapping `json:"items"`
}
