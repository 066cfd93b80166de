// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Answer is what ACLs say of an operation.
type Answer int

const (
	// AnswerDenied means that no ACL allows it, or that one denies it.
	AnswerDenied Answer = iota
	// AnswerAllowed means that an ACL allows it and none denies it.
	AnswerAllowed
	// AnswerByHost means that it depends on the host that the client connects from.
	AnswerByHost
)

// everybody is the principal of ACLs that count for each principal of type User.
const everybody = "User:*"

// Rules answer as Kafka's StandardAuthorizer (allow.everyone.if.no.acl.found=false) does with the same ACLs, of
// principals that are no super users. They are indexed by principal and resource and may be used by several goroutines at
// once.
type Rules struct {
	byPrincipal map[string]map[kmsg.ACLResourceType]*resourceRules
}

// resourceRules are the ACLs of a principal on the resources of one type.
type resourceRules struct {
	literal  map[string][]Binding
	prefixed []Binding
}

// NewRules returns the rules of these ACLs.
func NewRules(bindings []Binding) Rules {
	rules := Rules{byPrincipal: map[string]map[kmsg.ACLResourceType]*resourceRules{}}
	for _, b := range bindings {
		types := rules.byPrincipal[b.Principal]
		if types == nil {
			types = map[kmsg.ACLResourceType]*resourceRules{}
			rules.byPrincipal[b.Principal] = types
		}
		of := types[b.ResourceType]
		if of == nil {
			of = &resourceRules{literal: map[string][]Binding{}}
			types[b.ResourceType] = of
		}
		if b.PatternType == kmsg.ACLResourcePatternTypePrefixed {
			of.prefixed = append(of.prefixed, b)
		} else {
			of.literal[b.ResourceName] = append(of.literal[b.ResourceName], b)
		}
	}
	return rules
}

// RulesOf returns the rules of a set of bindings.
func RulesOf(bindings Bindings) Rules {
	all := make([]Binding, 0, len(bindings))
	for b := range bindings {
		all = append(all, b)
	}
	return NewRules(all)
}

// Answer says whether the principal may do the operation on the resource.
func (r Rules) Answer(principal string, resource kmsg.ACLResourceType, name string, operation kmsg.ACLOperation) Answer {
	var allowed, allowedSomewhere, deniedSomewhere bool
	for _, holder := range []string{principal, everybody} {
		of := r.byPrincipal[holder][resource]
		if of == nil {
			continue
		}
		for b := range of.matching(name) {
			anywhere := b.Host == AnyHost
			switch {
			case b.Permission == kmsg.ACLPermissionTypeDeny && (b.Operation == operation || b.Operation == kmsg.ACLOperationAll):
				if anywhere {
					return AnswerDenied
				}
				deniedSomewhere = true
			case b.Permission == kmsg.ACLPermissionTypeAllow && implies(b.Operation, operation):
				allowed = allowed || anywhere
				allowedSomewhere = true
			}
		}
	}
	switch {
	case !allowedSomewhere:
		return AnswerDenied
	case allowed && !deniedSomewhere:
		return AnswerAllowed
	}
	return AnswerByHost
}

// matching yields the ACLs on the resource with this name.
func (r *resourceRules) matching(name string) func(yield func(Binding) bool) {
	return func(yield func(Binding) bool) {
		names := []string{name, wildcard}
		if name == wildcard {
			names = names[:1]
		}
		for _, n := range names {
			for _, b := range r.literal[n] {
				if !yield(b) {
					return
				}
			}
		}
		for _, b := range r.prefixed {
			if strings.HasPrefix(name, b.ResourceName) && !yield(b) {
				return
			}
		}
	}
}

// implies tells whether an ACL that allows one operation allows another (Kafka's StandardAuthorizerData,
// IMPLIES_DESCRIBE and IMPLIES_DESCRIBE_CONFIGS). A denial implies nothing.
func implies(held, wanted kmsg.ACLOperation) bool {
	switch wanted {
	case held:
		return true
	case kmsg.ACLOperationDescribe:
		return slices.Contains([]kmsg.ACLOperation{kmsg.ACLOperationAll, kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter}, held)
	case kmsg.ACLOperationDescribeConfigs:
		return held == kmsg.ACLOperationAll || held == kmsg.ACLOperationAlterConfigs
	}
	return held == kmsg.ACLOperationAll
}
