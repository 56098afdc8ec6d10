package vadev;

import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.regex.Pattern;
import kafka.Kafka;
import kafka.tools.StorageTool;

/**
 * Formats the log folder on the first start, then runs the broker, in one JVM: a second one would cost seconds.
 * The settings are the environment's KAFKA_*, spelled as for the official image.
 */
public final class Launcher {
    /** Variables for the shell, or that Kubernetes adds for a Service called kafka. */
    private static final Pattern NO_SETTING =
        Pattern.compile("KAFKA_(HEAP_OPTS|OPTS|JVM_PERFORMANCE_OPTS|JMX_.*|LOG4J_.*|PORT(_.*)?|SERVICE_.*)");

    private Launcher() { }

    public static void main(String[] args) throws IOException {
        Properties settings = new Properties();
        settings.put("node.id", "1");
        settings.put("process.roles", "broker,controller");
        settings.put("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093");
        settings.put("controller.listener.names", "CONTROLLER");
        settings.put("controller.quorum.voters", "1@localhost:9093");
        settings.put("log.dirs", "/var/lib/kafka/data");
        // For a laptop: the defaults take 128 MB of heap for cleaning logs, and 50 partitions each for offsets and transactions.
        settings.put("log.cleaner.dedupe.buffer.size", "16777216");
        settings.put("offsets.topic.num.partitions", "5");
        settings.put("transaction.state.log.num.partitions", "5");
        System.getenv().entrySet().stream()
            .filter(entry -> entry.getKey().startsWith("KAFKA_") && !NO_SETTING.matcher(entry.getKey()).matches())
            .forEach(entry -> settings.put(property(entry), entry.getValue()));

        Path file = Files.createTempFile("server", ".properties");
        try (Writer writer = Files.newBufferedWriter(file)) {
            settings.store(writer, null);
        }
        String cluster = System.getenv().getOrDefault("CLUSTER_ID", "5L6g3nShT-eMCtK--X86sw");
        int status = StorageTool.execute(
            new String[] {"format", "--ignore-formatted", "--cluster-id", cluster, "--config", file.toString()}, System.out);
        if (status != 0) {
            System.exit(status);
        }
        Kafka.main(new String[] {file.toString()});
    }

    /** KAFKA_LOG_DIRS is log.dirs; two underscores stand for one, three for a dash. */
    private static String property(Map.Entry<String, String> entry) {
        return entry.getKey().substring("KAFKA_".length()).toLowerCase(Locale.ROOT)
            .replace("___", "-").replace("__", "\0").replace('_', '.').replace('\0', '_');
    }
}
