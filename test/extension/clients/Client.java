import com.amazonaws.secretsmanager.caching.SecretCache;
import com.amazonaws.secretsmanager.caching.SecretCacheConfiguration;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.temporal.ChronoUnit;
import java.util.Map;
import software.amazon.awssdk.core.SdkGlobalTime;
import software.amazon.awssdk.services.secretsmanager.SecretsManagerClient;
import software.amazon.lambda.powertools.parameters.secrets.SecretsProvider;

/**
 * Reads secrets in the ways of Java functions, with the packages as they are. Each line it is given is a way and a secret's
 * name; each line it answers is what came of it.
 */
public final class Client {
    private interface Way {
        String read(String name) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        SecretsManagerClient client = SecretsManagerClient.create();
        SecretsProvider provider = SecretsProvider.builder().withClient(client).build();
        // Its hour is the time that it would serve a value without asking: turned down, it asks each time which version is current.
        SecretCache cache = new SecretCache(new SecretCacheConfiguration().withClient(client).withCacheItemTTL(2));
        Map<String, Way> ways = Map.of(
            "sdk", name -> client.getSecretValue(r -> r.secretId(name)).secretString(),
            "sdk-late", Client::byLateSDK,
            "sdk-batch", name -> client.batchGetSecretValue(r -> r.secretIdList(name)).secretValues().get(0).secretString(),
            // It has no variable: its five seconds are turned down in the code.
            "powertools", name -> provider.withMaxAge(0, ChronoUnit.SECONDS).get(name),
            "caching", cache::getSecretString,
            "http", Client::overHttp);
        ObjectMapper json = new ObjectMapper();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] asked = line.split(" ");
            try {
                System.out.println(json.writeValueAsString(Map.of("value", ways.get(asked[0]).read(asked[1]))));
            } catch (Exception e) {
                System.out.println(json.writeValueAsString(Map.of("error", e.toString())));
            }
        }
    }

    /** Its clock is ten minutes late, until it has been told. */
    private static String byLateSDK(String name) {
        SdkGlobalTime.setGlobalTimeOffset(600);
        try (SecretsManagerClient late = SecretsManagerClient.create()) {
            return late.getSecretValue(r -> r.secretId(name)).secretString();
        }
    }

    /** As code written for AWS's Parameters and Secrets extension. */
    private static String overHttp(String name) throws Exception {
        URI uri = URI.create("http://localhost:" + System.getenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT")
            + "/secretsmanager/get?secretId=" + URLEncoder.encode(name, StandardCharsets.UTF_8));
        HttpRequest request = HttpRequest.newBuilder(uri).header("X-Aws-Parameters-Secrets-Token", System.getenv("AWS_SESSION_TOKEN")).build();
        String body = HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body();
        return new ObjectMapper().readTree(body).get("SecretString").asText();
    }
}
