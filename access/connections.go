// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// AdminTLS gives Signet its own identity towards a KafkaCluster.
type AdminTLS interface {
	// TLSConfig returns what the admin connection presents and trusts; with SASL it presents nothing. It is asked for every
	// connection to a broker, so that a renewed certificate or a new root counts from the next connection on; it should
	// answer from memory. A missing ServerName is filled in.
	TLSConfig(ctx context.Context, cluster *v1alpha1.KafkaCluster) (*tls.Config, error)
}

// Timeouts of the admin connection. A request gets requestTimeout altogether, retries included.
const (
	dialTimeout    = 10 * time.Second
	retryTimeout   = 15 * time.Second
	requestTimeout = 40 * time.Second
	idleTimeout    = 5 * time.Minute
)

// Connections keeps one connection for each KafkaCluster. It is safe for concurrent use.
type Connections struct {
	// SASL has the credentials of KafkaClusters whose spec.admin has sasl; nil where none may. It is set before the first
	// use.
	SASL AdminSASL

	identity AdminTLS
	// kubernetes is the UID of this Kubernetes cluster's namespace kube-system.
	kubernetes string

	mu   sync.Mutex
	open map[types.NamespacedName]*connection
}

// connection is the one of a KafkaCluster as it was declared at a generation.
type connection struct {
	uid        types.UID
	generation int64
	admin      *Admin
	// login is nil where Signet presents a certificate.
	login *login
}

// NewConnections returns an empty set of connections that take their identity from the given source. kubernetes is by what
// a Kafka knows which Kubernetes cluster's Signet administers it: the UID of the namespace kube-system.
func NewConnections(identity AdminTLS, kubernetes string) *Connections {
	return &Connections{identity: identity, kubernetes: kubernetes, open: map[types.NamespacedName]*connection{}}
}

// Admin returns the connection to the cluster. One that was made for an earlier declaration of it is closed and made
// anew; requests that are under way on it fail as unreachable. Nothing is sent before the first request.
// Its error is an *InvalidClusterError.
func (c *Connections) Admin(cluster *v1alpha1.KafkaCluster) (*Admin, error) {
	key := client.ObjectKeyFromObject(cluster)
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.open[key]
	if old != nil && old.uid == cluster.UID && old.generation >= cluster.Generation {
		return old.admin, nil
	}
	kafka, login, err := c.dial(cluster)
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.admin.close()
	}
	open := &connection{uid: cluster.UID, generation: cluster.Generation, admin: NewAdmin(key.String(), kafka), login: login}
	c.open[key] = open
	return open.admin, nil
}

// Client returns a connection of the caller's own, who closes it, with Signet's identity and further options. Nothing is
// sent before the first request. Its error is an *InvalidClusterError.
func (c *Connections) Client(cluster *v1alpha1.KafkaCluster, options ...kgo.Opt) (*kgo.Client, error) {
	kafka, _, err := c.dial(cluster, options...)
	return kafka, err
}

// dial returns a connection and how it logs in; nil where its certificate says all.
func (c *Connections) dial(cluster *v1alpha1.KafkaCluster, options ...kgo.Opt) (*kgo.Client, *login, error) {
	key := client.ObjectKeyFromObject(cluster)
	listener, ok := cluster.AdminListener()
	if !ok {
		return nil, nil, &InvalidClusterError{fmt.Errorf("kafkacluster %s: spec.admin.listener %q is none of spec.listeners", key, cluster.Spec.Admin.Listener)}
	}
	var login *login
	if cluster.Spec.Admin.SASL != nil {
		if c.SASL == nil {
			return nil, nil, &InvalidClusterError{fmt.Errorf("kafkacluster %s: spec.admin.sasl: %w", key, errNoSASL)}
		}
		login = newLogin(key.String(), cluster.DeepCopy(), c.SASL)
		options = append(options, login.option())
	}
	kafka, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(listener.BootstrapServers...),
		kgo.ClientID("signet"),
		kgo.Dialer(dialer{c.identity, cluster.DeepCopy(), listener.Authentication == v1alpha1.AuthenticationSASLPlaintext}.dial),
		kgo.ConnIdleTimeout(idleTimeout),
		kgo.RequestRetries(2),
		kgo.RetryTimeout(retryTimeout),
		kgo.RequestTimeoutOverhead(dialTimeout),
		kgo.MetadataMinAge(time.Second),
	}, options...)...)
	if err != nil {
		return nil, nil, &InvalidClusterError{fmt.Errorf("kafkacluster %s: make client: %w", key, err)}
	}
	return kafka, login, nil
}

// Login looks whether there are credentials for a cluster, makes the connection to it anew if they are others than it was
// opened with, and returns whom brokers take Signet for: "" if only they know. Without SASL that is always the certificate's
// principal. Its errors are *CredentialsError and those of Admin.
func (c *Connections) Login(ctx context.Context, cluster *v1alpha1.KafkaCluster) (string, error) {
	if cluster.Spec.Admin.SASL == nil {
		return principal.ForController(cluster.Namespace, cluster.Name), nil
	}
	login, err := c.login(cluster)
	if err != nil {
		return "", err
	}
	_, version, err := login.source.Secret(ctx, cluster)
	if err != nil {
		return "", &CredentialsError{login.name, err}
	}
	if login.stale(version) {
		// A connection that is open stays authenticated for as long as the broker lets it: what was withdrawn would go on
		// to work, and what is new would not be tried.
		c.Close(client.ObjectKeyFromObject(cluster))
		if login, err = c.login(cluster); err != nil {
			return "", err
		}
	}
	return login.user(ctx)
}

// login returns how the connection to a cluster with SASL logs in.
func (c *Connections) login(cluster *v1alpha1.KafkaCluster) (*login, error) {
	if _, err := c.Admin(cluster); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if open := c.open[client.ObjectKeyFromObject(cluster)]; open != nil && open.login != nil {
		return open.login, nil
	}
	return nil, &UnreachableError{client.ObjectKeyFromObject(cluster).String(), errReopened}
}

// errReopened says that a connection was closed, or declared anew, a moment ago.
var errReopened = errors.New("the connection was closed meanwhile")

// Close closes the connection to a cluster that is gone, if there is one.
func (c *Connections) Close(cluster types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if open := c.open[cluster]; open != nil {
		open.admin.close()
		delete(c.open, cluster)
	}
}

// CloseAll closes every connection.
func (c *Connections) CloseAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cluster, open := range c.open {
		open.admin.close()
		delete(c.open, cluster)
	}
}

// dialer connects to the brokers of one cluster.
type dialer struct {
	identity AdminTLS
	cluster  *v1alpha1.KafkaCluster
	// plaintext is without TLS.
	plaintext bool
}

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.plaintext {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	}
	config, err := d.identity.TLSConfig(ctx, d.cluster)
	if err != nil {
		return nil, fmt.Errorf("no identity for the admin connection: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	// tls.Dialer fills in ServerName from the address.
	return (&tls.Dialer{Config: config.Clone()}).DialContext(ctx, network, address)
}
