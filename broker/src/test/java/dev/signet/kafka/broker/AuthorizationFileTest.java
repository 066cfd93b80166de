/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.signet.kafka.broker.FormatException.Code;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Reading and hot reload. Nothing here waits: poll() is called by hand, the clock is a number. */
class AuthorizationFileTest {
  private static final MBeanServer JMX = ManagementFactory.getPlatformMBeanServer();

  @TempDir Path directory;

  private final AtomicLong clock = new AtomicLong();

  /** An authorization.json of a mode, with enforced principals, which are given sorted. */
  static byte[] content(int generation, String mode, List<String> enforced) {
    return ("{\"version\":1,\"cluster\":\"kafka/kafka\",\"generation\":"
            + generation
            + ",\"mode\":\""
            + mode
            + "\",\"enforced\":["
            + enforced.stream().map(name -> "\"" + name + "\"").collect(Collectors.joining(","))
            + "],\"audited\":[]}")
        .getBytes(StandardCharsets.UTF_8);
  }

  private Path write(byte[] content) throws Exception {
    return Files.write(directory.resolve("authorization.json"), content);
  }

  @Test
  void keepsTheLastGoodAndRecovers() throws Exception {
    AuthorizationFile file =
        new AuthorizationFile(directory.resolve("authorization.json"), clock::get);
    file.poll();
    assertNull(file.current());
    assertEquals(0, file.getGeneration());
    assertEquals("", file.getMode());
    assertEquals(-1, file.getAgeSeconds());
    write(content(1, "Hybrid", List.of("User:a")));
    file.poll();
    Authorization good = file.current();
    assertTrue(good.isEnforced("User:a"));
    assertEquals("kafka/kafka", good.cluster());
    for (String damage : List.of("", "{", new String(content(2, "Off", List.of())))) {
      write(damage.getBytes());
      clock.addAndGet(TimeUnit.SECONDS.toNanos(2));
      file.poll();
      assertSame(good, file.current());
      assertTrue(!file.getLastError().isEmpty());
    }
    Files.delete(directory.resolve("authorization.json"));
    file.poll();
    assertSame(good, file.current());
    assertEquals(6, file.getAgeSeconds());
    assertEquals(5, file.getFailures());
    write(content(1, "Hybrid", List.of("User:a")));
    file.poll();
    assertSame(good, file.current(), "the same content is no new snapshot");
    write(content(3, "Enforce", List.of()));
    file.poll();
    assertEquals(3, file.getGeneration());
    assertEquals("Enforce", file.getMode());
    assertEquals("", file.getLastError());
    assertEquals(0, file.getAgeSeconds());
    assertEquals(2, file.getLoads());
  }

  @Test
  void bounded() throws Exception {
    List<String> most =
        IntStream.range(0, Authorization.MAX_PRINCIPALS)
            .mapToObj(i -> String.format("User:%06d", i))
            .toList();
    byte[] text = content(1, "Hybrid", most);
    assertTrue(Authorization.parse(text).isEnforced("User:099999"));
    List<String> tooMany =
        IntStream.rangeClosed(0, Authorization.MAX_PRINCIPALS)
            .mapToObj(i -> String.format("User:%06d", i))
            .toList();
    FormatException e =
        assertThrows(
            FormatException.class, () -> Authorization.parse(content(1, "Hybrid", tooMany)));
    assertEquals(Code.BOUNDS, e.code());
    String padded = new String(content(1, "Audit", List.of()), StandardCharsets.UTF_8);
    byte[] largest = (padded + " ".repeat(Authorization.MAX_FILE - padded.length())).getBytes();
    assertEquals(1, Authorization.parse(largest).generation());
    byte[] tooLarge = (new String(largest) + " ").getBytes();
    e = assertThrows(FormatException.class, () -> Authorization.parse(tooLarge));
    assertEquals(Code.BOUNDS, e.code());
  }

  @Test
  void notUtf8() {
    byte[] text = content(1, "Hybrid", List.of("User:a?"));
    for (int i = 0; i < text.length; i++) {
      if (text[i] == '?') {
        text[i] = (byte) 0xe9;
      }
    }
    FormatException e = assertThrows(FormatException.class, () -> Authorization.parse(text));
    assertEquals(Code.SYNTAX, e.code());
  }

  @Test
  void sharedAndOverJmx() throws Exception {
    Path path = write(content(9, "Hybrid", List.of("User:a", "User:b")));
    ObjectName name = PolledFiles.objectName(AuthorizationFile.Set.KIND, path);
    try (AuthorizationFile.Set files = new AuthorizationFile.Set(JMX, System::nanoTime)) {
      assertSame(files.open(path, 60_000), files.open(path, 60_000));
      assertEquals(9L, JMX.getAttribute(name, "Generation"));
      assertEquals("Hybrid", JMX.getAttribute(name, "Mode"));
      assertEquals(2, JMX.getAttribute(name, "Entries"));
      assertEquals(8, JMX.getMBeanInfo(name).getAttributes().length);
    }
  }
}
