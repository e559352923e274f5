import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, mock, test } from "node:test";

import { EventBridgeClient, PutRuleCommand, PutTargetsCommand } from "@aws-sdk/client-eventbridge";
import { GetSecretValueCommand, PutSecretValueCommand } from "@aws-sdk/client-secrets-manager";

import { hint } from "../src/hint.js";
import { failure } from "./support/expect.js";
import { packageRoot, repositoryRoot } from "./support/goldens.js";
import { finishSecret } from "./support/rotation.js";
import { World } from "./support/world.js";

const NAME = "/bank/prod/payments/neon/connection-string";

/** What Go's tests of its own hints read as well. */
const golden = (name: string): unknown => JSON.parse(readFileSync(join(repositoryRoot, "invalidation", "eventbridge", "testdata", name), "utf8"));

const clientOf = (endpoint: string, account = "placeholder"): EventBridgeClient =>
  new EventBridgeClient({ endpoint, region: "eu-west-2", maxAttempts: 1, credentials: { accessKeyId: account, secretAccessKey: "placeholder" } });

/** A bus that answers each call as it is told to, and keeps what it was sent. */
class Bus {
  sent: unknown[] = [];
  answer: () => { status: number; body: object } | undefined = () => ({ status: 200, body: { FailedEntryCount: 0, Entries: [{ EventId: "e" }] } });
  onSent: () => Promise<void> = async () => {};
  readonly #server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    this.sent.push(JSON.parse(Buffer.concat(chunks).toString("utf8")));
    await this.onSent();
    const answer = this.answer();
    if (answer !== undefined) response.writeHead(answer.status, { "content-type": "application/x-amz-json-1.1" }).end(JSON.stringify(answer.body));
  });

  async open(): Promise<EventBridgeClient> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return clientOf(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

describe("a hint", () => {
  let bus: Bus;
  let client: EventBridgeClient;
  before(async () => {
    bus = new Bus();
    client = await bus.open();
  });
  after(() => {
    client.destroy();
    bus.close();
  });

  test("is the same entry as that of the Go helper, for the same names", async () => {
    await hint(client, NAME);
    assert.deepEqual(bus.sent, [golden("hint.json")]);
    const { taken, refused } = golden("names.json") as { taken: string[]; refused: string[] };
    bus.sent = [];
    for (const name of taken) await hint(client, name);
    assert.equal(bus.sent.length, taken.length);
    for (const name of [...refused, `${NAME}${"x".repeat(512)}`]) {
      assert.match((await failure(hint(client, name))).message, /is not the name of a secret, .*ask DescribeSecret for the name$/, name);
    }
    assert.equal(bus.sent.length, taken.length, "what is no name is not sent");
    await hint(client, NAME, "another");
    assert.equal((bus.sent.at(-1) as { Entries: { EventBusName: string }[] }).Entries[0]?.EventBusName, "another");
  });

  test("that EventBridge does not take is an error, also one that it refuses with an answer of 200", async (t) => {
    const { answer } = bus;
    t.after(() => void (bus.answer = answer));
    bus.answer = () => ({ status: 200, body: { FailedEntryCount: 1, Entries: [{ ErrorCode: "NotAuthorizedForSourceException", ErrorMessage: "Not authorized." }] } });
    assert.equal((await failure(hint(client, NAME))).message, "putting a hint on bus default: NotAuthorizedForSourceException: Not authorized.");
    bus.answer = () => ({ status: 400, body: { __type: "AccessDeniedException", message: "not allowed" } });
    assert.equal((await failure(hint(client, NAME))).message, "putting a hint on bus default: not allowed");
  });

  test("does not hold up who sends it", async (t) => {
    const { answer } = bus;
    t.after(() => void (bus.answer = answer));
    bus.answer = () => undefined;
    const began = performance.now();
    await failure(hint(client, NAME));
    assert.ok(performance.now() - began < 10_000);
  });
});

test("a hint arrives on ministack, through a rule and a queue as deployed, and the broadcaster takes it for one", async () => {
  const endpoint = process.env["MINISTACK_ENDPOINT"];
  if (!endpoint) throw new Error("MINISTACK_ENDPOINT is not set: run this inside test/tools/with-ministack.sh, as make test does");
  const account = String(randomInt(1e11, 1e12 - 1));
  const client = clientOf(endpoint, account);
  const queue = async (operation: string, input: object): Promise<Record<string, unknown>> => {
    const headers = {
      "content-type": "application/x-amz-json-1.0",
      "x-amz-target": `AmazonSQS.${operation}`,
      authorization: `AWS4-HMAC-SHA256 Credential=${account}/20261123/eu-west-2/sqs/aws4_request, SignedHeaders=host, Signature=0`,
    };
    return (await fetch(endpoint, { method: "POST", headers, body: JSON.stringify(input) })).json() as Promise<Record<string, unknown>>;
  };
  const { QueueUrl } = await queue("CreateQueue", { QueueName: "hints" });
  const EventPattern = JSON.stringify({ source: ["secret-broadcaster"], "detail-type": ["Secret Change Hint"], detail: { name: [{ prefix: "/bank/prod/payments/" }] } });
  await client.send(new PutRuleCommand({ Name: "hints", EventPattern }));
  await client.send(new PutTargetsCommand({ Rule: "hints", Targets: [{ Id: "queue", Arn: `arn:aws:sqs:eu-west-2:${account}:hints` }] }));
  await hint(client, NAME);
  const { Messages } = (await queue("ReceiveMessage", { QueueUrl, WaitTimeSeconds: 10 })) as { Messages: { Body: string }[] };
  client.destroy();
  assert.equal(Messages.length, 1);
  const explained = execFileSync("go", ["run", "./cmd/broadcaster", "explain", "--json", "-"], { cwd: repositoryRoot, input: Messages[0]?.Body ?? "", encoding: "utf8" });
  assert.match(explained, /"outcome": ?"signal"/);
  assert.match(explained, /"kind": ?"check"/);
  assert.ok(explained.includes(`"${NAME}"`), explained);
});

test("the documented rotation ends with a hint and needs none", async () => {
  const world = await World.open("local");
  const bus = new Bus();
  const client = await bus.open();
  const warned = mock.method(console, "warn", () => {});
  try {
    for (const status of [200, 400]) {
      const name = `/bank/prod/payments/neon/password-${status}`;
      await world.create(name, "first");
      const version = randomUUID();
      await world.admin.send(new PutSecretValueCommand({ SecretId: name, SecretString: "second", ClientRequestToken: version, VersionStages: ["AWSPENDING"] }));
      const current = async (): Promise<string> => (await world.admin.send(new GetSecretValueCommand({ SecretId: name }))).VersionId as string;
      let atHint = "";
      bus.onSent = async () => void (atHint = await current());
      bus.answer = () => ({ status, body: {} });
      await finishSecret(world.admin, client, await world.arn(name), version);
      assert.deepEqual([atHint, await current()], [version, version], `with a bus that answers ${status}`);
      assert.ok(JSON.stringify(bus.sent.at(-1)).includes(name));
    }
    assert.equal(warned.mock.callCount(), 1);
  } finally {
    warned.mock.restore();
    client.destroy();
    bus.close();
    await world.close();
  }
});

test("the code in docs/events.md stands word for word in what is run here", () => {
  const text = readFileSync(join(repositoryRoot, "docs", "events.md"), "utf8");
  const blocks = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, body]) => body as string);
  assert.ok(blocks.length > 0);
  const program = readFileSync(join(packageRoot, "test", "support", "rotation.ts"), "utf8").replace("../../src/hint.js", "@bank-platform/secret-broadcast/hint");
  for (const block of blocks) assert.ok(program.includes(block), block);
});
