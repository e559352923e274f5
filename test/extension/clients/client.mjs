// Reads secrets in the ways of Node functions, with the packages as they are. Each line it is given is a way and a secret's
// name; each line it answers is what came of it.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.env.CLIENT_PACKAGES);
const { BatchGetSecretValueCommand, GetSecretValueCommand, SecretsManagerClient } = require("@aws-sdk/client-secrets-manager");
const { SecretsProvider, getSecret } = require("@aws-lambda-powertools/parameters/secrets");

const client = new SecretsManagerClient({});
const provider = new SecretsProvider();
const { PARAMETERS_SECRETS_EXTENSION_HTTP_PORT: port, AWS_SESSION_TOKEN: token } = process.env;

const ways = {
  sdk: async (name) => (await client.send(new GetSecretValueCommand({ SecretId: name }))).SecretString,
  // Its clock is ten minutes late, until it has been told.
  "sdk-late": async (name) => {
    const late = new SecretsManagerClient({ systemClockOffset: -600_000 });
    return (await late.send(new GetSecretValueCommand({ SecretId: name }))).SecretString;
  },
  "sdk-batch": async (name) =>
    (await client.send(new BatchGetSecretValueCommand({ SecretIdList: [name] }))).SecretValues[0].SecretString,
  powertools: (name) => getSecret(name),
  "powertools-provider": (name) => provider.get(name),
  // As code written for AWS's Parameters and Secrets extension.
  http: async (name) => {
    const url = `http://localhost:${port}/secretsmanager/get?secretId=${encodeURIComponent(name)}`;
    const answer = await fetch(url, { headers: { "X-Aws-Parameters-Secrets-Token": token } });
    return (await answer.json()).SecretString;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [way, name] = line.split(" ");
  try {
    console.log(JSON.stringify({ value: await ways[way](name) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
