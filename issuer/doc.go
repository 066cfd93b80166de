// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package issuer decides which certificates are signed below the mesh CA: those of KafkaUsers and Signet's own client
// certificates. Three kinds of request come in: cert-manager's CertificateRequests, for the Certificates that Signet
// itself made; the kubelet's PodCertificateRequests; and CertificateSigningRequests of clients outside the cluster.
// Everything else is denied with a reason.
//
// policy.go, csr.go, publickey.go, certificaterequest.go, podcertificaterequest.go and signingrequest.go are pure:
// authenticated facts in, a grant or a Refusal out, and of a grant the complete certificate template. From a request only
// the public key is taken. keys.go remembers whose each key is, registration.go is what the three controllers share, and
// audit.go and metrics.go are the record of every decision. signer.go holds the CA, stepca.go asks a remote one, signed.go
// compares what any of them signed with what was granted. meshissuer_controller.go takes the steps of a rotation, which
// certs.PlanRotation decides; verifiers.go sees whether everybody trusts the next CA.
//
// The package never takes a subject, a SAN or a usage from a request, nor a lifetime beyond the policy, never trusts an
// approval, and never puts key material into a status, an event, a log line or an error.
package issuer
