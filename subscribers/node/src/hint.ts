import { type EventBridgeClient, PutEventsCommand } from "@aws-sdk/client-eventbridge";

/** Bounds a hint, in milliseconds: whoever sends one has more important things to do. */
const HINT_WITHIN = 2000;

/** The names that a secret of a domain may have: what the broadcaster's own parser takes for one. */
const OURS = /^\/bank\/[^/]+\/[^/]+\/[^/]+\/./;
const ALLOWED = /^[A-Za-z0-9/_+=.@-]{1,512}$/; // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html

/**
 * Says that the secret with this name should be looked at now. Send it after the change, as the last step of a rotation
 * does: the broadcaster believes nothing but what Secrets Manager then says. A hint that is lost costs seconds, so its
 * error is no reason to fail. The bus is the one that the domain's rules listen to.
 */
export async function hint(client: EventBridgeClient, name: string, bus = "default"): Promise<void> {
  if (!OURS.test(name) || !ALLOWED.test(name)) {
    throw new Error(`${JSON.stringify(name)} is not the name of a secret, /bank/{env}/{domain}/{service}/{name}: of an ARN, ask DescribeSecret for the name`);
  }
  const entry = { EventBusName: bus, Source: "secret-broadcaster", DetailType: "Secret Change Hint", Detail: JSON.stringify({ name }) };
  let answer;
  try {
    answer = await client.send(new PutEventsCommand({ Entries: [entry] }), { abortSignal: AbortSignal.timeout(HINT_WITHIN) });
  } catch (error) {
    throw new Error(`putting a hint on bus ${bus}: ${(error as Error).message}`, { cause: error });
  }
  for (const { ErrorCode: code, ErrorMessage: message } of answer.Entries ?? []) {
    if (code !== undefined) throw new Error(`putting a hint on bus ${bus}: ${code}: ${message}`);
  }
}
