/**
 * The demo's TypeScript function: a team's code on Powertools, and one wrapped handler. The bundler puts the broadcaster's
 * client in the place of Powertools' secrets.
 */
import { createHmac } from "node:crypto";

import { SecretsProvider } from "@aws-lambda-powertools/parameters/secrets";
import { withInvalidation } from "@bank-platform/secret-broadcast";

interface Question {
  read: string[];
  /** What the function proves its use of each secret with, as a login does. */
  challenge: string;
}

const secrets = new SecretsProvider();
/** In seconds: short for the secret whose event gets lost. */
const maxAgeOf = (name: string): number =>
  name.endsWith("/api-key") ? Number(process.env["DEMO_API_KEY_MAX_AGE"]) : 300;

async function use(name: string, challenge: string): Promise<{ name: string; proof?: string; error?: string }> {
  try {
    const value = await secrets.get(name, { maxAge: maxAgeOf(name) });
    return { name, proof: createHmac("sha256", String(value)).update(challenge).digest("hex") };
  } catch (error) {
    return { name, error: String(error) };
  }
}

export const handler = withInvalidation(async ({ read, challenge }: Question) => {
  const values = [];
  for (const name of read) values.push(await use(name, challenge));
  return { pid: process.pid, values };
});
