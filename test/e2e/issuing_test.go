// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// certificateRequest is a CSR, base64 of PEM, for the subject and URIs.
func certificateRequest(t *testing.T, subject pkix.Name, uris ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{Subject: subject}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, parsed)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// intruder gives a user everything that a namespace's developers usually have for certificates, and returns the
// kubectl flags that make one be that user.
func intruder(t *testing.T, ns string) []string {
	t.Helper()
	apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: developer, namespace: %[1]s}
rules:
- {apiGroups: [cert-manager.io], resources: [certificates, certificaterequests], verbs: ["*"]}
- {apiGroups: [kafka.signet.dev], resources: [kafkausers], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: developer, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: developer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}]
`, ns)
	return []string{"--as=mallory", "-n", ns}
}

// TestHandMadeCertificateRequestIsDenied: whoever may create CertificateRequests gets nothing signed by the mesh CA,
// whatever the request claims.
func TestHandMadeCertificateRequestIsDenied(t *testing.T) {
	ns := namespace(t, "attack")
	kafkaUser(t, ns, "orders", "consume: []")
	user := waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	as := intruder(t, ns)
	certificate, _ := get(t, ns, "certificate", "orders-kafka-tls")
	owned := func(apiVersion, kind, name, uid string) string {
		return fmt.Sprintf("[{apiVersion: %s, kind: %s, name: %s, uid: %s, controller: true, blockOwnerDeletion: false}]", apiVersion, kind, name, uid)
	}
	own := pkix.Name{CommonName: "orders", OrganizationalUnit: []string{ns}, Organization: []string{"signet"}}
	for name, request := range map[string]struct{ owner, csr string }{
		"plain":                      {"[]", certificateRequest(t, own)},
		"owned-by-the-certificate":   {owned("cert-manager.io/v1", "Certificate", "orders-kafka-tls", certificate.Metadata.UID), certificateRequest(t, own, "spiffe://kafka.signet.dev/user/"+ns+"/orders")},
		"owned-by-the-kafkauser":     {owned("kafka.signet.dev/v1alpha1", "KafkaUser", "orders", user.Metadata.UID), certificateRequest(t, own)},
		"a-mesh-workload":            {"[]", certificateRequest(t, pkix.Name{}, "spiffe://cluster.local/ns/istio-system/sa/istiod")},
		"signets-own-admin-identity": {"[]", certificateRequest(t, pkix.Name{CommonName: "kafka", OrganizationalUnit: []string{"kafka"}, Organization: []string{"signet-controller"}})},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Kubectl(t.Context(), fmt.Sprintf(`
apiVersion: cert-manager.io/v1
kind: CertificateRequest
metadata:
  name: %s
  ownerReferences: %s
  annotations: {cert-manager.io/certificate-name: orders-kafka-tls, cert-manager.io/certificate-revision: "1"}
spec:
  request: %s
  usages: [client auth, digital signature]
  issuerRef: {group: kafka.signet.dev, kind: MeshIssuer, name: mesh}
`, name, request.owner, request.csr), append(as, "create", "-f", "-")...); err != nil {
				t.Fatal(err)
			}
			waitDenied(t, ns, name)
		})
	}
}

// waitDenied waits until the request is Denied, and fails where anything was signed.
func waitDenied(t *testing.T, ns, name string) {
	t.Helper()
	eventually(t, "certificaterequest "+name+" is denied", func() (bool, string) {
		out := kubectl(t, "-n", ns, "get", "certificaterequest", name, "-o", `jsonpath={.status.conditions[?(@.type=="Denied")].status} {.status.conditions[*].reason} {.status.conditions[*].message}`)
		return strings.HasPrefix(out, "True"), out
	})
	if signed := kubectl(t, "-n", ns, "get", "certificaterequest", name, "-o", "jsonpath={.status.certificate}"); signed != "" {
		t.Errorf("a denied request carries a certificate")
	}
}

// TestHandMadeCertificateIsDenied: a Certificate that Signet did not make gets nothing, although cert-manager itself
// asks for it.
func TestHandMadeCertificateIsDenied(t *testing.T) {
	ns := namespace(t, "attack")
	kafkaUser(t, ns, "orders", "consume: []")
	user := waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	as := intruder(t, ns)
	for name, owner := range map[string]string{
		"mine":  "[]",
		"yours": fmt.Sprintf("[{apiVersion: kafka.signet.dev/v1alpha1, kind: KafkaUser, name: orders, uid: %s, controller: true}]", user.Metadata.UID),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Kubectl(t.Context(), fmt.Sprintf(`
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: %[1]s, ownerReferences: %[2]s}
spec:
  secretName: %[1]s
  literalSubject: CN=orders,OU=%[3]s,O=signet
  uris: ["spiffe://kafka.signet.dev/user/%[3]s/orders"]
  usages: [client auth, digital signature]
  issuerRef: {group: kafka.signet.dev, kind: MeshIssuer, name: mesh}
`, name, owner, ns), append(as, "create", "-f", "-")...); err != nil {
				t.Fatal(err)
			}
			var request string
			eventually(t, "cert-manager asks for "+name, func() (bool, string) {
				request = strings.TrimSpace(kubectl(t, "-n", ns, "get", "certificaterequest", "-o", fmt.Sprintf(`jsonpath={.items[?(@.metadata.annotations.cert-manager\.io/certificate-name==%q)].metadata.name}`, name)))
				return request != "", kubectl(t, "-n", ns, "get", "certificaterequest")
			})
			waitDenied(t, ns, request)
			if out := kubectl(t, "-n", ns, "get", "secret", name, "--ignore-not-found", "-o", `jsonpath={.data.tls\.crt}`); out != "" {
				t.Errorf("the Secret holds a certificate")
			}
		})
	}
}

// TestTamperedCertificateIsNotSigned: a Certificate of Signet's that somebody edits asks for nothing new.
func TestTamperedCertificateIsNotSigned(t *testing.T) {
	ns := namespace(t, "tamper")
	kafkaUser(t, ns, "orders", "consume: []")
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	as := intruder(t, ns)
	if _, err := s.Kubectl(t.Context(), "", append(as, "patch", "certificate", "orders-kafka-tls", "--type=merge", "-p", `{"spec":{"secretName":"stolen","dnsNames":["istiod.istio-system.svc"]}}`)...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Certificate is put right", func() (bool, string) {
		out := kubectl(t, "-n", ns, "get", "certificate", "orders-kafka-tls", "-o", "jsonpath={.spec.secretName} {.spec.dnsNames}")
		return strings.TrimSpace(out) == "orders-kafka-tls", out
	})
	for line := range strings.Lines(kubectl(t, "-n", ns, "get", "secret", "stolen", "--ignore-not-found", "-o", `jsonpath={.data.tls\.crt}`)) {
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if leaf := parseCertificate(t, string(decoded)); len(leaf.DNSNames) > 0 {
			t.Errorf("a DNS name was signed: %v", leaf.DNSNames)
		}
	}
}

// TestStatusIsNotTheUsers: whoever may write KafkaUsers cannot make another's principal theirs by what they write.
func TestStatusIsNotTheUsers(t *testing.T) {
	ns := namespace(t, "claims")
	victim := namespace(t, "victim")
	kafkaUser(t, victim, "orders", "consume: []")
	waitCondition(t, victim, "kafkauser", "orders", "Ready", "True", "")
	// An external subject counts once it is approved; another KafkaUser's own cannot even be claimed.
	thief := "\napiVersion: kafka.signet.dev/v1alpha1\nkind: KafkaUser\nmetadata: {name: thief, namespace: %s}\nspec:\n  clusterRef: {name: kafka, namespace: kafka}\n  externalSubjects: [\"CN=orders,OU=%s,O=signet\"]\n"
	if said := refused(t, thief, ns, victim); !strings.Contains(said, "that of KafkaUser "+victim+"/orders and nobody else's") {
		t.Errorf("the API server says %q", said)
	}
	kafkaUser(t, ns, "thief", fmt.Sprintf(`externalSubjects: ["CN=%s,O=Acme"]`, ns))
	waitCondition(t, ns, "kafkauser", "thief", "MappingRecorded", "True", "")
	mapping, _ := get(t, "kafka", "principalmapping", ns+".thief")
	if len(mapping.Status.PendingSubjects) != 1 {
		t.Errorf("the claim counts without an administrator: %+v", mapping.Status)
	}
	kubectl(t, "-n", "kafka", "patch", "principalmapping", ns+".thief", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"approvedSubjects":["CN=%s,O=Acme"]}}`, ns))
	eventually(t, "the approved subject counts", func() (bool, string) {
		mapping, _ := get(t, "kafka", "principalmapping", ns+".thief")
		return mapping.Status.Effective == 3 && len(mapping.Status.PendingSubjects) == 0, fmt.Sprintf("%+v", mapping.Status)
	})
}
