// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// AdminSASL has what Signet authenticates with at KafkaClusters whose spec.admin has sasl.
type AdminSASL interface {
	// Secret returns the password, client secret or token of a cluster, and a text that is another one whenever the secret
	// may be. It is asked for every login, so that a changed secret counts from the next one on; it should answer from
	// memory. Its errors do not hold the secret.
	Secret(ctx context.Context, cluster *v1alpha1.KafkaCluster) (secret []byte, version string, err error)
	// EndpointTrust returns the certificates (PEM) that the cluster's token endpoint is verified with; nil for the system's.
	EndpointTrust(ctx context.Context, cluster *v1alpha1.KafkaCluster) ([]byte, error)
}

// CredentialsError says that there is nothing to authenticate with: a Secret is missing or incomplete, or a token endpoint
// gives no token. It never holds a secret.
type CredentialsError struct {
	// Cluster is namespace/name of the KafkaCluster.
	Cluster string
	Err     error
}

func (e *CredentialsError) Error() string {
	return fmt.Sprintf("kafkacluster %s: no credentials for the admin connection: %v", e.Cluster, e.Err)
}

func (e *CredentialsError) Unwrap() error { return e.Err }

// errNoSASL is a mistake of the program that uses this package.
var errNoSASL = errors.New("this program reads no credentials for SASL")

// login authenticates the connections to one cluster.
type login struct {
	name    string
	cluster *v1alpha1.KafkaCluster
	source  AdminSASL
	tokens  *tokens

	mu sync.Mutex
	// first is the version of the credentials that the first connection was opened with.
	first string
}

func newLogin(name string, cluster *v1alpha1.KafkaCluster, source AdminSASL) *login {
	l := &login{name: name, cluster: cluster, source: source}
	if endpoint := cluster.Spec.Admin.SASL.TokenEndpoint; endpoint != nil {
		l.tokens = &tokens{endpoint: *endpoint, now: time.Now}
	}
	return l
}

// option makes the connections of a client authenticate.
func (l *login) option() kgo.Opt { return kgo.SASL(l.mechanism()) }

func (l *login) mechanism() sasl.Mechanism {
	config := l.cluster.Spec.Admin.SASL
	proof := func(ctx context.Context) (scram.Auth, error) {
		password, err := l.secret(ctx)
		return scram.Auth{User: config.Username, Pass: string(password)}, err
	}
	switch config.Mechanism {
	case v1alpha1.MechanismSCRAMSHA512:
		return scram.Sha512(proof)
	case v1alpha1.MechanismSCRAMSHA256:
		return scram.Sha256(proof)
	}
	return bearer{oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		token, err := l.token(ctx)
		return oauth.Auth{Token: token}, err
	})}
}

// stale tells whether a connection was opened with credentials of another version.
func (l *login) stale(version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first != "" && l.first != version
}

// used notes the version of the credentials that a connection is opened with.
func (l *login) used(version string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = cmp.Or(l.first, version)
}

func (l *login) secret(ctx context.Context) ([]byte, error) {
	secret, version, err := l.source.Secret(ctx, l.cluster)
	if err != nil {
		return nil, &CredentialsError{l.name, err}
	}
	l.used(version)
	return secret, nil
}

// token returns the bearer token to log in with: that of the Secret, or of the token endpoint.
func (l *login) token(ctx context.Context) (string, error) {
	secret, version, err := l.source.Secret(ctx, l.cluster)
	if err == nil {
		l.used(version)
		if l.tokens == nil {
			return string(secret), nil
		}
	}
	var trust []byte
	if err == nil {
		trust, err = l.source.EndpointTrust(ctx, l.cluster)
	}
	var token string
	if err == nil {
		token, err = l.tokens.get(ctx, string(secret), version, trust)
	}
	if err != nil {
		return "", &CredentialsError{l.name, err}
	}
	return token, nil
}

// user returns the principal that brokers take this login for; "" where a token does not say so.
func (l *login) user(ctx context.Context) (string, error) {
	config := l.cluster.Spec.Admin.SASL
	if config.Mechanism.IsSCRAM() {
		return principal.TypeUser + config.Username, nil
	}
	token, err := l.token(ctx)
	if err != nil {
		return "", err
	}
	return principalOf(token, config.PrincipalClaim), nil
}

// bearer is OAUTHBEARER whose failures are the broker's own words.
type bearer struct{ sasl.Mechanism }

// Authenticate implements sasl.Mechanism.
func (b bearer) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	_, first, err := b.Mechanism.Authenticate(ctx, host)
	return bearerSession{}, first, err
}

type bearerSession struct{}

// Challenge implements sasl.Session. An answer is an error in JSON, upon which the client sends a single 0x01 and the
// server says in its own protocol that the login failed (RFC 7628, section 3.2.3).
func (bearerSession) Challenge(answer []byte) (bool, []byte, error) {
	if len(answer) == 0 {
		return true, nil, nil
	}
	return false, []byte{1}, nil
}
