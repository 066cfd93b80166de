// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/internal/kafkatest"
)

// tokenIssuer signs tokens as an OpenID provider does (RFC 7519, ES256).
type tokenIssuer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
}

func newTokenIssuer(t *testing.T) *tokenIssuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &tokenIssuer{t, key}
}

func encoded(content []byte) string { return base64.RawURLEncoding.EncodeToString(content) }

// jwks is the issuer's public key (RFC 7517).
func (i *tokenIssuer) jwks() []byte {
	i.t.Helper()
	point, err := i.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		i.t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"one","x":%q,"y":%q}]}`, encoded(point[1:33]), encoded(point[33:]))
}

// token is one of the subject that expires after the given time.
func (i *tokenIssuer) token(subject string, life time.Duration) string {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"sub": subject, "client": "client-" + subject, "iat": now.Unix(), "exp": now.Add(life).Unix()})
	if err != nil {
		i.t.Error(err)
	}
	text := encoded([]byte(`{"alg":"ES256","kid":"one"}`)) + "." + encoded(claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		i.t.Error(err)
	}
	return text + "." + encoded(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// TestKafkaSASL administers a real broker that knows Signet by SASL only.
func TestKafkaSASL(t *testing.T) {
	a := kafkatest.NewAuthority(t)
	issuer := newTokenIssuer(t)
	b := kafkatest.Start(t, a, kafkatest.Options{
		SASL: true, JWKS: issuer.jwks(),
		Properties: kafkatest.Authorizer + "super.users=User:broker;User:signet-admin;User:signet-token\n",
	})
	passwords := func(t *testing.T, password string) {
		t.Helper()
		kafka, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.DialTLSConfig(clientOfBroker(a)))
		if err != nil {
			t.Fatal(err)
		}
		defer kafka.Close()
		for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
			results, err := kadm.NewClient(kafka).AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{
				{User: "signet-admin", Mechanism: mechanism, Iterations: 4096, Password: password},
				{User: "nobody", Mechanism: mechanism, Iterations: 4096, Password: password},
			})
			if err == nil {
				err = results.Error()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// settled waits until the broker knows the password.
	settled := func(t *testing.T, h *saslHarness, password string) {
		t.Helper()
		for _, mechanism := range []sasl.Mechanism{scram.Auth{User: "signet-admin", Pass: password}.AsSha256Mechanism(), scram.Auth{User: "signet-admin", Pass: password}.AsSha512Mechanism()} {
			h.eventually(func() bool {
				kafka, err := kgo.NewClient(kgo.SeedBrokers(b.SASLPlaintext), kgo.SASL(mechanism))
				h.must(err)
				defer kafka.Close()
				return kafka.Ping(h.ctx) == nil
			})
		}
	}
	// with is a Signet whose KafkaCluster has all listeners and administers by this one.
	with := func(t *testing.T, listener string, credentials v1alpha1.AdminSASL) *saslHarness {
		h := &saslHarness{harness: newHarness(t, &adminTLS{config: &tls.Config{RootCAs: a.Trust(), MinVersion: tls.VersionTLS12}}, []string{b.Address})}
		h.real = true
		named := certs.NewNamed(func(certs.Reference) cache.ListerWatcher { return nil }, h.api, h.api)
		h.users.Connections.SASL = &certs.AdminCredentials{Reader: named, Authorities: certs.NewAuthorities(named, h.api, h.api, "signet-system")}
		h.change(func(c *v1alpha1.KafkaCluster) {
			c.Spec.Listeners = append(c.Spec.Listeners,
				v1alpha1.Listener{Name: "sasl", Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationSASL, BootstrapServers: []string{b.SASL}},
				v1alpha1.Listener{Name: "saslplaintext", Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationSASLPlaintext, BootstrapServers: []string{b.SASLPlaintext}},
			)
			c.Spec.Admin = v1alpha1.AdminConnection{Listener: listener, SASL: &credentials}
		})
		return h
	}
	password := v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismSCRAMSHA512, Username: "signet-admin", SecretName: "kafka-admin"}

	t.Run("SCRAM", func(t *testing.T) {
		passwords(t, "first-password")
		h := with(t, "sasl", password)
		settled(t, h, "first-password")
		user := h.user("shop", "scram", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
		h.pass()
		h.wantReason(user, v1alpha1.ReasonCredentialsNotFound)
		h.asks(v1alpha1.ReasonCredentialsNotFound, "secret kafka/kafka-admin", "does not exist")
		h.secret(map[string]string{"password": ""})
		h.asks(v1alpha1.ReasonCredentialsNotFound, "no key password")
		h.secret(map[string]string{"password": "wrong-password"})
		h.asks(v1alpha1.ReasonRefusedByBroker, "SASL_AUTHENTICATION_FAILED", "spec.admin.sasl")
		h.secret(map[string]string{"password": "first-password\n"})
		h.asks(v1alpha1.ReasonReady)
		h.fullPass()
		h.wantSynced(user)

		// A password that is withdrawn does not go on to work, and a new one takes over, on connections that are open.
		passwords(t, "second-password")
		settled(t, h, "second-password")
		h.secret(map[string]string{"password": "wrong-password"})
		h.asks(v1alpha1.ReasonRefusedByBroker)
		h.secret(map[string]string{"password": "second-password"})
		h.asks(v1alpha1.ReasonReady)
		before := h.admin()
		h.asks(v1alpha1.ReasonReady)
		if h.admin() != before {
			t.Error("connected anew although nothing changed")
		}
		h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Produce = []string{"payments"} })
		h.fullPass()
		h.wantSynced(user)
		for _, e := range strings.Split(h.drain(), "\n") {
			if strings.Contains(e, "-password") {
				t.Errorf("a password in an event: %s", e)
			}
		}
	})

	t.Run("NotASuperUser", func(t *testing.T) {
		passwords(t, "password")
		h := with(t, "sasl", v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismSCRAMSHA256, Username: "nobody", SecretName: "kafka-admin"})
		settled(t, h, "password")
		h.secret(map[string]string{"password": "password"})
		h.asks(v1alpha1.ReasonRefusedByBroker, "status.adminPrincipal a super user")
	})

	t.Run("Plaintext", func(t *testing.T) {
		passwords(t, "password")
		h := with(t, "saslplaintext", v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismSCRAMSHA256, Username: "signet-admin", SecretName: "kafka-admin", SecretKey: "other"})
		settled(t, h, "password")
		h.secret(map[string]string{"other": "password"})
		h.asks(v1alpha1.ReasonReady)
		user := h.user("shop", "plaintext", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
		h.fullPass()
		h.wantSynced(user)
	})

	t.Run("WrongListener", func(t *testing.T) {
		h := with(t, "sasl", password)
		h.secret(map[string]string{"password": "password"})
		h.change(func(c *v1alpha1.KafkaCluster) { c.Spec.Listeners[1].BootstrapServers = []string{b.Address} })
		h.asks(v1alpha1.ReasonUnreachable)
		h.change(func(c *v1alpha1.KafkaCluster) { c.Spec.Listeners[1].BootstrapServers = []string{b.SASLPlaintext} })
		h.asks(v1alpha1.ReasonUnreachable)
	})

	t.Run("ListenersChange", func(t *testing.T) {
		passwords(t, "password")
		h := with(t, "sasl", password)
		settled(t, h, "password")
		h.secret(map[string]string{"password": "password"})
		user := h.user("shop", "moving", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
		topic := 0
		works := func() {
			t.Helper()
			h.asks(v1alpha1.ReasonReady)
			topic++
			h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{fmt.Sprintf("payments-%d", topic)} })
			h.fullPass()
			h.wantSynced(user)
		}
		works()
		const nobody = "localhost:1"
		for _, change := range []func(*v1alpha1.KafkaCluster){
			func(c *v1alpha1.KafkaCluster) { c.Spec.Listeners[1].BootstrapServers = []string{nobody, b.SASL} },
			func(c *v1alpha1.KafkaCluster) {
				c.Spec.Listeners[1].Name, c.Spec.Admin.Listener = "renamed", "renamed"
			},
			func(c *v1alpha1.KafkaCluster) { c.Spec.Listeners = c.Spec.Listeners[1:] },
			func(c *v1alpha1.KafkaCluster) { c.Spec.Admin.Listener = "saslplaintext" },
		} {
			h.change(change)
			works()
		}
		h.change(func(c *v1alpha1.KafkaCluster) { c.Spec.Listeners[1].BootstrapServers = []string{nobody} })
		h.asks(v1alpha1.ReasonUnreachable, "refused")
		h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"last"} })
		h.fullPass()
		h.wantReason(user, v1alpha1.ReasonUnreachable)
		h.change(func(c *v1alpha1.KafkaCluster) {
			c.Spec.Listeners[1].BootstrapServers = []string{nobody, b.SASLPlaintext}
		})
		works()

		// To Signet's own certificate, once the brokers know it.
		own := clientOfBroker(a)
		h.identity.(*adminTLS).answer(own, nil)
		h.change(func(c *v1alpha1.KafkaCluster) {
			c.Spec.Listeners = append(c.Spec.Listeners, v1alpha1.Listener{Name: "mtls", Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationMTLS, BootstrapServers: []string{b.Address}})
			c.Spec.Admin = v1alpha1.AdminConnection{Listener: "mtls"}
		})
		works()
	})

	t.Run("ClientTrust", func(t *testing.T) {
		passwords(t, "password")
		h := with(t, "sasl", password)
		settled(t, h, "password")
		h.secret(map[string]string{"password": "password"})
		connections := h.users.Connections
		h.must(connections.ReloadTrust(h.ctx, h.current(), "1"))
		h.must(connections.Accepts(h.ctx, h.current(), controllerTLS(t, a)))
		stranger := controllerTLS(t, kafkatest.NewAuthority(t))
		stranger.RootCAs = a.Trust()
		if err := connections.Accepts(h.ctx, h.current(), stranger); err == nil || !strings.Contains(err.Error(), "listener") {
			t.Errorf("a certificate of a CA that the brokers do not trust: %v", err)
		}
		h.change(func(c *v1alpha1.KafkaCluster) { c.Spec.Listeners = c.Spec.Listeners[1:] })
		h.must(connections.Accepts(h.ctx, h.current(), stranger)) // nobody verifies certificates there
	})

	bearer := v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismOAuthBearer, SecretName: "kafka-admin"}
	t.Run("Token", func(t *testing.T) {
		h := with(t, "sasl", bearer)
		h.asks(v1alpha1.ReasonCredentialsNotFound, "with the key token")
		h.secret(map[string]string{"token": newTokenIssuer(t).token("signet-token", time.Hour)})
		h.asks(v1alpha1.ReasonRefusedByBroker, "SASL_AUTHENTICATION_FAILED")
		good := issuer.token("signet-token", time.Hour)
		h.secret(map[string]string{"token": good})
		h.asks(v1alpha1.ReasonReady)
		if got := h.current().Status.AdminPrincipal; got != "User:signet-token" {
			t.Errorf("status.adminPrincipal %q", got)
		}
		user := h.user("shop", "token", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
		h.fullPass()
		h.wantSynced(user)
		h.secret(map[string]string{"token": issuer.token("nobody", time.Hour)})
		h.asks(v1alpha1.ReasonRefusedByBroker, "status.adminPrincipal a super user")
		if got := h.current().Status.AdminPrincipal; got != "User:nobody" {
			t.Errorf("status.adminPrincipal %q, which is whom to make a super user", got)
		}
		h.change(func(c *v1alpha1.KafkaCluster) { c.Spec.Admin.SASL.PrincipalClaim = "client" })
		h.asks(v1alpha1.ReasonRefusedByBroker)
		if got := h.current().Status.AdminPrincipal; got != "User:client-nobody" {
			t.Errorf("status.adminPrincipal by another claim %q", got)
		}
		h.secret(map[string]string{"token": issuer.token("signet-token", -time.Minute)})
		h.asks(v1alpha1.ReasonRefusedByBroker, "SASL_AUTHENTICATION_FAILED")
	})

	t.Run("TokenEndpoint", func(t *testing.T) {
		const clientSecret = "the-client-secret"
		var issued atomic.Int32
		endpoint := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, secret, ok := r.BasicAuth()
			if !ok || id != "signet" || secret != clientSecret || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprintf(w, `{"error":"invalid_client","error_description":"not %s"}`, secret)
				return
			}
			issued.Add(1)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":5}`, issuer.token("signet-token", 5*time.Second))
		}))
		defer endpoint.Close()
		credentials := bearer
		credentials.TokenEndpoint = &v1alpha1.TokenEndpoint{URL: endpoint.URL, ClientID: "signet", Scope: "kafka"}
		h := with(t, "sasl", credentials)
		h.asks(v1alpha1.ReasonCredentialsNotFound, "with the key clientSecret")
		h.secret(map[string]string{"clientSecret": clientSecret})
		h.asks(v1alpha1.ReasonCredentialsNotFound, "x509")
		h.must(h.api.Create(h.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "idp"}, Data: map[string]string{
			"ca.crt": string(trustOf(endpoint)),
		}}))
		h.change(func(c *v1alpha1.KafkaCluster) {
			c.Spec.Admin.SASL.TokenEndpoint.CA = &v1alpha1.KeyReference{ConfigMap: "idp", Key: "ca.crt"}
		})
		h.secret(map[string]string{"clientSecret": "another-secret"})
		h.asks(v1alpha1.ReasonCredentialsNotFound, "401", "invalid_client")
		h.secret(map[string]string{"clientSecret": clientSecret})
		h.asks(v1alpha1.ReasonReady)
		if got := h.current().Status.AdminPrincipal; got != "User:signet-token" {
			t.Errorf("status.adminPrincipal %q", got)
		}
		// The broker ends a login with its token: requests of one connection go on only because new tokens are there in time.
		admin, before := h.admin(), issued.Load()
		for issued.Load() < before+3 {
			if _, err := admin.Describe(h.ctx, "User:shop.token"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

// clientOfBroker presents the brokers' own principal, a super user.
func clientOfBroker(a *kafkatest.Authority) *tls.Config {
	return a.Client(&x509.Certificate{Subject: pkix.Name{CommonName: "broker"}})
}

// saslHarness is a harness whose KafkaCluster is changed as an administrator does.
type saslHarness struct {
	*harness
	secrets []string
}

// change edits the KafkaCluster.
func (h *saslHarness) change(edit func(*v1alpha1.KafkaCluster)) {
	h.t.Helper()
	cluster := h.current()
	edit(cluster)
	cluster.Generation++
	h.must(h.api.Update(h.ctx, cluster))
	h.users.backlog.addAll(h.cluster)
}

// secret writes the Secret kafka-admin.
func (h *saslHarness) secret(data map[string]string) {
	h.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka-admin", UID: "secret"}, Data: map[string][]byte{}}
	for key, value := range data {
		secret.Data[key] = []byte(value)
		if value != "" {
			h.secrets = append(h.secrets, strings.TrimSpace(value))
		}
	}
	h.must(client.IgnoreNotFound(h.api.Delete(h.ctx, secret.DeepCopy())))
	h.must(h.api.Create(h.ctx, secret))
	h.users.backlog.addAll(h.cluster)
}

// asks holds what the condition Reachable says, and that it holds no secret.
func (h *saslHarness) asks(reason string, words ...string) {
	h.t.Helper()
	c := h.ask()
	h.t.Logf("%s: %s", c.Reason, c.Message)
	if c.Reason != reason {
		h.t.Errorf("Reachable: %s: %s; want %s", c.Reason, c.Message, reason)
	}
	for _, word := range words {
		if !strings.Contains(c.Message, word) {
			h.t.Errorf("message without %q: %s", word, c.Message)
		}
	}
	for _, secret := range h.secrets {
		if strings.Contains(c.Message, secret) {
			h.t.Errorf("a secret in the condition: %s", c.Message)
		}
	}
}
