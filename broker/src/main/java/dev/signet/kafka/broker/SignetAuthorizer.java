/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import dev.signet.kafka.broker.Decisions.Result;
import dev.signet.kafka.broker.SignetAuthorizerConfig.Rules;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.errors.AuthorizerNotReadyException;
import org.apache.kafka.common.metrics.PluginMetrics;
import org.apache.kafka.common.metrics.Sensor;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.utils.SecurityUtils;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Kafka's own rules, by an index that scales, and authorization.json on top, which says for whom
 * their denials count: for nobody (audit), for some (hybrid), for everybody (enforce).
 *
 * <pre>{@code
 * authorizer.class.name=dev.signet.kafka.broker.SignetAuthorizer
 * signet.authorization.file=/etc/kafka-signet/authorization.json
 * signet.authorization.mode.at.start=Enforce
 * }</pre>
 *
 * Brokers and controllers need it alike. {@code super.users} and {@code
 * allow.everyone.if.no.acl.found} mean what they mean to Kafka.
 *
 * <p>In every mode Kafka's rules alone decide on the cluster as a whole (who may change ACLs, above
 * all), delegation tokens, SCRAM users, and changes of configurations: {@link
 * Authorization#alwaysEnforced}.
 *
 * <p>It extends {@code StandardAuthorizer}, because KRaft hands ACLs to nothing else, which is also
 * what keeps all ACLs for {@code DescribeAcls}. Kafka's metrics of it count what the rules say,
 * before the mode has a say.
 */
public final class SignetAuthorizer extends StandardAuthorizer {
  private static final Logger LOG = LoggerFactory.getLogger(SignetAuthorizer.class);

  /** The name of no resource, which {@code Authorizer.authorizeByResourceType} asks for. */
  static final String PROBE = "hardcode";

  /** Principals whose standing is remembered; each takes about 200 octets. */
  private static final int MAX_STANDINGS = 20_000;

  /**
   * What is let through is logged once in this time, in milliseconds, for each series: a client
   * that is denied stops, one that is let through goes on a thousand times a second.
   */
  private static final long TOLERATED_LINE_MS = 60_000;

  private final AuthorizationFile.Set files;
  private SignetAuthorizerConfig config;
  private Set<String> superUsers = Set.of();
  private boolean allowIfUncovered;
  private AuthorizationFile file;
  private volatile boolean loaded;

  private Sensor allowedSensor;
  private Sensor deniedSensor;
  private Sensor requestSensor;

  /** The ACLs by their IDs, for removals only. Guarded by this. */
  private Map<Uuid, StandardAcl> acls = new HashMap<>();

  private volatile AclIndex index = AclIndex.empty(false);

  /** Odd while Kafka's ACLs and the index's may differ. Written under the lock of this. */
  private volatile long aclVersion;

  private Decisions decisions;
  private AccessLog accessLog;
  private AuthorizerMetrics ownMetrics;

  /** Null where no address is configured, or it cannot be listened at. */
  private MetricsEndpoint endpoint;

  private final Differences differences = new Differences(System::nanoTime, LOG::error);

  /** What is known of the principals that came by, under the authorization in force. */
  private volatile Standings standings;

  /**
   * What a principal is.
   *
   * @param base the principal as a plain KafkaPrincipal, which ACLs are compared with
   * @param text {@code Type:name}
   * @param isEnforced whether what Kafka's rules deny is denied
   * @param isPerson whether each access is an event
   */
  private record Standing(
      KafkaPrincipal base,
      String text,
      boolean isSuperUser,
      boolean isEnforced,
      boolean isPerson) {}

  private record Standings(
      Authorization authorization, ConcurrentHashMap<KafkaPrincipal, Standing> known) {}

  /** For Kafka, which makes one for a broker, and one for a controller. */
  public SignetAuthorizer() {
    this(AuthorizationFile.Set.shared());
  }

  SignetAuthorizer(AuthorizationFile.Set files) {
    this.files = files;
  }

  @Override
  public void configure(Map<String, ?> configs) {
    super.configure(configs);
    config = SignetAuthorizerConfig.of(configs);
    superUsers = superUsers(configs.get(SUPER_USERS_CONFIG));
    Object everyone = configs.get(ALLOW_EVERYONE_IF_NO_ACL_IS_FOUND_CONFIG);
    allowIfUncovered = everyone != null && Boolean.parseBoolean(everyone.toString().trim());
    index = AclIndex.empty(allowIfUncovered);
    file = files.open(config.file(), config.pollMs());
    standings =
        new Standings(Authorization.atStart(config.modeAtStart()), new ConcurrentHashMap<>());
    decisions = new Decisions(config.maxAccesses(), config.maxSeries(), System::currentTimeMillis);
    accessLog = AccessLog.open(nodeId(configs.get("node.id")), config.accessLog(), decisions);
    ownMetrics = new AuthorizerMetrics(decisions, numbers());
    if (config.metricsAddress() != null) {
      try {
        endpoint = MetricsEndpoint.open(config.metricsAddress(), ownMetrics);
      } catch (IOException e) {
        // A broker without these metrics still decides.
        LOG.error("{}: no metrics are served: {}", config.metricsAddress(), e.toString());
      }
    }
    LOG.info(
        "mode {} until {} is read, and its own from then on; Kafka's rules by {}",
        config.modeAtStart(),
        config.file(),
        config.rules());
  }

  private static int nodeId(Object value) {
    try {
      return Integer.parseInt(String.valueOf(value).trim());
    } catch (NumberFormatException e) {
      return -1; // As StandardAuthorizer takes it.
    }
  }

  /** The principals that may do anything, as {@code StandardAuthorizer} reads them. */
  private static Set<String> superUsers(Object value) {
    Set<String> users = new HashSet<>();
    if (value != null) {
      Arrays.stream(value.toString().split(";")).map(String::trim).forEach(users::add);
      users.remove("");
    }
    return users;
  }

  @Override
  public void withPluginMetrics(PluginMetrics metrics) {
    SensorCapture sensors = new SensorCapture(metrics);
    super.withPluginMetrics(sensors);
    allowedSensor = sensors.sensor("authorizer-authorization-allowed");
    deniedSensor = sensors.sensor("authorizer-authorization-denied");
    requestSensor = sensors.sensor("authorizer-authorization-request");
    ownMetrics.register(metrics);
  }

  private List<AuthorizerMetrics.Number> numbers() {
    return List.of(
        new AuthorizerMetrics.Number(
            "authorization-generation",
            "Generation of authorization.json in force; 0 if no good one was ever read",
            false,
            file::getGeneration),
        new AuthorizerMetrics.Number(
            "authorization-age-seconds",
            "Seconds since the authorization.json in force was first read; -1 if there is none",
            false,
            file::getAgeSeconds),
        new AuthorizerMetrics.Number(
            "authorization-failures-total",
            "How often no good authorization.json was found",
            true,
            file::getFailures),
        new AuthorizerMetrics.Number(
            "authorization-mode",
            "The mode in force: 0 is Audit, 1 is Hybrid, 2 is Enforce",
            false,
            () -> authorization().mode().ordinal()),
        new AuthorizerMetrics.Number(
            "index-differences-total",
            "Answers of the index that were not Kafka's, in shadow mode",
            true,
            differences::count),
        new AuthorizerMetrics.Number(
            "no-access-total",
            "Decisions that were about no access: filters of lists, and what might be done",
            true,
            decisions::notAccess),
        new AuthorizerMetrics.Number(
            "access-dropped-total",
            "Accesses that are missing in the access log, because its table was full",
            true,
            decisions::dropped),
        new AuthorizerMetrics.Number(
            "audit-dropped-total",
            "Accesses of people that are missing in the audit topic",
            true,
            accessLog::droppedEvents),
        new AuthorizerMetrics.Number(
            "access-failures-total",
            "How often the topics of the access log could not be written or read",
            true,
            accessLog::failures),
        new AuthorizerMetrics.Number(
            "access-flush-age-seconds",
            "Seconds since the access log was last written completely; -1 if never",
            false,
            accessLog::secondsSinceFlush));
  }

  @Override
  public void close() throws IOException {
    super.close();
    if (accessLog != null) {
      accessLog.close();
      ownMetrics.close();
    }
    if (endpoint != null) {
      endpoint.close(ownMetrics);
    }
  }

  // The callbacks by which KRaft hands ACLs over, all from one thread.

  @Override
  public synchronized void loadSnapshot(Map<Uuid, StandardAcl> all) {
    aclVersion++;
    try {
      super.loadSnapshot(all);
      if (keepsIndex()) {
        acls = new HashMap<>(all);
        index = index.load(all.values());
      }
    } finally {
      aclVersion++;
    }
  }

  @Override
  public synchronized void addAcl(Uuid id, StandardAcl acl) {
    aclVersion++;
    try {
      super.addAcl(id, acl);
      if (keepsIndex()) {
        acls.put(id, acl);
        index = index.with(acl);
      }
    } finally {
      aclVersion++;
    }
  }

  @Override
  public synchronized void removeAcl(Uuid id) {
    aclVersion++;
    try {
      super.removeAcl(id);
      if (keepsIndex()) {
        index = index.without(acls.remove(id));
      }
    } finally {
      aclVersion++;
    }
  }

  private boolean keepsIndex() {
    return config == null || config.rules() != Rules.KAFKA;
  }

  @Override
  public void completeInitialLoad() {
    super.completeInitialLoad();
    loaded = true;
  }

  /** What authorization.json says, or the mode at start. */
  private Authorization authorization() {
    return standings().authorization;
  }

  private Standings standings() {
    Standings now = standings;
    Authorization current = file.current();
    if (current != null && current != now.authorization) {
      now = new Standings(current, new ConcurrentHashMap<>());
      standings = now;
    }
    return now;
  }

  private Standing standing(Standings now, KafkaPrincipal principal) {
    KafkaPrincipal base =
        principal.getClass() == KafkaPrincipal.class
            ? principal
            : new KafkaPrincipal(principal.getPrincipalType(), principal.getName());
    Standing known = now.known.get(base);
    if (known == null) {
      String text = base.toString();
      known =
          new Standing(
              base,
              text,
              superUsers.contains(text),
              now.authorization.isEnforced(text),
              now.authorization.isPerson(text));
      if (now.known.size() < MAX_STANDINGS) {
        now.known.put(base, known);
      }
    }
    return known;
  }

  @Override
  public List<AuthorizationResult> authorize(
      AuthorizableRequestContext context, List<Action> actions) {
    if (config.rules() != Rules.INDEX && isProbe(actions)) {
      return super.authorize(context, actions);
    }
    Standings now = standings();
    Standing standing = standing(now, context.principal());
    List<AuthorizationResult> results = new ArrayList<>(actions.size());
    if (config.rules() == Rules.INDEX) {
      AclIndex snapshot = index;
      for (Action action : actions) {
        boolean isAllowed = decide(snapshot, standing, context, action);
        record(isAllowed);
        boolean isEffective = isEffective(standing, isAllowed, action);
        boolean takesLine = observe(standing, context, action, isAllowed, isEffective);
        log(snapshot, now, standing, context, action, isAllowed, isEffective, takesLine);
        results.add(result(isEffective));
      }
      return results;
    }
    long version = aclVersion;
    List<AuthorizationResult> byKafka = super.authorize(context, muted(standing, actions));
    for (int i = 0; i < actions.size(); i++) {
      Action action = actions.get(i);
      boolean isAllowed = byKafka.get(i) == AuthorizationResult.ALLOWED;
      if (config.rules() == Rules.SHADOW) {
        compare(
            version,
            isAllowed,
            () -> decide(index, standing, context, action),
            () ->
                AuthorizerLog.message(
                    standing.text, context, action, verdict(isAllowed), "of Kafka"));
      }
      boolean isEffective = isEffective(standing, isAllowed, action);
      boolean takesLine = observe(standing, context, action, isAllowed, isEffective);
      if (isEffective && !isAllowed && AuthorizerLog.logsTolerated(action, takesLine)) {
        AuthorizerLog.tolerated(
            standing.text, context, action, "of Kafka", now.authorization.mode(), takesLine);
      }
      results.add(result(isEffective));
    }
    return results;
  }

  @Override
  public AuthorizationResult authorizeByResourceType(
      AuthorizableRequestContext context, AclOperation operation, ResourceType type) {
    SecurityUtils.authorizeByResourceTypeCheckArgs(operation, type);
    Standings now = standings();
    Standing standing = standing(now, context.principal());
    boolean isAllowed;
    if (config.rules() == Rules.INDEX) {
      AclIndex snapshot = index;
      Action probe =
          new Action(
              operation, new ResourcePattern(type, PROBE, PatternType.LITERAL), 0, true, false);
      isAllowed = decide(snapshot, standing, context, probe);
      record(isAllowed);
      log(snapshot, now, standing, context, probe, isAllowed, isAllowed, false);
      isAllowed =
          isAllowed || snapshot.allowsAny(standing.base, context.clientAddress(), type, operation);
    } else {
      long version = aclVersion;
      // It asks authorize() for the probe, which is answered by Kafka's rules alone.
      isAllowed =
          super.authorizeByResourceType(context, operation, type) == AuthorizationResult.ALLOWED;
      if (config.rules() == Rules.SHADOW) {
        boolean byKafka = isAllowed;
        compare(
            version,
            isAllowed,
            () -> decideByType(index, standing, context, operation, type),
            () ->
                standing.text
                    + " "
                    + verdict(byKafka)
                    + " "
                    + operation
                    + " on any "
                    + type
                    + " from host = "
                    + context.clientAddress().getHostAddress());
      }
    }
    return result(
        isAllowed || !standing.isEnforced && !Authorization.alwaysEnforced(type, operation));
  }

  /** What Kafka's rules say, by the index; like {@code StandardAuthorizerData.authorize}. */
  private boolean decide(
      AclIndex snapshot, Standing standing, AuthorizableRequestContext context, Action action) {
    ResourcePattern resource = action.resourcePattern();
    if (resource.patternType() != PatternType.LITERAL) {
      throw new IllegalArgumentException(
          "only literal resources can be authorized, not " + resource.patternType());
    }
    if (standing.isSuperUser) {
      return true;
    }
    if (!loaded) {
      throw new AuthorizerNotReadyException();
    }
    return snapshot.allows(
        standing.base,
        context.clientAddress(),
        resource.resourceType(),
        resource.name(),
        action.operation(),
        allowIfUncovered);
  }

  /** What Kafka's rules say of any resource of a type, by the index, with no log. */
  private boolean decideByType(
      AclIndex snapshot,
      Standing standing,
      AuthorizableRequestContext context,
      AclOperation operation,
      ResourceType type) {
    ResourcePattern resource = new ResourcePattern(type, PROBE, PatternType.LITERAL);
    return decide(snapshot, standing, context, new Action(operation, resource, 0, true, false))
        || snapshot.allowsAny(standing.base, context.clientAddress(), type, operation);
  }

  private static boolean isEffective(Standing standing, boolean isAllowed, Action action) {
    return isAllowed
        || !standing.isEnforced
            && !Authorization.alwaysEnforced(
                action.resourcePattern().resourceType(), action.operation());
  }

  private static AuthorizationResult result(boolean isAllowed) {
    return isAllowed ? AuthorizationResult.ALLOWED : AuthorizationResult.DENIED;
  }

  private static String verdict(boolean isAllowed) {
    return isAllowed ? "is Allowed" : "is Denied";
  }

  /** Records what Kafka's rules say in Kafka's own metrics. */
  private void record(boolean isAllowed) {
    Sensor one = isAllowed ? allowedSensor : deniedSensor;
    if (one != null) {
      one.record();
      requestSensor.record();
    }
  }

  /**
   * Counts a decision, hands over what a person did, and tells whether it is time for a line about
   * what was let through.
   */
  private boolean observe(
      Standing standing,
      AuthorizableRequestContext context,
      Action action,
      boolean isAllowed,
      boolean isEffective) {
    Result result = isAllowed ? Result.ALLOWED : isEffective ? Result.TOLERATED : Result.DENIED;
    ResourceType type = action.resourcePattern().resourceType();
    String name = action.resourcePattern().name();
    AclOperation operation = action.operation();
    if (!Decisions.isAccess(action, result) || AccessLog.isOwn(type, name, operation, result)) {
      decisions.addNoAccess();
      return false;
    }
    String clientId = context.clientId();
    Decisions.Series series = decisions.add(standing.base, clientId, type, name, operation, result);
    if (standing.isPerson) {
      accessLog.event(
          System.currentTimeMillis(),
          Decisions.access(standing.base, clientId, type, name, operation, result),
          context.clientAddress().getHostAddress());
    }
    return result == Result.TOLERATED
        && series.takesLine(System.currentTimeMillis(), TOLERATED_LINE_MS);
  }

  private void log(
      AclIndex snapshot,
      Standings now,
      Standing standing,
      AuthorizableRequestContext context,
      Action action,
      boolean isAllowed,
      boolean isEffective,
      boolean takesLine) {
    if (isAllowed) {
      if (AuthorizerLog.logsAllowed(action)) {
        AuthorizerLog.allowed(
            standing.text, context, action, rule(snapshot, standing, context, action));
      }
    } else if (!isEffective) {
      if (AuthorizerLog.logsDenied(action)) {
        AuthorizerLog.denied(
            standing.text, context, action, rule(snapshot, standing, context, action));
      }
    } else if (AuthorizerLog.logsTolerated(action, takesLine)) {
      AuthorizerLog.tolerated(
          standing.text,
          context,
          action,
          rule(snapshot, standing, context, action),
          now.authorization.mode(),
          takesLine);
    }
  }

  /** The rule by which {@link #decide} decides, in the words of Kafka's log. */
  private String rule(
      AclIndex snapshot, Standing standing, AuthorizableRequestContext context, Action action) {
    if (standing.isSuperUser) {
      return "SuperUser";
    }
    ResourceType type = action.resourcePattern().resourceType();
    String name = action.resourcePattern().name();
    StandardAcl acl =
        snapshot.deciding(standing.base, context.clientAddress(), type, name, action.operation());
    if (acl != null) {
      return "MatchingAcl(acl=" + acl + ")";
    }
    return allowIfUncovered && snapshot.isUncovered(type, name) ? "DefaultAllow" : "DefaultDeny";
  }

  /** The line that {@link #authorize} logs of what the rules say. For tests. */
  String logLine(AuthorizableRequestContext context, Action action) {
    AclIndex snapshot = index;
    Standing standing = standing(standings(), context.principal());
    return AuthorizerLog.message(
        standing.text,
        context,
        action,
        verdict(decide(snapshot, standing, context, action)),
        rule(snapshot, standing, context, action));
  }

  private static boolean isProbe(List<Action> actions) {
    if (actions.size() != 1) {
      return false;
    }
    Action action = actions.get(0);
    // No request of a client refers to a resource zero times.
    return action.resourceReferenceCount() == 0
        && !action.logIfDenied()
        && action.resourcePattern().name().equals(PROBE);
  }

  /** The actions, such that {@code StandardAuthorizer} does not call denied what is let through. */
  private static List<Action> muted(Standing standing, List<Action> actions) {
    if (standing.isEnforced) {
      return actions;
    }
    List<Action> muted = new ArrayList<>(actions.size());
    for (Action action : actions) {
      ResourcePattern resource = action.resourcePattern();
      muted.add(
          action.logIfDenied()
                  && !Authorization.alwaysEnforced(resource.resourceType(), action.operation())
              ? new Action(
                  action.operation(),
                  resource,
                  action.resourceReferenceCount(),
                  action.logIfAllowed(),
                  false)
              : action);
    }
    return muted;
  }

  /** Compares an answer of Kafka with that of the index, unless ACLs changed meanwhile. */
  private void compare(
      long version, boolean byKafka, BooleanSupplier byIndex, Supplier<String> description) {
    String said;
    try {
      said = verdict(byIndex.getAsBoolean());
    } catch (RuntimeException e) {
      said = "fails with " + e;
    }
    if (!said.equals(verdict(byKafka)) && version % 2 == 0 && version == aclVersion) {
      differences.add(description.get() + "; of the index: " + said);
    }
  }

  /** What it counts. */
  AuthorizerMetrics metrics() {
    return ownMetrics;
  }

  /** How many answers of the index were not Kafka's, in shadow mode. */
  long differences() {
    return differences.count();
  }
}
