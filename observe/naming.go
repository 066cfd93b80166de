// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Misnamed is a topic or a group that does not follow the naming convention.
type Misnamed struct {
	// Type is TOPIC or GROUP.
	Type string `json:"type"`
	Name string `json:"name"`
	// Owner is the principal that probably owns it: of a topic, who produced it most often, else who consumed it most
	// often; of a group, who used it most often.
	Owner string `json:"owner"`
	// Why it is probably the owner's: produces, consumes or uses.
	Why string `json:"why"`
	// Count is how often, of all nodes.
	Count int64 `json:"count"`
	// Last is when the owner did so last.
	Last time.Time `json:"last"`
}

// Naming returns the topics and groups that were used and do not follow the naming convention, by owner: a topic starts
// with "<namespace>-", a group is "<namespace>" or starts with "<namespace>.", where the namespace is one of those given.
// A group is to be of the namespace of its owner, where namespaceOf knows that; it returns "" where it does not. Topics
// of Kafka itself (__*) are left out.
func Naming(uses []Use, namespaces []string, namespaceOf func(principal string) string) []Misnamed {
	type resource struct{ kind, name string }
	owners := map[resource]Misnamed{}
	for _, u := range uses {
		if u.LastServed().IsZero() {
			continue
		}
		why := ""
		switch {
		case u.Type == typeTopic && u.Operation == "WRITE":
			why = "produces"
		case u.Type == typeTopic && u.Operation == "READ":
			why = "consumes"
		case u.Type == typeGroup && u.Operation == "READ":
			why = "uses"
		}
		if why == "" || u.Type == typeTopic && (strings.HasPrefix(u.Name, "__") || followsTopic(u.Name, namespaces)) {
			continue
		}
		candidate := Misnamed{u.Type, u.Name, u.Principal, why, sum(u.Allowed, u.Tolerated), u.LastServed()}
		holder, known := owners[resource{u.Type, u.Name}]
		if !known || outranks(candidate, holder) {
			owners[resource{u.Type, u.Name}] = candidate
		}
	}
	var out []Misnamed
	for _, m := range owners {
		if m.Type == typeGroup && followsGroup(m.Name, namespaceOf(m.Owner), namespaces) {
			continue
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Misnamed) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), -cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// outranks tells whether a is more probably the owner than b.
func outranks(a, b Misnamed) bool {
	if a.Why != b.Why {
		return a.Why == "produces"
	}
	return cmp.Or(cmp.Compare(a.Count, b.Count), a.Last.Compare(b.Last), cmp.Compare(b.Owner, a.Owner)) > 0
}

func followsTopic(topic string, namespaces []string) bool {
	return slices.ContainsFunc(namespaces, func(ns string) bool { return strings.HasPrefix(topic, ns+"-") })
}

func followsGroup(group, owner string, namespaces []string) bool {
	if owner != "" {
		namespaces = []string{owner}
	}
	return slices.ContainsFunc(namespaces, func(ns string) bool { return group == ns || strings.HasPrefix(group, ns+".") })
}
