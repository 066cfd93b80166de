package dev.signet.testcluster;

import java.io.IOException;
import java.io.Reader;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.Properties;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/**
 * Starts a KRaft broker from several properties files: {@code Launcher TARGET BASE [FRAGMENT...]}.
 *
 * <p>The files are laid over each other, later ones win, except {@code super.users}, which is the union of all:
 * a fragment written by somebody else must not be able to lock the broker out of its own cluster. In the base file,
 * <code>${env:NAME}</code> stands for an environment variable. The result is written to TARGET, the storage is
 * formatted if it is empty, and Kafka runs in this JVM. A fragment that does not exist yet is waited for.
 */
public final class Launcher {
    private static final String SUPER_USERS = "super.users";
    private static final Pattern ENVIRONMENT = Pattern.compile("\\$\\{env:([A-Z0-9_]+)}");

    private Launcher() {}

    public static void main(String[] args) throws IOException, InterruptedException {
        if (args.length < 2) {
            throw new IllegalArgumentException("usage: Launcher TARGET BASE [FRAGMENT...]");
        }
        Path target = Path.of(args[0]);
        Properties merged = read(Path.of(args[1]));
        merged.replaceAll((key, value) -> substitute((String) value));
        Set<String> superUsers = users(merged);
        for (int i = 2; i < args.length; i++) {
            Path file = Path.of(args[i]);
            awaitFile(file);
            Properties fragment = read(file);
            superUsers.addAll(users(fragment));
            merged.putAll(fragment);
        }
        merged.setProperty(SUPER_USERS, String.join(";", superUsers));
        try (Writer out = Files.newBufferedWriter(target)) {
            merged.store(out, "merged from " + String.join(", ", java.util.List.of(args).subList(1, args.length)));
        }
        int formatted = kafka.tools.StorageTool.execute(
                new String[] {
                    "format", "--config", target.toString(), "--cluster-id", merged.getProperty("cluster.id"),
                    "--standalone", "--ignore-formatted"
                },
                System.out);
        if (formatted != 0) {
            System.exit(formatted);
        }
        kafka.Kafka.main(new String[] {target.toString()});
    }

    /**
     * Waits for a file that is mounted from an optional ConfigMap. The kubelet adds it within seconds of the ConfigMap's
     * creation; for a ConfigMap that is not optional it retries the mount at intervals that grow to two minutes.
     */
    private static void awaitFile(Path file) throws InterruptedException {
        if (!Files.exists(file)) {
            System.out.println("waiting for " + file);
        }
        while (!Files.exists(file)) {
            Thread.sleep(200);
        }
    }

    private static Properties read(Path file) throws IOException {
        Properties properties = new Properties();
        try (Reader in = Files.newBufferedReader(file)) {
            properties.load(in);
        }
        return properties;
    }

    private static Set<String> users(Properties properties) {
        Set<String> users = new LinkedHashSet<>();
        for (String user : properties.getProperty(SUPER_USERS, "").split(";")) {
            if (!user.isBlank()) {
                users.add(user.trim());
            }
        }
        return users;
    }

    private static String substitute(String value) {
        return ENVIRONMENT.matcher(value).replaceAll(Launcher::environment);
    }

    private static String environment(MatchResult reference) {
        String value = System.getenv(reference.group(1));
        if (value == null) {
            throw new IllegalStateException("the broker's configuration needs the environment variable " + reference.group(1));
        }
        return java.util.regex.Matcher.quoteReplacement(value);
    }
}
