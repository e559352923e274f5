import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { InvalidatingSecretsProvider, withInvalidation } from "../src/index.js";
import type { Ack, Report } from "../src/wire.js";
import { logged } from "./support/logged.js";
import { World, WORLDS } from "./support/world.js";

const NAME = "/bank/test/payments/neon/password";
const CONTEXT = { invokedFunctionArn: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api:live" };

for (const kind of WORLDS) {
  describe(`no request fails because of us, at ${kind}`, () => {
    let world: World;
    before(async () => {
      world = await World.open(kind);
      await world.create(NAME, "first");
    });
    after(() => world.close());
    beforeEach(() => world.configure());

    const refused = (type: string) => async (operation: string) =>
      operation === "Query" ? { status: 400, body: JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: "no" }) } : undefined;

    for (const [what, prepare, remedy] of [
      ["the table is missing", () => world.configure({ SECRET_BROADCAST_TABLE: "no-such-table" }), "SECRET_BROADCAST_TABLE"],
      ["access is denied", () => (world.meter.fault = refused("AccessDeniedException")), "the function's role allows"],
      ["throttled", () => (world.meter.fault = refused("ProvisionedThroughputExceededException")), "capacity mode"],
      ["credentials have expired", () => (world.meter.fault = refused("ExpiredTokenException")), "check the credentials"],
      ["the server fails", () => (world.meter.fault = async (operation) => (operation === "Query" ? { status: 500, body: "<html>" } : undefined)), "no error of DynamoDB's"],
      ["the answer is no JSON", () => (world.meter.fault = async (operation) => (operation === "Query" ? { status: 200, body: "canary" } : undefined)), "it is no JSON"],
      ["the answer never comes", () => (world.meter.fault = (operation) => (operation === "Query" ? new Promise(() => {}) : undefined)), "no answer within 250 ms"],
      ["the endpoint does not listen", () => world.configure({ AWS_ENDPOINT_URL_DYNAMODB: "http://127.0.0.1:9" }), "ECONNREFUSED"],
    ] as const) {
      test(`${what}: requests work, one log line, and the counts tell`, async () => {
        prepare();
        const lines = await logged(async () => {
          const provider = new InvalidatingSecretsProvider();
          const handler = withInvalidation(async (_event: unknown, _context: unknown) => provider.get(NAME, { maxAge: 60 }));
          for (let i = 0; i < 8; i++) assert.equal(await handler({}, CONTEXT), "first");
        });
        const toldOfReports = lines.splice(1); // one more where they cannot be written either
        const told = what === "the endpoint does not listen" ? [/reports cannot be written/] : [];
        assert.equal(toldOfReports.length, told.length, toldOfReports.join("\n"));
        for (const [i, text] of told.entries()) assert.match(toldOfReports[i] as string, text);
        assert.ok(lines[0]?.includes("the change log cannot be read") && lines[0].includes(remedy), lines[0]);
        assert.ok(!lines[0]?.includes("canary"), lines[0]);
        assert.equal(world.meter.count("GetSecretValue"), 1);
        const [stored] = await world.reports();
        const report = JSON.parse(stored?.data.S ?? "{}") as Report;
        if (what === "the endpoint does not listen") return; // nor can it be reported
        assert.equal(report.revision, 0);
        assert.ok(report.counts.checkFailures >= 3 && report.counts.uncertain >= 2, JSON.stringify(report.counts));
      });
    }

    test("reports that cannot be written are nobody's trouble, and one log line", async () => {
      world.configure({ SECRET_BROADCAST_REPORTS_TABLE: "no-such-table" });
      const lines = await logged(async (sofar) => {
        const provider = new InvalidatingSecretsProvider();
        for (const began = performance.now(); sofar.length === 0; ) {
          assert.equal(await provider.get(NAME, { maxAge: 60 }), "first");
          assert.ok(performance.now() - began < 10_000, "it is logged");
          await setImmediate(); // or reads of memory would let no answer arrive
        }
      });
      assert.equal(lines.length, 1);
      assert.ok(lines[0]?.includes("reports cannot be written") && lines[0].includes("SECRET_BROADCAST_REPORTS_TABLE"), lines[0]);
    });

    for (const [what, wrong] of Object.entries({
      "two variables": { SECRET_BROADCAST_DOMAIN: "payments/neon", SECRET_BROADCAST_CHECK_EVERY: "soon" },
      "too short a time for a check": { SECRET_BROADCAST_CHECK_EVERY: "499ms" },
      "none at all, with the mode off": { SECRET_BROADCAST_CHECK_EVERY: "0", SECRET_BROADCAST_MODE: "off" },
      "a negative one, without a table": { SECRET_BROADCAST_CHECK_EVERY: "-1s", SECRET_BROADCAST_TABLE: undefined },
      "an endless one": { SECRET_BROADCAST_CHECK_EVERY: `${"9".repeat(400)}h` },
      "no mode": { SECRET_BROADCAST_MODE: "loud" },
      "no env": { SECRET_BROADCAST_ENV: "" },
      "a blank in the env": { SECRET_BROADCAST_ENV: "te st" },
      "nobody to report as": { POWERTOOLS_SERVICE_NAME: undefined, AWS_LAMBDA_FUNCTION_NAME: undefined },
      "no endpoint": { AWS_ENDPOINT_URL_DYNAMODB: "nowhere" },
    })) {
      test(`configured wrongly, ${what}: one log line, the TTL alone applies, and every request works`, async () => {
        world.configure(wrong);
        const lines = await logged(async () => {
          const handler = withInvalidation(async (_event: unknown, _context: unknown) => new InvalidatingSecretsProvider().get(NAME, { maxAge: 60 }));
          for (let i = 0; i < 2; i++) assert.equal(await handler({}, CONTEXT), "first");
        });
        assert.equal(lines.length, 1, lines.join("\n"));
        for (const name of Object.keys(wrong)) {
          if (!/_(TABLE|MODE|FUNCTION_NAME)$/.test(name)) assert.ok(lines[0]?.includes(name), lines[0]);
        }
        assert.equal(world.meter.count("Query"), 0);
      });
    }

    test("a client without a Region is told what to set", async () => {
      world.configure({ AWS_REGION: undefined, AWS_ENDPOINT_URL_DYNAMODB: undefined, AWS_ENDPOINT_URL: undefined, AWS_CONFIG_FILE: "/dev/null" });
      const lines = await logged(async () => {
        await assert.rejects(new InvalidatingSecretsProvider().get(NAME), /Region is missing/);
      });
      assert.ok(lines.length === 1 && lines[0]?.includes("set AWS_REGION"), lines.join("\n"));
    });

    test("providers share one cursor; a push is answered for all, and a report tells of the wrapped handler", async () => {
      const a = new InvalidatingSecretsProvider();
      const b = new InvalidatingSecretsProvider();
      const own = new InvalidatingSecretsProvider({ clientConfig: { maxAttempts: 2 } });
      const handler = withInvalidation(async (_event: unknown, _context: unknown) =>
        Promise.all([a, b, own].map((provider) => provider.get(NAME, { maxAge: 60 }))),
      );
      const first = (await handler({}, CONTEXT)) as string[];
      assert.equal(new Set(first).size, 1);
      assert.equal(world.meter.count("GetSecretValue"), 2);
      assert.equal(world.meter.count("Query"), 2);
      const row = await world.change(NAME, `${first[0] as string}, and another`);
      const ack = (await handler(world.invalidation(row), CONTEXT)) as unknown as Ack;
      assert.deepEqual(
        [ack.client, ack.service, ack.function, ack.logStream, ack.revision, ack.hash, ack.problem],
        ["node/1.0.0", "payments-api", CONTEXT.invokedFunctionArn, "2026/11/23/[7]0f3a", row.revision, row.hash, undefined],
      );
      const versionId = row.changes[0]?.versionId;
      assert.deepEqual(ack.secrets, [{ name: NAME, versionId, outcome: "applied", verified: true }]);
      assert.equal(world.meter.count("GetSecretValue"), 4);
      for (const provider of [a, b, own]) assert.equal(await provider.get(NAME, { maxAge: 60 }), `${first[0] as string}, and another`);
      assert.equal(world.meter.count("GetSecretValue"), 4);
      const reports = (await world.reports()).map(({ sk, data, ttl }) => ({ sk, ttl, report: JSON.parse(data.S) as Report }));
      const mine = reports.find(({ report }) => report.environment === ack.environment);
      assert.equal(mine?.sk.S, `payments-api#${ack.environment}`);
      assert.deepEqual([mine?.report.takesInvalidations, mine?.report.version], [true, "7"]);
      const hours = (Number(mine?.ttl.N) - Date.now() / 1000) / 3600;
      assert.ok(hours > 23 && hours <= 24, String(hours));
    });
  });
}
