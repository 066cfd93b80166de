// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ClusterReference names a KafkaCluster.
type ClusterReference struct {
	// Name of the KafkaCluster.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// Namespace of the KafkaCluster; default: the namespace of the object that holds this reference.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	Namespace string `json:"namespace,omitempty"`
}

// In returns the reference with its namespace filled in: the given one where none is set.
func (r ClusterReference) In(namespace string) ClusterReference {
	if r.Namespace == "" {
		r.Namespace = namespace
	}
	return r
}

// ParseClusterReference reads [<namespace>/]<name>, both DNS labels. ok is false for anything else.
func ParseClusterReference(text string) (r ClusterReference, ok bool) {
	namespace, name, found := strings.Cut(text, "/")
	if !found {
		namespace, name = "", text
	}
	if found && len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Label(name)) > 0 {
		return ClusterReference{}, false
	}
	return ClusterReference{Namespace: namespace, Name: name}, true
}

// String returns namespace/name.
func (r ClusterReference) String() string { return r.Namespace + "/" + r.Name }

// IssuerReference names the issuer of client certificates.
// +kubebuilder:validation:XValidation:rule="(self.kind == 'MeshIssuer') == (self.group == 'kafka.signet.dev')",message="group is kafka.signet.dev for a MeshIssuer, and cert-manager.io for an Issuer or ClusterIssuer"
type IssuerReference struct {
	// Name of the issuer.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`

	// Kind of the issuer: MeshIssuer (default), or cert-manager's own Issuer (in the KafkaUser's namespace) or
	// ClusterIssuer. Whoever may create CertificateRequests gets any name at all from an issuer of cert-manager's own:
	// see docs/security.md.
	// +optional
	// +kubebuilder:default=MeshIssuer
	// +kubebuilder:validation:Enum=MeshIssuer;Issuer;ClusterIssuer
	Kind string `json:"kind,omitempty"`

	// Group of the issuer's kind: kafka.signet.dev (default) or cert-manager.io.
	// +optional
	// +kubebuilder:default=kafka.signet.dev
	// +kubebuilder:validation:Enum=kafka.signet.dev;cert-manager.io
	Group string `json:"group,omitempty"`
}

// IsMeshIssuer tells whether the reference names a MeshIssuer.
func (r IssuerReference) IsMeshIssuer() bool { return r.Kind == "" || r.Kind == "MeshIssuer" }

// KeyReference names one key of a Secret or a ConfigMap in the same namespace. Exactly one of secret and configMap is
// set.
// +kubebuilder:validation:XValidation:rule="has(self.secret) != has(self.configMap)",message="set exactly one of secret and configMap"
type KeyReference struct {
	// Secret that holds the value.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Secret string `json:"secret,omitempty"`

	// ConfigMap that holds the value.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	ConfigMap string `json:"configMap,omitempty"`

	// Key inside it; default ca.crt.
	// +optional
	// +kubebuilder:default=ca.crt
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]*$`
	Key string `json:"key,omitempty"`
}

// Quotas bound what a user may use of each broker, and of the controller. A client that would use more is slowed down, not
// refused. What is not set is not bounded here: the brokers' own default counts, if they have one.
type Quotas struct {
	// ProducerByteRate is how many bytes a second the user may produce to each broker, such as 10Mi (KIP-13).
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self > 0 : quantity(self).isGreaterThan(quantity('0'))",message="producerByteRate must be greater than 0"
	// +kubebuilder:validation:XValidation:rule="type(self) == int || quantity(self).isInteger()",message="producerByteRate must be a whole number of bytes"
	ProducerByteRate *resource.Quantity `json:"producerByteRate,omitempty"`

	// ConsumerByteRate is how many bytes a second the user may fetch from each broker, such as 10Mi (KIP-13).
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self > 0 : quantity(self).isGreaterThan(quantity('0'))",message="consumerByteRate must be greater than 0"
	// +kubebuilder:validation:XValidation:rule="type(self) == int || quantity(self).isInteger()",message="consumerByteRate must be a whole number of bytes"
	ConsumerByteRate *resource.Quantity `json:"consumerByteRate,omitempty"`

	// RequestPercentage is how much of each broker's time the user may take, in percent of one of its threads: 200 is two
	// threads (KIP-124).
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self > 0 : quantity(self).isGreaterThan(quantity('0'))",message="requestPercentage must be greater than 0"
	RequestPercentage *resource.Quantity `json:"requestPercentage,omitempty"`

	// ControllerMutationRate is how many partitions a second the user may create or delete, over all of the cluster; 500m is
	// one in two seconds (KIP-599).
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self > 0 : quantity(self).isGreaterThan(quantity('0'))",message="controllerMutationRate must be greater than 0"
	ControllerMutationRate *resource.Quantity `json:"controllerMutationRate,omitempty"`
}
