/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.function.LongSupplier;
import javax.management.MBeanServer;
import javax.management.MalformedObjectNameException;
import javax.management.ObjectName;

/**
 * The mapping files of a JVM, each once, whatever the number of connections: Kafka makes a
 * principal builder for each connection.
 */
final class MappingFiles extends PolledFiles<MappingFile> {
  private static final String KIND = "principal-mapping";

  MappingFiles(MBeanServer jmx, LongSupplier nanoClock) {
    super(KIND, jmx, path -> new MappingFile(path, nanoClock));
  }

  /** Holds the files of the brokers in this JVM. */
  private static final class Shared {
    private static final MappingFiles FILES =
        new MappingFiles(ManagementFactory.getPlatformMBeanServer(), System::nanoTime);
  }

  /** The files of the brokers in this JVM; they are never closed. */
  static MappingFiles shared() {
    return Shared.FILES;
  }

  /** The name of a file's MBean. */
  static ObjectName objectName(Path path) throws MalformedObjectNameException {
    return objectName(KIND, path);
  }
}
