// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package filter decides what the Envoy filter does with each byte between a client and a Kafka broker: it tells from
// the client's certificate who the client is, logs in to the broker in the client's place (SASL/OAUTHBEARER, KIP-255,
// with a short-lived token), keeps the broker's answers to that from the client, renews the login before the broker's
// session ends (KIP-368), and lets everything else through untouched.
//
// Connection is a machine without clock, network or Envoy: an event goes in, an Effect comes out. Package wasm beside
// it is the thin edge that Envoy calls. The package never decides which principal a peer is, that is package mapping's,
// and never lets a byte of a client through before the broker has accepted the login.
package filter
