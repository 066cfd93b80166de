// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package issuer decides which certificates the mesh CA signs: those of KafkaUsers, requested by cert-manager for the
// Certificates that Signet itself made, and Signet's own client certificates. Everything else is denied with a reason.
//
// The files csr.go and policy.go are pure: authenticated facts in, a complete certificate template or a Refusal out.
// From a certificate request only the public key is taken. signer.go holds the CA, audit.go the record of every
// decision; request_controller.go is the cert-manager external issuer and meshissuer_controller.go its status.
//
// The package never takes a subject, a SAN, a usage or a lifetime from a request, never trusts the Approved condition,
// and never puts key material into a status, an event, a log line or an error.
package issuer
