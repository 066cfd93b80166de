// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// A Kafka has one Signet: two, with different KafkaUsers, would each take from its principals what the other gave. Whose a
// Kafka is stands in the Kafka itself, as an ACL: the only thing that every Kafka with an authorizer keeps, and that whoever
// keeps ACLs may read and write. It denies nobody anything, for its principal is no client's.
const (
	claimTopic     = "__signet_claim"
	claimPrincipal = principal.TypeUser + "signet:claim:"
)

// claimOf is how the Signet of a Kubernetes cluster names itself for a KafkaCluster: the UID of the namespace kube-system,
// which a cluster keeps for its life, and the KafkaCluster by name, so that one that is made anew is the same.
func claimOf(kubernetes string, cluster *v1alpha1.KafkaCluster) string {
	return fmt.Sprintf("%s:%s/%s", kubernetes, cluster.Namespace, cluster.Name)
}

// claimBinding is the ACL by which a Kafka is claimed.
func claimBinding(claim string) Binding {
	return Binding{
		Principal: claimPrincipal + claim, Host: AnyHost,
		ResourceType: kmsg.ACLResourceTypeTopic, ResourceName: claimTopic, PatternType: kmsg.ACLResourcePatternTypeLiteral,
		Operation: kmsg.ACLOperationDescribe, Permission: kmsg.ACLPermissionTypeDeny,
	}
}

// claimDecision is what to do about the claims that a Kafka has.
type claimDecision struct {
	// create and remove are claims.
	create bool
	remove []string
	// holder is who has the Kafka, if that is another.
	holder string
}

// decideClaim decides about a Kafka that has the held claims. The first claim stays. Of two that were made at the same moment
// the smaller one does; the other goes. takeOver is the claim of another that an administrator says is to go.
func decideClaim(held []string, mine, takeOver string) claimDecision {
	var d claimDecision
	others := slices.DeleteFunc(slices.Clone(held), func(claim string) bool {
		if claim == takeOver && claim != mine {
			d.remove = append(d.remove, claim)
		}
		return claim == mine || claim == takeOver
	})
	have := slices.Contains(held, mine)
	switch {
	case len(others) == 0:
		d.create = !have
	case have && mine < slices.Min(others):
	default:
		d.holder = slices.Min(others)
		if have {
			d.remove = append(d.remove, mine)
		}
	}
	return d
}

// ClaimedError says that another Signet has a Kafka.
type ClaimedError struct {
	// Cluster is namespace/name of the KafkaCluster, Holder the other's claim.
	Cluster, Holder string
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("kafkacluster %s: its Kafka is administered by another Signet, %s (the UID of the namespace kube-system there, and its KafkaCluster), which would withdraw what this one grants; delete one of the two KafkaClusters, and if it was the other one, annotate this one with %s=%s",
		e.Cluster, e.Holder, v1alpha1.AnnotationTakeOver, e.Holder)
}

// claimLasts is for how long a claim that was seen need not be looked at again.
const claimLasts = 20 * time.Second

// Claim makes sure that the Kafka of the cluster is this Signet's. The error is a *ClaimedError if it is another's.
func (c *Connections) Claim(ctx context.Context, cluster *v1alpha1.KafkaCluster) error {
	admin, err := c.Admin(cluster)
	if err != nil {
		return err
	}
	admin.claim.Lock()
	defer admin.claim.Unlock()
	if time.Since(admin.claimed) < claimLasts {
		return nil
	}
	bindings, err := admin.describeACLs(ctx, claims())
	if err != nil {
		return err
	}
	var held []string
	for _, b := range bindings {
		if claim, ok := strings.CutPrefix(b.Principal, claimPrincipal); ok {
			held = append(held, claim)
		}
	}
	mine := claimOf(c.kubernetes, cluster)
	decision := decideClaim(held, mine, cluster.Annotations[v1alpha1.AnnotationTakeOver])
	var change Change
	if decision.create {
		change.Create = []Binding{claimBinding(mine)}
	}
	for _, claim := range decision.remove {
		change.Delete = append(change.Delete, exactly([]Binding{claimBinding(claim)})...)
	}
	if err := admin.Apply(ctx, change); err != nil {
		return fmt.Errorf("claim kafka: %w", err)
	}
	if decision.holder != "" {
		return &ClaimedError{client.ObjectKeyFromObject(cluster).String(), decision.holder}
	}
	if len(change.Create)+len(change.Delete) == 0 { // what was just written is looked at once more
		admin.claimed = time.Now()
	}
	return nil
}

// claims asks for the ACLs by which a Kafka is claimed.
func claims() *kmsg.DescribeACLsRequest {
	request := everyACL()
	name := claimTopic
	request.ResourceType, request.ResourceName, request.ResourcePatternType = kmsg.ACLResourceTypeTopic, &name, kmsg.ACLResourcePatternTypeLiteral
	return request
}
