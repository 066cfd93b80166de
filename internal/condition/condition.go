// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package condition turns what a controller decided into the one status condition that it owns, so that every
// controller writes conditions alike: with observedGeneration, with a transition time that moves only when the status
// does, and only when something changed.
package condition

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applymetav1 "k8s.io/client-go/applyconfigurations/meta/v1"
)

// maxMessage bounds a condition's message, in bytes; the API server refuses more than 32,768.
const maxMessage = 4096

// Next returns the condition to apply, given those that the object has, and whether it differs from what is there.
// want.LastTransitionTime is the time of a transition, should it be one.
func Next(existing []metav1.Condition, want metav1.Condition) (*applymetav1.ConditionApplyConfiguration, bool) {
	if len(want.Message) > maxMessage {
		want.Message = strings.ToValidUTF8(want.Message[:maxMessage-3], "") + "..."
	}
	have := meta.FindStatusCondition(existing, want.Type)
	if have != nil && have.Status == want.Status {
		want.LastTransitionTime = have.LastTransitionTime
	}
	changed := have == nil || have.Status != want.Status || have.Reason != want.Reason || have.Message != want.Message || have.ObservedGeneration != want.ObservedGeneration
	return applymetav1.Condition().
		WithType(want.Type).
		WithStatus(want.Status).
		WithReason(want.Reason).
		WithMessage(want.Message).
		WithObservedGeneration(want.ObservedGeneration).
		WithLastTransitionTime(want.LastTransitionTime), changed
}

// Of returns the condition of the type if it was observed at the object's generation.
func Of(existing []metav1.Condition, conditionType string, generation int64) (metav1.Condition, bool) {
	c := meta.FindStatusCondition(existing, conditionType)
	if c == nil || c.ObservedGeneration != generation {
		return metav1.Condition{}, false
	}
	return *c, true
}
