/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Hot reload. Nothing here waits: poll() is called by hand, and the clock is a number. */
class MappingFileTest {
  @TempDir Path directory;

  private final AtomicLong clock = new AtomicLong();

  private MappingFile file() {
    return new MappingFile(directory.resolve("mapping.json"), clock::get);
  }

  private void pass(long seconds) {
    clock.addAndGet(TimeUnit.SECONDS.toNanos(seconds));
  }

  private static byte[] generation(int generation) {
    return Json.file()
        .with("generation", generation)
        .exact("CN=a", "a" + generation)
        .exact("CN=b", "b" + generation)
        .bytes();
  }

  private void write(byte[] content) throws Exception {
    Files.write(directory.resolve("mapping.json"), content);
  }

  @Test
  void takesNewContentAndSaysSo() throws Exception {
    MappingFile file = file();
    write(generation(1));
    file.poll();
    Mapping first = file.current();
    assertEquals(1, file.getGeneration());
    assertEquals(2, file.getEntries());
    pass(5);
    file.poll();
    assertSame(first, file.current(), "connections need not be decided anew");
    assertEquals(5, file.getAgeSeconds());
    assertEquals(0, file.getSecondsSinceLastRead());
    assertEquals(1, file.getLoads());
    write(generation(2));
    pass(1);
    assertEquals(1, file.getSecondsSinceLastRead());
    file.poll();
    assertNotSame(first, file.current());
    assertEquals(2, file.getGeneration());
    assertEquals(0, file.getAgeSeconds());
    assertEquals(2, file.getLoads());
    assertEquals(0, file.getFailures());
    assertEquals("", file.getLastError());
  }

  @Test
  void failsClosedUntilSomethingGoodIsRead() throws Exception {
    MappingFile file = file();
    assertSame(Mapping.none(), file.current());
    file.poll();
    assertSame(Mapping.none(), file.current());
    assertEquals(-1, file.getAgeSeconds());
    assertEquals(-1, file.getSecondsSinceLastRead());
    assertEquals(0, file.getGeneration());
    assertEquals(1, file.getFailures());
    assertTrue(file.getLastError().contains("no regular file"), file.getLastError());
    write("{".getBytes());
    file.poll();
    assertSame(Mapping.none(), file.current());
    assertEquals(0, file.getSecondsSinceLastRead());
    write(generation(1));
    file.poll();
    assertEquals(1, file.getGeneration());
    assertEquals("", file.getLastError());
  }

  @ParameterizedTest
  @ValueSource(strings = {"missing", "empty", "torn", "huge", "broken", "directory", "shard"})
  void keepsTheLastGoodAndRecovers(String damage) throws Exception {
    MappingFile file = file();
    Path path = directory.resolve("mapping.json");
    write(generation(1));
    file.poll();
    Mapping good = file.current();
    byte[] next = generation(2);
    Files.delete(path);
    switch (damage) {
      case "missing" -> {}
      case "empty" -> write(new byte[0]);
      case "torn" -> write(java.util.Arrays.copyOf(next, next.length / 2));
      case "huge" -> write(new byte[100 << 20]);
      case "broken" -> write(Json.file().with("generation", 2).with("extra", 1).bytes());
      case "directory" -> Files.createDirectory(path);
      default -> write(Json.file().shard("mapping-1.json", next).bytes());
    }
    for (int polls = 1; polls <= 3; polls++) {
      pass(2);
      file.poll();
      assertSame(good, file.current());
      assertEquals(1, file.getGeneration());
      assertEquals(polls, file.getFailures());
      assertEquals(2 * polls, file.getAgeSeconds());
      assertTrue(!file.getLastError().isEmpty());
    }
    Files.deleteIfExists(path);
    write(next);
    file.poll();
    assertEquals(2, file.getGeneration());
    assertEquals("", file.getLastError());
    assertEquals(3, file.getFailures());
  }

  @Test
  void whatWasInForceComesBackWithoutANewSnapshot() throws Exception {
    MappingFile file = file();
    write(generation(1));
    file.poll();
    Mapping good = file.current();
    write("broken".getBytes());
    file.poll();
    write(generation(1));
    file.poll();
    assertSame(good, file.current());
    assertEquals("", file.getLastError());
    assertEquals(1, file.getLoads());
  }

  /**
   * A ConfigMap's volume: every file is a link into ..data, a link that is replaced when the
   * content changes.
   */
  private void swap(String version, byte[] main, byte[] shard) throws Exception {
    Path target = Files.createDirectory(directory.resolve(".." + version));
    for (String name : List.of("mapping.json", "mapping-1.json")) {
      Path file = target.resolve(name);
      Files.write(file, name.equals("mapping.json") ? main : shard);
      Files.setLastModifiedTime(file, FileTime.fromMillis(0));
      if (!Files.isSymbolicLink(directory.resolve(name))) {
        Files.createSymbolicLink(directory.resolve(name), Path.of("..data", name));
      }
    }
    Path temporary =
        Files.createSymbolicLink(directory.resolve("..data_tmp"), Path.of(".." + version));
    Files.move(temporary, directory.resolve("..data"), StandardCopyOption.ATOMIC_MOVE);
  }

  private static byte[] shard(int generation) {
    return Json.shard().exact("CN=shard", "s" + generation).bytes();
  }

  private static byte[] sharded(int generation) {
    return Json.file()
        .with("generation", generation)
        .exact("CN=a", "s" + generation)
        .shard("mapping-1.json", shard(generation))
        .bytes();
  }

  @Test
  void followsTheSymlinkSwapOfKubernetes() throws Exception {
    MappingFile file = file();
    for (int generation = 1; generation <= 3; generation++) {
      // Same length and time stamp each time: only the content tells.
      swap("v" + generation, sharded(generation), shard(generation));
      file.poll();
      assertEquals("", file.getLastError());
      assertEquals(generation, file.getGeneration());
      assertEquals("s" + generation, file.current().principalOf("CN=shard"));
    }
  }

  @Test
  void shardThatArrivesLateChangesNothingUntilItIsThere() throws Exception {
    MappingFile file = file();
    write(sharded(1));
    Files.write(directory.resolve("mapping-1.json"), shard(1));
    file.poll();
    Mapping good = file.current();
    write(sharded(2));
    file.poll();
    assertSame(good, file.current());
    assertTrue(file.getLastError().startsWith("shard"), file.getLastError());
    Files.write(directory.resolve("mapping-1.json"), shard(2));
    file.poll();
    assertEquals("s2", file.current().principalOf("CN=shard"));
    Files.write(directory.resolve("mapping-1.json"), new byte[0]);
    file.poll();
    assertEquals("s2", file.current().principalOf("CN=shard"));
    assertTrue(file.getLastError().startsWith("shard"), "a damaged shard is told: a restart fails");
  }

  @Test
  void pipeDoesNotBlock() throws Exception {
    Process process =
        new ProcessBuilder("mkfifo", directory.resolve("mapping.json").toString()).start();
    assertEquals(0, process.waitFor());
    MappingFile file = file();
    file.poll();
    assertEquals(1, file.getFailures());
  }

  @Test
  void noReaderEverSeesAMixOfTwoGenerations() throws Exception {
    MappingFile file = file();
    swap("v1", sharded(1), shard(1));
    file.poll();
    AtomicBoolean done = new AtomicBoolean();
    ExecutorService readers = Executors.newFixedThreadPool(5);
    try {
      List<Future<Long>> results = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        results.add(
            readers.submit(
                () -> {
                  long last = 0;
                  while (!done.get()) {
                    Mapping mapping = file.current();
                    String name = "s" + mapping.generation();
                    assertEquals(name, mapping.principalOf("CN=a"));
                    assertEquals(name, mapping.principalOf("CN=shard"));
                    assertTrue(mapping.generation() >= last, "a reader went back in time");
                    last = mapping.generation();
                  }
                  return last;
                }));
      }
      Future<?> poller =
          readers.submit(
              () -> {
                while (!done.get()) {
                  file.poll();
                }
              });
      for (int generation = 2; generation <= 60; generation++) {
        swap("v" + generation, sharded(generation), shard(generation));
      }
      done.set(true);
      poller.get();
      for (Future<Long> result : results) {
        result.get();
      }
      file.poll();
      assertEquals(60, file.getGeneration());
    } finally {
      done.set(true);
      readers.shutdownNow();
    }
  }
}
