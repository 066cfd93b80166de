// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
)

// UserParts and ClusterParts are the conditions that Ready sums up, in the order in which they come true.
var (
	UserParts    = []string{v1alpha1.ConditionMappingRecorded, v1alpha1.ConditionCertificateReady, v1alpha1.ConditionAccessSynced}
	ClusterParts = []string{v1alpha1.ConditionBrokerConfigRendered, v1alpha1.ConditionReachable}
)

// Summarize returns the Ready condition of an object at this generation: True where every part is True at this
// generation, else the first part that is not, with its reason and message. A part that is wrong comes before one that
// is merely pending, so that the message names the cause. One that is suspended comes last: whoever suspends a user wants
// to know that its rights are gone, so Suspended stands there only when every part says so.
func Summarize(existing []metav1.Condition, generation int64, parts []string, ready string) metav1.Condition {
	summary := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: ready, ObservedGeneration: generation}
	for _, part := range parts {
		c, current := condition.Of(existing, part, generation)
		switch {
		case !current:
			c = metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPending, Message: "not decided yet"}
		case c.Status == metav1.ConditionTrue:
			continue
		}
		if summary.Status == metav1.ConditionTrue || urgency(c.Reason) > urgency(summary.Reason) {
			summary.Status, summary.Reason, summary.Message = metav1.ConditionFalse, c.Reason, part+": "+c.Message
		}
	}
	return summary
}

func urgency(reason string) int {
	switch reason {
	case v1alpha1.ReasonSuspended:
		return 0
	case v1alpha1.ReasonPending:
		return 1
	}
	return 2
}
