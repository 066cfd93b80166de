package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/test/cluster/cache"
)

// TestAddons starts one cluster with everything and looks at each part from a pod's and from the host's side.
func TestAddons(t *testing.T) {
	c := startAddons(t)
	t.Run("CertManager", c.testCertManager)
	t.Run("Kafka", c.testKafka)
	t.Run("Istio", c.testIstio)
}

// addonCluster is a running cluster and the programs of this test.
type addonCluster struct {
	Info
	// goClient is the Go client as a program of the host.
	goClient string
}

func startAddons(t *testing.T) *addonCluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: a cluster with a node makes namespaces, mounts and network interfaces")
	}
	work := t.TempDir()
	program, dir := filepath.Join(work, "cluster"), filepath.Join(work, "c")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build of cluster: %v\n%s", err, out)
	}
	run := func(args ...string) error {
		cmd := exec.Command(program, args...)
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		return cmd.Run()
	}
	name := "addons-" + strconv.Itoa(os.Getpid())
	t.Cleanup(func() {
		if err := run("down", "--dir", dir); err != nil {
			t.Errorf("cluster down: %v", err)
		}
	})
	if err := run("up", "--name", name, "--dir", dir, "--owner", strconv.Itoa(os.Getpid()), "--kafka", "--mesh"); err != nil {
		t.Fatalf("cluster up: %v", err)
	}
	info, err := readInfo(dir)
	if err != nil {
		t.Fatal(err)
	}
	cacheDir, err := cache.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	b := builder{cache: cache.New(cacheDir, t.Logf), source: ".", report: t.Logf}
	goClient, err := b.binary(t.Context(), "goclient", "components/clients/goclient")
	if err != nil {
		t.Fatal(err)
	}
	return &addonCluster{Info: info, goClient: goClient}
}

// try runs kubectl and returns everything it printed.
func (c *addonCluster) try(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *addonCluster) kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := c.try(t.Context(), stdin, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// retry repeats kubectl until accept likes what it printed.
func (c *addonCluster) retry(t *testing.T, stdin string, accept func(out string, err error) bool, args ...string) string {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(250 * time.Millisecond) {
		out, err := c.try(t.Context(), stdin, args...)
		if accept(out, err) {
			return out
		}
		if time.Now().After(deadline) {
			t.Fatalf("kubectl %s: never right; last: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func succeeded(_ string, err error) bool { return err == nil }

const selfSigned = `apiVersion: v1
kind: Namespace
metadata: {name: certs}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: selfsigned, namespace: certs}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: certs}
spec:
  secretName: web
  dnsNames: [web.example.com]
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {name: selfsigned, kind: Issuer, group: cert-manager.io}
`

func (c *addonCluster) testCertManager(t *testing.T) {
	c.kubectl(t, selfSigned, "apply", "-f", "-")
	c.kubectl(t, "", "-n", "certs", "wait", "--for=condition=Ready", "certificate/web", "--timeout=60s")
	block, _ := pem.Decode(c.secret(t, "certs", "web", "tls.crt"))
	if block == nil {
		t.Fatal("the Secret holds no certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil || certificate.VerifyHostname("web.example.com") != nil {
		t.Errorf("certificate for %q, %v; want web.example.com", certificate.DNSNames, err)
	}

	t.Run("WebhookRefusesInvalid", func(t *testing.T) {
		out, err := c.try(t.Context(), strings.NewReplacer("dnsNames: [web.example.com]", "dnsNames: []", "name: web", "name: empty").Replace(selfSigned), "apply", "-f", "-")
		if err == nil || !strings.Contains(out, `admission webhook "webhook.cert-manager.io" denied the request`) {
			t.Errorf("a certificate for nobody: %v\n%s", err, out)
		}
	})

	// What keeps cert-manager's own approver away from other people's issuers.
	t.Run("ApproverCannotApproveForeignSigner", func(t *testing.T) {
		c.kubectl(t, `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foreignissuers.signer.test}
spec:
  group: signer.test
  names: {kind: ForeignIssuer, plural: foreignissuers}
  scope: Namespaced
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
`, "apply", "-f", "-")
		c.kubectl(t, "", "wait", "--for=condition=Established", "crd/foreignissuers.signer.test", "--timeout=60s")
		_, csr := clientKey(t)
		c.kubectl(t, fmt.Sprintf(`apiVersion: cert-manager.io/v1
kind: CertificateRequest
metadata: {name: foreign, namespace: certs}
spec:
  request: %s
  issuerRef: {name: any, kind: ForeignIssuer, group: signer.test}
`, base64.StdEncoding.EncodeToString(csr)), "apply", "-f", "-")
		approve := func(as ...string) (string, error) {
			return c.try(t.Context(), `apiVersion: cert-manager.io/v1
kind: CertificateRequest
metadata: {name: foreign, namespace: certs}
status: {conditions: [{type: Approved, status: "True", reason: Test, message: test}]}
`, append([]string{"apply", "--server-side", "--subresource=status", "--field-manager=test", "-f", "-"}, as...)...)
		}
		out, err := approve("--as=system:serviceaccount:cert-manager:cert-manager", "--as-group=system:serviceaccounts", "--as-group=system:authenticated")
		if err == nil || !strings.Contains(out, "approve") || !strings.Contains(out, "denied") {
			t.Errorf("cert-manager's service account: %v\n%s", err, out)
		}
		if out, err := approve(); err != nil {
			t.Errorf("the administrator: %v\n%s", err, out)
		}
	})
}

func (c *addonCluster) secret(t *testing.T, namespace, name, key string) []byte {
	t.Helper()
	out := c.kubectl(t, "", "-n", namespace, "get", "secret", name, "-o", "jsonpath={.data['"+strings.ReplaceAll(key, ".", `\.`)+"']}")
	value, err := base64.StdEncoding.DecodeString(out)
	if err != nil {
		t.Fatalf("secret %s/%s: %v", namespace, name, err)
	}
	return value
}

func (c *addonCluster) testKafka(t *testing.T) {
	clients := newClientCA(t)
	c.kubectl(t, clients.brokerConfigMap(), "apply", "-f", "-")
	brokerReady := func() {
		t.Helper()
		// While the pod does not exist yet, wait fails at once.
		c.retry(t, "", succeeded, "-n", "kafka", "wait", "--for=condition=Ready", "pod/kafka-0", "--timeout=100s")
	}
	brokerReady()

	brokerCA := c.secret(t, "kafka", "kafka-broker-tls", "ca.crt")
	for _, client := range []struct{ namespace, name string }{{"signet", "admin"}, {"shop", "orders"}} {
		c.kubectl(t, clients.mountedSecret(t, client.namespace, client.name, brokerCA), "apply", "-f", "-")
	}
	c.kubectl(t, clientPods, "apply", "-f", "-")
	c.kubectl(t, "", "-n", "default", "wait", "--for=condition=Ready", "pod", "-l", "app=client", "--timeout=120s")

	external := c.NodeIP + ":" + strconv.Itoa(kafkaNodePort)
	admin := filepath.Join(t.TempDir(), "admin")
	clients.writeDir(t, admin, "signet", "admin", brokerCA)
	host := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), c.goClient, args...).CombinedOutput()
		return string(out), err
	}
	inPod := func(pod string, args ...string) (string, error) {
		return c.try(t.Context(), "", append([]string{"-n", "default", "exec", pod, "--"}, args...)...)
	}
	java := func(pod string, args ...string) (string, error) {
		return inPod(pod, append(javaCommand("-Xmx128m", "dev.signet.testcluster.Client"), args...)...)
	}
	want := func(t *testing.T, out string, err error, texts ...string) {
		t.Helper()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("output lacks %s:\n%s", text, out)
			}
		}
	}

	out, err := host("create-topic", "orders", "--dir", admin, "--bootstrap", external)
	want(t, out, err, `{"topic":"orders","partitions":1}`)
	if t.Failed() {
		t.Fatal(podReport(t.Context(), &Cluster{Info: c.Info}, "kafka"))
	}

	t.Run("Host", func(t *testing.T) {
		out, err := host("produce", "orders", "from-host", "--dir", admin, "--bootstrap", external)
		want(t, out, err, `"value":"from-host"`)
		out, err = host("consume", "orders", "--dir", admin, "--bootstrap", external)
		want(t, out, err, `"value":"from-host"`)
	})
	t.Run("Go", func(t *testing.T) {
		out, err := inPod("go-admin", "goclient", "produce", "orders", "from-go")
		want(t, out, err, `"value":"from-go"`)
		out, err = inPod("go-admin", "goclient", "consume", "orders", "--count", "2", "--group", "go")
		want(t, out, err, "from-host", "from-go")
	})
	t.Run("Java", func(t *testing.T) {
		out, err := java("java-admin", "produce", "orders", "from-java")
		want(t, out, err, `"value":"from-java"`)
		out, err = java("java-admin", "consume", "orders", "--count", "3", "--group", "java")
		want(t, out, err, "from-host", "from-go", "from-java")
	})
	t.Run("Kcat", func(t *testing.T) {
		out, err := inPod("kcat-admin", "sh", "-c", "echo from-kcat | kcat -F /etc/kafka-client/librdkafka.conf -P -t orders && kcat -F /etc/kafka-client/librdkafka.conf -C -t orders -e -q")
		want(t, out, err, "from-host\nfrom-go\nfrom-java\nfrom-kcat\n")
	})
	t.Run("UserWithoutGrantsSeesNothing", func(t *testing.T) {
		if out, err := inPod("go-orders", "goclient", "topics"); err != nil || out != "" {
			t.Errorf("topics: %v %q", err, out)
		}
		if out, err := inPod("go-orders", "goclient", "consume", "orders"); err == nil || !strings.Contains(out, "TOPIC_AUTHORIZATION_FAILED") {
			t.Errorf("consume: %v %q", err, out)
		}
	})
	t.Run("PlaintextSeesNothing", func(t *testing.T) {
		if out, err := inPod("go-orders", "goclient", "topics", "--bootstrap", "kafka.kafka.svc:9092"); err != nil || out != "" {
			t.Errorf("topics: %v %q", err, out)
		}
		// Nor is an anonymous client anything like a super user.
		if out, err := inPod("go-orders", "goclient", "create-topic", "x", "--bootstrap", "kafka.kafka.svc:9092"); err == nil || !strings.Contains(out, "AUTHORIZATION_FAILED") {
			t.Errorf("create-topic: %v %q", err, out)
		}
	})
	t.Run("NoCertificateNoConnection", func(t *testing.T) {
		for _, address := range []string{"kafka.kafka.svc:9093"} {
			out, err := inPod("go-orders", "goclient", "topics", "--ca", "/etc/kafka-client/ca.crt", "--bootstrap", address)
			if err == nil || !strings.Contains(out, "certificate") {
				t.Errorf("%s: %v %q", address, err, out)
			}
		}
		if out, err := host("topics", "--ca", filepath.Join(admin, "ca.crt"), "--bootstrap", external); err == nil || !strings.Contains(out, "certificate") {
			t.Errorf("host: %v %q", err, out)
		}
	})
	t.Run("RestartKeepsData", func(t *testing.T) {
		before := c.kubectl(t, "", "-n", "kafka", "get", "pod", "kafka-0", "-o", "jsonpath={.metadata.uid}")
		c.kubectl(t, "", "-n", "kafka", "delete", "pod", "kafka-0")
		c.retry(t, "", func(out string, err error) bool { return err == nil && out != before }, "-n", "kafka", "get", "pod", "kafka-0", "-o", "jsonpath={.metadata.uid}")
		brokerReady()
		// kube-proxy hears of the new pod a little later than we do.
		var out string
		var err error
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(250 * time.Millisecond) {
			if out, err = host("consume", "orders", "--count", "4", "--dir", admin, "--bootstrap", external); err == nil {
				break
			}
		}
		want(t, out, err, "from-host", "from-kcat")
	})
}

// clientPods wait to be exec'ed into. They have what any pod with a mounted identity has.
const clientPods = `
apiVersion: v1
kind: Pod
metadata: {name: go-admin, namespace: default, labels: {app: client}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true}
  containers:
    - name: client
      image: signet.test/goclient:dev
      imagePullPolicy: Never
      env: [{name: KAFKA_CLIENT_JSON, value: /etc/kafka-client/kafka.json}]
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: identity, mountPath: /etc/kafka-client}]
  volumes: [{name: identity, secret: {secretName: signet-admin}}]
---
apiVersion: v1
kind: Pod
metadata: {name: go-orders, namespace: default, labels: {app: client}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true}
  containers:
    - name: client
      image: signet.test/goclient:dev
      imagePullPolicy: Never
      env: [{name: KAFKA_CLIENT_JSON, value: /etc/kafka-client/kafka.json}]
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: identity, mountPath: /etc/kafka-client}]
  volumes: [{name: identity, secret: {secretName: shop-orders}}]
---
apiVersion: v1
kind: Pod
metadata: {name: java-admin, namespace: default, labels: {app: client}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true}
  containers:
    - name: client
      image: signet.test/javaclient:dev
      imagePullPolicy: Never
      env: [{name: KAFKA_CLIENT_CONFIG, value: /etc/kafka-client/client.properties}]
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: identity, mountPath: /etc/kafka-client}]
  volumes: [{name: identity, secret: {secretName: signet-admin}}]
---
apiVersion: v1
kind: Pod
metadata: {name: kcat-admin, namespace: default, labels: {app: client}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true}
  containers:
    - name: client
      image: signet.test/kcat:dev
      imagePullPolicy: Never
      command: [sleep, "100000"]
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: identity, mountPath: /etc/kafka-client}]
  volumes: [{name: identity, secret: {secretName: signet-admin}}]
`

// clientCA stands for the CA that signs clients and for what is told to the broker about them.
type clientCA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newClientCA(t *testing.T) *clientCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &clientCA{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// clientKey makes a private key and a certificate signing request in PEM.
func clientKey(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})
}

// files returns a client's certificate and key and the configuration of each kind of client, for a directory that is
// mounted at /etc/kafka-client.
func (ca *clientCA) files(t *testing.T, namespace, name string, brokerCA []byte) map[string][]byte {
	t.Helper()
	key, _ := clientKey(t)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"signet"}, OrganizationalUnit: []string{namespace}, CommonName: name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:      []*url.URL{{Scheme: "spiffe", Host: "signet.test", Path: "/user/" + namespace + "/" + name}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	const dir = "/etc/kafka-client/"
	config, err := json.Marshal(map[string]any{
		"bootstrapServers": []string{"kafka.kafka.svc:9093"}, "securityProtocol": "SSL",
		"caFile": dir + "ca.crt", "certFile": dir + "tls.crt", "keyFile": dir + "tls.key",
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"ca.crt": brokerCA, "tls.crt": certificate, "tls.key": private, "keystore.pem": append(bytes.Clone(private), certificate...),
		"kafka.json": config,
		"client.properties": []byte("bootstrap.servers=kafka.kafka.svc:9093\nsecurity.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=" + dir + "keystore.pem\n" +
			"ssl.truststore.type=PEM\nssl.truststore.location=" + dir + "ca.crt\n"),
		"librdkafka.conf": []byte("bootstrap.servers=kafka.kafka.svc:9093\nsecurity.protocol=ssl\nssl.ca.location=" + dir + "ca.crt\n" +
			"ssl.certificate.location=" + dir + "tls.crt\nssl.key.location=" + dir + "tls.key\n"),
	}
}

func (ca *clientCA) mountedSecret(t *testing.T, namespace, name string, brokerCA []byte) string {
	t.Helper()
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"name": namespace + "-" + name, "namespace": "default"},
		"data": ca.files(t, namespace, name, brokerCA),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(secret)
}

func (ca *clientCA) writeDir(t *testing.T, dir, namespace, name string, brokerCA []byte) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, content := range ca.files(t, namespace, name, brokerCA) {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// brokerConfigMap is what Signet's controller writes for a KafkaCluster, made by hand.
func (ca *clientCA) brokerConfigMap() string {
	const rules = `RULE:^CN=([a-z0-9-]+),OU=([a-z0-9-]+),O=signet$/$2.$1/`
	var properties strings.Builder
	for _, listener := range []string{"mtls", "external"} {
		prefix := "listener.name." + listener + "."
		fmt.Fprintf(&properties, "%sssl.truststore.type=PEM\n%sssl.truststore.location=/etc/kafka-signet/client-ca.pem\n%sssl.principal.mapping.rules=%s\n", prefix, prefix, prefix, rules)
	}
	properties.WriteString("super.users=User:signet.admin\n")
	object, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": "kafka-signet-broker", "namespace": "kafka"},
		"data": map[string]string{"client-ca.pem": string(ca.pem), "ssl.principal.mapping.rules": rules, "server.properties": properties.String()},
	})
	if err != nil {
		panic(err) // strings only
	}
	return string(object)
}

const meshPods = `
apiVersion: v1
kind: Namespace
metadata: {name: mesh, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: mesh}
spec: {selector: {app: server}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: mesh, labels: {app: server}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: server, image: "signet.test/kcat:dev", imagePullPolicy: Never, command: [httpd, -f, -p, "8080", -h, /etc]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: mesh, labels: {app: client}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: client, image: "signet.test/kcat:dev", imagePullPolicy: Never, command: [sleep, "100000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: outsider, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: client, image: "signet.test/kcat:dev", imagePullPolicy: Never, command: [sleep, "100000"]}
`

const strictMTLS = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: mesh}
spec: {mtls: {mode: STRICT}}
`

func (c *addonCluster) testIstio(t *testing.T) {
	block, _ := pem.Decode(c.secret(t, "istio-system", "istio-ca-secret", "ca-cert.pem"))
	if block == nil {
		t.Fatal("istio-ca-secret holds no certificate")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !ca.IsCA {
		t.Fatalf("istio-ca-secret: CA %v, %v", ca != nil && ca.IsCA, err)
	}
	if key, _ := pem.Decode(c.secret(t, "istio-system", "istio-ca-secret", "ca-key.pem")); key == nil {
		t.Error("istio-ca-secret holds no key")
	}

	c.kubectl(t, meshPods, "apply", "-f", "-")
	for namespace, pods := range map[string][]string{"mesh": {"pod/server", "pod/client"}, "default": {"pod/outsider"}} {
		if out, err := c.try(t.Context(), "", append([]string{"-n", namespace, "wait", "--for=condition=Ready", "--timeout=120s"}, pods...)...); err != nil {
			t.Fatalf("%v\n%s%s", err, out, podReport(t.Context(), &Cluster{Info: c.Info}, namespace))
		}
	}
	sidecar := c.kubectl(t, "", "-n", "mesh", "get", "pod", "server", "-o", "jsonpath={.spec.initContainers[?(@.name=='istio-proxy')].restartPolicy}")
	if sidecar != "Always" {
		t.Errorf("istio-proxy is no native sidecar: restart policy %q", sidecar)
	}
	// No wget -T: it crashes in Debian 12's busybox.
	fetch := func(namespace, pod string, accept func(string, error) bool) string {
		t.Helper()
		return c.retry(t, "", accept, "-n", namespace, "exec", pod, "-c", "client", "--", "timeout", "5", "wget", "-q", "-O", "-", "http://server.mesh.svc:8080/group")
	}
	answered := func(out string, err error) bool { return err == nil && strings.Contains(out, "nonroot") }
	// Permissive mode first: it proves that the outsider's way to the server works at all.
	fetch("default", "outsider", answered)
	fetch("mesh", "client", answered)
	c.retry(t, strictMTLS, succeeded, "apply", "-f", "-")
	refused := fetch("default", "outsider", func(_ string, err error) bool { return err != nil })
	if strings.Contains(refused, "nonroot") {
		t.Errorf("an answer without a mesh certificate: %q", refused)
	}
	fetch("mesh", "client", answered)
}
