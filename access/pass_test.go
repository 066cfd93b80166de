// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// TestWhatAPassLooksUp holds the shortcuts of a pass over many users against the sets that they spare: whose bindings
// change, what those hold, and how many were created and deleted.
func TestWhatAPassLooksUp(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 1))
	principals := []string{"User:shop.a", "User:shop.b", "User:bank.c", "User:bank.d"}
	draw := func(principal string) Bindings {
		out := Bindings{}
		for range random.IntN(4) {
			out[Binding{principal, AnyHost, kmsg.ACLResourceTypeTopic, string(rune('p' + random.IntN(3))), kmsg.ACLResourcePatternTypeLiteral,
				kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow}] = struct{}{}
		}
		return out
	}
	for range 2000 {
		existing, desired := map[string]Bindings{}, map[string]Bindings{}
		var described []Binding
		for _, p := range principals {
			existing[p], desired[p] = draw(p), draw(p)
			described = append(described, slices.Collect(maps.Keys(existing[p]))...)
		}
		change := Diff(desired, described, nil)
		changed := change.principals()
		before := ofPrincipals(described, func(principal string) bool { return changed[principal] })
		for _, p := range principals {
			if differs := !maps.Equal(existing[p], desired[p]); changed[p] != differs {
				t.Fatalf("%s differs: %t, changes: %t", p, differs, changed[p])
			}
			if !changed[p] {
				if before[p] != nil {
					t.Fatalf("looked up %s, which does not change", p)
				}
				continue
			}
			var s subject
			s.tally(before[p], desired[p])
			if created, deleted := missing(desired[p], existing[p]), missing(existing[p], desired[p]); s.created != created || s.deleted != deleted {
				t.Fatalf("%d created and %d deleted, want %d and %d", s.created, s.deleted, created, deleted)
			}
			hold := Decision{Hold: true, Grants: desired[p]}
			for b := range hold.grantsWithin(before[p]) {
				if _, ok := existing[p][b]; !ok {
					t.Fatalf("%s is to stay, and is not there", b)
				}
			}
		}
	}
}

// missing counts what a set has and the other has not.
func missing(of, from Bindings) (count int) {
	for b := range of {
		if _, ok := from[b]; !ok {
			count++
		}
	}
	return count
}

// TestWrittenIsForgotten holds that nothing is kept of a first pass over many users once it has settled.
func TestWrittenIsForgotten(t *testing.T) {
	var memory backlog
	cluster, at := types.NamespacedName{Namespace: "kafka", Name: "kafka"}, time.Unix(1_800_000_000, 0)
	change := Change{Create: handMade("User:shop.orders")}
	memory.wrote(cluster, change, nil, false, at)
	if doubt := memory.uncertain(cluster, nil, at.Add(time.Second)); len(doubt) != len(change.Create) {
		t.Errorf("%d bindings in doubt that were created a moment ago and are not described, want %d", len(doubt), len(change.Create))
	}
	if doubt := memory.uncertain(cluster, change.Create, at.Add(time.Second)); len(doubt) != 0 {
		t.Errorf("in doubt although described: %v", doubt)
	}
	memory.uncertain(cluster, nil, at.Add(settling+time.Second))
	if memory.of(cluster).written != nil {
		t.Errorf("still remembers %d bindings", len(memory.of(cluster).written))
	}
}

// TestStatusDoesNotHoldUpAccess holds that a KafkaUser that comes while the status of very many is written gets its ACLs
// before the last of them has its status, and that all have it in the end.
func TestStatusDoesNotHoldUpAccess(t *testing.T) {
	h, _ := withKfake(t)
	const many = 3 * settledAtLeast
	for i := range many {
		h.user("shop", fmt.Sprintf("user-%d", i), v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	}
	watched, ok := h.api.(client.WithWatch)
	if !ok {
		t.Fatal("not the fake client")
	}
	late := sync.OnceFunc(func() { h.user("shop", "late", v1alpha1.KafkaUserSpec{Consume: []string{"refunds"}}) })
	h.users.Client = interceptor.NewClient(watched, interceptor.Funcs{
		SubResourceApply: func(ctx context.Context, c client.Client, subResource string, o runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
			late()
			return c.SubResource(subResource).Apply(ctx, o, options...)
		},
	})
	synced := func() (count int) {
		var users v1alpha1.KafkaUserList
		h.must(h.api.List(h.ctx, &users))
		for i := range users.Items {
			if meta.IsStatusConditionTrue(users.Items[i].Status.Conditions, v1alpha1.ConditionAccessSynced) {
				count++
			}
		}
		return count
	}
	wait := h.pass()
	if count := synced(); count != settledAtLeast {
		t.Errorf("%d KafkaUsers have their status before the one that came meanwhile was looked at, want %d", count, settledAtLeast)
	}
	if wait > retryConflict {
		t.Errorf("the next pass is due in %s", wait)
	}
	h.pass()
	h.wantHeld("User:shop.late", sorted(Grants(&v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "late"},
		Spec: v1alpha1.KafkaUserSpec{Consume: []string{"refunds"}}}, newCluster(v1alpha1.ClusterPolicy{}), Facts{})))
	if count := synced(); count != many+1 {
		t.Errorf("%d KafkaUsers have their status in the end, want %d", count, many+1)
	}
	if left := h.users.backlog.takeUnsettled(h.cluster); len(left) > 0 {
		t.Errorf("%d are left to be settled", len(left))
	}
}
