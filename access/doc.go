// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package access makes Kafka allow exactly what KafkaUsers and KafkaTopics declare, and bound it as their quotas say.
//
// Decisions are plain functions on plain values: CheckDeclaration (what of a declaration a KafkaCluster's policy
// refuses), Grants (a declaration as ACL bindings), Diff (the bindings to create and the filters to delete, for many
// principals at once), DiffQuotas (the same for quotas), PlanTopic (the steps from the topic in Kafka to the declared one),
// UsersOfTopic (who consumes and produces it). Admin carries them out through one connection per KafkaCluster;
// UserController, TopicController, TopicUsersController and ClusterController fetch, decide and write.
//
// Ownership is by principal: Signet owns every ACL and quota of the principals that it manages and none other, and a Kafka has
// one Signet (claim.go). Bindings are
// created before any is deleted, so that at no moment anything is allowed that neither the old nor the new declaration
// allows. What a principal had before Signet knew it is not taken from it until somebody says so (adopt.go). A Kafka that does not answer delays work and loses none of it; it delays that cluster only.
//
// The package never signs, never reads a Secret and never decides who a principal is: it gets its TLS identity from
// AdminTLS, what it logs in with by SASL from AdminSASL, and waits for a KafkaUser's MappingRecorded condition before it grants anything. It waits for nothing before it
// withdraws what a suspended KafkaUser has.
package access
