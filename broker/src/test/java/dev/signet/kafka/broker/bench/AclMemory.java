/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;

/**
 * What an authorizer keeps for 200,000 ACLs, beside the ACLs themselves, which Kafka's metadata
 * holds anyway: writes the octets of StandardAuthorizer and of SignetAuthorizer, which extends it,
 * to {@code target/memory.json}.
 */
public final class AclMemory {
  private static final int USERS = 20_000;

  private AclMemory() {}

  /** Measures; arguments are ignored. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    Map<Uuid, StandardAcl> acls = Acls.of(USERS);
    // Once for what is made once and stays, such as classes.
    measure(Acls::signet, Acls.of(10));
    measure(Acls::kafka, Acls.of(10));
    long kafka = measure(Acls::kafka, acls);
    long signet = measure(Acls::signet, acls);
    Files.writeString(
        Path.of("target", "memory.json"), "{\"kafka\":" + kafka + ",\"signet\":" + signet + "}\n");
  }

  private static long measure(
      Supplier<? extends StandardAuthorizer> factory, Map<Uuid, StandardAcl> acls)
      throws InterruptedException {
    StandardAuthorizer authorizer = factory.get();
    long before = used();
    authorizer.loadSnapshot(acls);
    long after = used();
    if (authorizer.aclCount() != acls.size()) {
      throw new IllegalStateException("not all ACLs were loaded");
    }
    return after - before;
  }

  private static long used() throws InterruptedException {
    for (int i = 0; i < 3; i++) {
      System.gc();
      Thread.sleep(50);
    }
    return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
  }
}
