/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

/**
 * What a {@link Mapping} says of a peer: the name of a principal of type {@code User}, or why there
 * is none.
 */
public sealed interface Decision {
  /**
   * The peer is the principal {@code User:name}.
   *
   * @param name without the type
   */
  record Mapped(String name) implements Decision {}

  /**
   * The peer is nobody, and its connection has to be closed.
   *
   * @param reason why
   */
  record Refused(Reason reason) implements Decision {}
}
