// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"
	"path"
	"strings"
)

// Annotations on pods.
const (
	// AnnotationUser opts a pod in: the names of KafkaUsers in the pod's namespace, separated by commas.
	AnnotationUser = "kafka.signet.dev/user"
	// AnnotationContainers names, separated by commas, the only containers and init containers that get files and
	// variables; without it all do.
	AnnotationContainers = "kafka.signet.dev/containers"
	// AnnotationInject set to "false" keeps a pod untouched whatever else it says.
	AnnotationInject = "kafka.signet.dev/inject"
)

// Annotations on pods by which they declare access without a KafkaUser, each a list separated by commas as in the field of
// the same name of a KafkaUser's spec. AnnotationCluster is the KafkaCluster: <name> or <namespace>/<name>.
const (
	AnnotationConsume        = "kafka.signet.dev/consume"
	AnnotationProduce        = "kafka.signet.dev/produce"
	AnnotationAdmin          = "kafka.signet.dev/admin"
	AnnotationConsumerGroups = "kafka.signet.dev/consumer-groups"
	AnnotationCluster        = "kafka.signet.dev/cluster"
)

// What Kubernetes RBAC says of topics: the verbs on ResourceTopics, of a topic's name or of a prefix with a trailing *. Each
// verb includes those before it.
const (
	ResourceTopics = "kafkatopics"
	VerbConsume    = "consume"
	VerbProduce    = "produce"
	VerbAdminister = "administer"
)

// AnnotationTakeOver on a KafkaCluster says that the Signet of this name, which its Kafka says it is administered by, is gone:
// the condition Reachable has the name.
const AnnotationTakeOver = "kafka.signet.dev/take-over"

// AnnotationAdopt with the value AdoptReplace, on a KafkaUser or on a KafkaCluster for all its KafkaUsers, says that what a
// principal has in Kafka when Signet first sees it is to be replaced by what is declared, also where it loses something.
const (
	AnnotationAdopt = "kafka.signet.dev/adopt"
	AdoptReplace    = "Replace"
)

// LabelInline is on each pod that declares access in its annotations: the name of the KafkaUser that is made of it.
const LabelInline = "kafka.signet.dev/inline"

// LabelDeclaredBy is on KafkaUsers that Signet made: DeclaredByPods of pods' annotations, DeclaredByRBAC of what Kubernetes
// RBAC lets a service account do with topics.
const (
	LabelDeclaredBy = "kafka.signet.dev/declared-by"
	DeclaredByPods  = "pods"
	DeclaredByRBAC  = "rbac"
)

// LabelInject on a namespace: InjectDisabled keeps all of its pods untouched; in one with InjectEnabled a pod that a
// KafkaUser's spec.workload means gets that user's files without an annotation.
const (
	LabelInject    = "kafka.signet.dev/inject"
	InjectEnabled  = "enabled"
	InjectDisabled = "disabled"
)

// AnnotationPrefix begins every annotation that Signet reads; one it does not know is refused, so that a misspelt
// annotation is not silently ignored.
const AnnotationPrefix = "kafka.signet.dev/"

// MountRoot is the directory below which each KafkaUser's files are mounted in a container: MountRoot/<user>/.
const MountRoot = "/var/run/secrets/kafka.signet.dev"

// Names of the files below MountRoot/<user>/.
const (
	// FileCertificate holds the leaf and its intermediates (PEM, leaf first).
	FileCertificate = "tls.crt"
	// FileKey holds the private key (PEM, PKCS#8).
	FileKey = "tls.key"
	// FileCA holds the certificates to trust for the broker (PEM).
	FileCA = "ca.crt"
	// FileKeystore holds key and chain in one PEM file, the form that Kafka's Java client reads (KIP-651).
	FileKeystore = "keystore.pem"
	// FilePKCS12 and FileJKS hold key and chain as keystores, where the KafkaUser asks for them; cert-manager's Secret has
	// them by the same names.
	FilePKCS12 = "keystore.p12"
	FileJKS    = "keystore.jks"
	// FileJavaProperties holds the configuration of Kafka's Java client.
	FileJavaProperties = "client.properties"
	// FileJavaPKCS12 and FileJavaJKS hold the same with FilePKCS12 and FileJKS in place of FileKeystore.
	FileJavaPKCS12 = "client-pkcs12.properties"
	FileJavaJKS    = "client-jks.properties"
	// FileLibrdkafka holds the configuration of librdkafka and kcat.
	FileLibrdkafka = "librdkafka.conf"
	// FileJSON holds the same facts as a JSON object, for every other client.
	FileJSON = "kafka.json"
)

// File is the name of the keystore.
func (f KeystoreFormat) File() string {
	if f == KeystoreJKS {
		return FileJKS
	}
	return FilePKCS12
}

// JavaProperties is the name of the file that holds the configuration of Kafka's Java client with the keystore.
func (f KeystoreFormat) JavaProperties() string {
	if f == KeystoreJKS {
		return FileJavaJKS
	}
	return FileJavaPKCS12
}

// KeystorePassword is the password of FilePKCS12 and FileJKS. It is no secret: whoever can read the keystore can read the
// same key as PEM beside it. The JDK's own trust store has the same one.
const KeystorePassword = "changeit"

// FileForScope returns the name of a file that is about the listener of a scope: client.properties becomes
// client-external.properties. The files of the scope "" are those for a user's own pods, which have the plain names.
func FileForScope(file string, scope ListenerScope) string {
	if scope == "" {
		return file
	}
	extension := path.Ext(file)
	return strings.TrimSuffix(file, extension) + "-" + strings.ToLower(string(scope)) + extension
}

// Keys of a KafkaUser's client ConfigMap beside the files above; pods take environment variables from them.
const (
	// KeyBootstrapServers holds host:port[,host:port…].
	KeyBootstrapServers = "bootstrap.servers"
	// KeySecurityProtocol holds SSL or PLAINTEXT, as Kafka's security.protocol.
	KeySecurityProtocol = "security.protocol"
	// KeyMeshBootstrapServers and KeyMeshSecurityProtocol are the same for the listener of scope Mesh.
	KeyMeshBootstrapServers = "mesh.bootstrap.servers"
	KeyMeshSecurityProtocol = "mesh.security.protocol"
)

// KeyCombinedPEM is the key of cert-manager's Secret that holds key and chain in one PEM (additionalOutputFormats).
const KeyCombinedPEM = "tls-combined.pem"

// CertificateName is the name of the cert-manager Certificate, and of the Secret, of the KafkaUser with this name, in
// its namespace. It is a function of the name alone, so that a pod can be mutated before the KafkaUser exists.
func CertificateName(user string) string { return user + "-kafka-tls" }

// ClientConfigName is the name of the ConfigMap with the client configuration of the KafkaUser with this name.
func ClientConfigName(user string) string { return user + "-kafka-client" }

// TrustBundleName is the name of the ConfigMap (key FileCA, and FileForScope of it) with what the KafkaUser with this name
// must trust to reach its brokers.
func TrustBundleName(user string) string { return user + "-kafka-trust" }

// MappingName is the name of the PrincipalMapping of a KafkaUser, in its KafkaCluster's namespace. A namespace has no
// dot, so two KafkaUsers never share one.
func MappingName(namespace, user string) string { return namespace + "." + user }

// BrokerConfigName is the name of the ConfigMap that the brokers of a KafkaCluster mount, in the cluster's namespace.
func BrokerConfigName(cluster string) string { return cluster + "-signet-broker" }

// Keys of the ConfigMap named by BrokerConfigName.
const (
	// KeyClientCA holds the certificates that brokers trust as client CA (PEM).
	KeyClientCA = "client-ca.pem"
	// KeyMappingRules holds the value of ssl.principal.mapping.rules.
	KeyMappingRules = "ssl.principal.mapping.rules"
	// KeyMappingFile holds every recorded subject and its principal (JSON).
	KeyMappingFile = "mapping.json"
	// KeyAuthorizationFile holds whom brokers deny what the ACLs do not allow (JSON); it is there where the KafkaCluster has
	// authorization.
	KeyAuthorizationFile = "authorization.json"
	// KeyServerProperties holds the fragment of server.properties of a stock broker, that names the files above.
	KeyServerProperties = "server.properties"
	// KeySignetServerProperties holds the same for a broker that has Signet's jar on its class path.
	KeySignetServerProperties = "server.signet.properties"
)

// BrokerShardName is the name of a further ConfigMap with a part of the mapping file, counted from 1; there is one only
// where one ConfigMap cannot hold the file.
func BrokerShardName(cluster string, number int) string {
	return fmt.Sprintf("%s-%d", BrokerConfigName(cluster), number)
}

// SignerName is the signer name of a MeshIssuer, for PodCertificateRequests and CertificateSigningRequests.
func SignerName(issuer string) string { return GroupVersion.Group + "/" + issuer }

// TrustBundleObject is the name of the ClusterTrustBundle of a MeshIssuer: the root certificates that verify what it
// signs. The API server wants it to begin with the signer's name.
func TrustBundleObject(issuer string) string { return GroupVersion.Group + ":" + issuer + ":roots" }

// AuthoritiesSecret is the name of the Secret, in Signet's own namespace, with one key for each MeshIssuer: who signs, who
// will, and who is still trusted.
const AuthoritiesSecret = "signet-authorities"

// AdminCertificateName is the name of the Certificate, and of its Secret, in a KafkaCluster's namespace by which Signet
// administers a cluster whose issuer is one of cert-manager's own.
func AdminCertificateName(cluster string) string { return cluster + "-signet-admin" }

// BrokerConfigPath is where a broker mounts its ConfigMap; the server.properties fragment names files below it.
const BrokerConfigPath = "/etc/kafka-signet"
