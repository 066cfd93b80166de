/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

/**
 * What a broker tells over JMX about any file that Signet's controller writes for it. Alert when
 * {@code LastError} is not empty, or {@code SecondsSinceLastRead} exceeds a minute.
 */
public interface PolledFileMXBean {
  /** Generation of the content in force; 0 while there is none. */
  long getGeneration();

  /** Seconds since the content in force was read for the first time; -1 while there is none. */
  double getAgeSeconds();

  /** Seconds since the file could last be read, well-formed or not; -1 if never. */
  double getSecondsSinceLastRead();

  /** How often new content came into force. */
  long getLoads();

  /** How many polls found no file, or one that was refused; the content in force did not change. */
  long getFailures();

  /** Why the last poll failed; empty if the newest content is in force. */
  String getLastError();
}
