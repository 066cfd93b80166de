// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// meshMode is how a pod takes part in the service mesh.
type meshMode int

const (
	// outside: the pod speaks for itself.
	outside meshMode = iota
	// sidecar: a proxy in the pod speaks for it.
	sidecar
	// ambient: a proxy of the node does, and the pod has none.
	ambient
)

// How Istio is told, and tells, that a pod takes part (https://istio.io/latest/docs/reference/config/annotations/ and labels/).
const (
	istioProxy      = "istio-proxy"
	istioStatus     = "sidecar.istio.io/status"
	istioInject     = "sidecar.istio.io/inject" // a label; as an annotation it is deprecated, and can only say no
	istioRevision   = "istio.io/rev"
	istioInjection  = "istio-injection" // of namespaces
	istioDataplane  = "istio.io/dataplane-mode"
	istioRedirected = "ambient.istio.io/redirection"
)

// meshModeOf tells how a pod in a namespace with these labels takes part, by the rules of Istio's injector: its proxy is
// there already, or will be, for our webhook may come before the injector's. A proxy of the pod counts before that of the
// node.
func meshModeOf(pod *corev1.Pod, namespace map[string]string) meshMode {
	isProxy := func(c corev1.Container) bool { return c.Name == istioProxy }
	if slices.ContainsFunc(pod.Spec.InitContainers, isProxy) || slices.ContainsFunc(pod.Spec.Containers, isProxy) || pod.Annotations[istioStatus] != "" {
		return sidecar
	}
	if pod.Spec.HostNetwork {
		return outside
	}
	if isInjected(pod, namespace) {
		return sidecar
	}
	mode, ok := pod.Labels[istioDataplane]
	if !ok {
		mode = namespace[istioDataplane]
	}
	if mode == "ambient" || pod.Annotations[istioRedirected] == "enabled" {
		return ambient
	}
	return outside
}

// isInjected tells whether the injector gives the pod a proxy.
func isInjected(pod *corev1.Pod, namespace map[string]string) bool {
	label := pod.Labels[istioInject]
	switch {
	case label == "false" || label == "" && pod.Annotations[istioInject] == "false" || namespace[istioInjection] == "disabled":
		return false
	case label == "true" || namespace[istioInjection] == "enabled":
		return true
	}
	return pod.Labels[istioRevision] != "" || namespace[istioRevision] != ""
}

// spokenFor tells whether the pod's proxy is who the KafkaCluster knows the KafkaUser by, so that the pod needs no
// certificate, and warns where it looks as if, and is not.
func spokenFor(mode meshMode, user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, account string) (is bool, warning string) {
	if mode == outside || user == nil || cluster == nil {
		return false, ""
	}
	listener, ok := cluster.MeshListener()
	if !ok {
		return false, ""
	}
	const instead = "the pod gets a certificate and the files of the listener for pods without one"
	w := user.Spec.Workload
	switch {
	case mode == ambient:
		return false, fmt.Sprintf("KafkaUser %s/%s: in the ambient mesh no sidecar speaks for the pod at listener %s: %s", user.Namespace, user.Name, listener.Name, instead)
	case w == nil:
		return false, fmt.Sprintf("KafkaUser %s/%s names no service account (spec.workload), by which listener %s would know the pod's sidecar, %.63s: %s",
			user.Namespace, user.Name, listener.Name, account, instead)
	}
	return w.ServiceAccountName == account, ""
}
