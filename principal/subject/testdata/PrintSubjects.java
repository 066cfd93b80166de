// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;

/** Reads DER-encoded names as hexadecimal, a line each, and prints what getName() says of them, as hexadecimal UTF-8. */
public final class PrintSubjects {
  private PrintSubjects() {}

  public static void main(String[] args) throws Exception {
    HexFormat hex = HexFormat.of();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String name = new X500Principal(hex.parseHex(line)).getName();
      out.println(hex.formatHex(name.getBytes(StandardCharsets.UTF_8)));
    }
    out.flush();
  }
}
