// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KafkaUser declares one Kafka client: its identity is User:<namespace>.<name>, its rights are what it consumes,
// produces and administers. Signet has its certificate signed, records its subject, keeps its ACLs and renders its
// configuration; a pod gets all of it by the annotation kafka.signet.dev/user: <name>.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=signet,shortName=ku
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Principal",type=string,JSONPath=`.status.principal`
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterRef.name`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.certificate.notAfter`
// +kubebuilder:printcolumn:name="ACLs",type=integer,JSONPath=`.status.acls`
// +kubebuilder:printcolumn:name="Authorization",type=string,JSONPath=`.status.observed.authorization`
// +kubebuilder:printcolumn:name="Would-Deny",type=integer,JSONPath=`.status.observed.wouldBeDenied`,priority=1
// +kubebuilder:printcolumn:name="Last-Seen",type=date,JSONPath=`.status.observed.lastSeen`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label: at most 63 characters of a-z, 0-9 and -, no dot, because it becomes the certificate's CN and a part of the principal"
type KafkaUser struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec KafkaUserSpec `json:"spec"`
	// +optional
	Status KafkaUserStatus `json:"status,omitempty"`
}

// KafkaUserSpec is what a team declares.
type KafkaUserSpec struct {
	// ClusterRef names the KafkaCluster. It cannot change: another cluster is another user.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clusterRef cannot change; delete the KafkaUser and create it anew"
	ClusterRef ClusterReference `json:"clusterRef"`

	// Suspend takes every right from the user at once: its ACLs are removed and no certificate is issued or renewed. Its
	// principal stays reserved. Certificates that it has open connections until they expire, with no rights; the
	// condition Ready says until when.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Workload says whose pods this user is for.
	// +optional
	Workload *Workload `json:"workload,omitempty"`

	// Certificate settings; default: the KafkaCluster's.
	// +optional
	Certificate *UserCertificate `json:"certificate,omitempty"`

	// ExternalSubjects are subjects (RFC 2253, as Java prints them) of certificates that another CA issued to this same
	// user. They are recorded in the user's PrincipalMapping and wait there for an administrator's approval.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=set
	ExternalSubjects []string `json:"externalSubjects,omitempty"`

	// Consume lists topics to read: READ, DESCRIBE and DESCRIBE_CONFIGS on each. A trailing * makes it a prefix.
	// +optional
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=249
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([*]|[a-zA-Z0-9._-]+[*]?)$') && self != '.' && self != '..'",message="the name of a topic has letters, digits, dot, _ and - only, and is not . or ..; a * at its end makes it a prefix"
	// +listType=set
	Consume []string `json:"consume,omitempty"`

	// Produce lists topics to write: WRITE and all of consume on each, and the transactional ids <namespace> and
	// <namespace>.*. A trailing * makes it a prefix.
	// +optional
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=249
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([*]|[a-zA-Z0-9._-]+[*]?)$') && self != '.' && self != '..'",message="the name of a topic has letters, digits, dot, _ and - only, and is not . or ..; a * at its end makes it a prefix"
	// +listType=set
	Produce []string `json:"produce,omitempty"`

	// Admin lists topics that the user may create and delete: CREATE, DELETE and all of produce and consume. Each starts
	// with "<namespace>-" or is on the KafkaCluster's list of exemptions.
	// +optional
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=249
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([*]|[a-zA-Z0-9._-]+[*]?)$') && self != '.' && self != '..'",message="the name of a topic has letters, digits, dot, _ and - only, and is not . or ..; a * at its end makes it a prefix"
	// +listType=set
	Admin []string `json:"admin,omitempty"`

	// ConsumerGroups lists groups beside the free ones (<namespace> and <namespace>.*) that the user may join and
	// manage. A trailing * makes it a prefix.
	// +optional
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r'^([*]|[^*\s\x00-\x1f\x7f][^*\x00-\x1f\x7f]*[*]?)$')`,message="the name of a group has no control characters and no blank at its start; a * at its end, and nowhere else, makes it a prefix"
	// +listType=set
	ConsumerGroups []string `json:"consumerGroups,omitempty"`

	// Quotas bound what the user may use of the brokers; each that is not set is the KafkaCluster's policy.defaultQuotas.
	// +optional
	Quotas *Quotas `json:"quotas,omitempty"`

	// Enforcement says whether brokers with Signet's authorizer deny the user what its ACLs do not allow: Inherit (default)
	// as the KafkaCluster's authorization.mode says, Enforce in the mode Hybrid too, Audit not even in the mode Enforce,
	// where the KafkaCluster's authorization.exemptions allows that. In the mode Audit nobody is denied anything.
	// +optional
	// +kubebuilder:default=Inherit
	Enforcement Enforcement `json:"enforcement,omitempty"`
}

// Enforcement is what a KafkaUser asks of brokers with Signet's authorizer.
// +kubebuilder:validation:Enum=Inherit;Audit;Enforce
type Enforcement string

const (
	// EnforcementInherit is what the KafkaCluster's mode says.
	EnforcementInherit Enforcement = "Inherit"
	// EnforcementAudit is to be denied nothing.
	EnforcementAudit Enforcement = "Audit"
	// EnforcementEnforce is to be denied what the ACLs do not allow.
	EnforcementEnforce Enforcement = "Enforce"
)

// EffectiveAuthorization is what comes of the KafkaCluster's mode and the KafkaUser's enforcement.
// +kubebuilder:validation:Enum=Audited;Enforced
type EffectiveAuthorization string

const (
	// Audited users are denied nothing; what would be denied is recorded.
	Audited EffectiveAuthorization = "Audited"
	// Enforced users are denied what the ACLs do not allow.
	Enforced EffectiveAuthorization = "Enforced"
)

// Workload says whose pods a KafkaUser is for.
type Workload struct {
	// ServiceAccountName is the only service account whose pods may use this KafkaUser. Its identity in the mesh is
	// recorded for the user's principal.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	ServiceAccountName string `json:"serviceAccountName"`

	// PodSelector picks, among the pods of the service account, those that get this user's files without an annotation, in
	// namespaces with the label kafka.signet.dev/inject=enabled; default: all of them. It is no restriction: any other pod
	// of the service account may name the user in its annotation.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, (e.operator == 'In' || e.operator == 'NotIn') ? (has(e.values) && e.values.size() > 0) : ((e.operator == 'Exists' || e.operator == 'DoesNotExist') && (!has(e.values) || e.values.size() == 0)))",message="operator is In or NotIn with values, or Exists or DoesNotExist without"
	PodSelector *metav1.LabelSelector `json:"podSelector,omitempty"`
}

// Delivery is how pods get a KafkaUser's key and certificate.
// +kubebuilder:validation:Enum=Auto;Secret;PodCertificate
type Delivery string

const (
	// DeliveryAuto is by the kubelet where the API server and every node can and no keystores are asked for, else by Secret.
	DeliveryAuto Delivery = "Auto"
	// DeliverySecret is by a Secret that cert-manager keeps.
	DeliverySecret Delivery = "Secret"
	// DeliveryPodCertificate is by the kubelet: the key is made on the node and never leaves it.
	DeliveryPodCertificate Delivery = "PodCertificate"
)

// KeystoreFormat is a form in which Java programs read key and certificate, beside PEM.
// +kubebuilder:validation:Enum=PKCS12;JKS
type KeystoreFormat string

const (
	// KeystorePKCS12 is PKCS#12, Java's own default.
	KeystorePKCS12 KeystoreFormat = "PKCS12"
	// KeystoreJKS is Java's own older format.
	KeystoreJKS KeystoreFormat = "JKS"
)

// KeystoreFormats are all of them.
func KeystoreFormats() []KeystoreFormat { return []KeystoreFormat{KeystorePKCS12, KeystoreJKS} }

// UserCertificate overrides a KafkaCluster's certificate defaults for one user.
// +kubebuilder:validation:XValidation:rule="!has(self.delivery) || self.delivery != 'PodCertificate' || !has(self.issuerRef) || self.issuerRef.kind == 'MeshIssuer'",message="delivery PodCertificate needs a MeshIssuer: no issuer of cert-manager's own answers the kubelet; use the delivery Secret"
// +kubebuilder:validation:XValidation:rule="!has(self.keystores) || size(self.keystores) == 0 || !has(self.delivery) || self.delivery != 'PodCertificate'",message="keystores need a Secret, and with delivery PodCertificate there is none: leave delivery out or set it to Secret, or make the keystore in the container from keystore.pem"
type UserCertificate struct {
	// IssuerRef names who signs; default: the KafkaCluster's.
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`

	// Duration is the lifetime of a certificate, at least 1h; default: the KafkaCluster's.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,9}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1h')",message="duration must be at least 1h, written like 6h or 90m"
	Duration *metav1.Duration `json:"duration,omitempty"`

	// Delivery is how pods get key and certificate: Secret (cert-manager makes and renews a Secret), PodCertificate (the
	// kubelet makes the key, which never leaves the node, and renews the certificate; there is no Secret; needs
	// Kubernetes 1.37 on every node and a MeshIssuer), or Auto (default): PodCertificate for pods where every node can and
	// no keystores are asked for, and the Secret beside it, for pods that come before their KafkaUser and for external
	// clients.
	// +optional
	// +kubebuilder:default=Auto
	Delivery Delivery `json:"delivery,omitempty"`

	// Keystores are the forms in which pods get key and certificate beside PEM, for Java programs that read no PEM: PKCS12
	// (keystore.p12, which client-pkcs12.properties names) and JKS (keystore.jks, client-jks.properties). Their password is
	// changeit; it protects nothing, for the same key lies beside them as PEM. cert-manager (1.17 or later) makes them in
	// the Secret, so that the delivery is Secret. Pods that are created from then on have them.
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +listType=set
	Keystores []KeystoreFormat `json:"keystores,omitempty"`
}

// KafkaUserStatus is what is in force for a KafkaUser.
type KafkaUserStatus struct {
	// Principal is the user's Kafka principal, User:<namespace>.<name>.
	// +optional
	Principal string `json:"principal,omitempty"`

	// Subject of the user's certificate, RFC 2253.
	// +optional
	Subject string `json:"subject,omitempty"`

	// Certificate is the one in force.
	// +optional
	Certificate *CertificateStatus `json:"certificate,omitempty"`

	// Delivery is how the next pod gets key and certificate: Secret or PodCertificate.
	// +optional
	Delivery Delivery `json:"delivery,omitempty"`

	// SignerName is the signer of the pod's certificate; set with the delivery PodCertificate.
	// +optional
	SignerName string `json:"signerName,omitempty"`

	// ACLs is the number of bindings that the broker holds for the principal.
	// +optional
	ACLs *int32 `json:"acls,omitempty"`

	// Observed is what brokers with Signet's authorizer saw of the user.
	// +optional
	Observed *ObservedAccess `json:"observed,omitempty"`

	// Conditions: Ready, CertificateReady, MappingRecorded, AccessSynced, and ReadyToEnforce where the KafkaCluster's
	// authorization is set.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ObservedAccess sums up what brokers with Signet's authorizer recorded of a KafkaUser's principal.
type ObservedAccess struct {
	// Authorization is Enforced where the user is denied what its ACLs do not allow, else Audited.
	// +optional
	Authorization EffectiveAuthorization `json:"authorization,omitempty"`

	// LastSeen is when the principal last used anything. It is brought up to date once an hour.
	// +optional
	LastSeen *metav1.Time `json:"lastSeen,omitempty"`

	// WouldBeDenied is the number of different accesses of the last 30 days that the ACLs of now do not allow.
	// +optional
	WouldBeDenied int32 `json:"wouldBeDenied"`
}

// CertificateStatus describes a certificate in force.
type CertificateStatus struct {
	// Secret that holds it.
	// +optional
	Secret string `json:"secret,omitempty"`

	// Serial number, hexadecimal.
	// +optional
	Serial string `json:"serial,omitempty"`

	// NotAfter is when it expires.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// RenewalTime is when it will be renewed.
	// +optional
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`
}

// KafkaUserList is a list of KafkaUsers.
// +kubebuilder:object:root=true
type KafkaUserList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []KafkaUser `json:"items"`
}

// Issuer returns who signs the user's certificate: its own issuerRef, else the cluster's.
func (u *KafkaUser) Issuer(cluster *KafkaCluster) IssuerReference {
	if c := u.Spec.Certificate; c != nil && c.IssuerRef != nil {
		return *c.IssuerRef
	}
	return cluster.Spec.Certificates.IssuerRef
}

// EffectiveAuthorization returns whether brokers with Signet's authorizer deny the user, whose principal this is, what its
// ACLs do not allow; "" where the KafkaCluster has no authorization. What the KafkaCluster lists as enforced is enforced.
func (u *KafkaUser) EffectiveAuthorization(cluster *KafkaCluster, principal string) EffectiveAuthorization {
	a := cluster.Spec.Authorization
	if a == nil {
		return ""
	}
	listed := slices.Contains(a.Enforced, principal)
	switch a.Mode {
	case AuthorizationHybrid:
		if listed || u.Spec.Enforcement == EnforcementEnforce {
			return Enforced
		}
	case AuthorizationEnforce:
		if listed || u.Spec.Enforcement != EnforcementAudit || a.Exemptions != ExemptionsAllow {
			return Enforced
		}
	}
	return Audited
}

// Keystores returns the forms of keystores that the user's pods get beside PEM.
func (u *KafkaUser) Keystores() []KeystoreFormat {
	if c := u.Spec.Certificate; c != nil {
		return c.Keystores
	}
	return nil
}
