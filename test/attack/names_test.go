// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"
)

// mine is mallory's own subject.
func mine() pkix.RDNSequence { return subjectOf(stage.home, "mine") }

// mySAN is her own SPIFFE ID.
func mySAN(t *testing.T) pkix.Extension { return san(t, uri(spiffeID(stage.home, "mine"))) }

// literal is a Certificate's spec with a subject in RFC 2253 notation and her own SPIFFE ID.
func literal(subject string) string {
	return fmt.Sprintf("literalSubject: %q\nuris: [%q]", subject, spiffeID(stage.home, "mine"))
}

// named is a Certificate's spec with her own subject and further names.
func named(more string) string {
	return fmt.Sprintf("literalSubject: CN=mine,OU=%s,O=signet\n%s", stage.home, more)
}

// TestAnotherUsersSubject: nobody gets another KafkaUser's subject or SPIFFE ID, nor those of Signet itself.
func TestAnotherUsersSubject(t *testing.T) {
	t.Parallel()
	victim := subjectOf(stage.victim, "orders")
	controller := pkix.RDNSequence{printable(organization, "signet-controller"), printable(organizationalUnit, "kafka"), printable(commonName, "kafka")}
	everyDoor(t,
		claim{name: "subject", subject: victim, extensions: []pkix.Extension{mySAN(t)}, certificate: literal("CN=orders,OU=" + stage.victim + ",O=signet")},
		claim{name: "subject and SPIFFE ID", subject: victim, extensions: []pkix.Extension{san(t, uri(spiffeID(stage.victim, "orders")))}},
		claim{name: "SPIFFE ID", subject: mine(), extensions: []pkix.Extension{san(t, uri(spiffeID(stage.victim, "orders")))}, certificate: named("uris: [" + spiffeID(stage.victim, "orders") + "]")},
		claim{name: "SPIFFE ID beside the own one", subject: mine(), extensions: []pkix.Extension{san(t, uri(spiffeID(stage.home, "mine")), uri(spiffeID(stage.victim, "orders")))}},
		claim{name: "SPIFFE ID in an extension of its own", subject: mine(), extensions: []pkix.Extension{mySAN(t), san(t, uri(spiffeID(stage.victim, "orders")))}, malformed: true},
		claim{name: "SPIFFE ID by a path that climbs", subject: mine(), extensions: []pkix.Extension{san(t, uri(spiffeID(stage.home, "../"+stage.victim+"/orders")))}},
		claim{name: "other case", subject: pkix.RDNSequence{printable(organization, "signet"), printable(organizationalUnit, stage.victim), printable(commonName, "Orders")}},
		claim{name: "Signet's own", subject: controller, certificate: literal("CN=kafka,OU=kafka,O=signet-controller")},
		claim{name: "a super user's", subject: pkix.RDNSequence{printable(commonName, "broker")}, certificate: literal("CN=broker")},
	)
}

// TestExtraRDN: a subject with more than the KafkaUser's three RDNs, or with the same in another order, is none of its own.
func TestExtraRDN(t *testing.T) {
	t.Parallel()
	reversed := mine()
	slices.Reverse(reversed)
	everyDoor(t,
		claim{name: "at the end", subject: with(mine(), printable(serialNumber, "1")), extensions: []pkix.Extension{mySAN(t)}, certificate: literal("SERIALNUMBER=1,CN=mine,OU=" + stage.home + ",O=signet")},
		claim{name: "at the beginning", subject: append(pkix.RDNSequence{printable(organization, "acme")}, mine()...), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "a second OU", subject: with(mine(), printable(organizationalUnit, stage.victim)), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "an unknown attribute", subject: with(mine(), printable(asn1.ObjectIdentifier{1, 2, 3, 4}, "x")), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "an empty RDN", subject: with(mine(), rdn()), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "another order", subject: reversed, extensions: []pkix.Extension{mySAN(t)}, certificate: literal("O=signet,OU=" + stage.home + ",CN=mine")},
	)
}

// TestMultiValuedRDN: the attributes of one RDN are not those of several.
func TestMultiValuedRDN(t *testing.T) {
	t.Parallel()
	cn := attribute(commonName, asn1.TagPrintableString, "mine")
	ou, o := printable(organizationalUnit, stage.home), printable(organization, "signet")
	everyDoor(t,
		claim{name: "two CNs", subject: pkix.RDNSequence{o, ou, rdn(cn, attribute(commonName, asn1.TagPrintableString, "orders"))}, extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "a CN and a UID", subject: pkix.RDNSequence{o, ou, rdn(cn, attribute(userID, asn1.TagUTF8String, "orders"))}, extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "everything in one", subject: pkix.RDNSequence{slices.Concat(rdn(cn), ou, o)}, extensions: []pkix.Extension{mySAN(t)}},
	)
}

// TestDuplicateCN: a subject whose first CN is one user's and whose last is another's belongs to neither.
func TestDuplicateCN(t *testing.T) {
	t.Parallel()
	everyDoor(t,
		claim{name: "after the own one", subject: with(mine(), printable(commonName, "orders")), extensions: []pkix.Extension{mySAN(t)}, certificate: literal("CN=orders,CN=mine,OU=" + stage.home + ",O=signet")},
		claim{name: "before the own one", subject: append(pkix.RDNSequence{printable(commonName, "orders")}, mine()...), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "two whole subjects", subject: append(subjectOf(stage.victim, "orders"), mine()...), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "the own one twice", subject: with(mine(), printable(commonName, "mine")), extensions: []pkix.Extension{mySAN(t)}},
	)
}

// TestOddStringTypes: string types that verifiers and brokers read differently do not get through.
func TestOddStringTypes(t *testing.T) {
	t.Parallel()
	cn := func(tag int, value string) pkix.RDNSequence {
		return pkix.RDNSequence{printable(organization, "signet"), printable(organizationalUnit, stage.home), rdn(attribute(commonName, tag, value))}
	}
	const universal = 28
	everyDoor(t,
		claim{name: "BMPString", subject: cn(asn1.TagBMPString, "\x00m\x00i\x00n\x00e"), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "NUL in the middle", subject: cn(asn1.TagUTF8String, "mine\x00orders"), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "NUL at the end", subject: cn(asn1.TagUTF8String, "mine\x00"), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "space at the end", subject: cn(asn1.TagUTF8String, "mine "), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "RDNs in a value", subject: cn(asn1.TagUTF8String, "mine,OU="+stage.victim), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "letter that looks the same", subject: cn(asn1.TagUTF8String, "m\u0456ne"), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "UniversalString", subject: cn(universal, "\x00\x00\x00m\x00\x00\x00i\x00\x00\x00n\x00\x00\x00e"), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "OCTET STRING", subject: cn(asn1.TagOctetString, "mine"), extensions: []pkix.Extension{mySAN(t)}},
	)
	// What brokers print alike is signed, and never in the sender's encoding.
	for name, tag := range map[string]int{"UTF8String": asn1.TagUTF8String, "IA5String": asn1.TagIA5String} {
		t.Run(name, func(t *testing.T) {
			der, key := request(t, cn(tag, "mine"), mySAN(t))
			a := signingRequest(t, stage.home+"/mine", der, "")
			isHonest(t, a.issued(t), stage.home, "mine", key, 24*time.Hour)
		})
	}
}

// TestSPIFFEIDOfTheMesh: no form of request makes its sender a workload of the mesh.
func TestSPIFFEIDOfTheMesh(t *testing.T) {
	t.Parallel()
	own := uri(spiffeID(stage.home, "mine"))
	everyDoor(t,
		claim{name: "alone", extensions: []pkix.Extension{san(t, uri(istiod))}, certificate: "uris: [" + istiod + "]"},
		claim{name: "with the own subject", subject: mine(), extensions: []pkix.Extension{san(t, uri(istiod))}, certificate: named("uris: [" + istiod + "]")},
		claim{name: "beside the own one", subject: mine(), extensions: []pkix.Extension{san(t, own, uri(istiod))}, certificate: named("uris: [" + spiffeID(stage.home, "mine") + ", " + istiod + "]")},
		claim{name: "before the own one", subject: mine(), extensions: []pkix.Extension{san(t, uri(istiod), own)}},
		claim{name: "as the user's path", subject: mine(), extensions: []pkix.Extension{san(t, uri("spiffe://kafka.signet.dev/ns/"+stage.home+"/sa/mine"))}},
		claim{name: "as the user name of the own one", subject: mine(), extensions: []pkix.Extension{san(t, uri("spiffe://kafka.signet.dev@cluster.local/ns/istio-system/sa/istiod"))}},
		claim{name: "as a subject", subject: pkix.RDNSequence{rdn(attribute(commonName, asn1.TagUTF8String, istiod))}},
	)
}

// TestDNSName: nobody becomes a server, such as a broker or the API server of a webhook.
func TestDNSName(t *testing.T) {
	t.Parallel()
	own := uri(spiffeID(stage.home, "mine"))
	everyDoor(t,
		claim{name: "alone", subject: mine(), extensions: []pkix.Extension{san(t, dns("kafka.kafka.svc"))}, certificate: named("dnsNames: [kafka.kafka.svc]")},
		claim{name: "beside the SPIFFE ID", subject: mine(), extensions: []pkix.Extension{san(t, own, dns("kafka.kafka.svc"))}, certificate: named("uris: [" + spiffeID(stage.home, "mine") + "]\ndnsNames: [kafka.kafka.svc]")},
		claim{name: "as the CN", subject: pkix.RDNSequence{printable(commonName, "kafka.kafka.svc")}, certificate: "commonName: kafka.kafka.svc"},
		claim{name: "wildcard", subject: mine(), extensions: []pkix.Extension{san(t, own, dns("*"))}},
	)
}

// TestIPAddress: nobody gets an address.
func TestIPAddress(t *testing.T) {
	t.Parallel()
	own := uri(spiffeID(stage.home, "mine"))
	everyDoor(t,
		claim{name: "alone", subject: mine(), extensions: []pkix.Extension{san(t, ip("\x0a\x60\x00\x01"))}, certificate: named("ipAddresses: [10.96.0.1]")},
		claim{name: "beside the SPIFFE ID", subject: mine(), extensions: []pkix.Extension{san(t, own, ip("\x0a\x60\x00\x01"))}},
		claim{name: "IPv6", subject: mine(), extensions: []pkix.Extension{san(t, own, ip("\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))}},
	)
}

// TestEmailAddress: nobody gets an e-mail address, in neither of the two places for it, nor a name of another kind.
func TestEmailAddress(t *testing.T) {
	t.Parallel()
	own := uri(spiffeID(stage.home, "mine"))
	everyDoor(t,
		claim{name: "alone", subject: mine(), extensions: []pkix.Extension{san(t, email("root@example.com"))}, certificate: named("emailAddresses: [root@example.com]")},
		claim{name: "beside the SPIFFE ID", subject: mine(), extensions: []pkix.Extension{san(t, own, email("root@kafka.signet.dev"))}},
		claim{name: "in the subject", subject: with(mine(), rdn(attribute(emailAttribute, asn1.TagIA5String, "root@example.com"))), extensions: []pkix.Extension{mySAN(t)}},
		claim{name: "otherName", subject: mine(), extensions: []pkix.Extension{san(t, own, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte("\x06\x03\x2a\x03\x04\xa0\x03\x0c\x01x")})}},
	)
}

// TestCertificateAuthority: nobody gets a CA, or a certificate that signs anything.
func TestCertificateAuthority(t *testing.T) {
	t.Parallel()
	everyDoor(t,
		claim{name: "CA:TRUE", subject: mine(), extensions: []pkix.Extension{mySAN(t), {Id: basicConstraints, Critical: true, Value: []byte("\x30\x03\x01\x01\xff")}}, spec: "isCA: true", certificate: named("uris: [" + spiffeID(stage.home, "mine") + "]\nisCA: true")},
		claim{name: "keyCertSign", subject: mine(), extensions: []pkix.Extension{mySAN(t), {Id: keyUsage, Value: []byte("\x03\x02\x02\x04")}}, spec: "usages: [cert sign]", certificate: named("uris: [" + spiffeID(stage.home, "mine") + "]\nusages: [client auth, digital signature, cert sign]")},
	)
	t.Run("spec.isCA", func(t *testing.T) {
		der, _ := request(t, mine(), mySAN(t))
		handMadeRequest(t, stage.home, der, "isCA: true").denied(t)
	})
	t.Run("spec.usages", func(t *testing.T) {
		der, _ := request(t, mine(), mySAN(t))
		signingRequest(t, stage.home+"/mine", der, "usages: [client auth, digital signature, cert sign]").denied(t)
	})
}

// TestServerAuth: nobody gets a certificate that a client would take for a server's.
func TestServerAuth(t *testing.T) {
	t.Parallel()
	serverAuth, anything := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}, asn1.ObjectIdentifier{2, 5, 29, 37, 0}
	clientAuth := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	signature := pkix.Extension{Id: keyUsage, Value: []byte("\x03\x02\x07\x80")}
	everyDoor(t,
		claim{name: "alone", subject: mine(), extensions: []pkix.Extension{mySAN(t), signature, extension(t, extKeyUsage, []asn1.ObjectIdentifier{serverAuth})}, spec: "usages: [server auth, digital signature]", certificate: named("uris: [" + spiffeID(stage.home, "mine") + "]\nusages: [server auth, digital signature]")},
		claim{name: "beside clientAuth", subject: mine(), extensions: []pkix.Extension{mySAN(t), signature, extension(t, extKeyUsage, []asn1.ObjectIdentifier{clientAuth, serverAuth})}, spec: "usages: [client auth, server auth, digital signature]", certificate: named("uris: [" + spiffeID(stage.home, "mine") + "]\nusages: [server auth, client auth, digital signature]")},
		claim{name: "any", subject: mine(), extensions: []pkix.Extension{mySAN(t), signature, extension(t, extKeyUsage, []asn1.ObjectIdentifier{anything})}, spec: "usages: [any, digital signature]"},
		claim{name: "an extension that Signet does not know", subject: mine(), extensions: []pkix.Extension{mySAN(t), {Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: []byte{5, 0}}}},
	)
	for name, usages := range map[string]string{"server auth": "server auth", "both": "client auth, server auth", "any": "any"} {
		t.Run("spec.usages "+name, func(t *testing.T) {
			der, _ := request(t, mine(), mySAN(t))
			signingRequest(t, stage.home+"/mine", der, "usages: [digital signature, "+usages+"]").denied(t)
		})
	}
}

// TestTenYears: a long life is cut to the MeshIssuer's limit, wherever it is asked for.
func TestTenYears(t *testing.T) {
	t.Parallel()
	const limit = 24 * time.Hour // the MeshIssuer's default
	tenYears := 10 * 365 * 24 * time.Hour
	hours := fmt.Sprintf("%dh", tenYears/time.Hour)
	der, key := request(t, mine(), mySAN(t))
	t.Run("CertificateRequest", func(t *testing.T) {
		handMadeRequest(t, stage.home, der, "duration: "+hours).denied(t)
	})
	t.Run("Certificate", func(t *testing.T) {
		handMadeCertificate(t, stage.home, "[]", named("uris: ["+spiffeID(stage.home, "mine")+"]\nduration: "+hours)).denied(t)
	})
	t.Run("CertificateSigningRequest", func(t *testing.T) {
		a := signingRequest(t, stage.home+"/mine", der, fmt.Sprintf("expirationSeconds: %d", tenYears/time.Second))
		isHonest(t, a.issued(t), stage.home, "mine", key, limit)
	})
	t.Run("KafkaUser", func(t *testing.T) {
		user := unique("eternal")
		mustAs(t, mallory, kafkaUserManifest(stage.home, user, "certificate: {duration: "+hours+"}"), "create", "-f", "-")
		kubectl(t, "-n", stage.home, "wait", "--for=condition=Ready", "kafkauser/"+user, "--timeout=60s")
		isHonest(t, decode(t, get(t, stage.home, "secret", user+"-kafka-tls").Data["tls.crt"]), stage.home, user, nil, limit)
	})
	t.Run("podCertificate volume", func(t *testing.T) {
		pod := unique("eternal")
		startPod(t, stage.home, pod, "default", "{kafka.signet.dev/user: mine}", ", maxExpirationSeconds: 7862400") // the API's own limit, 91 days
		isHonest(t, podChain(t, pod), stage.home, "mine", nil, limit)
	})
}

// decode reads base64.
func decode(t *testing.T, text string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// issued waits until the request is answered with a certificate and returns the chain (PEM).
func (a answer) issued(t *testing.T) string {
	t.Helper()
	var o object
	eventually(t, a.object()+" is answered", func() (bool, string) {
		o = get(t, a.namespace, a.kind, a.name)
		return o.Status.Certificate != "" || o.condition("Denied").Status == "True", fmt.Sprintf("%+v", o.Status)
	})
	return decode(t, o.Status.Certificate)
}

// podChain waits until the kubelet's request for a pod in the shared namespace is answered with a certificate and returns the chain (PEM).
func podChain(t *testing.T, pod string) (chain string) {
	t.Helper()
	eventually(t, "pod "+pod+" has a certificate", func() (bool, string) {
		requests := list(t, stage.home, "podcertificaterequest")
		for _, r := range requests {
			if r.Spec.PodName == pod && r.Status.CertificateChain != "" {
				chain = r.Status.CertificateChain
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", requests)
	})
	return chain
}
