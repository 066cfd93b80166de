/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.lang.reflect.Proxy;
import java.net.InetAddress;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;
import org.apache.kafka.common.security.auth.SslAuthenticationContext;

/** TLS sessions that took no handshake. */
final class Tls {
  private Tls() {}

  /** A session of a peer with this certificate, or with none. */
  static SSLSession session(X509Certificate certificate) {
    return (SSLSession)
        Proxy.newProxyInstance(
            Tls.class.getClassLoader(),
            new Class<?>[] {SSLSession.class},
            (proxy, method, arguments) -> {
              switch (method.getName()) {
                case "getPeerCertificates":
                  if (certificate == null) {
                    throw new SSLPeerUnverifiedException("no certificate");
                  }
                  return new Certificate[] {certificate};
                case "getPeerPrincipal":
                  if (certificate == null) {
                    throw new SSLPeerUnverifiedException("no certificate");
                  }
                  return certificate.getSubjectX500Principal();
                default:
                  throw new UnsupportedOperationException(method.getName());
              }
            });
  }

  static SslAuthenticationContext context(SSLSession session) {
    return context(session, "MTLS");
  }

  static SslAuthenticationContext context(SSLSession session, String listener) {
    return new SslAuthenticationContext(session, InetAddress.getLoopbackAddress(), listener);
  }
}
