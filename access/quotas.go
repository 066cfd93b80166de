// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Keys of Kafka's client quotas (org.apache.kafka.server.config.QuotaConfig).
const (
	producerByteRate       = "producer_byte_rate"
	consumerByteRate       = "consumer_byte_rate"
	requestPercentage      = "request_percentage"
	controllerMutationRate = "controller_mutation_rate"
)

// Quotas are the client quotas of one principal by Kafka's key. What is not in it is not bounded for the principal itself.
type Quotas map[string]float64

// String returns the quotas in the order of their keys: "consumer_byte_rate=1048576, request_percentage=50".
func (q Quotas) String() string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(q)) {
		texts = append(texts, fmt.Sprintf("%s=%v", key, q[key]))
	}
	return strings.Join(texts, ", ")
}

// QuotasOf returns the quotas of a KafkaUser: its own, and for each that it leaves open the cluster's policy.defaultQuotas.
func QuotasOf(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) Quotas {
	quotas := Quotas{}
	for _, declared := range []*v1alpha1.Quotas{cluster.Spec.Policy.DefaultQuotas, user.Spec.Quotas} {
		if declared == nil {
			continue
		}
		for key, value := range map[string]*apiresource.Quantity{
			producerByteRate:       declared.ProducerByteRate,
			consumerByteRate:       declared.ConsumerByteRate,
			requestPercentage:      declared.RequestPercentage,
			controllerMutationRate: declared.ControllerMutationRate,
		} {
			if value != nil {
				quotas[key] = value.AsApproximateFloat64()
			}
		}
	}
	return quotas
}

// QuotaChange is what to alter of the quotas of one principal.
type QuotaChange struct {
	Principal string
	// Set are quotas to set.
	Set Quotas
	// Remove are the keys of quotas to remove, sorted: what the broker has as its own default counts again.
	Remove []string
}

// DiffQuotas returns what to change for many principals at once, sorted by principal. desired has an entry for each principal
// that Signet manages; an empty one takes every quota from it. Quotas of other principals are not looked at. Of uncertain
// principals it is not known what Kafka holds, whatever existing says.
func DiffQuotas(desired, existing map[string]Quotas, uncertain map[string]bool) []QuotaChange {
	var changes []QuotaChange
	for principal, want := range desired {
		have := existing[principal]
		change := QuotaChange{Principal: principal, Set: Quotas{}}
		for key, value := range want {
			if held, ok := have[key]; !ok || held != value || uncertain[principal] {
				change.Set[key] = value
			}
		}
		superfluous := maps.Clone(have)
		if uncertain[principal] {
			superfluous = Quotas{producerByteRate: 0, consumerByteRate: 0, requestPercentage: 0, controllerMutationRate: 0}
			maps.Copy(superfluous, have)
		}
		for key := range superfluous {
			if _, ok := want[key]; !ok {
				change.Remove = append(change.Remove, key)
			}
		}
		if len(change.Set)+len(change.Remove) > 0 {
			slices.Sort(change.Remove)
			changes = append(changes, change)
		}
	}
	slices.SortFunc(changes, func(a, b QuotaChange) int { return cmp.Compare(a.Principal, b.Principal) })
	return changes
}
