// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// listed is a cache with two kinds in it; that of the others does not answer.
type listed struct {
	client.Reader
	users   []v1alpha1.KafkaUser
	issuers []v1alpha1.MeshIssuer
}

func (l listed) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	switch into := into.(type) {
	case *v1alpha1.KafkaUserList:
		into.Items = l.users
	case *v1alpha1.MeshIssuerList:
		into.Items = l.issuers
	default:
		return errors.New("not synced")
	}
	return nil
}

func TestObjects(t *testing.T) {
	user := func(status metav1.ConditionStatus, reason string) v1alpha1.KafkaUser {
		return v1alpha1.KafkaUser{Status: v1alpha1.KafkaUserStatus{Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionAccessSynced, Status: metav1.ConditionFalse, Reason: "Other"},
			{Type: v1alpha1.ConditionReady, Status: status, Reason: reason},
		}}}
	}
	objects := NewObjects(listed{
		users:   []v1alpha1.KafkaUser{user("True", "Ready"), user("True", "Ready"), user("False", "Unreachable"), {}},
		issuers: []v1alpha1.MeshIssuer{{Status: v1alpha1.MeshIssuerStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: "False", Reason: "CAExpired"}}}}},
	})
	want := `
# HELP signet_objects Objects by kind, status and reason of their Ready condition.
# TYPE signet_objects gauge
signet_objects{kind="KafkaUser",ready="False",reason="Unreachable"} 1
signet_objects{kind="KafkaUser",ready="True",reason="Ready"} 2
signet_objects{kind="KafkaUser",ready="Unknown",reason=""} 1
signet_objects{kind="MeshIssuer",ready="False",reason="CAExpired"} 1
`
	if err := testutil.CollectAndCompare(objects, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
