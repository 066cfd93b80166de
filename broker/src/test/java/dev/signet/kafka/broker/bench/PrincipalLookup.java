/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker.bench;

import dev.signet.kafka.broker.Decision;
import dev.signet.kafka.broker.Mapping;
import dev.signet.kafka.broker.Peer;
import dev.signet.kafka.broker.SignetPrincipalBuilder;
import java.io.ByteArrayInputStream;
import java.lang.reflect.Proxy;
import java.math.BigInteger;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.util.Date;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import javax.net.ssl.SSLSession;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SslAuthenticationContext;
import org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder;
import org.apache.kafka.common.security.ssl.SslPrincipalMapper;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.results.format.ResultFormatType;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.runner.options.OptionsBuilder;

/**
 * Signet's mapping against Kafka's {@code ssl.principal.mapping.rules}: 10,000 exact entries
 * against 10,000 anchored rules, and one against one.
 *
 * <ul>
 *   <li>{@code subject…}: text of a subject to name of a principal. The text is a fresh String each
 *       time, so that no cached hash helps.
 *   <li>{@code certificate…}: from an X509Certificate, as on the first request of a connection.
 *   <li>{@code request…}: {@code KafkaPrincipalBuilder.build} as on every further request of a
 *       connection.
 * </ul>
 *
 * <p>About 40 seconds; JMH's result goes to {@code target/jmh.json}:
 *
 * <pre>{@code
 * mvn -q -f broker -Pbench test-compile exec:exec
 * mvn -q -f broker -Pbench test-compile exec:exec -Dbench.args="subject -f 3"
 * }</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class PrincipalLookup {
  private static final int MANY = 10_000;

  private byte[] first;
  private byte[] last;
  private Mapping mappingOfMany;
  private Mapping mappingOfOne;
  private SslPrincipalMapper rulesOfMany;
  private SslPrincipalMapper rulesOfOne;
  private X509Certificate certificate;
  private SignetPrincipalBuilder signet;
  private DefaultKafkaPrincipalBuilder kafkaOfOne;
  private SslAuthenticationContext context;
  private SslAuthenticationContext contextOfOne;

  /** Runs the benchmarks, with the options of JMH's command line. */
  public static void main(String[] arguments) throws Exception {
    CommandLineOptions options = new CommandLineOptions(arguments);
    OptionsBuilder builder = new OptionsBuilder();
    builder.parent(options).resultFormat(ResultFormatType.JSON).result("target/jmh.json");
    if (options.getIncludes().isEmpty()) {
      builder.include(PrincipalLookup.class.getName());
    }
    new Runner(builder.build()).run();
  }

  private static String subject(int user) {
    return "CN=user-" + user + ",OU=ns,O=signet";
  }

  private static String file(int users) {
    return IntStream.range(0, users)
        .mapToObj(user -> "\"" + subject(user) + "\":\"ns.user-" + user + "\"")
        .collect(
            Collectors.joining(
                ",",
                "{\"version\":1,\"cluster\":\"a/b\",\"generation\":1,\"unmapped\":\"refuse\","
                    + "\"spiffe\":{},\"exact\":{",
                "}}"));
  }

  private static SslPrincipalMapper rules(int users) {
    return SslPrincipalMapper.fromRules(
        IntStream.range(0, users)
            .mapToObj(user -> "RULE:^" + subject(user) + "$/ns.user-" + user + "/")
            .collect(Collectors.joining(",")));
  }

  /** Makes both sides' tables, and a certificate of the last user with a SPIFFE ID. */
  @Setup
  public void setup() throws Exception {
    first = subject(0).getBytes(StandardCharsets.ISO_8859_1);
    last = subject(MANY - 1).getBytes(StandardCharsets.ISO_8859_1);
    mappingOfMany = Mapping.parse(file(MANY).getBytes(StandardCharsets.UTF_8), Map.of());
    mappingOfOne = Mapping.parse(file(1).getBytes(StandardCharsets.UTF_8), Map.of());
    rulesOfMany = rules(MANY);
    rulesOfOne = rules(1);
    certificate = certificate(subject(MANY - 1));

    Path path = Files.createTempFile("mapping", ".json");
    path.toFile().deleteOnExit();
    Files.writeString(path, file(MANY));
    signet = new SignetPrincipalBuilder();
    signet.configure(Map.of("signet.mapping.file", path.toString()));
    kafkaOfOne = new DefaultKafkaPrincipalBuilder(null, rulesOfOne);
    context = context(certificate);
    contextOfOne = context(certificate(subject(0)));
  }

  private static SslAuthenticationContext context(X509Certificate peer) {
    SSLSession session =
        (SSLSession)
            Proxy.newProxyInstance(
                PrincipalLookup.class.getClassLoader(),
                new Class<?>[] {SSLSession.class},
                (proxy, method, arguments) ->
                    method.getName().equals("getPeerPrincipal")
                        ? peer.getSubjectX500Principal()
                        : new Certificate[] {peer});
    return new SslAuthenticationContext(session, InetAddress.getLoopbackAddress(), "MTLS");
  }

  private static X509Certificate certificate(String subject) throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
    generator.initialize(256);
    KeyPair key = generator.generateKeyPair();
    JcaX509v3CertificateBuilder builder =
        new JcaX509v3CertificateBuilder(
            new X500Name("CN=CA"),
            BigInteger.ONE,
            Date.from(Instant.parse("2020-01-01T00:00:00Z")),
            Date.from(Instant.parse("2120-01-01T00:00:00Z")),
            X500Name.getInstance(new javax.security.auth.x500.X500Principal(subject).getEncoded()),
            key.getPublic());
    builder.addExtension(
        Extension.subjectAlternativeName,
        false,
        new GeneralNames(
            new GeneralName(GeneralName.uniformResourceIdentifier, "spiffe://a/user/b")));
    byte[] encoded =
        builder
            .build(new JcaContentSignerBuilder("SHA256withECDSA").build(key.getPrivate()))
            .getEncoded();
    return (X509Certificate)
        CertificateFactory.getInstance("X.509")
            .generateCertificate(new ByteArrayInputStream(encoded));
  }

  private static String fresh(byte[] subject) {
    return new String(subject, StandardCharsets.ISO_8859_1);
  }

  @Benchmark
  public String subjectSignetLastOf10000() {
    return mappingOfMany.principalOf(fresh(last));
  }

  @Benchmark
  public String subjectKafkaFirstOf10000() throws Exception {
    return rulesOfMany.getName(fresh(first));
  }

  @Benchmark
  public String subjectKafkaLastOf10000() throws Exception {
    return rulesOfMany.getName(fresh(last));
  }

  @Benchmark
  public String subjectSignetOf1() {
    return mappingOfOne.principalOf(fresh(first));
  }

  @Benchmark
  public String subjectKafkaOf1() throws Exception {
    return rulesOfOne.getName(fresh(first));
  }

  @Benchmark
  public Decision certificateSignetLastOf10000() throws Exception {
    return mappingOfMany.decide(Peer.of(certificate));
  }

  @Benchmark
  public String certificateKafkaLastOf10000() throws Exception {
    return rulesOfMany.getName(certificate.getSubjectX500Principal().getName());
  }

  @Benchmark
  public KafkaPrincipal requestSignetOf10000() {
    return signet.build(context);
  }

  @Benchmark
  public KafkaPrincipal requestKafkaOf1() {
    return kafkaOfOne.build(contextOfOne);
  }
}
