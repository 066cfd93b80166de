// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/principal"
)

// The operations of each bundle, as docs/access.md has them. They are written down again here, so that a mistake in
// operations shows.
var bundleTable = map[string]string{
	"consume":        "DESCRIBE DESCRIBE_CONFIGS READ",
	"produce":        "DESCRIBE DESCRIBE_CONFIGS READ WRITE",
	"admin":          "CREATE DELETE DESCRIBE DESCRIBE_CONFIGS READ WRITE",
	"consumerGroups": "ALL",
}

// everyCombination declares each of the 256 combinations of consume, produce, admin and consumerGroups by name and by prefix, in
// a KafkaUser of its own, and compares what the broker describes with the table, with the free groups and without.
func everyCombination(t *testing.T, h *harness) {
	type entry struct{ bundle, declared, kind, resource string }
	entries := []entry{
		{"consume", "orders", "LITERAL", "orders"}, {"consume", "pay-*", "PREFIXED", "pay-"},
		{"produce", "orders", "LITERAL", "orders"}, {"produce", "refund*", "PREFIXED", "refund"},
		{"admin", "shop-a", "LITERAL", "shop-a"}, {"admin", "shop-*", "PREFIXED", "shop-"},
		{"consumerGroups", "batch", "LITERAL", "batch"}, {"consumerGroups", "batch.*", "PREFIXED", "batch."},
	}
	want := func(combination int, free bool) []string {
		var out []string
		add := func(operations, resource, kind, name string) {
			for operation := range strings.FieldsSeq(operations) {
				out = append(out, fmt.Sprintf("User:shop.u%03d ALLOW %s on %s %s %s from *", combination, operation, resource, kind, name))
			}
		}
		has := map[string]bool{}
		for i, e := range entries {
			if combination&(1<<i) == 0 {
				continue
			}
			has[e.bundle] = true
			resource := "TOPIC"
			if e.bundle == "consumerGroups" {
				resource = "GROUP"
			}
			add(bundleTable[e.bundle], resource, e.kind, e.resource)
		}
		if free && (has["consume"] || has["admin"]) {
			add("ALL", "GROUP", "LITERAL", "shop")
			add("ALL", "GROUP", "PREFIXED", "shop.")
		}
		if has["produce"] || has["admin"] {
			add("DESCRIBE WRITE", "TRANSACTIONAL_ID", "LITERAL", "shop")
			add("DESCRIBE WRITE", "TRANSACTIONAL_ID", "PREFIXED", "shop.")
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	for combination := range 1 << len(entries) {
		var spec v1alpha1.KafkaUserSpec
		for i, e := range entries {
			if combination&(1<<i) == 0 {
				continue
			}
			list := map[string]*[]string{"consume": &spec.Consume, "produce": &spec.Produce, "admin": &spec.Admin, "consumerGroups": &spec.ConsumerGroups}[e.bundle]
			*list = append(*list, e.declared)
		}
		h.user("shop", fmt.Sprintf("u%03d", combination), spec)
	}
	for _, free := range []bool{true, false} {
		cluster := h.current()
		cluster.Spec.Policy.FreeGroups = &free
		cluster.Generation++
		h.must(h.api.Update(h.ctx, cluster))
		h.fullPass()
		var all []string
		for combination := range 1 << len(entries) {
			all = append(all, want(combination, free)...)
		}
		slices.Sort(all)
		var got []string
		if !h.eventually(func() bool {
			got = nil
			for _, b := range h.all() {
				got = append(got, b.String())
			}
			slices.Sort(got)
			return slices.Equal(got, all)
		}) {
			t.Errorf("free groups %t: the broker has %d ACLs, the table %d; first difference %s", free, len(got), len(all), firstDifference(got, all))
		}
	}
}

// firstDifference names the first element that one of two sorted lists has and the other has not.
func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return "missing " + want[i]
		case i >= len(want):
			return "unexpected " + got[i]
		case got[i] != want[i]:
			return fmt.Sprintf("%s, want %s", got[i], want[i])
		}
	}
	return "none"
}

// attempt is a request that a client sends, and the operation that it needs for the resource name.
type attempt struct {
	operation, request string
	do                 func(*actor, string) error
	denied             error
}

// actor sends requests as one principal.
type actor struct {
	ctx   context.Context
	kafka *kgo.Client
	// topic is one that the principal may read, for requests about groups that name one.
	topic string
}

// send asks the only broker there is.
func send[R kmsg.Response](c *actor, request kmsg.Request) (R, error) {
	response, err := c.kafka.SeedBrokers()[0].RetriableRequest(c.ctx, request)
	if err != nil {
		var none R
		return none, err
	}
	return response.(R), nil
}

// code is the first error of an answer.
func code(codes ...int16) error {
	for _, c := range codes {
		if err := kerr.ErrorForCode(c); err != nil {
			return err
		}
	}
	return nil
}

// one returns the only part of an answer.
func one[T any](parts []T) T {
	if len(parts) != 1 {
		panic(fmt.Sprintf("%d parts in an answer about one thing", len(parts)))
	}
	return parts[0]
}

func describeTopic(c *actor, name string) error {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	response, err := send[*kmsg.MetadataResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(response.Topics).ErrorCode)
}

func listOffsets(c *actor, name string) error {
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Timestamp = -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = name, []kmsg.ListOffsetsRequestTopicPartition{partition}
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID, request.Topics = -1, []kmsg.ListOffsetsRequestTopic{topic}
	response, err := send[*kmsg.ListOffsetsResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(one(response.Topics).Partitions).ErrorCode)
}

func fetch(c *actor, name string) error {
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.PartitionMaxBytes = 1 << 20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = name, []kmsg.FetchRequestTopicPartition{partition}
	request := kmsg.NewPtrFetchRequest()
	request.ReplicaID, request.SessionEpoch, request.Topics = -1, -1, []kmsg.FetchRequestTopic{topic}
	response, err := send[*kmsg.FetchResponse](c, request)
	if err != nil {
		return err
	}
	return code(response.ErrorCode, one(one(response.Topics).Partitions).ErrorCode)
}

func describeConfigs(kind kmsg.ConfigResourceType) func(*actor, string) error {
	return func(c *actor, name string) error {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kind, name
		request := kmsg.NewPtrDescribeConfigsRequest()
		request.Resources = []kmsg.DescribeConfigsRequestResource{resource}
		response, err := send[*kmsg.DescribeConfigsResponse](c, request)
		if err != nil {
			return err
		}
		return code(one(response.Resources).ErrorCode)
	}
}

func alterConfigs(kind kmsg.ConfigResourceType, key, value string) func(*actor, string) error {
	return func(c *actor, name string) error {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Value = key, &value
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName, resource.Configs = kind, name, []kmsg.IncrementalAlterConfigsRequestResourceConfig{config}
		request := kmsg.NewPtrIncrementalAlterConfigsRequest()
		request.Resources = []kmsg.IncrementalAlterConfigsRequestResource{resource}
		response, err := send[*kmsg.IncrementalAlterConfigsResponse](c, request)
		if err != nil {
			return err
		}
		return code(one(response.Resources).ErrorCode)
	}
}

func produceTo(c *actor, name string) error {
	return c.kafka.ProduceSync(c.ctx, &kgo.Record{Topic: name, Value: []byte("x")}).FirstErr()
}

func createTopic(c *actor, name string) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis, request.Topics = 10_000, []kmsg.CreateTopicsRequestTopic{topic}
	response, err := send[*kmsg.CreateTopicsResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(response.Topics).ErrorCode)
}

func deleteTopic(c *actor, name string) error {
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TimeoutMillis, request.Topics, request.TopicNames = 10_000, []kmsg.DeleteTopicsRequestTopic{topic}, []string{name}
	response, err := send[*kmsg.DeleteTopicsResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(response.Topics).ErrorCode)
}

func deleteRecords(c *actor, name string) error {
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic, topic.Partitions = name, []kmsg.DeleteRecordsRequestTopicPartition{{Offset: -1}}
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.TimeoutMillis, request.Topics = 10_000, []kmsg.DeleteRecordsRequestTopic{topic}
	response, err := send[*kmsg.DeleteRecordsResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(one(response.Topics).Partitions).ErrorCode)
}

func createPartitions(c *actor, name string) error {
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = name, 9
	request := kmsg.NewPtrCreatePartitionsRequest()
	request.TimeoutMillis, request.Topics = 10_000, []kmsg.CreatePartitionsRequestTopic{topic}
	response, err := send[*kmsg.CreatePartitionsResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(response.Topics).ErrorCode)
}

// The kinds of a coordinator's key (FindCoordinatorRequest.CoordinatorType).
const groupKey, transactionKey = 0, 1

func findCoordinator(kind int8) func(*actor, string) error {
	return func(c *actor, name string) error {
		request := kmsg.NewPtrFindCoordinatorRequest()
		request.CoordinatorType, request.CoordinatorKey, request.CoordinatorKeys = kind, name, []string{name}
		response, err := send[*kmsg.FindCoordinatorResponse](c, request)
		if err != nil {
			return err
		}
		return code(response.ErrorCode, one(response.Coordinators).ErrorCode)
	}
}

// joinGroup joins as a consumer and leaves again.
func joinGroup(c *actor, name string) error {
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", []byte{0}
	request := kmsg.NewPtrJoinGroupRequest()
	request.Group, request.SessionTimeoutMillis, request.RebalanceTimeoutMillis, request.ProtocolType = name, 10_000, 10_000, "consumer"
	request.Protocols = []kmsg.JoinGroupRequestProtocol{protocol}
	response, err := send[*kmsg.JoinGroupResponse](c, request)
	if err == nil && errors.Is(kerr.ErrorForCode(response.ErrorCode), kerr.MemberIDRequired) {
		request.MemberID = response.MemberID
		response, err = send[*kmsg.JoinGroupResponse](c, request)
	}
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
		return err
	}
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = response.MemberID
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.MemberID, leave.Members = name, response.MemberID, []kmsg.LeaveGroupRequestMember{member}
	left, err := send[*kmsg.LeaveGroupResponse](c, leave)
	if err != nil {
		return err
	}
	return code(left.ErrorCode)
}

func commitOffset(c *actor, name string) error {
	partition := kmsg.NewOffsetCommitRequestTopicPartition()
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.Partitions = c.topic, []kmsg.OffsetCommitRequestTopicPartition{partition}
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.Generation, request.Topics = name, -1, []kmsg.OffsetCommitRequestTopic{topic}
	response, err := send[*kmsg.OffsetCommitResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(one(response.Topics).Partitions).ErrorCode)
}

func fetchOffset(c *actor, name string) error {
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.Partitions = c.topic, []int32{0}
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group, group.Topics = name, []kmsg.OffsetFetchRequestGroupTopic{topic}
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Groups = []kmsg.OffsetFetchRequestGroup{group}
	response, err := send[*kmsg.OffsetFetchResponse](c, request)
	if err != nil {
		return err
	}
	return code(response.ErrorCode, one(response.Groups).ErrorCode)
}

func describeGroup(c *actor, name string) error {
	request := kmsg.NewPtrDescribeGroupsRequest()
	request.Groups = []string{name}
	response, err := send[*kmsg.DescribeGroupsResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(response.Groups).ErrorCode)
}

func deleteOffset(c *actor, name string) error {
	topic := kmsg.NewOffsetDeleteRequestTopic()
	topic.Topic, topic.Partitions = c.topic, []kmsg.OffsetDeleteRequestTopicPartition{{}}
	request := kmsg.NewPtrOffsetDeleteRequest()
	request.Group, request.Topics = name, []kmsg.OffsetDeleteRequestTopic{topic}
	response, err := send[*kmsg.OffsetDeleteResponse](c, request)
	if err != nil {
		return err
	}
	return code(response.ErrorCode)
}

func deleteGroup(c *actor, name string) error {
	request := kmsg.NewPtrDeleteGroupsRequest()
	request.Groups = []string{name}
	response, err := send[*kmsg.DeleteGroupsResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(response.Groups).ErrorCode)
}

// producerID begins as an idempotent producer, or, with an id, as a transactional one.
func producerID(c *actor, id *string) (*kmsg.InitProducerIDResponse, error) {
	request := kmsg.NewPtrInitProducerIDRequest()
	request.TransactionalID, request.TransactionTimeoutMillis = id, 10_000
	for {
		response, err := send[*kmsg.InitProducerIDResponse](c, request)
		if err != nil {
			return nil, err
		}
		switch err := kerr.ErrorForCode(response.ErrorCode); {
		case err != nil && kerr.IsRetriable(err) && c.ctx.Err() == nil: // the transaction before is still ending
		default:
			return response, err
		}
	}
}

func idempotent(c *actor, _ string) error {
	_, err := producerID(c, nil)
	return err
}

func initTransactions(c *actor, id string) error {
	_, err := producerID(c, &id)
	return err
}

// transaction adds a topic and an offset to a transaction, and ends it.
func transaction(c *actor, id string) error {
	producer, err := producerID(c, &id)
	if err != nil {
		return err
	}
	topic := kmsg.NewAddPartitionsToTxnRequestTopic()
	topic.Topic, topic.Partitions = c.topic, []int32{0}
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Topics = id, producer.ProducerID, producer.ProducerEpoch, []kmsg.AddPartitionsToTxnRequestTopic{topic}
	for {
		added, err := send[*kmsg.AddPartitionsToTxnResponse](c, add)
		if err != nil {
			return err
		}
		err = code(added.ErrorCode, one(one(added.Topics).Partitions).ErrorCode)
		if err == nil {
			break
		}
		if !kerr.IsRetriable(err) || c.ctx.Err() != nil {
			return err
		}
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch = id, producer.ProducerID, producer.ProducerEpoch
	ended, err := send[*kmsg.EndTxnResponse](c, end)
	if err != nil {
		return err
	}
	return code(ended.ErrorCode)
}

func describeTransaction(c *actor, id string) error {
	request := kmsg.NewPtrDescribeTransactionsRequest()
	request.TransactionalIDs = []string{id}
	response, err := send[*kmsg.DescribeTransactionsResponse](c, request)
	if err != nil {
		return err
	}
	return code(one(response.TransactionStates).ErrorCode)
}

func describeACLs(c *actor, _ string) error {
	response, err := send[*kmsg.DescribeACLsResponse](c, everyACL())
	if err != nil {
		return err
	}
	return code(response.ErrorCode)
}

// What each operation of a bundle is for.
var (
	consuming = []attempt{
		{"DESCRIBE", "Metadata", describeTopic, kerr.TopicAuthorizationFailed},
		{"DESCRIBE", "ListOffsets", listOffsets, kerr.TopicAuthorizationFailed},
		{"DESCRIBE_CONFIGS", "DescribeConfigs", describeConfigs(kmsg.ConfigResourceTypeTopic), kerr.TopicAuthorizationFailed},
		{"READ", "Fetch", fetch, kerr.TopicAuthorizationFailed},
	}
	producing = append([]attempt{
		{"WRITE", "Produce", produceTo, kerr.TopicAuthorizationFailed},
	}, consuming...)
	administering = slices.Concat([]attempt{
		{"CREATE", "CreateTopics", createTopic, kerr.TopicAuthorizationFailed},
	}, producing, []attempt{
		{"DELETE", "DeleteRecords", deleteRecords, kerr.TopicAuthorizationFailed},
		{"DELETE", "DeleteTopics", deleteTopic, kerr.TopicAuthorizationFailed},
	})
	grouping = []attempt{
		{"DESCRIBE", "FindCoordinator", findCoordinator(groupKey), kerr.GroupAuthorizationFailed},
		{"READ", "JoinGroup, LeaveGroup", joinGroup, kerr.GroupAuthorizationFailed},
		{"READ", "OffsetCommit", commitOffset, kerr.GroupAuthorizationFailed},
		{"DESCRIBE", "OffsetFetch", fetchOffset, kerr.GroupAuthorizationFailed},
		{"DESCRIBE", "DescribeGroups", describeGroup, kerr.GroupAuthorizationFailed},
		{"DESCRIBE_CONFIGS", "DescribeConfigs", describeConfigs(kmsg.ConfigResourceTypeGroupConfig), kerr.GroupAuthorizationFailed},
		{"ALTER_CONFIGS", "IncrementalAlterConfigs", alterConfigs(kmsg.ConfigResourceTypeGroupConfig, "consumer.session.timeout.ms", "50000"), kerr.GroupAuthorizationFailed},
		{"DELETE", "OffsetDelete", deleteOffset, kerr.GroupAuthorizationFailed},
		{"DELETE", "DeleteGroups", deleteGroup, kerr.GroupAuthorizationFailed},
	}
	transacting = []attempt{
		{"DESCRIBE", "FindCoordinator", findCoordinator(transactionKey), kerr.TransactionalIDAuthorizationFailed},
		{"WRITE", "InitProducerId", initTransactions, kerr.TransactionalIDAuthorizationFailed},
		{"WRITE", "AddPartitionsToTxn, EndTxn", transaction, kerr.TransactionalIDAuthorizationFailed},
		{"DESCRIBE", "DescribeTransactions", describeTransaction, kerr.TransactionalIDAuthorizationFailed},
	}
	// altering is what no bundle is for.
	altering = []attempt{
		{"ALTER", "CreatePartitions", createPartitions, kerr.TopicAuthorizationFailed},
		{"ALTER_CONFIGS", "IncrementalAlterConfigs", alterConfigs(kmsg.ConfigResourceTypeTopic, "retention.ms", "1"), kerr.TopicAuthorizationFailed},
		{"DESCRIBE of the cluster", "DescribeAcls", describeACLs, kerr.ClusterAuthorizationFailed},
	}
)

// behaviour sends, as a client, a request for each operation of each bundle: refused before the declaration, answered after
// it, and refused for a neighbouring name all the while; and what the bundle is not for, which is refused always.
func behaviour(t *testing.T, h *harness, a *kafkatest.Authority, b *kafkatest.Broker) {
	for _, topic := range []string{"payments", "payments-2", "orders"} {
		h.must(h.admin().CreateTopic(h.ctx, topic, Topic{Partitions: 1, ReplicationFactor: 1}))
		defer func() { h.must(h.admin().DeleteTopic(h.ctx, topic)) }()
	}
	type spec = v1alpha1.KafkaUserSpec
	none := []attempt(nil)
	for i, row := range []struct {
		name     string
		declared spec
		// allowed are names that the declaration covers, denied neighbours that it does not.
		allowed, denied []string
		attempts        []attempt
		// never is refused for the allowed names, too.
		never []attempt
		// before is declared from the beginning, for requests that need more than one right.
		before spec
	}{
		{"consume", spec{Consume: []string{"payments"}}, []string{"payments"}, []string{"payments-2", "orders"}, consuming,
			slices.Concat(altering, producing[:1], []attempt{{"WRITE", "InitProducerId", idempotent, kerr.ClusterAuthorizationFailed}, {"DELETE", "DeleteTopics", deleteTopic, kerr.TopicAuthorizationFailed}}), spec{}},
		{"consume a prefix", spec{Consume: []string{"payments*"}}, []string{"payments", "payments-2"}, []string{"orders"}, consuming, producing[:1], spec{}},
		{"produce", spec{Produce: []string{"payments"}}, []string{"payments"}, []string{"payments-2", "orders"}, producing,
			slices.Concat(altering, administering[len(administering)-2:]), spec{}},
		{"produce to a prefix", spec{Produce: []string{"pay*"}}, []string{"payments", "payments-2"}, []string{"orders"}, producing, altering, spec{}},
		{"produce without repetition", spec{Produce: []string{"payments"}}, []string{""}, nil,
			[]attempt{{"WRITE", "InitProducerId", idempotent, kerr.ClusterAuthorizationFailed}}, none, spec{}},
		{"admin", spec{Admin: []string{"shop-new"}}, []string{"shop-new"}, []string{"shop-new-2", "shop-"}, administering, altering, spec{}},
		{"admin of a prefix", spec{Admin: []string{"shop-n*"}}, []string{"shop-new", "shop-n"}, []string{"shop-old", "bank-n"}, administering, altering, spec{}},
		{"consumerGroups", spec{ConsumerGroups: []string{"batch"}}, []string{"batch"}, []string{"batch-2", "shop"}, grouping, none, spec{Produce: []string{"orders"}}},
		{"consumerGroups of a prefix", spec{ConsumerGroups: []string{"nightly-*"}}, []string{"nightly-", "nightly-1"}, []string{"nightly", "shop"}, grouping, none, spec{Produce: []string{"orders"}}},
		{"free groups", spec{Consume: []string{"orders"}}, []string{"shop", "shop.a"}, []string{"shop-a", "shopping", "bank", "sho"}, grouping, none, spec{Produce: []string{"orders"}}},
		{"transactional ids", spec{Produce: []string{"orders"}}, []string{"shop", "shop.a"}, []string{"shop-a", "shopping", "bank", "sho"}, transacting, none, spec{Consume: []string{"orders"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			name := fmt.Sprintf("client-%d", i)
			kafka, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.DialTLSConfig(clientOf(t, a, principal.UserSubject{Namespace: "shop", Name: name, Organization: "signet"})),
				// Requests of these versions name topics; later ones have their ids.
				kgo.MaxVersions(kversion.V3_0_0()), kgo.DisableIdempotentWrite(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(10*time.Millisecond))
			h.must(err)
			defer kafka.Close()
			c := &actor{h.ctx, kafka, "orders"}
			try := func(when string, attempt attempt, name string, want error) {
				t.Helper()
				err := attempt.do(c, name)
				for kerr.IsRetriable(err) && c.ctx.Err() == nil { // a coordinator that is starting
					time.Sleep(20 * time.Millisecond)
					err = attempt.do(c, name)
				}
				if !errors.Is(err, want) {
					t.Errorf("%s: %s (%s) of %q: %v, want %v", when, attempt.request, attempt.operation, name, err, want)
				}
			}
			user := h.user("shop", name, row.before)
			h.pass()
			h.wantSynced(user)
			for _, attempt := range row.attempts {
				for _, name := range slices.Concat(row.allowed, row.denied) {
					try("undeclared", attempt, name, attempt.denied)
				}
			}
			h.edit(user, func(s *v1alpha1.KafkaUserSpec) {
				s.Consume, s.Produce = append(s.Consume, row.declared.Consume...), append(s.Produce, row.declared.Produce...)
				s.Admin, s.ConsumerGroups = row.declared.Admin, row.declared.ConsumerGroups
			})
			h.pass()
			h.wantSynced(user)
			for _, name := range row.allowed {
				for i, attempt := range row.attempts {
					try("declared", attempt, name, nil)
					if i > 0 {
						continue
					}
					for _, attempt := range row.never { // while what the first attempt may have created is there
						try("never", attempt, name, attempt.denied)
					}
				}
			}
			for _, name := range row.denied {
				for _, attempt := range row.attempts {
					try("of a neighbour", attempt, name, attempt.denied)
				}
			}
			h.delete(user)
		})
	}
}
