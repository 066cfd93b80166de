/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;
import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.internals.BrokerSecurityConfigs;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.network.ChannelBuilder;
import org.apache.kafka.common.network.ChannelBuilders;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.network.Selector;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.utils.LogContext;
import org.apache.kafka.common.utils.Time;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The plug-in behind Kafka's own network code: what a broker hands to it, from the configuration
 * with a listener's prefix to the TLS session of a real handshake.
 */
class KafkaListenerTest {
  private static final ListenerName LISTENER = new ListenerName("MTLS");

  @TempDir Path directory;

  private ChannelBuilder listener(Path mapping) {
    String prefix = LISTENER.configPrefix();
    Map<String, String> configs = new HashMap<>();
    configs.put(prefix + "principal.builder.class", SignetPrincipalBuilder.class.getName());
    configs.put(prefix + "signet.mapping.file", mapping.toString());
    configs.put(prefix + "signet.mapping.poll.ms", "3600000");
    configs.put(prefix + "ssl.client.auth", "requested");
    configs.put(prefix + "ssl.keystore.type", "PEM");
    configs.put(
        prefix + "ssl.keystore.certificate.chain",
        pem(
            "CERTIFICATE",
            Certificates.encoded(Certificates.der("CN=broker"), java.util.List.of())));
    configs.put(prefix + "ssl.keystore.key", pem("PRIVATE KEY", Certificates.key().getEncoded()));
    configs.put(prefix + "ssl.truststore.type", "PEM");
    configs.put(prefix + "ssl.truststore.certificates", pem("CERTIFICATE", authority()));
    AbstractConfig config =
        new AbstractConfig(new ConfigDef(BrokerSecurityConfigs.CONFIG_DEF), configs, false);
    return ChannelBuilders.serverChannelBuilder(
        LISTENER,
        false,
        SecurityProtocol.SSL,
        config,
        null,
        null,
        Time.SYSTEM,
        new LogContext(),
        version -> null);
  }

  private static byte[] authority() {
    try {
      return Certificates.authority().getEncoded();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  private static String pem(String type, byte[] content) {
    return "-----BEGIN "
        + type
        + "-----\n"
        + Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(content)
        + "\n-----END "
        + type
        + "-----\n";
  }

  /** The principal that a listener gives to a client with this certificate, or with none. */
  private String principal(Path mapping, X509Certificate client) throws Exception {
    try (ServerSocketChannel server = ServerSocketChannel.open();
        Selector selector =
            new Selector(
                60_000, new Metrics(), Time.SYSTEM, "test", listener(mapping), new LogContext())) {
      server.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
      CompletableFuture<Boolean> done = new CompletableFuture<>();
      Future<Void> handshake = handshake(server, client, done);
      try (SocketChannel connection = server.accept()) {
        connection.configureBlocking(false);
        selector.register("client", connection);
        while (!selector.isChannelReady("client")) {
          selector.poll(100);
          if (!selector.disconnected().isEmpty()) {
            throw new AssertionError("the handshake failed: " + selector.disconnected());
          }
        }
        String principal = selector.channel("client").principal().toString();
        done.complete(true);
        handshake.get();
        return principal;
      } finally {
        done.complete(true);
      }
    }
  }

  private static Future<Void> handshake(
      ServerSocketChannel server, X509Certificate client, CompletableFuture<Boolean> done)
      throws Exception {
    InetSocketAddress address = (InetSocketAddress) server.getLocalAddress();
    SSLContext tls = clientContext(client);
    return CompletableFuture.runAsync(
        () -> {
          try (Socket plain = new Socket(address.getAddress(), address.getPort());
              SSLSocket socket =
                  (SSLSocket)
                      tls.getSocketFactory()
                          .createSocket(plain, address.getHostString(), plain.getPort(), true)) {
            socket.startHandshake();
            done.get();
          } catch (Exception e) {
            throw new IllegalStateException(e);
          }
        });
  }

  private static SSLContext clientContext(X509Certificate client) throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    store.setCertificateEntry("ca", Certificates.authority());
    KeyStore keys = KeyStore.getInstance("PKCS12");
    keys.load(null, null);
    if (client != null) {
      keys.setKeyEntry("client", Certificates.key(), "x".toCharArray(), new Certificate[] {client});
    }
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(store);
    KeyManagerFactory key = KeyManagerFactory.getInstance("PKIX");
    key.init(keys, "x".toCharArray());
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(key.getKeyManagers(), trust.getTrustManagers(), null);
    return context;
  }

  @Test
  void worksOnAListenerOfKafka() throws Exception {
    Path mapping = directory.resolve("mapping.json");
    Files.write(
        mapping,
        Json.file()
            .exact("CN=orders,OU=shop,O=signet", "shop.orders")
            .spiffe("spiffe://kafka.signet.dev/user/shop/orders", "shop.orders")
            .bytes());
    assertEquals(
        "User:shop.orders", principal(mapping, Certificates.of("CN=orders,OU=shop,O=signet")));
    assertEquals(
        "User:shop.orders",
        principal(mapping, Certificates.of("CN=x", "spiffe://kafka.signet.dev/user/shop/orders")));
    assertEquals("User:ANONYMOUS", principal(mapping, null));
    PrincipalRefusedException e =
        assertThrows(
            PrincipalRefusedException.class,
            () -> principal(mapping, Certificates.of("CN=stranger")));
    assertEquals(Reason.UNMAPPED, e.reason());
    MappingFile file =
        assertInstanceOf(MappingFile.class, MappingFiles.shared().open(mapping, 3600000));
    assertEquals(1, file.getRefusalsUnmapped(), "one file for all connections");
    assertEquals(
        1L,
        ManagementFactory.getPlatformMBeanServer()
            .getAttribute(MappingFiles.objectName(mapping), "Generation"));
  }
}
