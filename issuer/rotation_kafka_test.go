// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/test/await"
)

// These tests start a real broker: see access/kafka_test.go.

// rotationWorld is a MeshIssuer over a real, stock broker, which gets its client CA as a file from the ConfigMap that
// Signet renders, some time after it was rendered, and re-reads it only when it is told to.
type rotationWorld struct {
	t           *testing.T
	api         client.Client
	issuer      *v1alpha1.MeshIssuer
	cluster     *v1alpha1.KafkaCluster
	authorities *certs.Authorities
	signers     *Signers
	controller  *MeshIssuerController
	broker      *kafkatest.Broker
	server      *kafkatest.Authority
	// ahead is how far the rotation's clock is ahead of the one by which certificates are signed and verified.
	ahead atomic.Int64
	// mounted is what the broker's file holds of the ConfigMap, late whether it is behind.
	mounted string
	late    bool
}

func newRotationWorld(t *testing.T, mode v1alpha1.CAMode, mesh *corev1.Secret) *rotationWorld {
	t.Helper()
	w := &rotationWorld{t: t, server: kafkatest.NewAuthority(t)}
	w.broker = kafkatest.Start(t, w.server, kafkatest.Options{Properties: kafkatest.Authorizer + "super.users=User:broker;User:signet:kafka.kafka;User:shop.orders\n"})
	w.issuer = &v1alpha1.MeshIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "mesh", UID: "mesh-uid"},
		Spec: v1alpha1.MeshIssuerSpec{
			CA:          v1alpha1.CASource{Mode: mode, SecretRef: &v1alpha1.SecretReference{Namespace: "istio-system", Name: "istio-ca-secret"}},
			TrustDomain: "kafka.signet.dev", MaxDuration: metav1.Duration{Duration: 24 * time.Hour},
		},
	}
	w.cluster = &v1alpha1.KafkaCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka", UID: "kafka-uid"},
		Spec: v1alpha1.KafkaClusterSpec{
			Listeners: []v1alpha1.Listener{{
				Name: "mtls", Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationMTLS,
				BootstrapServers: []string{w.broker.Address}, ServerCA: &v1alpha1.KeyReference{ConfigMap: "server-ca", Key: "ca.crt"},
			}},
			Admin:           v1alpha1.AdminConnection{Listener: "mtls"},
			Certificates:    v1alpha1.CertificateDefaults{IssuerRef: v1alpha1.IssuerReference{Name: "mesh", Kind: "MeshIssuer"}, Organization: "signet"},
			MeshTrustDomain: "cluster.local",
		},
	}
	w.api = fake.NewClientBuilder().WithScheme(testScheme(t)).WithStatusSubresource(&v1alpha1.MeshIssuer{}).WithObjects(
		mesh, w.issuer, w.cluster,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "server-ca"}, Data: map[string]string{"ca.crt": string(w.server.PEM())}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: v1alpha1.BrokerConfigName("kafka")}},
	).Build()
	named := certs.NewNamed(func(certs.Reference) cache.ListerWatcher { return nil }, w.api, w.api)
	w.authorities = certs.NewAuthorities(named, w.api, w.api, "signet-system")
	w.signers = NewSigners(named, w.authorities)
	own := NewOwnCertificates(named, w.authorities, w.signers, testLogger(t), time.Now)
	connections := access.NewConnections(own, "kubernetes")
	t.Cleanup(connections.CloseAll)
	w.controller = &MeshIssuerController{
		Client: w.api, Named: named, Authorities: w.authorities, Signers: w.signers,
		Verifiers: &ClusterVerifiers{Client: w.api, Live: w.api, Authorities: w.authorities, Own: own, Brokers: connections},
		Rotation:  certs.RotationSettings{Settle: 2 * time.Second, Observe: 500 * time.Millisecond},
		Recorder:  events.NewFakeRecorder(1000),
		Now:       func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) },
	}
	return w
}

// reconcile does what controllers and kubelets do: the broker's file from its ConfigMap, which a new root reaches one
// round late, the rotation's next step, and the ConfigMap.
func (w *rotationWorld) reconcile() v1alpha1.RotationStatus {
	w.t.Helper()
	var config corev1.ConfigMap
	key := client.ObjectKey{Namespace: "kafka", Name: v1alpha1.BrokerConfigName("kafka")}
	if err := w.api.Get(w.t.Context(), key, &config); err != nil {
		w.t.Fatal(err)
	}
	trust := config.Data[v1alpha1.KeyClientCA]
	if late := len(trust) > len(w.mounted) && w.mounted != "" && !w.late; late {
		w.late = true
	} else {
		w.broker.Write("ca.pem", append(w.server.PEM(), trust...))
		w.mounted, w.late = trust, false
	}
	if _, err := w.controller.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.issuer)}); err != nil {
		w.t.Fatal(err)
	}
	want, err := w.authorities.ClientTrust(w.t.Context(), w.cluster)
	if err != nil {
		w.t.Fatal(err)
	}
	if trust != string(want) {
		config.Data = map[string]string{v1alpha1.KeyClientCA: string(want)}
		if err := w.api.Update(w.t.Context(), &config); err != nil {
			w.t.Fatal(err)
		}
	}
	var issuer v1alpha1.MeshIssuer
	if err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(w.issuer), &issuer); err != nil {
		w.t.Fatal(err)
	}
	if issuer.Status.Rotation == nil {
		w.t.Fatalf("no rotation in the status: %+v", issuer.Status.Conditions)
	}
	return *issuer.Status.Rotation
}

// reach reconciles until the rotation is in the phase.
func (w *rotationWorld) reach(phase v1alpha1.RotationPhase) {
	w.t.Helper()
	var last v1alpha1.RotationStatus
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if last = w.reconcile(); last.Phase == phase {
			return
		}
	}
	w.t.Fatalf("the rotation is still %s and not %s: %s\nbroker:\n%s", last.Phase, phase, last.Message, w.broker.Log())
}

// replace puts another mesh CA into the Secret.
func (w *rotationWorld) replace(data map[string][]byte) {
	w.t.Helper()
	var secret corev1.Secret
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: "istio-system", Name: "istio-ca-secret"}, &secret); err != nil {
		w.t.Fatal(err)
	}
	secret.Data = data
	if err := w.api.Update(w.t.Context(), &secret); err != nil {
		w.t.Fatal(err)
	}
}

// sign signs a certificate for KafkaUser shop/orders with the CA that signs now.
func (w *rotationWorld) sign() (*tls.Certificate, error) {
	ctx := context.WithoutCancel(w.t.Context())
	signer, err := w.signers.SignerFor(ctx, w.issuer)
	if err != nil {
		return nil, err
	}
	identity, err := UserIdentity(&v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}}, w.cluster, w.issuer)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(p256Curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	signed, refusal, err := signer.Sign(ctx, Grant{Identity: identity, PublicKey: key.Public(), Duration: time.Hour}, time.Now())
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	leaf, err := x509.ParseCertificate(signed.Certificate.Raw)
	if err != nil {
		return nil, err
	}
	chain := [][]byte{leaf.Raw}
	for _, c := range signed.Intermediates {
		chain = append(chain, c.Raw)
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

// client connects as the certificate that current returns at each handshake, and counts handshakes.
func (w *rotationWorld) client(current func() *tls.Certificate, handshakes *atomic.Int64, options ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.server.Trust(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		handshakes.Add(1)
		return current(), nil
	}}
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(w.broker.Address), kgo.RequestRetries(0), kgo.RecordRetries(0),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
		}),
	}, options...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// load produces and consumes until stopped, in connections that last and in new ones, with a certificate that is renewed
// all the time. Nothing is tried twice.
type load struct {
	current            atomic.Pointer[tls.Certificate]
	requests, received atomic.Int64
	handshakes         atomic.Int64
	renewals           atomic.Int64
	mu                 sync.Mutex
	failures           []error
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, err)
}

func (w *rotationWorld) startLoad(topic string) (*load, func()) {
	w.t.Helper()
	l := &load{}
	first, err := w.sign()
	if err != nil {
		w.t.Fatal(err)
	}
	l.current.Store(first)
	admin := w.client(l.current.Load, &l.handshakes)
	created, err := kadm.NewClient(admin).CreateTopic(w.t.Context(), 1, 1, nil, topic)
	if err != nil || created.Err != nil {
		w.t.Fatal(err, created.Err)
	}
	// A broker that just started still loads its transaction coordinator; that is no concern of this test.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		warm := w.client(l.current.Load, &l.handshakes)
		err := warm.ProduceSync(w.t.Context(), &kgo.Record{Topic: topic, Value: []byte("warm")}).FirstErr()
		warm.Close()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
	}
	admin.Close()
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	var running sync.WaitGroup
	produce := func(c *kgo.Client) {
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil && ctx.Err() == nil {
			l.fail(fmt.Errorf("produce: %w", err))
		}
		l.requests.Add(1)
	}
	running.Go(func() { // a connection that lasts
		c := w.client(l.current.Load, &l.handshakes)
		defer c.Close()
		for ctx.Err() == nil {
			produce(c)
			time.Sleep(5 * time.Millisecond)
		}
	})
	running.Go(func() { // a new connection for each record
		for ctx.Err() == nil {
			c := w.client(l.current.Load, &l.handshakes)
			produce(c)
			c.Close()
		}
	})
	running.Go(func() {
		c := w.client(l.current.Load, &l.handshakes, kgo.ConsumeTopics(topic), kgo.FetchMaxWait(200*time.Millisecond))
		defer c.Close()
		for ctx.Err() == nil {
			fetches := c.PollFetches(ctx)
			fetches.EachError(func(_ string, _ int32, err error) {
				if ctx.Err() == nil {
					l.fail(fmt.Errorf("consume: %w", err))
				}
			})
			l.received.Add(int64(fetches.NumRecords()))
		}
	})
	running.Go(func() { // renewal
		for ctx.Err() == nil {
			if next, err := w.sign(); err == nil {
				l.current.Store(next)
				l.renewals.Add(1)
			} else if !errors.Is(err, certs.ErrSuperseded) {
				l.fail(fmt.Errorf("sign: %w", err))
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return l, func() { stop(); running.Wait() }
}

// chainsTo tells whether the certificate verifies below the root.
func chainsTo(c *tls.Certificate, root *x509.Certificate) bool {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, der := range c.Certificate[1:] {
		if parsed, err := x509.ParseCertificate(der); err == nil {
			intermediates.AddCert(parsed)
		}
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

// accepted tells whether the broker lets a client with this certificate in.
func (w *rotationWorld) accepted(certificate *tls.Certificate) bool {
	w.t.Helper()
	var n atomic.Int64
	c := w.client(func() *tls.Certificate { return certificate }, &n)
	defer c.Close()
	_, err := kadm.NewClient(c).ListTopics(w.t.Context())
	return err == nil
}

// TestKafkaRotationUnderLoad replaces the mesh CA twice under producers and consumers on a real, stock broker that is
// never restarted: by a new certificate of the same key, as Istio's own rotation does, and by a new key. No request fails,
// and in the end the broker accepts nothing below the former roots.
func TestKafkaRotationUnderLoad(t *testing.T) {
	t.Parallel()
	ctrl.SetLogger(logr.Discard())
	for _, mode := range []v1alpha1.CAMode{v1alpha1.ModeIntermediate, v1alpha1.ModeDirect} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel() // both mostly wait
			key, now := p256(t), time.Now()
			from, to := now.Add(-time.Hour), now.Add(1000*time.Hour)
			first := newCA(t, "cluster.local", key, nil, from, to)
			w := newRotationWorld(t, mode, first.secret(t, "1", first))
			w.reach(v1alpha1.RotationStable)
			w.reconcile() // the broker's ConfigMap was made by the first, and its file by this one
			w.broker.Kill()
			w.broker.Start() // a broker reads its files when it starts
			pid := w.broker.PID()
			load, stop := w.startLoad("orders")
			firstLeaf, err := w.sign()
			if err != nil {
				t.Fatal(err)
			}

			former := first
			for _, next := range []testCA{
				newCA(t, "cluster.local", key, nil, from, to.Add(time.Hour)),
				newCA(t, "cluster.local", p256(t), nil, from, to),
			} {
				w.replace(next.secret(t, "", next).Data)
				w.reach(v1alpha1.RotationDistributing)
				if certificate, err := w.sign(); err != nil || !chainsTo(certificate, former.certificate) {
					t.Errorf("the new CA signs before it is trusted (%v)", err)
				}
				w.reach(v1alpha1.RotationSigning)
				load.mu.Lock()
				failed := len(load.failures)
				load.mu.Unlock()
				if failed > 0 {
					break
				}
				// Every client has renewed before the former root goes; the clock is told that its leaves have expired.
				renewed := load.renewals.Load() + 2
				for load.renewals.Load() < renewed {
					time.Sleep(50 * time.Millisecond)
				}
				if !chainsTo(load.current.Load(), next.certificate) {
					t.Error("the new CA does not sign")
				}
				former = next
				w.ahead.Store(int64(3 * time.Hour))
				w.reach(v1alpha1.RotationStable)
				w.ahead.Store(0)
			}
			stop()
			for i, err := range load.failures {
				if i == 5 {
					break
				}
				t.Error(err)
			}
			t.Logf("%d requests, %d handshakes, %d records received, %d failures", load.requests.Load(), load.handshakes.Load(), load.received.Load(), len(load.failures))
			if load.requests.Load() < 100 || load.handshakes.Load() < 50 || load.received.Load() < 100 {
				t.Error("too little load to prove anything")
			}
			if w.broker.PID() != pid {
				t.Error("the broker was restarted")
			}
			last, err := w.sign()
			if err != nil {
				t.Fatal(err)
			}
			if !w.accepted(last) {
				t.Error("the CA that signs is not accepted")
			}
			// The broker was told to read its trust store again, which its controller confirms before it has done so.
			await.Until(t, time.Minute, "the broker refuses what the first CA signed", func() (bool, string) {
				return !w.accepted(firstLeaf), "it is accepted"
			})
			// The stranger has the right subject.
			stranger := kafkatest.NewAuthority(t)
			subject := principal.UserSubject{Namespace: "shop", Name: "orders", Organization: "signet"}
			raw, err := subject.RawDER()
			if err != nil {
				t.Fatal(err)
			}
			foreign := stranger.Client(&x509.Certificate{RawSubject: raw, Subject: pkix.Name{}})
			if w.accepted(&foreign.Certificates[0]) {
				t.Error("the broker accepts a CA that nobody published")
			}
		})
	}
}
