/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker.bench;

import dev.signet.kafka.broker.SignetAuthorizer;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * SignetAuthorizer, with all its counting, against Kafka's StandardAuthorizer: the same request
 * with 10 ACLs, and with 100,000 ACLs of 10,000 users who share nine topics; and how long 200,000
 * ACLs take to load.
 *
 * <pre>{@code
 * mvn -q -f broker -Pbench test-compile exec:exec -Dbench.args="Authorize -prof gc"
 * }</pre>
 */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 9, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class Authorize {
  /** 10 ACLs. */
  @State(Scope.Benchmark)
  public static class Few extends Asked {
    /** One user. */
    public Few() {
      super(1);
    }
  }

  /** 100,000 ACLs. */
  @State(Scope.Benchmark)
  public static class Many extends Asked {
    /** Ten thousand users. */
    public Many() {
      super(10_000);
    }
  }

  /** A number of users, and what one of them asks. */
  public abstract static class Asked {
    private final int users;
    final SignetAuthorizer signet = Acls.signet();
    final StandardAuthorizer kafka = Acls.kafka();
    Acls.Request request;
    List<Action> actions;

    Asked(int users) {
      this.users = users;
    }

    /** Loads the ACLs, and holds that both give the same answers. */
    @Setup
    public void setup() {
      Map<Uuid, StandardAcl> acls = Acls.of(users);
      signet.loadSnapshot(acls);
      kafka.loadSnapshot(acls);
      request = Acls.request(users / 2);
      actions =
          List.of(
              new Action(
                  AclOperation.READ,
                  new ResourcePattern(ResourceType.TOPIC, Acls.topic(4), PatternType.LITERAL),
                  1,
                  true,
                  true));
      if (signet.authorize(request, actions).get(0) != AuthorizationResult.ALLOWED
          || kafka.authorize(request, actions).get(0) != AuthorizationResult.ALLOWED
          || byType(signet) != AuthorizationResult.ALLOWED
          || byType(kafka) != AuthorizationResult.ALLOWED) {
        throw new IllegalStateException("the benchmark asks for what is denied");
      }
    }

    AuthorizationResult byType(StandardAuthorizer authorizer) {
      return authorizer.authorizeByResourceType(request, AclOperation.READ, ResourceType.TOPIC);
    }
  }

  /** 200,000 ACLs to load. */
  @State(Scope.Benchmark)
  public static class Snapshot {
    private Map<Uuid, StandardAcl> acls;
    private SignetAuthorizer signet;
    private StandardAuthorizer kafka;

    /** Makes the ACLs and authorizers that have none. */
    @Setup(Level.Trial)
    public void setup() {
      acls = Acls.of(20_000);
      signet = Acls.signet();
      kafka = Acls.kafka();
    }
  }

  @Benchmark
  public Object authorizeSignetOf10(Few few) {
    return few.signet.authorize(few.request, few.actions);
  }

  @Benchmark
  public Object authorizeKafkaOf10(Few few) {
    return few.kafka.authorize(few.request, few.actions);
  }

  @Benchmark
  public Object authorizeSignetOf100000(Many many) {
    return many.signet.authorize(many.request, many.actions);
  }

  @Benchmark
  public Object authorizeKafkaOf100000(Many many) {
    return many.kafka.authorize(many.request, many.actions);
  }

  @Benchmark
  public Object byTypeSignetOf100000(Many many) {
    return many.byType(many.signet);
  }

  @Benchmark
  public Object byTypeKafkaOf100000(Many many) {
    return many.byType(many.kafka);
  }

  @Benchmark
  @BenchmarkMode(Mode.SingleShotTime)
  @Warmup(iterations = 5)
  @Measurement(iterations = 7)
  public void loadSignet200000(Snapshot snapshot) {
    snapshot.signet.loadSnapshot(snapshot.acls);
  }

  @Benchmark
  @BenchmarkMode(Mode.SingleShotTime)
  @Warmup(iterations = 5)
  @Measurement(iterations = 7)
  public void loadKafka200000(Snapshot snapshot) {
    snapshot.kafka.loadSnapshot(snapshot.acls);
  }
}
