/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.signet.kafka.broker.FormatException.Code;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SubjectPatternTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "CN=([a-z0-9-]+)\\.acme\\.example,O=Acme",
        "^CN=a$",
        "^CN=a$|^CN=b$",
        "(?:CN|O)=(a|b|)(c?)?",
        "a*?b+?c??d{2}e{2,}f{2,3}?",
        "[]a]|[^]a]|[a-]|[-a]|[a^]|[\\]\\[]|[\\w-]",
        "\\d\\D\\w\\W\\s\\S\\t\\n\\r\\f\\a\\e\\x41\\u0041\\.\\,\\é",
        "]}é\uD83D\uDE00",
        "(?:[a-z][a-z]{0,61}){15}",
      })
  void accepts(String pattern) throws Exception {
    Pattern.compile(pattern);
    SubjectPattern.parse(pattern, "x");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "(a)\\1", // back-reference
        "(?<n>a)\\k<n>",
        "(?<n>a)",
        "(?=a)", // look-around
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        "(?>a)", // atomic
        "(?i)a", // flags
        "(?i:a)",
        "a*+", // possessive
        "a++",
        "a?+",
        "a{2}+",
        "a**", // stacked
        "a{2}{3}",
        "\\Ga",
        "\\ba",
        "\\Ba",
        "\\Aa",
        "a\\Z",
        "a\\z",
        "\\Qa\\E",
        "\\p{Lu}",
        "\\PL",
        "\\h\\v",
        "\\R",
        "\\X",
        "\\N{SPACE}",
        "\\01",
        "\\cA",
        "\\x{41}",
        "\\ud83d\\ude00",
        "\uD83D",
        "\0",
        "[a&&b]",
        "[a[b]]",
        "[a-[b]]",
        "[\\[^a]",
        "[[:alpha:]]",
        "(a*)*", // a quantifier over what can be empty
        "(a|)+",
        "(a?){2}",
        "a^", // anchors in the wrong place
        "a$b",
        "(^a)",
        "(a$)",
        "^*a",
        "$?",
        "a{256}",
        "a{0}",
        "a{3,2}",
        "(?:a{100}){11}", // large programs
        "(?:a{40}){26}",
        "(?:(?:abcdefgh){250}",
        "(?:abcdefgh){250}",
        "(a", // no regular expressions
        "a)",
        "[a",
        "[",
        "a{",
        "{2}",
        "*a",
        "\\",
        "[b-a]",
        "[a-\\d]",
        "\\y",
        "\\x4",
      })
  void refuses(String pattern) {
    FormatException e =
        assertThrows(FormatException.class, () -> SubjectPattern.parse(pattern, "x"));
    assertEquals(Code.PATTERN, e.code());
  }

  @Test
  void whatTheSyntaxAcceptsJavaCompiles() {
    // Random texts over the characters that mean something; the seed makes a failure repeatable.
    Random random = new Random(7);
    String alphabet = "ab01(()))[[]]^$|?*+{}{},:-\\\\dwxuEQ&=<>.é";
    int accepted = 0;
    for (int round = 0; round < 300_000; round++) {
      StringBuilder text = new StringBuilder();
      for (int length = 1 + random.nextInt(9); length > 0; length--) {
        text.append(alphabet.charAt(random.nextInt(alphabet.length())));
      }
      try {
        PatternSyntax syntax = PatternSyntax.check(text.toString());
        Pattern compiled = Pattern.compile(text.toString());
        assertEquals(compiled.matcher("").groupCount(), syntax.groups(), text::toString);
        accepted++;
      } catch (PatternSyntaxException e) {
        throw new AssertionError("Java refuses " + text, e);
      } catch (FormatException e) {
        assertEquals(Code.PATTERN, e.code());
      }
    }
    assertTrue(accepted > 10_000, "too few were accepted to say anything: " + accepted);
  }

  @Test
  void matchesWholeSubjectsOnly() throws Exception {
    SubjectPattern pattern = SubjectPattern.parse("CN=a|CN=ab", "x");
    assertEquals("x", pattern.principal("CN=ab"));
    assertNull(pattern.principal("CN=abc"));
    assertNull(pattern.principal("OU=CN=a"));
  }

  // Attacks.

  @ParameterizedTest
  @ValueSource(strings = {"(a*)(a*)(a*)(a*)(a*)b", "(?:a+)+b", "(?:a|aa)+b", "(?:a|a)+b"})
  void catastrophicPatternIsGivenUp(String pattern) throws Exception {
    String subject = "a".repeat(Mapping.MAX_SUBJECT);
    SubjectPattern compiled = SubjectPattern.parse(pattern, "x");
    try {
      assertNull(compiled.principal(subject));
    } catch (SubjectPattern.ExhaustedException e) {
      return; // Java remembers some dead ends of some loops, and then needs no more steps than it
      // may.
    }
    assertTrue(!pattern.startsWith("(a*)"), "must take more steps than it may");
  }

  @Test
  void whoMakesAPatternGiveUpDoesNotChooseTheNext() throws Exception {
    Mapping mapping =
        Json.file()
            .pattern("CN=(a*)(a*)(a*)(a*)(a*)b", "first")
            .pattern("CN=.*", "second")
            .spiffe("spiffe://x", "third")
            .mapping();
    AtomicInteger exhausted = new AtomicInteger();
    Peer peer = Peer.of(Certificates.of("CN=" + "a".repeat(2000)));
    assertEquals(
        new Decision.Refused(Reason.UNMAPPED), mapping.decide(peer, exhausted::incrementAndGet));
    assertEquals(1, exhausted.get());
    assertEquals(new Decision.Mapped("second"), mapping.decide(Peer.of(Certificates.of("CN=c"))));
  }

  @Test
  void deepRecursionIsGivenUp() throws Exception {
    SubjectPattern pattern = SubjectPattern.parse("(?:(?:(?:a|b)|c)|d)+", "x");
    String subject = "abcd".repeat(512);
    AtomicReference<Object> outcome = new AtomicReference<>();
    Thread small =
        new Thread(
            null,
            () -> {
              try {
                outcome.set(String.valueOf(pattern.principal(subject)));
              } catch (SubjectPattern.ExhaustedException e) {
                outcome.set(e);
              } catch (Throwable e) {
                outcome.set("escaped: " + e);
              }
            },
            "small stack",
            1);
    small.start();
    small.join();
    assertTrue(outcome.get() instanceof SubjectPattern.ExhaustedException, "" + outcome.get());
    assertEquals("x", pattern.principal("abcd"));
  }

  @Test
  void honestPatternsOnTheLongestSubjectStayFarBelowTheBudget() throws Exception {
    SubjectPattern pattern =
        SubjectPattern.parse("CN=([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?),OU=.*,O=.*,C=DE", "$1");
    String subject = "CN=orders,OU=" + "x".repeat(1000) + ",O=" + "y".repeat(1020) + ",C=DE";
    assertEquals("orders", pattern.principal(subject));
  }
}
