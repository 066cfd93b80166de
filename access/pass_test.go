// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"k8s.io/apimachinery/pkg/types"
)

// TestWhatAPassLooksUp holds the shortcuts of a pass over many users against the sets that they spare: whose bindings
// change, what those hold, and how many were created and deleted.
func TestWhatAPassLooksUp(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 1)) //nolint:gosec // not for secrets
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
