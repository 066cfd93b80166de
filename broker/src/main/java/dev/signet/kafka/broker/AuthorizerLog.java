/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.utils.SecurityUtils;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The lines of the logger {@code kafka.authorizer.logger}, in the words and at the levels of
 * Kafka's {@code StandardAuthorizerData}: allowed at DEBUG and denied at INFO where the action says
 * so, anything else at TRACE. What Kafka's rules deny and the mode lets through is never called
 * denied: it "would be Denied", once in a while at INFO.
 */
final class AuthorizerLog {
  /** Kafka's own logger; operators have its name in their log configuration. */
  private static final Logger LOG = LoggerFactory.getLogger("kafka.authorizer.logger");

  private AuthorizerLog() {}

  /** Tells whether {@link #allowed} would write anything. */
  static boolean logsAllowed(Action action) {
    return action.logIfAllowed() ? LOG.isDebugEnabled() : LOG.isTraceEnabled();
  }

  /** Tells whether {@link #denied} would write anything. */
  static boolean logsDenied(Action action) {
    return action.logIfDenied() ? LOG.isInfoEnabled() : LOG.isTraceEnabled();
  }

  /**
   * Tells whether {@link #tolerated} would write anything.
   *
   * @param isFirst whether such an action was not logged for a while; the others are at TRACE
   */
  static boolean logsTolerated(Action action, boolean isFirst) {
    return action.logIfDenied() && isFirst ? LOG.isInfoEnabled() : LOG.isTraceEnabled();
  }

  /** Writes that an action is allowed by a rule. */
  static void allowed(
      String principal, AuthorizableRequestContext context, Action action, String rule) {
    String message = message(principal, context, action, "is Allowed", rule);
    if (action.logIfAllowed()) {
      LOG.debug(message);
    } else {
      LOG.trace(message);
    }
  }

  /** Writes that an action is denied by a rule. */
  static void denied(
      String principal, AuthorizableRequestContext context, Action action, String rule) {
    String message = message(principal, context, action, "is Denied", rule);
    if (action.logIfDenied()) {
      LOG.info(message);
    } else {
      LOG.trace(message);
    }
  }

  /** Writes that an action would be denied by a rule if the mode did not let it through. */
  static void tolerated(
      String principal,
      AuthorizableRequestContext context,
      Action action,
      String rule,
      Authorization.Mode mode,
      boolean isFirst) {
    String message =
        message(principal, context, action, "would be Denied", rule)
            + ", let through in mode "
            + mode;
    if (action.logIfDenied() && isFirst) {
      LOG.info(message);
    } else {
      LOG.trace(message);
    }
  }

  /** A line in the words of Kafka. */
  static String message(
      String principal,
      AuthorizableRequestContext context,
      Action action,
      String verdict,
      String rule) {
    ResourcePattern resource = action.resourcePattern();
    return "Principal = "
        + principal
        + " "
        + verdict
        + " operation = "
        + action.operation()
        + " from host = "
        + context.clientAddress().getHostAddress()
        + " on resource = "
        + SecurityUtils.resourceTypeName(resource.resourceType())
        + ":"
        + resource.patternType()
        + ":"
        + resource.name()
        + " for request = "
        + ApiKeys.forId(context.requestType()).name
        + " with resourceRefCount = "
        + action.resourceReferenceCount()
        + " based on rule "
        + rule;
  }
}
