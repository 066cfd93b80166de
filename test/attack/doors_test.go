// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signet-kafka/signet/test/stack"
)

// claim is what an attacker asks for: everything in a request is hers to fill.
type claim struct {
	name       string
	subject    pkix.RDNSequence
	extensions []pkix.Extension
	// spec are lines of a CertificateRequest's spec that say the same, because cert-manager's webhook compares.
	spec string
	// certificate is the same in the words of a cert-manager Certificate, lines of its spec; "" where it has none for it.
	certificate string
	// malformed tells that the API server itself refuses the request.
	malformed bool
}

// everyDoor tries the claims at every door, as mallory and for her own KafkaUser. First it makes all the requests and then
// it looks at the answers, so that the one waits for the other only once.
func everyDoor(t *testing.T, claims ...claim) {
	t.Helper()
	type waiting struct {
		name   string
		answer func(*testing.T) answer
	}
	var all []waiting
	add := func(c claim, door string, a func(*testing.T) answer) {
		all = append(all, waiting{c.name + "/" + door, a})
	}
	for _, c := range claims {
		der, _ := request(t, c.subject, c.extensions...)
		if c.malformed {
			forbidden(t, mallory, requestManifest(stage.home, unique("request"), "[]", der, c.spec), "duplicate requested extensions", "create", "-f", "-")
			forbidden(t, mallory, signingManifest(unique("signet-attack"), stage.home+"/mine", der, ""), "duplicate requested extensions", "create", "-f", "-")
			forbidden(t, node, podRequestManifest(t, stage.home, unique("request"), carrier(t), "default", der), "must be a valid PKCS#10 CSR", "create", "--validate=false", "-f", "-")
			continue
		}
		byHand, signing, pod := handMadeRequest(t, stage.home, der, c.spec), signingRequest(t, stage.home+"/mine", der, ""), podRequest(t, der)
		add(c, byHand.kind, func(*testing.T) answer { return byHand })
		add(c, signing.kind, func(*testing.T) answer { return signing })
		add(c, pod.kind, func(*testing.T) answer { return pod })
		if c.certificate != "" {
			name := unique("certificate")
			handMadeCertificateNamed(t, stage.home, name, "[]", c.certificate)
			add(c, "Certificate", func(t *testing.T) answer { return asked(t, stage.home, name) })
		}
	}
	for _, w := range all {
		t.Run(w.name, func(t *testing.T) { w.answer(t).denied(t) })
	}
	honestSecrets(t, stage.home)
}

// honestSecrets holds that the Secrets of a namespace hold no certificates but those of its KafkaUsers.
func honestSecrets(t *testing.T, namespace string) {
	t.Helper()
	for _, secret := range list(t, namespace, "secret") {
		if text := secret.Data["tls.crt"]; text != "" {
			user, ok := strings.CutSuffix(secret.Metadata.Name, "-kafka-tls")
			if !ok {
				t.Errorf("Secret %s/%s holds a certificate", namespace, secret.Metadata.Name)
			}
			isHonest(t, decode(t, text), namespace, user, nil, 24*time.Hour)
		}
	}
}

// handMadeRequest makes a CertificateRequest as mallory. more are further lines of its spec.
func handMadeRequest(t *testing.T, namespace string, der []byte, more string) answer {
	t.Helper()
	return handMadeRequestNamed(t, namespace, unique("request"), "[]", der, more)
}

func handMadeRequestNamed(t *testing.T, namespace, name, owners string, der []byte, more string) answer {
	t.Helper()
	mustAs(t, mallory, requestManifest(namespace, name, owners, der, more), "create", "-f", "-")
	// The webhook of cert-manager writes down who made it; what she says of that is overwritten.
	return answer{kind: "CertificateRequest", namespace: namespace, name: name, requester: mallory, reason: "RequesterNotCertManager"}
}

func requestManifest(namespace, name, owners string, der []byte, more string) string {
	return fmt.Sprintf(`
apiVersion: cert-manager.io/v1
kind: CertificateRequest
metadata:
  name: %s
  namespace: %s
  ownerReferences: %s
  annotations: {cert-manager.io/certificate-name: mine-kafka-tls, cert-manager.io/certificate-revision: "1"}
spec:
  request: %s
  issuerRef: {group: kafka.signet.dev, kind: MeshIssuer, name: mesh}
%s
`, name, namespace, owners, base64.StdEncoding.EncodeToString(encodeRequest(der)), specLines(more))
}

// specLines are lines of a spec, with the honest usages where they say nothing of them.
func specLines(more string) string {
	if !strings.Contains(more, "usages:") {
		more += "\nusages: [client auth, digital signature]"
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(more), "\n", "\n  ")
}

// handMadeCertificate makes a Certificate as mallory and waits until cert-manager asks for it. spec are lines without
// secretName and issuerRef.
func handMadeCertificate(t *testing.T, namespace, owners, spec string) answer {
	t.Helper()
	name := unique("certificate")
	handMadeCertificateNamed(t, namespace, name, owners, spec)
	return asked(t, namespace, name)
}

func handMadeCertificateNamed(t *testing.T, namespace, name, owners, spec string) {
	t.Helper()
	mustAs(t, mallory, fmt.Sprintf(`
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: %[1]s, namespace: %[2]s, ownerReferences: %[3]s}
spec:
  secretName: %[1]s
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {group: kafka.signet.dev, kind: MeshIssuer, name: mesh}
%[4]s
`, name, namespace, owners, specLines(spec)), "create", "-f", "-")
}

// asked returns the request that cert-manager makes for a Certificate.
func asked(t *testing.T, namespace, certificate string) answer {
	t.Helper()
	a := answer{kind: "CertificateRequest", namespace: namespace, requester: certManager, reason: "NotFromKafkaUser"}
	eventually(t, "cert-manager asks for certificate "+certificate, func() (bool, string) {
		for _, r := range list(t, namespace, "certificaterequest") {
			if r.Metadata.Annotations["cert-manager.io/certificate-name"] == certificate {
				a.name = r.Metadata.Name
				return true, ""
			}
		}
		return false, kubectl(t, "-n", namespace, "get", "certificate", certificate, "-o", "yaml")
	})
	return a
}

// signingRequest makes a CertificateSigningRequest as mallory, for the KafkaUser that the annotation claims. more are
// further lines of its spec.
func signingRequest(t *testing.T, claim string, der []byte, more string) answer {
	t.Helper()
	name := unique("signet-attack")
	leaves(&shared.requests, name)
	mustAs(t, mallory, signingManifest(name, claim, der, more), "create", "-f", "-")
	return answer{kind: "CertificateSigningRequest", name: name, requester: mallory, reason: "AsksForMore"}
}

func signingManifest(name, claim string, der []byte, more string) string {
	return fmt.Sprintf(`
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: %s, annotations: {kafka.signet.dev/user: %q}}
spec:
  request: %s
  signerName: kafka.signet.dev/mesh
%s
`, name, claim, base64.StdEncoding.EncodeToString(encodeRequest(der)), specLines(more))
}

// podRequest makes a PodCertificateRequest with the credentials of the node, for a pod of mallory's that runs there and has
// such a volume: all that the API server asks of a kubelet. The request is to be empty, which the API server does not check.
func podRequest(t *testing.T, der []byte) answer {
	t.Helper()
	name := unique("request")
	mustAs(t, node, podRequestManifest(t, stage.home, name, carrier(t), "default", der), "create", "--validate=false", "-f", "-")
	return answer{kind: "PodCertificateRequest", namespace: stage.home, name: name, requester: node, reason: "AsksForMore"}
}

func podRequestManifest(t *testing.T, namespace, name, pod, serviceAccount string, der []byte) string {
	t.Helper()
	return fmt.Sprintf(`
apiVersion: certificates.k8s.io/v1
kind: PodCertificateRequest
metadata: {name: %s, namespace: %s}
spec:
  signerName: kafka.signet.dev/mesh
  podName: %s
  podUID: %s
  serviceAccountName: %s
  serviceAccountUID: %s
  nodeName: node1
  nodeUID: %s
  maxExpirationSeconds: 86400
  unverifiedUserAnnotations: {kafka.signet.dev/user: mine}
  stubPKCS10Request: %s
`, name, namespace, pod, uid(t, namespace, "pod", pod), serviceAccount, uid(t, namespace, "serviceaccount", serviceAccount),
		uid(t, "", "node", "node1"), base64.StdEncoding.EncodeToString(der))
}

// carrier is the name of a running pod of mallory's with an honest volume, in the shared namespace.
func carrier(t *testing.T) string {
	t.Helper()
	carrying.Do(func() {
		startPod(t, stage.home, "carrier", "default", "{kafka.signet.dev/user: mine}", "")
		kubectl(t, "-n", stage.home, "wait", "--for=condition=Ready", "pod/carrier", "--timeout=60s")
	})
	return "carrier"
}

var carrying sync.Once

// startPod makes a pod as mallory, with a podCertificate volume of her own making. more are further fields of it.
func startPod(t *testing.T, namespace, name, serviceAccount, annotations, more string) {
	t.Helper()
	mustAs(t, mallory, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s}
spec:
  terminationGracePeriodSeconds: 1
  serviceAccountName: %s
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 4242, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: %s
    imagePullPolicy: Never
    args: [sleep]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: stolen, mountPath: /stolen}]
  volumes:
  - name: stolen
    projected:
      sources:
      - podCertificate: {signerName: kafka.signet.dev/mesh, keyType: ECDSAP256, credentialBundlePath: bundle.pem, userAnnotations: %s%s}
`, name, namespace, serviceAccount, stack.ImageGo, annotations, more), "create", "-f", "-")
}
