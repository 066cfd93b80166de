// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/test/stack"
)

// ownedBy is the ownerReferences of an object that claims a controller.
func ownedBy(apiVersion, kind, name, uid string) string {
	return fmt.Sprintf("[{apiVersion: %s, kind: %s, name: %s, uid: %s, controller: true, blockOwnerDeletion: false}]", apiVersion, kind, name, uid)
}

// TestHandMadeCertificateRequest: whoever may create CertificateRequests gets nothing, whatever they claim to belong to,
// and the events say no more than the conditions.
func TestHandMadeCertificateRequest(t *testing.T) {
	t.Parallel()
	honest, _ := request(t, mine(), mySAN(t))
	certificate, user := uid(t, stage.home, "certificate", "mine-kafka-tls"), uid(t, stage.home, "kafkauser", "mine")
	for name, owners := range map[string]string{
		"plain":                    "[]",
		"owned by the Certificate": ownedBy("cert-manager.io/v1", "Certificate", "mine-kafka-tls", certificate),
		"owned by the KafkaUser":   ownedBy("kafka.signet.dev/v1alpha1", "KafkaUser", "mine", user),
	} {
		t.Run(name, func(t *testing.T) {
			a := handMadeRequestNamed(t, stage.home, unique("request"), owners, honest, "")
			a.denied(t)
			eventually(t, "an event says so", func() (bool, string) {
				notes := mustAs(t, mallory, "", "-n", stage.home, "get", "events", "--field-selector=involvedObject.name="+a.name+",reason=Denied", "-o", `jsonpath={range .items[*]}{.message}{"\n"}{end}`)
				return notes == a.reason+": "+opaque+"\n", notes
			})
		})
	}
	t.Run("under the name of cert-manager's next", func(t *testing.T) {
		a := handMadeRequestNamed(t, stage.home, "mine-kafka-tls-2", ownedBy("cert-manager.io/v1", "Certificate", "mine-kafka-tls", certificate), honest, "")
		// cert-manager removes it, for it never made it: maybe before Signet has looked at it.
		eventually(t, a.object()+" is denied, or gone", func() (bool, string) {
			gone := kubectl(t, "-n", a.namespace, "get", "certificaterequest", a.name, "--ignore-not-found", "-o", "name") == ""
			readAudit(t)
			denied := false
			for _, l := range audit(a.object()) {
				if l.Outcome == "issued" || l.Serial != "" {
					t.Errorf("the audit log says that it was issued: %+v", l)
				}
				denied = denied || l.Outcome == "denied" && l.Reason == a.reason
			}
			return denied || gone, fmt.Sprintf("%+v", audit(a.object()))
		})
		kubectl(t, "-n", stage.home, "delete", "certificaterequest", "mine-kafka-tls-2", "--ignore-not-found")
	})
	t.Run("with the user name of cert-manager", func(t *testing.T) {
		handMadeRequest(t, stage.home, honest, "username: "+certManager).denied(t)
	})
}

// TestHandMadeCertificate: a Certificate that Signet did not make gets nothing, although cert-manager itself asks for it.
func TestHandMadeCertificate(t *testing.T) {
	t.Parallel()
	spec := named("uris: [" + spiffeID(stage.home, "mine") + "]")
	user, victim := uid(t, stage.home, "kafkauser", "mine"), uid(t, stage.victim, "kafkauser", "orders")
	for name, owners := range map[string]string{
		"plain":                  "[]",
		"owned by the KafkaUser": ownedBy("kafka.signet.dev/v1alpha1", "KafkaUser", "mine", user),
	} {
		t.Run(name, func(t *testing.T) { handMadeCertificate(t, stage.home, owners, spec).denied(t) })
	}
	// An owner that there is not in the namespace makes the garbage collector take the Certificate away.
	for name, owners := range map[string]string{
		"owned by the victim":       ownedBy("kafka.signet.dev/v1alpha1", "KafkaUser", "orders", victim),
		"owned by the victim's UID": ownedBy("kafka.signet.dev/v1alpha1", "KafkaUser", "mine", victim),
		"owned by another kind":     ownedBy("v1", "ConfigMap", "mine", user),
	} {
		t.Run(name, func(t *testing.T) { collected(t, unique("certificate"), owners, spec) })
	}
	t.Run("named as the victim's", func(t *testing.T) {
		collected(t, "orders-kafka-tls", ownedBy("kafka.signet.dev/v1alpha1", "KafkaUser", "orders", victim),
			"literalSubject: CN=orders,OU="+stage.victim+",O=signet\nuris: ["+spiffeID(stage.victim, "orders")+"]")
	})
	honestSecrets(t, stage.home)
	t.Run("its request handed to Signet's Certificate", func(t *testing.T) {
		a := handMadeCertificate(t, stage.home, "[]", spec)
		certificate := uid(t, stage.home, "certificate", "mine-kafka-tls")
		owner := fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"cert-manager.io/v1","kind":"Certificate","name":"mine-kafka-tls","uid":%q,"controller":true}]}}`, certificate)
		mustAs(t, mallory, "", "-n", stage.home, "patch", "certificaterequest", a.name, "--type=merge", "-p", owner)
		// cert-manager may remove it, for it never made it; the audit log keeps the decision, with the reason that it had
		// before where the controller was quicker than the patch.
		eventually(t, "the audit log says that it is denied", func() (bool, string) {
			readAudit(t)
			lines := audit(a.object())
			denied := false
			for _, l := range lines {
				if l.Outcome == "issued" || l.Serial != "" {
					t.Errorf("the audit log says that it was issued: %+v", l)
				}
				denied = denied || l.Outcome == "denied" && l.Requester == a.requester && (l.Reason == "NotFromCertificate" || l.Reason == "NotFromKafkaUser")
			}
			return denied, fmt.Sprintf("%+v", lines)
		})
	})
}

// collected makes a Certificate in the shared namespace and holds that, until the garbage collector takes it away, cert-manager
// asks in vain, if it does at all.
func collected(t *testing.T, name, owners, spec string) {
	t.Helper()
	handMadeCertificateNamed(t, stage.home, name, owners, spec)
	eventually(t, "certificate "+name+" is collected", func() (bool, string) {
		for _, r := range list(t, stage.home, "certificaterequest") {
			if r.Metadata.Annotations["cert-manager.io/certificate-name"] == name && r.Status.Certificate != "" {
				t.Errorf("CertificateRequest %s carries a certificate", r.Metadata.Name)
			}
		}
		out := kubectl(t, "-n", stage.home, "get", "certificate", name, "--ignore-not-found")
		return out == "", out
	})
	readAudit(t)
	for _, l := range audit("CertificateRequest " + stage.home + "/" + name + "-1") {
		if l.Outcome != "denied" || l.Serial != "" {
			t.Errorf("the audit log says %+v", l)
		}
	}
}

// TestTamperedCertificate: a Certificate of Signet's that somebody edits asks for nothing new, and is put right.
func TestTamperedCertificate(t *testing.T) {
	t.Parallel()
	ns := own(t, "orders")
	for name, spec := range map[string]string{
		"a DNS name":        `{"dnsNames":["istiod.istio-system.svc"]}`,
		"another's subject": fmt.Sprintf(`{"literalSubject":"CN=orders,OU=%s,O=signet"}`, stage.victim),
		"another's SPIFFE":  fmt.Sprintf(`{"uris":[%q]}`, spiffeID(stage.victim, "orders")),
		"the mesh's SPIFFE": fmt.Sprintf(`{"uris":[%q,%q]}`, spiffeID(ns, "orders"), istiod),
		"a CA":              `{"isCA":true,"usages":["cert sign","client auth"]}`,
		"server auth":       `{"usages":["server auth","client auth","digital signature"]}`,
		"ten years":         `{"duration":"87600h"}`,
		"another Secret":    `{"secretName":"stolen"}`,
	} {
		t.Run(name, func(t *testing.T) {
			read := []string{"-n", ns, "get", "certificate", "orders-kafka-tls", "-o", "jsonpath={.spec}"}
			before := kubectl(t, read...)
			mustAs(t, mallory, "", "-n", ns, "patch", "certificate", "orders-kafka-tls", "--type=merge", "-p", `{"spec":`+spec+`}`)
			eventually(t, "the Certificate is put right", func() (bool, string) {
				now := kubectl(t, read...)
				return now == before, now
			})
		})
	}
	readAudit(t)
	// Whatever cert-manager asked for in between was not signed, unless it was the honest thing.
	for _, r := range list(t, ns, "certificaterequest") {
		if r.Status.Certificate != "" {
			isHonest(t, decode(t, r.Status.Certificate), ns, "orders", nil, 24*time.Hour)
		}
		for _, l := range audit("CertificateRequest " + ns + "/" + r.Metadata.Name) {
			if l.Outcome == "issued" && (l.URI != spiffeID(ns, "orders") || l.Subject != "CN=orders,OU="+ns+",O=signet") {
				t.Errorf("issued: %+v", l)
			}
		}
	}
	for _, secret := range list(t, ns, "secret") {
		if text := secret.Data["tls.crt"]; text != "" {
			isHonest(t, decode(t, text), ns, "orders", nil, 24*time.Hour)
		}
	}
}

// TestKafkaUserOfAnotherNamespaceByAnnotation: an annotation is only a claim, whoever's KafkaUser it names.
func TestKafkaUserOfAnotherNamespaceByAnnotation(t *testing.T) {
	t.Parallel()
	der, _ := request(t, subjectOf(stage.victim, "orders"), san(t, uri(spiffeID(stage.victim, "orders"))))
	t.Run("CertificateSigningRequest", func(t *testing.T) {
		a := signingRequest(t, stage.victim+"/orders", der, "")
		a.reason, a.message = "SignNotPermitted", mayNotSign(stage.victim, "orders")
		a.denied(t)
	})
	for name, claim := range map[string]string{
		"two":         stage.home + "/mine," + stage.victim + "/orders",
		"by a path":   stage.home + "/../" + stage.victim + "/orders",
		"no slash":    "orders",
		"three parts": stage.victim + "/orders/mine",
		"empty":       "",
	} {
		t.Run("CertificateSigningRequest "+name, func(t *testing.T) {
			a := signingRequest(t, claim, der, "")
			a.reason, a.message = "KafkaUserNotNamed", "the annotation kafka.signet.dev/user must be <namespace>/<name> of a KafkaUser"
			a.denied(t)
		})
	}
	t.Run("CertificateRequest", func(t *testing.T) {
		a := handMadeRequest(t, stage.home, der, "")
		mustAs(t, mallory, "", "-n", stage.home, "annotate", "certificaterequest", a.name, "kafka.signet.dev/user="+stage.victim+"/orders")
		a.denied(t)
	})
	notOne := "kafka.signet.dev/user in userAnnotations of the volume must be the name of one KafkaUser in the pod's namespace, without the namespace"
	notExactly := "userAnnotations of the volume must be exactly kafka.signet.dev/user: <name of a KafkaUser in the pod's namespace>"
	for name, pod := range map[string]struct{ annotations, message string }{
		"the victim's":       {"{kafka.signet.dev/user: " + stage.victim + "/orders}", notOne},
		"by a path":          {"{kafka.signet.dev/user: ../" + stage.victim + "/orders}", notOne},
		"two":                {"{kafka.signet.dev/user: 'mine,orders'}", notOne},
		"a second key":       {"{kafka.signet.dev/user: mine, kafka.signet.dev/namespace: " + stage.victim + "}", notExactly},
		"a key of other use": {"{kafka.signet.dev/user: mine, example.com/subject: CN=orders}", notExactly},
		"none":               {"{}", notExactly},
	} {
		t.Run("podCertificate volume "+name, func(t *testing.T) {
			a := kubeletAsks(t, pod.annotations)
			a.reason, a.message = "InvalidUnverifiedUserAnnotations", pod.message
			a.denied(t)
		})
	}
	t.Run("podCertificate volume of a name that only the victim has", func(t *testing.T) {
		a := kubeletAsks(t, "{kafka.signet.dev/user: orders}")
		a.reason = "KafkaUserNotFound"
		a.audited(t, "pending")
		a.unsigned(t, get(t, a.namespace, a.kind, a.name))
	})
}

func mayNotSign(namespace, user string) string {
	return fmt.Sprintf("%q may not sign kafkausers.kafka.signet.dev/%s in namespace %s", mallory, user, namespace)
}

// kubeletAsks starts a hand-made pod in the shared namespace and returns the kubelet's request for it.
func kubeletAsks(t *testing.T, annotations string) answer {
	t.Helper()
	pod := unique("pod")
	startPod(t, stage.home, pod, "default", annotations, "")
	t.Cleanup(func() {
		if out, ok := cleanup(t, "-n", stage.home, "delete", "pod", pod, "--wait=false"); !ok {
			t.Errorf("clean up: %s", out)
		}
	})
	a := answer{kind: "PodCertificateRequest", namespace: stage.home, requester: node}
	eventually(t, "the kubelet asks for pod "+pod, func() (bool, string) {
		for _, r := range list(t, stage.home, "podcertificaterequest") {
			if r.Spec.PodName == pod {
				a.name = r.Metadata.Name
				return true, ""
			}
		}
		return false, kubectl(t, "-n", stage.home, "describe", "pod", pod)
	})
	return a
}

// TestHandMadePodCertificateRequest: nobody but a node makes one, a node only for its own pods that mount such a volume,
// and a pod gets no KafkaUser that is for another service account.
func TestHandMadePodCertificateRequest(t *testing.T) {
	t.Parallel()
	empty, _ := request(t, nil)
	create := []string{"create", "--validate=false", "-f", "-"}
	honest := podRequestManifest(t, stage.home, unique("request"), carrier(t), "default", empty)
	t.Run("by a developer", func(t *testing.T) {
		forbidden(t, mallory, honest, `cannot create resource "podcertificaterequests"`, create...)
	})
	t.Run("by the pod's service account", func(t *testing.T) {
		forbidden(t, "system:serviceaccount:"+stage.home+":default", honest, `cannot create resource "podcertificaterequests"`, create...)
	})
	t.Run("status written by a developer", func(t *testing.T) {
		forbidden(t, mallory, "", "podcertificaterequests/status", "-n", stage.home, "patch", "podcertificaterequest", podRequest(t, empty).name, "--subresource=status", "--type=merge", "-p", `{"status":{"certificateChain":"x"}}`)
	})
	trusted, bare, bound := unique("trusted"), unique("bare"), unique("bound")
	kubectl(t, "-n", stage.home, "create", "serviceaccount", trusted)
	apply(t, fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s}\nspec:\n  automountServiceAccountToken: false\n  containers: [{name: app, image: %s, imagePullPolicy: Never, args: [sleep]}]\n", bare, stage.home, stack.ImageGo))
	kubectl(t, "-n", stage.home, "wait", "--for=condition=PodScheduled", "pod/"+bare, "--timeout=60s")
	t.Run("of a node for a pod with no such volume", func(t *testing.T) {
		forbidden(t, node, podRequestManifest(t, stage.home, unique("request"), bare, "default", empty), "does not mount a podCertificate projected volume", create...)
	})
	t.Run("of a node for another service account", func(t *testing.T) {
		forbidden(t, node, podRequestManifest(t, stage.home, unique("request"), carrier(t), trusted, empty), "that differs from running pod", create...)
	})
	t.Run("of a node for another node", func(t *testing.T) {
		forbidden(t, node, strings.Replace(honest, "nodeName: node1", "nodeName: node2", 1), "which is not the requesting node", create...)
	})
	t.Run("of a node that asks for the key of another", func(t *testing.T) {
		stolen := decode(t, get(t, stage.victim, "certificaterequest", "orders-kafka-tls-1").Spec.Request)
		a := podRequest(t, derOf(t, stolen))
		a.denied(t)
	})
	t.Run("of a node with a key that it does not hold", func(t *testing.T) {
		forged := slices.Clone(empty)
		forged[len(forged)-1] ^= 1 // the end of the signature
		forbidden(t, node, podRequestManifest(t, stage.home, unique("request"), carrier(t), "default", forged), "invalid signature", create...)
	})
	mustAs(t, mallory, kafkaUserManifest(stage.home, bound, "workload: {serviceAccountName: "+trusted+"}"), "create", "-f", "-")
	kubectl(t, "-n", stage.home, "wait", "--for=condition=Ready", "kafkauser/"+bound, "--timeout=60s")
	t.Run("of a pod of another service account", func(t *testing.T) {
		a := kubeletAsks(t, "{kafka.signet.dev/user: "+bound+"}")
		a.reason = "ServiceAccountNotAllowed"
		a.denied(t)
	})
	t.Run("and the honest one is signed", func(t *testing.T) {
		pod := unique("honest")
		startPod(t, stage.home, pod, trusted, "{kafka.signet.dev/user: "+bound+"}", "")
		isHonest(t, podChain(t, pod), stage.home, bound, nil, time.Hour)
	})
}

// TestStatusIsNotTheUsers: whoever may write KafkaUsers cannot make another's principal theirs by what they write.
func TestStatusIsNotTheUsers(t *testing.T) {
	t.Parallel()
	ns := own(t)
	thief := func(claim string) string {
		return kafkaUserManifest(ns, "thief", fmt.Sprintf("externalSubjects: [%q]", claim))
	}
	forbidden(t, mallory, thief("CN=orders,OU="+stage.victim+",O=signet"), "that of KafkaUser "+stage.victim+"/orders and nobody else's", "create", "-f", "-")
	// An external subject counts once it is approved.
	claim := "CN=" + ns + ",O=Acme"
	mustAs(t, mallory, thief(claim), "create", "-f", "-")
	kubectl(t, "-n", ns, "wait", "--for=condition=MappingRecorded", "kafkauser/thief", "--timeout=60s")
	mapping := get(t, "kafka", "principalmapping", ns+".thief")
	if len(mapping.Status.PendingSubjects) != 1 {
		t.Errorf("the claim counts without an administrator: %+v", mapping.Status)
	}
	forbidden(t, mallory, "", "forbidden", "-n", ns, "patch", "kafkauser", "thief", "--subresource=status", "--type=merge", "-p", fmt.Sprintf(`{"status":{"principal":"User:%s.orders"}}`, stage.victim))
	approval := fmt.Sprintf(`{"spec":{"approvedSubjects":[%q]}}`, claim)
	forbidden(t, mallory, "", "forbidden", "-n", "kafka", "patch", "principalmapping", ns+".thief", "--type=merge", "-p", approval)
	kubectl(t, "-n", "kafka", "patch", "principalmapping", ns+".thief", "--type=merge", "-p", approval)
	eventually(t, "the approved subject counts", func() (bool, string) {
		mapping := get(t, "kafka", "principalmapping", ns+".thief")
		return mapping.Status.Effective == 3 && len(mapping.Status.PendingSubjects) == 0, fmt.Sprintf("%+v", mapping.Status)
	})
}

// derOf is the DER of a PEM certificate request.
func derOf(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no PEM: %q", text)
	}
	return block.Bytes
}
