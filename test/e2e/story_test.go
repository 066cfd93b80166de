// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/test/stack"
)

// topicNames reads the names from what `goclient topics`, `javaclient topics` or `kcat -L -J` print.
func topicNames(t *testing.T, out string) []string {
	t.Helper()
	var names []string
	if strings.Contains(out, `"originating_broker"`) {
		var list struct{ Topics []struct{ Topic string } }
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatalf("kcat prints %q: %v", out, err)
		}
		for _, topic := range list.Topics {
			names = append(names, topic.Topic)
		}
		return names
	}
	for line := range strings.Lines(out) {
		var topic struct{ Topic string }
		if err := json.Unmarshal([]byte(line), &topic); err != nil {
			t.Fatalf("the client prints %q: %v", line, err)
		}
		names = append(names, topic.Topic)
	}
	return names
}

// topic declares a topic in the cluster's own namespace, where an administrator declares any name.
func topic(t *testing.T, name string) {
	t.Helper()
	apply(t, `
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaTopic
metadata: {name: %[1]s, namespace: kafka}
spec:
  clusterRef: {name: kafka}
  deletionPolicy: Delete
`, name)
	t.Cleanup(func() { cleanup(t, "-n", "kafka", "delete", "kafkatopic", name, "--timeout=60s") })
	waitCondition(t, "kafka", "kafkatopic", name, "Ready", "True", "")
}

func kafkaUser(t *testing.T, namespace, name, spec string) {
	t.Helper()
	apply(t, `
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: %s, namespace: %s}
spec:
  clusterRef: {name: kafka, namespace: kafka}
%s
`, name, namespace, indent(spec))
}

func indent(block string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n  ")
}

// brokerSaw tells whether the broker's authorizer decided requests of the principal.
func brokerSaw(t *testing.T, principal string) bool {
	t.Helper()
	return strings.Contains(kubectl(t, "-n", "kafka", "logs", "kafka-0"), "Principal = "+principal+" is ")
}

// TestStory is the product's main job, once for each kind of client library.
func TestStory(t *testing.T) {
	t.Parallel()
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ns := namespace(t, "story")
			granted, other := ns+"-granted", ns+"-other"
			topic(t, granted)
			topic(t, other)
			principal := "User:" + ns + ".orders"

			kafkaUser(t, ns, "orders", "consume: []")
			user := waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
			if user.Status.Principal != principal || user.Status.Subject != "CN=orders,OU="+ns+",O=signet" {
				t.Errorf("status says principal %q, subject %q", user.Status.Principal, user.Status.Subject)
			}

			p := startPod(t, ns, c.image, map[string]string{"kafka.signet.dev/user": "orders"})
			out, err := p.exec(t, c.topics()...)
			if err != nil {
				t.Fatalf("a client with a certificate cannot connect: %v", err)
			}
			if names := topicNames(t, out); len(names) != 0 {
				t.Errorf("without a grant it sees %v", names)
			}

			kafkaUser(t, ns, "orders", fmt.Sprintf("consume: [%s]\nproduce: [%s]", granted, granted))
			waitCondition(t, ns, "kafkauser", "orders", "AccessSynced", "True", "")
			out, err = p.exec(t, c.topics()...)
			if err != nil {
				t.Fatal(err)
			}
			if names := topicNames(t, out); !slices.Equal(names, []string{granted}) {
				t.Errorf("granted %s, it sees %v", granted, names)
			}
			if _, err := p.exec(t, c.produce(granted, "hello-"+ns)...); err != nil {
				t.Errorf("produce to the granted topic: %v", err)
			}
			out, err = p.exec(t, c.consume(granted, ns)...)
			if err != nil || !strings.Contains(out, "hello-"+ns) {
				t.Errorf("consume with the free group %s: %v: %q", ns, err, out)
			}
			if !brokerSaw(t, principal) {
				t.Errorf("the broker's authorizer never decided for %s", principal)
			}
			if out, err := p.exec(t, c.consume(granted, "somebody-elses-group")...); err == nil {
				t.Errorf("a foreign group is joined: %q", out)
			}
			if out, err := p.exec(t, c.produce(other, "forbidden")...); err == nil {
				t.Errorf("it produces to %s: %q", other, out)
			}

			kafkaUser(t, ns, "orders", fmt.Sprintf("consume: [%s]", granted))
			waitCondition(t, ns, "kafkauser", "orders", "AccessSynced", "True", "")
			if out, err := p.exec(t, c.produce(granted, "late")...); err == nil {
				t.Errorf("it still produces after the grant is gone: %q", out)
			}
			if out, err := p.exec(t, c.topics()...); err != nil || !slices.Equal(topicNames(t, out), []string{granted}) {
				t.Errorf("it does not see what it still consumes: %v: %q", err, out)
			}
		})
	}
}

// TestPodWithoutAccessSeesNoTopics is the pod of today: no annotation, no identity, the plaintext listener.
func TestPodWithoutAccessSeesNoTopics(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "plain")
	topic(t, ns+"-secret")
	p := startPod(t, ns, stack.ImageGo, nil)
	out, err := p.exec(t, "/usr/local/bin/goclient", "topics", "--bootstrap", "kafka.kafka.svc:9092")
	if err != nil || out != "" {
		t.Errorf("a pod without access: %v: %q, want no topic", err, out)
	}
	if mounts, err := p.exec(t, "/usr/local/bin/goclient", "topics"); err == nil {
		t.Errorf("a pod that declares nothing has a configuration: %q", mounts)
	}
}

// TestClientWithoutCertificateCannotConnect: TLS with the right CA and no client certificate.
func TestClientWithoutCertificateCannotConnect(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	decoded, err := base64.StdEncoding.DecodeString(kubectl(t, "-n", "kafka", "get", "secret", "kafka-broker-tls", "-o", `jsonpath={.data.ca\.crt}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, decoded, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := s.HostClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "topics", "--timeout", "15s", "--ca", ca, "--bootstrap", fmt.Sprintf("%s:%d", s.NodeIP, stack.ExternalPort)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "certificate") {
		t.Errorf("a client with no certificate: %v: %s; want a refusal that speaks of the certificate", err, out)
	}
}

// TestCertificate looks at the certificate itself: who signed it, what is in it, and how it is mounted.
func TestCertificate(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "cert")
	kafkaUser(t, ns, "orders", "workload: {serviceAccountName: default}\ncertificate: {delivery: Secret}")
	user := waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	p := startPod(t, ns, stack.ImageKcat, map[string]string{"kafka.signet.dev/user": "orders"})

	read := func(name string) string {
		out, err := p.exec(t, "cat", mount+"orders/"+name)
		if err != nil {
			t.Fatalf("a non-root container cannot read %s: %v", name, err)
		}
		return out
	}
	chain, err := certs.ParseCertificates([]byte(read("tls.crt")))
	if err != nil || len(chain) != 2 {
		t.Fatalf("%d certificates in tls.crt (%v), want leaf and intermediate", len(chain), err)
	}
	leaf := chain[0]
	meshRoot, err := base64.StdEncoding.DecodeString(kubectl(t, "-n", "istio-system", "get", "secret", "istio-ca-secret", "-o", `jsonpath={.data.ca-cert\.pem}`))
	if err != nil {
		t.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(meshRoot)
	intermediates.AddCert(chain[1])
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the mesh CA did not sign it: %v", err)
	}
	if leaf.Subject.CommonName != "orders" || !slices.Equal(leaf.Subject.OrganizationalUnit, []string{ns}) || !slices.Equal(leaf.Subject.Organization, []string{"signet"}) || len(leaf.Subject.Names) != 3 {
		t.Errorf("subject %s", leaf.Subject)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://kafka.signet.dev/user/"+ns+"/orders" || len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) != 0 {
		t.Errorf("names %v %v %v %v", leaf.URIs, leaf.DNSNames, leaf.IPAddresses, leaf.EmailAddresses)
	}
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("usages %v %v, CA %v", leaf.KeyUsage, leaf.ExtKeyUsage, leaf.IsCA)
	}
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve.Params().Name != "P-256" {
		t.Errorf("key %T", leaf.PublicKey)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > 7*time.Hour {
		t.Errorf("it lives %s, more than the default of 6h", life)
	}
	if serial := leaf.SerialNumber.Text(16); !strings.EqualFold(user.Status.Certificate.Serial, serial) {
		t.Errorf("status says serial %s, the certificate %s", user.Status.Certificate.Serial, serial)
	}
	if want := leaf.NotAfter.UTC().Format(time.RFC3339); user.Status.Certificate.NotAfter != want {
		t.Errorf("status says it expires %s, the certificate %s", user.Status.Certificate.NotAfter, want)
	}
	issuer, _ := get(t, "", "meshissuer", "mesh")
	if want := certs.Fingerprint(chain[1].Raw); issuer.Status.CA.Fingerprint != want {
		t.Errorf("status of the MeshIssuer says that %s signs, %s did", issuer.Status.CA.Fingerprint, want)
	}
	if r := rotationOf(t, "mesh"); len(r.Trusted) == 0 || r.Trusted[0].Fingerprint != fingerprint(t, string(meshRoot)) {
		t.Errorf("status of the MeshIssuer says that %+v is trusted, and not first what istio-ca-secret holds", r.Trusted)
	}
	for _, name := range []string{"tls.key", "ca.crt", "keystore.pem", "client.properties", "librdkafka.conf", "kafka.json"} {
		if read(name) == "" {
			t.Errorf("%s is empty", name)
		}
	}
	environment, err := p.exec(t, "env")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"KAFKA_BOOTSTRAP_SERVERS=kafka.kafka.svc:9093", "KAFKA_SECURITY_PROTOCOL=SSL", "KAFKA_CLIENT_CONFIG=" + mount + "orders/client.properties"} {
		if !strings.Contains(environment, want+"\n") {
			t.Errorf("the environment lacks %s:\n%s", want, environment)
		}
	}
	mapping, found := get(t, "kafka", "principalmapping", ns+".orders")
	if !found || mapping.Status.Effective != 3 {
		t.Errorf("the ledger holds %+v, want the subject and two SPIFFE IDs in force", mapping.Status)
	}
	broker, _ := get(t, "kafka", "configmap", "kafka-signet-broker")
	for _, want := range []string{`"CN=orders,OU=` + ns + `,O=signet": "` + ns + `.orders"`, `"spiffe://cluster.local/ns/` + ns + `/sa/default": "` + ns + `.orders"`} {
		if !strings.Contains(broker.Data["mapping.json"], want) {
			t.Errorf("mapping.json lacks %s", want)
		}
	}
	if rules := broker.Data["ssl.principal.mapping.rules"]; strings.Contains(rules, ns) || strings.Contains(rules, "DEFAULT") {
		t.Errorf("the static rules changed with a user, or have a DEFAULT: %s", rules)
	}
}

func parseCertificate(t *testing.T, content string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(content))
	if block == nil {
		t.Fatalf("no PEM: %q", content)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// TestExternalClientHasTheSamePrincipal exports a user's credentials and uses them from outside the cluster.
func TestExternalClientHasTheSamePrincipal(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "external")
	granted := ns + "-granted"
	topic(t, granted)
	kafkaUser(t, ns, "orders", fmt.Sprintf("produce: [%s]", granted))
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	dir := filepath.Join(t.TempDir(), "orders")
	if out, err := s.Signet(t.Context(), "export", "orders", "-n", ns, "-o", dir); err != nil {
		t.Fatalf("export: %v", err)
	} else if strings.Contains(out, "PRIVATE KEY") {
		t.Error("export prints the key")
	}
	for _, name := range []string{"tls.key", "keystore.pem"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", name, err, info.Mode())
		}
	}
	program, err := s.HostClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), program, append(args, "--config", filepath.Join(dir, "kafka.json"))...).CombinedOutput()
		return string(out), err
	}
	out, err := run("topics")
	if err != nil || !slices.Equal(topicNames(t, out), []string{granted}) {
		t.Fatalf("franz-go outside the cluster: %v: %s", err, out)
	}
	if out, err := run("produce", granted, "from-outside"); err != nil {
		t.Fatalf("produce from outside: %v: %s", err, out)
	}
	if !brokerSaw(t, "User:"+ns+".orders") {
		t.Errorf("the broker did not see User:%s.orders", ns)
	}
	if _, err := s.Signet(t.Context(), "export", "orders", "-n", ns, "-o", dir); err == nil {
		t.Error("a second export overwrites the first without being told to")
	}

	// Java and librdkafka read the exported files, too: in a pod that has no identity of its own, at the same paths.
	for _, c := range []client{clients()[1], clients()[2]} {
		t.Run(c.name, func(t *testing.T) {
			p := exportedPod(t, ns, strings.ToLower(c.name), c.image, dir)
			command := c.topics()
			if c.name == "kcat" {
				command = []string{"kcat", "-F", dir + "/librdkafka.conf", "-L", "-J"}
			} else {
				command = append(command, "--config", dir+"/client.properties")
			}
			out, err := p.exec(t, command...)
			if err != nil || !slices.Equal(topicNames(t, out), []string{granted}) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// exportedPod starts a pod with a directory of the host's at the same path, as the only difference from any other pod.
func exportedPod(t *testing.T, namespace, name, image, dir string) pod {
	t.Helper()
	args := []string{"-n", namespace, "create", "secret", "generic", name + "-exported"}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		args = append(args, "--from-file="+filepath.Join(dir, e.Name()))
	}
	kubectl(t, args...)
	manifest := podManifest(namespace, name, image, nil) + fmt.Sprintf("    volumeMounts: [{name: exported, mountPath: %s}]\n  volumes: [{name: exported, secret: {secretName: %s-exported}}]\n", dir, name)
	apply(t, "%s", manifest)
	p := pod{namespace, name}
	p.waitReady(t)
	return p
}

// TestDeletedUserLosesAccessAndKeepsItsPrincipal: the ACLs go at once, the name stays reserved, the same namespace may
// have it again.
func TestDeletedUserLosesAccessAndKeepsItsPrincipal(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "gone")
	granted := ns + "-granted"
	topic(t, granted)
	kafkaUser(t, ns, "orders", fmt.Sprintf("consume: [%s]", granted))
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	p := startPod(t, ns, stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"})
	if out, err := p.exec(t, "/usr/local/bin/goclient", "topics"); err != nil || !slices.Equal(topicNames(t, out), []string{granted}) {
		t.Fatalf("before: %v: %q", err, out)
	}
	kubectl(t, "-n", ns, "delete", "kafkauser", "orders", "--timeout=60s")
	if out, err := p.exec(t, "/usr/local/bin/goclient", "topics"); err != nil || out != "" {
		t.Errorf("after: %v: %q; want a connection that sees nothing", err, out)
	}
	waitCondition(t, "kafka", "principalmapping", ns+".orders", "Ready", "False", "Reserved")
	for _, kind := range []string{"certificate", "configmap"} {
		eventually(t, "what was made for the user goes", func() (bool, string) {
			out := kubectl(t, "-n", ns, "get", kind, "-o", "name")
			return !strings.Contains(out, "orders-kafka"), out
		})
	}
	kafkaUser(t, ns, "orders", fmt.Sprintf("consume: [%s]", granted))
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	waitCondition(t, "kafka", "principalmapping", ns+".orders", "Ready", "True", "Ready")
}

// TestPodFirstUserLater: a pod may come before its KafkaUser; it is admitted with a warning, waits, and starts by
// itself.
func TestPodFirstUserLater(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "early")
	dry, err := s.Kubectl(t.Context(), podManifest(ns, "app", stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"}), "apply", "-f", "-", "--dry-run=server", "-o", "json")
	if err != nil || !strings.Contains(dry, "orders-kafka-tls") {
		t.Errorf("an honest dry run shows the volume: %v: %s", err, dry)
	}
	apply(t, "%s", podManifest(ns, "app", stack.ImageGo, map[string]string{"kafka.signet.dev/user": "orders"}))
	kafkaUser(t, ns, "orders", "consume: []")
	pod{ns, "app"}.waitReady(t)
}
