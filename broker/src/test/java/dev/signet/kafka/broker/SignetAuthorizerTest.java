/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static dev.signet.kafka.broker.Authorizers.action;
import static dev.signet.kafka.broker.Authorizers.allow;
import static dev.signet.kafka.broker.Authorizers.allows;
import static dev.signet.kafka.broker.Authorizers.context;
import static dev.signet.kafka.broker.Authorizers.deny;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.errors.AuthorizerNotReadyException;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.internals.PluginMetricsImpl;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the mode makes of what Kafka's rules say, by each path of deciding them. */
class SignetAuthorizerTest {
  private static final Action READ = action(ResourceType.TOPIC, "orders", AclOperation.READ);

  @TempDir Path directory;

  private final List<SignetAuthorizer> started = new ArrayList<>();
  private AuthorizationFile.Set files;

  @BeforeEach
  void open() {
    files = new AuthorizationFile.Set(ManagementFactory.getPlatformMBeanServer(), System::nanoTime);
  }

  @AfterEach
  void close() throws IOException {
    for (SignetAuthorizer authorizer : started) {
      authorizer.close();
    }
    files.close();
  }

  private SignetAuthorizer start(Map<String, Object> configs) {
    started.add(new SignetAuthorizer(files));
    return Authorizers.start(started.get(started.size() - 1), configs);
  }

  private Map<String, Object> configs(String path, String mode, String... enforced) {
    Map<String, Object> configs = Authorizers.configs(directory, mode, enforced);
    configs.put(SignetAuthorizerConfig.INDEX, path);
    return configs;
  }

  @ParameterizedTest
  @ValueSource(strings = {"index", "kafka", "shadow"})
  void modes(String path) {
    SignetAuthorizer audit = start(configs(path, "Audit"));
    assertTrue(allows(audit, context("User:a"), READ));
    SignetAuthorizer enforce = startWith(path, "Enforce");
    assertFalse(allows(enforce, context("User:a"), READ));
    assertTrue(allows(enforce, context(Authorizers.SUPER_USER), READ));
    SignetAuthorizer hybrid = startWith(path, "Hybrid", "User:a");
    assertFalse(allows(hybrid, context("User:a"), READ));
    assertTrue(allows(hybrid, context("User:b"), READ));
    Authorizers.add(
        hybrid,
        allow(ResourceType.TOPIC, "orders", PatternType.LITERAL, "User:a", AclOperation.READ),
        deny(ResourceType.TOPIC, "orders", PatternType.LITERAL, "User:b", AclOperation.READ));
    assertTrue(allows(hybrid, context("User:a"), READ));
    assertTrue(allows(hybrid, context("User:b"), READ), "a DENY is a denial like any other");
    assertEquals(
        List.of(AuthorizationResult.ALLOWED, AuthorizationResult.DENIED),
        hybrid.authorize(
            context("User:a"),
            List.of(READ, action(ResourceType.TOPIC, "orders", AclOperation.WRITE))));
    assertEquals(0, hybrid.differences());
  }

  /** Another authorizer, with a file of its own. */
  private SignetAuthorizer startWith(String path, String mode, String... enforced) {
    files.close();
    open();
    return start(configs(path, mode, enforced));
  }

  @ParameterizedTest
  @ValueSource(strings = {"index", "kafka", "shadow"})
  void byResourceType(String path) {
    SignetAuthorizer hybrid = start(configs(path, "Hybrid", "User:a"));
    assertEquals(
        AuthorizationResult.DENIED,
        hybrid.authorizeByResourceType(context("User:a"), AclOperation.WRITE, ResourceType.TOPIC));
    assertEquals(
        AuthorizationResult.ALLOWED,
        hybrid.authorizeByResourceType(context("User:b"), AclOperation.WRITE, ResourceType.TOPIC));
    assertEquals(
        AuthorizationResult.DENIED,
        hybrid.authorizeByResourceType(
            context("User:b"), AclOperation.ALTER_CONFIGS, ResourceType.TOPIC));
    assertEquals(
        AuthorizationResult.DENIED,
        hybrid.authorizeByResourceType(
            context("User:b"), AclOperation.CREATE, ResourceType.CLUSTER));
    Authorizers.add(
        hybrid, allow(ResourceType.TOPIC, "x", PatternType.PREFIXED, "User:a", AclOperation.WRITE));
    assertEquals(
        AuthorizationResult.ALLOWED,
        hybrid.authorizeByResourceType(context("User:a"), AclOperation.WRITE, ResourceType.TOPIC));
    assertThrows(
        IllegalArgumentException.class,
        () ->
            hybrid.authorizeByResourceType(
                context("User:a"), AclOperation.WRITE, ResourceType.ANY));
    assertEquals(0, hybrid.differences());
  }

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "ANY")
  void clusterAndConfigurationsAreAlwaysEnforced(ResourceType type) {
    for (String path : List.of("index", "kafka")) {
      SignetAuthorizer audit = startWith(path, "Audit");
      for (AclOperation operation : AclOperation.values()) {
        boolean isOpen =
            switch (type) {
              case TOPIC, GROUP, TRANSACTIONAL_ID ->
                  operation != AclOperation.ALTER && operation != AclOperation.ALTER_CONFIGS;
              default -> false;
            };
        Action action = action(type, "kafka-cluster", operation);
        assertEquals(isOpen, allows(audit, context("User:a"), action), action::toString);
        assertTrue(allows(audit, context(Authorizers.SUPER_USER), action));
      }
      if (type != ResourceType.UNKNOWN) {
        Authorizers.add(
            audit, allow(type, "*", PatternType.LITERAL, "User:a", AclOperation.ALTER_CONFIGS));
        assertTrue(allows(audit, context("User:a"), action(type, "x", AclOperation.ALTER_CONFIGS)));
      }
    }
  }

  @Test
  void followsTheFile() throws Exception {
    Map<String, Object> configs = configs("index", "Audit");
    SignetAuthorizer authorizer = start(configs);
    assertTrue(allows(authorizer, context("User:a"), READ));
    Path path = directory.resolve("authorization.json");
    AuthorizationFile file = files.open(path, 60_000);
    Files.write(path, AuthorizationFileTest.content(2, "Hybrid", List.of("User:a")));
    file.poll();
    assertFalse(allows(authorizer, context("User:a"), READ), "on the next request");
    Files.write(path, "broken".getBytes());
    file.poll();
    assertFalse(allows(authorizer, context("User:a"), READ));
    assertTrue(allows(authorizer, context("User:b"), READ));
    Files.write(path, AuthorizationFileTest.content(3, "Hybrid", List.of("User:b")));
    file.poll();
    assertTrue(allows(authorizer, context("User:a"), READ));
    assertFalse(allows(authorizer, context("User:b"), READ));
  }

  @Test
  void modeAtStartHoldsUntilThereIsAFile() throws Exception {
    Map<String, Object> configs = configs("index", "Hybrid", "User:a");
    Path path = directory.resolve("authorization.json");
    Files.delete(path);
    assertFalse(allows(start(configs), context("User:b"), READ), "Enforce is the default");
    configs.put(SignetAuthorizerConfig.MODE_AT_START, "Audit");
    SignetAuthorizer authorizer = start(configs);
    assertTrue(allows(authorizer, context("User:a"), READ));
    assertFalse(
        allows(
            authorizer,
            context("User:a"),
            action(ResourceType.CLUSTER, "kafka-cluster", AclOperation.ALTER)));
    Files.write(path, AuthorizationFileTest.content(1, "Hybrid", List.of("User:a")));
    files.open(path, 60_000).poll();
    assertFalse(allows(authorizer, context("User:a"), READ));
    assertTrue(allows(authorizer, context("User:b"), READ));
  }

  @Test
  void wrongSettingsAreRefused() {
    for (String key :
        List.of(
            SignetAuthorizerConfig.MODE_AT_START,
            SignetAuthorizerConfig.INDEX,
            SignetAuthorizerConfig.METRICS_ADDRESS,
            SignetAuthorizerConfig.ACCESS_ENTRIES)) {
      Map<String, Object> configs = configs("index", "Audit");
      configs.put(key, "off");
      ConfigException e = assertThrows(ConfigException.class, () -> start(configs));
      assertTrue(e.getMessage().contains(key), e.getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"index", "kafka", "shadow"})
  void untilAclsAreLoadedOnlySuperUsersAreAnswered(String path) {
    SignetAuthorizer authorizer = new SignetAuthorizer(files);
    started.add(authorizer);
    Map<String, Object> configs = configs(path, "Audit");
    configs.put("super.users", "User:super; User:other");
    authorizer.configure(configs);
    authorizer.withPluginMetrics(new PluginMetricsImpl(new Metrics(), new LinkedHashMap<>()));
    assertTrue(allows(authorizer, context("User:other"), READ));
    assertThrows(
        AuthorizerNotReadyException.class, () -> allows(authorizer, context("User:a"), READ));
    assertThrows(
        AuthorizerNotReadyException.class,
        () ->
            authorizer.authorizeByResourceType(
                context("User:a"), AclOperation.READ, ResourceType.TOPIC));
    authorizer.completeInitialLoad();
    assertTrue(allows(authorizer, context("User:a"), READ));
  }

  /** Kafka loops for ever on the first of these names, and throws on the second. */
  @Test
  void namesBeforeTheWildcardAreAnswered() {
    SignetAuthorizer authorizer = start(configs("index", "Enforce"));
    StandardAcl one =
        allow(ResourceType.GROUP, "#one", PatternType.PREFIXED, "User:a", AclOperation.READ);
    StandardAuthorizer kafka =
        Authorizers.start(new StandardAuthorizer(), configs("index", "Enforce"));
    Authorizers.add(kafka, one);
    assertThrows(
        StringIndexOutOfBoundsException.class,
        () ->
            allows(kafka, context("User:a"), action(ResourceType.GROUP, "#op", AclOperation.READ)),
        "if Kafka answers, the index need not differ any more");
    Authorizers.add(
        authorizer,
        one,
        allow(ResourceType.GROUP, "#on", PatternType.LITERAL, "User:b", AclOperation.READ),
        deny(ResourceType.GROUP, "#o", PatternType.PREFIXED, "User:c", AclOperation.READ),
        allow(ResourceType.GROUP, "*", PatternType.LITERAL, "User:c", AclOperation.READ));
    assertTimeoutPreemptively(
        Duration.ofMinutes(1),
        () -> {
          for (String name : List.of("#x", "#op")) {
            assertFalse(
                allows(
                    authorizer,
                    context("User:a"),
                    action(ResourceType.GROUP, name, AclOperation.READ)));
          }
          assertTrue(
              allows(
                  authorizer,
                  context("User:a"),
                  action(ResourceType.GROUP, "#one.more", AclOperation.READ)));
          assertTrue(
              allows(
                  authorizer,
                  context("User:c"),
                  action(ResourceType.GROUP, "#x", AclOperation.READ)));
          assertFalse(
              allows(
                  authorizer,
                  context("User:c"),
                  action(ResourceType.GROUP, "#o", AclOperation.READ)));
        });
  }

  private static String logged(String principal) throws Exception {
    return Files.readAllLines(Path.of("target", "test.log"), StandardCharsets.UTF_8).stream()
        .filter(line -> line.contains(principal + " "))
        .collect(Collectors.joining("\n"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"index", "kafka", "shadow"})
  void callsNothingDeniedThatIsLetThrough(String path) throws Exception {
    String tolerated = "User:tolerated-" + path;
    String enforced = "User:enforced-" + path;
    SignetAuthorizer authorizer = start(configs(path, "Hybrid", enforced));
    allows(authorizer, context(tolerated), READ);
    allows(authorizer, context(enforced), READ);
    Action filter =
        new Action(
            AclOperation.DESCRIBE,
            new ResourcePattern(ResourceType.TOPIC, "filtered", PatternType.LITERAL),
            1,
            true,
            false);
    allows(authorizer, context(tolerated), filter);
    allows(authorizer, context(enforced), filter);
    assertTrue(
        logged(tolerated).contains("would be Denied operation = READ from host = 10.0.0.1"),
        logged(tolerated));
    assertTrue(logged(tolerated).contains("let through in mode Hybrid"), logged(tolerated));
    assertFalse(logged(tolerated).contains("is Denied"), logged(tolerated));
    assertTrue(
        logged(enforced)
            .contains(
                "is Denied operation = READ from host = 10.0.0.1 on resource = "
                    + "Topic:LITERAL:orders for request = Produce with resourceRefCount = 1 based on"
                    + " rule DefaultDeny"),
        logged(enforced));
    assertFalse(
        (logged(tolerated) + logged(enforced)).contains("filtered"), "logIfDenied is honoured");
  }

  @ParameterizedTest
  @ValueSource(strings = {"index", "kafka", "shadow"})
  void kafkasMetricsCountWhatTheRulesSay(String path) {
    Metrics metrics = new Metrics();
    SignetAuthorizer authorizer = new SignetAuthorizer(files);
    started.add(authorizer);
    authorizer.configure(configs(path, "Audit"));
    authorizer.withPluginMetrics(
        new PluginMetricsImpl(metrics, new LinkedHashMap<>(Map.of("role", "broker"))));
    authorizer.completeInitialLoad();
    Authorizers.add(
        authorizer,
        allow(ResourceType.TOPIC, "orders", PatternType.LITERAL, "User:a", AclOperation.READ));
    for (int i = 0; i < 3; i++) {
      allows(authorizer, context("User:a"), READ);
    }
    for (int i = 0; i < 2; i++) {
      allows(authorizer, context("User:b"), READ);
    }
    double allowed = value(metrics, "authorization-allowed-rate-per-minute");
    double denied = value(metrics, "authorization-denied-rate-per-minute");
    assertEquals(1.5, allowed / denied, 0.01);
    assertEquals(1.0, value(metrics, "acls-total-count"));
    assertEquals(1.0, value(metrics, "authorization-generation"));
    assertEquals(0.0, value(metrics, "authorization-mode"));
    assertEquals(0.0, value(metrics, "index-differences-total"));
  }

  private static double value(Metrics metrics, String name) {
    return metrics.metrics().entrySet().stream()
        .filter(metric -> metric.getKey().name().equals(name))
        .mapToDouble(metric -> ((Number) metric.getValue().metricValue()).doubleValue())
        .sum();
  }

  @Test
  void differencesAreCountedAndLoggedOnceAMinute() {
    long[] now = {0};
    List<String> lines = new ArrayList<>();
    Differences differences = new Differences(() -> now[0], lines::add);
    for (int i = 0; i < 5; i++) {
      differences.add("a");
    }
    now[0] = TimeUnit.SECONDS.toNanos(Differences.INTERVAL_SECONDS);
    differences.add("b");
    assertEquals(6, differences.count());
    assertEquals(2, lines.size());
    assertTrue(lines.get(1).contains("6 times") && lines.get(1).endsWith("b"), lines.get(1));
  }
}
