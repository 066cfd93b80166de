// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// derCSR is a CSR as the kubelet sends it: DER, and empty but for what change adds.
func derCSR(t testing.TB, key crypto.Signer, change func(*x509.CertificateRequest)) []byte {
	t.Helper()
	template := &x509.CertificateRequest{}
	change(template)
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func emptyCSR(*x509.CertificateRequest) {}

// honestPod returns the facts of a request as the kubelet makes it for a pod of shop that names the KafkaUser orders.
func honestPod(t testing.TB, key crypto.Signer) PodFacts {
	t.Helper()
	seconds := int32(86400)
	request := &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "req-1", UID: "pod-request-uid"},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: "kafka.signet.dev/mesh", PodName: "orders-0", PodUID: "pod-uid", ServiceAccountName: "orders", ServiceAccountUID: "sa-uid",
			NodeName: "node-1", NodeUID: "node-uid", MaxExpirationSeconds: &seconds,
			StubPKCS10Request:         derCSR(t, key, emptyCSR),
			UnverifiedUserAnnotations: map[string]string{"kafka.signet.dev/user": "orders"},
		},
	}
	f := PodFacts{UserFacts: honest(t, key).UserFacts, Asked: asked(parseDER(request.Spec.StubPKCS10Request)), Request: request}
	f.User.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: "orders"}
	return f
}

// decidePod is DecidePod on what now stands in the request.
func decidePod(f PodFacts) (*Grant, *Refusal) {
	a := asked(parseDER(f.Request.Spec.StubPKCS10Request))
	f.CSR, f.Problem, f.KeySHA256 = a.CSR, a.Problem, a.KeySHA256
	return DecidePod(f)
}

func TestDecidePodGrants(t *testing.T) {
	key := p256(t)
	for name, change := range map[string]func(*PodFacts){
		"as it comes":          func(*PodFacts) {},
		"no workload declared": func(f *PodFacts) { f.User.Spec.Workload = nil },
		"delivery PodCertificate": func(f *PodFacts) {
			f.User.Spec.Certificate = &v1alpha1.UserCertificate{Delivery: v1alpha1.DeliveryPodCertificate}
		},
		"delivery Auto": func(f *PodFacts) {
			f.User.Spec.Certificate = &v1alpha1.UserCertificate{Delivery: v1alpha1.DeliveryAuto}
		},
		"its own key again": func(f *PodFacts) { f.KeyHolder = "spiffe://kafka.signet.dev/user/shop/orders" },
	} {
		t.Run(name, func(t *testing.T) {
			f := honestPod(t, key)
			change(&f)
			grant, refusal := decidePod(f)
			if refusal != nil {
				t.Fatal(refusal)
			}
			if grant.Identity.Subject != "CN=orders,OU=shop,O=signet" || grant.Identity.URI.String() != "spiffe://kafka.signet.dev/user/shop/orders" {
				t.Errorf("identity %s, %s", grant.Identity.Subject, grant.Identity.URI)
			}
			if !key.PublicKey.Equal(grant.PublicKey) || grant.CSR != nil || grant.KeySHA256 != KeyFingerprint(&key.PublicKey) {
				t.Errorf("grant %+v", grant)
			}
			if grant.Duration != time.Hour || grant.MinValidity != time.Hour || grant.MaxValidity != 24*time.Hour {
				t.Errorf("granted for %s, valid for %s to %s", grant.Duration, grant.MinValidity, grant.MaxValidity)
			}
		})
	}
}

func TestDecidePodRefusesAttacks(t *testing.T) {
	annotations := func(pairs ...string) func(*testing.T, *PodFacts) {
		return func(_ *testing.T, f *PodFacts) {
			f.Request.Spec.UnverifiedUserAnnotations = map[string]string{}
			for i := 0; i < len(pairs); i += 2 {
				f.Request.Spec.UnverifiedUserAnnotations[pairs[i]] = pairs[i+1]
			}
		}
	}
	csr := func(change func(*x509.CertificateRequest)) func(*testing.T, *PodFacts) {
		return func(t *testing.T, f *PodFacts) { f.Request.Spec.StubPKCS10Request = derCSR(t, p256(t), change) }
	}
	key := func(newKey func() (crypto.Signer, error)) func(*testing.T, *PodFacts) {
		return func(t *testing.T, f *PodFacts) {
			k, err := newKey()
			if err != nil {
				t.Fatal(err)
			}
			f.Request.Spec.StubPKCS10Request = derCSR(t, k, emptyCSR)
		}
	}
	user := "kafka.signet.dev/user"
	for name, attack := range map[string]struct {
		reason string
		do     func(*testing.T, *PodFacts)
	}{
		"no annotation":                 {ReasonUserAnnotations, annotations()},
		"no annotations at all":         {ReasonUserAnnotations, func(_ *testing.T, f *PodFacts) { f.Request.Spec.UnverifiedUserAnnotations = nil }},
		"unknown annotation key":        {ReasonUserAnnotations, annotations(user, "orders", "kafka.signet.dev/subject", "CN=billing")},
		"unknown annotation key only":   {ReasonUserAnnotations, annotations("kafka.signet.dev/users", "orders")},
		"annotation of another group":   {ReasonUserAnnotations, annotations(user, "orders", "example.org/duration", "10y")},
		"other namespace by annotation": {ReasonUserAnnotations, annotations(user, "payments/billing")},
		"own namespace by annotation":   {ReasonUserAnnotations, annotations(user, "shop/orders")},
		"two users":                     {ReasonUserAnnotations, annotations(user, "orders,billing")},
		"empty user":                    {ReasonUserAnnotations, annotations(user, "")},
		"user with a newline":           {ReasonUserAnnotations, annotations(user, "orders\nadmin")},
		"user with an equals sign":      {ReasonUserAnnotations, annotations(user, "orders,OU=payments")},
		"user in another case":          {ReasonUserAnnotations, annotations(user, "Orders")},
		"name of a mebibyte":            {ReasonUserAnnotations, annotations(user, strings.Repeat("a", 1<<20))},

		"another pod's service account":          {ReasonServiceAccount, func(_ *testing.T, f *PodFacts) { f.Request.Spec.ServiceAccountName = "default" }},
		"service account left out":               {ReasonServiceAccount, func(_ *testing.T, f *PodFacts) { f.Request.Spec.ServiceAccountName = "" }},
		"another signer's request":               {ReasonOtherIssuer, func(_ *testing.T, f *PodFacts) { f.Request.Spec.SignerName = "kafka.signet.dev/other" }},
		"a signer that only looks like Signet's": {ReasonOtherIssuer, func(_ *testing.T, f *PodFacts) { f.Request.Spec.SignerName = "kafka.signet.development/mesh" }},
		"KafkaUser of another namespace":         {ReasonUserNotFound, func(_ *testing.T, f *PodFacts) { f.User.Namespace = "payments" }},
		"KafkaUser of another name":              {ReasonUserNotFound, func(_ *testing.T, f *PodFacts) { f.User.Name = "billing" }},

		"subject": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.Subject = pkix.Name{CommonName: "billing"} })},
		"one's own subject": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.Subject = pkix.Name{CommonName: "orders", OrganizationalUnit: []string{"shop"}, Organization: []string{"signet"}}
		})},
		"SPIFFE SAN": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/a/sa/b"}}
		})},
		"one's own SPIFFE SAN": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "kafka.signet.dev", Path: "/user/shop/orders"}}
		})},
		"DNS SAN":    {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.DNSNames = []string{"kafka.kafka.svc"} })},
		"IP SAN":     {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} })},
		"e-mail SAN": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) { c.EmailAddresses = []string{"root@example.org"} })},
		"CA:TRUE": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.ExtraExtensions = []pkix.Extension{{Id: oidBasicConstraints, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}}
		})},
		"serverAuth": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.ExtraExtensions = []pkix.Extension{{Id: oidExtKeyUsage, Value: []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01}}}
		})},
		"unknown extension": {ReasonAsksForMore, csr(func(c *x509.CertificateRequest) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: []byte{0x05, 0x00}}}
		})},
		"an attribute that is no extension": {ReasonAsksForMore, func(t *testing.T, f *PodFacts) { f.Request.Spec.StubPKCS10Request = csrWithPassword(t) }},

		"no CSR":     {ReasonMalformed, func(_ *testing.T, f *PodFacts) { f.Request.Spec.StubPKCS10Request = nil }},
		"garbage":    {ReasonMalformed, func(_ *testing.T, f *PodFacts) { f.Request.Spec.StubPKCS10Request = []byte("x") }},
		"a mebibyte": {ReasonMalformed, func(_ *testing.T, f *PodFacts) { f.Request.Spec.StubPKCS10Request = make([]byte, 1<<20) }},
		"PEM instead of DER": {ReasonMalformed, func(_ *testing.T, f *PodFacts) {
			f.Request.Spec.StubPKCS10Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: f.Request.Spec.StubPKCS10Request})
		}},
		"something behind it": {ReasonMalformed, func(_ *testing.T, f *PodFacts) {
			f.Request.Spec.StubPKCS10Request = append(f.Request.Spec.StubPKCS10Request, 0)
		}},

		"RSA, not allowed": {ReasonUnsupportedKeyType, key(func() (crypto.Signer, error) { return rsaKey(t), nil })},
		"P-521":            {ReasonUnsupportedKeyType, key(func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) })},
		"Ed25519": {ReasonUnsupportedKeyType, key(func() (crypto.Signer, error) {
			_, k, err := ed25519.GenerateKey(rand.Reader)
			return k, err
		})},
		"key on the issuer's list": {ReasonKeyNotAllowed, func(_ *testing.T, f *PodFacts) { f.Issuer.Spec.BlockedKeys = []string{f.KeySHA256} }},
		"another identity's key":   {ReasonKeyReused, func(_ *testing.T, f *PodFacts) { f.KeyHolder = "spiffe://kafka.signet.dev/user/shop/billing" }},
		"the controller's key":     {ReasonKeyReused, func(_ *testing.T, f *PodFacts) { f.KeyHolder = "spiffe://kafka.signet.dev/controller/kafka/kafka" }},
		"the CA's key":             {ReasonKeyReused, func(_ *testing.T, f *PodFacts) { f.KeyOfCA = true }},
	} {
		t.Run(name, func(t *testing.T) {
			f := honestPod(t, p256(t))
			attack.do(t, &f)
			grant, refusal := decidePod(f)
			checkDenied(t, grant, refusal, attack.reason, ReasonUserAnnotations, ReasonUnsupportedKeyType)
		})
	}
}

// csrWithPassword is a CSR with nothing but the attribute challengePassword (RFC 2985 section 5.4.1), properly signed.
func csrWithPassword(t *testing.T) []byte {
	t.Helper()
	key := p256(t)
	parsed, err := x509.ParseCertificateRequest(derCSR(t, key, emptyCSR))
	if err != nil {
		t.Fatal(err)
	}
	attribute := []byte{0x30, 0x11, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07, 0x31, 0x04, 0x0c, 0x02, 'h', 'i'}
	der := assembleCSR(t, parsed.RawSubjectPublicKeyInfo, attribute, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, func(hash []byte) []byte {
		signature, err := ecdsa.SignASN1(rand.Reader, key, hash)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	})
	if csr, err := parseDER(der); err != nil || len(csr.Extensions) != 0 || !bytes.Equal(csr.RawSubject, []byte{0x30, 0x00}) {
		t.Fatalf("the attack itself is malformed: %v", err)
	}
	return der
}

// assembleCSR makes a CSR without a subject by hand, for what crypto/x509 would not make.
func assembleCSR(t *testing.T, key, attributes []byte, algorithm asn1.ObjectIdentifier, sign func(sha256 []byte) []byte) []byte {
	t.Helper()
	content := append([]byte{0x02, 0x01, 0x00, 0x30, 0x00}, key...)
	content = append(append(content, 0xa0, byte(len(attributes))), attributes...)
	info, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: content})
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(info)
	signature := sign(hash[:])
	der, err := asn1.Marshal(struct {
		Info      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		asn1.RawValue{FullBytes: info}, pkix.AlgorithmIdentifier{Algorithm: algorithm, Parameters: asn1.NullRawValue},
		asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestDecidePodWaits(t *testing.T) {
	for name, test := range map[string]struct {
		reason string
		do     func(*PodFacts)
	}{
		"KafkaUser not there":     {ReasonUserNotFound, func(f *PodFacts) { f.User, f.Cluster = nil, nil }},
		"KafkaUser being deleted": {ReasonUserNotFound, func(f *PodFacts) { f.User.DeletionTimestamp = &metav1.Time{Time: testNow} }},
		"issuer not there":        {v1alpha1.ReasonIssuerNotFound, func(f *PodFacts) { f.Issuer = nil }},
		"cluster not there":       {v1alpha1.ReasonClusterNotFound, func(f *PodFacts) { f.Cluster = nil }},
		"namespace not admitted":  {v1alpha1.ReasonNamespaceNotAllowed, func(f *PodFacts) { f.Admitted = false }},
		"suspended":               {v1alpha1.ReasonSuspended, func(f *PodFacts) { f.User.Spec.Suspend = true }},
		"ledger silent":           {ReasonNotRecorded, func(f *PodFacts) { f.User.Status.Conditions = nil }},
		"principal is another's": {ReasonNotRecorded, func(f *PodFacts) {
			f.User.Status.Conditions = []metav1.Condition{mappingRecorded(metav1.ConditionFalse, v1alpha1.ReasonPrincipalConflict)}
		}},
		"user of another MeshIssuer": {ReasonOtherIssuer, func(f *PodFacts) { f.Cluster.Spec.Certificates.IssuerRef.Name = "other" }},
		"user of a stock issuer of the same name": {ReasonOtherIssuer, func(f *PodFacts) {
			f.Cluster.Spec.Certificates.IssuerRef = v1alpha1.IssuerReference{Kind: "Issuer", Group: "cert-manager.io", Name: "mesh"}
		}},
		"trust domain of the mesh": {ReasonDeclarationInvalid, func(f *PodFacts) { f.Cluster.Spec.MeshTrustDomain = "kafka.signet.dev" }},
	} {
		t.Run(name, func(t *testing.T) {
			f := honestPod(t, p256(t))
			test.do(&f)
			grant, refusal := decidePod(f)
			if grant != nil || refusal == nil || refusal.Kind != Wait || refusal.Reason != test.reason {
				t.Fatalf("granted %v, refused %v, want to wait for %s", grant, refusal, test.reason)
			}
		})
	}
}

func TestPodLifetimes(t *testing.T) {
	hours := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Hour} }
	for name, test := range map[string]struct {
		user, cluster, issuer *metav1.Duration
		maxExpiration         int32
		life, valid           time.Duration
	}{
		"nobody says anything":              {nil, nil, nil, 86400, time.Hour, time.Hour + 2*time.Minute},
		"the cluster has the API's default": {nil, hours(6), nil, 86400, time.Hour, time.Hour + 2*time.Minute},
		"the pod says one hour":             {nil, nil, nil, 3600, 58 * time.Minute, time.Hour},
		"the cluster says":                  {nil, hours(3), nil, 86400, 3 * time.Hour, 3*time.Hour + 2*time.Minute},
		"the user says":                     {hours(6), hours(3), nil, 86400, 6 * time.Hour, 6*time.Hour + 2*time.Minute},
		"the issuer's limit":                {hours(240), nil, hours(2), 864000, 2 * time.Hour, 2*time.Hour + 2*time.Minute},
		"the pod's limit":                   {hours(20), nil, nil, 7200, 2*time.Hour - 2*time.Minute, 2 * time.Hour},
		"ten years":                         {hours(87600), nil, nil, 7862400, 24 * time.Hour, 24*time.Hour + 2*time.Minute},
		"below the API's minimum":           {&metav1.Duration{Duration: time.Minute}, nil, nil, 86400, time.Hour, time.Hour + 2*time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			f := honestPod(t, p256(t))
			f.Request.Spec.MaxExpirationSeconds = &test.maxExpiration
			if test.user != nil {
				f.User.Spec.Certificate = &v1alpha1.UserCertificate{Duration: test.user}
			}
			if test.cluster != nil {
				f.Cluster.Spec.Certificates.Duration = *test.cluster
			}
			if test.issuer != nil {
				f.Issuer.Spec.MaxDuration = *test.issuer
			}
			grant, refusal := decidePod(f)
			if refusal != nil {
				t.Fatal(refusal)
			}
			c, refusal := Template(*grant, big.NewInt(1), testNow.Add(-time.Hour), testNow.Add(100000*time.Hour), testNow)
			if refusal != nil {
				t.Fatal(refusal)
			}
			if life, valid := c.NotAfter.Sub(testNow), c.NotAfter.Sub(c.NotBefore); life != test.life || valid != test.valid {
				t.Errorf("lives for %s, valid for %s; want %s, %s", life, valid, test.life, test.valid)
			}
		})
	}
}

func TestRefreshAt(t *testing.T) {
	notBefore := testNow.Add(-backdate)
	counts := map[int]int{}
	for i := range 10_000 {
		uid := types.UID(fmt.Sprintf("1f2e3d4c-0000-4000-8000-%012d", i))
		at := RefreshAt(uid, testNow, notBefore, testNow.Add(time.Hour))
		after := at.Sub(testNow)
		if after < 36*time.Minute || after > 42*time.Minute {
			t.Fatalf("renewed after %s", after)
		}
		if again := RefreshAt(uid, testNow, notBefore, testNow.Add(time.Hour)); !again.Equal(at) {
			t.Fatal("another time for the same request")
		}
		counts[int((after-36*time.Minute)/time.Minute)]++
	}
	for minute := range 6 { // 10,000 in six minutes, evenly: about 1,667 in each
		if counts[minute] < 1400 || counts[minute] > 1950 {
			t.Errorf("%d renewals in minute %d", counts[minute], minute)
		}
	}
	for _, life := range []time.Duration{18 * time.Minute, 20 * time.Minute, 58 * time.Minute, time.Hour, 91 * 24 * time.Hour} {
		notAfter := testNow.Add(life)
		at := RefreshAt("uid", testNow, notBefore, notAfter)
		if at.Before(notBefore.Add(10*time.Minute)) || at.After(notAfter.Add(-10*time.Minute)) {
			t.Errorf("life %s: %s is too near an end", life, at.Sub(testNow))
		}
	}
}

func FuzzDecidePod(f *testing.F) {
	honest := honestPod(f, p256(f))
	f.Add("kafka.signet.dev/mesh", "kafka.signet.dev/user", "orders", "orders", honest.Request.Spec.StubPKCS10Request, int32(86400))
	f.Add("kafka.signet.dev/", "kafka.signet.dev/user", "payments/billing", "default", []byte{0x30, 0x00}, int32(-1))
	f.Fuzz(func(t *testing.T, signer, key, user, serviceAccount string, csr []byte, seconds int32) {
		facts := honest
		facts.Request = honest.Request.DeepCopy()
		spec := &facts.Request.Spec
		spec.SignerName, spec.ServiceAccountName, spec.StubPKCS10Request, spec.MaxExpirationSeconds = signer, serviceAccount, csr, &seconds
		spec.UnverifiedUserAnnotations = map[string]string{key: user}
		grant, refusal := decidePod(facts)
		if (grant == nil) == (refusal == nil) {
			t.Fatal("neither granted nor refused, or both")
		}
		if grant == nil {
			return
		}
		if signer != "kafka.signet.dev/mesh" || key != "kafka.signet.dev/user" || user != "orders" || serviceAccount != "orders" || grant.Identity.Subject != "CN=orders,OU=shop,O=signet" {
			t.Fatalf("granted %+v", grant)
		}
		if CheckPublicKey(grant.PublicKey, nil, nil) != nil {
			t.Fatal("granted a bad key")
		}
	})
}
