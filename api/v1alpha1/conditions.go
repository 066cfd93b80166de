// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types. Every condition carries observedGeneration.
const (
	// ConditionReady sums an object up: everything that it declares is in force.
	ConditionReady = "Ready"
	// ConditionCertificateReady says that a KafkaUser's certificate is issued and its files are rendered.
	ConditionCertificateReady = "CertificateReady"
	// ConditionMappingRecorded says that a KafkaUser's subjects are recorded for its principal.
	ConditionMappingRecorded = "MappingRecorded"
	// ConditionAccessSynced says that the broker's ACLs and quotas equal a KafkaUser's declaration.
	ConditionAccessSynced = "AccessSynced"
	// ConditionBrokerConfigRendered says that a KafkaCluster's broker ConfigMap is current.
	ConditionBrokerConfigRendered = "BrokerConfigRendered"
	// ConditionReachable says that Signet's admin connection to a KafkaCluster works.
	ConditionReachable = "Reachable"
	// ConditionAccessObserved says that the access log of a KafkaCluster's brokers is read to its end.
	ConditionAccessObserved = "AccessObserved"
	// ConditionReadyToEnforce says that nothing which a KafkaUser was seen to do would be denied if it were enforced. It is
	// no part of Ready.
	ConditionReadyToEnforce = "ReadyToEnforce"
)

// Condition reasons. One reason means the same wherever it appears.
const (
	// ReasonReady: nothing is missing.
	ReasonReady = "Ready"
	// ReasonPending: work is under way; nothing is wrong.
	ReasonPending = "Pending"
	// ReasonClusterNotFound: the KafkaCluster does not exist (yet).
	ReasonClusterNotFound = "ClusterNotFound"
	// ReasonNamespaceNotAllowed: the KafkaCluster's namespaceSelector does not select this namespace.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
	// ReasonIssuerNotFound: the issuer does not exist (yet).
	ReasonIssuerNotFound = "IssuerNotFound"
	// ReasonIssuerNotReady: the issuer cannot sign at the moment; its own conditions say why.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonCANotFound: a Secret or ConfigMap that should hold a CA certificate does not exist or lacks the key.
	ReasonCANotFound = "CANotFound"
	// ReasonCAInvalid: a CA certificate or key is malformed, mismatched, or not a CA.
	ReasonCAInvalid = "CAInvalid"
	// ReasonCAExpired: a CA certificate is expired or not yet valid.
	ReasonCAExpired = "CAExpired"
	// ReasonConflict: another object holds what this one claims; the message names the holder.
	ReasonConflict = "Conflict"
	// ReasonPrincipalConflict means that another PrincipalMapping has the principal.
	ReasonPrincipalConflict = "PrincipalConflict"
	// ReasonReserved: the principal belonged to somebody who is gone and waits for an administrator's release.
	ReasonReserved = "Reserved"
	// ReasonUnreachable: Kafka does not answer; the last state stays in force and Signet retries.
	ReasonUnreachable = "Unreachable"
	// ReasonRefusedByBroker: Kafka answered with an error; the message carries it.
	ReasonRefusedByBroker = "RefusedByBroker"
	// ReasonCredentialsNotFound: what Signet's own connection authenticates with is missing or incomplete.
	ReasonCredentialsNotFound = "CredentialsNotFound"
	// ReasonAdoptionPending: the principal has access in Kafka that the declaration does not have, and keeps it until
	// somebody confirms that it is to go.
	ReasonAdoptionPending = "AdoptionPending"
	// ReasonInvalid: the declaration cannot be carried out as written; the message says which part.
	ReasonInvalid = "Invalid"
	// ReasonSuspended: spec.suspend is true.
	ReasonSuspended = "Suspended"
	// ReasonDistributing: a new CA has replaced the one that signs, and signs as soon as everybody trusts it.
	ReasonDistributing = "Distributing"
	// ReasonNothingDenied: what was seen is allowed.
	ReasonNothingDenied = "NothingDenied"
	// ReasonWouldBeDenied: what was seen is not all allowed; the message names the first of it.
	ReasonWouldBeDenied = "WouldBeDenied"
	// ReasonNotSeen: nothing was seen.
	ReasonNotSeen = "NotSeen"
)
