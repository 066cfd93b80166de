// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import "fmt"

// Reason is why a request was refused, or waits: one word for metrics and logs.
type Reason string

// Reasons for refusing a pod.
const (
	// ReasonUnknownAnnotation: an annotation begins with kafka.signet.dev/ and is none that Signet reads.
	ReasonUnknownAnnotation Reason = "UnknownAnnotation"
	// ReasonInvalidAnnotation: the value of an annotation is malformed.
	ReasonInvalidAnnotation Reason = "InvalidAnnotation"
	// ReasonOtherNamespace: the pod names a KafkaUser of another namespace.
	ReasonOtherNamespace Reason = "OtherNamespace"
	// ReasonTooManyUsers: the pod names more than MaxUsers.
	ReasonTooManyUsers Reason = "TooManyUsers"
	// ReasonWindows: the pod runs on Windows nodes.
	ReasonWindows Reason = "Windows"
	// ReasonUserDeleted: a KafkaUser that the pod names is being deleted.
	ReasonUserDeleted Reason = "UserDeleted"
	// ReasonSuspended: a KafkaUser that the pod names is suspended.
	ReasonSuspended Reason = "Suspended"
	// ReasonNoSigner: a KafkaUser that the pod names is delivered by the kubelet only, and whom that would ask is not known.
	ReasonNoSigner Reason = "NoSigner"
	// ReasonOtherServiceAccount: a KafkaUser that the pod names is for another service account.
	ReasonOtherServiceAccount Reason = "OtherServiceAccount"
	// ReasonVolumeName: the pod has a volume of its own under the name that Signet needs.
	ReasonVolumeName Reason = "VolumeName"
	// ReasonUnknownContainer: the pod lacks a container that an annotation names.
	ReasonUnknownContainer Reason = "UnknownContainer"
	// ReasonInline: the pod declares access that no KafkaUser can be made of.
	ReasonInline Reason = "InlineDeclaration"
	// ReasonMountPath: a container mounts something of its own where Signet's files belong.
	ReasonMountPath Reason = "MountPath"
)

// Other reasons.
const (
	// ReasonInvalidDeclaration: a KafkaUser declares what its KafkaCluster's policy does not permit.
	ReasonInvalidDeclaration Reason = "InvalidDeclaration"
	// ReasonWaits: the pod was admitted and its containers start once a KafkaUser's files exist.
	ReasonWaits Reason = "Waits"
	// ReasonUndecodable: the object in the request could not be read.
	ReasonUndecodable Reason = "Undecodable"
	// ReasonAuthorizer: the API server did not say what the author of a KafkaUser may do.
	ReasonAuthorizer Reason = "Authorizer"
	// ReasonCache: the informer cache did not answer.
	ReasonCache Reason = "Cache"
)

// Refusal is a pod that is not admitted. The same pod will not be admitted later unless what the message names changes.
type Refusal struct {
	Reason Reason
	// Message is one sentence for whoever wrote the pod: what is wrong, where, and what to do.
	Message string
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
