/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The index against Kafka's own StandardAuthorizer, decision by decision, on random ACLs. {@code
 * -Dsignet.seed=…} repeats a run.
 */
class AuthorizerDifferentialTest {
  private static final int DECISIONS = 1_000_000;

  private static final AclOperation[] ASKED = AclOperation.values();
  private static final List<AclOperation> GRANTED =
      List.of(ASKED).subList(AclOperation.ALL.ordinal(), ASKED.length);
  private static final List<ResourceType> TYPES =
      List.of(ResourceType.values())
          .subList(ResourceType.TOPIC.ordinal(), ResourceType.values().length);
  private static final List<String> PRINCIPALS =
      List.of("User:a", "User:b", "User:*", "Group:a", "User:a:b", "User:", "Group:*");
  private static final List<String> HOSTS =
      List.of("*", "*", "*", "10.0.0.1", "10.0.0.2", "0:0:0:0:0:0:0:1");
  private static final List<KafkaPrincipal> CALLERS =
      List.of(
          new KafkaPrincipal("User", "a"),
          new KafkaPrincipal("User", "b"),
          new KafkaPrincipal("User", "c"),
          new KafkaPrincipal("Group", "a"),
          new KafkaPrincipal("Group", "*"),
          new KafkaPrincipal("User", "a:b"),
          // Reads like the one before, and is another.
          new KafkaPrincipal("User:a", "b"),
          new KafkaPrincipal("User", ""),
          new KafkaPrincipal("User", "super"),
          new Extended("User", "a"));

  /** What a principal builder may return. */
  private static final class Extended extends KafkaPrincipal {
    private Extended(String type, String name) {
      super(type, name);
    }
  }

  @TempDir Path directory;

  private Random random;
  private final Map<Uuid, StandardAcl> acls = new HashMap<>();
  private StandardAuthorizer kafka;
  private SignetAuthorizer signet;
  private int decisions;
  private int allowed;
  private int lines;

  private <T> T any(List<T> of) {
    return of.get(random.nextInt(of.size()));
  }

  /** Names of characters from * on: before that, Kafka's own scan does not end. */
  private String name() {
    if (random.nextInt(12) == 0) {
      return any(
          List.of("*", "hardcode", "hard", "kafka-cluster", "**", "*a", "\ud83d\ude00", "é"));
    }
    StringBuilder name = new StringBuilder();
    for (int i = random.nextInt(4); i >= 0; i--) {
      name.append("ab-*".charAt(random.nextInt(random.nextInt(6) == 0 ? 4 : 3)));
    }
    return name.toString();
  }

  private StandardAcl acl() {
    return new StandardAcl(
        random.nextInt(3) > 0 ? ResourceType.TOPIC : any(TYPES),
        name(),
        random.nextBoolean() ? PatternType.LITERAL : PatternType.PREFIXED,
        any(PRINCIPALS),
        any(HOSTS),
        random.nextInt(4) == 0 ? AclOperation.ALL : any(GRANTED),
        random.nextInt(3) == 0 ? AclPermissionType.DENY : AclPermissionType.ALLOW);
  }

  private AuthorizableRequestContext context() {
    return new Authorizers.Context(
        any(CALLERS),
        Authorizers.host(any(List.of("10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"))),
        "c");
  }

  private void change() {
    if (random.nextInt(40) == 0) {
      kafka.loadSnapshot(Map.copyOf(acls));
      signet.loadSnapshot(Map.copyOf(acls));
      return;
    }
    if (!acls.isEmpty() && random.nextInt(60) < acls.size()) {
      Uuid id = any(List.copyOf(acls.keySet()));
      acls.remove(id);
      kafka.removeAcl(id);
      signet.removeAcl(id);
      return;
    }
    StandardAcl acl = acl();
    // KRaft stores no ACL twice.
    if (!acls.containsValue(acl)) {
      Uuid id = new Uuid(random.nextLong(), random.nextLong());
      acls.put(id, acl);
      kafka.addAcl(id, acl);
      signet.addAcl(id, acl);
    }
  }

  private void decide() throws Exception {
    AuthorizableRequestContext context = context();
    List<Action> actions = new ArrayList<>();
    for (int i = random.nextInt(4); i >= 0; i--) {
      actions.add(
          new Action(
              ASKED[random.nextInt(ASKED.length)],
              new ResourcePattern(
                  random.nextInt(4) > 0 ? ResourceType.TOPIC : any(TYPES),
                  random.nextInt(100) == 0 ? "" : name(),
                  PatternType.LITERAL),
              1 + random.nextInt(3),
              // A million lines of log would tell nothing.
              false,
              false));
    }
    List<AuthorizationResult> want = kafka.authorize(context, actions);
    assertEquals(want, signet.authorize(context, actions), () -> context + " " + actions);
    decisions += actions.size();
    allowed += (int) want.stream().filter(AuthorizationResult.ALLOWED::equals).count();
    if (random.nextInt(30) == 0) {
      assertEquals(kafkaLine(context, actions.get(0)), signet.logLine(context, actions.get(0)));
      lines++;
    }
  }

  private void decideByType() {
    AuthorizableRequestContext context = context();
    AclOperation operation = any(GRANTED);
    ResourceType type = random.nextBoolean() ? ResourceType.TOPIC : any(TYPES);
    AuthorizationResult want = kafka.authorizeByResourceType(context, operation, type);
    assertEquals(
        want,
        signet.authorizeByResourceType(context, operation, type),
        () -> context + " " + operation + " " + type);
    decisions++;
    allowed += want == AuthorizationResult.ALLOWED ? 1 : 0;
  }

  /** What Kafka would log; its method is private, as is the rule that it names. */
  private String kafkaLine(AuthorizableRequestContext context, Action action) throws Exception {
    Field field = StandardAuthorizer.class.getDeclaredField("data");
    field.setAccessible(true);
    Object data = field.get(kafka);
    KafkaPrincipal base =
        new KafkaPrincipal(context.principal().getPrincipalType(), context.principal().getName());
    Object rule;
    if (base.toString().equals(Authorizers.SUPER_USER)) {
      Field instance =
          Class.forName(data.getClass().getName() + "$SuperUserRule").getDeclaredField("INSTANCE");
      instance.setAccessible(true);
      rule = instance.get(null);
    } else {
      Method find =
          data.getClass().getDeclaredMethod("findAclRule", Set.class, String.class, Action.class);
      find.setAccessible(true);
      rule =
          find.invoke(
              data,
              Set.of(base, new KafkaPrincipal("User", "*")),
              context.clientAddress().getHostAddress(),
              action);
    }
    for (Method method : data.getClass().getDeclaredMethods()) {
      if (method.getName().equals("buildAuditMessage")) {
        method.setAccessible(true);
        return (String) method.invoke(data, base, context, action, rule);
      }
    }
    throw new AssertionError("this Kafka builds no audit message");
  }

  @Test
  void answersAsKafkaDoes() throws Exception {
    long seed = Long.getLong("signet.seed", System.nanoTime());
    System.out.println("AuthorizerDifferentialTest: -Dsignet.seed=" + seed);
    random = new Random(seed);
    try (AuthorizationFile.Set files =
        new AuthorizationFile.Set(
            java.lang.management.ManagementFactory.getPlatformMBeanServer(), System::nanoTime)) {
      while (decisions < DECISIONS) {
        Map<String, Object> configs = Authorizers.configs(directory, "Enforce");
        configs.put("allow.everyone.if.no.acl.found", " " + random.nextBoolean() + " ");
        acls.clear();
        kafka = Authorizers.start(new StandardAuthorizer(), configs);
        signet = Authorizers.start(new SignetAuthorizer(files), configs);
        try {
          for (int step = 0; step < 400; step++) {
            change();
            for (int i = 0; i < 15; i++) {
              decide();
              decideByType();
            }
          }
          assertEquals(kafka.aclCount(), signet.aclCount());
        } catch (AssertionError e) {
          throw new AssertionError("-Dsignet.seed=" + seed + ", with " + acls.values(), e);
        } finally {
          signet.close();
        }
      }
    }
    System.out.println(
        decisions + " decisions, " + allowed + " allowed, " + lines + " log lines, 0 differences");
    assertTrue(allowed > DECISIONS / 5 && allowed < DECISIONS * 4 / 5, allowed + " allowed");
    assertTrue(lines > 1000, lines + " lines");
  }
}
