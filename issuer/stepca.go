// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/smallstep/certificates/cas/apiv1"
	"go.step.sm/crypto/jose"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// Bounds of what is asked of a step-ca and read from it.
const (
	stepTimeout     = 15 * time.Second
	maxStepBytes    = 256 << 10
	maxStepChain    = 8
	maxStepRoots    = 16
	maxJWKBytes     = 64 << 10
	stepTokenLife   = 5 * time.Minute
	stepTokenSkew   = time.Minute
	maxRefusalChars = 300
)

// The keys of the Secret of a StepCASource.
const (
	keyJWK      = "jwk"
	keyPassword = "password"
)

var (
	// errNoRequest means that a certificate was asked for without a request that a step-ca could sign. It is permanent.
	errNoRequest = errors.New("a step-ca signs what the certificate request itself says, so that has to carry the KafkaUser's subject and SPIFFE ID; " +
		"a kubelet's does not: let the KafkaUser have the delivery Secret")
	// errCARefused means that the step-ca answered that it will not. It passes when somebody changes its configuration or
	// the MeshIssuer, so it is worth a retry; its text is for the log.
	errCARefused = errors.New("the step-ca refused")
)

// ReasonNeedsRequest is the reason of a refusal: the MeshIssuer's CA signs requests with names in them only.
const ReasonNeedsRequest = "NeedsCertificateRequest"

// refusalFor returns the refusal that the error of a back end stands for; nil where asking again may help.
func refusalFor(err error) *Refusal {
	if errors.Is(err, errNoRequest) {
		return &Refusal{Kind: Permanent, Reason: ReasonNeedsRequest, Detail: errNoRequest.Error(), Answer: errNoRequest.Error()}
	}
	return nil
}

// stepCA has a step-ca sign, by its HTTP API and a one-time token of a JWK provisioner. It takes the place of smallstep's
// cas/stepcas, which links the whole of step-ca's server.
type stepCA struct {
	base        *url.URL
	client      *http.Client
	provisioner string
	signer      jose.Signer
	roots       []*x509.Certificate
}

// newStepCA returns a back end for the step-ca, whose roots it asks for as stepRoots does, and which it trusts from then on.
// data is that of the Secret that the source names: the private key of the provisioner, perhaps encrypted, and its password.
//
// Errors wrap certs.ErrCANotFound or certs.ErrCAInvalid where the MeshIssuer or the Secret has to be corrected; every other
// one, such as a step-ca that cannot be reached, is worth a retry. None holds anything of the Secret.
func newStepCA(ctx context.Context, source v1alpha1.StepCASource, data map[string][]byte) (apiv1.CertificateAuthorityService, error) {
	signer, err := provisionerSigner(data)
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w", source.SecretRef.Namespace, source.SecretRef.Name, err)
	}
	base, err := stepURL(source)
	if err != nil {
		return nil, err
	}
	roots, err := stepRoots(ctx, source)
	if err != nil {
		return nil, err
	}
	return &stepCA{base: base, client: pinnedClient(roots), provisioner: source.Provisioner, signer: signer, roots: roots}, nil
}

// stepRoots returns the root certificates of a step-ca: first the one whose fingerprint is given, by which the others are
// fetched. A step-ca whose root is about to change lists both, so that verifiers can trust the new one beforehand.
//
// Errors are those of newStepCA.
func stepRoots(ctx context.Context, source v1alpha1.StepCASource) ([]*x509.Certificate, error) {
	base, err := stepURL(source)
	if err != nil {
		return nil, err
	}
	var one struct {
		CA string `json:"ca"`
	}
	// Nothing about this connection is trusted: the answer has to have the fingerprint.
	blind := stepClient(&tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}) //nolint:gosec // see above
	defer blind.CloseIdleConnections()
	err = call(ctx, blind, http.MethodGet, base.JoinPath("root", source.Fingerprint), nil, &one)
	if errors.Is(err, errCARefused) {
		return nil, fmt.Errorf("%w: the step-ca at %s has no root with the fingerprint %s; correct spec.ca.stepCA.fingerprint (%w)", certs.ErrCAInvalid, base, source.Fingerprint, err)
	}
	if err != nil {
		return nil, err
	}
	pinned, err := certs.ParseCertificates([]byte(one.CA))
	if err != nil {
		return nil, fmt.Errorf("root of the step-ca at %s: %w", base, err)
	}
	if sum := certs.Fingerprint(pinned[0].Raw); len(pinned) != 1 || sum != source.Fingerprint {
		return nil, fmt.Errorf("%w: the step-ca at %s answers with the root %s, not with %s; correct spec.ca.stepCA.fingerprint, or find out who answers there",
			certs.ErrCAInvalid, base, sum, source.Fingerprint)
	}
	var all struct {
		Roots []string `json:"crts"`
	}
	client := pinnedClient(pinned)
	defer client.CloseIdleConnections()
	if err := call(ctx, client, http.MethodGet, base.JoinPath("roots"), nil, &all); err != nil {
		return nil, err
	}
	listed, err := certs.ParseCertificates([]byte(strings.Join(all.Roots, "\n")))
	if err != nil {
		return nil, fmt.Errorf("roots of the step-ca at %s: %w", base, err)
	}
	roots := pinned
	for _, c := range listed {
		if !slices.ContainsFunc(roots, c.Equal) {
			roots = append(roots, c)
		}
	}
	if len(roots) > maxStepRoots {
		return nil, fmt.Errorf("%w: the step-ca at %s has %d roots; at most %d are trusted", certs.ErrCAInvalid, base, len(roots), maxStepRoots)
	}
	for _, c := range roots {
		if !c.BasicConstraintsValid || !c.IsCA {
			return nil, fmt.Errorf("%w: the root %q of the step-ca at %s is not a CA", certs.ErrCAInvalid, c.Subject, base)
		}
	}
	return roots, nil
}

// stepURL reads the address of the step-ca.
func stepURL(source v1alpha1.StepCASource) (*url.URL, error) {
	base, err := url.Parse(source.URL)
	if err != nil || base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("%w: spec.ca.stepCA.url %.200q is not https://host[:port][/path]", certs.ErrCAInvalid, source.URL)
	}
	return base, nil
}

// pinnedClient returns an HTTP client that trusts these roots and no other.
func pinnedClient(roots []*x509.Certificate) *http.Client {
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}
	return stepClient(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool})
}

func stepClient(config *tls.Config) *http.Client {
	return &http.Client{
		Timeout: stepTimeout,
		// A token must not go where a redirect says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
			IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// call sends a request and reads the JSON of the answer into answer. Errors wrap errCARefused where the step-ca says no, and
// certs.ErrCAInvalid where it is not the one with the trusted root.
func call(ctx context.Context, client *http.Client, method string, at *url.URL, body []byte, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the step-ca at %s: %w", at, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		var unverified *tls.CertificateVerificationError
		if errors.As(err, &unverified) {
			return fmt.Errorf("%w: what answers at %s has no certificate for that name below the root with the given fingerprint: %w", certs.ErrCAInvalid, at, unverified.Err)
		}
		return fmt.Errorf("ask the step-ca: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxStepBytes+1))
	if err != nil {
		return fmt.Errorf("read what the step-ca at %s answers: %w", at, err)
	}
	switch code := response.StatusCode; {
	case len(text) > maxStepBytes:
		return fmt.Errorf("the step-ca at %s answers with more than %d bytes", at, maxStepBytes)
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return fmt.Errorf("the step-ca at %s is out of order: HTTP %d: %s", at, code, messageOf(text))
	case code >= 300:
		return fmt.Errorf("%w at %s: HTTP %d: %s", errCARefused, at, code, messageOf(text))
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("the step-ca at %s does not answer in JSON", at)
	}
	return nil
}

// messageOf returns the message of step-ca's error, bounded and in quotes.
func messageOf(text []byte) string {
	var e struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &e) != nil || e.Message == "" {
		return "no reason given"
	}
	return fmt.Sprintf("%.*q", maxRefusalChars, e.Message)
}

// provisionerSigner returns what signs the tokens of a JWK provisioner.
func provisionerSigner(data map[string][]byte) (jose.Signer, error) {
	text := data[keyJWK]
	if len(text) == 0 {
		return nil, fmt.Errorf("%w: it has no key %s with the private key of the provisioner", certs.ErrCANotFound, keyJWK)
	}
	if len(text) > maxJWKBytes {
		return nil, fmt.Errorf("%w: key %s has %d bytes; at most %d are read", certs.ErrCAInvalid, keyJWK, len(text), maxJWKBytes)
	}
	// None of the library's errors is passed on: some quote what they read.
	key, err := jose.ParseKey(text, jose.WithPassword(bytes.TrimRight(data[keyPassword], "\r\n")))
	if err != nil {
		if _, encrypted := jose.ParseEncrypted(string(text)); encrypted == nil {
			return nil, fmt.Errorf("%w: the password in key %s does not decrypt key %s", certs.ErrCAInvalid, keyPassword, keyJWK)
		}
		return nil, fmt.Errorf("%w: key %s is not a JSON Web Key", certs.ErrCAInvalid, keyJWK)
	}
	if _, ok := key.Key.(crypto.Signer); !ok {
		return nil, fmt.Errorf("%w: key %s is not a private key that signs (EC, RSA or Ed25519)", certs.ErrCAInvalid, keyJWK)
	}
	id := key.KeyID
	if id == "" {
		if id, err = jose.Thumbprint(key); err != nil {
			return nil, fmt.Errorf("%w: key %s has no thumbprint", certs.ErrCAInvalid, keyJWK)
		}
	}
	options := new(jose.SignerOptions).WithType("JWT").WithHeader("kid", id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key.Key}, options)
	if err != nil {
		return nil, fmt.Errorf("%w: key %s cannot sign as its algorithm says", certs.ErrCAInvalid, keyJWK)
	}
	return signer, nil
}

// Type returns the type of the back end, for apiv1.TypeOf.
func (*stepCA) Type() apiv1.Type { return apiv1.StepCAS }

// CreateCertificate has the step-ca sign the request, which has to ask for what the template grants, until the template's end.
// It returns what the step-ca signed with the chain to one of the roots, which is left out: to hold it to the template is for
// checkSigned. The errors are errNoRequest, errCARefused and errNotAsGranted, which see, or worth a retry.
func (s *stepCA) CreateCertificate(request *apiv1.CreateCertificateRequest) (*apiv1.CreateCertificateResponse, error) {
	csr, template := request.CSR, request.Template
	if csr == nil || template == nil || len(template.URIs) != 1 || !bytes.Equal(csr.RawSubject, template.RawSubject) ||
		len(csr.URIs) != 1 || csr.URIs[0].String() != template.URIs[0].String() {
		return nil, errNoRequest
	}
	now := time.Now()
	token, err := s.token(csr, now)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{
		"csr": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr.Raw})), "ott": token, "notAfter": template.NotAfter.UTC().Format(time.RFC3339),
	})
	if err != nil {
		return nil, fmt.Errorf("encode the request to the step-ca: %w", err)
	}
	var answer struct {
		Certificate string   `json:"crt"`
		CA          string   `json:"ca"`
		Chain       []string `json:"certChain"`
	}
	// The interface of back ends has no context; the client has a timeout.
	if err := call(context.Background(), s.client, http.MethodPost, s.base.JoinPath("1.0", "sign"), body, &answer); err != nil {
		return nil, err
	}
	if len(answer.Chain) == 0 {
		answer.Chain = []string{answer.Certificate, answer.CA}
	}
	chain, err := certs.ParseCertificates([]byte(strings.Join(answer.Chain, "\n")))
	if err != nil {
		return nil, fmt.Errorf("what the step-ca at %s signed: %w", s.base, err)
	}
	if len(chain) > maxStepChain {
		return nil, fmt.Errorf("%w: the step-ca's chain is longer than %d certificates", errNotAsGranted, maxStepChain)
	}
	path, err := s.verify(chain, now)
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateCertificateResponse{Certificate: chain[0], CertificateChain: path}, nil
}

// verify returns what is between the leaf, which is the first of the chain, and one of the roots. A step-ca that has begun to
// sign below a root that verifiers do not trust yet is refused here.
func (s *stepCA) verify(chain []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range s.roots {
		roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	// The step-ca's clock may be ahead.
	if start := chain[0].NotBefore; start.After(now) && start.Sub(now) <= stepTokenSkew {
		now = start
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: it does not verify below the roots of the step-ca at %s: %w", errNotAsGranted, s.base, err)
	}
	outlived := func(path []*x509.Certificate) bool {
		return slices.ContainsFunc(path, func(c *x509.Certificate) bool { return c.NotAfter.Before(chain[0].NotAfter) })
	}
	for _, path := range paths {
		if !outlived(path) {
			return path[1 : len(path)-1], nil
		}
	}
	return nil, fmt.Errorf("%w: it outlives the certificates above it; renew what the step-ca at %s signs with", errNotAsGranted, s.base)
}

// token returns a one-time token for this request and no other: step-ca compares the names and, by the claim cnf, the request
// as a whole.
func (s *stepCA) token(csr *x509.CertificateRequest, now time.Time) (string, error) {
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return "", fmt.Errorf("random token id: %w", err)
	}
	// step-ca knows itself by name, not by the path that a proxy in front of it may add.
	audience := url.URL{Scheme: s.base.Scheme, Host: s.base.Host, Path: "/1.0/sign"}
	sum := sha256.Sum256(csr.Raw)
	token, err := jose.Signed(s.signer).Claims(jose.Claims{
		ID: hex.EncodeToString(id), Issuer: s.provisioner, Subject: csr.Subject.CommonName, Audience: jose.Audience{audience.String()},
		IssuedAt: jose.NewNumericDate(now), NotBefore: jose.NewNumericDate(now.Add(-stepTokenSkew)), Expiry: jose.NewNumericDate(now.Add(stepTokenLife)),
	}).Claims(map[string]any{
		"sans": []string{csr.URIs[0].String()},
		"cnf":  map[string]string{"x5rt#S256": base64.RawURLEncoding.EncodeToString(sum[:])},
	}).CompactSerialize()
	if err != nil {
		return "", errors.New("sign a token for the step-ca: the provisioner's key cannot sign")
	}
	return token, nil
}

// RenewCertificate is not what Signet does: every certificate comes of a new decision.
func (*stepCA) RenewCertificate(*apiv1.RenewCertificateRequest) (*apiv1.RenewCertificateResponse, error) {
	return nil, apiv1.NotImplementedError{Message: "certificates are not renewed without a new request"}
}

// RevokeCertificate is not what Signet does: certificates are short-lived, and removing a principal's ACLs takes effect at
// once.
func (*stepCA) RevokeCertificate(*apiv1.RevokeCertificateRequest) (*apiv1.RevokeCertificateResponse, error) {
	return nil, apiv1.NotImplementedError{Message: "certificates are not revoked"}
}
