// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Platform is what the Kubernetes cluster can do about pods' certificates.
type Platform struct {
	// Served tells whether the API server serves podcertificaterequests of certificates.k8s.io/v1.
	Served bool
	// Nodes is the number of nodes.
	Nodes int
	// OldNode names one of the nodes whose kubelet gets pods no certificate, with its version; "" where every kubelet does.
	// A kubelet older than 1.34 would start the pod without the files, and say nothing.
	OldNode string
}

// Delivery is how the pods of a KafkaUser get key and certificate.
type Delivery struct {
	// By is Secret or PodCertificate; "" where it is impossible, as Problem says.
	By v1alpha1.Delivery
	// SignerName is whom the kubelet asks; set with PodCertificate.
	SignerName string
	// Secret tells whether there is a Secret, and so a cert-manager Certificate: always, unless the declaration says that
	// only the kubelet may have the key. Pods that come before their KafkaUser mount it, and external clients get it.
	Secret bool
	// Problem is why pods cannot get what the declaration asks for, in a sentence.
	Problem string
}

// Deliver decides how the pods of a KafkaUser get key and certificate.
//
// Auto is by the kubelet where that is seen to work on every node: a pod cannot say that it needs a new kubelet, so one
// old node is enough to decide against it, and so is a cluster without nodes. Whoever asks for PodCertificate gets nothing
// else: what he wants is a key that never leaves the node.
func Deliver(user *v1alpha1.KafkaUser, issuer Issuer, platform Platform) Delivery {
	wanted := v1alpha1.DeliveryAuto
	if c := user.Spec.Certificate; c != nil && c.Delivery != "" {
		wanted = c.Delivery
	}
	if wanted == v1alpha1.DeliverySecret {
		return Delivery{By: v1alpha1.DeliverySecret, Secret: true}
	}
	obstacle := kubeletObstacle(issuer, platform)
	if len(user.Keystores()) > 0 {
		obstacle = "the kubelet makes no keystores (spec.certificate.keystores), which come with the Secret; leave them out, or use the delivery Secret"
	}
	switch {
	case wanted == v1alpha1.DeliveryPodCertificate && obstacle != "":
		return Delivery{Problem: "spec.certificate.delivery PodCertificate is impossible: " + obstacle}
	case obstacle != "" || wanted == v1alpha1.DeliveryAuto && platform.Nodes == 0:
		return Delivery{By: v1alpha1.DeliverySecret, Secret: true}
	}
	return Delivery{
		By: v1alpha1.DeliveryPodCertificate, SignerName: v1alpha1.SignerName(issuer.Reference.Name),
		Secret: wanted == v1alpha1.DeliveryAuto,
	}
}

// kubeletObstacle says what keeps the kubelet from getting a certificate of the issuer, and what to do; "" is nothing.
func kubeletObstacle(issuer Issuer, platform Platform) string {
	switch {
	case !issuer.Reference.IsMeshIssuer():
		return fmt.Sprintf("%s is cert-manager's, which does not answer the kubelet; use a MeshIssuer, or the delivery Secret", issuer)
	case issuer.Mode == v1alpha1.ModeStepCA:
		return fmt.Sprintf("%s has a step-ca sign, which needs a request with the names in it, and the kubelet's has none; use the delivery Secret", issuer)
	case !platform.Served:
		return "the API server does not serve podcertificaterequests of certificates.k8s.io/v1 (Kubernetes 1.37); use the delivery Secret"
	case platform.OldNode != "":
		return fmt.Sprintf("%s is older than %s; upgrade it, or use the delivery Secret", platform.OldNode, firstKubelet)
	}
	return ""
}

// firstKubelet is the first version of Kubernetes whose kubelet speaks certificates.k8s.io/v1 PodCertificateRequest, with
// no feature gate to set.
const firstKubelet = "1.37"

// kubeletCan tells whether a kubelet of this version ("v1.37.1", perhaps with a vendor's suffix) gets pods a certificate. A
// version that says nothing is none that can.
func kubeletCan(kubelet string) bool {
	v, err := version.ParseGeneric(kubelet)
	return err == nil && v.AtLeast(version.MustParseGeneric(firstKubelet))
}
