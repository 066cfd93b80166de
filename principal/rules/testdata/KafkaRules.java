// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.common.security.ssl.SslPrincipalMapper;

/**
 * Tells what Kafka's SslPrincipalMapper does.
 *
 * <p>With the argument "rules" it reads lines of words: "." and the text of ssl.principal.mapping.rules, then any number of "?" and a
 * pattern, then any number of "." and a subject, all in base64. For each line it prints "#" and the class of the exception if the rules
 * are refused, else for each subject "=" and the principal as UTF-16 in hexadecimal, "-" if no rule applies, or "!" and the class of the
 * exception; separated by spaces. It prints "~" for a subject on which one of the patterns takes Java more than STEPS steps: Java
 * backtracks, and Kafka would not come back.
 *
 * <p>With the argument "case" it prints for each character whose lower or upper case (Locale.ENGLISH) is another: the character, its
 * lower and its upper case, as UTF-16 in hexadecimal.
 */
public class KafkaRules {
    private static final int STEPS = 300_000;
    private static final char[] DIGITS = "0123456789abcdef".toCharArray();

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(new java.io.BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.US_ASCII);
        if (arguments[0].equals("case")) {
            letterCases(out);
        } else {
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                if (line.equals("flush")) {
                    out.flush();
                } else {
                    out.println(answer(line.split(" ")));
                }
            }
        }
        out.flush();
    }

    private static String answer(String[] words) {
        SslPrincipalMapper mapper;
        try {
            mapper = SslPrincipalMapper.fromRules(decode(words[0]));
        } catch (Throwable refusal) {
            return "#" + refusal.getClass().getSimpleName();
        }
        int firstSubject = 1;
        while (firstSubject < words.length && words[firstSubject].startsWith("?")) {
            firstSubject++;
        }
        StringBuilder answer = new StringBuilder();
        for (int i = firstSubject; i < words.length; i++) {
            if (i > firstSubject) {
                answer.append(' ');
            }
            String subject = decode(words[i]);
            try {
                for (int p = 1; p < firstSubject; p++) {
                    tryOut(Pattern.compile(decode(words[p])), subject);
                }
                String name = mapper.getName(subject);
                answer.append('=').append(hex(name));
            } catch (TooManySteps tooMany) {
                answer.append('~');
            } catch (SslPrincipalMapper.NoMatchingRule none) {
                answer.append('-');
            } catch (Throwable refusal) {
                answer.append('!').append(refusal.getClass().getSimpleName());
            }
        }
        return answer.toString();
    }

    /** Does what Kafka does with a pattern, and throws TooManySteps. */
    private static void tryOut(Pattern pattern, String subject) {
        Matcher matcher = pattern.matcher(new CountedString(subject));
        if (matcher.matches()) {
            matcher.reset();
            while (matcher.find()) {}
        }
    }

    private static class TooManySteps extends RuntimeException {}

    /** A string that counts how often it is looked at. */
    private static class CountedString implements CharSequence {
        private final String string;
        private int steps;

        CountedString(String string) {
            this.string = string;
        }

        @Override
        public char charAt(int index) {
            if (++steps > STEPS) {
                throw new TooManySteps();
            }
            return string.charAt(index);
        }

        @Override
        public int length() {
            return string.length();
        }

        @Override
        public CharSequence subSequence(int start, int end) {
            return string.substring(start, end);
        }

        @Override
        public String toString() {
            return string;
        }
    }

    private static void letterCases(PrintStream out) {
        for (int c = 0; c <= Character.MAX_CODE_POINT; c++) {
            if (c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE) {
                continue;
            }
            String s = Character.toString(c);
            String lower = s.toLowerCase(Locale.ENGLISH);
            String upper = s.toUpperCase(Locale.ENGLISH);
            if (!lower.equals(s) || !upper.equals(s)) {
                out.println(hex(s) + " " + hex(lower) + " " + hex(upper));
            }
        }
    }

    /** A word is base64 behind a dot or a question mark, so that an empty text is a word, too. */
    private static String decode(String word) {
        return new String(Base64.getDecoder().decode(word.substring(1)), StandardCharsets.UTF_8);
    }

    private static String hex(String s) {
        StringBuilder hex = new StringBuilder(4 * s.length());
        for (int i = 0; i < s.length(); i++) {
            for (int shift = 12; shift >= 0; shift -= 4) {
                hex.append(DIGITS[s.charAt(i) >> shift & 15]);
            }
        }
        return hex.toString();
    }
}
