// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/principal"
)

// ownLife is the lifetime of Signet's own client certificates; they are renewed at two thirds.
const ownLife = time.Hour

// OwnCertificates are Signet's own client certificates, by which it administers Kafka. Those that a MeshIssuer signs
// live with their key in memory only, one for each cluster. With an issuer of cert-manager's own they are in the Secret
// of the Certificate that package certs makes.
type OwnCertificates struct {
	reader      client.Reader
	authorities *certs.Authorities
	signers     *Signers
	log         logr.Logger
	now         func() time.Time

	mu    sync.Mutex
	known map[client.ObjectKey]ownCertificate
}

type ownCertificate struct {
	signer      *Signer
	subject     string
	uri         string
	certificate *tls.Certificate
	renewAt     time.Time
}

// NewOwnCertificates returns an empty OwnCertificates. reader is a certs.Named, log takes the audit, now is the clock.
func NewOwnCertificates(reader client.Reader, authorities *certs.Authorities, signers *Signers, log logr.Logger, now func() time.Time) *OwnCertificates {
	return &OwnCertificates{reader: reader, authorities: authorities, signers: signers, log: log, now: now, known: map[client.ObjectKey]ownCertificate{}}
}

// TLSConfig returns how to connect to the admin listener of a cluster: it trusts what the listener's clients trust, as of
// now, and presents a certificate that is fresh at each handshake, signed by the CA as it is then; with SASL it presents
// none. Errors are those of certs.ReasonOf, or worth a retry. Take a new one after each failed handshake: the roots in it do not change.
func (o *OwnCertificates) TLSConfig(ctx context.Context, cluster *v1alpha1.KafkaCluster) (*tls.Config, error) {
	listener, ok := cluster.AdminListener()
	if !ok {
		return nil, fmt.Errorf("kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, errNoAdminListener)
	}
	config, err := o.trusting(ctx, cluster, listener)
	if err != nil || cluster.Spec.Admin.SASL != nil {
		return config, err
	}
	if _, err := o.certificate(ctx, cluster); err != nil {
		return nil, err
	}
	cluster = cluster.DeepCopy()
	config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return o.certificate(info.Context(), cluster)
	}
	return config, nil
}

// TrialConfig is how to connect to the listener that verifies clients, with a certificate that is signed by another CA than
// the one in use, to see whether brokers accept it. The certificate is used for that alone.
func (o *OwnCertificates) TrialConfig(ctx context.Context, cluster *v1alpha1.KafkaCluster, signer *Signer) (*tls.Config, error) {
	listener, ok := cluster.VerifyingListener()
	if !ok {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil // there is nobody to connect to
	}
	config, err := o.trusting(ctx, cluster, listener)
	if err != nil {
		return nil, err
	}
	issuer, identity, err := o.identity(ctx, cluster)
	if err != nil {
		return nil, err
	}
	certificate, _, err := o.sign(ctx, cluster, issuer, identity, signer, o.now())
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{*certificate}
	return config, nil
}

// trusting returns a configuration that verifies the brokers behind a listener.
func (o *OwnCertificates) trusting(ctx context.Context, cluster *v1alpha1.KafkaCluster, listener v1alpha1.Listener) (*tls.Config, error) {
	trust, err := o.authorities.ServerTrust(ctx, cluster, listener)
	if err != nil {
		return nil, fmt.Errorf("kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trust)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, nil
}

// identity returns Signet's own identity towards a cluster, and who signs it.
func (o *OwnCertificates) identity(ctx context.Context, cluster *v1alpha1.KafkaCluster) (*v1alpha1.MeshIssuer, Identity, error) {
	name := cluster.Spec.Certificates.IssuerRef.Name
	issuer, err := read(ctx, o.reader, client.ObjectKey{Name: name}, &v1alpha1.MeshIssuer{})
	if err != nil {
		return nil, Identity{}, err
	}
	if issuer == nil {
		return nil, Identity{}, fmt.Errorf("%w: meshissuer %s", certs.ErrIssuerNotFound, name)
	}
	id, err := principal.ControllerSPIFFEID(certs.TrustDomain(issuer), cluster.Namespace, cluster.Name)
	if err != nil {
		return nil, Identity{}, err
	}
	identity, err := newIdentity(principal.ControllerSubject(cluster), id.URL())
	return issuer, identity, err
}

// certificate returns the certificate for a cluster: the one in use until it is due, or the CA or the identity changed.
func (o *OwnCertificates) certificate(ctx context.Context, cluster *v1alpha1.KafkaCluster) (*tls.Certificate, error) {
	if !cluster.Spec.Certificates.IssuerRef.IsMeshIssuer() {
		return certs.ReadAdminCertificate(ctx, o.reader, cluster)
	}
	issuer, identity, err := o.identity(ctx, cluster)
	if err != nil {
		return nil, err
	}
	signer, err := o.signers.SignerFor(ctx, issuer)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	key, now := client.ObjectKeyFromObject(cluster), o.now()
	if c, ok := o.known[key]; ok && c.signer.ca.Certificate.Equal(signer.ca.Certificate) && c.subject == identity.Subject && c.uri == identity.URI.String() && now.Before(c.renewAt) {
		return c.certificate, nil
	}
	certificate, signed, err := o.sign(ctx, cluster, issuer, identity, signer, now)
	if err != nil {
		return nil, err
	}
	o.known[key] = ownCertificate{
		signer: signer, subject: identity.Subject, uri: identity.URI.String(), certificate: certificate,
		renewAt: now.Add(signed.Certificate.NotAfter.Sub(now) * 2 / 3),
	}
	return certificate, nil
}

func (o *OwnCertificates) sign(ctx context.Context, cluster *v1alpha1.KafkaCluster, issuer *v1alpha1.MeshIssuer, identity Identity, signer *Signer, now time.Time) (*tls.Certificate, *Signed, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key for kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	csr, err := identity.Request(private)
	if err != nil {
		return nil, nil, err
	}
	grant := Grant{Identity: identity, PublicKey: private.Public(), Duration: min(ownLife, certs.MaxDuration(issuer)), CSR: csr}
	signed, refusal, err := signer.Sign(ctx, grant, now)
	if err != nil {
		return nil, nil, err
	}
	if refusal != nil {
		return nil, nil, fmt.Errorf("%w: meshissuer %s: %s", certs.ErrCAExpired, issuer.Name, refusal.Detail)
	}
	Audit{
		Outcome: Issued, Requester: "signet-controller", Object: "KafkaCluster " + client.ObjectKeyFromObject(cluster).String(), Issuer: issuer.Name, Reason: "Controller",
		Grant: &grant, Signed: signed,
	}.Log(o.log)
	leaf, err := x509.ParseCertificate(signed.Certificate.Raw)
	if err != nil {
		return nil, nil, fmt.Errorf("read the certificate of kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	chain := [][]byte{leaf.Raw}
	for _, c := range signed.Intermediates {
		chain = append(chain, c.Raw)
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: private, Leaf: leaf}, signed, nil
}

// Request returns a certificate request for exactly this identity, signed with the key.
func (i Identity) Request(key crypto.Signer) (*x509.CertificateRequest, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: i.RawSubject, URIs: []*url.URL{i.URI}}, key)
	if err != nil {
		return nil, fmt.Errorf("request a certificate for %s: %w", i.Subject, err)
	}
	return x509.ParseCertificateRequest(der)
}

// errNoAdminListener cannot happen past the CRD's validation.
var errNoAdminListener = errors.New("spec.admin.listener names none of the listeners")
