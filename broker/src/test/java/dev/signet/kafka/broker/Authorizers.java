/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.internals.PluginMetricsImpl;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;

/** Authorizers as a broker makes them, and what it asks them. */
final class Authorizers {
  static final String SUPER_USER = "User:super";

  private Authorizers() {}

  /** A request. */
  record Context(KafkaPrincipal principal, InetAddress clientAddress, String clientId)
      implements AuthorizableRequestContext {
    @Override
    public String listenerName() {
      return "MTLS";
    }

    @Override
    public SecurityProtocol securityProtocol() {
      return SecurityProtocol.SSL;
    }

    @Override
    public int requestType() {
      return 0;
    }

    @Override
    public int requestVersion() {
      return 9;
    }

    @Override
    public int correlationId() {
      return 1;
    }
  }

  static Context context(String principal) {
    return context(principal, "10.0.0.1");
  }

  static Context context(String principal, String host) {
    int colon = principal.indexOf(':');
    return new Context(
        new KafkaPrincipal(principal.substring(0, colon), principal.substring(colon + 1)),
        host(host),
        "client");
  }

  /** The address of a literal. */
  static InetAddress host(String literal) {
    try {
      return InetAddress.getByName(literal);
    } catch (UnknownHostException e) {
      throw new UncheckedIOException(e);
    }
  }

  static Action action(ResourceType type, String name, AclOperation operation) {
    return new Action(
        operation, new ResourcePattern(type, name, PatternType.LITERAL), 1, true, true);
  }

  static StandardAcl allow(
      ResourceType type, String name, PatternType pattern, String principal, AclOperation what) {
    return new StandardAcl(type, name, pattern, principal, "*", what, AclPermissionType.ALLOW);
  }

  static StandardAcl deny(
      ResourceType type, String name, PatternType pattern, String principal, AclOperation what) {
    return new StandardAcl(type, name, pattern, principal, "*", what, AclPermissionType.DENY);
  }

  /** What authorize answers for one action. */
  static boolean allows(
      StandardAuthorizer authorizer, AuthorizableRequestContext context, Action action) {
    return authorizer.authorize(context, List.of(action)).get(0) == AuthorizationResult.ALLOWED;
  }

  /** Configures an authorizer as a broker does, and ends its initial load. */
  static <A extends StandardAuthorizer> A start(A authorizer, Map<String, ?> configs) {
    Map<String, Object> all = new HashMap<>(configs);
    all.putIfAbsent("node.id", "1");
    all.putIfAbsent("super.users", SUPER_USER);
    authorizer.configure(all);
    authorizer.withPluginMetrics(
        new PluginMetricsImpl(new Metrics(), new LinkedHashMap<>(Map.of("role", "broker"))));
    authorizer.completeInitialLoad();
    return authorizer;
  }

  /** Writes an authorization.json and returns the settings of an authorizer that reads it. */
  static Map<String, Object> configs(Path directory, String mode, String... enforced) {
    Path path = directory.resolve("authorization.json");
    try {
      Files.write(path, AuthorizationFileTest.content(1, mode, List.of(enforced)));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new HashMap<>(Map.of(SignetAuthorizerConfig.FILE, path.toString()));
  }

  /** Adds ACLs. */
  static void add(StandardAuthorizer authorizer, StandardAcl... acls) {
    for (StandardAcl acl : acls) {
      authorizer.addAcl(Uuid.randomUuid(), acl);
    }
  }
}
