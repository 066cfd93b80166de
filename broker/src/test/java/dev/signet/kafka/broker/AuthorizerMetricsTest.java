/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static dev.signet.kafka.broker.Authorizers.action;
import static dev.signet.kafka.broker.Authorizers.allow;
import static dev.signet.kafka.broker.Authorizers.allows;
import static dev.signet.kafka.broker.Authorizers.context;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.metrics.JmxReporter;
import org.apache.kafka.common.metrics.KafkaMetricsContext;
import org.apache.kafka.common.metrics.MetricConfig;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.internals.PluginMetricsImpl;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.utils.Time;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Metrics as Kafka, JMX and Prometheus see them. */
class AuthorizerMetricsTest {
  @TempDir Path directory;

  private static int freePort() throws Exception {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }

  private static HttpResponse<String> get(int port, String path) throws Exception {
    return HttpClient.newHttpClient()
        .send(
            HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).build(),
            HttpResponse.BodyHandlers.ofString());
  }

  private SignetAuthorizer start(
      AuthorizationFile.Set files, Metrics metrics, String role, Map<String, Object> configs) {
    SignetAuthorizer authorizer = new SignetAuthorizer(files);
    configs.put("node.id", "77");
    authorizer.configure(configs);
    authorizer.withPluginMetrics(
        new PluginMetricsImpl(metrics, new LinkedHashMap<>(Map.of("role", role))));
    authorizer.completeInitialLoad();
    return authorizer;
  }

  @Test
  void everyDecisionOverJmxAndPrometheus() throws Exception {
    int port = freePort();
    JmxReporter reporter = new JmxReporter();
    reporter.contextChange(new KafkaMetricsContext("signet.test"));
    Metrics metrics = new Metrics(new MetricConfig(), List.of(reporter), Time.SYSTEM);
    try (AuthorizationFile.Set files =
        new AuthorizationFile.Set(ManagementFactory.getPlatformMBeanServer(), System::nanoTime)) {
      Map<String, Object> configs = Authorizers.configs(directory, "Hybrid", "User:strict");
      configs.put("signet.metrics.address", "127.0.0.1:" + port);
      configs.put("signet.metrics.series", "3");
      SignetAuthorizer broker = start(files, metrics, "broker", configs);
      SignetAuthorizer controller = start(files, new Metrics(), "controller", configs);
      try {
        Authorizers.add(
            broker,
            allow(ResourceType.TOPIC, "orders", PatternType.LITERAL, "User:a", AclOperation.READ));
        for (int i = 0; i < 3; i++) {
          allows(
              broker, context("User:a"), action(ResourceType.TOPIC, "orders", AclOperation.READ));
        }
        allows(
            broker,
            context("User:strict"),
            action(ResourceType.TOPIC, "orders", AclOperation.READ));
        allows(
            broker,
            context("User:odd\"\n"),
            action(ResourceType.GROUP, "back\\slash", AclOperation.READ));
        allows(broker, context("User:d"), action(ResourceType.TOPIC, "e", AclOperation.WRITE));
        allows(broker, context("User:f"), action(ResourceType.TOPIC, "g", AclOperation.WRITE));
        HttpResponse<String> response = get(port, "/metrics");
        assertEquals(200, response.statusCode());
        assertEquals(
            "text/plain; version=0.0.4; charset=utf-8",
            response.headers().firstValue("Content-Type").orElse(""));
        List<String> lines = response.body().lines().toList();
        String name = "signet_authorizer_decisions_total{role=\"broker\",principal=\"";
        for (String line :
            List.of(
                name
                    + "User:a\",resource_type=\"TOPIC\",resource_name=\"orders\",operation=\"READ\",authorized=\"true\",effective=\"allowed\"} 3",
                name
                    + "User:strict\",resource_type=\"TOPIC\",resource_name=\"orders\",operation=\"READ\",authorized=\"false\",effective=\"denied\"} 1",
                name
                    + "User:odd\\\"\\n\",resource_type=\"GROUP\",resource_name=\"back\\\\slash\",operation=\"READ\",authorized=\"false\",effective=\"allowed\"} 1",
                name
                    + "overflow\",resource_type=\"\",resource_name=\"\",operation=\"\",authorized=\"\",effective=\"\"} 2",
                "signet_authorization_generation{role=\"broker\"} 1",
                "signet_authorization_generation{role=\"controller\"} 1",
                "signet_authorization_mode{role=\"broker\"} 1",
                "signet_access_flush_age_seconds{role=\"broker\"} -1")) {
          assertTrue(lines.contains(line), line + " is not in\n" + response.body());
        }
        assertEquals(
            lines.stream().filter(line -> line.startsWith("# TYPE")).distinct().count(),
            lines.stream().filter(line -> line.startsWith("# TYPE")).count());
        assertEquals(404, get(port, "/").statusCode());

        broker.metrics().registerNew();
        assertEquals(
            3.0,
            metrics.metrics().entrySet().stream()
                .filter(metric -> metric.getKey().name().equals("decisions-total"))
                .filter(metric -> "User:a".equals(metric.getKey().tags().get("principal")))
                .mapToDouble(metric -> (Double) metric.getValue().metricValue())
                .sum());
        assertEquals(
            1,
            ManagementFactory.getPlatformMBeanServer()
                .queryNames(
                    new javax.management.ObjectName(
                        "signet.test:type=plugins,principal=\"User:a\",*"),
                    null)
                .size());
      } finally {
        controller.close();
        assertEquals(200, get(port, "/metrics").statusCode(), "the broker's are still served");
        broker.close();
        metrics.close();
      }
      assertThrows(ConnectException.class, () -> get(port, "/metrics"));
    }
  }

  @Test
  void addressThatIsTakenStopsNothing() throws Exception {
    try (AuthorizationFile.Set files =
            new AuthorizationFile.Set(
                ManagementFactory.getPlatformMBeanServer(), System::nanoTime);
        ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      Map<String, Object> configs = Authorizers.configs(directory, "Audit");
      configs.put("signet.metrics.address", "127.0.0.1:" + taken.getLocalPort());
      SignetAuthorizer authorizer = start(files, new Metrics(), "broker", configs);
      assertTrue(
          allows(
              authorizer, context("User:a"), action(ResourceType.TOPIC, "a", AclOperation.READ)));
      authorizer.close();
    }
  }
}
