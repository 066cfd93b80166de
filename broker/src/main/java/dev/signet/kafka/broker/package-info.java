/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
/**
 * Decides on a Kafka broker who the peer of a mutual TLS connection is, and whether what a client
 * is not allowed is denied already; and counts who does what.
 *
 * <p>{@link dev.signet.kafka.broker.SignetPrincipalBuilder} is what {@code principal.builder.class}
 * names. It reads the certificate ({@link dev.signet.kafka.broker.Peer}), asks the snapshot in
 * force ({@link dev.signet.kafka.broker.Mapping}, plain values in and out) and refuses whom no
 * entry knows.
 *
 * <p>{@link dev.signet.kafka.broker.SignetAuthorizer} is what {@code authorizer.class.name} names.
 * Kafka's rules are decided by {@link dev.signet.kafka.broker.AclIndex}; {@link
 * dev.signet.kafka.broker.Authorization} says whose denials count; {@link
 * dev.signet.kafka.broker.Decisions} counts, for {@link dev.signet.kafka.broker.AuthorizerMetrics}
 * and {@link dev.signet.kafka.broker.AccessLog}.
 *
 * <p>{@link dev.signet.kafka.broker.PolledFile} keeps both snapshots current with mapping.json and
 * authorization.json, which Signet's controller writes: a broken file changes nothing. No mapping
 * at all refuses everybody; for no authorization at all, the administrator chooses.
 *
 * <p>The principal builder never writes, never opens a connection, never looks at a certificate
 * that TLS did not verify, and leaves plaintext and SASL listeners to Kafka. The authorizer never
 * allows what Kafka's rules deny on the cluster or on configurations, and writes to nothing but the
 * two topics of the access log, from a thread of its own. What Go and Java must agree on is in
 * {@code test/vectors}.
 */
package dev.signet.kafka.broker;
