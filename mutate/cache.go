// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Seen is a transform for the informers that the handlers read from: it keeps of a KafkaUser and a PrincipalMapping what
// the handlers look at, and drops managedFields of everything. The rest would be most of the webhook's memory.
func Seen(object any) (any, error) {
	switch o := object.(type) {
	case *v1alpha1.KafkaUser:
		return seenUser(o), nil
	case *v1alpha1.PrincipalMapping:
		return &v1alpha1.PrincipalMapping{ObjectMeta: seenMeta(&o.ObjectMeta), Spec: o.Spec}, nil
	}
	if o, err := meta.Accessor(object); err == nil {
		o.SetManagedFields(nil)
	}
	return object, nil
}

func seenUser(user *v1alpha1.KafkaUser) *v1alpha1.KafkaUser {
	seen := &v1alpha1.KafkaUser{
		ObjectMeta: seenMeta(&user.ObjectMeta),
		Spec: v1alpha1.KafkaUserSpec{
			ClusterRef: user.Spec.ClusterRef, Suspend: user.Spec.Suspend, Workload: user.Spec.Workload, Certificate: user.Spec.Certificate,
		},
		Status: v1alpha1.KafkaUserStatus{Delivery: user.Status.Delivery, SignerName: user.Status.SignerName},
	}
	if by, ok := user.Labels[v1alpha1.LabelDeclaredBy]; ok {
		seen.Labels = map[string]string{v1alpha1.LabelDeclaredBy: by}
	}
	if ready := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		seen.Status.Conditions = []metav1.Condition{{Type: ready.Type, Status: ready.Status, Reason: ready.Reason}}
	}
	return seen
}

// seenMeta is what handlers and informers look at.
func seenMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}
