// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// WorkloadIndex is the name of the informer cache's index of KafkaUsers by the service account of their workload;
// IndexWorkload makes it.
const WorkloadIndex = "spec.workload.serviceAccountName"

// IndexWorkload returns the service account of a KafkaUser's workload. It is a client.IndexerFunc.
func IndexWorkload(o client.Object) []string {
	user, ok := o.(*v1alpha1.KafkaUser)
	if !ok || user.Spec.Workload == nil {
		return nil
	}
	return []string{user.Spec.Workload.ServiceAccountName}
}

// accountOf is the service account that a pod runs as. The API server fills in "default" before any webhook is called,
// unless its ServiceAccount plug-in is off.
func accountOf(pod *corev1.Pod) string { return cmp.Or(pod.Spec.ServiceAccountName, "default") }

// Meant returns which of the KafkaUsers of the pod's namespace have a workload that means the pod, sorted by name, and
// warns of those that mean it in vain. Nobody asked for them by name: where a pod cannot use one, it starts without.
func Meant(pod *corev1.Pod, namespace string, users []v1alpha1.KafkaUser) (names, warnings []string, err error) {
	for i := range users {
		user := &users[i]
		means, err := isMeant(pod, user)
		why := ""
		switch {
		case err != nil:
			why = "its spec.workload.podSelector is malformed"
		case !means:
			continue
		case !user.DeletionTimestamp.IsZero():
			why = "it is being deleted"
		case user.Spec.Suspend:
			why = "it is suspended"
		case isWindows(&pod.Spec):
			why = "its files need Linux nodes"
		}
		if why != "" {
			warnings = append(warnings, fmt.Sprintf("KafkaUser %s/%s means this pod, which starts without it: %s", namespace, user.Name, why))
			continue
		}
		names = append(names, user.Name)
	}
	if len(names) > MaxUsers {
		return nil, nil, refuse(ReasonTooManyUsers, "%d KafkaUsers of namespace %s have a workload that means this pod, and a pod may use at most %d: name them in annotation %s",
			len(names), namespace, MaxUsers, v1alpha1.AnnotationUser)
	}
	slices.Sort(names)
	slices.SortFunc(warnings, strings.Compare)
	return names, warnings, nil
}

// isMeant tells whether the KafkaUser's workload means the pod.
func isMeant(pod *corev1.Pod, user *v1alpha1.KafkaUser) (bool, error) {
	w := user.Spec.Workload
	if w == nil || w.ServiceAccountName != accountOf(pod) {
		return false, nil
	}
	if w.PodSelector == nil {
		return true, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(w.PodSelector)
	if err != nil {
		return false, fmt.Errorf("spec.workload.podSelector of kafkauser %s/%s: %w", user.Namespace, user.Name, err)
	}
	return selector.Matches(labels.Set(pod.Labels)), nil
}
