// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/principal/subject"
)

// MinDuration is the shortest lifetime that the API server lets a CertificateSigningRequest ask for
// (spec.expirationSeconds of certificates.k8s.io/v1).
const MinDuration = 10 * time.Minute

// Identity is what stands in a KafkaUser's certificate.
type Identity struct {
	// Subject of the certificate.
	Subject principal.UserSubject
	// URI is the one SAN; nil where the caller may not read the MeshIssuer, whose trust domain is in it. A request
	// without it is good enough for every MeshIssuer but one whose certificates a remote step-ca signs.
	URI *url.URL
}

// CheckSignable returns the MeshIssuer that signs for a KafkaUser, or why nobody does.
func CheckSignable(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) (issuer string, err error) {
	ref := user.Issuer(cluster)
	switch {
	case user.DeletionTimestamp != nil:
		return "", fmt.Errorf("kafkauser %s/%s is being deleted", user.Namespace, user.Name)
	case user.Spec.Suspend:
		return "", fmt.Errorf("kafkauser %s/%s is suspended: it gets no certificate while spec.suspend is true", user.Namespace, user.Name)
	case !ref.IsMeshIssuer():
		return "", fmt.Errorf("the certificates of kafkauser %s/%s come from cert-manager's %s %s, and only a MeshIssuer signs for clients outside Kubernetes: use kubectl signet export", user.Namespace, user.Name, ref.Kind, ref.Name)
	}
	return ref.Name, nil
}

// NewCertificateRequest returns a PKCS#10 request (PEM) for an identity, signed with its key.
func NewCertificateRequest(key crypto.Signer, id Identity) ([]byte, error) {
	raw, err := id.Subject.RawDER()
	if err != nil {
		return nil, err
	}
	template := &x509.CertificateRequest{RawSubject: raw}
	if id.URI != nil {
		template.URIs = []*url.URL{id.URI}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return encodeRequest(der), nil
}

func encodeRequest(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// ReadCertificateRequest reads a PKCS#10 request (PEM) that somebody else made, and returns it with nothing around it:
// whatever else the file holds is not sent. It refuses what Signet would refuse for good, where that can be seen from
// here, and says what to write instead.
func ReadCertificateRequest(text []byte, id Identity) (*x509.CertificateRequest, []byte, error) {
	if strings.Contains(string(text), "PRIVATE KEY-----") {
		return nil, nil, errors.New("it holds a private key; write the certificate request alone, which is all that Signet needs")
	}
	block, rest := pem.Decode(text)
	if block == nil || (block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST") {
		return nil, nil, errors.New("it holds no certificate request in PEM (-----BEGIN CERTIFICATE REQUEST-----)")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, nil, errors.New("it holds more than one PEM block; write the certificate request alone")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("malformed certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, nil, fmt.Errorf("the certificate request is not signed with its own key: %w", err)
	}
	name, err := subject.Parse(csr.RawSubject)
	if err != nil {
		return nil, nil, fmt.Errorf("subject of the certificate request: %w", err)
	}
	if !name.IsEmpty() && name.String() != id.Subject.String() {
		return nil, nil, fmt.Errorf("it asks for the subject %.200q; leave the subject empty, or write exactly %s (openssl req -subj /O=%s/OU=%s/CN=%s)", name, id.Subject, id.Subject.Organization, id.Subject.Namespace, id.Subject.Name)
	}
	foreign := slices.DeleteFunc(slices.Clone(csr.URIs), func(u *url.URL) bool { return id.URI == nil || u.String() == id.URI.String() })
	if len(csr.DNSNames)+len(csr.IPAddresses)+len(csr.EmailAddresses)+len(foreign) > 0 || len(csr.URIs) > 1 {
		return nil, nil, errors.New("it asks for subject alternative names; leave them out, Signet writes the only one")
	}
	return csr, encodeRequest(block.Bytes), nil
}

// ReadKey reads one unencrypted private key (PEM; PKCS#8, SEC 1 or PKCS#1). Its errors say nothing of the key.
func ReadKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "EC PARAMETERS" { // what openssl ecparam -genkey writes first
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("it holds no private key in PEM")
	}
	var key any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("the private key is encrypted, which renewal by a timer cannot be; sign a certificate request of it with --csr")
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("it holds a %.40q, not a private key", block.Type)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("the private key is malformed, or of an unknown kind")
	}
	return signer, nil
}

// SigningRequest returns the CertificateSigningRequest by which a certificate of a KafkaUser is asked for. A duration of
// zero leaves the lifetime to the KafkaUser and its KafkaCluster.
func SigningRequest(user *v1alpha1.KafkaUser, issuer string, request []byte, lifetime time.Duration) *certificatesv1.CertificateSigningRequest {
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{
			// The API server cuts a long one before it adds its five characters.
			GenerateName: "signet-" + user.Namespace + "-" + user.Name + "-",
			Annotations:  map[string]string{v1alpha1.AnnotationUser: user.Namespace + "/" + user.Name},
		},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    request,
			SignerName: v1alpha1.SignerName(issuer),
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		},
	}
	if lifetime > 0 {
		seconds := int32(min(lifetime/time.Second, math.MaxInt32))
		csr.Spec.ExpirationSeconds = &seconds
	}
	return csr
}

// CheckDuration tells whether a lifetime can be asked for; zero, for the KafkaUser's own, can.
func CheckDuration(lifetime time.Duration) error {
	if lifetime != 0 && lifetime < MinDuration {
		return fmt.Errorf("--duration %s: the API server accepts no less than %s", lifetime, MinDuration)
	}
	return nil
}

// RefusedError is a CertificateSigningRequest that was denied, or that could not be signed, for good.
type RefusedError struct {
	// Name of the CertificateSigningRequest.
	Name string
	// Condition is Denied or Failed.
	Condition certificatesv1.RequestConditionType
	// Reason and Message are those of the condition.
	Reason, Message string
}

// Error says what was answered.
func (e *RefusedError) Error() string {
	verb := "was denied"
	if e.Condition == certificatesv1.CertificateFailed {
		verb = "could not be signed"
	}
	said := strings.TrimPrefix(strings.TrimSpace(e.Reason+": "+e.Message), ": ")
	return fmt.Sprintf("certificatesigningrequest %s %s: %s", e.Name, verb, cmp.Or(strings.TrimSuffix(said, ":"), "no reason given"))
}

// Outcome returns the certificate of a CertificateSigningRequest; nil while there is none. Its error is a *RefusedError.
func Outcome(csr *certificatesv1.CertificateSigningRequest) ([]byte, error) {
	for _, c := range csr.Status.Conditions {
		if c.Status == corev1.ConditionFalse {
			continue
		}
		if c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed {
			return nil, &RefusedError{Name: csr.Name, Condition: c.Type, Reason: c.Reason, Message: c.Message}
		}
	}
	if len(csr.Status.Certificate) == 0 {
		return nil, nil
	}
	return csr.Status.Certificate, nil
}

// Awaited says in one sentence what a CertificateSigningRequest without an answer waits for, as far as the KafkaUser
// tells; user is nil where it could not be read.
func Awaited(csr *certificatesv1.CertificateSigningRequest, user *v1alpha1.KafkaUser, issuer string) string {
	if user != nil {
		if user.Spec.Suspend {
			return fmt.Sprintf("kafkauser %s/%s is suspended", user.Namespace, user.Name)
		}
		for _, condition := range []string{v1alpha1.ConditionMappingRecorded, v1alpha1.ConditionCertificateReady} {
			for _, p := range problem(user, user.Status.Conditions, condition) {
				if condition == v1alpha1.ConditionMappingRecorded || p.Reason != v1alpha1.ReasonPending {
					return fmt.Sprintf("kafkauser %s/%s: %s: %s: %s", user.Namespace, user.Name, p.Condition, p.Reason, p.Message)
				}
			}
		}
	}
	for _, c := range csr.Status.Conditions {
		if c.Type == certificatesv1.CertificateApproved {
			return "it is approved, and Signet has not signed it yet"
		}
	}
	return fmt.Sprintf("nobody has answered; kubectl signet status tells whether Signet's controller runs and MeshIssuer %s is ready", issuer)
}

// CheckIssued checks that what was issued is a client certificate of this identity for this key, followed by the
// certificates that lead from it towards the root, and returns it with nothing else around it.
func CheckIssued(chain []byte, key crypto.PublicKey, id Identity) (*x509.Certificate, []byte, error) {
	certificates, err := certs.ParseCertificates(chain)
	if err != nil {
		return nil, nil, fmt.Errorf("the certificate that was issued is unreadable: %w", err)
	}
	leaf := certificates[0]
	name, err := subject.Parse(leaf.RawSubject)
	if err != nil {
		return nil, nil, fmt.Errorf("subject of the certificate that was issued: %w", err)
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !public.Equal(key):
		return nil, nil, errors.New("the certificate that was issued is for another key")
	case name.String() != id.Subject.String():
		return nil, nil, fmt.Errorf("the certificate that was issued is of %.200q, not of %q", name, id.Subject)
	case id.URI != nil && (len(leaf.URIs) != 1 || leaf.URIs[0].String() != id.URI.String()):
		return nil, nil, fmt.Errorf("the certificate that was issued does not have exactly the URI %s", id.URI)
	case leaf.IsCA || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}):
		return nil, nil, errors.New("the certificate that was issued is not one for a client")
	}
	for i := range certificates[1:] {
		if err := certificates[i].CheckSignatureFrom(certificates[i+1]); err != nil {
			return nil, nil, fmt.Errorf("the certificates that were issued are no chain: certificate %d is not signed by the next: %w", i+1, err)
		}
	}
	return leaf, certs.EncodeCertificates(certificates), nil
}
