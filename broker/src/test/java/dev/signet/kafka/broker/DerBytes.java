/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.io.ByteArrayOutputStream;
import java.util.HexFormat;

/** DER as a CA should not make it, or makes it rarely. */
final class DerBytes {
  private DerBytes() {}

  static byte[] element(int tag, byte[]... contents) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (byte[] content : contents) {
      all.writeBytes(content);
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(tag);
    if (all.size() >= 0x100) {
      out.write(0x82);
      out.write(all.size() >> 8);
    } else if (all.size() >= 0x80) {
      out.write(0x81);
    }
    out.write(all.size());
    out.writeBytes(all.toByteArray());
    return out.toByteArray();
  }

  static byte[] name(byte[]... rdns) {
    return element(0x30, rdns);
  }

  static byte[] rdn(byte[]... attributes) {
    return element(0x31, attributes);
  }

  static byte[] attribute(String oid, int tag, byte[] value) {
    return element(0x30, element(0x06, HexFormat.of().parseHex(oid)), element(tag, value));
  }
}
