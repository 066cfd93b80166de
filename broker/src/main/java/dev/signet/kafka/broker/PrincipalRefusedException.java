/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import org.apache.kafka.common.errors.AuthenticationException;

/**
 * Closes the connection of a peer that is nobody. The broker logs its message for each connection;
 * the peer learns nothing. Like every {@code ApiException} of Kafka it has no stack trace.
 */
public final class PrincipalRefusedException extends AuthenticationException {
  private static final long serialVersionUID = 1L;

  private final Reason reason;

  PrincipalRefusedException(Reason reason, String message) {
    super(message);
    this.reason = reason;
  }

  /** Why. */
  public Reason reason() {
    return reason;
  }
}
