/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What every implementation of authorization.json must agree on. */
class AuthorizationVectorsTest {
  static List<VectorsTest.Vector> vectors() throws Exception {
    return VectorsTest.vectors("authorization");
  }

  @ParameterizedTest
  @MethodSource("vectors")
  void agrees(VectorsTest.Vector vector) throws Exception {
    JsonNode content = vector.content();
    byte[] text = content.required("file").textValue().getBytes(StandardCharsets.UTF_8);
    String error = content.required("error").textValue();
    if (!error.isEmpty()) {
      FormatException e = assertThrows(FormatException.class, () -> Authorization.parse(text));
      assertEquals(error, e.code().toString(), e.getMessage());
      return;
    }
    Authorization authorization = Authorization.parse(text);
    for (JsonNode one : content.required("principals")) {
      String principal = one.required("principal").textValue();
      assertEquals(
          one.required("enforced").booleanValue(), authorization.isEnforced(principal), principal);
      assertEquals(
          one.required("person").booleanValue(), authorization.isPerson(principal), principal);
    }
  }
}
