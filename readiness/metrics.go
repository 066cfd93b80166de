// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Objects is the gauge signet_objects with the labels kind (KafkaUser, KafkaCluster, MeshIssuer, KafkaTopic), ready (True,
// False, Unknown) and reason: how many objects have their Ready condition so. Unknown is one that nobody has looked at yet.
// It is a collector for the caller to register.
type Objects struct {
	cached client.Reader
	desc   *prometheus.Desc
}

var _ prometheus.Collector = &Objects{}

// NewObjects returns Objects that reads from a cache at each scrape; it writes nothing of a kind that is not ready there.
func NewObjects(cached client.Reader) *Objects {
	return &Objects{cached, prometheus.NewDesc("signet_objects", "Objects by kind, status and reason of their Ready condition.", []string{"kind", "ready", "reason"}, nil)}
}

// scrapeTimeout bounds the wait for a cache that is not ready.
const scrapeTimeout = time.Second

// Describe implements prometheus.Collector.
func (o *Objects) Describe(to chan<- *prometheus.Desc) { to <- o.desc }

// Collect implements prometheus.Collector.
func (o *Objects) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var users v1alpha1.KafkaUserList
	if o.cached.List(ctx, &users, client.UnsafeDisableDeepCopy) == nil {
		o.write(to, "KafkaUser", tally(users.Items, func(u *v1alpha1.KafkaUser) []metav1.Condition { return u.Status.Conditions }))
	}
	var clusters v1alpha1.KafkaClusterList
	if o.cached.List(ctx, &clusters, client.UnsafeDisableDeepCopy) == nil {
		o.write(to, "KafkaCluster", tally(clusters.Items, func(c *v1alpha1.KafkaCluster) []metav1.Condition { return c.Status.Conditions }))
	}
	var issuers v1alpha1.MeshIssuerList
	if o.cached.List(ctx, &issuers, client.UnsafeDisableDeepCopy) == nil {
		o.write(to, "MeshIssuer", tally(issuers.Items, func(i *v1alpha1.MeshIssuer) []metav1.Condition { return i.Status.Conditions }))
	}
	var topics v1alpha1.KafkaTopicList
	if o.cached.List(ctx, &topics, client.UnsafeDisableDeepCopy) == nil {
		o.write(to, "KafkaTopic", tally(topics.Items, func(t *v1alpha1.KafkaTopic) []metav1.Condition { return t.Status.Conditions }))
	}
}

func (o *Objects) write(to chan<- prometheus.Metric, kind string, counts map[[2]string]int) {
	for labels, n := range counts {
		to <- prometheus.MustNewConstMetric(o.desc, prometheus.GaugeValue, float64(n), kind, labels[0], labels[1])
	}
}

// tally counts objects by status and reason of their Ready condition.
func tally[T any](objects []T, conditions func(*T) []metav1.Condition) map[[2]string]int {
	counts := map[[2]string]int{}
	for i := range objects {
		labels := [2]string{string(metav1.ConditionUnknown), ""}
		if ready := meta.FindStatusCondition(conditions(&objects[i]), v1alpha1.ConditionReady); ready != nil {
			labels = [2]string{string(ready.Status), ready.Reason}
		}
		counts[labels]++
	}
	return counts
}
