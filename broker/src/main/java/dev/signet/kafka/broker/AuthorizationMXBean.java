/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

/**
 * What a broker tells over JMX about authorization.json, as {@code
 * signet.kafka:type=authorization,file="<path>"}. While {@code Generation} is 0, the mode of {@code
 * signet.authorization.mode.at.start} holds.
 */
public interface AuthorizationMXBean extends PolledFileMXBean {
  /** The mode in force, Audit, Hybrid or Enforce; empty while no good file was ever read. */
  String getMode();

  /** Principals that are enforced or audited by name. */
  int getEntries();
}
