// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signet-kafka/signet/test/stack"
)

// clusterManifest is a KafkaCluster in the test's namespace.
func clusterManifest(namespace, name, issuer, bootstrap, selector string) string {
	return fmt.Sprintf(`
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: %s, namespace: %s}
spec:
  listeners:
  - {name: mtls, scope: Cluster, bootstrapServers: ["%s"]}
  admin: {listener: mtls}
  certificates: {issuerRef: {name: %s}}
  namespaceSelector: %s
`, name, namespace, bootstrap, issuer, selector)
}

func ownUser(namespace, name, cluster string) string {
	return fmt.Sprintf(`
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: %s, namespace: %s}
spec:
  clusterRef: {name: %s}
  consume: [a-topic]
`, name, namespace, cluster)
}

// TestUnknownCluster: the KafkaUser says so, nothing is made for it, and it recovers when the KafkaCluster comes.
func TestUnknownCluster(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "nocluster")
	apply(t, "%s", ownUser(ns, "orders", "later"))
	user := waitCondition(t, ns, "kafkauser", "orders", "Ready", "False", "ClusterNotFound")
	if m := user.condition("Ready").Message; !strings.Contains(m, ns+"/later") {
		t.Errorf("message %q does not name the cluster", m)
	}
	for _, kind := range []string{"certificate", "configmap"} {
		if out := kubectl(t, "-n", ns, "get", kind, "-o", "name"); strings.Contains(out, "orders-kafka") {
			t.Errorf("half-applied: %s", out)
		}
	}
	apply(t, "%s", clusterManifest(ns, "later", "mesh", "kafka.kafka.svc:9093", "{}"))
	waitCondition(t, ns, "kafkauser", "orders", "CertificateReady", "True", "")
	waitCondition(t, ns, "kafkauser", "orders", "MappingRecorded", "True", "")
}

// TestUnreachableKafka: the users of a Kafka that does not answer say so, those of another are not held up.
func TestUnreachableKafka(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "dead")
	apply(t, "%s", clusterManifest(ns, "dead", "mesh", "127.0.0.1:1", "{}"))
	apply(t, "%s", ownUser(ns, "orders", "dead"))
	cluster := waitCondition(t, ns, "kafkacluster", "dead", "Reachable", "False", "Unreachable")
	if m := cluster.condition("Reachable").Message; !strings.Contains(m, "127.0.0.1:1") {
		t.Errorf("message %q does not name the broker", m)
	}
	user := waitCondition(t, ns, "kafkauser", "orders", "AccessSynced", "False", "Unreachable")
	if user.condition("CertificateReady").Status != "True" {
		waitCondition(t, ns, "kafkauser", "orders", "CertificateReady", "True", "")
	}
	kafkaUser(t, ns, "alive", "consume: []")
	waitCondition(t, ns, "kafkauser", "alive", "Ready", "True", "")

	// It was only the address: with the right one everything recovers by itself.
	kubectl(t, "-n", ns, "patch", "kafkacluster", "dead", "--type=json", "-p", `[{"op":"replace","path":"/spec/listeners/0/bootstrapServers","value":["kafka.kafka.svc:9093"]},{"op":"add","path":"/spec/listeners/0/serverCA","value":{"configMap":"broker-ca"}}]`)
	eventually(t, "the condition names the missing ConfigMap", func() (bool, string) {
		cluster, _ = get(t, ns, "kafkacluster", "dead")
		m := cluster.condition("Reachable").Message
		return strings.Contains(m, "ConfigMap "+ns+"/broker-ca does not exist"), m
	})
	ca := kubectl(t, "-n", ns, "get", "configmap", "alive-kafka-trust", "-o", `jsonpath={.data.ca\.crt}`)
	kubectl(t, "-n", ns, "create", "configmap", "broker-ca", "--from-literal=ca.crt="+ca)
	// The brokers have no rule for this KafkaCluster's own admin certificate, and the condition says what to do.
	eventually(t, "the condition names the rules", func() (bool, string) {
		cluster, _ = get(t, ns, "kafkacluster", "dead")
		m := cluster.condition("Reachable").Message
		return strings.Contains(m, "no ssl.principal.mapping.rules for Signet's certificate"), m
	})
}

// TestNamespaceNotAllowed: a namespace that the cluster does not admit gets nothing, and loses what it had.
func TestNamespaceNotAllowed(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "admit")
	apply(t, "%s", clusterManifest(ns, "closed", "mesh", "kafka.kafka.svc:9093", "{matchLabels: {kafka: allowed}}"))
	apply(t, "%s", ownUser(ns, "orders", "closed"))
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "False", "NamespaceNotAllowed")
	kubectl(t, "label", "namespace", ns, "kafka=allowed")
	waitCondition(t, ns, "kafkauser", "orders", "CertificateReady", "True", "")
	kubectl(t, "label", "namespace", ns, "kafka-")
	waitCondition(t, ns, "kafkauser", "orders", "CertificateReady", "False", "NamespaceNotAllowed")
	eventually(t, "the certificate goes", func() (bool, string) {
		out := kubectl(t, "-n", ns, "get", "certificate", "-o", "name")
		return out == "", out
	})
}

// testCA makes a CA or, with isCA false, a leaf that is none, with the given end of life.
func testCA(t *testing.T, isCA bool, notAfter time.Time) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{Organization: []string{"test mesh"}},
		NotBefore: notAfter.Add(-24 * time.Hour), NotAfter: notAfter,
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// ownIssuer makes a MeshIssuer of the namespace's name that signs with the Secret mesh-ca in it, and lets the controller
// read that Secret, as the chart's value controller.caSecrets would.
func ownIssuer(t *testing.T, ns string) {
	t.Helper()
	apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: signet-reads-ca, namespace: %[1]s}
rules: [{apiGroups: [""], resources: [secrets], resourceNames: [mesh-ca], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: signet-reads-ca, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: signet-reads-ca}
subjects: [{kind: ServiceAccount, name: signet-controller, namespace: %[2]s}]
---
apiVersion: kafka.signet.dev/v1alpha1
kind: MeshIssuer
metadata: {name: %[1]s}
spec: {ca: {secretRef: {namespace: %[1]s, name: mesh-ca}}}
`, ns, stack.Namespace)
	t.Cleanup(func() { cleanup(t, "delete", "meshissuer", ns) })
}

// TestCASecretFaults: a MeshIssuer whose CA Secret is missing, expired, not a CA or mismatched says which, its users
// wait, and it heals by itself when the Secret does. Once it signs with its intermediate, a fault of the Secret is told of
// and nothing else.
func TestCASecretFaults(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "cafaults")
	ownIssuer(t, ns)
	apply(t, "%s", clusterManifest(ns, "kafka", ns, "kafka.kafka.svc:9093", "{}"))
	apply(t, "%s", ownUser(ns, "orders", "kafka"))

	secret := func(certificate, key string) {
		dir := t.TempDir()
		for name, content := range map[string]string{"ca-cert.pem": certificate, "ca-key.pem": key} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		manifest := kubectl(t, "-n", ns, "create", "secret", "generic", "mesh-ca", "--from-file="+dir, "--dry-run=client", "-o", "yaml")
		apply(t, "%s", manifest)
	}
	good, goodKey := testCA(t, true, time.Now().Add(12*time.Hour))
	expired, expiredKey := testCA(t, true, time.Now().Add(-time.Hour))
	leaf, leafKey := testCA(t, false, time.Now().Add(12*time.Hour))
	garbage := "-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n"

	waitCondition(t, "", "meshissuer", ns, "Ready", "False", "CANotFound")
	waitCondition(t, ns, "kafkauser", "orders", "CertificateReady", "False", "")
	for _, fault := range []struct{ reason, certificate, key string }{
		{"CAExpired", expired, expiredKey},
		{"CAInvalid", leaf, leafKey},
		{"CAInvalid", good, leafKey},
		{"CAInvalid", garbage, goodKey},
	} {
		secret(fault.certificate, fault.key)
		waitCondition(t, "", "meshissuer", ns, "Ready", "False", fault.reason)
		waitCondition(t, ns, "kafkauser", "orders", "CertificateReady", "False", "")
	}
	secret(good, goodKey)
	waitCondition(t, "", "meshissuer", ns, "Ready", "True", "")
	first := waitCondition(t, ns, "kafkauser", "orders", "CertificateReady", "True", "")
	if first.Status.Certificate.Serial == "" {
		t.Error("the status names no serial")
	}
	for _, fault := range []struct{ says, certificate, key string }{
		{"CA expired", expired, expiredKey},
		{"CA invalid", leaf, leafKey},
		{"CA invalid", garbage, goodKey},
	} {
		secret(fault.certificate, fault.key)
		eventually(t, "the MeshIssuer tells of its CA", func() (bool, string) {
			issuer, _ := get(t, "", "meshissuer", ns)
			ready := issuer.condition("Ready")
			return ready.Status == "True" && strings.Contains(ready.Message, fault.says), fmt.Sprintf("%+v", ready)
		})
		apply(t, "%s", ownUser(ns, "second", "kafka"))
		waitCondition(t, ns, "kafkauser", "second", "CertificateReady", "True", "")
		if user, _ := get(t, ns, "kafkauser", "orders"); user.Status.Certificate.Serial != first.Status.Certificate.Serial {
			t.Errorf("%s: the user's certificate changed", fault.says)
		}
	}
	secret(good, goodKey)
	eventually(t, "nothing is the matter any more", func() (bool, string) {
		issuer, _ := get(t, "", "meshissuer", ns)
		return !strings.Contains(issuer.condition("Ready").Message, "cannot be renewed"), fmt.Sprintf("%+v", issuer.condition("Ready"))
	})
}

func secretKey(t *testing.T, namespace, name, key string) string {
	t.Helper()
	return kubectl(t, "-n", namespace, "get", "secret", name, "-o", fmt.Sprintf(`go-template={{index .data %q | base64decode}}`, key))
}

// TestWebhookRestartedUnderLoad: while the webhook's replicas are replaced, pods that ask for Kafka are created all the
// time. Each comes with its files or is refused for the webhook's sake; a graceful restart refuses none.
func TestWebhookRestartedUnderLoad(t *testing.T) {
	ns := namespace(t, "restart")
	kafkaUser(t, ns, "orders", "consume: []")
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	manifest := podManifest(ns, "load", stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"})

	// A server-side dry run passes through admission as the real thing does, and needs no node.
	load := func(during func()) (created int, failures []string) {
		stop := make(chan struct{})
		var mutex sync.Mutex
		var workers sync.WaitGroup
		for range 2 {
			workers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					out, err := s.Kubectl(t.Context(), manifest, "create", "-f", "-", "--dry-run=server", "-o", "json")
					mutex.Lock()
					switch {
					case err != nil:
						failures = append(failures, err.Error())
					case !strings.Contains(out, "kafka.signet.dev/mesh"):
						t.Errorf("a pod was admitted without its files")
					default:
						created++
					}
					mutex.Unlock()
				}
			})
		}
		during()
		close(stop)
		workers.Wait()
		return created, failures
	}

	created, failures := load(func() {
		kubectl(t, "-n", stack.Namespace, "rollout", "restart", "deployment/signet-webhook")
		kubectl(t, "-n", stack.Namespace, "rollout", "status", "deployment/signet-webhook", "--timeout=120s")
	})
	if len(failures) > 0 || created == 0 {
		t.Errorf("a graceful restart: %d pods admitted, %d refused, such as: %.400v", created, len(failures), failures)
	}
	created, failures = load(func() {
		replaced(t, "webhook", 2)
		settled(t, manifest)
	})
	for _, f := range failures {
		if !strings.Contains(f, "failed calling webhook") {
			t.Errorf("refused for another reason: %s", f)
		}
	}
	t.Logf("both replicas killed at once: %d admitted, %d refused because no webhook answered", created, len(failures))
}

// settled waits until pods are admitted again, all of them: the rules of kube-proxy follow the endpoints a moment later, and
// until then a request may go to a pod that is gone.
func settled(t *testing.T, manifest string) {
	t.Helper()
	inARow := 0
	eventually(t, "pods are admitted again, all of them", func() (bool, string) {
		_, err := s.Kubectl(t.Context(), manifest, "create", "-f", "-", "--dry-run=server")
		if inARow++; err != nil {
			inARow = 0
		}
		return inARow == 10, fmt.Sprint(err)
	})
}

// replaced kills the pods of a component at once, and waits until as many others are ready and those are gone: neither
// the Deployment's status nor a first answer tells that, for a pod that was force-deleted serves on for a moment.
func replaced(t *testing.T, component string, replicas int) {
	t.Helper()
	selector := "app.kubernetes.io/component=" + component
	before := kubectl(t, "-n", stack.Namespace, "get", "pods", "-l", selector, "-o", "name")
	kubectl(t, "-n", stack.Namespace, "delete", "pod", "-l", selector, "--grace-period=0", "--force")
	eventually(t, "other pods of the "+component+" serve", func() (bool, string) {
		pods := kubectl(t, "-n", stack.Namespace, "get", "pods", "-l", selector, "-o", `jsonpath={range .items[*]}pod/{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		ready := 0
		for line := range strings.Lines(pods) {
			name, status, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.Contains(before, name) {
				return false, pods
			}
			if status == "True" {
				ready++
			}
		}
		return ready == replicas, pods
	})
}

// TestControllerKilled: kill -9 of the controller loses nothing.
func TestControllerKilled(t *testing.T) {
	ns := namespace(t, "killed")
	topic(t, ns+"-a")
	for i := range 6 {
		kafkaUser(t, ns, fmt.Sprintf("user-%d", i), fmt.Sprintf("consume: [%s-a]", ns))
		if i%2 == 0 {
			replaced(t, "controller", 1)
		}
	}
	for i := range 6 {
		waitCondition(t, ns, "kafkauser", fmt.Sprintf("user-%d", i), "Ready", "True", "")
	}
}
