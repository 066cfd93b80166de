// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/**
 * Asks the trust manager that Kafka's brokers and clients make of their truststore (DefaultSslEngineFactory: the JDK's PKIX)
 * what it says of certificate chains.
 *
 * <p>Arguments: the root's PEM file, then for each chain a name, client or server, and its PEM file. It prints a line for each:
 * name, TAB, accepted or refused, TAB, reason.
 */
class Verify {
  public static void main(String[] args) throws Exception {
    CertificateFactory factory = CertificateFactory.getInstance("X.509");
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    store.setCertificateEntry("root", read(factory, args[0])[0]);
    TrustManagerFactory managers = TrustManagerFactory.getInstance("PKIX");
    managers.init(store);
    X509TrustManager manager = null;
    for (TrustManager m : managers.getTrustManagers()) {
      if (m instanceof X509TrustManager x) {
        manager = x;
      }
    }
    for (int i = 1; i < args.length; i += 3) {
      System.out.println(args[i] + "\t" + ask(manager, args[i + 1], read(factory, args[i + 2])));
    }
  }

  private static String ask(X509TrustManager manager, String use, X509Certificate[] chain) {
    try {
      // The authentication types that the JDK itself passes with TLS 1.3.
      if (use.equals("client")) {
        manager.checkClientTrusted(chain, "EC");
      } else {
        manager.checkServerTrusted(chain, "UNKNOWN");
      }
      return "accepted\t";
    } catch (CertificateException e) {
      return "refused\t" + oneLine(e);
    } catch (RuntimeException e) {
      // What else a trust manager throws ends the handshake too. A URI without a host does that.
      return "refused\t" + oneLine(e);
    }
  }

  private static X509Certificate[] read(CertificateFactory factory, String file) throws Exception {
    try (InputStream in = Files.newInputStream(Path.of(file))) {
      return factory.generateCertificates(in).toArray(new X509Certificate[0]);
    }
  }

  private static String oneLine(Exception e) {
    return e.toString().replace('\n', ' ').replace('\t', ' ');
  }
}
