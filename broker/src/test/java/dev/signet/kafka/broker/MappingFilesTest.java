/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import javax.management.MBeanAttributeInfo;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MappingFilesTest {
  private static final MBeanServer JMX = ManagementFactory.getPlatformMBeanServer();

  @TempDir Path directory;

  private Path write(String name, int generation) throws Exception {
    Path path = directory.resolve(name);
    Files.write(path, Json.file().with("generation", generation).exact("CN=a", "a").bytes());
    return path;
  }

  private static void await(BooleanSupplier condition) throws Exception {
    for (int i = 0; i < 2000 && !condition.getAsBoolean(); i++) {
      Thread.sleep(10);
    }
    assertTrue(condition.getAsBoolean());
  }

  private static Set<Thread> pollers() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().equals("signet-principal-mapping-poll"))
        .collect(Collectors.toSet());
  }

  @Test
  void everyConnectionSharesTheFileOfItsPath() throws Exception {
    try (MappingFiles files = new MappingFiles(JMX, System::nanoTime)) {
      MappingFile file = files.open(write("a.json", 1), 60_000);
      assertEquals(1, file.getGeneration(), "it is read before the first connection is decided");
      assertSame(file, files.open(directory.resolve("a.json"), 60_000));
      assertNotSame(file, files.open(write("b.json", 2), 60_000));
      assertEquals(1, file.getLoads());
    }
  }

  @Test
  void oneThreadPollsAllFilesAndEndsWithThem() throws Exception {
    Set<Thread> before = pollers();
    try (MappingFiles files = new MappingFiles(JMX, System::nanoTime)) {
      MappingFile a = files.open(write("a.json", 1), 100);
      MappingFile b = files.open(write("b.json", 1), 100);
      write("a.json", 2);
      write("b.json", 3);
      await(() -> a.getGeneration() == 2 && b.getGeneration() == 3);
      Set<Thread> polling = pollers();
      polling.removeAll(before);
      assertEquals(1, polling.size());
      assertTrue(polling.iterator().next().isDaemon());
    }
    await(() -> before.containsAll(pollers()));
  }

  @Test
  void shortestIntervalCounts() throws Exception {
    try (MappingFiles files = new MappingFiles(JMX, System::nanoTime)) {
      Path path = write("a.json", 1);
      MappingFile file = files.open(path, Long.MAX_VALUE / 4);
      write("a.json", 2);
      assertSame(file, files.open(path, 100));
      await(() -> file.getGeneration() == 2);
    }
  }

  @Test
  void fileThatNoConnectionUsesKeepsItsLastGoodContent() throws Exception {
    try (MappingFiles files = new MappingFiles(JMX, System::nanoTime)) {
      Path path = write("a.json", 7);
      SignetPrincipalBuilder builder = new SignetPrincipalBuilder(files);
      builder.configure(java.util.Map.of(MappingFileConfig.FILE, path.toString()));
      builder.build(Tls.context(Tls.session(Certificates.of("CN=a"))));
      builder.close();
      Files.write(path, "broken".getBytes());
      assertEquals(7, files.open(path, 60_000).getGeneration());
    }
  }

  @Test
  void tellsOverJmx() throws Exception {
    Path path = write("with \"quotes\", and=more*.json", 12);
    ObjectName name = MappingFiles.objectName(path);
    try (MappingFiles files = new MappingFiles(JMX, System::nanoTime)) {
      MappingFile file = files.open(path, 60_000);
      assertEquals(12L, JMX.getAttribute(name, "Generation"));
      assertEquals(1, JMX.getAttribute(name, "Entries"));
      assertEquals("", JMX.getAttribute(name, "LastError"));
      Files.write(path, "broken".getBytes());
      file.poll();
      file.refusals().record(Reason.UNMAPPED, "a", "a");
      assertEquals(12L, JMX.getAttribute(name, "Generation"));
      assertEquals(1L, JMX.getAttribute(name, "Failures"));
      assertEquals(1L, JMX.getAttribute(name, "RefusalsUnmapped"));
      assertTrue(((String) JMX.getAttribute(name, "LastError")).startsWith("syntax"));
      for (MBeanAttributeInfo attribute : JMX.getMBeanInfo(name).getAttributes()) {
        assertTrue(attribute.isReadable() && !attribute.isWritable(), attribute.getName());
        JMX.getAttribute(name, attribute.getName());
      }
      assertEquals(14, JMX.getMBeanInfo(name).getAttributes().length);
      assertEquals(0, JMX.getMBeanInfo(name).getOperations().length);
    }
    assertFalse(JMX.isRegistered(name));
  }

  @Test
  void takenNameOfAnMBeanStopsNothing() throws Exception {
    Path path = write("a.json", 3);
    try (MappingFiles first = new MappingFiles(JMX, System::nanoTime);
        MappingFiles second = new MappingFiles(JMX, System::nanoTime)) {
      assertEquals(3, first.open(path, 60_000).getGeneration());
      assertEquals(3, second.open(path, 60_000).getGeneration());
    }
  }
}
