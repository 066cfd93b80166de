// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// worldReader is a client.Reader with one Secret and perhaps a MeshIssuer.
type worldReader struct {
	secretReader
	issuer *v1alpha1.MeshIssuer
}

func (r *worldReader) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	switch into := into.(type) {
	case *v1alpha1.MeshIssuer:
		if r.issuer == nil {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "meshissuers"}, key.Name)
		}
		r.issuer.DeepCopyInto(into)
		return nil
	case *corev1.Secret:
		return r.secretReader.Get(ctx, key, into, opts...)
	}
	return errors.New("not in this world")
}

func TestOwnCertificates(t *testing.T) {
	start := time.Now()
	var clock atomic.Pointer[time.Time]
	clock.Store(&start)
	now := func() time.Time { return *clock.Load() }
	from, to := start.Add(-24*time.Hour), start.Add(1000*time.Hour)
	first, second := newCA(t, "one", rsaKey(t), nil, from, to), newCA(t, "two", p256(t), nil, from, to)
	facts := honest(t, p256(t))
	reader := &worldReader{issuer: facts.Issuer}
	reader.secret.Store(first.secret(t, "1", first))
	signers, authorities := testSigners(t, reader, facts.Issuer)
	own := NewOwnCertificates(signers.reader, authorities, signers, logr.Discard(), now)

	config, err := own.TLSConfig(t.Context(), facts.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName = "broker"
	broker := brokerConfig(t, first, from, to)
	broker.Time = now

	a := handshake(t, config, broker)
	if a.Subject.String() != "CN=kafka,OU=kafka,O=signet-controller" || len(a.URIs) != 1 || a.URIs[0].String() != "spiffe://kafka.signet.dev/controller/kafka/kafka" {
		t.Errorf("subject %s, URIs %v", a.Subject, a.URIs)
	}
	if life := a.NotAfter.Sub(start); life > time.Hour || life < 59*time.Minute {
		t.Errorf("lives for %s", life)
	}
	if b := handshake(t, config, broker); !b.Equal(a) {
		t.Error("a second certificate while the first one is fresh")
	}
	later := start.Add(41 * time.Minute)
	clock.Store(&later)
	c := handshake(t, config, broker)
	if c.Equal(a) {
		t.Error("not renewed after two thirds of its life")
	}
	reader.secret.Store(second.secret(t, "2", second))
	broker.ClientCAs.AddCert(second.certificate)
	adopt(t, authorities, signers.reader, facts.Issuer)
	if d := handshake(t, config, broker); d.Equal(c) || d.Issuer.String() != "O=two" {
		t.Errorf("still signed by %s after the CA changed", d.Issuer)
	}
}

// TestOwnCertificatesWithSASL holds that Signet presents no certificate where it logs in otherwise, and still has one for
// the listener by which brokers' trust in a new CA is tried.
func TestOwnCertificatesWithSASL(t *testing.T) {
	facts := honest(t, p256(t))
	ca := newCA(t, "mesh", p256(t), nil, testNow.Add(-time.Hour), testNow.Add(24*time.Hour))
	reader := &worldReader{issuer: facts.Issuer}
	reader.secret.Store(ca.secret(t, "1", ca))
	signers, authorities := testSigners(t, reader, facts.Issuer)
	adopt(t, authorities, signers.reader, facts.Issuer)
	own := NewOwnCertificates(signers.reader, authorities, signers, logr.Discard(), func() time.Time { return testNow })
	cluster := facts.Cluster.DeepCopy()
	cluster.Spec.Listeners = append(cluster.Spec.Listeners, v1alpha1.Listener{Name: "sasl", Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationSASL})
	cluster.Spec.Admin = v1alpha1.AdminConnection{Listener: "sasl", SASL: &v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismSCRAMSHA512}}
	config, err := own.TLSConfig(t.Context(), cluster)
	if err != nil || config.RootCAs == nil || config.GetClientCertificate != nil || len(config.Certificates) != 0 {
		t.Errorf("%+v, %v", config, err)
	}
	signer, err := signers.SignerFor(t.Context(), facts.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	if trial, err := own.TrialConfig(t.Context(), cluster, signer); err != nil || len(trial.Certificates) != 1 {
		t.Errorf("trial: %v", err)
	}
	cluster.Spec.Listeners = cluster.Spec.Listeners[1:]
	if trial, err := own.TrialConfig(t.Context(), cluster, signer); err != nil || len(trial.Certificates) != 0 {
		t.Errorf("trial where no listener verifies clients: %v", err)
	}
}

func TestOwnCertificatesErrors(t *testing.T) {
	facts := honest(t, p256(t))
	expired := newCA(t, "mesh", p256(t), nil, testNow.Add(-2*time.Hour), testNow.Add(-time.Hour))
	for name, test := range map[string]struct {
		issuer *v1alpha1.MeshIssuer
		change func(*v1alpha1.KafkaCluster)
		want   error
	}{
		"no issuer":   {nil, func(*v1alpha1.KafkaCluster) {}, certs.ErrIssuerNotFound},
		"expired CA":  {facts.Issuer, func(*v1alpha1.KafkaCluster) {}, certs.ErrCAExpired},
		"no listener": {facts.Issuer, func(c *v1alpha1.KafkaCluster) { c.Spec.Admin.Listener = "other" }, errNoAdminListener},
	} {
		t.Run(name, func(t *testing.T) {
			reader := &worldReader{issuer: test.issuer}
			reader.secret.Store(expired.secret(t, "1", expired))
			cluster := facts.Cluster.DeepCopy()
			test.change(cluster)
			signers, authorities := testSigners(t, reader, test.issuer)
			own := NewOwnCertificates(signers.reader, authorities, signers, logr.Discard(), func() time.Time { return testNow })
			if _, err := own.TLSConfig(t.Context(), cluster); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// brokerConfig is a TLS server like a broker: it demands a client certificate of the CA.
func brokerConfig(t *testing.T, ca testCA, from, to time.Time) *tls.Config {
	t.Helper()
	key := p256(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: []string{"broker"}, NotBefore: from, NotAfter: to, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
}

// handshake connects and returns the client certificate that the broker verified.
func handshake(t *testing.T, clientConfig, serverConfig *tls.Config) *x509.Certificate {
	t.Helper()
	here, there := net.Pipe()
	server := tls.Server(there, serverConfig)
	done := make(chan error, 1)
	go func() {
		err := server.HandshakeContext(t.Context())
		if err == nil {
			_, err = server.Write([]byte("x"))
		}
		done <- err
	}()
	c := tls.Client(here, clientConfig)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil { // TLS 1.3 tells of a refused certificate only here
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_ = here.Close()
	_ = there.Close()
	return server.ConnectionState().PeerCertificates[0]
}
