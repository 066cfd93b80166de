// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/test/stack"
)

// TestSignWithoutTheRight: whoever may do anything to a KafkaUser but sign for it gets nothing, and the answer is the same
// whether the KafkaUser exists or not.
func TestSignWithoutTheRight(t *testing.T) {
	t.Parallel()
	ns := own(t, "orders")
	// The right in one namespace, or for another resource, is none in the other.
	apply(t, signer(stage.home, "orders")+strings.NewReplacer("resources: [kafkausers]", "resources: [kafkausers/status, kafkatopics]", "name: sign-", "name: near-").Replace(signer(ns, "orders")))
	der, _ := request(t, nil)
	for name, user := range map[string]struct{ namespace, name string }{
		"one that she may edit":      {ns, "orders"},
		"the victim's":               {stage.victim, "orders"},
		"one that does not exist":    {stage.victim, "nobody"},
		"a namespace that is absent": {"nowhere", "orders"},
	} {
		t.Run(name, func(t *testing.T) {
			a := signingRequest(t, user.namespace+"/"+user.name, der, "")
			a.reason, a.message = "SignNotPermitted", mayNotSign(user.namespace, user.name)
			a.denied(t)
		})
	}
}

// TestSignForAnotherUser: the right to sign for one KafkaUser is none for another one, and none for what the request asks
// for on top of its claim.
func TestSignForAnotherUser(t *testing.T) {
	t.Parallel()
	other := unique("other")
	mustAs(t, mallory, kafkaUserManifest(stage.home, other, "consume: []"), "create", "-f", "-")
	kubectl(t, "-n", stage.home, "wait", "--for=condition=Ready", "kafkauser/"+other, "--timeout=60s")
	whole, _ := request(t, subjectOf(stage.home, other), san(t, uri(spiffeID(stage.home, other))))
	t.Run("claimed", func(t *testing.T) {
		a := signingRequest(t, stage.home+"/"+other, whole, "")
		a.reason, a.message = "SignNotPermitted", mayNotSign(stage.home, other)
		a.denied(t)
	})
	t.Run("asked for", func(t *testing.T) {
		signingRequest(t, stage.home+"/mine", whole, "").denied(t)
	})
	t.Run("and for her own she may", func(t *testing.T) {
		der, key := request(t, nil)
		isHonest(t, signingRequest(t, stage.home+"/mine", der, "").issued(t), stage.home, "mine", key, 24*time.Hour)
	})
}

// TestStolenOldRequest: an old request of another's is worth nothing in other hands: neither its text nor its name.
func TestStolenOldRequest(t *testing.T) {
	t.Parallel()
	stolen := derOf(t, decode(t, get(t, stage.victim, "certificaterequest", "orders-kafka-tls-1").Spec.Request))
	t.Run("CertificateRequest", func(t *testing.T) {
		handMadeRequest(t, stage.home, stolen, "").denied(t)
	})
	t.Run("CertificateSigningRequest", func(t *testing.T) {
		a := signingRequest(t, stage.home+"/mine", stolen, "")
		a.reason = "KeyReused"
		a.denied(t)
	})
	t.Run("CertificateSigningRequest for its owner", func(t *testing.T) {
		a := signingRequest(t, stage.victim+"/orders", stolen, "")
		a.reason, a.message = "SignNotPermitted", mayNotSign(stage.victim, "orders")
		a.denied(t)
	})
	t.Run("made anew under its name", func(t *testing.T) {
		ns := own(t, "orders")
		old := get(t, ns, "certificaterequest", "orders-kafka-tls-1")
		certificate := uid(t, ns, "certificate", "orders-kafka-tls")
		mustAs(t, mallory, "", "-n", ns, "delete", "certificaterequest", old.Metadata.Name)
		owners := ownedBy("cert-manager.io/v1", "Certificate", "orders-kafka-tls", certificate)
		a := handMadeRequestNamed(t, ns, old.Metadata.Name, owners, derOf(t, decode(t, old.Spec.Request)), "")
		a.again = true
		a.denied(t)
	})
}

// TestApprovalBySomebodyElse: an approval, whoever gave it, makes nothing of a request that is not entitled. It stops Signet
// for a while, and so runs alone.
func TestApprovalBySomebodyElse(t *testing.T) {
	ns := own(t, "orders")
	apply(t, signer(ns, "orders"))
	approve := fmt.Sprintf(`{"status":{"conditions":[{"type":"Approved","status":"True","reason":"Trust","message":"me","lastTransitionTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
	t.Run("CertificateSigningRequest", func(t *testing.T) {
		// A suspended KafkaUser's request waits; in that time it is approved, and the right to sign is taken away.
		kubectl(t, "-n", ns, "patch", "kafkauser", "orders", "--type=merge", "-p", `{"spec":{"suspend":true}}`)
		der, _ := request(t, nil)
		a := signingRequest(t, ns+"/orders", der, "")
		a.reason = "Suspended"
		a.audited(t, "pending")
		forbidden(t, mallory, "", "forbidden", "certificate", "approve", a.name)
		kubectl(t, "certificate", "approve", a.name)
		kubectl(t, "-n", ns, "delete", "role", "sign-orders")
		kubectl(t, "-n", ns, "patch", "kafkauser", "orders", "--type=merge", "-p", `{"spec":{"suspend":false}}`)
		a.reason, a.message = "SignNotPermitted", mayNotSign(ns, "orders")
		a.failed(t, "Failed")
	})
	t.Run("CertificateRequest", func(t *testing.T) {
		// While Signet is away somebody who may approve for its signer approves what mallory made.
		apply(t, approver)
		t.Cleanup(func() {
			if out, ok := cleanup(t, "delete", "clusterrole,clusterrolebinding", "signet-attack-approver"); !ok {
				t.Errorf("clean up: %s", out)
			}
		})
		away(t)
		der, _ := request(t, mine(), mySAN(t))
		a := handMadeRequest(t, ns, der, "")
		forbidden(t, mallory, "", "forbidden", "-n", ns, "patch", "certificaterequest", a.name, "--subresource=status", "--type=merge", "-p", approve)
		mustAs(t, "eve", "", "-n", ns, "patch", "certificaterequest", a.name, "--subresource=status", "--type=merge", "-p", approve)
		back(t)
		a.failed(t, "InvalidRequest")
	})
}

// failed waits until a request that was approved is refused all the same.
func (a answer) failed(t *testing.T, conditionType string) {
	t.Helper()
	var o object
	eventually(t, a.object()+" fails", func() (bool, string) {
		o = get(t, a.namespace, a.kind, a.name)
		return o.condition(conditionType).Status == "True", fmt.Sprintf("%+v", o.Status)
	})
	if c := o.condition(conditionType); c.Reason != a.reason || c.Message != a.text() || o.condition("Approved").Status != "True" {
		t.Errorf("%s: %+v, want %s: %q beside the approval", a.object(), o.Status.Conditions, a.reason, a.text())
	}
	a.unsigned(t, o)
	a.audited(t, "denied")
}

// approver lets eve approve requests for every MeshIssuer.
const approver = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: signet-attack-approver}
rules:
- {apiGroups: [cert-manager.io], resources: [signers], resourceNames: ["meshissuers.kafka.signet.dev/*"], verbs: [approve]}
- {apiGroups: [cert-manager.io], resources: [certificaterequests, certificaterequests/status], verbs: [get, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: signet-attack-approver}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: signet-attack-approver}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}]
`

// away stops Signet's controller until back, or the end of the test.
func away(t *testing.T) {
	t.Helper()
	replicas := kubectl(t, "-n", stack.Namespace, "get", "deployment", "signet-controller", "-o", "jsonpath={.spec.replicas}")
	t.Cleanup(func() {
		if out, ok := cleanup(t, "-n", stack.Namespace, "scale", "deployment", "signet-controller", "--replicas="+replicas); !ok {
			t.Errorf("clean up: %s", out)
		}
		if out, ok := cleanup(t, "-n", stack.Namespace, "rollout", "status", "deployment", "signet-controller", "--timeout=60s"); !ok {
			t.Errorf("clean up: %s", out)
		}
	})
	kubectl(t, "-n", stack.Namespace, "scale", "deployment", "signet-controller", "--replicas=0")
	kubectl(t, "-n", stack.Namespace, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=controller", "--timeout=60s")
}

// back starts one of them again.
func back(t *testing.T) {
	t.Helper()
	kubectl(t, "-n", stack.Namespace, "scale", "deployment", "signet-controller", "--replicas=1")
}

// TestTheGuidesHole is why Signet is there. Guides to Kafka with the mesh CA copy that CA into a ClusterIssuer of the type
// ca. There, a developer of any namespace becomes any workload of the mesh, by the same request that gets nothing of a
// MeshIssuer with the same CA.
func TestTheGuidesHole(t *testing.T) {
	t.Parallel()
	ca := get(t, "istio-system", "secret", "istio-ca-secret").Data
	apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: mesh-ca-copy, namespace: cert-manager}
type: kubernetes.io/tls
data: {tls.crt: %s, tls.key: %s}
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: guide}
spec: {ca: {secretName: mesh-ca-copy}}
`, ca["ca-cert.pem"], ca["ca-key.pem"]))
	t.Cleanup(func() {
		for _, args := range [][]string{{"delete", "clusterissuer", "guide"}, {"-n", "cert-manager", "delete", "secret", "mesh-ca-copy"}} {
			if out, ok := cleanup(t, args...); !ok {
				t.Errorf("clean up: %s", out)
			}
		}
	})
	kubectl(t, "wait", "--for=condition=Ready", "clusterissuer/guide", "--timeout=60s")
	ns := own(t)
	const certificate = `
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  secretName: %[1]s
  uris: [%[3]q]
  usages: [client auth, digital signature]
  issuerRef: {group: %[4]s, kind: %[5]s, name: %[6]s}
`
	der, _ := request(t, nil, san(t, uri(istiod)))
	const certificateRequest = `
apiVersion: cert-manager.io/v1
kind: CertificateRequest
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  request: %[3]s
  usages: [client auth, digital signature]
  issuerRef: {group: %[4]s, kind: %[5]s, name: %[6]s}
`
	text := base64.StdEncoding.EncodeToString(encodeRequest(der))
	t.Run("ClusterIssuer", func(t *testing.T) {
		mustAs(t, mallory, fmt.Sprintf(certificate, "guide", ns, istiod, "cert-manager.io", "ClusterIssuer", "guide"), "create", "-f", "-")
		mustAs(t, mallory, fmt.Sprintf(certificateRequest, "guide-by-hand", ns, text, "cert-manager.io", "ClusterIssuer", "guide"), "create", "-f", "-")
		for kind, name := range map[string]string{"certificate": "guide", "certificaterequest": "guide-by-hand"} {
			mustAs(t, mallory, "", "-n", ns, "wait", "--for=condition=Ready", kind+"/"+name, "--timeout=60s")
		}
		isMeshWorkload(t, decode(t, mustAs(t, mallory, "", "-n", ns, "get", "secret", "guide", "-o", `jsonpath={.data.tls\.crt}`)))
		isMeshWorkload(t, decode(t, mustAs(t, mallory, "", "-n", ns, "get", "certificaterequest", "guide-by-hand", "-o", `jsonpath={.status.certificate}`)))
	})
	t.Run("MeshIssuer", func(t *testing.T) {
		mustAs(t, mallory, fmt.Sprintf(certificate, "signet", ns, istiod, "kafka.signet.dev", "MeshIssuer", "mesh"), "create", "-f", "-")
		asked(t, ns, "signet").denied(t)
		mustAs(t, mallory, fmt.Sprintf(certificateRequest, "signet-by-hand", ns, text, "kafka.signet.dev", "MeshIssuer", "mesh"), "create", "-f", "-")
		answer{kind: "CertificateRequest", namespace: ns, name: "signet-by-hand", requester: mallory, reason: "RequesterNotCertManager"}.denied(t)
	})
}

// isMeshWorkload holds that every workload of the mesh takes the bearer of this certificate for istiod.
func isMeshWorkload(t *testing.T, text string) {
	t.Helper()
	chain := parseChain(t, text)
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: meshRoots(t), Intermediates: pool(chain[1:]), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the mesh does not trust it: %v", err)
	}
	if len(chain[0].URIs) != 1 || chain[0].URIs[0].String() != istiod {
		t.Errorf("it is %v, want %s", chain[0].URIs, istiod)
	}
}
