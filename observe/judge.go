// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
)

// lastSeenStep is how far status.observed.lastSeen may lag behind: a busy user costs one write in that time.
const lastSeenStep = time.Hour

// Summary is what a KafkaUser's status says of what was observed.
type Summary struct {
	Observed v1alpha1.ObservedAccess
	// Ready is the condition ReadyToEnforce, without the fields of time.
	Ready metav1.Condition
}

// Judge sums up what the KafkaUser, whose principal this is, was seen to do. uses are those of the principal, rules the
// ACLs in Kafka. It says something else only where there is something else to say: of the time of the last access, once
// an hour.
func Judge(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, principal string, uses []Use, rules access.Rules, now time.Time) Summary {
	denied := WouldBeDenied(uses, rules, now.Add(-Window), func(string) bool { return false })
	s := Summary{
		Observed: v1alpha1.ObservedAccess{Authorization: user.EffectiveAuthorization(cluster, principal), WouldBeDenied: int32(min(len(denied), 1<<30))},
		Ready:    metav1.Condition{Type: v1alpha1.ConditionReadyToEnforce, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonNothingDenied, ObservedGeneration: user.Generation},
	}
	var last time.Time
	recent := 0
	for _, u := range uses {
		if u.Last.After(last) {
			last = u.Last
		}
		if !u.LastServed().Before(now.Add(-Window)) {
			recent++
		}
	}
	if before := user.Status.Observed; before != nil && before.LastSeen != nil && !last.Before(before.LastSeen.Time) && last.Sub(before.LastSeen.Time) < lastSeenStep {
		last = before.LastSeen.Time
	}
	if !last.IsZero() {
		// An API server keeps whole seconds.
		s.Observed.LastSeen = &metav1.Time{Time: last.Truncate(time.Second)}
	}
	days := int(Window / (24 * time.Hour))
	switch {
	case len(denied) > 0:
		// The first in alphabetical order, so that the message does not change with every access.
		first := denied[0]
		s.Ready.Status, s.Ready.Reason = metav1.ConditionFalse, v1alpha1.ReasonWouldBeDenied
		s.Ready.Message = fmt.Sprintf("%d of the accesses of the last %d days are allowed by no ACL, such as %s; kubectl signet preflight lists them, kubectl signet suggest what to declare", len(denied), days, phrase(first.Access))
	case recent == 0:
		s.Ready.Status, s.Ready.Reason = metav1.ConditionUnknown, v1alpha1.ReasonNotSeen
		s.Ready.Message = fmt.Sprintf("brokers saw nothing of %s in the last %d days", principal, days)
	default:
		s.Ready.Message = fmt.Sprintf("the ACLs allow everything that was seen in the last %d days", days)
	}
	return s
}

// changed tells whether a summary differs from what the KafkaUser's status says.
func (s Summary) changed(status *v1alpha1.KafkaUserStatus) bool {
	o := status.Observed
	if o == nil || o.Authorization != s.Observed.Authorization || o.WouldBeDenied != s.Observed.WouldBeDenied || !o.LastSeen.Equal(s.Observed.LastSeen) {
		return true
	}
	return !slices.ContainsFunc(status.Conditions, func(c metav1.Condition) bool {
		return c.Type == s.Ready.Type && c.Status == s.Ready.Status && c.Reason == s.Ready.Reason && c.Message == s.Ready.Message && c.ObservedGeneration == s.Ready.ObservedGeneration
	})
}
