// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OnlyKubeletVersion is a cache transform for Nodes: of a node it keeps the name and the version of its kubelet, which is
// all that is asked of one here, and not the kilobytes of its status.
func OnlyKubeletVersion(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: node.Status.NodeInfo.KubeletVersion}},
	}, nil
}

// kubelets knows the kubelets of the cluster. It is told of each node as it comes, changes and goes, so that a decision
// about one of ten thousand KafkaUsers does not look at a thousand nodes.
type kubelets struct {
	mu       sync.Mutex
	versions map[string]string // by node
	old      map[string]string
	oldNode  string
}

// observe takes note of a node's kubelet. able tells that whether every node can has changed, named that only the node to
// name has.
func (k *kubelets) observe(node, version string) (able, named bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if was, known := k.versions[node]; known && was == version {
		return false, false
	}
	return k.change(func() {
		if k.versions == nil {
			k.versions, k.old = map[string]string{}, map[string]string{}
		}
		k.versions[node] = version
		delete(k.old, node)
		if !kubeletCan(version) {
			k.old[node] = version
		}
	})
}

// forget takes note that a node is gone.
func (k *kubelets) forget(node string) (able, named bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.change(func() {
		delete(k.versions, node)
		delete(k.old, node)
	})
}

func (k *kubelets) change(f func()) (able, named bool) {
	canAll := func() bool { return len(k.versions) > 0 && len(k.old) == 0 }
	before, nameBefore := canAll(), k.oldNode
	f()
	k.oldNode = ""
	first := ""
	for node, version := range k.old {
		if first == "" || node < first {
			first, k.oldNode = node, fmt.Sprintf("node %s (kubelet %q)", node, version)
		}
	}
	return before != canAll(), nameBefore != k.oldNode
}

// platform returns what is known.
func (k *kubelets) platform(served bool) Platform {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Platform{Served: served, Nodes: len(k.versions), OldNode: k.oldNode}
}
