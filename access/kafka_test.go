// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/principal"
)

// The tests of this file start real brokers. They need java and, in SIGNET_KAFKA_LIBS, the directory with the jars of a
// Kafka of version 4 or later: go test -tags kafka ./access

// clientOf returns what a client with this subject presents and trusts.
func clientOf(t *testing.T, a *kafkatest.Authority, subject principal.UserSubject) *tls.Config {
	t.Helper()
	raw, err := subject.RawDER()
	if err != nil {
		t.Fatal(err)
	}
	return a.Client(&x509.Certificate{RawSubject: raw})
}

// controllerTLS is Signet's own identity.
func controllerTLS(t *testing.T, a *kafkatest.Authority) *tls.Config {
	return clientOf(t, a, principal.ControllerSubject(newCluster(v1alpha1.ClusterPolicy{})))
}

// wipe empties a broker of ACLs, of quotas and of topics.
func wipe(t *testing.T, h *harness) {
	t.Helper()
	bindings, err := h.admin().Describe(h.ctx)
	h.must(err)
	h.must(h.admin().Apply(h.ctx, Diff(principalsOf(bindings), bindings, nil)))
	for _, topic := range []string{"shop-orders", "payments", "secret"} {
		h.must(h.admin().DeleteTopic(h.ctx, topic))
		h.eventually(func() bool {
			actual, err := h.admin().Topic(h.ctx, topic)
			return err == nil && actual == nil
		})
	}
	for _, principal := range slices.Collect(maps.Keys(principalsOf(bindings))) {
		h.wantHeld(principal, nil)
	}
	h.eventually(func() bool {
		quotas := map[string]Quotas{}
		h.must(h.admin().describeQuotas(h.ctx, kadm.DescribeClientQuotaComponent{Type: quotaUser, MatchType: kmsg.QuotasMatchTypeAny}, quotas))
		var changes []QuotaChange
		for principal, held := range quotas {
			changes = append(changes, QuotaChange{Principal: principal, Remove: slices.Collect(maps.Keys(held))})
		}
		if len(changes) > 0 {
			_, err := h.admin().AlterQuotas(h.ctx, changes)
			h.must(err)
		}
		return len(changes) == 0
	})
}

func principalsOf(bindings []Binding) map[string]Bindings {
	out := map[string]Bindings{}
	for _, b := range bindings {
		out[b.Principal] = nil
	}
	return out
}

func TestKafka(t *testing.T) {
	a := kafkatest.NewAuthority(t)
	b := kafkatest.Start(t, a, kafkatest.Options{Properties: kafkatest.Authorizer})
	with := func(t *testing.T) *harness {
		h := newHarness(t, &adminTLS{config: controllerTLS(t, a)}, []string{b.Address})
		h.real = true
		wipe(t, h)
		return h
	}
	for name, scenario := range scenarios {
		t.Run(name, func(t *testing.T) { scenario(t, with(t)) })
	}
	t.Run("Facts", func(t *testing.T) {
		brokers, err := with(t).admin().Brokers(t.Context())
		if err != nil || brokers != (Brokers{Answered: 1, Known: 1}) {
			t.Errorf("%+v, %v", brokers, err)
		}
	})
	t.Run("UnknownTopicConfig", func(t *testing.T) { unknownTopicConfig(t, with(t)) })
	t.Run("TopicConfigAsKafkaWritesIt", func(t *testing.T) { topicConfigAsKafkaWritesIt(t, with(t)) })
	t.Run("EveryCombination", func(t *testing.T) { everyCombination(t, with(t)) })
	t.Run("Behaviour", func(t *testing.T) { behaviour(t, with(t), a, b) })
	t.Run("OneRefusedAmongMany", func(t *testing.T) { oneRefused(t, with(t)) })
	t.Run("ThousandsOfACLs", func(t *testing.T) { thousands(t, with(t)) })
	t.Run("RulesAnswerAsTheBroker", func(t *testing.T) { rulesAgree(t, with(t), a, b) })
	t.Run("Streams", func(t *testing.T) { streams(t, with(t), a, b) })
	t.Run("QuotaSlowsDown", func(t *testing.T) { quotaSlowsDown(t, with(t), a, b) })
	t.Run("ClientSeesExactlyItsTopics", func(t *testing.T) { clientStory(t, with(t), a, b) })
	t.Run("NotASuperUser", func(t *testing.T) {
		ordinary := clientOf(t, a, principal.UserSubject{Namespace: "shop", Name: "ordinary", Organization: "signet"})
		h := newHarness(t, &adminTLS{config: ordinary}, []string{b.Address})
		user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
		h.pass()
		for _, c := range []metav1.Condition{h.wantReason(user, v1alpha1.ReasonRefusedByBroker), h.ask()} {
			t.Log(c.Message)
			if c.Reason != v1alpha1.ReasonRefusedByBroker || !strings.Contains(c.Message, "status.adminPrincipal a super user") {
				t.Errorf("%s: %s", c.Reason, c.Message)
			}
		}
	})
	t.Run("UntrustedBroker", func(t *testing.T) {
		h := newHarness(t, &adminTLS{config: controllerTLS(t, kafkatest.NewAuthority(t))}, []string{b.Address})
		c := h.ask()
		t.Log(c.Message)
		if c.Reason != v1alpha1.ReasonUnreachable || !strings.Contains(c.Message, "x509") {
			t.Errorf("%s: %s", c.Reason, c.Message)
		}
	})
	t.Run("UntrustedClient", func(t *testing.T) {
		config := controllerTLS(t, kafkatest.NewAuthority(t))
		config.RootCAs = controllerTLS(t, a).RootCAs
		h := newHarness(t, &adminTLS{config: config}, []string{b.Address})
		c := h.ask()
		t.Log(c.Message)
		if c.Reason != v1alpha1.ReasonUnreachable || !strings.Contains(c.Message, "tls") {
			t.Errorf("%s: %s", c.Reason, c.Message)
		}
	})
	t.Run("BrokerDies", func(t *testing.T) { brokerDies(t, with(t), b) })
}

// TestKafkaWithoutAuthorizer holds what is said where the brokers enforce nothing.
func TestKafkaWithoutAuthorizer(t *testing.T) {
	a := kafkatest.NewAuthority(t)
	b := kafkatest.Start(t, a, kafkatest.Options{Properties: ""})
	h := newHarness(t, &adminTLS{config: controllerTLS(t, a)}, []string{b.Address})
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	for _, c := range []metav1.Condition{h.wantReason(user, v1alpha1.ReasonRefusedByBroker), h.ask()} {
		t.Log(c.Message)
		if c.Reason != v1alpha1.ReasonRefusedByBroker || !strings.Contains(c.Message, "authorizer.class.name") {
			t.Errorf("%s: %s", c.Reason, c.Message)
		}
	}
}

func unknownTopicConfig(t *testing.T, h *harness) {
	topic := newTopic(func(k *v1alpha1.KafkaTopic) { k.Spec.Config = map[string]string{"no.such.config": "1"} })
	h.must(h.api.Create(h.ctx, topic))
	refused := func() {
		t.Helper()
		if c := h.topic(topic); c.Reason != v1alpha1.ReasonRefusedByBroker || !strings.Contains(c.Message, "no.such.config") {
			t.Errorf("%s: %s", c.Reason, c.Message)
		}
	}
	refused()
	topic.Spec.Config, topic.Generation = nil, 2
	h.must(h.api.Update(h.ctx, topic))
	if c := h.topic(topic); c.Status != metav1.ConditionTrue {
		t.Fatalf("%s: %s", c.Reason, c.Message)
	}
	topic.Spec.Config, topic.Generation = map[string]string{"no.such.config": "1", "retention.ms": "1"}, 3
	h.must(h.api.Update(h.ctx, topic))
	refused()
	if actual, err := h.admin().Topic(h.ctx, "shop-orders"); err != nil || len(actual.Config) != 0 {
		t.Errorf("half of a configuration was applied: %+v, %v", actual, err)
	}
}

// topicConfigAsKafkaWritesIt holds that values which Kafka writes in another way than they are declared are set once: no look
// at the topic afterwards changes anything, which the event of each change would show.
func topicConfigAsKafkaWritesIt(t *testing.T, h *harness) {
	declared := map[string]string{
		"cleanup.policy": "compact , delete", "retention.ms": " 060000", "min.cleanable.dirty.ratio": "0.50",
		"preallocate": "TRUE", "compression.type": " lz4 ", "min.insync.replicas": "+1",
	}
	topic := newTopic(func(k *v1alpha1.KafkaTopic) { k.Spec.Config = declared })
	h.must(h.api.Create(h.ctx, topic))
	settles := func(written map[string]string) {
		t.Helper()
		if c := h.topic(topic); c.Status != metav1.ConditionTrue {
			t.Fatalf("%s: %s", c.Reason, c.Message)
		}
		var actual *Topic
		if !h.eventually(func() bool {
			var err error
			actual, err = h.admin().Topic(h.ctx, "shop-orders")
			h.must(err)
			return actual != nil && maps.Equal(actual.Config, written)
		}) {
			t.Fatalf("the broker has %v, want %v", actual, written)
		}
		h.drain()
		for range 3 {
			h.topic(topic)
		}
		if events := h.drain(); events != "" {
			t.Errorf("looks at a topic that is as declared changed it: %s", events)
		}
	}
	written := map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": "60000", "min.cleanable.dirty.ratio": "0.5",
		"preallocate": "true", "compression.type": "lz4", "min.insync.replicas": "1",
	}
	settles(written)
	for _, config := range []map[string]string{declared, written} {
		config["cleanup.policy"], config["retention.ms"] = "delete", "61000"
	}
	topic.Spec.Config, topic.Generation = declared, 2
	h.must(h.api.Update(h.ctx, topic))
	settles(written)
}

// oneRefused sends a binding that Kafka refuses (it has no resource name) among others that it takes.
func oneRefused(t *testing.T, h *harness) {
	good := sorted(Grants(newUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"payments"} }), newCluster(v1alpha1.ClusterPolicy{}), Facts{}))
	bad := good[0]
	bad.ResourceName = ""
	err := h.admin().Apply(h.ctx, Change{Create: slices.Concat(good[:2], []Binding{bad}, good[2:])})
	var partial *PartialError
	if !errors.Is(err, ErrPartial) || !errors.As(err, &partial) || len(partial.Refused) != 1 || partial.Refused[0].Binding != bad {
		t.Errorf("%v", err)
	}
	h.wantHeld("User:shop.orders", good)
}

// rulesAgree holds that Rules give the answers of the broker's own authorizer, for each operation on topics, under random
// ACLs of all kinds. A broker tells a client which operations it may do (KIP-430).
func rulesAgree(t *testing.T, h *harness, a *kafkatest.Authority, b *kafkatest.Broker) {
	topics := []string{"aa", "ab", "b-a", "b-b"}
	for _, name := range topics {
		h.must(h.admin().CreateTopic(h.ctx, name, Topic{Partitions: 1, ReplicationFactor: 1}))
	}
	identity := clientOf(t, a, principal.UserSubject{Namespace: "shop", Name: "rules", Organization: "signet"})
	connection, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.DialTLSConfig(identity))
	h.must(err)
	defer connection.Close()
	operations := []kmsg.ACLOperation{
		kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDescribe, kmsg.ACLOperationDelete,
		kmsg.ACLOperationAlter, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
	}
	// said is what the broker lets the client do with each topic; nothing with one that it may not describe.
	said := func() map[string]int32 {
		request := kmsg.NewPtrMetadataRequest()
		request.IncludeTopicAuthorizedOperations = true
		for _, name := range topics {
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = kmsg.StringPtr(name)
			request.Topics = append(request.Topics, topic)
		}
		response, err := request.RequestWith(h.ctx, connection)
		h.must(err)
		out := map[string]int32{}
		for _, topic := range response.Topics {
			if err := kerr.ErrorForCode(topic.ErrorCode); err == nil {
				out[*topic.Topic] = topic.AuthorizedOperations
			} else if !errors.Is(err, kerr.TopicAuthorizationFailed) {
				t.Fatal(err)
			}
		}
		return out
	}
	random := rand.New(rand.NewPCG(1, 8))
	granted := 0
	for round := range 40 {
		acls := Bindings{}
		for range 1 + random.IntN(12) {
			binding := Binding{
				Principal: []string{"User:shop.rules", "User:shop.rules", "User:shop.other", everybody}[random.IntN(4)], Host: []string{AnyHost, AnyHost, AnyHost, "10.9.9.9"}[random.IntN(4)],
				ResourceType: kmsg.ACLResourceTypeTopic, ResourceName: []string{"aa", "ab", "a", "b-", "b-a", wildcard}[random.IntN(6)],
				PatternType: []kmsg.ACLResourcePatternType{kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed}[random.IntN(2)],
				Operation:   append(operations, kmsg.ACLOperationAll)[random.IntN(len(operations)+1)],
				Permission:  []kmsg.ACLPermissionType{kmsg.ACLPermissionTypeAllow, kmsg.ACLPermissionTypeAllow, kmsg.ACLPermissionTypeDeny}[random.IntN(3)],
			}
			acls[binding] = struct{}{}
		}
		held, err := h.admin().Describe(h.ctx)
		h.must(err)
		desired := principalsOf(held)
		for binding := range acls {
			if desired[binding.Principal] == nil {
				desired[binding.Principal] = Bindings{}
			}
			desired[binding.Principal][binding] = struct{}{}
		}
		h.must(h.admin().Apply(h.ctx, Diff(desired, held, nil)))
		rules := RulesOf(acls)
		want := map[string]int32{}
		for _, name := range topics {
			var bits int32
			for _, o := range operations {
				answer := rules.Answer("User:shop.rules", kmsg.ACLResourceTypeTopic, name, o)
				if answer == AnswerByHost {
					// The client is not at that host: without the ACLs of that host, the answer is certain.
					elsewhere := maps.Clone(acls)
					maps.DeleteFunc(elsewhere, func(b Binding, _ struct{}) bool { return b.Host != AnyHost })
					answer = RulesOf(elsewhere).Answer("User:shop.rules", kmsg.ACLResourceTypeTopic, name, o)
				}
				if answer == AnswerAllowed {
					bits |= 1 << o
				}
			}
			if bits&(1<<kmsg.ACLOperationDescribe) != 0 {
				want[name] = bits
				granted++
			}
		}
		var got map[string]int32
		if !h.eventually(func() bool { got = said(); return maps.Equal(got, want) }) {
			t.Fatalf("round %d: the broker says %x, the rules %x, of\n%v", round, got, want, slices.Collect(maps.Keys(acls)))
		}
	}
	if granted < 20 {
		t.Errorf("of 160 topics the client may describe %d", granted)
	}
	for _, name := range topics {
		h.must(h.admin().DeleteTopic(h.ctx, name))
	}
}

// thousands holds that a user with more bindings than a request may carry comes and goes.
func thousands(t *testing.T, h *harness) {
	var topics []string
	for i := range 1000 {
		topics = append(topics, fmt.Sprintf("shop-%04d", i))
	}
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Admin: topics})
	other := h.user("shop", "other", v1alpha1.KafkaUserSpec{Produce: topics})
	started := time.Now()
	h.pass()
	h.wantSynced(user)
	h.wantSynced(other)
	t.Logf("%d bindings created in %s", *user.Status.ACLs+*other.Status.ACLs, time.Since(started).Round(time.Millisecond))
	started = time.Now()
	h.fullPass()
	t.Logf("a pass without change: %s", time.Since(started).Round(time.Millisecond))
	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Admin = topics[:990] })
	started = time.Now()
	h.pass()
	h.wantSynced(user)
	t.Logf("60 bindings of one user removed in %s", time.Since(started).Round(time.Millisecond))
	h.must(h.api.Delete(h.ctx, user))
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	started = time.Now()
	h.pass()
	t.Logf("%d bindings of a deleted user removed in %s", *user.Status.ACLs, time.Since(started).Round(time.Millisecond))
	h.wantHeld("User:shop.orders", nil)
	if !h.gone(user) {
		t.Error("still there")
	}
	h.wantSynced(other)
}

// throttled notes for how long a broker asks a client to be silent.
type throttled struct{ longest atomic.Int64 }

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (h *throttled) OnBrokerThrottle(_ kgo.BrokerMetadata, interval time.Duration, _ bool) {
	h.longest.Store(max(h.longest.Load(), int64(interval)))
}

// quotaSlowsDown holds that a broker slows a producer down that has a quota, and no longer once it has none.
func quotaSlowsDown(t *testing.T, h *harness, a *kafkatest.Authority, b *kafkatest.Broker) {
	h.must(h.admin().CreateTopic(h.ctx, "payments", Topic{Partitions: 1, ReplicationFactor: 1}))
	user := h.user("shop", "slow", v1alpha1.KafkaUserSpec{Produce: []string{"payments"}, Quotas: &v1alpha1.Quotas{ProducerByteRate: quantity("10k")}})
	h.pass()
	h.wantSynced(user)
	identity := clientOf(t, a, principal.UserSubject{Namespace: "shop", Name: "slow", Organization: "signet"})
	produce := func() time.Duration {
		hook := &throttled{}
		producer, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.DialTLSConfig(identity), kgo.WithHooks(hook), kgo.ProducerBatchCompression(kgo.NoCompression()))
		h.must(err)
		defer producer.Close()
		h.must(producer.ProduceSync(h.ctx, &kgo.Record{Topic: "payments", Value: make([]byte, 200_000)}).FirstErr())
		return time.Duration(hook.longest.Load())
	}
	if !h.eventually(func() bool { return produce() > 0 }) {
		t.Error("a producer beyond its quota is not slowed down")
	}
	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Quotas = nil })
	h.pass()
	if !h.eventually(func() bool { return produce() == 0 }) {
		t.Error("a producer is slowed down by a quota that is no more")
	}
}

// clientStory runs a real client through what access means: no topics, exactly the granted one, produce and consume with
// the free group and a transaction, and nothing again.
func clientStory(t *testing.T, h *harness, a *kafkatest.Authority, b *kafkatest.Broker) {
	for _, name := range []string{"payments", "secret"} {
		h.must(h.admin().CreateTopic(h.ctx, name, Topic{Partitions: 1, ReplicationFactor: 1}))
	}
	identity := clientOf(t, a, principal.UserSubject{Namespace: "shop", Name: "orders", Organization: "signet"})
	connect := func(options ...kgo.Opt) *kgo.Client {
		connection, err := kgo.NewClient(append(options, kgo.SeedBrokers(b.Address), kgo.DialTLSConfig(identity))...)
		h.must(err)
		return connection
	}
	seen := func() []string {
		connection := connect()
		defer connection.Close()
		topics, err := kadm.NewClient(connection).ListTopics(h.ctx)
		h.must(err)
		return topics.Names()
	}
	if got := seen(); len(got) != 0 {
		t.Errorf("without access the client sees %v", got)
	}
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}, Produce: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	h.eventually(func() bool { return slices.Equal(seen(), []string{"payments"}) })
	producer := connect(kgo.TransactionalID("shop.orders-1"))
	defer producer.Close()
	h.must(producer.BeginTransaction())
	h.must(producer.ProduceSync(h.ctx, &kgo.Record{Topic: "payments", Value: []byte("paid")}).FirstErr())
	h.must(producer.EndTransaction(h.ctx, kgo.TryCommit))
	for _, group := range []string{"shop", "shop.workers"} {
		consumer := connect(kgo.ConsumerGroup(group), kgo.ConsumeTopics("payments"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		fetches := consumer.PollRecords(h.ctx, 1)
		if records := fetches.Records(); fetches.Err() != nil || len(records) != 1 || string(records[0].Value) != "paid" {
			t.Errorf("group %s: %v, %v", group, records, fetches.Err())
		}
		consumer.Close()
	}
	stranger := connect(kgo.ConsumerGroup("bank"), kgo.ConsumeTopics("payments"))
	if err := stranger.PollRecords(h.ctx, 1).Err(); !errors.Is(err, kerr.GroupAuthorizationFailed) {
		t.Errorf("another namespace's group: %v", err)
	}
	stranger.Close()
	plain := connect()
	defer plain.Close()
	ctx, cancel := context.WithTimeout(h.ctx, 20*time.Second)
	defer cancel()
	if err := plain.ProduceSync(ctx, &kgo.Record{Topic: "secret", Value: []byte("x")}).FirstErr(); err == nil {
		t.Error("produced to a topic that was not granted")
	}
	h.must(h.api.Delete(h.ctx, user))
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	h.pass()
	h.eventually(func() bool { return len(seen()) == 0 })
}

// brokerDies kills the broker between two changes, and while a pass is under way, and starts it again.
func brokerDies(t *testing.T, h *harness, b *kafkatest.Broker) {
	before := h.user("shop", "before", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(before)
	var topics []string
	for i := range 1000 {
		topics = append(topics, fmt.Sprintf("shop-%04d", i))
	}
	during := h.user("shop", "during", v1alpha1.KafkaUserSpec{Admin: topics})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		// Somewhere within the pass; whatever it had done by then, the outcome must be the same.
		time.Sleep(150 * time.Millisecond)
		b.Kill()
	}()
	h.pass()
	<-killed
	h.edit(before, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"refunds"} })
	h.now = h.now.Add(2 * time.Minute)
	h.pass()
	c := h.wantReason(before, v1alpha1.ReasonUnreachable)
	t.Log(c.Message)
	if !strings.Contains(c.Message, "refused") {
		t.Errorf("message without the cause: %s", c.Message)
	}
	if c := h.ask(); c.Reason != v1alpha1.ReasonUnreachable {
		t.Errorf("Reachable: %s: %s", c.Reason, c.Message)
	}
	b.Start()
	if c := h.ask(); c.Status != metav1.ConditionTrue {
		t.Errorf("Reachable again: %s: %s", c.Reason, c.Message)
	}
	h.fullPass()
	h.wantSynced(before)
	h.wantSynced(during)
}
