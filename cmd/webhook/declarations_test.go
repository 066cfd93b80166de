// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/test/stack"
)

// honest are declarations with nothing wrong in them, one of each kind. The cases below are merge patches of them.
var honest = map[string]string{
	"KafkaUser": `
metadata: {name: orders, namespace: shop}
spec:
  clusterRef: {name: kafka, namespace: kafka}
  workload:
    serviceAccountName: orders
    podSelector: {matchLabels: {app: orders}, matchExpressions: [{key: tier, operator: NotIn, values: [test]}, {key: example.com/kafka, operator: Exists}]}
  certificate: {duration: 1h30m, delivery: PodCertificate, issuerRef: {name: mesh}}
  externalSubjects: ["CN=orders,O=Old Keystores"]
  consume: [orders, "shop-*", .hidden]
  produce: [payments]
  admin: [shop-changelog, legacy]
  consumerGroups: ["Reports (daily)*", "."]
`,
	"KafkaTopic": `
metadata: {name: orders, namespace: shop}
spec:
  clusterRef: {name: kafka, namespace: kafka}
  topic: shop-orders
  partitions: 3
  replicationFactor: 1
  config: {retention.ms: "86400000", cleanup.policy: "compact,delete"}
  deletionPolicy: Delete
`,
	"KafkaCluster": `
metadata: {name: second, namespace: kafka}
spec:
  listeners:
  - {name: mtls, scope: Cluster, bootstrapServers: ["kafka.kafka.svc:9093", "[fd00::1]:65535"], serverCA: {secret: kafka-broker-tls}}
  - {name: plain, scope: External, authentication: None, bootstrapServers: ["192.0.2.1:1"]}
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}, clientCA: {configMap: roots, key: all.pem}, duration: 90m}
  namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [shop]}]}
  superUsers: ["User:CN=broker,O=Acme Inc", "User:x"]
  authorization: {mode: Hybrid, enforced: ["User:CN=old,O=Acme Inc", "User:shop.orders"], people: 'User:[a-z.]+@example\.com'}
  policy: {adminTopicExemptions: [legacy, "old.*", "*"]}
`,
	"MeshIssuer": `
metadata: {name: second}
spec:
  ca: {secretRef: {namespace: istio-system, name: istio-ca-secret}, intermediateDuration: 72h}
  trustDomain: clients.example
  maxDuration: 12h
`,
	"PrincipalMapping": `
metadata: {name: partner, namespace: kafka}
spec:
  cluster: kafka
  principal: User:partner
  subjects: [{exact: "CN=partner,O=Partner"}, {spiffe: "spiffe://partner.example/gateway"}]
`,
}

// refusals are the mistakes that the API server refuses at creation, by kind and with what it says of them.
var refusals = map[string][]struct{ mistake, patch, sentence string }{
	"KafkaUser": {
		{"a name with a dot", `{"metadata":{"name":"or.ders"}}`, `<nil>: Invalid value: metadata.name must be a DNS label: at most 63 characters of a-z, 0-9 and -, no dot, because it becomes the certificate's CN and a part of the principal`},
		{"a KafkaCluster that cannot be", `{"spec":{"clusterRef":{"name":"Kafka_1"}}}`, `spec.clusterRef.name: Invalid value: "Kafka_1": spec.clusterRef.name in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'`},
		{"a namespace that cannot be", `{"spec":{"clusterRef":{"namespace":"a.b"}}}`, `spec.clusterRef.namespace: Invalid value: "a.b": spec.clusterRef.namespace in body should match '^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$'`},
		{"a service account that cannot be", `{"spec":{"workload":{"serviceAccountName":"a b"}}}`, `spec.workload.serviceAccountName: Invalid value: "a b": spec.workload.serviceAccountName in body should match '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'`},
		{"an operator that is none", `{"spec":{"workload":{"podSelector":{"matchExpressions":[{"key":"app","operator":"Near","values":["x"]}]}}}}`, `spec.workload.podSelector: Invalid value: operator is In or NotIn with values, or Exists or DoesNotExist without`},
		{"an operator without values", `{"spec":{"workload":{"podSelector":{"matchExpressions":[{"key":"app","operator":"In"}]}}}}`, `spec.workload.podSelector: Invalid value: operator is In or NotIn with values, or Exists or DoesNotExist without`},
		{"an operator with values", `{"spec":{"workload":{"podSelector":{"matchExpressions":[{"key":"app","operator":"Exists","values":["x"]}]}}}}`, `spec.workload.podSelector: Invalid value: operator is In or NotIn with values, or Exists or DoesNotExist without`},
		{"a label that is none", `{"spec":{"workload":{"podSelector":{"matchLabels":{"not a label":"x"}}}}}`, `spec.workload.podSelector.matchLabels: Invalid value: "not a label": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`},
		{"a certificate of minutes", `{"spec":{"certificate":{"duration":"10m"}}}`, `spec.certificate.duration: Invalid value: "10m": duration must be at least 1h, written like 6h or 90m`},
		{"a duration that is none", `{"spec":{"certificate":{"duration":"6 hours"}}}`, `spec.certificate.duration: Invalid value: "6 hours": duration must be at least 1h, written like 6h or 90m`},
		{"delivery by the kubelet, of an issuer that does not answer it", `{"spec":{"certificate":{"issuerRef":{"kind":"ClusterIssuer","group":"cert-manager.io"}}}}`, `spec.certificate: Invalid value: delivery PodCertificate needs a MeshIssuer: no issuer of cert-manager's own answers the kubelet; use the delivery Secret`},
		{"the same, of the KafkaCluster's issuer", `{"spec":{"clusterRef":{"name":"stock"},"certificate":{"issuerRef":null}}}`, `spec.certificate.delivery: Invalid value: "PodCertificate": needs a MeshIssuer, and the issuer is the ClusterIssuer company, which does not answer the kubelet; use the delivery Secret`},
		{"an issuer of another group", `{"spec":{"certificate":{"issuerRef":{"group":"cert-manager.io"}}}}`, `spec.certificate.issuerRef: Invalid value: group is kafka.signet.dev for a MeshIssuer, and cert-manager.io for an Issuer or ClusterIssuer`},
		{"an enforcement that is none", `{"spec":{"enforcement":"Hybrid"}}`, `[spec.enforcement: Unsupported value: "Hybrid": supported values: "Inherit", "Audit", "Enforce", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		{"an external subject with a blank", `{"spec":{"externalSubjects":["CN=orders, O=Old Keystores"]}}`, `spec.externalSubjects[0]: Invalid value: "CN=orders, O=Old Keystores": subject "CN=orders, O=Old Keystores": brokers see it as "CN=orders,O=Old Keystores"; write it so`},
		{"an external subject of another KafkaUser", `{"spec":{"externalSubjects":["CN=checkout,OU=shop,O=signet"]}}`, `spec: Forbidden: subject CN=checkout,OU=shop,O=signet is that of KafkaUser shop/checkout and nobody else's`},
		{"a blank in a topic", `{"spec":{"consume":["a b"]}}`, `spec.consume[0]: Invalid value: "a b": the name of a topic has letters, digits, dot, _ and - only, and is not . or ..; a * at its end makes it a prefix`},
		{"a star in the middle", `{"spec":{"produce":["a*b"]}}`, `spec.produce[0]: Invalid value: "a*b": the name of a topic has letters, digits, dot, _ and - only, and is not . or ..; a * at its end makes it a prefix`},
		{"a topic that Kafka does not allow", `{"spec":{"admin":["."]}}`, `spec.admin[0]: Invalid value: ".": the name of a topic has letters, digits, dot, _ and - only, and is not . or ..; a * at its end makes it a prefix`},
		{"a topic twice", `{"spec":{"consume":["orders","orders"]}}`, `spec.consume[1]: Duplicate value: "orders"`},
		{"every topic", `{"spec":{"consume":["*"]}}`, `spec.consume[0]: Forbidden: * is every topic of KafkaCluster kafka/kafka, which its policy.allowWildcard does not permit; name them, or a prefix such as shop-*`},
		{"an admin topic of others", `{"spec":{"admin":["payroll"]}}`, `spec.admin[0]: Forbidden: a topic that namespace shop administers must start with shop- or be on policy.adminTopicExemptions of KafkaCluster kafka/kafka`},
		{"an admin prefix that is too wide", `{"spec":{"admin":["shop*"]}}`, `spec.admin[0]: Forbidden: a topic that namespace shop administers must start with shop- or be on policy.adminTopicExemptions of KafkaCluster kafka/kafka`},
		{"a newline in a group", `{"spec":{"consumerGroups":["a\nb"]}}`, `spec.consumerGroups[0]: Invalid value: "a\nb": the name of a group has no control characters and no blank at its start; a * at its end, and nowhere else, makes it a prefix`},
		{"a NUL in a group", `{"spec":{"consumerGroups":["a\u0000b"]}}`, `spec.consumerGroups[0]: Invalid value: "a\x00b": the name of a group has no control characters and no blank at its start; a * at its end, and nowhere else, makes it a prefix`},
	},
	"KafkaTopic": {
		{"a topic that Kafka does not allow", `{"spec":{"topic":".."}}`, `spec.topic: Invalid value: "..": the name of a topic has letters, digits, dot, _ and - only, and is not . or ..`},
		{"a blank in a topic", `{"spec":{"topic":"shop-a b"}}`, `spec.topic: Invalid value: "shop-a b": the name of a topic has letters, digits, dot, _ and - only, and is not . or ..`},
		{"a topic of 250 characters", `{"spec":{"topic":"shop-` + strings.Repeat("x", 245) + `"}}`, `[spec.topic: Too long: may not be more than 249 bytes, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		{"a name of 250 characters", `{"metadata":{"name":"shop-` + strings.Repeat("x", 245) + `"},"spec":{"topic":null}}`, `<nil>: Invalid value: metadata.name is longer than the 249 characters of a topic's name in Kafka; set spec.topic`},
		{"a topic of others", `{"spec":{"topic":"payroll"}}`, `spec.topic: Forbidden: a topic that namespace shop administers must start with shop- or be on policy.adminTopicExemptions of KafkaCluster kafka/kafka`},
		{"a topic of others by its name", `{"spec":{"topic":null}}`, `spec.topic: Forbidden: a topic that namespace shop administers must start with shop- or be on policy.adminTopicExemptions of KafkaCluster kafka/kafka`},
		{"no partitions", `{"spec":{"partitions":0}}`, `spec.partitions: Invalid value: 0: spec.partitions in body should be greater than or equal to 1`},
		{"no replicas", `{"spec":{"replicationFactor":0}}`, `spec.replicationFactor: Invalid value: 0: spec.replicationFactor in body should be greater than or equal to 1`},
		{"a configuration without a name", `{"spec":{"config":{"":"1"}}}`, `spec.config: Invalid value: the name of a configuration has letters, digits, dot, _ and - only, such as retention.ms`},
		{"a configuration with an equals sign", `{"spec":{"config":{"a=b":"1"}}}`, `spec.config: Invalid value: the name of a configuration has letters, digits, dot, _ and - only, such as retention.ms`},
		{"a newline in a configuration", `{"spec":{"config":{"retention.ms":"1\n2"}}}`, `spec.config[retention.ms]: Invalid value: "1\n2": must have no control characters`},
		{"a policy that is none", `{"spec":{"deletionPolicy":"Keep"}}`, `[spec.deletionPolicy: Unsupported value: "Keep": supported values: "Retain", "Delete", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
	},
	"KafkaCluster": {
		{"a name with a dot", `{"metadata":{"name":"a.b"}}`, `<nil>: Invalid value: metadata.name must be a DNS label: at most 63 characters of a-z, 0-9 and -, no dot`},
		{"a listener twice", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["a:1"]},{"name":"mtls","scope":"External","bootstrapServers":["a:2"]}]}}`, `spec.listeners[1]: Duplicate value: {"name":"mtls"}`},
		{"no listener", `{"spec":{"listeners":[]}}`, `[spec.listeners: Invalid value: 0: spec.listeners in body should have at least 1 items, spec: Invalid value: admin.listener must be the name of one of the listeners]`},
		{"an admin listener that is none", `{"spec":{"admin":{"listener":"other"}}}`, `spec: Invalid value: admin.listener must be the name of one of the listeners`},
		{"an admin listener that identifies nobody", `{"spec":{"admin":{"listener":"plain"}}}`, `spec: Invalid value: admin.listener must be a listener with authentication MTLS, or, with admin.sasl, one with authentication SASL or SASLPlaintext`},
		{"an admin listener by SASL without credentials", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","authentication":"SASL","bootstrapServers":["a:1"]}]}}`, `spec: Invalid value: admin.listener must be a listener with authentication MTLS, or, with admin.sasl, one with authentication SASL or SASLPlaintext`},
		{"credentials for a listener by certificate", `{"spec":{"admin":{"sasl":{"mechanism":"SCRAM-SHA-512","username":"a","secretName":"a"}}}}`, `spec: Invalid value: admin.listener must be a listener with authentication MTLS, or, with admin.sasl, one with authentication SASL or SASLPlaintext`},
		{"a token where nothing is encrypted", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","authentication":"SASLPlaintext","bootstrapServers":["a:1"]}],"admin":{"sasl":{"mechanism":"OAUTHBEARER","secretName":"a"}}}}`, `spec: Invalid value: admin.sasl with OAUTHBEARER needs a listener with authentication SASL: whoever reads the token on a plaintext one has it`},
		{"a password where nothing hides it", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","authentication":"SASL","bootstrapServers":["a:1"]}],"admin":{"sasl":{"mechanism":"PLAIN","username":"a","secretName":"a"}}}}`, `[spec.admin.sasl.mechanism: Unsupported value: "PLAIN": supported values: "SCRAM-SHA-512", "SCRAM-SHA-256", "OAUTHBEARER", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		{"a password without a username", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","authentication":"SASL","bootstrapServers":["a:1"]}],"admin":{"sasl":{"mechanism":"SCRAM-SHA-512","secretName":"a"}}}}`, `spec.admin.sasl: Invalid value: username belongs to the SCRAM mechanisms, and they need it`},
		{"two super users as username", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","authentication":"SASL","bootstrapServers":["a:1"]}],"admin":{"sasl":{"mechanism":"SCRAM-SHA-512","username":"a;User:b","secretName":"a"}}}}`, `spec.admin.sasl.username: Invalid value: "a;User:b": a username has no semicolon, backslash or control character, no blank at its end, and is not *`},
		{"a token endpoint for a password", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","authentication":"SASL","bootstrapServers":["a:1"]}],"admin":{"sasl":{"mechanism":"SCRAM-SHA-512","username":"a","secretName":"a","tokenEndpoint":{"url":"https://a/","clientID":"a"}}}}}`, `spec.admin.sasl: Invalid value: tokenEndpoint and principalClaim belong to the mechanism OAUTHBEARER`},
		{"a token endpoint without TLS", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","authentication":"SASL","bootstrapServers":["a:1"]}],"admin":{"sasl":{"mechanism":"OAUTHBEARER","secretName":"a","tokenEndpoint":{"url":"http://a/","clientID":"a"}}}}}`, `spec.admin.sasl.tokenEndpoint.url: Invalid value: "http://a/": url must be an https URL without user information`},
		{"a token endpoint with a password in it", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","authentication":"SASL","bootstrapServers":["a:1"]}],"admin":{"sasl":{"mechanism":"OAUTHBEARER","secretName":"a","tokenEndpoint":{"url":"https://a:b@c/","clientID":"a"}}}}}`, `spec.admin.sasl.tokenEndpoint.url: Invalid value: "https://a:b@c/": url must be an https URL without user information`},
		{"a server without a port", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["kafka"]}]}}`, `spec.listeners[0].bootstrapServers[0]: Invalid value: "kafka": a bootstrap server is written host:port, with a port from 1 to 65535`},
		{"a port that is none", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["kafka:65536"]}]}}`, `spec.listeners[0].bootstrapServers[0]: Invalid value: "kafka:65536": a bootstrap server is written host:port, with a port from 1 to 65535`},
		{"a server CA where nothing is encrypted", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["a:1"]},{"name":"plain","scope":"External","authentication":"None","bootstrapServers":["a:2"],"serverCA":{"secret":"a"}}]}}`, `spec.listeners[1]: Invalid value: serverCA has no meaning on a listener where clients use no TLS of their own: authentication Mesh, SASLPlaintext or None`},
		{"a mesh listener that identifies nobody", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["a:1"]},{"name":"mesh","scope":"Mesh","authentication":"None","bootstrapServers":["a:2"]}]}}`, `spec.listeners[1]: Invalid value: scope Mesh and authentication Mesh belong together: the sidecars identify each other`},
		{"sidecars outside", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["a:1"]},{"name":"outside","scope":"External","authentication":"Mesh","bootstrapServers":["a:2"]}]}}`, `spec.listeners[1]: Invalid value: scope Mesh and authentication Mesh belong together: the sidecars identify each other`},
		{"a CA in two places", `{"spec":{"certificates":{"clientCA":{"secret":"a"}}}}`, `spec.certificates.clientCA: Invalid value: set exactly one of secret and configMap`},
		{"a CA in a Secret that cannot be", `{"spec":{"certificates":{"clientCA":{"configMap":"A B"}}}}`, `spec.certificates.clientCA.configMap: Invalid value: "A B": spec.certificates.clientCA.configMap in body should match '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'`},
		{"an issuer of cert-manager's own without its CA", `{"spec":{"certificates":{"issuerRef":{"kind":"ClusterIssuer","group":"cert-manager.io"},"clientCA":null}}}`, `spec.certificates: Invalid value: clientCA is needed with an issuer of cert-manager's own: it says which CA the brokers trust`},
		{"an issuer that cannot be", `{"spec":{"certificates":{"issuerRef":{"name":"Mesh"}}}}`, `spec.certificates.issuerRef.name: Invalid value: "Mesh": spec.certificates.issuerRef.name in body should match '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'`},
		{"no issuer", `{"spec":{"certificates":{"issuerRef":null}}}`, `[spec.certificates.issuerRef: Required value, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		{"a certificate of minutes", `{"spec":{"certificates":{"duration":"59m"}}}`, `spec.certificates.duration: Invalid value: "59m": duration must be at least 1h, written like 6h or 90m`},
		{"an organization of Signet's own", `{"spec":{"certificates":{"organization":"a-controller"}}}`, `spec.certificates.organization: Invalid value: "a-controller": organization must not end in -controller, the marker of Signet's own certificates`},
		{"no selector", `{"spec":{"namespaceSelector":null}}`, `[spec.namespaceSelector: Required value, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		{"an operator that is none", `{"spec":{"namespaceSelector":{"matchExpressions":[{"key":"team","operator":"=="}]}}}`, `spec.namespaceSelector: Invalid value: operator is In or NotIn with values, or Exists or DoesNotExist without`},
		{"a label value that is none", `{"spec":{"namespaceSelector":{"matchExpressions":[{"key":"team","operator":"In","values":["a b"]}]}}}`, `spec.namespaceSelector.matchExpressions[0].values[0]: Invalid value: "a b": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`},
		{"a trust domain that is none", `{"spec":{"meshTrustDomain":"spiffe://a"}}`, `spec.meshTrustDomain: Invalid value: "spiffe://a": spec.meshTrustDomain in body should match '^[a-z0-9._-]+$'`},
		{"a template without the namespace", `{"spec":{"principalTemplate":"{name}"}}`, `spec.principalTemplate: Invalid value: "{name}": principalTemplate needs {namespace}, and {name} or {serviceAccount}`},
		{"a template with a placeholder that is none", `{"spec":{"principalTemplate":"{namespace}.{user}"}}`, `[spec.principalTemplate: Invalid value: "{namespace}.{user}": principalTemplate may have letters, digits, = . , _ @ - and the placeholders {namespace}, {name} and {serviceAccount}, spec.principalTemplate: Invalid value: "{namespace}.{user}": principalTemplate needs {namespace}, and {name} or {serviceAccount}]`},
		{"a super user without its type", `{"spec":{"superUsers":["CN=broker"]}}`, `spec.superUsers[0]: Invalid value: "CN=broker": a super user is written User:<name>, one for each, with no semicolon, backslash or control character, no blank at its end, and no *, which is nobody`},
		{"everybody as super user", `{"spec":{"superUsers":["User:*"]}}`, `spec.superUsers[0]: Invalid value: "User:*": a super user is written User:<name>, one for each, with no semicolon, backslash or control character, no blank at its end, and no *, which is nobody`},
		{"a super user with a blank at its end", `{"spec":{"superUsers":["User:broker "]}}`, `spec.superUsers[0]: Invalid value: "User:broker ": a super user is written User:<name>, one for each, with no semicolon, backslash or control character, no blank at its end, and no *, which is nobody`},
		{"two super users in one", `{"spec":{"superUsers":["User:a;User:b"]}}`, `spec.superUsers[0]: Invalid value: "User:a;User:b": a super user is written User:<name>, one for each, with no semicolon, backslash or control character, no blank at its end, and no *, which is nobody`},
		{"an authorization that is none", `{"spec":{"authorization":{"mode":"Off"}}}`, `[spec.authorization.mode: Unsupported value: "Off": supported values: "Audit", "Hybrid", "Enforce", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		{"everybody enforced by name", `{"spec":{"authorization":{"enforced":["User:*"]}}}`, `spec.authorization.enforced[0]: Invalid value: "User:*": a principal is written User:<name>, with no control character, and is not User:*, which is nobody`},
		{"a principal without its type", `{"spec":{"authorization":{"enforced":["shop.orders"]}}}`, `spec.authorization.enforced[0]: Invalid value: "shop.orders": a principal is written User:<name>, with no control character, and is not User:*, which is nobody`},
		{"people by what Java alone understands", `{"spec":{"authorization":{"people":"User:(?=x).*"}}}`, `spec.authorization.people: Invalid value: "User:(?=x).*": pattern "User:(?=x).*": regular expression, offset 5: look-ahead (?=…): not supported`},
		{"an exemption with a blank", `{"spec":{"policy":{"adminTopicExemptions":["a b"]}}}`, `spec.policy.adminTopicExemptions[0]: Invalid value: "a b": the name of a topic has letters, digits, dot, _ and - only; a * at its end makes it a prefix`},
	},
	"MeshIssuer": {
		{"no CA", `{"spec":{"ca":{"secretRef":null}}}`, `spec.ca: Invalid value: set secretRef with the modes Intermediate and Direct, and with them only`},
		{"two CAs", `{"spec":{"ca":{"stepCA":{"url":"https://ca","fingerprint":"` + strings.Repeat("a", 64) + `","provisioner":"p","secretRef":{"namespace":"a","name":"b"}}}}}`, `spec.ca: Invalid value: set stepCA with the mode StepCA, and with it only`},
		{"a mode without its CA", `{"spec":{"ca":{"mode":"StepCA","intermediateDuration":null}}}`, `[spec.ca: Invalid value: set secretRef with the modes Intermediate and Direct, and with them only, spec.ca: Invalid value: set stepCA with the mode StepCA, and with it only]`},
		{"a Secret that cannot be", `{"spec":{"ca":{"secretRef":{"name":"A B"}}}}`, `spec.ca.secretRef.name: Invalid value: "A B": spec.ca.secretRef.name in body should match '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'`},
		{"an address that is none", `{"spec":{"ca":{"mode":"StepCA","secretRef":null,"intermediateDuration":null,"stepCA":{"url":"https://ca:port","fingerprint":"` + strings.Repeat("a", 64) + `","provisioner":"p","secretRef":{"namespace":"a","name":"b"}}}}}`, `spec.ca.stepCA.url: Invalid value: "https://ca:port": url must be https://host[:port][/path]`},
		{"an intermediate of a day", `{"spec":{"ca":{"intermediateDuration":"24h"}}}`, `spec.ca.intermediateDuration: Invalid value: "24h": intermediateDuration must be at least 48h, written like 72h`},
		{"an intermediate that nobody makes", `{"spec":{"ca":{"mode":"Direct"}}}`, `spec.ca: Invalid value: set intermediateDuration with the mode Intermediate only: with others Signet makes no intermediate`},
		{"the mesh's default trust domain", `{"spec":{"trustDomain":"cluster.local"}}`, `spec.trustDomain: Invalid value: "cluster.local": trustDomain must be Signet's own, not the mesh's default cluster.local`},
		{"the trust domain of a mesh", `{"metadata":{"name":"mesh"},"spec":{"trustDomain":"prod.mesh.example"}}`, `spec.trustDomain: Invalid value: "prod.mesh.example": must be Signet's own, and the mesh of KafkaCluster kafka/kafka has the trust domain prod.mesh.example`},
		{"a trust domain above a mesh's", `{"metadata":{"name":"mesh"},"spec":{"trustDomain":"mesh.example"}}`, `spec.trustDomain: Invalid value: "mesh.example": must be Signet's own, and the mesh of KafkaCluster kafka/kafka has the trust domain prod.mesh.example`},
		{"a trust domain with an empty label", `{"spec":{"trustDomain":"a..b"}}`, `spec.trustDomain: Invalid value: "a..b": spec.trustDomain in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'`},
		{"an address as trust domain", `{"spec":{"trustDomain":"192.0.2.1"}}`, `spec.trustDomain: Invalid value: "192.0.2.1": trustDomain must be a name: verifiers match no name constraint against an address`},
		{"certificates of minutes", `{"spec":{"maxDuration":"30m"}}`, `spec.maxDuration: Invalid value: "30m": maxDuration must be at least 1h, written like 6h or 90m`},
		{"a key type that is none", `{"spec":{"keyTypes":["ED25519"]}}`, `[spec.keyTypes[0]: Unsupported value: "ED25519": supported values: "ECDSAP256", "ECDSAP384", "RSA2048", "RSA3072", "RSA4096", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		{"a blocked key that is none", `{"spec":{"blockedKeys":["AB"]}}`, `spec.blockedKeys[0]: Invalid value: "AB": spec.blockedKeys[0] in body should match '^[0-9a-f]{64}$'`},
	},
	"PrincipalMapping": {
		{"a KafkaCluster that cannot be", `{"spec":{"cluster":"Kafka_1"}}`, `spec.cluster: Invalid value: "Kafka_1": spec.cluster in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'`},
		{"a principal without its type", `{"spec":{"principal":"partner"}}`, `spec.principal: Invalid value: "partner": spec.principal in body should match '^User:[^\s;\\]+$'`},
		{"a principal that is reserved", `{"spec":{"principal":"User:ANONYMOUS"}}`, `principal User:ANONYMOUS is reserved: no mapping gives signet:…, sa:…, unmapped:…, ANONYMOUS or *`},
		{"a principal of a KafkaUser", `{"spec":{"principal":"User:shop.checkout"}}`, `principal User:shop.checkout is held by PrincipalMapping kafka/shop.checkout`},
		{"a subject of two kinds", `{"spec":{"subjects":[{"exact":"CN=a","external":"CN=a"}]}}`, `spec.subjects[0]: Invalid value: set exactly one of exact, spiffe, external and pattern`},
		{"a subject that no broker sees", `{"spec":{"subjects":[{"exact":"CN=a, O=b"}]}}`, `subject "CN=a, O=b": brokers see it as "CN=a,O=b"; write it so`},
		{"a subject of a KafkaUser", `{"spec":{"subjects":[{"exact":"CN=checkout,OU=shop,O=signet"}]}}`, `subject CN=checkout,OU=shop,O=signet is that of KafkaUser shop/checkout and nobody else's`},
		{"a SPIFFE ID that is none", `{"spec":{"subjects":[{"spiffe":"spiffe://partner.example"}]}}`, `spec.subjects[0].spiffe: Invalid value: "spiffe://partner.example": spec.subjects[0].spiffe in body should match '^spiffe://[a-z0-9._-]+/.+$'`},
		{"a replacement without a pattern", `{"spec":{"subjects":[{"exact":"CN=a","replacement":"User:b"}]}}`, `spec.subjects[0]: Invalid value: replacement is for a pattern`},
		{"a pattern that matches KafkaUsers", `{"spec":{"subjects":[{"pattern":"CN=.*"}]}}`, `pattern "CN=.*": it matches CN=a,OU=a,O=signet, the subject of the certificates of KafkaUsers`},
		{"an owner that cannot be", `{"spec":{"owner":{"namespace":"a b","name":"c","namespaceUID":"d"}}}`, `spec.owner.namespace: Invalid value: "a b": spec.owner.namespace in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'`},
		{"an approval of what is no subject", `{"spec":{"approvedSubjects":["CN=a, O=b"]}}`, `spec.approvedSubjects[0]: Invalid value: "CN=a, O=b": subject "CN=a, O=b": brokers see it as "CN=a,O=b"; write it so`},
	},
}

// updates change an object with the first patch into one with the second. No sentence means that it is accepted.
var updates = map[string][]struct{ change, from, to, sentence string }{
	"KafkaUser": {
		{"another KafkaCluster", `{}`, `{"spec":{"clusterRef":{"name":"stock"}}}`, `spec.clusterRef: Invalid value: clusterRef cannot change; delete the KafkaUser and create it anew`},
		{"another declaration", `{}`, `{"spec":{"consume":["refunds"],"suspend":true}}`, ``},
		{"an admin topic of others", `{}`, `{"spec":{"admin":["legacy","payroll"]}}`, `spec.admin[1]: Forbidden: a topic that namespace shop administers must start with shop- or be on policy.adminTopicExemptions of KafkaCluster kafka/kafka`},
	},
	"KafkaTopic": {
		{"fewer partitions", `{}`, `{"spec":{"partitions":2}}`, `spec.partitions: Invalid value: 2: Kafka cannot remove partitions; create another topic`},
		{"partitions left out", `{}`, `{"spec":{"partitions":null}}`, `spec.partitions: Invalid value: 1: Kafka cannot remove partitions; create another topic`},
		{"more partitions, another configuration", `{}`, `{"spec":{"partitions":4,"config":{"retention.ms":"1","cleanup.policy":null}}}`, ``},
		{"another topic", `{}`, `{"spec":{"topic":"shop-payments"}}`, `spec: Invalid value: topic cannot change; create another KafkaTopic`},
		{"the topic left out", `{}`, `{"spec":{"topic":null}}`, `spec: Invalid value: topic cannot change; create another KafkaTopic`},
		{"a topic named", `{"metadata":{"name":"shop-orders"},"spec":{"topic":null}}`, `{"spec":{"topic":"shop-orders"}}`, `spec: Invalid value: topic cannot change; create another KafkaTopic`},
		{"another KafkaCluster", `{}`, `{"spec":{"clusterRef":{"name":"stock"}}}`, `spec.clusterRef: Invalid value: clusterRef cannot change; create another KafkaTopic`},
		{"replicas that somebody moved", `{}`, `{"spec":{"replicationFactor":3}}`, ``},
	},
	"KafkaCluster": {
		{"another template", `{}`, `{"spec":{"principalTemplate":"{namespace}-{name}"}}`, `spec.principalTemplate: Invalid value: "{namespace}-{name}": principalTemplate cannot be changed: every principal, and with it every ACL, would be another`},
		{"another listener", `{}`, `{"spec":{"listeners":[{"name":"tls","scope":"Cluster","bootstrapServers":["a:1"]}],"admin":{"listener":"tls"}}}`, ``},
		{"the admin's listener goes", `{}`, `{"spec":{"listeners":[{"name":"tls","scope":"Cluster","bootstrapServers":["a:1"]}]}}`, `spec: Invalid value: admin.listener must be the name of one of the listeners`},
	},
	"MeshIssuer": {
		{"another CA", `{}`, `{"spec":{"ca":{"secretRef":{"name":"cacerts"}}}}`, ``},
		{"the trust domain of a mesh", `{"metadata":{"name":"mesh"}}`, `{"spec":{"trustDomain":"prod.mesh.example"}}`, `spec.trustDomain: Invalid value: "prod.mesh.example": must be Signet's own, and the mesh of KafkaCluster kafka/kafka has the trust domain prod.mesh.example`},
	},
	"PrincipalMapping": {
		{"another KafkaCluster", `{}`, `{"spec":{"cluster":"stock"}}`, `spec: Invalid value: cluster cannot change`},
		{"another principal", `{}`, `{"spec":{"principal":"User:other"}}`, `spec: Invalid value: principal cannot change; create another PrincipalMapping`},
		{"another subject", `{}`, `{"spec":{"subjects":[{"exact":"CN=other,O=Partner"}]}}`, ``},
		{"a subject of a KafkaUser", `{}`, `{"spec":{"subjects":[{"exact":"CN=checkout,OU=shop,O=signet"}]}}`, `subject CN=checkout,OU=shop,O=signet is that of KafkaUser shop/checkout and nobody else's`},
	},
}

// stored are objects from before anything was refused: wrong, and what about them may change and may not. harmless leaves
// alone what is wrong, worse puts something else that is wrong in its place, right corrects it.
var stored = map[string]struct{ wrong, harmless, worse, right string }{
	"KafkaUser": {
		`{"spec":{"workload":{"serviceAccountName":"Not An Account","podSelector":{"matchExpressions":[{"key":"app","operator":"Near"}]}},"consume":["a b","."],"admin":["payroll"],"consumerGroups":["a\tb"],"certificate":{"duration":"10m"}}}`,
		`{"spec":{"produce":["refunds"],"admin":["shop-x","payroll"]}}`,
		`{"spec":{"admin":["payroll","audit"]}}`,
		`{"spec":{"workload":null,"consume":["a"],"admin":null,"consumerGroups":null,"certificate":null}}`,
	},
	"KafkaTopic": {
		`{"spec":{"topic":"a/b","config":{"a b":"1\n2"}}}`,
		`{"spec":{"partitions":4}}`,
		`{"spec":{"config":{"a c":"1"}}}`,
		`{"spec":{"config":null}}`,
	},
	"KafkaCluster": {
		`{"spec":{"superUsers":["User:*"],"namespaceSelector":{"matchLabels":{"not a label":"x"},"matchExpressions":[{"key":"app","operator":"Near"}]},"policy":{"adminTopicExemptions":["a b"]}}}`,
		`{"spec":{"policy":{"allowWildcard":true}}}`,
		`{"spec":{"superUsers":["User:* "]}}`,
		`{"spec":{"superUsers":null,"namespaceSelector":{"matchLabels":null,"matchExpressions":null},"policy":null}}`,
	},
	"MeshIssuer": {
		`{"spec":{"trustDomain":"192.0.2.1","maxDuration":"10m","ca":{"mode":"Direct"}}}`,
		`{"spec":{"keyTypes":["RSA4096"]}}`,
		`{"spec":{"trustDomain":"192.0.2.2"}}`,
		`{"spec":{"trustDomain":null,"maxDuration":null,"ca":{"intermediateDuration":null}}}`,
	},
	"PrincipalMapping": {
		`{"spec":{"principal":"User:stored","subjects":[{"exact":"CN=stored,O=Partner"}],"owner":{"namespace":"A B","name":"c","namespaceUID":"d"},"approvedSubjects":["CN=a, O=b"]}}`,
		`{"spec":{"approvedSubjects":["CN=a, O=b","CN=c,O=d"]}}`,
		`{"spec":{"approvedSubjects":["CN=a, O=c"]}}`,
		`{"spec":{"owner":null,"approvedSubjects":null}}`,
	},
}

// fixtures are what declarations are judged by: KafkaClusters, one of them in a mesh with a trust domain of its own, and what
// a KafkaUser has recorded.
const fixtures = `
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: kafka}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["kafka:9093"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}}
  meshTrustDomain: prod.mesh.example
  namespaceSelector: {matchLabels: {team: shop}}
  policy: {adminTopicExemptions: [legacy]}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: stock, namespace: kafka}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["kafka:9093"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: company, kind: ClusterIssuer, group: cert-manager.io}, clientCA: {secret: company}}
  namespaceSelector: {}
  policy: {adminTopicExemptions: [legacy]}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: PrincipalMapping
metadata: {name: shop.checkout, namespace: kafka}
spec:
  cluster: kafka
  principal: User:shop.checkout
  owner: {namespace: shop, name: checkout, namespaceUID: "1"}
  subjects: [{exact: "CN=checkout,OU=shop,O=signet"}, {external: "CN=checkout,O=Old Keystores"}]
`

// TestDeclarationsOnTheAPIServer holds what a real API server, with the CRDs and the validating webhooks of the chart, says
// of declarations: the honest ones are accepted in silence, each mistake is refused with its field and a sentence, what
// cannot change does not, and nobody who leaves alone what was wrong already is refused for it.
func TestDeclarationsOnTheAPIServer(t *testing.T) {
	server, config := startAPIServer(t, "declarations")
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	api := &declarations{apiServer: server, client: client}
	crds := filepath.Join(api.Root, "charts", "signet", "files", "crds")

	api.kubectlWith(t, permissive(t, crds), "apply", "--server-side", "-f", "-")
	api.kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	for _, namespace := range []string{"shop", "billing", "kafka"} {
		api.kubectl(t, "create", "namespace", namespace)
		api.kubectl(t, "label", "namespace", namespace, "team="+namespace)
	}
	api.kubectlWith(t, fixtures, "create", "-f", "-")
	for _, kind := range slices.Sorted(maps.Keys(stored)) {
		object := patched(t, honestly(t, kind), stored[kind].wrong)
		object.SetName("stored")
		object.SetFinalizers([]string{"example.com/kept"})
		if _, err := api.of(object).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	api.kubectl(t, "apply", "--server-side", "-f", crds)

	at := startWebhook(t, config)
	chart, err := stack.ChartObjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	api.point(t, chart["ValidatingWebhookConfiguration"], at, filepath.Join(at.dir, "tls.crt"))
	for kind := range honest {
		eventually(t, "the rules for "+kind+" are in force", func() error { return api.inForce(t, kind) })
	}

	for _, kind := range slices.Sorted(maps.Keys(honest)) {
		t.Run(kind, func(t *testing.T) {
			api.heard.take()
			if err := api.create(t, honestly(t, kind)); err != nil {
				t.Errorf("honest: %v", err)
			}
			if said := api.heard.take(); len(said) > 0 {
				t.Errorf("honest: warns with %q", said)
			}
			for _, c := range refusals[kind] {
				t.Run(c.mistake, func(t *testing.T) {
					compareSentence(t, api.create(t, patched(t, honestly(t, kind), c.patch)), c.sentence)
				})
			}
			for _, c := range updates[kind] {
				t.Run(c.change, func(t *testing.T) {
					object := patched(t, honestly(t, kind), c.from)
					created, err := api.of(object).Create(t.Context(), object, metav1.CreateOptions{})
					if err != nil {
						t.Fatal(err)
					}
					defer func() {
						if err := api.of(object).Delete(context.WithoutCancel(t.Context()), object.GetName(), metav1.DeleteOptions{}); err != nil {
							t.Error(err)
						}
					}()
					_, err = api.of(object).Update(t.Context(), patched(t, created, c.to), metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
					compareSentence(t, err, c.sentence)
				})
			}
			t.Run("from before", func(t *testing.T) { api.ratchet(t, kind) })
		})
	}
	t.Run("what waits", api.waits)
}

type declarations struct {
	*apiServer
	client dynamic.Interface
}

// of returns the client for an object's kind and namespace.
func (a *declarations) of(object *unstructured.Unstructured) dynamic.ResourceInterface {
	resources := a.client.Resource(v1alpha1.GroupVersion.WithResource(strings.ToLower(object.GetKind()) + "s"))
	if object.GetNamespace() == "" {
		return resources
	}
	return resources.Namespace(object.GetNamespace())
}

// create creates an object in a dry run.
func (a *declarations) create(t *testing.T, object *unstructured.Unstructured) error {
	t.Helper()
	_, err := a.of(object).Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// inForce errs until the API server refuses what its CRD refuses last, and what the webhook refuses.
func (a *declarations) inForce(t *testing.T, kind string) error {
	for _, patch := range map[string][]string{
		"KafkaUser":        {`{"spec":{"clusterRef":{"name":"Kafka_1"}}}`, `{"spec":{"admin":["payroll"]}}`},
		"KafkaTopic":       {`{"spec":{"clusterRef":{"name":"Kafka_1"}}}`, `{"spec":{"topic":"payroll"}}`},
		"KafkaCluster":     {`{"spec":{"superUsers":["User:*"]}}`, `{"spec":{"namespaceSelector":{"matchLabels":{"a b":"c"}}}}`},
		"MeshIssuer":       {`{"spec":{"trustDomain":"192.0.2.1"}}`, `{"metadata":{"name":"mesh"},"spec":{"trustDomain":"mesh.example"}}`},
		"PrincipalMapping": {`{"spec":{"cluster":"Kafka_1"}}`, `{"spec":{"principal":"User:shop.checkout"}}`},
	}[kind] {
		if a.create(t, patched(t, honestly(t, kind), patch)) == nil {
			return fmt.Errorf("accepted: %s", patch)
		}
	}
	return nil
}

// ratchet changes the object of the kind that was stored before its CRD and the webhooks refused it.
func (a *declarations) ratchet(t *testing.T, kind string) {
	object := honestly(t, kind)
	object.SetName("stored")
	objects := a.of(object)
	change := func(patch string, subresources ...string) error {
		_, err := objects.Patch(t.Context(), "stored", types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
		return err
	}
	now := metav1.Now().UTC().Format(time.RFC3339)
	for _, patch := range []string{
		`{"metadata":{"labels":{"team":"shop"}}}`,
		`{"metadata":{"finalizers":["example.com/kept","example.com/more"]}}`,
		stored[kind].harmless,
	} {
		if err := change(patch); err != nil {
			t.Errorf("%s: %v", patch, err)
		}
	}
	if err := change(`{"status":{"conditions":[{"type":"Ready","status":"False","reason":"Invalid","message":"","lastTransitionTime":"`+now+`"}]}}`, "status"); err != nil {
		t.Errorf("status: %v", err)
	}
	if err := change(stored[kind].worse); err == nil {
		t.Errorf("accepted: %s", stored[kind].worse)
	}
	if err := objects.Delete(t.Context(), "stored", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := change(`{"metadata":{"finalizers":["example.com/kept"]}}`); err != nil {
		t.Errorf("a finalizer goes from what is being deleted: %v", err)
	}
	if err := change(`{"metadata":{"finalizers":null}}`); err != nil {
		t.Errorf("the last finalizer goes: %v", err)
	}
	if _, err := objects.Get(t.Context(), "stored", metav1.GetOptions{}); err == nil {
		t.Error("still there")
	}
	corrected := patched(t, patched(t, object, stored[kind].wrong), stored[kind].right)
	corrected.SetName("corrected")
	if kind == "KafkaTopic" { // whose topic could never be corrected
		corrected = patched(t, corrected, `{"spec":{"topic":"shop-corrected"}}`)
	}
	// The webhook's cache may hold what is gone for another moment.
	eventually(t, "what is corrected is accepted", func() error { return a.create(t, corrected) })
}

// waits creates what waits for something, and holds that the API server says so.
func (a *declarations) waits(t *testing.T) {
	for _, c := range []struct{ kind, patch, warning string }{
		{"KafkaUser", `{"spec":{"clusterRef":{"name":"typo"}}}`, "KafkaCluster kafka/typo does not exist yet; the KafkaUser waits until it does"},
		{"KafkaUser", `{"metadata":{"namespace":"billing"},"spec":{"admin":null}}`, "KafkaCluster kafka/kafka does not select namespace billing (namespaceSelector); the KafkaUser waits until it does"},
		{"KafkaTopic", `{"spec":{"clusterRef":{"name":"typo"}}}`, "KafkaCluster kafka/typo does not exist yet; the KafkaTopic waits until it does"},
		{"KafkaTopic", `{"metadata":{"namespace":"billing"},"spec":{"topic":"billing-orders"}}`, "KafkaCluster kafka/kafka does not select namespace billing (namespaceSelector); the KafkaTopic waits until it does"},
		{"PrincipalMapping", `{"spec":{"cluster":"typo"}}`, "KafkaCluster kafka/typo does not exist yet; the PrincipalMapping waits until it does"},
		{"PrincipalMapping", `{"spec":{"approvedSubjects":["CN=later,O=Partner"]}}`, `spec.approvedSubjects[0]: "CN=later,O=Partner" is no external subject of this PrincipalMapping; it waits until the KafkaUser claims it`},
	} {
		a.heard.take()
		if err := a.create(t, patched(t, honestly(t, c.kind), c.patch)); err != nil {
			t.Errorf("%s %s: %v", c.kind, c.patch, err)
		}
		if said := a.heard.take(); !slices.Equal(said, []string{c.warning}) {
			t.Errorf("%s %s: warns with %q, want %q", c.kind, c.patch, said, c.warning)
		}
	}
}

// compareSentence holds what the API server says of an object, behind the names of the object and of the webhook.
func compareSentence(t *testing.T, err error, want string) {
	t.Helper()
	said := ""
	if err != nil {
		said = err.Error()
		for _, before := range []string{" is invalid: ", " denied the request: "} {
			if _, after, found := strings.Cut(said, before); found {
				said = after
				break
			}
		}
	}
	if said != want {
		t.Errorf("the API server says\n%s\nwant\n%s", said, want)
	}
}

func honestly(t *testing.T, kind string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(honest[kind]), &object.Object); err != nil {
		t.Fatal(err)
	}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return object
}

// patched returns an object with a merge patch.
func patched(t *testing.T, object *unstructured.Unstructured, patch string) *unstructured.Unstructured {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = jsonpatch.MergePatch(text, []byte(patch)); err != nil {
		t.Fatal(err)
	}
	changed := &unstructured.Unstructured{}
	if err := json.Unmarshal(text, changed); err != nil {
		t.Fatal(err)
	}
	return changed
}

// permissive are the CRDs of a directory as they would be if they refused nothing but what they cannot decode.
func permissive(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	var texts [][]byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd map[string]any
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		permit(crd["spec"])
		if text, err = yaml.Marshal(crd); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	return yamlOf(t, texts...)
}

// permit removes the validation from a schema, wherever in it.
func permit(schema any) {
	switch schema := schema.(type) {
	case map[string]any:
		for _, keyword := range []string{"x-kubernetes-validations", "pattern", "enum", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "maxProperties"} {
			delete(schema, keyword)
		}
		for keyword, value := range schema {
			properties, ok := value.(map[string]any)
			if keyword != "properties" || !ok {
				permit(value)
				continue
			}
			for _, property := range properties { // one of which may be called like a keyword
				permit(property)
			}
		}
	case []any:
		for _, value := range schema {
			permit(value)
		}
	}
}
