import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeSet;
import software.amazon.event.ruler.JsonRuleCompiler;
import software.amazon.event.ruler.Machine;

/**
 * Asks AWS's matcher which rules an event matches. A line in, {"rules": {"name": pattern}, "event": {}}, without rules if they
 * are those of the line before; a line out, {"matches": ["name"]} or {"error": "..."}.
 *
 * <p>JsonRuleCompiler and Machine, as EventBridge: the older RuleCompiler does not know $or.
 */
public class RulerOracle {
  public static void main(String[] args) throws Exception {
    ObjectMapper json = new ObjectMapper();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    Machine machine = null;
    for (String line; (line = in.readLine()) != null; ) {
      ObjectNode answer = json.createObjectNode();
      try {
        JsonNode asked = json.readTree(line);
        if (asked.has("rules")) {
          machine = Machine.builder().build();
          for (Map.Entry<String, JsonNode> rule : asked.get("rules").properties()) {
            String wrong = JsonRuleCompiler.check(rule.getValue().toString());
            if (wrong != null) {
              throw new IllegalArgumentException(rule.getKey() + ": " + wrong);
            }
            machine.addRule(rule.getKey(), rule.getValue().toString());
          }
        }
        ArrayNode matches = answer.putArray("matches");
        new TreeSet<>(machine.rulesForJSONEvent(asked.get("event").toString())).forEach(matches::add);
      } catch (Exception e) {
        answer.removeAll();
        answer.put("error", String.valueOf(e.getMessage()));
      }
      out.println(json.writeValueAsString(answer));
    }
  }
}
