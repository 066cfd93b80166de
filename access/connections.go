// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// AdminTLS gives Signet its own identity towards a KafkaCluster.
type AdminTLS interface {
	// TLSConfig returns what the admin connection presents and trusts. It is asked for every connection to a broker, so
	// that a renewed certificate or a new root counts from the next connection on; it should answer from memory. A
	// missing ServerName is filled in.
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
	kafka, err := c.Client(cluster)
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.admin.close()
	}
	admin := NewAdmin(key.String(), kafka)
	c.open[key] = &connection{cluster.UID, cluster.Generation, admin}
	return admin, nil
}

// Client returns a connection of the caller's own, who closes it, with Signet's identity and further options. Nothing is
// sent before the first request. Its error is an *InvalidClusterError.
func (c *Connections) Client(cluster *v1alpha1.KafkaCluster, options ...kgo.Opt) (*kgo.Client, error) {
	key := client.ObjectKeyFromObject(cluster)
	listener, ok := cluster.AdminListener()
	if !ok {
		return nil, &InvalidClusterError{fmt.Errorf("kafkacluster %s: spec.admin.listener %q is none of spec.listeners", key, cluster.Spec.Admin.Listener)}
	}
	kafka, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(listener.BootstrapServers...),
		kgo.ClientID("signet"),
		kgo.Dialer(dialer{c.identity, cluster.DeepCopy()}.dial),
		kgo.ConnIdleTimeout(idleTimeout),
		kgo.RequestRetries(2),
		kgo.RetryTimeout(retryTimeout),
		kgo.RequestTimeoutOverhead(dialTimeout),
		kgo.MetadataMinAge(time.Second),
	}, options...)...)
	if err != nil {
		return nil, &InvalidClusterError{fmt.Errorf("kafkacluster %s: make client: %w", key, err)}
	}
	return kafka, nil
}

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
}

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	config, err := d.identity.TLSConfig(ctx, d.cluster)
	if err != nil {
		return nil, fmt.Errorf("no identity for the admin connection: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	// tls.Dialer fills in ServerName from the address.
	return (&tls.Dialer{Config: config.Clone()}).DialContext(ctx, network, address)
}
