// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// KafkaCluster describes an existing Kafka: how clients reach it, how Signet administers it, who signs its clients'
// certificates, and which namespaces may use it.
//
// +genclient
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=signet,shortName=kc
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Users",type=integer,JSONPath=`.status.users`
// +kubebuilder:printcolumn:name="Brokers",type=integer,JSONPath=`.status.brokers`
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.certificates.issuerRef.name`
// +kubebuilder:printcolumn:name="Authorization",type=string,JSONPath=`.spec.authorization.mode`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label: at most 63 characters of a-z, 0-9 and -, no dot"
type KafkaCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec KafkaClusterSpec `json:"spec"`
	// +optional
	Status KafkaClusterStatus `json:"status,omitempty"`
}

// KafkaClusterSpec is what an administrator declares of a Kafka.
// +kubebuilder:validation:XValidation:rule="self.listeners.exists(l, l.name == self.admin.listener)",message="admin.listener must be the name of one of the listeners"
// +kubebuilder:validation:XValidation:rule="self.listeners.filter(l, l.name == self.admin.listener).all(l, has(self.admin.sasl) ? l.authentication in ['SASL', 'SASLPlaintext'] : l.authentication == 'MTLS')",message="admin.listener must be a listener with authentication MTLS, or, with admin.sasl, one with authentication SASL or SASLPlaintext"
// +kubebuilder:validation:XValidation:rule="!has(self.admin.sasl) || self.admin.sasl.mechanism != 'OAUTHBEARER' || self.listeners.filter(l, l.name == self.admin.listener).all(l, l.authentication != 'SASLPlaintext')",message="admin.sasl with OAUTHBEARER needs a listener with authentication SASL: whoever reads the token on a plaintext one has it"
type KafkaClusterSpec struct {
	// Listeners by which clients reach the brokers. Of each scope a client gets the first one with authentication MTLS, else
	// the first one.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Listeners []Listener `json:"listeners"`

	// Admin says how Signet itself connects, to keep ACLs, quotas and topics. By default it signs itself a client
	// certificate that lives in memory only. Its principal (status.adminPrincipal) has to be a super user, which the
	// rendered server.properties fragment makes it.
	Admin AdminConnection `json:"admin"`

	// Certificates are the defaults of the client certificates of this cluster.
	Certificates CertificateDefaults `json:"certificates"`

	// NamespaceSelector selects, by the labels of the namespace, whose KafkaUsers and KafkaTopics may refer to this
	// cluster. {} selects every namespace. It is required, so that opening a cluster to everybody is a decision.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, (e.operator == 'In' || e.operator == 'NotIn') ? (has(e.values) && e.values.size() > 0) : ((e.operator == 'Exists' || e.operator == 'DoesNotExist') && (!has(e.values) || e.values.size() == 0)))",message="operator is In or NotIn with values, or Exists or DoesNotExist without"
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector"`

	// MeshTrustDomain is the SPIFFE trust domain of the service mesh: the workload identity
	// spiffe://<meshTrustDomain>/ns/<namespace>/sa/<serviceAccount> of a KafkaUser's workload is recorded for its
	// principal.
	// +optional
	// +kubebuilder:default=cluster.local
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9._-]+$`
	MeshTrustDomain string `json:"meshTrustDomain,omitempty"`

	// PrincipalTemplate makes the name of a KafkaUser's principal out of {namespace} and {name} (of the KafkaUser) or
	// {serviceAccount} (of its workload); default {namespace}.{name}, which no two KafkaUsers share. A template by which
	// two KafkaUsers could have one principal, such as {namespace}-{serviceAccount}, is accepted: the first to claim a
	// principal has it, the other is refused with its name. Brokers without Signet's principal builder then need one
	// rule for each KafkaUser, and a restart for each new one. It cannot be changed.
	// +optional
	// +kubebuilder:default="{namespace}.{name}"
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9=.,_@-]|[{](namespace|name|serviceAccount)[}])+$')",message="principalTemplate may have letters, digits, = . , _ @ - and the placeholders {namespace}, {name} and {serviceAccount}"
	// +kubebuilder:validation:XValidation:rule="self.contains('{namespace}') && (self.contains('{name}') || self.contains('{serviceAccount}'))",message="principalTemplate needs {namespace}, and {name} or {serviceAccount}"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="principalTemplate cannot be changed: every principal, and with it every ACL, would be another"
	PrincipalTemplate string `json:"principalTemplate,omitempty"`

	// SuperUsers are principals beside Signet's own that the rendered server.properties fragment lists in super.users,
	// such as those of the brokers themselves: "User:CN=broker,O=example". A principal has no semicolon, which is what
	// separates them there, and Kafka compares them as they stand: User:* is nobody, and a blank at the end would be lost.
	// The principal of a KafkaUser cannot be one.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r'^User:[^;\\\x00-\x1f\x7f]*[^;\\\s\x00-\x1f\x7f]$') && self != 'User:*'`,message="a super user is written User:<name>, one for each, with no semicolon, backslash or control character, no blank at its end, and no *, which is nobody"
	// +listType=set
	SuperUsers []string `json:"superUsers,omitempty"`

	// Authorization is for brokers with Signet's authorizer: whom they deny what the ACLs do not allow. Without it the
	// brokers' authorizer is none of Signet's business, and authorization.json is not rendered.
	// +optional
	Authorization *Authorization `json:"authorization,omitempty"`

	// Policy sets what KafkaUsers of this cluster may declare.
	// +optional
	// +kubebuilder:default={}
	Policy ClusterPolicy `json:"policy,omitempty"`
}

// AuthorizationMode is whom brokers with Signet's authorizer deny what the ACLs do not allow.
// +kubebuilder:validation:Enum=Audit;Hybrid;Enforce
type AuthorizationMode string

const (
	// AuthorizationAudit denies nobody: what Kafka's own rules would deny is let through, and recorded.
	AuthorizationAudit AuthorizationMode = "Audit"
	// AuthorizationHybrid denies those only who are enforced.
	AuthorizationHybrid AuthorizationMode = "Hybrid"
	// AuthorizationEnforce denies everybody but those who are audited.
	AuthorizationEnforce AuthorizationMode = "Enforce"
)

// ExemptionPolicy says whether KafkaUsers may exempt themselves from the mode Enforce.
// +kubebuilder:validation:Enum=Refuse;Allow
type ExemptionPolicy string

const (
	// ExemptionsRefuse enforces them as everybody else.
	ExemptionsRefuse ExemptionPolicy = "Refuse"
	// ExemptionsAllow denies them nothing.
	ExemptionsAllow ExemptionPolicy = "Allow"
)

// Authorization says whom brokers with Signet's authorizer deny what the ACLs do not allow. Operations on the cluster, and
// changes of ACLs and configurations, are denied in every mode as Kafka's own rules say. A change is in force within
// seconds, with no restart.
type Authorization struct {
	// Mode is Audit (default: nobody is denied anything, and what would be is recorded), Hybrid (only those are denied
	// who are enforced, here or by their KafkaUser's enforcement) or Enforce (everybody is).
	// +optional
	// +kubebuilder:default=Audit
	Mode AuthorizationMode `json:"mode,omitempty"`

	// Enforced are principals, such as "User:shop.orders", that are denied in the mode Hybrid whatever their KafkaUser
	// says, and that no KafkaUser can exempt in the mode Enforce.
	// +optional
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=517
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r'^User:[^\x00-\x1f\x7f]+$') && self != 'User:*'`,message="a principal is written User:<name>, with no control character, and is not User:*, which is nobody"
	// +listType=set
	Enforced []string `json:"enforced,omitempty"`

	// Exemptions says whether a KafkaUser's enforcement Audit counts in the mode Enforce: Allow denies it nothing, so that
	// whoever may write KafkaUsers has access to everything; default Refuse.
	// +optional
	// +kubebuilder:default=Refuse
	Exemptions ExemptionPolicy `json:"exemptions,omitempty"`

	// People is a regular expression that matches the principals of people as a whole, such as
	// "User:[a-z.]+@example[.]com". What people do is recorded event by event, with the address that they came from;
	// what services do is counted. It has the syntax of a PrincipalMapping's patterns.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	People string `json:"people,omitempty"`
}

// ListenerScope is where a listener's clients run.
// +kubebuilder:validation:Enum=Mesh;Cluster;External
type ListenerScope string

const (
	// ScopeMesh is for pods with a sidecar of the service mesh, which speaks for them.
	ScopeMesh ListenerScope = "Mesh"
	// ScopeCluster is for pods of the Kubernetes cluster.
	ScopeCluster ListenerScope = "Cluster"
	// ScopeExternal is for clients outside Kubernetes.
	ScopeExternal ListenerScope = "External"
)

// ListenerAuthentication is how a listener identifies its clients.
// +kubebuilder:validation:Enum=MTLS;Mesh;SASL;SASLPlaintext;None
type ListenerAuthentication string

const (
	// AuthenticationMTLS is by client certificate (ssl.client.auth=required).
	AuthenticationMTLS ListenerAuthentication = "MTLS"
	// AuthenticationMesh is by the mutual TLS of the sidecars on both sides: to its own sidecar the client speaks plaintext.
	AuthenticationMesh ListenerAuthentication = "Mesh"
	// AuthenticationSASL is by SASL over TLS (SASL_SSL), for Signet's own connection; KafkaUsers get no files for it.
	AuthenticationSASL ListenerAuthentication = "SASL"
	// AuthenticationSASLPlaintext is by SASL without encryption (SASL_PLAINTEXT), for Signet's own connection by SCRAM,
	// which never sends the password itself.
	AuthenticationSASLPlaintext ListenerAuthentication = "SASLPlaintext"
	// AuthenticationNone is a plaintext listener that identifies nobody.
	AuthenticationNone ListenerAuthentication = "None"
)

// Listener is one of the brokers' listeners, as a client sees it.
// +kubebuilder:validation:XValidation:rule="self.authentication in ['MTLS', 'SASL'] || !has(self.serverCA)",message="serverCA has no meaning on a listener where clients use no TLS of their own: authentication Mesh, SASLPlaintext or None"
// +kubebuilder:validation:XValidation:rule="(self.scope == 'Mesh') == (self.authentication == 'Mesh')",message="scope Mesh and authentication Mesh belong together: the sidecars identify each other"
type Listener struct {
	// Name of the listener in the brokers' configuration, lower case, as in listener.name.<name>.*.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// BootstrapServers are the host:port pairs that clients connect to first.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r'^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$') && int(self.substring(self.lastIndexOf(':') + 1)) > 0 && int(self.substring(self.lastIndexOf(':') + 1)) < 65536`,message="a bootstrap server is written host:port, with a port from 1 to 65535"
	// +listType=atomic
	BootstrapServers []string `json:"bootstrapServers"`

	// Scope says for whom the listener is: Mesh (pods with a sidecar of the service mesh), Cluster (pods) or External
	// (outside Kubernetes). A pod has files for Cluster and External: client.properties and its like are those of Cluster,
	// else of External; client-external.properties those of External. A pod with a sidecar has those of Mesh, as
	// client.properties and its like, and no certificate.
	Scope ListenerScope `json:"scope"`

	// Authentication says how the listener identifies clients: MTLS (default) by the client's certificate, Mesh by the one
	// of its sidecar, SASL (over TLS), SASLPlaintext (SASL without TLS), or None not at all. KafkaUsers have files for MTLS,
	// Mesh and None; SASL is for Signet's own connection (spec.admin.sasl).
	// +optional
	// +kubebuilder:default=MTLS
	Authentication ListenerAuthentication `json:"authentication,omitempty"`

	// ServerCA names the certificates that clients must trust to reach this listener; default: the certificates of the
	// client certificates' own issuer (the mesh root), for brokers whose certificate the mesh signed. The Secret or
	// ConfigMap is in the KafkaCluster's namespace.
	// +optional
	ServerCA *KeyReference `json:"serverCA,omitempty"`
}

// AdminConnection says how Signet connects to administer a Kafka.
type AdminConnection struct {
	// Listener is the name of the listener that Signet itself uses. The controller's pod must reach it. It is one with
	// authentication MTLS, or, with sasl, one with SASL or SASLPlaintext.
	// +kubebuilder:validation:MinLength=1
	Listener string `json:"listener"`

	// SASL has Signet authenticate by SASL instead of its own certificate, for a Kafka whose brokers do not have the
	// rendered configuration yet.
	// +optional
	SASL *AdminSASL `json:"sasl,omitempty"`
}

// SASLMechanism is how Signet authenticates by SASL, as Kafka's sasl.mechanism names it.
// +kubebuilder:validation:Enum=SCRAM-SHA-512;SCRAM-SHA-256;OAUTHBEARER
type SASLMechanism string

const (
	// MechanismSCRAMSHA512 is a username and a password of which only proofs are sent (RFC 5802 with SHA-512).
	MechanismSCRAMSHA512 SASLMechanism = "SCRAM-SHA-512"
	// MechanismSCRAMSHA256 is the same with SHA-256 (RFC 7677).
	MechanismSCRAMSHA256 SASLMechanism = "SCRAM-SHA-256"
	// MechanismOAuthBearer is an OAuth 2 bearer token (RFC 7628, KIP-255, KIP-768).
	MechanismOAuthBearer SASLMechanism = "OAUTHBEARER"
)

// IsSCRAM tells whether the mechanism is one with a username and a password.
func (m SASLMechanism) IsSCRAM() bool { return m == MechanismSCRAMSHA512 || m == MechanismSCRAMSHA256 }

// AdminSASL is what Signet authenticates with by SASL.
// +kubebuilder:validation:XValidation:rule="self.mechanism.startsWith('SCRAM-') == has(self.username)",message="username belongs to the SCRAM mechanisms, and they need it"
// +kubebuilder:validation:XValidation:rule="self.mechanism == 'OAUTHBEARER' || (!has(self.tokenEndpoint) && !has(self.principalClaim))",message="tokenEndpoint and principalClaim belong to the mechanism OAUTHBEARER"
type AdminSASL struct {
	// Mechanism is SCRAM-SHA-512, SCRAM-SHA-256 or OAUTHBEARER.
	Mechanism SASLMechanism `json:"mechanism"`

	// Username of the SCRAM credentials. Signet's principal is then User:<username>, and no KafkaUser's can be.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[^;\\\x00-\x1f\x7f]*[^;\\\s\x00-\x1f\x7f]$') && self != '*'`,message="a username has no semicolon, backslash or control character, no blank at its end, and is not *"
	Username string `json:"username,omitempty"`

	// SecretName names the Secret in the KafkaCluster's namespace with what must not be read: the password (SCRAM), the
	// client secret for tokenEndpoint, or else the token itself. The controller may read it only if the chart's value
	// controller.adminSecrets lists it. When it changes, Signet connects anew.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	SecretName string `json:"secretName"`

	// SecretKey is the key in that Secret; default password (SCRAM), clientSecret (with tokenEndpoint) or token.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	SecretKey string `json:"secretKey,omitempty"`

	// TokenEndpoint is where Signet gets its token, by the grant client_credentials (RFC 6749, section 4.4); without it,
	// the Secret holds the token, and whoever writes the Secret renews it.
	// +optional
	TokenEndpoint *TokenEndpoint `json:"tokenEndpoint,omitempty"`

	// PrincipalClaim is the claim of the token that the brokers take the principal from (their
	// sasl.oauthbearer.sub.claim.name); default sub. It is for status.adminPrincipal.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	PrincipalClaim string `json:"principalClaim,omitempty"`
}

// TokenEndpoint is an OAuth 2 token endpoint and who Signet is there.
type TokenEndpoint struct {
	// URL of the endpoint, https only: the client secret is sent to it.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != '' && !self.contains('@')",message="url must be an https URL without user information"
	URL string `json:"url"`

	// ClientID of Signet.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	ClientID string `json:"clientID"`

	// Scope to ask for, several separated by blanks.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Scope string `json:"scope,omitempty"`

	// Audience to ask for, where the endpoint knows that parameter.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Audience string `json:"audience,omitempty"`

	// CA names the certificates that the endpoint's own must be verified with, in the KafkaCluster's namespace; default: the
	// roots of the controller's image.
	// +optional
	CA *KeyReference `json:"ca,omitempty"`
}

// CertificateDefaults are the certificate settings of a KafkaCluster's users.
// +kubebuilder:validation:XValidation:rule="self.issuerRef.kind == 'MeshIssuer' || has(self.clientCA)",message="clientCA is needed with an issuer of cert-manager's own: it says which CA the brokers trust"
type CertificateDefaults struct {
	// IssuerRef names who signs: a MeshIssuer, or an issuer of cert-manager's own.
	IssuerRef IssuerReference `json:"issuerRef"`

	// ClientCA names further certificates that the brokers trust to verify clients, beside the roots of the MeshIssuer:
	// those of an issuer of cert-manager's own, or of another CA whose clients are registered by externalSubjects. The
	// Secret or ConfigMap is in the KafkaCluster's namespace.
	// +optional
	ClientCA *KeyReference `json:"clientCA,omitempty"`

	// Duration is the lifetime of a certificate, at least 1h; default 6h. It is cut to the CA's and the issuer's limit.
	// +optional
	// +kubebuilder:default="6h"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,9}([.][0-9]{1,9})?(ms|s|m|h))+$') && duration(self) >= duration('1h')",message="duration must be at least 1h, written like 6h or 90m"
	Duration metav1.Duration `json:"duration,omitempty"`

	// Organization is the O= of every subject, the marker that tells Signet's certificates from all others that the
	// same CA signs; default signet. Changing it changes every subject and the brokers' static rule.
	// +optional
	// +kubebuilder:default=signet
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('-controller')",message="organization must not end in -controller, the marker of Signet's own certificates"
	Organization string `json:"organization,omitempty"`
}

// ClusterPolicy sets what KafkaUsers of a cluster may declare.
type ClusterPolicy struct {
	// FreeGroups gives every user that consumes the consumer group <namespace> and those that start with <namespace>.;
	// default true.
	// +optional
	// +kubebuilder:default=true
	FreeGroups *bool `json:"freeGroups,omitempty"`

	// AllowWildcard permits the lone * (every topic, every group) in KafkaUsers; default false.
	// +optional
	AllowWildcard bool `json:"allowWildcard,omitempty"`

	// Unmapped says what becomes of a client whose certificate is nobody's, on brokers with Signet's principal builder:
	// Refuse (default) closes the connection; Explicit gives it the principal User:sa:<namespace>.<service account>, if
	// it is a workload of the mesh, or User:unmapped:<SHA-256 of its DER subject>, so that an audit sees it. No
	// KafkaUser can have either. Stock brokers always refuse.
	// +optional
	// +kubebuilder:default=Refuse
	Unmapped UnmappedPolicy `json:"unmapped,omitempty"`

	// InlineDeclarations says whether pods may declare access in their annotations, without a KafkaUser: Allow lets whoever
	// may create pods in a namespace give them access as if they could create KafkaUsers there; default Refuse.
	// +optional
	// +kubebuilder:default=Refuse
	InlineDeclarations InlinePolicy `json:"inlineDeclarations,omitempty"`

	// Grants says who may declare which topic in KafkaUsers: Open (default) lets whoever may write KafkaUsers in a namespace
	// declare what the rest of this policy permits; RBAC asks in addition for the verb consume, produce or administer on
	// kafkatopics of the topic's name, in this object's namespace or, for topics that start with "<namespace>-", in the
	// KafkaUser's. It judges what is declared from then on, by whoever applies it; of a KafkaUser that Signet makes of pods it
	// is their service account that needs the right.
	// +optional
	// +kubebuilder:default=Open
	Grants GrantsPolicy `json:"grants,omitempty"`

	// UsersFromRBAC says whether service accounts get KafkaUsers by Kubernetes RBAC alone: Derive makes one, of the account's
	// name, for each service account that has the verb consume, produce or administer on kafkatopics in this object's
	// namespace or in all, keeps it as the rules say, and removes it with them; default Ignore.
	// +optional
	// +kubebuilder:default=Ignore
	UsersFromRBAC RBACPolicy `json:"usersFromRBAC,omitempty"`

	// DefaultQuotas are the quotas of every KafkaUser of this cluster that sets none of its own. They are set for each user's
	// principal: nobody else is bounded by them.
	// +optional
	DefaultQuotas *Quotas `json:"defaultQuotas,omitempty"`

	// AdminTopicExemptions are topic names, or prefixes with a trailing *, that a KafkaUser may list under admin
	// although they do not start with "<namespace>-".
	// +optional
	// +kubebuilder:validation:MaxItems=10000
	// +kubebuilder:validation:items:MaxLength=249
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([*]|[a-zA-Z0-9._-]+[*]?)$')",message="the name of a topic has letters, digits, dot, _ and - only; a * at its end makes it a prefix"
	// +listType=set
	AdminTopicExemptions []string `json:"adminTopicExemptions,omitempty"`
}

// GrantsPolicy says who may declare which topic.
// +kubebuilder:validation:Enum=Open;RBAC
type GrantsPolicy string

const (
	// GrantsOpen is whoever may write KafkaUsers.
	GrantsOpen GrantsPolicy = "Open"
	// GrantsRBAC is whoever has the verb on the topic, too.
	GrantsRBAC GrantsPolicy = "RBAC"
)

// RBACPolicy says whether Kubernetes RBAC makes KafkaUsers.
// +kubebuilder:validation:Enum=Ignore;Derive
type RBACPolicy string

const (
	// UsersFromRBACIgnore makes none.
	UsersFromRBACIgnore RBACPolicy = "Ignore"
	// UsersFromRBACDerive makes one for each service account that has a verb on topics.
	UsersFromRBACDerive RBACPolicy = "Derive"
)

// InlinePolicy says whether pods may declare access in their annotations.
// +kubebuilder:validation:Enum=Refuse;Allow
type InlinePolicy string

const (
	// InlineRefuse refuses pods that try.
	InlineRefuse InlinePolicy = "Refuse"
	// InlineAllow makes KafkaUsers of what they declare.
	InlineAllow InlinePolicy = "Allow"
)

// UnmappedPolicy says what becomes of a client that no PrincipalMapping knows.
// +kubebuilder:validation:Enum=Refuse;Explicit
type UnmappedPolicy string

const (
	// UnmappedRefuse closes its connection.
	UnmappedRefuse UnmappedPolicy = "Refuse"
	// UnmappedExplicit gives it a principal that says so.
	UnmappedExplicit UnmappedPolicy = "Explicit"
)

// KafkaClusterStatus is what Signet sees of a Kafka.
type KafkaClusterStatus struct {
	// Users is the number of KafkaUsers that refer to this cluster.
	// +optional
	Users int32 `json:"users,omitempty"`

	// Brokers is the number of brokers that answered last.
	// +optional
	Brokers int32 `json:"brokers,omitempty"`

	// AdminPrincipal is the principal of Signet's own connection. It must be a super user. With OAUTHBEARER it is what
	// Signet's token says, and empty until Signet has one that it can read.
	// +optional
	AdminPrincipal string `json:"adminPrincipal,omitempty"`

	// BrokerConfig is the name of the ConfigMap that the brokers mount.
	// +optional
	BrokerConfig string `json:"brokerConfig,omitempty"`

	// BrokerConfigGeneration grows with each change of what brokers mount. Brokers with Signet's principal builder
	// report the generation that they use.
	// +optional
	BrokerConfigGeneration int64 `json:"brokerConfigGeneration,omitempty"`

	// Conditions: Ready, BrokerConfigRendered, Reachable, and AccessObserved where authorization is set.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// KafkaClusterList is a list of KafkaClusters.
// +kubebuilder:object:root=true
type KafkaClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []KafkaCluster `json:"items"`
}

// Admits tells whether a namespace with these labels may refer to the cluster. It errs where the selector is malformed.
func (c *KafkaCluster) Admits(namespaceLabels map[string]string) (bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(&c.Spec.NamespaceSelector)
	if err != nil {
		return false, fmt.Errorf("kafkacluster %s/%s: spec.namespaceSelector: %w", c.Namespace, c.Name, err)
	}
	return selector.Matches(labels.Set(namespaceLabels)), nil
}

// ForClients tells whether KafkaUsers can use the listener: Signet gives them certificates, and no passwords or tokens.
func (l Listener) ForClients() bool {
	return l.Authentication != AuthenticationSASL && l.Authentication != AuthenticationSASLPlaintext
}

// Listener returns the first listener of the scope that identifies its clients by certificate, else the first one that
// KafkaUsers can use.
func (c *KafkaCluster) Listener(scope ListenerScope) (Listener, bool) {
	var found *Listener
	for i := range c.Spec.Listeners {
		l := &c.Spec.Listeners[i]
		if l.Scope != scope || !l.ForClients() {
			continue
		}
		if l.Authentication == AuthenticationMTLS {
			return *l, true
		}
		if found == nil {
			found = l
		}
	}
	if found == nil {
		return Listener{}, false
	}
	return *found, true
}

// MeshListener returns the listener for pods with a sidecar, if there is one.
func (c *KafkaCluster) MeshListener() (Listener, bool) { return c.Listener(ScopeMesh) }

// AdminListener returns the listener that Signet itself uses.
func (c *KafkaCluster) AdminListener() (Listener, bool) {
	for _, l := range c.Spec.Listeners {
		if l.Name == c.Spec.Admin.Listener {
			return l, true
		}
	}
	return Listener{}, false
}

// VerifyingListener returns the listener by which Signet tries whether brokers trust a client CA: the admin listener, if it
// verifies certificates, else the first one that does, those for pods before the others. There may be none.
func (c *KafkaCluster) VerifyingListener() (Listener, bool) {
	if l, ok := c.AdminListener(); ok && l.Authentication == AuthenticationMTLS {
		return l, true
	}
	for _, scope := range []ListenerScope{ScopeCluster, ScopeExternal} {
		if l, ok := c.Listener(scope); ok && l.Authentication == AuthenticationMTLS {
			return l, true
		}
	}
	return Listener{}, false
}

// FreeGroupsEnabled tells whether users that consume get their namespace's groups without asking.
func (p ClusterPolicy) FreeGroupsEnabled() bool { return p.FreeGroups == nil || *p.FreeGroups }
