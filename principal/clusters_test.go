// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// TestRenderingRests holds that a broker configuration is rendered at once where that costs little, and for a tenth of the
// time where it costs much.
func TestRenderingRests(t *testing.T) {
	cluster, other := types.NamespacedName{Namespace: "kafka", Name: "kafka"}, types.NamespacedName{Namespace: "kafka", Name: "other"}
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		took, since, want time.Duration
	}{
		"took no time":                  {0, 0, 0},
		"took a moment, just now":       {10 * time.Millisecond, 0, 90 * time.Millisecond},
		"took a moment, a moment ago":   {10 * time.Millisecond, 80 * time.Millisecond, 10 * time.Millisecond},
		"took a moment, a while ago":    {10 * time.Millisecond, time.Second, -910 * time.Millisecond},
		"took long, just now":           {time.Minute, 0, 10 * time.Second},
		"took long, and was long since": {time.Minute, 11 * time.Second, -time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var r rendering
			if rest := r.rest(cluster, now); rest > 0 {
				t.Errorf("rests %s before it was ever rendered", rest)
			}
			r.done(cluster, now.Add(-c.took), now)
			if rest := r.rest(cluster, now.Add(c.since)); rest != c.want {
				t.Errorf("rests %s, want %s", rest, c.want)
			}
			if rest := r.rest(other, now); rest > 0 {
				t.Errorf("another cluster rests %s", rest)
			}
		})
	}
}

// TestWhatTheLedgerLooksAt holds that a KafkaUser's status and what it declares of topics have nothing judged again.
func TestWhatTheLedgerLooksAt(t *testing.T) {
	deleted := metav1.Now()
	for name, c := range map[string]struct {
		change func(*v1alpha1.KafkaUser)
		want   bool
	}{
		"status":   {func(u *v1alpha1.KafkaUser) { u.Status.Principal = "User:shop.orders" }, false},
		"topics":   {func(u *v1alpha1.KafkaUser) { u.Spec.Consume = []string{"payments"}; u.Generation++ }, false},
		"deletion": {func(u *v1alpha1.KafkaUser) { u.DeletionTimestamp = &deleted }, true},
		"another":  {func(u *v1alpha1.KafkaUser) { u.UID = "another" }, true},
		"cluster":  {func(u *v1alpha1.KafkaUser) { u.Spec.ClusterRef.Name = "another" }, true},
		"denials":  {func(u *v1alpha1.KafkaUser) { u.Spec.Enforcement = v1alpha1.EnforcementEnforce }, true},
	} {
		before := user("shop", "orders")
		after := before.DeepCopy()
		c.change(after)
		if got := ofTheLedger(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
