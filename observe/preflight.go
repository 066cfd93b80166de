// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/signet-kafka/signet/access"
)

// Window is how long what was seen counts, unless somebody says otherwise: what a client did last before that may be
// something that it does no more.
const Window = 30 * 24 * time.Hour

// The types of resources, as records have them.
const (
	typeTopic           = "TOPIC"
	typeGroup           = "GROUP"
	typeTransactionalID = "TRANSACTIONAL_ID"
	typeCluster         = "CLUSTER"
)

// resourceType returns Kafka's number of a resource type; 0 for one that this version does not know.
func resourceType(name string) kmsg.ACLResourceType {
	for _, t := range []kmsg.ACLResourceType{
		kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeCluster, kmsg.ACLResourceTypeTransactionalId,
		kmsg.ACLResourceTypeDelegationToken, kmsg.ACLResourceTypeUser,
	} {
		if t.String() == name {
			return t
		}
	}
	return kmsg.ACLResourceTypeUnknown
}

// operation returns Kafka's number of an operation; 0 for one that this version does not know, which only an ACL with ALL
// allows.
func operation(name string) kmsg.ACLOperation {
	for o := kmsg.ACLOperationRead; o <= kmsg.ACLOperationDescribeTokens; o++ {
		if o.String() == name {
			return o
		}
	}
	return kmsg.ACLOperationUnknown
}

// answer says what ACLs say of an access.
func answer(rules access.Rules, a Access) access.Answer {
	return rules.Answer(a.Principal, resourceType(a.Type), a.Name, operation(a.Operation))
}

// WouldBeDenied returns, of uses that succeeded since a time, those that the ACLs do not allow: what enforcement would
// deny. Where that depends on the client's host, which no record has, what Kafka said of it last counts. Operations on the
// cluster are left out, for they are enforced in every mode. exempt tells of a principal that no ACL restrains: a super
// user.
func WouldBeDenied(uses []Use, rules access.Rules, since time.Time, exempt func(principal string) bool) []Use {
	var out []Use
	for _, u := range uses {
		if u.Type == typeCluster || u.LastServed().IsZero() || u.LastServed().Before(since) || exempt(u.Principal) {
			continue
		}
		switch answer(rules, u.Access) {
		case access.AnswerAllowed:
		case access.AnswerByHost:
			if u.LastTolerated.After(u.LastAllowed) {
				out = append(out, u)
			}
		case access.AnswerDenied:
			out = append(out, u)
		}
	}
	return out
}
