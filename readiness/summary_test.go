// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func TestSummarize(t *testing.T) {
	yes := func(part string) metav1.Condition {
		return metav1.Condition{Type: part, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, ObservedGeneration: 3}
	}
	no := func(part, reason string) metav1.Condition {
		return metav1.Condition{Type: part, Status: metav1.ConditionFalse, Reason: reason, Message: "why", ObservedGeneration: 3}
	}
	old := func(c metav1.Condition) metav1.Condition {
		c.ObservedGeneration = 2
		return c
	}
	const mapping, certificate, access = v1alpha1.ConditionMappingRecorded, v1alpha1.ConditionCertificateReady, v1alpha1.ConditionAccessSynced
	const pending, suspended, unreachable = v1alpha1.ReasonPending, v1alpha1.ReasonSuspended, v1alpha1.ReasonUnreachable
	for name, test := range map[string]struct {
		have            []metav1.Condition
		reason, message string
	}{
		"everything":                        {[]metav1.Condition{yes(mapping), yes(certificate), yes(access)}, v1alpha1.ReasonReady, "all well"},
		"nothing":                           {nil, pending, mapping + ": not decided yet"},
		"the first that is wrong":           {[]metav1.Condition{yes(mapping), no(certificate, v1alpha1.ReasonCANotFound), no(access, unreachable)}, v1alpha1.ReasonCANotFound, certificate + ": why"},
		"wrong before pending":              {[]metav1.Condition{no(mapping, pending), yes(certificate), no(access, unreachable)}, unreachable, access + ": why"},
		"of an earlier declaration":         {[]metav1.Condition{yes(mapping), old(yes(certificate)), yes(access)}, pending, certificate + ": not decided yet"},
		"False, whatever the reason":        {[]metav1.Condition{yes(mapping), no(certificate, v1alpha1.ReasonReady), yes(access)}, v1alpha1.ReasonReady, certificate + ": why"},
		"suspended":                         {[]metav1.Condition{yes(mapping), no(certificate, suspended), no(access, suspended)}, suspended, certificate + ": why"},
		"suspended, rights not yet gone":    {[]metav1.Condition{yes(mapping), no(certificate, suspended), old(yes(access))}, pending, access + ": not decided yet"},
		"suspended, rights cannot be taken": {[]metav1.Condition{yes(mapping), no(certificate, suspended), no(access, unreachable)}, unreachable, access + ": why"},
		"suspended, certificates not yet":   {[]metav1.Condition{yes(mapping), old(yes(certificate)), no(access, suspended)}, pending, certificate + ": not decided yet"},
		"suspended, and in conflict":        {[]metav1.Condition{no(mapping, v1alpha1.ReasonConflict), no(certificate, suspended), no(access, suspended)}, v1alpha1.ReasonConflict, mapping + ": why"},
	} {
		got := Summarize(test.have, 3, UserParts, "all well")
		if got.Reason != test.reason || got.Message != test.message || got.ObservedGeneration != 3 || (got.Status == metav1.ConditionTrue) != (test.message == "all well") {
			t.Errorf("%s: %s %s: %s; want %s: %s", name, got.Status, got.Reason, got.Message, test.reason, test.message)
		}
	}
}
