// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Limits of one request. KRaft takes at most 10,000 records in one (AclControlManager, MAX_RECORDS_PER_USER_OP), and a
// broker walks through all its ACLs for each delete filter, which is 9 ms at 100,000 of them.
const (
	maxBindingsPerRequest = 5000
	maxFiltersPerRequest  = 100
	// Each principal has at most a handful of quotas, each of which is a record.
	maxQuotaChangesPerRequest = 1000
)

// Change is what leads from the bindings in Kafka to the desired ones. Carried out in order, Create before Delete, it
// allows at no step what neither of the two allowed.
type Change struct {
	// Create are the missing bindings.
	Create []Binding
	// Delete are the superfluous ones. Every ALLOW goes before any DENY: a DENY that went first would uncover an ALLOW
	// that it overruled.
	Delete []Deletion
}

// principals are whose bindings change.
func (c Change) principals() map[string]bool {
	out := map[string]bool{}
	for _, b := range c.Create {
		out[b.Principal] = true
	}
	for _, d := range c.Delete {
		out[d.Filter.Principal] = true
	}
	return out
}

// Deletion is one filter and the bindings that it is there to delete.
type Deletion struct {
	Filter   Filter
	Bindings []Binding
}

// Filter selects bindings of one principal, as Kafka's AclBindingFilter. It always names principal and permission, so it
// is never wider than what Signet owns.
type Filter struct {
	Principal  string
	Permission kmsg.ACLPermissionType
	// ResourceType, PatternType and Operation are ANY to select every one; Name and Host are nil.
	ResourceType kmsg.ACLResourceType
	Name         *string
	PatternType  kmsg.ACLResourcePatternType
	Operation    kmsg.ACLOperation
	Host         *string
}

// Matches tells whether the filter selects the binding.
func (f Filter) Matches(b Binding) bool {
	return f.Principal == b.Principal &&
		f.Permission == b.Permission &&
		(f.ResourceType == kmsg.ACLResourceTypeAny || f.ResourceType == b.ResourceType) &&
		(f.Name == nil || *f.Name == b.ResourceName) &&
		(f.PatternType == kmsg.ACLResourcePatternTypeAny || f.PatternType == b.PatternType) &&
		(f.Operation == kmsg.ACLOperationAny || f.Operation == b.Operation) &&
		(f.Host == nil || *f.Host == b.Host)
}

// Diff returns what to change for many principals at once. desired has an entry for each principal that Signet manages;
// an empty one takes everything from its principal. Bindings of other principals are not looked at, whatever they allow.
// A managed principal's bindings that Signet would not write, such as those for one host or a DENY, are superfluous.
//
// Of uncertain bindings it is not known whether Kafka has them, whatever existing says: those that are desired are created
// (again), the others deleted; either does nothing where there is nothing to do.
//
// No binding is twice in existing. It takes time linear in the number of bindings, beside sorting.
func Diff(desired map[string]Bindings, existing []Binding, uncertain Bindings) Change {
	var change Change
	type scope struct {
		principal  string
		permission kmsg.ACLPermissionType
	}
	superfluous := map[scope][]Binding{}
	withdraw := func(b Binding) {
		s := scope{b.Principal, b.Permission}
		superfluous[s] = append(superfluous[s], b)
	}
	for b := range uncertain {
		if want, managed := desired[b.Principal]; managed {
			if _, ok := want[b]; !ok {
				withdraw(b)
			}
		}
	}
	kept := make(map[string]int, len(desired))
	for _, b := range existing {
		want, managed := desired[b.Principal]
		if !managed {
			continue
		}
		if _, ok := uncertain[b]; ok {
			continue
		}
		if _, ok := want[b]; ok {
			kept[b.Principal]++
		} else {
			withdraw(b)
		}
	}
	// Nearly always nearly every principal has what it should; what the others lack takes a second look.
	held := map[string]Bindings{}
	for principal, want := range desired {
		if kept[principal] < len(want) {
			held[principal] = make(Bindings, kept[principal])
		}
	}
	if len(held) > 0 {
		for _, b := range existing {
			if _, doubt := uncertain[b]; !doubt && held[b.Principal] != nil {
				held[b.Principal][b] = struct{}{}
			}
		}
	}
	for principal, holds := range held {
		for b := range desired[principal] {
			if _, ok := holds[b]; !ok {
				change.Create = append(change.Create, b)
			}
		}
	}
	slices.SortFunc(change.Create, compare)
	for s, bindings := range superfluous {
		slices.SortFunc(bindings, compare)
		change.Delete = append(change.Delete, deletions(bindings, desired[s.principal])...)
	}
	slices.SortFunc(change.Delete, func(a, b Deletion) int { return compare(a.Bindings[0], b.Bindings[0]) })
	return change
}

// deletions covers the superfluous bindings of one principal and permission, sorted, with as few filters as select
// none of the bindings to keep: one for all (one for each operation, if those are too many for a request), else one for
// each resource, else one for each binding.
func deletions(superfluous []Binding, keep Bindings) []Deletion {
	first := superfluous[0]
	all := Filter{
		Principal: first.Principal, Permission: first.Permission,
		ResourceType: kmsg.ACLResourceTypeAny, PatternType: kmsg.ACLResourcePatternTypeAny, Operation: kmsg.ACLOperationAny,
	}
	kept := map[resource]bool{}
	for b := range keep {
		if b.Permission == first.Permission {
			kept[resourceOf(b)] = true
		}
	}
	switch {
	case len(kept) == 0 && len(superfluous) <= maxBindingsPerRequest:
		return []Deletion{{all, superfluous}}
	case len(kept) == 0:
		byOperation := map[kmsg.ACLOperation][]Binding{}
		for _, b := range superfluous {
			byOperation[b.Operation] = append(byOperation[b.Operation], b)
		}
		var out []Deletion
		for operation, bindings := range byOperation {
			filter := all
			filter.Operation = operation
			if len(bindings) <= maxBindingsPerRequest {
				out = append(out, Deletion{filter, bindings})
			} else {
				out = append(out, exactly(bindings)...)
			}
		}
		return out
	}
	var out []Deletion
	for start := 0; start < len(superfluous); {
		r := resourceOf(superfluous[start])
		end := start + 1
		for end < len(superfluous) && resourceOf(superfluous[end]) == r {
			end++
		}
		if !kept[r] && end-start <= maxBindingsPerRequest {
			filter := all
			filter.ResourceType, filter.Name, filter.PatternType = r.kind, &r.name, r.pattern
			out = append(out, Deletion{filter, superfluous[start:end]})
		} else {
			out = append(out, exactly(superfluous[start:end])...)
		}
		start = end
	}
	return out
}

// exactly deletes each binding by a filter of its own.
func exactly(bindings []Binding) []Deletion {
	out := make([]Deletion, len(bindings))
	for i := range bindings {
		b := &bindings[i]
		out[i] = Deletion{Filter{
			Principal: b.Principal, Permission: b.Permission, ResourceType: b.ResourceType, Name: &b.ResourceName,
			PatternType: b.PatternType, Operation: b.Operation, Host: &b.Host,
		}, bindings[i : i+1]}
	}
	return out
}

// resource is what a binding is about.
type resource struct {
	kind    kmsg.ACLResourceType
	name    string
	pattern kmsg.ACLResourcePatternType
}

func resourceOf(b Binding) resource { return resource{b.ResourceType, b.ResourceName, b.PatternType} }

// batches splits deletions, in their order, into requests that a broker takes. A request has no DENY beside an ALLOW.
func batches(deletions []Deletion) [][]Deletion {
	var out [][]Deletion
	bindings := 0
	for _, d := range deletions {
		last := len(out) - 1
		if last < 0 ||
			len(out[last]) == maxFiltersPerRequest ||
			bindings+len(d.Bindings) > maxBindingsPerRequest ||
			out[last][0].Filter.Permission != d.Filter.Permission {
			out = append(out, nil)
			last++
			bindings = 0
		}
		out[last] = append(out[last], d)
		bindings += len(d.Bindings)
	}
	return out
}

// compare orders bindings by permission (ALLOW before DENY), principal, resource, operation and host.
func compare(a, b Binding) int {
	return cmp.Or(
		-cmp.Compare(a.Permission, b.Permission),
		cmp.Compare(a.Principal, b.Principal),
		cmp.Compare(a.ResourceType, b.ResourceType),
		cmp.Compare(a.PatternType, b.PatternType),
		cmp.Compare(a.ResourceName, b.ResourceName),
		cmp.Compare(a.Operation, b.Operation),
		cmp.Compare(a.Host, b.Host),
	)
}
