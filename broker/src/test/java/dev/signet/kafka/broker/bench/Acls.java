/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker.bench;

import dev.signet.kafka.broker.SignetAuthorizer;
import java.net.InetAddress;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.internals.PluginMetricsImpl;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;

/** Users who share nine topics, with ten ACLs each: READ on every topic, and a prefix of groups. */
final class Acls {
  static final int TOPICS = 9;

  private Acls() {}

  /** A request of a user. */
  record Request(KafkaPrincipal principal, InetAddress clientAddress, String clientId)
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
      return 1;
    }

    @Override
    public int requestVersion() {
      return 16;
    }

    @Override
    public int correlationId() {
      return 1;
    }
  }

  static Request request(int user) {
    return new Request(
        new KafkaPrincipal("User", name(user)), InetAddress.getLoopbackAddress(), "client");
  }

  private static String name(int user) {
    return "namespace-" + user % 100 + ".user-" + user;
  }

  static String topic(int topic) {
    return "shared-topic-" + topic;
  }

  static Map<Uuid, StandardAcl> of(int users) {
    Map<Uuid, StandardAcl> acls = new HashMap<>();
    for (int user = 0; user < users; user++) {
      for (int topic = 0; topic < TOPICS; topic++) {
        put(acls, ResourceType.TOPIC, topic(topic), PatternType.LITERAL, user);
      }
      put(acls, ResourceType.GROUP, name(user) + ".", PatternType.PREFIXED, user);
    }
    return acls;
  }

  private static void put(
      Map<Uuid, StandardAcl> acls, ResourceType type, String name, PatternType pattern, int user) {
    acls.put(
        new Uuid(user + 1, acls.size()),
        new StandardAcl(
            type,
            name,
            pattern,
            "User:" + name(user),
            "*",
            AclOperation.READ,
            AclPermissionType.ALLOW));
  }

  static StandardAuthorizer kafka() {
    return started(new StandardAuthorizer());
  }

  /** Enforces, because there is no authorization.json; it counts as always. */
  static SignetAuthorizer signet() {
    return started(new SignetAuthorizer());
  }

  private static <A extends StandardAuthorizer> A started(A authorizer) {
    authorizer.configure(
        Map.of("node.id", "1", "signet.authorization.file", "/nonexistent/authorization.json"));
    authorizer.withPluginMetrics(new PluginMetricsImpl(new Metrics(), new LinkedHashMap<>()));
    authorizer.completeInitialLoad();
    return authorizer;
  }
}
