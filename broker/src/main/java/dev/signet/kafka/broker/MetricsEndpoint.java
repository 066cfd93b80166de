/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.signet.kafka.broker.AuthorizerMetrics.Family;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Serves the metrics of authorizers at {@code GET /metrics}, for Prometheus, in plain HTTP. In
 * combined mode, broker and controller share one, and differ in the label {@code role}.
 */
final class MetricsEndpoint implements AutoCloseable {
  private static final int THREADS = 2;

  private static final Map<InetSocketAddress, MetricsEndpoint> SHARED = new HashMap<>();

  private final InetSocketAddress address;
  private final HttpServer server;
  private final ExecutorService threads;
  private final List<AuthorizerMetrics> sources = new CopyOnWriteArrayList<>();

  private MetricsEndpoint(InetSocketAddress address) throws IOException {
    this.address = address;
    server = HttpServer.create(address, 16);
    threads =
        Executors.newFixedThreadPool(
            THREADS,
            task -> {
              Thread thread = new Thread(task, "signet-metrics");
              thread.setDaemon(true);
              return thread;
            });
    server.setExecutor(threads);
    server.createContext("/", this::answer);
    server.start();
  }

  /** Serves one authorizer's metrics at an address, beside those that are served there. */
  static MetricsEndpoint open(InetSocketAddress address, AuthorizerMetrics source)
      throws IOException {
    synchronized (SHARED) {
      MetricsEndpoint endpoint = SHARED.get(address);
      if (endpoint == null) {
        endpoint = new MetricsEndpoint(address);
        SHARED.put(address, endpoint);
      }
      endpoint.sources.add(source);
      return endpoint;
    }
  }

  /** Where it listens. */
  InetSocketAddress boundTo() {
    return server.getAddress();
  }

  /** Ends serving one authorizer's metrics, and the endpoint with the last. */
  void close(AuthorizerMetrics source) {
    synchronized (SHARED) {
      sources.remove(source);
      if (sources.isEmpty()) {
        SHARED.remove(address);
        close();
      }
    }
  }

  @Override
  public void close() {
    server.stop(0);
    threads.shutdownNow();
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      boolean isGet = exchange.getRequestMethod().equals("GET");
      if (!isGet || !exchange.getRequestURI().getPath().equals("/metrics")) {
        exchange.sendResponseHeaders(isGet ? 404 : 405, -1);
        return;
      }
      exchange.getResponseHeaders().set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
      exchange.sendResponseHeaders(200, 0);
      try (Writer out =
          new BufferedWriter(
              new OutputStreamWriter(exchange.getResponseBody(), StandardCharsets.UTF_8))) {
        write(out);
      }
    }
  }

  /** Writes each metric once, with the samples of all sources below it. */
  private void write(Writer out) throws IOException {
    Map<String, Family> all = new LinkedHashMap<>();
    for (AuthorizerMetrics source : sources) {
      source
          .families()
          .forEach(
              (name, family) ->
                  all.computeIfAbsent(name, n -> new Family(family.header(), new ArrayList<>()))
                      .samples()
                      .addAll(family.samples()));
    }
    for (Family family : all.values()) {
      out.append(family.header()).append('\n');
      for (String sample : family.samples()) {
        out.append(sample).append('\n');
      }
    }
  }
}
