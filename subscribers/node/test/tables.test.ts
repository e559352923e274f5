import assert from "node:assert/strict";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, mock, test } from "node:test";

import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

import { ChangeLog, ReportsTable, SecretsManager } from "../src/aws.js";
import { Tables } from "../src/tables.js";
import type { Report } from "../src/wire.js";
import { failure } from "./support/expect.js";
import { gate } from "./support/fake.js";

const never = new AbortController().signal;
const TAIL = 1;

describe("requests to DynamoDB", () => {
  const connections = new Set<unknown>();
  let requests: { headers: http.IncomingHttpHeaders; body: Record<string, unknown> }[] = [];
  let hold: () => Promise<void>;
  let answers: { status?: number; body: unknown; headers?: Record<string, string> }[] = [];
  let server: http.Server;
  let client: SecretsManagerClient;
  let endpoint: string;

  before(async () => {
    server = http.createServer((request, response) => {
      void (async () => {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk as Buffer);
        requests.push({ headers: request.headers, body: JSON.parse(Buffer.concat(chunks).toString()) as never });
        await hold();
        const { status = 200, body, headers = {} } = answers.shift() ?? { body: { Items: [] } };
        response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));
      })();
    });
    server.on("connection", (socket) => connections.add(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "placeholder", sessionToken: "a session" };
    client = new SecretsManagerClient({ region: "eu-west-2", credentials, endpoint, maxAttempts: 1 });
  });
  after(async () => {
    client.destroy();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  beforeEach(() => {
    requests = [];
    answers = [];
    hold = async () => {};
    connections.clear();
  });

  test("are signed for DynamoDB with the client's credentials and Region", async () => {
    await new ChangeLog(new Tables(client, endpoint), "changes").since(42, 102, never);
    const [{ headers, body }] = requests as [(typeof requests)[0]];
    assert.match(
      headers.authorization ?? "",
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-west-2\/dynamodb\/aws4_request, SignedHeaders=[a-z0-9;-]*content-type;host;[a-z0-9;-]*x-amz-target, Signature=[0-9a-f]{64}$/,
    );
    assert.equal(headers["x-amz-target"], "DynamoDB_20120810.Query");
    assert.equal(headers["content-type"], "application/x-amz-json-1.0");
    assert.equal(headers["x-amz-security-token"], "a session");
    assert.deepEqual(body, {
      TableName: "changes",
      ConsistentRead: true,
      KeyConditionExpression: "pk = :log AND sk >= :revision",
      ExpressionAttributeValues: { ":log": { S: "log" }, ":revision": { S: "0000000000000000042" } },
      ScanIndexForward: true,
      Limit: 102,
    });
  });

  test("follow a query to its limit; the date is the first answer's", async () => {
    const item = (revision: number) => ({ hash: { S: `hash ${revision}` }, detail: { S: JSON.stringify({ revision, changes: [] }) } });
    answers = [
      { body: { Items: [item(3)], LastEvaluatedKey: { sk: { S: "3" } } }, headers: { date: "Mon, 23 Nov 2026 10:00:00 GMT" } },
      { body: { Items: [item(2)], LastEvaluatedKey: { sk: { S: "2" } } }, headers: { date: "Mon, 23 Nov 2026 10:00:09 GMT" } },
    ];
    const page = await new ChangeLog(new Tables(client, endpoint), "changes").tail(2, never);
    assert.deepEqual(page.rows.map(({ revision, hash }) => [revision, hash]), [[2, "hash 2"], [3, "hash 3"]]);
    assert.equal(page.date, Date.UTC(2026, 10, 23, 10));
    assert.deepEqual(requests.map(({ body }) => [body["Limit"], body["ExclusiveStartKey"], body["ScanIndexForward"]]), [
      [2, undefined, false],
      [1, { sk: { S: "3" } }, false],
    ]);
  });

  test("of a foreign table, or a broken row, are errors that quote nothing", async () => {
    const log = new ChangeLog(new Tables(client, endpoint), "reports");
    for (const [body, want] of [
      [{ Items: [{ data: { S: "canary" } }] }, "check that SECRET_BROADCAST_TABLE names the changes table"],
      [{ Items: [{ hash: { S: "h" }, detail: { S: "canary" } }] }, "it is no JSON"],
      [{ Items: [{ hash: { S: "h" }, detail: { S: '{"revision":"canary"}' } }] }, "revision must be int64, not string"],
    ] as const) {
      answers = [{ body }];
      const { message } = await failure(log.tail(TAIL, never));
      assert.ok(message.startsWith("reading table reports: ") && message.includes(want) && !message.includes("canary"), message);
    }
  });

  test("an answer without a date is no failure, one that is too long is", async () => {
    const tables = new Tables(client, endpoint);
    answers = [{ body: { Items: [] }, headers: { date: "now" } }];
    assert.equal((await new ChangeLog(tables, "changes").tail(TAIL, never)).date, undefined);
    answers = [{ body: `"${"x".repeat(5 << 20)}"` }];
    assert.match((await failure(new ChangeLog(tables, "changes").tail(TAIL, never))).message, /longer than 4194304 bytes/);
  });

  test("use one connection, but not one that has been idle for long, nor one after an error", async (t) => {
    const tables = new Tables(client, endpoint);
    const log = new ChangeLog(tables, "changes");
    const used = async (): Promise<number> => {
      await log.tail(TAIL, never).catch(() => {});
      return connections.size;
    };
    assert.equal(await used(), 1);
    assert.equal(await used(), 1);
    const start = Date.now();
    const clock = mock.method(Date, "now", () => start + 19_000);
    t.after(() => clock.mock.restore());
    assert.equal(await used(), 1);
    clock.mock.mockImplementation(() => start + 40_000);
    assert.equal(await used(), 2);
    clock.mock.mockImplementation(() => start);
    assert.equal(await used(), 3, "a wall clock that went back says nothing");
    answers = [{ status: 500, body: "" }];
    assert.equal(await used(), 3);
    assert.equal(await used(), 4);
    answers = [{ status: 400, body: { __type: "x#ThrottlingException", message: "slow down" } }];
    assert.equal(await used(), 4);
    assert.equal(await used(), 4, "a refusal is an answer");
    const aborted = new AbortController();
    const hanging = log.tail(TAIL, aborted.signal);
    aborted.abort();
    await failure(hanging);
    assert.equal(await used(), 5);
  });

  test("are signed by the server's clock where it refuses a signature by this one, and once more only", async (t) => {
    const skewed = (type: string, minutes: number) => ({
      status: 400,
      body: { __type: `com.amazon.coral.service#${type}`, message: "Signature not yet current" },
      headers: { date: new Date(Date.now() + minutes * 60_000).toUTCString() },
    });
    t.after(() => (client.config.systemClockOffset = 0));
    for (const [refused, want] of [
      [[skewed("InvalidSignatureException", 10)], 2],
      [[skewed("RequestExpired", 10)], 2],
      [[skewed("InvalidSignatureException", 0), skewed("InvalidSignatureException", 0)], 1], // it is not for the time
      [[skewed("AccessDeniedException", 10)], 1],
      [[skewed("InvalidSignatureException", 10), skewed("InvalidSignatureException", 30)], 2],
    ] as const) {
      client.config.systemClockOffset = 0;
      requests = [];
      answers = [...refused];
      const error = await new ChangeLog(new Tables(client, endpoint), "changes").tail(TAIL, never).then(() => undefined, (failed: Error) => failed);
      assert.equal(requests.length, want);
      assert.equal(error === undefined, refused.length < want, String(error));
      if (error !== undefined) continue;
      const [first, second] = requests.map(({ headers }) => dated(headers)) as [number, number];
      assert.ok(Math.abs(second - first - 600_000) < 5000, "it is ten minutes later there");
      await new ChangeLog(new Tables(client, endpoint), "changes").tail(TAIL, never);
      assert.ok(Math.abs(dated(requests[2]?.headers) - second) < 5000, "which is remembered");
    }
  });

  test("a report is written where the Go client writes it", async () => {
    answers = [{ body: {} }];
    const report = { environment: "7f3c0000000000000000000000000001", service: "payments-api", revision: 42 } as Report;
    await new ReportsTable(new Tables(client, endpoint), "reports").put(report, never);
    const { Item, TableName } = (requests[0] as unknown as { body: { Item: Record<string, { S?: string; N?: string }>; TableName: string } }).body;
    assert.equal(TableName, "reports");
    const { ttl, ...rest } = Item;
    assert.deepEqual(rest, {
      pk: { S: "report#9" },
      sk: { S: "payments-api#7f3c0000000000000000000000000001" },
      data: { S: JSON.stringify(report) },
      service: { S: "payments-api" },
      revision: { N: "42" },
    });
    assert.match(ttl?.N ?? "", /^\d{10}$/);
  });

  test("a long rest makes a client's connections new, unless somebody uses one: the provider, or who has its client", async (t) => {
    const secrets = new SecretsManager(client, true);
    answers = [];
    const read = () => secrets.get("x", {}, never);
    await Promise.all([read(), read()]);
    const before = new Set(connections);
    await read();
    assert.deepEqual(connections, before);
    const asked = gate();
    const held = gate();
    hold = async () => {
      asked.open();
      await held.closed;
    };
    const users = client.send(new GetSecretValueCommand({ SecretId: "x", VersionStage: "AWSPREVIOUS" }));
    await asked.closed;
    hold = async () => {};
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 21_000 });
    await read();
    held.open();
    await users; // it was not cut off
    assert.deepEqual(connections, before);
    t.mock.timers.setTime(Date.now() + 21_000);
    await read();
    assert.equal(connections.size, before.size + 1);
  });

  test("an answer of Secrets Manager that cannot be read is not quoted", async () => {
    answers = [{ body: '{"SecretString":"canary"' }];
    const error = await failure(new SecretsManager(client, false).get("x", {}, never));
    assert.ok(!error.message.includes("canary") && error.message.includes("cannot be read"), error.message);
  });
});

/** When a request says that it was signed. */
const dated = (headers: http.IncomingHttpHeaders | undefined): number =>
  Date.parse(String(headers?.["x-amz-date"]).replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5"));
