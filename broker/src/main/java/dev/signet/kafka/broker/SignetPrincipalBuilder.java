/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.io.Closeable;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.util.List;
import java.util.Map;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;
import javax.security.auth.kerberos.KerberosPrincipal;
import org.apache.kafka.common.Configurable;
import org.apache.kafka.common.config.SaslConfigs;
import org.apache.kafka.common.config.internals.BrokerSecurityConfigs;
import org.apache.kafka.common.security.auth.AuthenticationContext;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SaslAuthenticationContext;
import org.apache.kafka.common.security.auth.SslAuthenticationContext;
import org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder;
import org.apache.kafka.common.security.kerberos.KerberosShortNamer;

/**
 * Gives the peers of mutual TLS listeners the principals that mapping.json has for them, in place
 * of {@code ssl.principal.mapping.rules}, and refuses the others.
 *
 * <pre>{@code
 * principal.builder.class=dev.signet.kafka.broker.SignetPrincipalBuilder
 * signet.mapping.file=/etc/kafka-signet/mapping.json
 * signet.mapping.poll.ms=2000
 * }</pre>
 *
 * All three keys may have the prefix {@code listener.name.<listener>.}. The jar goes into {@code
 * libs/}; it needs only what Kafka 4.3 ships.
 *
 * <p>A peer without a certificate is {@code User:ANONYMOUS}, and plaintext and SASL listeners
 * (Kerberos short names included) are Kafka's own business, as with Kafka's default builder.
 * Principals are sent between brokers and controllers in Kafka's own form.
 *
 * <p>Kafka makes an instance for each connection and asks it on every request, so the answer is
 * kept together with the TLS session and the mapping that gave it: while both are the same objects,
 * a request costs two comparisons of references. A changed mapping file is in force for the next
 * request of every connection.
 *
 * <p>Metrics are an MBean, {@link PrincipalMappingMXBean}, for each file, from the first connection
 * on. Kafka 4.3.1 hands plug-in metrics (KIP-877, {@code Monitorable}) to many plug-ins but not to
 * a principal builder, which {@code ChannelBuilders.createPrincipalBuilder} makes with a bare
 * {@code Utils.newInstance}.
 */
public final class SignetPrincipalBuilder extends DefaultKafkaPrincipalBuilder
    implements Configurable, Closeable {
  private final MappingFiles files;
  private Map<String, ?> configs = Map.of();

  /** The file of this connection's listener; null until a peer on a TLS listener asks. */
  private volatile MappingFile file;

  /** The last answer; null until there is one. */
  private volatile Answer answer;

  /** Kafka's own builder with Kerberos rules; null until a Kerberos peer asks. */
  private volatile DefaultKafkaPrincipalBuilder kerberos;

  /** A principal, and the TLS session and mapping for which it holds. */
  private record Answer(SSLSession session, Mapping mapping, KafkaPrincipal principal) {}

  /** For Kafka, which calls it once for each connection. */
  public SignetPrincipalBuilder() {
    this(MappingFiles.shared());
  }

  SignetPrincipalBuilder(MappingFiles files) {
    super(null, null);
    this.files = files;
  }

  /**
   * Keeps the broker's configuration. The mapping file is opened by the first peer that is decided
   * by it.
   */
  @Override
  public void configure(Map<String, ?> configs) {
    this.configs = configs;
  }

  /**
   * Returns who a peer is.
   *
   * @throws PrincipalRefusedException if it is nobody; Kafka then closes its connection
   * @throws org.apache.kafka.common.config.ConfigException if the keys of this plug-in are wrong
   */
  @Override
  public KafkaPrincipal build(AuthenticationContext context) {
    if (context instanceof SslAuthenticationContext ssl) {
      return build(ssl);
    }
    if (context instanceof SaslAuthenticationContext sasl
        && SaslConfigs.GSSAPI_MECHANISM.equals(sasl.server().getMechanismName())) {
      return kerberos().build(context);
    }
    return super.build(context);
  }

  private KafkaPrincipal build(SslAuthenticationContext context) {
    MappingFile from = file;
    if (from == null) {
      MappingFileConfig config = MappingFileConfig.of(configs, context.listenerName());
      from = files.open(config.file(), config.pollMs());
      file = from;
    }
    SSLSession session = context.session();
    Mapping mapping = from.current();
    Answer last = answer;
    if (last != null && last.session == session && last.mapping == mapping) {
      return last.principal;
    }
    KafkaPrincipal principal = decide(context, session, from, mapping);
    answer = new Answer(session, mapping, principal);
    return principal;
  }

  private static KafkaPrincipal decide(
      SslAuthenticationContext context, SSLSession session, MappingFile file, Mapping mapping) {
    Certificate certificate;
    try {
      certificate = session.getPeerCertificates()[0];
    } catch (SSLPeerUnverifiedException e) {
      return KafkaPrincipal.ANONYMOUS;
    }
    if (!(certificate instanceof X509Certificate x509)) {
      throw refuse(context, file, mapping, Reason.MALFORMED_SUBJECT, "", List.of());
    }
    Peer peer;
    try {
      peer = Peer.of(x509);
    } catch (Peer.MalformedException e) {
      String subject = x509.getSubjectX500Principal().getName();
      throw refuse(context, file, mapping, e.reason(), subject, List.of());
    }
    Decision decision = mapping.decide(peer, file::countExhausted);
    if (decision instanceof Decision.Mapped mapped) {
      return new KafkaPrincipal(KafkaPrincipal.USER_TYPE, mapped.name());
    }
    Reason reason = ((Decision.Refused) decision).reason();
    throw refuse(context, file, mapping, reason, peer.subject(), peer.spiffeIds());
  }

  private static PrincipalRefusedException refuse(
      SslAuthenticationContext context,
      MappingFile file,
      Mapping mapping,
      Reason reason,
      String subject,
      List<String> spiffeIds) {
    String printable = Printable.quote(subject);
    String message =
        "refused mutual TLS peer "
            + context.clientAddress()
            + " on listener "
            + context.listenerName()
            + ": reason="
            + reason.code()
            + " subject="
            + printable
            + " spiffe="
            + Printable.quote(String.join(" ", spiffeIds))
            + " generation="
            + mapping.generation()
            + " file="
            + file.path()
            + ": "
            + reason.remedy();
    file.refusals().record(reason, printable, message);
    return new PrincipalRefusedException(reason, message);
  }

  /**
   * As {@code SaslChannelBuilder} makes it for Kafka's default builder, which alone is handed the
   * rules.
   */
  private DefaultKafkaPrincipalBuilder kerberos() {
    DefaultKafkaPrincipalBuilder builder = kerberos;
    if (builder == null) {
      @SuppressWarnings("unchecked")
      List<String> rules =
          (List<String>)
              configs.get(BrokerSecurityConfigs.SASL_KERBEROS_PRINCIPAL_TO_LOCAL_RULES_CONFIG);
      builder =
          new DefaultKafkaPrincipalBuilder(
              KerberosShortNamer.fromUnparsedRules(defaultRealm(), rules), null);
      kerberos = builder;
    }
    return builder;
  }

  private static String defaultRealm() {
    try {
      return new KerberosPrincipal("tmp", 1).getRealm();
    } catch (IllegalArgumentException e) {
      return ""; // There is no default realm, as in Kafka.
    }
  }

  /**
   * Lets go of what this connection was told; the mapping file stays open, see {@link
   * MappingFiles}.
   */
  @Override
  public void close() {
    answer = null;
    file = null;
  }
}
