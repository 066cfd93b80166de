// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/principal"
)

// Limits of one request of the baseline, which has no more to it than what Kafka takes: 5,000 bindings, and filters that
// select as many.
const (
	rawBatch   = 5000
	rawFilters = 100
)

// kafka is a real broker with an authorizer, and a connection of a super user: what is done on it is done with franz-go
// alone, as the baseline of what Signet does.
type kafka struct {
	*kafkatest.Broker
	authority *kafkatest.Authority
	client    *kgo.Client
}

// session is a kafkatest.T outside of a test. What is fatal panics, for attempt to return.
type session struct {
	ctx      context.Context
	dir      string
	cleanups []func()
}

type fatal struct{ error }

func (s *session) Helper()                           {}
func (s *session) Context() context.Context          { return s.ctx }
func (s *session) Fatal(args ...any)                 { panic(fatal{errors.New(fmt.Sprint(args...))}) }
func (s *session) Fatalf(format string, args ...any) { panic(fatal{fmt.Errorf(format, args...)}) }
func (s *session) Cleanup(f func())                  { s.cleanups = append(s.cleanups, f) }

func (s *session) TempDir() string {
	dir, err := os.MkdirTemp(s.dir, "")
	if err != nil {
		s.Fatal(err)
	}
	return dir
}

// attempt returns what was fatal to f.
func (s *session) attempt(f func()) (err error) {
	defer func() {
		if said := recover(); said != nil {
			failed, ok := said.(fatal)
			if !ok {
				panic(said)
			}
			err = failed.error
		}
	}()
	f()
	return nil
}

// end undoes what the session began.
func (s *session) end() error {
	for _, cleanup := range slices.Backward(s.cleanups) {
		cleanup()
	}
	return os.RemoveAll(s.dir)
}

// startKafka starts a broker for the KafkaCluster kafka/kafka. The caller ends the session.
func startKafka(ctx context.Context, p *plane) (*kafka, *session, error) {
	libs, err := p.Cluster(ctx, "kafka-libs")
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "signet-bench-kafka-")
	if err != nil {
		return nil, nil, err
	}
	s, k := &session{ctx: ctx, dir: dir}, &kafka{}
	p.Say("a Kafka broker starts")
	err = s.attempt(func() {
		k.authority = kafkatest.NewAuthority(s)
		k.Broker = kafkatest.Start(s, k.authority, kafkatest.Options{Libs: strings.TrimSpace(libs), Properties: kafkatest.Authorizer})
	})
	if err == nil {
		k.client, err = k.connect(s, principal.UserSubject{Namespace: "kafka", Name: "kafka", Organization: "signet-controller"})
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.end())
	}
	return k, s, nil
}

// identity returns what a client with this subject presents and trusts.
func (k *kafka) identity(s *session, subject principal.UserSubject) (config *tls.Config, err error) {
	raw, err := subject.RawDER()
	if err != nil {
		return nil, err
	}
	return config, s.attempt(func() { config = k.authority.Client(&x509.Certificate{RawSubject: raw}) })
}

// connect returns a client with this subject until the session ends.
func (k *kafka) connect(s *session, subject principal.UserSubject) (*kgo.Client, error) {
	config, err := k.identity(s, subject)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Address), kgo.DialTLSConfig(config))
	if err != nil {
		return nil, err
	}
	s.Cleanup(client.Close)
	return client, nil
}

// create creates bindings, so many in a request, and returns how long the requests took.
func (k *kafka) create(ctx context.Context, bindings []access.Binding, inOne int) (time.Duration, error) {
	var requests []*kmsg.CreateACLsRequest
	for chunk := range slices.Chunk(bindings, inOne) {
		request := kmsg.NewPtrCreateACLsRequest()
		for _, b := range chunk {
			creation := kmsg.NewCreateACLsRequestCreation()
			creation.ResourceType, creation.ResourceName, creation.ResourcePatternType = b.ResourceType, b.ResourceName, b.PatternType
			creation.Principal, creation.Host, creation.Operation, creation.PermissionType = b.Principal, b.Host, b.Operation, b.Permission
			request.Creations = append(request.Creations, creation)
		}
		requests = append(requests, request)
	}
	begin := time.Now()
	for _, request := range requests {
		response, err := request.RequestWith(ctx, k.client)
		if err != nil {
			return 0, err
		}
		for _, result := range response.Results {
			if err := kerr.ErrorForCode(result.ErrorCode); err != nil {
				return 0, fmt.Errorf("create acls: %w", err)
			}
		}
	}
	return time.Since(begin), nil
}

// describe describes the ACLs of a principal, nil for every one, but for what Signet claims the Kafka by.
func (k *kafka) describe(ctx context.Context, principal *string) (access.Bindings, error) {
	response, err := k.describeRaw(ctx, principal)
	if err != nil {
		return nil, err
	}
	out := access.Bindings{}
	for _, r := range response.Resources {
		for _, acl := range r.ACLs {
			if strings.HasPrefix(r.ResourceName, "__signet") {
				continue
			}
			out[access.Binding{
				Principal: acl.Principal, Host: acl.Host, ResourceType: r.ResourceType, ResourceName: r.ResourceName,
				PatternType: r.ResourcePatternType, Operation: acl.Operation, Permission: acl.PermissionType,
			}] = struct{}{}
		}
	}
	return out, nil
}

func (k *kafka) describeRaw(ctx context.Context, principal *string) (*kmsg.DescribeACLsResponse, error) {
	request := kmsg.NewPtrDescribeACLsRequest()
	request.Principal = principal
	request.ResourceType, request.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	request.Operation, request.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	response, err := request.RequestWith(ctx, k.client)
	if err != nil {
		return nil, err
	}
	return response, kerr.ErrorForCode(response.ErrorCode)
}

// wipe deletes every ACL, but for what Signet claims the Kafka by, with a filter for each resource.
func (k *kafka) wipe(ctx context.Context) error {
	bindings, err := k.describe(ctx, nil)
	if err != nil {
		return err
	}
	type resource struct {
		kind    kmsg.ACLResourceType
		name    string
		pattern kmsg.ACLResourcePatternType
	}
	counts := map[resource]int{}
	for b := range bindings {
		counts[resource{b.ResourceType, b.ResourceName, b.PatternType}]++
	}
	request, selected := kmsg.NewPtrDeleteACLsRequest(), 0
	send := func() error {
		response, err := request.RequestWith(ctx, k.client)
		if err != nil {
			return err
		}
		for _, result := range response.Results {
			if err := kerr.ErrorForCode(result.ErrorCode); err != nil {
				return fmt.Errorf("delete acls: %w", err)
			}
		}
		request, selected = kmsg.NewPtrDeleteACLsRequest(), 0
		return nil
	}
	for r, count := range counts {
		if len(request.Filters) == rawFilters || len(request.Filters) > 0 && selected+count > rawBatch {
			if err := send(); err != nil {
				return err
			}
		}
		filter := kmsg.NewDeleteACLsRequestFilter()
		filter.ResourceType, filter.ResourceName, filter.ResourcePatternType = r.kind, &r.name, r.pattern
		filter.Operation, filter.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
		request.Filters = append(request.Filters, filter)
		selected += count
	}
	if len(request.Filters) > 0 {
		if err := send(); err != nil {
			return err
		}
	}
	return k.until(ctx, "no ACL is left", 50*time.Millisecond, func() (bool, error) {
		left, err := k.describe(ctx, nil)
		return len(left) == 0, err
	})
}

// createTopic creates a topic with one partition.
func (k *kafka) createTopic(ctx context.Context, name string) error {
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, k.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(response.Topics[0].ErrorCode)
}

// until waits until done, which is asked every period.
func (k *kafka) until(ctx context.Context, what string, period time.Duration, done func() (bool, error)) error {
	const timeout = 3 * time.Minute
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(period):
		}
	}
	return fmt.Errorf("%s: not within %s", what, timeout)
}

// byPrincipal sorts bindings.
func byPrincipal(bindings []access.Binding) {
	slices.SortFunc(bindings, func(a, b access.Binding) int {
		return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName),
			cmp.Compare(a.PatternType, b.PatternType), cmp.Compare(a.Operation, b.Operation))
	})
}
