// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package declare

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Plan is what becomes of the pods that carry the label of one KafkaUser.
type Plan struct {
	// User is the KafkaUser with the access of all of Pods; nil where there is none.
	User *v1alpha1.KafkaUser
	// Pods are those whose declaration counts.
	Pods []*corev1.Pod
	// Refused are the others, and why.
	Refused []Refused
}

// Refused is a pod whose declaration does not count.
type Refused struct {
	Pod *corev1.Pod
	// Why is one sentence.
	Why string
}

// Decide judges the pods of the namespace that carry the label of the KafkaUser with this name. The label alone means
// nothing: whoever may create pods can write it, so every declaration is judged anew, as the webhook did. existing is the
// KafkaUser, nil where there is none. The oldest pod that counts says the KafkaCluster and the service account.
func Decide(namespace, name string, pods []corev1.Pod, clusters []v1alpha1.KafkaCluster, existing *v1alpha1.KafkaUser) Plan {
	ordered := make([]*corev1.Pod, len(pods))
	for i := range pods {
		ordered[i] = &pods[i]
	}
	slices.SortFunc(ordered, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var plan Plan
	var union *Inline
	var of *v1alpha1.KafkaCluster
	for _, pod := range ordered {
		refuse := func(why string) { plan.Refused = append(plan.Refused, Refused{pod, why}) }
		inline, err := Parse(pod.Annotations, pod.Annotations[v1alpha1.AnnotationUser], cmp.Or(pod.Spec.ServiceAccountName, "default"))
		switch {
		case err != nil:
			refuse(err.Error())
			continue
		case inline == nil || inline.User != name:
			refuse("label " + v1alpha1.LabelInline + " is for KafkaUser " + name + ", and the annotations declare no access for it")
			continue
		}
		cluster, err := ClusterOf(inline, namespace, clusters)
		if err != nil {
			refuse(err.Error())
			continue
		}
		judged := existing
		if judged == nil && union != nil {
			judged = union.KafkaUser(namespace, of)
		}
		if why := Conflict(inline, namespace, cluster, judged); why != "" {
			refuse(why)
			continue
		}
		if plan.Pods = append(plan.Pods, pod); union == nil {
			union, of = inline, cluster
		} else {
			union.Union(inline)
		}
	}
	if union != nil {
		plan.User = union.KafkaUser(namespace, of)
	}
	return plan
}
