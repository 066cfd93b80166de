// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/principal"
)

// ownLife is the lifetime of Signet's own client certificates; they are renewed at two thirds.
const ownLife = time.Hour

// OwnCertificates signs Signet's own client certificates, by which it administers Kafka. Key and certificate live in
// memory only, one for each cluster.
type OwnCertificates struct {
	reader  client.Reader
	signers *Signers
	log     logr.Logger
	now     func() time.Time

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
func NewOwnCertificates(reader client.Reader, signers *Signers, log logr.Logger, now func() time.Time) *OwnCertificates {
	return &OwnCertificates{reader: reader, signers: signers, log: log, now: now, known: map[client.ObjectKey]ownCertificate{}}
}

// TLSConfig returns how to connect to the admin listener of a cluster: it trusts what the listener's clients trust, as of
// now, and presents a certificate that is fresh at each handshake, signed by the CA as it is then. Errors are those of
// certs.ReasonOf, or worth a retry. Take a new one after each failed handshake: the roots in it do not change.
func (o *OwnCertificates) TLSConfig(ctx context.Context, cluster *v1alpha1.KafkaCluster) (*tls.Config, error) {
	listener, ok := cluster.AdminListener()
	if !ok {
		return nil, fmt.Errorf("kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, errNoAdminListener)
	}
	trust, err := certs.ServerTrust(ctx, o.reader, cluster, listener)
	if err != nil {
		return nil, fmt.Errorf("kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trust)
	if _, err := o.certificate(ctx, cluster); err != nil {
		return nil, err
	}
	cluster = cluster.DeepCopy()
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots,
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return o.certificate(info.Context(), cluster)
		},
	}, nil
}

// certificate returns the certificate for a cluster: the one in use until it is due, or the CA or the identity changed.
func (o *OwnCertificates) certificate(ctx context.Context, cluster *v1alpha1.KafkaCluster) (*tls.Certificate, error) {
	var issuer v1alpha1.MeshIssuer
	name := cluster.Spec.Certificates.IssuerRef.Name
	if err := o.reader.Get(ctx, client.ObjectKey{Name: name}, &issuer); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("%w: meshissuer %s", certs.ErrIssuerNotFound, name)
		}
		return nil, fmt.Errorf("read meshissuer %s: %w", name, err)
	}
	signer, err := o.signers.SignerFor(ctx, &issuer)
	if err != nil {
		return nil, err
	}
	id, err := principal.ControllerSPIFFEID(certs.TrustDomain(&issuer), cluster.Namespace, cluster.Name)
	if err != nil {
		return nil, err
	}
	identity, err := newIdentity(principal.ControllerSubject(cluster), id.URL())
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	key, now := client.ObjectKeyFromObject(cluster), o.now()
	if c, ok := o.known[key]; ok && c.signer == signer && c.subject == identity.Subject && c.uri == identity.URI.String() && now.Before(c.renewAt) {
		return c.certificate, nil
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for kafkacluster %s: %w", key, err)
	}
	grant := Grant{Identity: identity, PublicKey: private.Public(), Duration: min(ownLife, certs.MaxDuration(&issuer))}
	signed, refusal, err := signer.Sign(grant, now)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, fmt.Errorf("%w: meshissuer %s: %s", certs.ErrCAExpired, name, refusal.Detail)
	}
	Audit{
		Outcome: Issued, Requester: "signet-controller", Object: "KafkaCluster " + key.String(), Issuer: name, Reason: "Controller",
		Grant: &grant, Signed: signed,
	}.Log(o.log)
	chain := [][]byte{signed.Certificate.Raw}
	for _, c := range signer.CA().Intermediates {
		chain = append(chain, c.Raw)
	}
	certificate := &tls.Certificate{Certificate: chain, PrivateKey: private, Leaf: signed.Certificate}
	o.known[key] = ownCertificate{
		signer: signer, subject: identity.Subject, uri: identity.URI.String(), certificate: certificate,
		renewAt: now.Add(signed.Certificate.NotAfter.Sub(now) * 2 / 3),
	}
	return certificate, nil
}

// errNoAdminListener cannot happen past the CRD's validation.
var errNoAdminListener = errors.New("spec.admin.listener names none of the listeners")
