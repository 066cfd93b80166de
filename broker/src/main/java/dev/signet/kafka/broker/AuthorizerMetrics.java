/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import dev.signet.kafka.broker.Decisions.Access;
import dev.signet.kafka.broker.Decisions.Result;
import dev.signet.kafka.broker.Decisions.Series;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.DoubleSupplier;
import org.apache.kafka.common.metrics.Gauge;
import org.apache.kafka.common.metrics.PluginMetrics;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What an authorizer counts, as metrics of Kafka (group {@code plugins}, and so over JMX) and as
 * lines for Prometheus. Both come from the same numbers; neither costs a request anything.
 *
 * <p>Decisions are labelled with the principal, the type and name of the resource, the operation,
 * whether Kafka's rules allow it, and what became of it. What finds no place in the bounded number
 * of series has the principal {@value #OVERFLOW}, which is none: it has no colon.
 */
final class AuthorizerMetrics implements AutoCloseable {
  /** The principal of the series of everything else. */
  static final String OVERFLOW = "overflow";

  private static final String DECISIONS = "decisions-total";
  private static final String DECISIONS_HELP =
      "Accesses that were decided; authorized is what Kafka's rules say, effective what became of it";
  private static final long NEW_SERIES_MS = 1000;
  private static final Logger LOG = LoggerFactory.getLogger(AuthorizerMetrics.class);

  /**
   * A number.
   *
   * @param name in Kafka's style, in lower case with dashes
   * @param isCounter whether it only grows
   */
  record Number(String name, String help, boolean isCounter, DoubleSupplier value) {}

  /**
   * The lines of one metric for Prometheus.
   *
   * @param header its HELP and TYPE
   * @param samples one line each
   */
  record Family(String header, List<String> samples) {}

  private final Decisions decisions;
  private final List<Number> numbers;

  /** The role of the node for which the authorizer works; empty until Kafka tells. */
  private volatile String role = "";

  private PluginMetrics metrics;
  private ScheduledExecutorService registrar;

  AuthorizerMetrics(Decisions decisions, List<Number> numbers) {
    this.decisions = decisions;
    this.numbers = numbers;
  }

  /** Registers all metrics, and from then on those of new series within a second. */
  void register(PluginMetrics plugin) {
    metrics = plugin;
    role = plugin.metricName(DECISIONS, "", new LinkedHashMap<>()).tags().getOrDefault("role", "");
    for (Number number : numbers) {
      metrics.addMetric(
          metrics.metricName(number.name, number.help, new LinkedHashMap<>()),
          (Gauge<Double>) (config, now) -> number.value.getAsDouble());
    }
    register(decisions.overflow());
    registrar =
        Executors.newSingleThreadScheduledExecutor(
            task -> {
              Thread thread = new Thread(task, "signet-authorizer-metrics");
              thread.setDaemon(true);
              return thread;
            });
    registrar.scheduleWithFixedDelay(
        this::registerNew, NEW_SERIES_MS, NEW_SERIES_MS, TimeUnit.MILLISECONDS);
  }

  /** Registers the series that are new. Kafka's registry has locks that no request should take. */
  synchronized void registerNew() {
    try {
      for (Series series = decisions.takeNewSeries();
          series != null;
          series = decisions.takeNewSeries()) {
        register(series);
      }
    } catch (RuntimeException e) {
      LOG.warn("some decisions have no metric: {}", e.toString());
    }
  }

  private void register(Series series) {
    metrics.addMetric(
        metrics.metricName(DECISIONS, DECISIONS_HELP, tags(series, "-")),
        (Gauge<Double>) (config, now) -> (double) series.count());
  }

  private static LinkedHashMap<String, String> tags(Series series, String separator) {
    LinkedHashMap<String, String> tags = new LinkedHashMap<>();
    Access access = series.access();
    tags.put("principal", access == null ? OVERFLOW : access.principal().toString());
    tags.put("resource" + separator + "type", access == null ? "" : access.type().name());
    tags.put("resource" + separator + "name", access == null ? "" : access.name());
    tags.put("operation", access == null ? "" : access.operation().name());
    tags.put("authorized", access == null ? "" : String.valueOf(access.result() == Result.ALLOWED));
    tags.put(
        "effective", access == null ? "" : access.result() == Result.DENIED ? "denied" : "allowed");
    return tags;
  }

  /** All metrics by name, in the text format of Prometheus, version 0.0.4. */
  Map<String, Family> families() {
    Map<String, Family> families = new LinkedHashMap<>();
    String own = "role=\"" + escape(role) + "\"";
    for (Number number : numbers) {
      String name = prometheusName(number.name);
      families.put(
          name,
          new Family(
              header(name, number.help, number.isCounter),
              List.of(name + "{" + own + "} " + format(number.value.getAsDouble()))));
    }
    String name = "signet_authorizer_decisions_total";
    List<String> samples = new ArrayList<>();
    for (Series series : decisions.series()) {
      samples.add(sample(name, own, series));
    }
    samples.add(sample(name, own, decisions.overflow()));
    families.put(name, new Family(header(name, DECISIONS_HELP, true), samples));
    return families;
  }

  private static String sample(String name, String own, Series series) {
    StringBuilder line = new StringBuilder(name).append('{').append(own);
    tags(series, "_")
        .forEach(
            (key, value) ->
                line.append(',').append(key).append("=\"").append(escape(value)).append('"'));
    return line.append("} ").append(series.count()).toString();
  }

  private static String prometheusName(String name) {
    return "signet_" + name.replace('-', '_');
  }

  private static String header(String name, String help, boolean isCounter) {
    return "# HELP " + name + " " + help + "\n# TYPE " + name + (isCounter ? " counter" : " gauge");
  }

  private static String format(double value) {
    return value == Math.rint(value) && Math.abs(value) < 1e15
        ? Long.toString((long) value)
        : Double.toString(value);
  }

  /** A label's value, of characters that clients chose. */
  private static String escape(String value) {
    return value.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
  }

  @Override
  public void close() {
    if (registrar != null) {
      registrar.shutdownNow();
    }
  }
}
