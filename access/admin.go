// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/signet-kafka/signet/principal"
)

// Admin administers one Kafka. Every method gives up after requestTimeout for each request that it sends; its errors are
// *UnreachableError, *RefusedError or *PartialError. It is safe for concurrent use.
type Admin struct {
	// cluster is namespace/name of the KafkaCluster, for errors.
	cluster string
	kafka   *kgo.Client
	kadm    *kadm.Client

	claim sync.Mutex
	// claimed is when the Kafka was last seen to be this Signet's.
	claimed time.Time
}

// NewAdmin returns an Admin with a connection of the caller's, who closes it. cluster is a name for errors.
func NewAdmin(cluster string, kafka *kgo.Client) *Admin {
	return &Admin{cluster: cluster, kafka: kafka, kadm: kadm.NewClient(kafka)}
}

func (a *Admin) close() { a.kafka.Close() }

// Held returns what a principal has in Kafka.
func (a *Admin) Held(ctx context.Context, principal string) (Held, error) {
	bindings, err := a.Describe(ctx, principal)
	if err != nil {
		return Held{}, err
	}
	quotas, err := a.DescribeQuotas(ctx, principal)
	if err != nil {
		return Held{}, err
	}
	held := Held{Bindings: Bindings{}, Quotas: quotas[principal]}
	for _, b := range bindings {
		held.Bindings[b] = struct{}{}
	}
	return held, nil
}

// fewPrincipals is up to how many principals are described one by one: one takes 12 ms where 100,000 bindings take
// 200 ms.
const fewPrincipals = 8

// Describe returns the bindings of the principals. For more than a few, and for none, it reads every binding there is.
func (a *Admin) Describe(ctx context.Context, principals ...string) ([]Binding, error) {
	if len(principals) == 0 || len(principals) > fewPrincipals {
		return a.describe(ctx, nil)
	}
	var out []Binding
	for _, principal := range principals {
		bindings, err := a.describe(ctx, &principal)
		if err != nil {
			return nil, err
		}
		out = append(out, bindings...)
	}
	return out, nil
}

func (a *Admin) describe(ctx context.Context, principal *string) ([]Binding, error) {
	request := everyACL()
	request.Principal = principal
	return a.describeACLs(ctx, request)
}

// everyACL asks for all ACLs.
func everyACL() *kmsg.DescribeACLsRequest {
	request := kmsg.NewPtrDescribeACLsRequest()
	request.ResourceType = kmsg.ACLResourceTypeAny
	request.ResourcePatternType = kmsg.ACLResourcePatternTypeAny
	request.Operation = kmsg.ACLOperationAny
	request.PermissionType = kmsg.ACLPermissionTypeAny
	return request
}

func (a *Admin) describeACLs(ctx context.Context, request *kmsg.DescribeACLsRequest) ([]Binding, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := request.RequestWith(ctx, a.kafka)
	if err != nil {
		return nil, classify(a.cluster, fmt.Errorf("describe acls: %w", err))
	}
	if err := answered(a.cluster, response.ErrorCode, response.ErrorMessage); err != nil {
		return nil, err
	}
	count := 0
	for _, resource := range response.Resources {
		count += len(resource.ACLs)
	}
	out := make([]Binding, 0, count)
	for _, resource := range response.Resources {
		for _, acl := range resource.ACLs {
			out = append(out, Binding{
				Principal:    acl.Principal,
				Host:         acl.Host,
				ResourceType: resource.ResourceType,
				ResourceName: resource.ResourceName,
				PatternType:  resource.ResourcePatternType,
				Operation:    acl.Operation,
				Permission:   acl.PermissionType,
			})
		}
	}
	return out, nil
}

// Apply carries out a change: everything is created before anything is deleted. A binding that the broker refuses does
// not hold up the others, and a refused creation does not hold up deletions, so that a grant can always be withdrawn;
// both are reported together as a *PartialError. Any other error ends it there and then.
func (a *Admin) Apply(ctx context.Context, change Change) error {
	var refused []Refusal
	for creations := range slices.Chunk(change.Create, maxBindingsPerRequest) {
		more, err := a.create(ctx, creations)
		if err != nil {
			return err
		}
		refused = append(refused, more...)
	}
	for _, deletions := range batches(change.Delete) {
		more, err := a.delete(ctx, deletions)
		if err != nil {
			return err
		}
		refused = append(refused, more...)
	}
	if len(refused) > 0 {
		return &PartialError{refused}
	}
	return nil
}

func (a *Admin) create(ctx context.Context, bindings []Binding) ([]Refusal, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrCreateACLsRequest()
	for _, b := range bindings {
		creation := kmsg.NewCreateACLsRequestCreation()
		creation.ResourceType = b.ResourceType
		creation.ResourceName = b.ResourceName
		creation.ResourcePatternType = b.PatternType
		creation.Principal = b.Principal
		creation.Host = b.Host
		creation.Operation = b.Operation
		creation.PermissionType = b.Permission
		request.Creations = append(request.Creations, creation)
	}
	response, err := request.RequestWith(ctx, a.kafka)
	if err != nil {
		return nil, classify(a.cluster, fmt.Errorf("create %d acls: %w", len(bindings), err))
	}
	if len(response.Results) != len(bindings) {
		return nil, &UnreachableError{a.cluster, fmt.Errorf("create acls: %d results for %d bindings", len(response.Results), len(bindings))}
	}
	var refused []Refusal
	for i, result := range response.Results {
		err := answered(a.cluster, result.ErrorCode, result.ErrorMessage)
		if wholeRequest(err) {
			return nil, err
		}
		if err != nil {
			refused = append(refused, Refusal{bindings[i], err})
		}
	}
	return refused, nil
}

func (a *Admin) delete(ctx context.Context, deletions []Deletion) ([]Refusal, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrDeleteACLsRequest()
	for _, d := range deletions {
		filter := kmsg.NewDeleteACLsRequestFilter()
		filter.ResourceType = d.Filter.ResourceType
		filter.ResourceName = d.Filter.Name
		filter.ResourcePatternType = d.Filter.PatternType
		filter.Principal = &d.Filter.Principal
		filter.Host = d.Filter.Host
		filter.Operation = d.Filter.Operation
		filter.PermissionType = d.Filter.Permission
		request.Filters = append(request.Filters, filter)
	}
	response, err := request.RequestWith(ctx, a.kafka)
	if err != nil {
		return nil, classify(a.cluster, fmt.Errorf("delete acls by %d filters: %w", len(deletions), err))
	}
	if len(response.Results) != len(deletions) {
		return nil, &UnreachableError{a.cluster, fmt.Errorf("delete acls: %d results for %d filters", len(response.Results), len(deletions))}
	}
	var refused []Refusal
	for i, result := range response.Results {
		err := answered(a.cluster, result.ErrorCode, result.ErrorMessage)
		if wholeRequest(err) {
			return nil, err
		}
		if err != nil {
			for _, b := range deletions[i].Bindings {
				refused = append(refused, Refusal{b, err})
			}
			continue
		}
		for _, match := range result.MatchingACLs {
			if err := answered(a.cluster, match.ErrorCode, match.ErrorMessage); err != nil {
				refused = append(refused, Refusal{Binding{
					Principal: match.Principal, Host: match.Host,
					ResourceType: match.ResourceType, ResourceName: match.ResourceName, PatternType: match.ResourcePatternType,
					Operation: match.Operation, Permission: match.PermissionType,
				}, err})
			}
		}
	}
	return refused, nil
}

// wholeRequest tells whether the error of one result says nothing of that result in particular: the brokers answer so to
// everything that this connection asks for.
func wholeRequest(err error) bool {
	var unreachable *UnreachableError
	return errors.As(err, &unreachable) ||
		errors.Is(err, kerr.SecurityDisabled) ||
		errors.Is(err, kerr.ClusterAuthorizationFailed)
}

// Brokers is what a cluster's brokers answer when asked who they are.
type Brokers struct {
	// Answered and Known count the brokers that answered, and those that the cluster consists of.
	Answered, Known int
	// Facts of those that answered.
	Facts Facts
}

// Brokers asks every broker for its API versions. It errs where none answers.
func (a *Admin) Brokers(ctx context.Context) (Brokers, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	versions, err := a.kadm.ApiVersions(ctx)
	if err != nil {
		return Brokers{}, classify(a.cluster, err)
	}
	brokers := Brokers{Known: len(versions)}
	var first error
	for _, v := range versions.Sorted() {
		if v.Err != nil {
			if first == nil {
				first = fmt.Errorf("broker %d: %w", v.NodeID, v.Err)
			}
			continue
		}
		brokers.Answered++
		// DescribeTransactions came with 3.0 (KIP-664).
		if _, ok := v.KeyMaxVersion((&kmsg.DescribeTransactionsRequest{}).Key()); !ok {
			brokers.Facts.IdempotentWrite = true
		}
	}
	if brokers.Answered == 0 {
		if first == nil {
			first = errors.New("the cluster lists no broker")
		}
		return brokers, classify(a.cluster, first)
	}
	return brokers, nil
}

// Authorized tells whether this connection may administer: whether the brokers have an authorizer, and whether it lets
// this connection's principal describe and alter the cluster (KIP-430). principal is that one, for errors.
func (a *Admin) Authorized(ctx context.Context, principal string) error {
	if _, err := a.describe(ctx, &principal); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrDescribeClusterRequest()
	request.IncludeClusterAuthorizedOperations = true
	response, err := request.RequestWith(ctx, a.kafka)
	if err != nil {
		return classify(a.cluster, fmt.Errorf("describe cluster: %w", err))
	}
	if err := answered(a.cluster, response.ErrorCode, response.ErrorMessage); err != nil {
		return err
	}
	if !slices.Contains(kadm.DecodeACLOperations(response.ClusterAuthorizedOperations), kmsg.ACLOperationAlter) {
		return &RefusedError{Cluster: a.cluster, Message: principal + " may describe but not alter", Err: kerr.ClusterAuthorizationFailed}
	}
	return nil
}

// quotaUser is the entity type of a principal's quotas, whose name is the principal's without its type (ClientQuotaEntity).
const quotaUser = "user"

// DescribeQuotas returns the quotas of the principals. For more than a few it reads those of every principal. Quotas of a
// principal together with a client id are others' affair.
func (a *Admin) DescribeQuotas(ctx context.Context, principals ...string) (map[string]Quotas, error) {
	out := map[string]Quotas{}
	components := []kadm.DescribeClientQuotaComponent{{Type: quotaUser, MatchType: kmsg.QuotasMatchTypeAny}}
	if len(principals) <= fewPrincipals {
		components = nil
		for _, p := range principals {
			name := strings.TrimPrefix(p, principal.TypeUser)
			components = append(components, kadm.DescribeClientQuotaComponent{Type: quotaUser, MatchName: &name, MatchType: kmsg.QuotasMatchTypeExact})
		}
	}
	for _, component := range components {
		if err := a.describeQuotas(ctx, component, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *Admin) describeQuotas(ctx context.Context, component kadm.DescribeClientQuotaComponent, into map[string]Quotas) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	described, err := a.kadm.DescribeClientQuotas(ctx, true, []kadm.DescribeClientQuotaComponent{component})
	if err != nil {
		return classify(a.cluster, fmt.Errorf("describe quotas: %w", err))
	}
	for _, d := range described {
		if len(d.Entity) != 1 || d.Entity[0].Name == nil { // a default
			continue
		}
		quotas := Quotas{}
		for _, v := range d.Values {
			quotas[v.Key] = v.Value
		}
		into[principal.TypeUser+*d.Entity[0].Name] = quotas
	}
	return nil
}

// AlterQuotas sets and removes quotas. Those of one principal that the broker refuses do not hold up the others'; the errors
// are by principal. Any other error ends it there and then.
func (a *Admin) AlterQuotas(ctx context.Context, changes []QuotaChange) (map[string]error, error) {
	refused := map[string]error{}
	for chunk := range slices.Chunk(changes, maxQuotaChangesPerRequest) {
		if err := a.alterQuotas(ctx, chunk, refused); err != nil {
			return refused, err
		}
	}
	return refused, nil
}

func (a *Admin) alterQuotas(ctx context.Context, changes []QuotaChange, refused map[string]error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	entries := make([]kadm.AlterClientQuotaEntry, len(changes))
	for i, change := range changes {
		name := strings.TrimPrefix(change.Principal, principal.TypeUser)
		entries[i].Entity = kadm.ClientQuotaEntity{{Type: quotaUser, Name: &name}}
		for _, key := range slices.Sorted(maps.Keys(change.Set)) {
			entries[i].Ops = append(entries[i].Ops, kadm.AlterClientQuotaOp{Key: key, Value: change.Set[key]})
		}
		for _, key := range change.Remove {
			entries[i].Ops = append(entries[i].Ops, kadm.AlterClientQuotaOp{Key: key, Remove: true})
		}
	}
	results, err := a.kadm.AlterClientQuotas(ctx, entries)
	if err != nil {
		return classify(a.cluster, fmt.Errorf("alter quotas of %d principals: %w", len(changes), err))
	}
	for _, r := range results {
		if r.Err == nil || len(r.Entity) != 1 || r.Entity[0].Name == nil {
			continue
		}
		whose := principal.TypeUser + *r.Entity[0].Name
		err := classify(a.cluster, fmt.Errorf("alter quotas of %s: %w", whose, r.Err))
		if wholeRequest(err) {
			return err
		}
		var no *RefusedError
		if errors.As(err, &no) {
			no.Message = r.ErrMessage
		}
		refused[whose] = err
	}
	return nil
}

// Topic returns the topic as it is in Kafka, nil where there is none.
func (a *Admin) Topic(ctx context.Context, name string) (*Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// Not kadm's ListTopics: it answers from a cache, which does not know what was created or grown a moment ago.
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	response, err := request.RequestWith(ctx, a.kafka)
	if err != nil {
		return nil, classify(a.cluster, fmt.Errorf("describe topic %s: %w", name, err))
	}
	if len(response.Topics) != 1 {
		return nil, &UnreachableError{a.cluster, fmt.Errorf("describe topic %s: %d topics in the answer", name, len(response.Topics))}
	}
	switch err := kerr.ErrorForCode(response.Topics[0].ErrorCode); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return nil, nil
	case err != nil:
		return nil, classify(a.cluster, fmt.Errorf("describe topic %s: %w", name, err))
	}
	partitions := response.Topics[0].Partitions
	topic := &Topic{Partitions: int32(len(partitions)), Config: map[string]string{}, ConfigTypes: map[string]kmsg.ConfigType{}}
	for _, p := range partitions {
		if p.Partition == 0 {
			topic.ReplicationFactor = int32(len(p.Replicas))
		}
	}
	// Not kadm's DescribeTopicConfigs, which leaves out the types.
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, name
	configs := kmsg.NewPtrDescribeConfigsRequest()
	configs.Resources = []kmsg.DescribeConfigsRequestResource{resource}
	described, err := configs.RequestWith(ctx, a.kafka)
	if err != nil {
		return nil, classify(a.cluster, fmt.Errorf("describe configuration of topic %s: %w", name, err))
	}
	for _, resource := range described.Resources {
		if err := kerr.ErrorForCode(resource.ErrorCode); err != nil {
			message := ""
			if resource.ErrorMessage != nil {
				message = *resource.ErrorMessage
			}
			return nil, a.topicError("describe configuration of", name, err, message)
		}
		for _, c := range resource.Configs {
			topic.ConfigTypes[c.Name] = c.ConfigType
			if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				topic.Config[c.Name] = ""
				if c.Value != nil {
					topic.Config[c.Name] = *c.Value
				}
			}
		}
	}
	return topic, nil
}

// CreateTopic creates a topic. It is no error if somebody created it meanwhile.
func (a *Admin) CreateTopic(ctx context.Context, name string, topic Topic) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	configs := make(map[string]*string, len(topic.Config))
	for key, value := range topic.Config {
		configs[key] = &value
	}
	response, err := a.kadm.CreateTopic(ctx, topic.Partitions, int16(topic.ReplicationFactor), configs, name)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return a.topicError("create", name, err, response.ErrMessage)
}

// SetPartitions grows a topic to the given number of partitions. It is no error if it has as many or more: the broker that
// described the topic may have been behind, so describe it again.
func (a *Admin) SetPartitions(ctx context.Context, name string, partitions int32) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	responses, err := a.kadm.UpdatePartitions(ctx, int(partitions), name)
	if err != nil {
		return classify(a.cluster, fmt.Errorf("add partitions to topic %s: %w", name, err))
	}
	response := responses[name]
	if errors.Is(response.Err, kerr.InvalidPartitions) {
		return nil
	}
	return a.topicError("add partitions to", name, response.Err, response.ErrMessage)
}

// AlterTopicConfig sets and resets configurations of a topic, all or none of them (KIP-339).
func (a *Admin) AlterTopicConfig(ctx context.Context, name string, set map[string]string, reset []string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var changes []kadm.AlterConfig
	for key, value := range set {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value})
	}
	for _, key := range reset {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key})
	}
	responses, err := a.kadm.AlterTopicConfigs(ctx, changes, name)
	if err != nil {
		return classify(a.cluster, fmt.Errorf("configure topic %s: %w", name, err))
	}
	for _, response := range responses {
		if response.Err != nil {
			return a.topicError("configure", name, response.Err, response.ErrMessage)
		}
	}
	return nil
}

// DeleteTopic deletes a topic and its data. It is no error if there is none.
func (a *Admin) DeleteTopic(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := a.kadm.DeleteTopic(ctx, name)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil
	}
	return a.topicError("delete", name, err, response.ErrMessage)
}

// topicError classifies an error about one topic, with the broker's own words.
func (a *Admin) topicError(verb, name string, err error, message string) error {
	if err == nil {
		return nil
	}
	classified := classify(a.cluster, fmt.Errorf("%s topic %s: %w", verb, name, err))
	var refused *RefusedError
	if errors.As(classified, &refused) {
		refused.Message = message
	}
	return classified
}
