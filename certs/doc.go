// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package certs decides which certificates exist: what a CA Secret holds, which cert-manager Certificate, trust bundle
// and client configuration each KafkaUser has, whether its pods get their certificate from the kubelet, which CA signs and
// how one takes the place of another, whom clients and brokers must trust meanwhile, and when the webhook's own serving
// certificate is renewed.
//
// The files ca.go, intermediate.go, authority.go, rotation.go, certificate.go, delivery.go, user.go and serving.go are pure.
// authorities.go keeps who signs in one Secret. named.go watches single Secrets and
// ConfigMaps, each by its name, so that the controller needs no permission on any other. The controllers in
// *_controller.go fetch, call the pure part and write.
//
// The package signs nothing for users (package issuer does), never reads a KafkaUser's Secret, and never writes a
// private key other than Signet's intermediates', and that of the webhook's serving certificate and its CA.
package certs
