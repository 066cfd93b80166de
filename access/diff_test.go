// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// authorizer answers as Kafka's StandardAuthorizer does for one host and literal or prefixed resources: a matching DENY
// wins, else a matching ALLOW is needed.
func authorizer(bindings Bindings, principal, host string, resource kmsg.ACLResourceType, name string, operation kmsg.ACLOperation) bool {
	allowed := false
	for b := range bindings {
		if (b.Principal != principal && b.Principal != "User:*") || (b.Host != AnyHost && b.Host != host) || b.ResourceType != resource ||
			(b.Operation != operation && b.Operation != kmsg.ACLOperationAll) {
			continue
		}
		p := pattern{b.ResourceName, b.PatternType}
		if !p.covers(literal(name)) {
			continue
		}
		if b.Permission == kmsg.ACLPermissionTypeDeny {
			return false
		}
		allowed = true
	}
	return allowed
}

// steps returns the bindings in force after each request of a change, and checks that each filter selects exactly what
// it says it is there for.
func steps(t *testing.T, existing Bindings, change Change) []Bindings {
	t.Helper()
	now := maps.Clone(existing)
	var out []Bindings
	for creations := range slices.Chunk(change.Create, 3) {
		for _, b := range creations {
			now[b] = struct{}{}
		}
		out = append(out, maps.Clone(now))
	}
	for _, request := range batches(change.Delete) {
		for _, d := range request {
			selected := 0
			for b := range now {
				if d.Filter.Matches(b) {
					selected++
					if !slices.Contains(d.Bindings, b) {
						t.Errorf("filter %+v also selects %s", d.Filter, b)
					}
					delete(now, b)
				}
			}
			if selected != len(d.Bindings) {
				t.Errorf("filter %+v selects %d bindings, not %d", d.Filter, selected, len(d.Bindings))
			}
			// One request is one step at most, but a broker may apply it filter by filter.
			out = append(out, maps.Clone(now))
		}
	}
	return out
}

// TestDiffProperties draws small worlds at random, so that principals, resources and permissions collide often, and
// holds for each: the change leads to what is desired; other principals keep what they have; a second Diff is empty, also
// after the change ended at any step; and at no step anything is allowed that neither the old nor the desired bindings
// allow.
func TestDiffProperties(t *testing.T) {
	seed := uint64(20260101)
	random := rand.New(rand.NewPCG(seed, seed))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	operations := []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationAll}
	draw := func(principal string, handMade bool) Binding {
		b := Binding{
			Principal: principal, Host: AnyHost,
			ResourceType: []kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup}[random.IntN(2)],
			ResourceName: pick("a", "ab", "abc"),
			PatternType:  []kmsg.ACLResourcePatternType{kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed}[random.IntN(2)],
			Operation:    operations[random.IntN(len(operations))],
			Permission:   kmsg.ACLPermissionTypeAllow,
		}
		if handMade {
			b.Host = pick(AnyHost, "10.0.0.1")
			b.ResourceName = pick("a", "ab", "abc", "*")
			if random.IntN(3) == 0 {
				b.Permission = kmsg.ACLPermissionTypeDeny
			}
		}
		return b
	}
	managed, unmanaged := []string{"User:a.b", "User:a.bc", "User:x.y"}, []string{"User:*", "User:a.", "User:other", "User:CN=a.b"}
	for round := range 500 {
		existing, desired := Bindings{}, map[string]Bindings{}
		for _, principal := range managed {
			desired[principal] = Bindings{}
			for range random.IntN(8) {
				desired[principal][draw(principal, false)] = struct{}{}
			}
			for b := range desired[principal] {
				if random.IntN(2) == 0 {
					existing[b] = struct{}{}
				}
			}
			for range random.IntN(8) {
				existing[draw(principal, true)] = struct{}{}
			}
		}
		for range random.IntN(6) {
			existing[draw(unmanaged[random.IntN(len(unmanaged))], true)] = struct{}{}
		}
		want := Bindings{}
		for b := range existing {
			if !slices.Contains(managed, b.Principal) {
				want[b] = struct{}{}
			}
		}
		for _, bindings := range desired {
			maps.Copy(want, bindings)
		}

		change := Diff(desired, slices.Collect(maps.Keys(existing)), nil)
		for _, d := range change.Delete {
			if desired[d.Filter.Principal] == nil {
				t.Fatalf("round %d: filter for unmanaged %s", round, d.Filter.Principal)
			}
		}
		last := existing
		for i, now := range steps(t, existing, change) {
			last = now
			for _, principal := range append(slices.Clone(managed), "User:nobody") {
				for _, host := range []string{"10.0.0.1", "10.0.0.2"} {
					for _, name := range []string{"a", "ab", "abc", "z"} {
						for _, resource := range []kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup} {
							for _, operation := range operations[:2] {
								if authorizer(now, principal, host, resource, name, operation) &&
									!authorizer(existing, principal, host, resource, name, operation) &&
									!authorizer(want, principal, host, resource, name, operation) {
									t.Fatalf("round %d, step %d: %s may %s %s %s from %s, which neither old nor new allows", round, i, principal, operation, resource, name, host)
								}
							}
						}
					}
				}
			}
			resumed := Diff(desired, slices.Collect(maps.Keys(now)), nil)
			after := now
			if s := steps(t, now, resumed); len(s) > 0 {
				after = s[len(s)-1]
			}
			if !maps.Equal(after, want) {
				t.Fatalf("round %d: a pass that ended at step %d does not converge", round, i)
			}
		}
		if !maps.Equal(last, want) {
			t.Fatalf("round %d: got\n%v\nwant\n%v", round, sorted(last), sorted(want))
		}
		if again := Diff(desired, slices.Collect(maps.Keys(want)), nil); len(again.Create)+len(again.Delete) != 0 {
			t.Fatalf("round %d: not idempotent: %+v", round, again)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// TestDiffOfUncertain holds that a description that lags behind the last change, or a change without an answer, leads to
// what is desired all the same.
func TestDiffOfUncertain(t *testing.T) {
	grants := func(topics ...string) Bindings {
		return Grants(newUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = topics }), newCluster(v1alpha1.ClusterPolicy{}), Facts{})
	}
	all := []Bindings{{}, grants("a"), grants("b"), grants("a", "b")}
	at := time.Unix(1, 0)
	cluster := types.NamespacedName{Namespace: "kafka", Name: "kafka"}
	for i, first := range all {
		for j, second := range all {
			for _, unknown := range []bool{false, true} {
				// Kafka held first and was told to hold second; that happened or, if there was no answer, maybe not. Then
				// third is desired, while Kafka describes first or second.
				for k, third := range all {
					for _, described := range []Bindings{first, second} {
						for _, actual := range []Bindings{first, second} {
							if !unknown && maps.Equal(actual, first) && !maps.Equal(first, second) {
								continue
							}
							var memory backlog
							memory.wrote(cluster, Diff(map[string]Bindings{"User:shop.orders": second}, slices.Collect(maps.Keys(first)), nil), nil, unknown, at)
							doubt := memory.uncertain(cluster, slices.Collect(maps.Keys(described)), at.Add(time.Second))
							change := Diff(map[string]Bindings{"User:shop.orders": third}, slices.Collect(maps.Keys(described)), doubt)
							after := maps.Clone(actual)
							for _, b := range change.Create {
								after[b] = struct{}{}
							}
							for _, d := range change.Delete {
								maps.DeleteFunc(after, func(b Binding, _ struct{}) bool { return d.Filter.Matches(b) })
							}
							if !maps.Equal(after, third) {
								t.Errorf("from %d over %d (unknown %v) to %d: %v", i, j, unknown, k, sorted(after))
							}
						}
					}
				}
			}
		}
	}
	var memory backlog
	memory.wrote(cluster, Change{Create: sorted(all[1])}, nil, true, at)
	if doubt := memory.uncertain(cluster, nil, at.Add(time.Hour)); len(doubt) != 0 {
		t.Errorf("doubts for ever: %v", doubt)
	}
}

// TestDiffDeletesWide holds how few filters deletions take.
func TestDiffDeletesWide(t *testing.T) {
	topic := func(principal, name string, operations ...kmsg.ACLOperation) []Binding {
		var out []Binding
		for _, o := range operations {
			out = append(out, Binding{principal, AnyHost, kmsg.ACLResourceTypeTopic, name, kmsg.ACLResourcePatternTypeLiteral, o, kmsg.ACLPermissionTypeAllow})
		}
		return out
	}
	var many []Binding
	for i := range 3000 {
		many = append(many, topic("User:a.b", fmt.Sprintf("t%04d", i), kmsg.ACLOperationRead, kmsg.ACLOperationWrite)...)
	}
	keep := func(bindings ...Binding) Bindings {
		out := Bindings{}
		for _, b := range bindings {
			out[b] = struct{}{}
		}
		return out
	}
	cases := []struct {
		name              string
		desired           Bindings
		existing          []Binding
		filters, requests int
	}{
		{"a user goes: one filter", nil, many[:2000], 1, 1},
		{"a topic goes: one filter", keep(many[2:4]...), many[:4], 1, 1},
		{"an operation goes: one filter", keep(many[0]), many[:2], 1, 1},
		{"a user goes that holds more than a request may delete: one filter for each operation", nil, many, 2, 2},
		{"most of many topics go: one filter for each resource", keep(many[0]), many[2:], 2999, 30},
		{"nothing goes", keep(many[:4]...), many[:4], 0, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			change := Diff(map[string]Bindings{"User:a.b": c.desired}, c.existing, nil)
			requests := batches(change.Delete)
			if len(change.Delete) != c.filters || len(requests) != c.requests {
				t.Errorf("%d filters in %d requests, want %d in %d", len(change.Delete), len(requests), c.filters, c.requests)
			}
			for _, request := range requests {
				bindings := 0
				for _, d := range request {
					bindings += len(d.Bindings)
				}
				if len(request) > maxFiltersPerRequest || bindings > maxBindingsPerRequest {
					t.Errorf("a request of %d filters for %d bindings", len(request), bindings)
				}
			}
		})
	}
}
