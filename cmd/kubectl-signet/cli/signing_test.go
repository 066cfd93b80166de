// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/principal"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func parseURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func ordersIdentity(t *testing.T) Identity {
	t.Helper()
	return Identity{
		Subject: principal.UserSubject{Namespace: "shop", Name: "orders", Organization: "signet"},
		URI:     parseURL(t, "spiffe://kafka.signet.dev/user/shop/orders"),
	}
}

// authority signs as Signet does: below an intermediate.
type authority struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	certify := func(cn string, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer) *x509.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign, NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(10000 * time.Hour),
		}
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rootKey, key := newKey(t), newKey(t)
	root := certify(name+" root", nil, rootKey, rootKey)
	return authority{root: root, intermediate: certify(name+" intermediate", root, key, rootKey), key: key}
}

// issue signs a request (PEM) for six hours.
func (a authority) issue(t *testing.T, request []byte, now time.Time, change func(*x509.Certificate)) []byte {
	t.Helper()
	block, _ := pem.Decode(request)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ordersIdentity(t).Subject.RawDER()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), RawSubject: raw, URIs: []*url.URL{ordersIdentity(t).URI},
		NotBefore: now, NotAfter: now.Add(6 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.intermediate, csr.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certs.EncodeCertificates([]*x509.Certificate{leaf, a.intermediate})
}

func TestCertificateRequest(t *testing.T) {
	key, id := newKey(t), ordersIdentity(t)
	for name, want := range map[string]*url.URL{"with the trust domain": id.URI, "without": nil} {
		t.Run(name, func(t *testing.T) {
			text, err := NewCertificateRequest(key, Identity{Subject: id.Subject, URI: want})
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(text, []byte("PRIVATE")) {
				t.Error("the request holds the key")
			}
			// What is made here is what may be read here, and nothing is lost by that.
			csr, again, err := ReadCertificateRequest(text, id)
			if err != nil || !bytes.Equal(again, text) {
				t.Fatalf("read back: %v\n%s", err, again)
			}
			raw, err := id.Subject.RawDER()
			if err != nil || !bytes.Equal(csr.RawSubject, raw) || !key.PublicKey.Equal(csr.PublicKey) {
				t.Errorf("subject %s, key %v, %v", csr.Subject, csr.PublicKey, err)
			}
			if want == nil && len(csr.Extensions) > 0 || want != nil && (len(csr.URIs) != 1 || csr.URIs[0].String() != want.String()) {
				t.Errorf("URIs %v, extensions %v", csr.URIs, csr.Extensions)
			}
		})
	}
}

func TestReadCertificateRequest(t *testing.T) {
	id := ordersIdentity(t)
	request := func(change func(*x509.CertificateRequest)) []byte {
		template := &x509.CertificateRequest{}
		change(template)
		der, err := x509.CreateCertificateRequest(rand.Reader, template, newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		return encodeRequest(der)
	}
	named := func(cn string) pkix.Name {
		return pkix.Name{CommonName: cn, OrganizationalUnit: []string{"shop"}, Organization: []string{"signet"}}
	}
	honest := request(func(r *x509.CertificateRequest) { r.Subject = named("orders") })
	key, err := encodeKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(honest)
	forged := slices.Clone(block.Bytes)
	forged[len(forged)-1] ^= 1
	for name, tc := range map[string]struct {
		text []byte
		want string
	}{
		"the user's subject":             {honest, ""},
		"an empty subject":               {request(func(*x509.CertificateRequest) {}), ""},
		"the user's URI":                 {request(func(r *x509.CertificateRequest) { r.URIs = []*url.URL{id.URI} }), ""},
		"text around it":                 {slices.Concat([]byte("Certificate Request:\n"), honest, []byte("\n")), ""},
		"as old tools write it":          {bytes.ReplaceAll(honest, []byte("CERTIFICATE REQUEST"), []byte("NEW CERTIFICATE REQUEST")), ""},
		"nothing":                        {nil, "holds no certificate request"},
		"DER":                            {block.Bytes, "holds no certificate request"},
		"a certificate":                  {bytes.ReplaceAll(honest, []byte("CERTIFICATE REQUEST"), []byte("CERTIFICATE")), "holds no certificate request"},
		"a private key behind it":        {slices.Concat(honest, key), "holds a private key"},
		"a private key before it":        {slices.Concat(key, honest), "holds a private key"},
		"two requests":                   {slices.Concat(honest, honest), "more than one PEM block"},
		"a signature of another":         {encodeRequest(forged), "not signed with its own key"},
		"octets":                         {encodeRequest([]byte("x")), "malformed"},
		"another user's subject":         {request(func(r *x509.CertificateRequest) { r.Subject = named("admin") }), "openssl req -subj /O=signet/OU=shop/CN=orders"},
		"a DNS name":                     {request(func(r *x509.CertificateRequest) { r.DNSNames = []string{"a"} }), "subject alternative names"},
		"an IP address":                  {request(func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{{10, 0, 0, 1}} }), "subject alternative names"},
		"an e-mail address":              {request(func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@b"} }), "subject alternative names"},
		"a mesh workload's identity":     {request(func(r *x509.CertificateRequest) { r.URIs = []*url.URL{parseURL(t, "spiffe://cluster.local/ns/a/sa/b")} }), "subject alternative names"},
		"a second URI beside the user's": {request(func(r *x509.CertificateRequest) { r.URIs = []*url.URL{id.URI, id.URI} }), "subject alternative names"},
	} {
		t.Run(name, func(t *testing.T) {
			_, text, err := ReadCertificateRequest(tc.text, id)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if block, rest := pem.Decode(text); err == nil && (block.Type != "CERTIFICATE REQUEST" || len(rest) > 0) {
				t.Errorf("would send:\n%s", text)
			}
		})
	}
}

func FuzzReadCertificateRequest(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"))
	id := Identity{Subject: principal.UserSubject{Namespace: "shop", Name: "orders", Organization: "signet"}}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, sent, err := ReadCertificateRequest(text, id)
		if err == nil && (bytes.Contains(sent, []byte("PRIVATE KEY")) || !bytes.HasPrefix(sent, []byte("-----BEGIN CERTIFICATE REQUEST-----\n"))) {
			t.Errorf("would send %q", sent)
		}
	})
}

func TestSigningRequest(t *testing.T) {
	user := &v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}}
	csr := SigningRequest(user, "mesh", []byte("request"), 90*time.Minute)
	if csr.Spec.SignerName != "kafka.signet.dev/mesh" || csr.Annotations["kafka.signet.dev/user"] != "shop/orders" || len(csr.Annotations) != 1 ||
		csr.GenerateName != "signet-shop-orders-" || string(csr.Spec.Request) != "request" || csr.Spec.ExpirationSeconds == nil || *csr.Spec.ExpirationSeconds != 5400 ||
		!slices.Equal(csr.Spec.Usages, []certificatesv1.KeyUsage{"digital signature", "client auth"}) {
		t.Errorf("%+v", csr)
	}
	if csr := SigningRequest(user, "mesh", nil, 0); csr.Spec.ExpirationSeconds != nil {
		t.Errorf("asks for %d seconds although nobody said so", *csr.Spec.ExpirationSeconds)
	}
	if csr := SigningRequest(user, "mesh", nil, 100*365*24*time.Hour); *csr.Spec.ExpirationSeconds <= 0 {
		t.Errorf("asks for %d seconds", *csr.Spec.ExpirationSeconds)
	}
	for lifetime, ok := range map[time.Duration]bool{0: true, 10 * time.Minute: true, 24 * time.Hour: true, 9 * time.Minute: false, -time.Hour: false} {
		if err := CheckDuration(lifetime); (err == nil) != ok {
			t.Errorf("%s: %v", lifetime, err)
		}
	}
}

func TestCheckSignable(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster)
		want   string
		err    string
	}{
		"the cluster's issuer": {func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) {}, "mesh", ""},
		"the user's own": {func(u *v1alpha1.KafkaUser, _ *v1alpha1.KafkaCluster) {
			u.Spec.Certificate = &v1alpha1.UserCertificate{IssuerRef: &v1alpha1.IssuerReference{Name: "other"}}
		}, "other", ""},
		"suspended": {func(u *v1alpha1.KafkaUser, _ *v1alpha1.KafkaCluster) { u.Spec.Suspend = true }, "", "is suspended"},
		"deleted": {func(u *v1alpha1.KafkaUser, _ *v1alpha1.KafkaCluster) {
			u.DeletionTimestamp = &metav1.Time{Time: noon}
		}, "", "is being deleted"},
		"an issuer of cert-manager's": {func(_ *v1alpha1.KafkaUser, c *v1alpha1.KafkaCluster) {
			c.Spec.Certificates.IssuerRef = v1alpha1.IssuerReference{Name: "ca", Kind: "ClusterIssuer", Group: "cert-manager.io"}
		}, "", "use kubectl signet export"},
	} {
		t.Run(name, func(t *testing.T) {
			user, cluster, _, _ := world(t)
			tc.change(user, cluster)
			issuer, err := CheckSignable(user, cluster)
			if issuer != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %q, %v", issuer, err)
			}
		})
	}
}

func TestOutcome(t *testing.T) {
	status := func(condition certificatesv1.RequestConditionType, reason, message string) certificatesv1.CertificateSigningRequestStatus {
		return certificatesv1.CertificateSigningRequestStatus{Conditions: []certificatesv1.CertificateSigningRequestCondition{{Type: condition, Status: corev1.ConditionTrue, Reason: reason, Message: message}}}
	}
	denied := status(certificatesv1.CertificateDenied, "NotAllowed", "you may not sign kafkausers/orders")
	denied.Certificate = []byte("chain")
	signed := status(certificatesv1.CertificateApproved, "", "")
	signed.Certificate = []byte("chain")
	for name, tc := range map[string]struct {
		status certificatesv1.CertificateSigningRequestStatus
		chain  string
		err    string
	}{
		"new":                           {certificatesv1.CertificateSigningRequestStatus{}, "", ""},
		"approved":                      {status(certificatesv1.CertificateApproved, "", ""), "", ""},
		"signed":                        {signed, "chain", ""},
		"denied":                        {denied, "", "certificatesigningrequest x was denied: NotAllowed: you may not sign kafkausers/orders"},
		"failed with no reason":         {status(certificatesv1.CertificateFailed, "", ""), "", "certificatesigningrequest x could not be signed: no reason given"},
		"failed with a reason and more": {status(certificatesv1.CertificateFailed, "CAExpired", ""), "", "could not be signed: CAExpired"},
	} {
		t.Run(name, func(t *testing.T) {
			chain, err := Outcome(&certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Status: tc.status})
			if string(chain) != tc.chain || (err == nil) != (tc.err == "") || err != nil && !strings.HasSuffix(err.Error(), tc.err) {
				t.Errorf("got %q, %v", chain, err)
			}
			var refused *RefusedError
			if tc.err != "" && !errors.As(err, &refused) {
				t.Errorf("%T", err)
			}
		})
	}
}

func TestAwaited(t *testing.T) {
	approved := certificatesv1.CertificateSigningRequestStatus{Conditions: []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved}}}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.KafkaUser)
		status certificatesv1.CertificateSigningRequestStatus
		want   string
	}{
		"nobody":         {func(*v1alpha1.KafkaUser) {}, certificatesv1.CertificateSigningRequestStatus{}, "nobody has answered; kubectl signet status tells whether Signet's controller runs and MeshIssuer mesh is ready"},
		"approved":       {func(*v1alpha1.KafkaUser) {}, approved, "it is approved, and Signet has not signed it yet"},
		"a suspension":   {func(u *v1alpha1.KafkaUser) { u.Spec.Suspend = true }, approved, "kafkauser shop/orders is suspended"},
		"a principal":    {func(u *v1alpha1.KafkaUser) { u.Status.Conditions = nil }, approved, "kafkauser shop/orders: MappingRecorded: Pending: not decided yet"},
		"another's name": {func(u *v1alpha1.KafkaUser) { setCondition(u, 0, "Conflict", "shop.orders is User:a's") }, approved, "kafkauser shop/orders: MappingRecorded: Conflict: shop.orders is User:a's"},
		"the issuer":     {func(u *v1alpha1.KafkaUser) { setCondition(u, 1, "IssuerNotReady", "the CA expired") }, approved, "kafkauser shop/orders: CertificateReady: IssuerNotReady: the CA expired"},
		// cert-manager's own work has nothing to do with this request.
		"not what the Secret waits for": {func(u *v1alpha1.KafkaUser) { setCondition(u, 1, "Pending", "cert-manager") }, approved, "it is approved, and Signet has not signed it yet"},
	} {
		t.Run(name, func(t *testing.T) {
			user, _, _, _ := world(t)
			tc.change(user)
			if got := Awaited(&certificatesv1.CertificateSigningRequest{Status: tc.status}, user, "mesh"); got != tc.want {
				t.Errorf("got %q", got)
			}
		})
	}
	if got := Awaited(&certificatesv1.CertificateSigningRequest{}, nil, "mesh"); !strings.HasPrefix(got, "nobody") {
		t.Errorf("of an unknown user: %q", got)
	}
}

func setCondition(u *v1alpha1.KafkaUser, i int, reason, message string) {
	c := &u.Status.Conditions[i]
	c.Status, c.Reason, c.Message = metav1.ConditionFalse, reason, message
}

func TestCheckIssued(t *testing.T) {
	id, key, ca, other := ordersIdentity(t), newKey(t), newAuthority(t, "mesh"), newAuthority(t, "other")
	request, err := NewCertificateRequest(key, id)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(change func(*x509.Certificate)) []byte { return ca.issue(t, request, noon, change) }
	honest := issue(nil)
	leafAlone := honest[:bytes.Index(honest, []byte("-----END"))+len("-----END CERTIFICATE-----\n")]
	for name, tc := range map[string]struct {
		chain []byte
		key   crypto.PublicKey
		want  string
	}{
		"honest":                     {honest, &key.PublicKey, ""},
		"honest, with text":          {slices.Concat([]byte("leaf\n"), honest), &key.PublicKey, ""},
		"directly below the root":    {leafAlone, &key.PublicKey, ""},
		"nothing":                    {nil, &key.PublicKey, "unreadable"},
		"another key":                {honest, &newKey(t).PublicKey, "another key"},
		"another user's":             {issue(func(c *x509.Certificate) { c.RawSubject, c.Subject = nil, pkix.Name{CommonName: "admin"} }), &key.PublicKey, `of "CN=admin"`},
		"another URI":                {issue(func(c *x509.Certificate) { c.URIs[0] = parseURL(t, "spiffe://cluster.local/ns/a/sa/b") }), &key.PublicKey, "exactly the URI"},
		"no URI":                     {issue(func(c *x509.Certificate) { c.URIs = nil }), &key.PublicKey, "exactly the URI"},
		"a CA":                       {issue(func(c *x509.Certificate) { c.IsCA = true }), &key.PublicKey, "not one for a client"},
		"a server's":                 {issue(func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) }), &key.PublicKey, "not one for a client"},
		"another CA's intermediates": {slices.Concat(leafAlone, certs.EncodeCertificates([]*x509.Certificate{other.intermediate})), &key.PublicKey, "no chain"},
	} {
		t.Run(name, func(t *testing.T) {
			leaf, chain, err := CheckIssued(tc.chain, tc.key, id)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if err == nil && (!leaf.NotAfter.Equal(noon.Add(6*time.Hour)) || !bytes.HasPrefix(chain, []byte("-----BEGIN CERTIFICATE-----\n"))) {
				t.Errorf("%v\n%s", leaf.NotAfter, chain)
			}
		})
	}
}

func TestReadKey(t *testing.T) {
	key := newKey(t)
	pkcs8, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	ec := encode("EC PRIVATE KEY", sec1)
	for name, tc := range map[string]struct {
		text []byte
		want string
	}{
		"PKCS#8":                    {pkcs8, ""},
		"SEC 1":                     {ec, ""},
		"SEC 1 as openssl ecparam":  {slices.Concat(encode("EC PARAMETERS", []byte{6, 1, 1}), ec), ""},
		"PKCS#1":                    {encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), ""},
		"nothing":                   {nil, "no private key in PEM"},
		"parameters only":           {encode("EC PARAMETERS", []byte{6, 1, 1}), "no private key in PEM"},
		"a certificate":             {encode("CERTIFICATE", []byte{1}), `holds a "CERTIFICATE"`},
		"malformed":                 {encode("PRIVATE KEY", []byte("hunter2hunter2")), "malformed"},
		"encrypted":                 {encode("ENCRYPTED PRIVATE KEY", []byte{1}), "encrypted"},
		"encrypted, the old manner": {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "x"}}), "encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadKey(tc.text)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) || (got == nil) != (err != nil) {
				t.Fatalf("got %v, %v, want %q", got != nil, err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}
