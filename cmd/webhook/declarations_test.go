// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
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
		{"a name with a dot", `{"metadata":{"name":"or.ders"}}`, ``},
		{"a KafkaCluster that cannot be", `{"spec":{"clusterRef":{"name":"Kafka_1"}}}`, ``},
		{"a namespace that cannot be", `{"spec":{"clusterRef":{"namespace":"a.b"}}}`, ``},
		{"a service account that cannot be", `{"spec":{"workload":{"serviceAccountName":"a b"}}}`, ``},
		{"an operator that is none", `{"spec":{"workload":{"podSelector":{"matchExpressions":[{"key":"app","operator":"Near","values":["x"]}]}}}}`, ``},
		{"an operator without values", `{"spec":{"workload":{"podSelector":{"matchExpressions":[{"key":"app","operator":"In"}]}}}}`, ``},
		{"an operator with values", `{"spec":{"workload":{"podSelector":{"matchExpressions":[{"key":"app","operator":"Exists","values":["x"]}]}}}}`, ``},
		{"a label that is none", `{"spec":{"workload":{"podSelector":{"matchLabels":{"not a label":"x"}}}}}`, ``},
		{"a certificate of minutes", `{"spec":{"certificate":{"duration":"10m"}}}`, ``},
		{"a duration that is none", `{"spec":{"certificate":{"duration":"6 hours"}}}`, ``},
		{"delivery by the kubelet, of an issuer that does not answer it", `{"spec":{"certificate":{"issuerRef":{"kind":"ClusterIssuer","group":"cert-manager.io"}}}}`, ``},
		{"the same, of the KafkaCluster's issuer", `{"spec":{"clusterRef":{"name":"stock"},"certificate":{"issuerRef":null}}}`, ``},
		{"an issuer of another group", `{"spec":{"certificate":{"issuerRef":{"group":"cert-manager.io"}}}}`, ``},
		{"an external subject with a blank", `{"spec":{"externalSubjects":["CN=orders, O=Old Keystores"]}}`, ``},
		{"an external subject of another KafkaUser", `{"spec":{"externalSubjects":["CN=checkout,OU=shop,O=signet"]}}`, ``},
		{"a blank in a topic", `{"spec":{"consume":["a b"]}}`, ``},
		{"a star in the middle", `{"spec":{"produce":["a*b"]}}`, ``},
		{"a topic that Kafka does not allow", `{"spec":{"admin":["."]}}`, ``},
		{"a topic twice", `{"spec":{"consume":["orders","orders"]}}`, ``},
		{"every topic", `{"spec":{"consume":["*"]}}`, ``},
		{"an admin topic of others", `{"spec":{"admin":["payroll"]}}`, ``},
		{"an admin prefix that is too wide", `{"spec":{"admin":["shop*"]}}`, ``},
		{"a newline in a group", `{"spec":{"consumerGroups":["a\nb"]}}`, ``},
		{"a NUL in a group", `{"spec":{"consumerGroups":["a\u0000b"]}}`, ``},
	},
	"KafkaTopic": {
		{"a topic that Kafka does not allow", `{"spec":{"topic":".."}}`, ``},
		{"a blank in a topic", `{"spec":{"topic":"shop-a b"}}`, ``},
		{"a topic of 250 characters", `{"spec":{"topic":"shop-` + strings.Repeat("x", 245) + `"}}`, ``},
		{"a name of 250 characters", `{"metadata":{"name":"shop-` + strings.Repeat("x", 245) + `"},"spec":{"topic":null}}`, ``},
		{"a topic of others", `{"spec":{"topic":"payroll"}}`, ``},
		{"a topic of others by its name", `{"spec":{"topic":null}}`, ``},
		{"no partitions", `{"spec":{"partitions":0}}`, ``},
		{"no replicas", `{"spec":{"replicationFactor":0}}`, ``},
		{"a configuration without a name", `{"spec":{"config":{"":"1"}}}`, ``},
		{"a configuration with an equals sign", `{"spec":{"config":{"a=b":"1"}}}`, ``},
		{"a newline in a configuration", `{"spec":{"config":{"retention.ms":"1\n2"}}}`, ``},
		{"a policy that is none", `{"spec":{"deletionPolicy":"Keep"}}`, ``},
	},
	"KafkaCluster": {
		{"a name with a dot", `{"metadata":{"name":"a.b"}}`, ``},
		{"a listener twice", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["a:1"]},{"name":"mtls","scope":"External","bootstrapServers":["a:2"]}]}}`, ``},
		{"no listener", `{"spec":{"listeners":[]}}`, ``},
		{"an admin listener that is none", `{"spec":{"admin":{"listener":"other"}}}`, ``},
		{"an admin listener that identifies nobody", `{"spec":{"admin":{"listener":"plain"}}}`, ``},
		{"a server without a port", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["kafka"]}]}}`, ``},
		{"a port that is none", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["kafka:65536"]}]}}`, ``},
		{"a server CA where nothing is encrypted", `{"spec":{"listeners":[{"name":"mtls","scope":"Cluster","bootstrapServers":["a:1"]},{"name":"plain","scope":"External","authentication":"None","bootstrapServers":["a:2"],"serverCA":{"secret":"a"}}]}}`, ``},
		{"a CA in two places", `{"spec":{"certificates":{"clientCA":{"secret":"a"}}}}`, ``},
		{"a CA in a Secret that cannot be", `{"spec":{"certificates":{"clientCA":{"configMap":"A B"}}}}`, ``},
		{"an issuer of cert-manager's own without its CA", `{"spec":{"certificates":{"issuerRef":{"kind":"ClusterIssuer","group":"cert-manager.io"},"clientCA":null}}}`, ``},
		{"an issuer that cannot be", `{"spec":{"certificates":{"issuerRef":{"name":"Mesh"}}}}`, ``},
		{"no issuer", `{"spec":{"certificates":{"issuerRef":null}}}`, ``},
		{"a certificate of minutes", `{"spec":{"certificates":{"duration":"59m"}}}`, ``},
		{"an organization of Signet's own", `{"spec":{"certificates":{"organization":"a-controller"}}}`, ``},
		{"no selector", `{"spec":{"namespaceSelector":null}}`, ``},
		{"an operator that is none", `{"spec":{"namespaceSelector":{"matchExpressions":[{"key":"team","operator":"=="}]}}}`, ``},
		{"a label value that is none", `{"spec":{"namespaceSelector":{"matchExpressions":[{"key":"team","operator":"In","values":["a b"]}]}}}`, ``},
		{"a trust domain that is none", `{"spec":{"meshTrustDomain":"spiffe://a"}}`, ``},
		{"a template without the namespace", `{"spec":{"principalTemplate":"{name}"}}`, ``},
		{"a template with a placeholder that is none", `{"spec":{"principalTemplate":"{namespace}.{user}"}}`, ``},
		{"a super user without its type", `{"spec":{"superUsers":["CN=broker"]}}`, ``},
		{"everybody as super user", `{"spec":{"superUsers":["User:*"]}}`, ``},
		{"a super user with a blank at its end", `{"spec":{"superUsers":["User:broker "]}}`, ``},
		{"two super users in one", `{"spec":{"superUsers":["User:a;User:b"]}}`, ``},
		{"an exemption with a blank", `{"spec":{"policy":{"adminTopicExemptions":["a b"]}}}`, ``},
	},
	"MeshIssuer": {
		{"no CA", `{"spec":{"ca":{"secretRef":null}}}`, ``},
		{"two CAs", `{"spec":{"ca":{"stepCA":{"url":"https://ca","fingerprint":"` + strings.Repeat("a", 64) + `","provisioner":"p","secretRef":{"namespace":"a","name":"b"}}}}}`, ``},
		{"a mode without its CA", `{"spec":{"ca":{"mode":"StepCA","intermediateDuration":null}}}`, ``},
		{"a Secret that cannot be", `{"spec":{"ca":{"secretRef":{"name":"A B"}}}}`, ``},
		{"an address that is none", `{"spec":{"ca":{"mode":"StepCA","secretRef":null,"intermediateDuration":null,"stepCA":{"url":"https://ca:port","fingerprint":"` + strings.Repeat("a", 64) + `","provisioner":"p","secretRef":{"namespace":"a","name":"b"}}}}}`, ``},
		{"an intermediate of a day", `{"spec":{"ca":{"intermediateDuration":"24h"}}}`, ``},
		{"an intermediate that nobody makes", `{"spec":{"ca":{"mode":"Direct"}}}`, ``},
		{"the mesh's default trust domain", `{"spec":{"trustDomain":"cluster.local"}}`, ``},
		{"the trust domain of a mesh", `{"metadata":{"name":"mesh"},"spec":{"trustDomain":"prod.mesh.example"}}`, ``},
		{"a trust domain above a mesh's", `{"metadata":{"name":"mesh"},"spec":{"trustDomain":"mesh.example"}}`, ``},
		{"a trust domain with an empty label", `{"spec":{"trustDomain":"a..b"}}`, ``},
		{"an address as trust domain", `{"spec":{"trustDomain":"192.0.2.1"}}`, ``},
		{"certificates of minutes", `{"spec":{"maxDuration":"30m"}}`, ``},
		{"a key type that is none", `{"spec":{"keyTypes":["ED25519"]}}`, ``},
		{"a blocked key that is none", `{"spec":{"blockedKeys":["AB"]}}`, ``},
	},
	"PrincipalMapping": {
		{"a KafkaCluster that cannot be", `{"spec":{"cluster":"Kafka_1"}}`, ``},
		{"a principal without its type", `{"spec":{"principal":"partner"}}`, ``},
		{"a principal that is reserved", `{"spec":{"principal":"User:ANONYMOUS"}}`, ``},
		{"a principal of a KafkaUser", `{"spec":{"principal":"User:shop.checkout"}}`, ``},
		{"a subject of two kinds", `{"spec":{"subjects":[{"exact":"CN=a","external":"CN=a"}]}}`, ``},
		{"a subject that no broker sees", `{"spec":{"subjects":[{"exact":"CN=a, O=b"}]}}`, ``},
		{"a subject of a KafkaUser", `{"spec":{"subjects":[{"exact":"CN=checkout,OU=shop,O=signet"}]}}`, ``},
		{"a SPIFFE ID that is none", `{"spec":{"subjects":[{"spiffe":"spiffe://partner.example"}]}}`, ``},
		{"a replacement without a pattern", `{"spec":{"subjects":[{"exact":"CN=a","replacement":"User:b"}]}}`, ``},
		{"a pattern that matches KafkaUsers", `{"spec":{"subjects":[{"pattern":"CN=.*"}]}}`, ``},
		{"an owner that cannot be", `{"spec":{"owner":{"namespace":"a b","name":"c","namespaceUID":"d"}}}`, ``},
		{"an approval of what is no subject", `{"spec":{"approvedSubjects":["CN=a, O=b"]}}`, ``},
	},
}

// updates change an object with the first patch into one with the second. No sentence means that it is accepted.
var updates = map[string][]struct{ change, from, to, sentence string }{
	"KafkaUser": {
		{"another KafkaCluster", `{}`, `{"spec":{"clusterRef":{"name":"stock"}}}`, ``},
		{"another declaration", `{}`, `{"spec":{"consume":["refunds"],"suspend":true}}`, ``},
		{"an admin topic of others", `{}`, `{"spec":{"admin":["legacy","payroll"]}}`, ``},
	},
	"KafkaTopic": {
		{"fewer partitions", `{}`, `{"spec":{"partitions":2}}`, ``},
		{"partitions left out", `{}`, `{"spec":{"partitions":null}}`, ``},
		{"more partitions, another configuration", `{}`, `{"spec":{"partitions":4,"config":{"retention.ms":"1","cleanup.policy":null}}}`, ``},
		{"another topic", `{}`, `{"spec":{"topic":"shop-payments"}}`, ``},
		{"the topic left out", `{}`, `{"spec":{"topic":null}}`, ``},
		{"a topic named", `{"metadata":{"name":"shop-orders"},"spec":{"topic":null}}`, `{"spec":{"topic":"shop-orders"}}`, ``},
		{"another KafkaCluster", `{}`, `{"spec":{"clusterRef":{"name":"stock"}}}`, ``},
		{"replicas that somebody moved", `{}`, `{"spec":{"replicationFactor":3}}`, ``},
	},
	"KafkaCluster": {
		{"another template", `{}`, `{"spec":{"principalTemplate":"{namespace}-{name}"}}`, ``},
		{"another listener", `{}`, `{"spec":{"listeners":[{"name":"tls","scope":"Cluster","bootstrapServers":["a:1"]}],"admin":{"listener":"tls"}}}`, ``},
		{"the admin's listener goes", `{}`, `{"spec":{"listeners":[{"name":"tls","scope":"Cluster","bootstrapServers":["a:1"]}]}}`, ``},
	},
	"MeshIssuer": {
		{"another CA", `{}`, `{"spec":{"ca":{"secretRef":{"name":"cacerts"}}}}`, ``},
		{"the trust domain of a mesh", `{"metadata":{"name":"mesh"}}`, `{"spec":{"trustDomain":"prod.mesh.example"}}`, ``},
	},
	"PrincipalMapping": {
		{"another KafkaCluster", `{}`, `{"spec":{"cluster":"stock"}}`, ``},
		{"another principal", `{}`, `{"spec":{"principal":"User:other"}}`, ``},
		{"another subject", `{}`, `{"spec":{"subjects":[{"exact":"CN=other,O=Partner"}]}}`, ``},
		{"a subject of a KafkaUser", `{}`, `{"spec":{"subjects":[{"exact":"CN=checkout,OU=shop,O=signet"}]}}`, ``},
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
	ctrl.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	s, err := stack.ControlPlane(t.Context(), fmt.Sprintf("declarations-%d", os.Getpid()), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	heard := &warnings{}
	config.WarningHandlerWithContext = heard
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	api := &declarations{apiServer: apiServer{Stack: s, heard: heard}, client: client}
	crds := filepath.Join(s.Root, "charts", "signet", "files", "crds")

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
			heard.take()
			if err := api.create(t, honestly(t, kind)); err != nil {
				t.Errorf("honest: %v", err)
			}
			if said := heard.take(); len(said) > 0 {
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
	apiServer
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
