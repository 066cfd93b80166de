/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.metrics.MetricValueProvider;
import org.apache.kafka.common.metrics.PluginMetrics;
import org.apache.kafka.common.metrics.Sensor;

/**
 * Hands Kafka's plug-in metrics on to {@code StandardAuthorizer}, and keeps the sensors that it
 * makes: what Signet's index decides is recorded in Kafka's own metrics ({@code
 * authorization-allowed-rate-per-minute} and so on) as if Kafka had decided.
 */
final class SensorCapture implements PluginMetrics {
  private final PluginMetrics metrics;
  private final Map<String, Sensor> sensors = new HashMap<>();

  SensorCapture(PluginMetrics metrics) {
    this.metrics = metrics;
  }

  /** The sensor of a name, or null if this Kafka has none. */
  Sensor sensor(String name) {
    return sensors.get(name);
  }

  @Override
  public Sensor addSensor(String name) {
    Sensor sensor = metrics.addSensor(name);
    sensors.put(name, sensor);
    return sensor;
  }

  @Override
  public MetricName metricName(
      String name, String description, LinkedHashMap<String, String> tags) {
    return metrics.metricName(name, description, tags);
  }

  @Override
  public void addMetric(MetricName name, MetricValueProvider<?> provider) {
    metrics.addMetric(name, provider);
  }

  @Override
  public void removeMetric(MetricName name) {
    metrics.removeMetric(name);
  }

  @Override
  public void removeSensor(String name) {
    sensors.remove(name);
    metrics.removeSensor(name);
  }
}
