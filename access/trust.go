// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// trustProperty is a per-broker configuration of no meaning to Kafka. Setting it, even to the value that it has, makes a
// stock broker read the files of its listeners' trust stores again (DynamicBrokerConfig; KAFKA-14136 for the unchanged
// value): there is no other way to that but a restart.
const trustProperty = "signet.client.ca"

// Accepts tells whether every broker of the cluster lets a client in that connects with the configuration to the listener
// that verifies clients (KafkaCluster.VerifyingListener): it asks each one, since with TLS 1.3 a client learns that its
// certificate is refused only when it reads an answer. Where no listener verifies clients, nobody can refuse. Errors are
// *InvalidClusterError, *UnreachableError and *RefusedError; that of a broker names it.
func (c *Connections) Accepts(ctx context.Context, cluster *v1alpha1.KafkaCluster, config *tls.Config) error {
	name := client.ObjectKeyFromObject(cluster).String()
	listener, ok := cluster.VerifyingListener()
	if !ok {
		return nil
	}
	var brokers kadm.BrokerDetails
	var err error
	if listener.Name == cluster.Spec.Admin.Listener {
		admin, err := c.Admin(cluster)
		if err != nil {
			return err
		}
		if brokers, err = admin.list(ctx); err != nil {
			return err
		}
	} else if brokers, err = behind(ctx, name, listener, config); err != nil {
		return err
	}
	var addresses []string
	for _, b := range brokers {
		addresses = append(addresses, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	kafka, err := trial(name, addresses, config)
	if err != nil {
		return err
	}
	defer kafka.Close()
	for i, b := range brokers {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{}
		asked, cancel := context.WithTimeout(ctx, dialTimeout)
		_, err := kafka.SeedBrokers()[i].Request(asked, request)
		cancel()
		if err != nil {
			return classify(name, fmt.Errorf("broker %d: %w", b.NodeID, err))
		}
	}
	return nil
}

// behind returns the brokers behind a listener that is not the admin connection's: their addresses there.
func behind(ctx context.Context, cluster string, listener v1alpha1.Listener, config *tls.Config) (kadm.BrokerDetails, error) {
	kafka, err := trial(cluster, listener.BootstrapServers, config)
	if err != nil {
		return nil, err
	}
	defer kafka.Close()
	brokers, err := NewAdmin(cluster, kafka).list(ctx)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", listener.Name, err)
	}
	return brokers, nil
}

// trial returns a client that connects with the configuration and does not insist.
func trial(cluster string, addresses []string, config *tls.Config) (*kgo.Client, error) {
	kafka, err := kgo.NewClient(
		kgo.SeedBrokers(addresses...),
		kgo.ClientID("signet-trust"),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return (&tls.Dialer{Config: config.Clone()}).DialContext(ctx, network, address)
		}),
		kgo.RequestRetries(0),
		kgo.RequestTimeoutOverhead(dialTimeout),
	)
	if err != nil {
		return nil, &InvalidClusterError{fmt.Errorf("kafkacluster %s: make client: %w", cluster, err)}
	}
	return kafka, nil
}

// ReloadTrust makes every broker of the cluster read its trust stores again. version is what they hold then, for whoever
// looks at the brokers' configuration.
func (c *Connections) ReloadTrust(ctx context.Context, cluster *v1alpha1.KafkaCluster, version string) error {
	admin, err := c.Admin(cluster)
	if err != nil {
		return err
	}
	brokers, err := admin.list(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ids := brokers.NodeIDs()
	results, err := admin.kadm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: trustProperty, Value: &version}}, ids...)
	if err != nil {
		return classify(admin.cluster, fmt.Errorf("set %s: %w", trustProperty, err))
	}
	for _, r := range results {
		if r.Err != nil {
			return classify(admin.cluster, fmt.Errorf("set %s of broker %s: %w", trustProperty, r.Name, r.Err))
		}
	}
	return nil
}

func (a *Admin) list(ctx context.Context) (kadm.BrokerDetails, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	brokers, err := a.kadm.ListBrokers(ctx)
	if err != nil {
		return nil, classify(a.cluster, fmt.Errorf("list brokers: %w", err))
	}
	return brokers, nil
}
