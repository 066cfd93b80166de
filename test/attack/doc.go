// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package attack has one test for each attack on what Signet signs, named after the attack, against the real API server,
// cert-manager and kubelet of test/stack.
//
// The attacker is a real user of the API server, mallory, with the rights that a namespace's developers have: the built-in
// role edit (with what cert-manager adds to it) and KafkaUsers of that namespace, and, where an attack needs it, the right
// to sign for one KafkaUser. Whatever can enter by several doors (a CertificateRequest, a Certificate for which
// cert-manager asks, a CertificateSigningRequest, a PodCertificateRequest of a compromised node) is tried at each.
//
// A test holds that nothing was signed, that the requester is told the reason in one word and nothing that helps to find
// out more, and that the audit log names the requester and the reason. The package's tests share one cluster;
// SIGNET_E2E_CLUSTER names one that stays (see stack.ForTests).
package attack
