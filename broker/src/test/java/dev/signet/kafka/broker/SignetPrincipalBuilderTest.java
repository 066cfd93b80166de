/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.lang.reflect.Proxy;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.net.ssl.SSLSession;
import javax.security.sasl.SaslServer;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.errors.AuthenticationException;
import org.apache.kafka.common.security.auth.AuthenticationContext;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.PlaintextAuthenticationContext;
import org.apache.kafka.common.security.auth.SaslAuthenticationContext;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder;
import org.apache.kafka.common.security.kerberos.KerberosShortNamer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SignetPrincipalBuilderTest {
  @TempDir Path directory;

  private final MappingFiles files =
      new MappingFiles(ManagementFactory.getPlatformMBeanServer(), System::nanoTime);

  @AfterEach
  void close() {
    files.close();
  }

  private Path path() {
    return directory.resolve("mapping.json");
  }

  private void write(Json json) throws Exception {
    Files.write(path(), json.bytes());
  }

  private SignetPrincipalBuilder builder() {
    return builder(
        Map.of(MappingFileConfig.FILE, path().toString(), MappingFileConfig.POLL_MS, "3600000"));
  }

  private SignetPrincipalBuilder builder(Map<String, ?> configs) {
    SignetPrincipalBuilder builder = new SignetPrincipalBuilder(files);
    builder.configure(configs);
    return builder;
  }

  private MappingFile file() {
    return files.open(path(), 3600000);
  }

  private static KafkaPrincipal user(String name) {
    return new KafkaPrincipal(KafkaPrincipal.USER_TYPE, name);
  }

  @Test
  void namesThePeerOfAMutualTlsListener() throws Exception {
    write(Json.file().exact("CN=a", "shop.a").spiffe("spiffe://b", "shop.b"));
    assertEquals(
        user("shop.a"), builder().build(Tls.context(Tls.session(Certificates.of("CN=a")))));
    assertEquals(
        user("shop.b"),
        builder().build(Tls.context(Tls.session(Certificates.of("", "spiffe://b")))));
  }

  @Test
  void peerWithoutACertificateIsAnonymous() throws Exception {
    write(Json.file());
    assertSame(KafkaPrincipal.ANONYMOUS, builder().build(Tls.context(Tls.session(null))));
  }

  @Test
  void refusalNamesEverythingAndIsCounted() throws Exception {
    write(Json.file().with("generation", 12));
    SSLSession session = Tls.session(Certificates.of("CN=a\\\nb", "spiffe://x/y"));
    PrincipalRefusedException e =
        assertThrows(PrincipalRefusedException.class, () -> builder().build(Tls.context(session)));
    assertEquals(Reason.UNMAPPED, e.reason());
    for (String part :
        List.of(
            "127.0.0.1",
            "listener MTLS",
            "reason=unmapped",
            "subject=\"CN=a\\u000ab\"",
            "spiffe=\"spiffe://x/y\"",
            "generation=12",
            path().toString(),
            Reason.UNMAPPED.remedy())) {
      assertTrue(e.getMessage().contains(part), () -> part + " is not in " + e.getMessage());
    }
    assertTrue(e instanceof AuthenticationException);
    assertEquals(0, e.getStackTrace().length, "Kafka logs it for each connection");
    assertEquals(1, file().getRefusalsUnmapped());
  }

  @Test
  void everyReasonHasItsCounter() throws Exception {
    write(Json.file().exact("CN=a", "a").spiffe("spiffe://b", "b"));
    for (var certificate :
        List.of(
            Certificates.of("CN=x"),
            Certificates.of("CN=a", "spiffe://b"),
            Certificates.of("CN=a", "spiffe://a", "spiffe://b"),
            Certificates.with(
                Certificates.der("CN=a"),
                List.of(
                    new org.bouncycastle.asn1.x509.Extension(
                        org.bouncycastle.asn1.x509.Extension.subjectAlternativeName,
                        false,
                        new byte[] {0x04, 0x00}))))) {
      assertThrows(
          PrincipalRefusedException.class,
          () -> builder().build(Tls.context(Tls.session(certificate))));
    }
    MappingFile file = file();
    assertEquals(1, file.getRefusalsUnmapped());
    assertEquals(1, file.getRefusalsDisagreement());
    assertEquals(1, file.getRefusalsSeveralSpiffeIds());
    assertEquals(1, file.getRefusalsMalformedSan());
    assertEquals(0, file.getRefusalsMalformedSubject());
    assertEquals(0, file.getRefusalsNoMapping());
  }

  @Test
  void missingFileRefusesEveryCertificateButNothingElse() {
    SSLSession session = Tls.session(Certificates.of("CN=a"));
    PrincipalRefusedException e =
        assertThrows(PrincipalRefusedException.class, () -> builder().build(Tls.context(session)));
    assertEquals(Reason.NO_MAPPING, e.reason());
    assertEquals(1, file().getRefusalsNoMapping());
    assertSame(KafkaPrincipal.ANONYMOUS, builder().build(Tls.context(Tls.session(null))));
  }

  @Test
  void answersOneSessionAndMappingOnce() throws Exception {
    write(Json.file().exact("CN=a", "a1"));
    SignetPrincipalBuilder builder = builder();
    SSLSession session = Tls.session(Certificates.of("CN=a"));
    KafkaPrincipal principal = builder.build(Tls.context(session));
    assertSame(principal, builder.build(Tls.context(session)));
    SSLSession other = Tls.session(Certificates.of("CN=b"));
    assertThrows(PrincipalRefusedException.class, () -> builder.build(Tls.context(other)));
    assertSame(principal, builder.build(Tls.context(session)));
  }

  @Test
  void openConnectionIsDecidedAnewWhenTheMappingChanges() throws Exception {
    write(Json.file().exact("CN=a", "a1"));
    SignetPrincipalBuilder builder = builder();
    AuthenticationContext context = Tls.context(Tls.session(Certificates.of("CN=a")));
    assertEquals(user("a1"), builder.build(context));
    write(Json.file().with("generation", 2).exact("CN=a", "a2"));
    file().poll();
    assertEquals(user("a2"), builder.build(context));
    write(Json.file().with("generation", 3));
    file().poll();
    assertThrows(PrincipalRefusedException.class, () -> builder.build(context));
    write(Json.file().with("generation", 4).exact("CN=a", "a4"));
    file().poll();
    assertEquals(user("a4"), builder.build(context));
  }

  @Test
  void tokenFlagOfOneConnectionIsNotThatOfAnother() throws Exception {
    write(Json.file().exact("CN=a", "a"));
    KafkaPrincipal one = builder().build(Tls.context(Tls.session(Certificates.of("CN=a"))));
    one.tokenAuthenticated(true);
    KafkaPrincipal two = builder().build(Tls.context(Tls.session(Certificates.of("CN=a"))));
    assertFalse(two.tokenAuthenticated());
  }

  @Test
  void listenersMayHaveFilesOfTheirOwn() throws Exception {
    write(Json.file().exact("CN=a", "broker"));
    Path own = directory.resolve("own.json");
    Files.write(own, Json.file().exact("CN=a", "listener").bytes());
    Map<String, ?> configs =
        Map.of(
            "signet.mapping.file", path().toString(),
            "listener.name.mtls.signet.mapping.file", own.toString());
    SSLSession session = Tls.session(Certificates.of("CN=a"));
    assertEquals(user("listener"), builder(configs).build(Tls.context(session, "MTLS")));
    assertEquals(user("broker"), builder(configs).build(Tls.context(session, "INTERNAL")));
  }

  @Test
  void wrongConfigurationRefuses() {
    SignetPrincipalBuilder builder = builder(Map.of("signet.mapping.poll.ms", "1"));
    SSLSession session = Tls.session(Certificates.of("CN=a"));
    assertThrows(ConfigException.class, () -> builder.build(Tls.context(session)));
  }

  @Test
  void principalsTravelBetweenBrokers() throws Exception {
    write(Json.file().exact("CN=a", "shop.é"));
    SignetPrincipalBuilder builder = builder();
    KafkaPrincipal principal = builder.build(Tls.context(Tls.session(Certificates.of("CN=a"))));
    assertEquals(principal, builder.deserialize(builder.serialize(principal)));
    assertEquals(
        principal,
        new DefaultKafkaPrincipalBuilder(null, null).deserialize(builder.serialize(principal)));
  }

  // Listeners that are none of the plug-in's business.

  @Test
  void plaintextIsKafkasOwn() {
    SignetPrincipalBuilder builder = builder();
    var context = new PlaintextAuthenticationContext(InetAddress.getLoopbackAddress(), "PLAIN");
    assertSame(KafkaPrincipal.ANONYMOUS, builder.build(context));
  }

  private static SaslAuthenticationContext sasl(String mechanism, String authorizationId) {
    SaslServer server =
        (SaslServer)
            Proxy.newProxyInstance(
                SaslServer.class.getClassLoader(),
                new Class<?>[] {SaslServer.class},
                (proxy, method, arguments) ->
                    method.getName().equals("getMechanismName") ? mechanism : authorizationId);
    return new SaslAuthenticationContext(
        server, SecurityProtocol.SASL_SSL, InetAddress.getLoopbackAddress(), "SASL");
  }

  @Test
  void saslIsKafkasOwn() {
    // There is no mapping file: SASL peers do not depend on one.
    SignetPrincipalBuilder builder = builder();
    assertEquals(user("alice"), builder.build(sasl("SCRAM-SHA-512", "alice")));
    assertEquals(user("CN=a"), builder.build(sasl("PLAIN", "CN=a")));
    KafkaPrincipal first = builder.build(sasl("SCRAM-SHA-512", "alice"));
    first.tokenAuthenticated(true);
    assertFalse(builder.build(sasl("SCRAM-SHA-512", "alice")).tokenAuthenticated());
    assertFalse(Files.exists(path()));
  }

  @Test
  void kerberosNamesAreShortenedAsKafkaDoes() {
    List<String> rules =
        List.of("RULE:[1:$1@$0](.*@EXAMPLE.COM)s/@.*//L", "RULE:[2:$1-$2](kafka-.*)", "DEFAULT");
    SignetPrincipalBuilder builder =
        builder(Map.of("sasl.kerberos.principal.to.local.rules", rules));
    DefaultKafkaPrincipalBuilder kafka =
        new DefaultKafkaPrincipalBuilder(KerberosShortNamer.fromUnparsedRules("", rules), null);
    for (String name : List.of("Alice@EXAMPLE.COM", "kafka/host@EXAMPLE.COM")) {
      AuthenticationContext context = sasl("GSSAPI", name);
      assertEquals(kafka.build(context), builder.build(context));
      assertEquals(kafka.build(context), builder.build(context));
    }
    assertEquals(user("alice"), builder.build(sasl("GSSAPI", "Alice@EXAMPLE.COM")));
    assertEquals(user("kafka-host"), builder.build(sasl("GSSAPI", "kafka/host@EXAMPLE.COM")));
    assertNotEquals(user("alice"), builder.build(sasl("PLAIN", "Alice@EXAMPLE.COM")));
  }

  @Test
  void unknownContextsAreRefused() {
    AuthenticationContext unknown =
        (AuthenticationContext)
            Proxy.newProxyInstance(
                AuthenticationContext.class.getClassLoader(),
                new Class<?>[] {AuthenticationContext.class},
                (proxy, method, arguments) -> null);
    assertThrows(IllegalArgumentException.class, () -> builder().build(unknown));
  }

  @Test
  void requestsDuringReloadsGetOneOfTheTwoAnswers() throws Exception {
    write(Json.file().with("generation", 1).exact("CN=a", "odd").exact("CN=b", "odd"));
    MappingFile file = file();
    ExecutorService threads = Executors.newFixedThreadPool(8);
    try {
      List<Future<Integer>> results = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        String subject = i % 2 == 0 ? "CN=a" : "CN=b";
        results.add(
            threads.submit(
                () -> {
                  SignetPrincipalBuilder builder = builder();
                  AuthenticationContext context =
                      Tls.context(Tls.session(Certificates.of(subject)));
                  int requests = 0;
                  for (; requests < 20_000; requests++) {
                    String name = builder.build(context).getName();
                    assertTrue(name.equals("odd") || name.equals("even"), name);
                  }
                  return requests;
                }));
      }
      for (int generation = 2; generation <= 100; generation++) {
        String name = generation % 2 == 0 ? "even" : "odd";
        write(Json.file().with("generation", generation).exact("CN=a", name).exact("CN=b", name));
        file.poll();
      }
      for (Future<Integer> result : results) {
        assertEquals(20_000, result.get());
      }
    } finally {
      threads.shutdownNow();
    }
    assertEquals(user("even"), builder().build(Tls.context(Tls.session(Certificates.of("CN=a")))));
  }
}
