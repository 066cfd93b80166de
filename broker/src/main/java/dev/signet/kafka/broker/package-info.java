/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
/**
 * Decides on a Kafka broker which principal the peer of a mutual TLS connection is.
 *
 * <p>{@link dev.signet.kafka.broker.SignetPrincipalBuilder} is what {@code principal.builder.class}
 * names. It reads the certificate ({@link dev.signet.kafka.broker.Peer}), asks the snapshot in
 * force ({@link dev.signet.kafka.broker.Mapping}, plain values in and out) and refuses whom no
 * entry knows. {@link dev.signet.kafka.broker.MappingFile} keeps the snapshot current with
 * mapping.json, which Signet's controller writes: a broken file changes nothing, and no file at all
 * refuses everybody.
 *
 * <p>The package never writes, never opens a connection, never looks at a certificate that TLS did
 * not verify, and leaves plaintext and SASL listeners to Kafka. The Go package {@code
 * principal/mapping} decides the same; {@code test/vectors/mapping} is what both must agree on.
 */
package dev.signet.kafka.broker;
