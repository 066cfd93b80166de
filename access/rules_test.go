// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestRules(t *testing.T) {
	const alice = "User:alice"
	type op = kmsg.ACLOperation
	acl := func(principal string, p pattern, operation op, permission kmsg.ACLPermissionType, host string) Binding {
		return Binding{principal, host, kmsg.ACLResourceTypeTopic, p.name, p.kind, operation, permission}
	}
	allow := func(p pattern, operation op) Binding {
		return acl(alice, p, operation, kmsg.ACLPermissionTypeAllow, AnyHost)
	}
	deny := func(p pattern, operation op) Binding {
		return acl(alice, p, operation, kmsg.ACLPermissionTypeDeny, AnyHost)
	}
	const read, describe = kmsg.ACLOperationRead, kmsg.ACLOperationDescribe
	for name, test := range map[string]struct {
		acls      []Binding
		operation op
		want      Answer
	}{
		"nothing":                        {nil, read, AnswerDenied},
		"literal":                        {[]Binding{allow(literal("shop-a"), read)}, read, AnswerAllowed},
		"another name":                   {[]Binding{allow(literal("shop-b"), read)}, read, AnswerDenied},
		"prefix":                         {[]Binding{allow(prefixed("shop-"), read)}, read, AnswerAllowed},
		"another prefix":                 {[]Binding{allow(prefixed("shop-a-"), read)}, read, AnswerDenied},
		"wildcard":                       {[]Binding{allow(literal("*"), read)}, read, AnswerAllowed},
		"a prefix * is none":             {[]Binding{allow(prefixed("*"), read)}, read, AnswerDenied},
		"everybody":                      {[]Binding{acl(everybody, literal("shop-a"), read, kmsg.ACLPermissionTypeAllow, AnyHost)}, read, AnswerAllowed},
		"somebody else":                  {[]Binding{acl("User:bob", literal("shop-a"), read, kmsg.ACLPermissionTypeAllow, AnyHost)}, read, AnswerDenied},
		"all":                            {[]Binding{allow(literal("shop-a"), kmsg.ACLOperationAll)}, kmsg.ACLOperationAlterConfigs, AnswerAllowed},
		"read implies describe":          {[]Binding{allow(literal("shop-a"), read)}, describe, AnswerAllowed},
		"create does not":                {[]Binding{allow(literal("shop-a"), kmsg.ACLOperationCreate)}, describe, AnswerDenied},
		"alter implies describe":         {[]Binding{allow(literal("shop-a"), kmsg.ACLOperationAlter)}, describe, AnswerAllowed},
		"alter configs implies describe": {[]Binding{allow(literal("shop-a"), kmsg.ACLOperationAlterConfigs)}, kmsg.ACLOperationDescribeConfigs, AnswerAllowed},
		"an operation of a later Kafka":  {[]Binding{allow(literal("shop-a"), kmsg.ACLOperationAll)}, kmsg.ACLOperationUnknown, AnswerAllowed},
		"that nothing grants":            {[]Binding{allow(literal("shop-a"), read)}, kmsg.ACLOperationUnknown, AnswerDenied},
		"a denial wins":                  {[]Binding{allow(literal("shop-a"), read), deny(literal("*"), kmsg.ACLOperationAll)}, read, AnswerDenied},
		"a denial implies nothing":       {[]Binding{allow(literal("shop-a"), read), deny(literal("shop-a"), describe)}, read, AnswerAllowed},
		"everybody is denied":            {[]Binding{allow(literal("shop-a"), read), acl(everybody, prefixed("s"), read, kmsg.ACLPermissionTypeDeny, AnyHost)}, read, AnswerDenied},
		"from one host":                  {[]Binding{acl(alice, literal("shop-a"), read, kmsg.ACLPermissionTypeAllow, "10.0.0.1")}, read, AnswerByHost},
		"but from one host":              {[]Binding{allow(literal("shop-a"), read), acl(alice, literal("shop-a"), read, kmsg.ACLPermissionTypeDeny, "10.0.0.1")}, read, AnswerByHost},
		"denied from one host only":      {[]Binding{acl(alice, literal("shop-a"), read, kmsg.ACLPermissionTypeDeny, "10.0.0.1")}, read, AnswerDenied},
	} {
		if got := NewRules(test.acls).Answer(alice, kmsg.ACLResourceTypeTopic, "shop-a", test.operation); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
		if got := NewRules(test.acls).Answer(alice, kmsg.ACLResourceTypeGroup, "shop-a", test.operation); got != AnswerDenied {
			t.Errorf("%s: %d of a group", name, got)
		}
	}
}
