import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { DEFAULT_TTL } from "../src/config.js";
import type { Ack, Row } from "../src/wire.js";
import { failure, fetched, push, reads } from "./support/expect.js";
import { API_KEY, Fake, gate, named, NEXT_CHECK, PASSWORD, settled } from "./support/fake.js";
import { goldenPath } from "./support/goldens.js";

const golden = (path: string): unknown => JSON.parse(readFileSync(goldenPath(path), "utf8"));

test("a business event passes untouched, and so does the handler's error", async () => {
  const cache = new Fake().cache();
  for (const event of [undefined, { order: 1 }, "text", { source: "secret-broadcaster", "detail-type": "Secret Counted" }]) {
    assert.equal(await cache.invoke(event, undefined, async () => "its answer"), "its answer");
    const cause = new Error("no such order");
    assert.equal(await failure(cache.invoke(event, undefined, () => Promise.reject(cause))), cause);
    assert.equal(
      await failure(
        cache.invoke(event, undefined, () => {
          throw cause;
        }),
      ),
      cause,
    );
  }
});

test("an invocation starts the check", async () => {
  const fake = new Fake();
  const cache = fake.cache();
  for (let i = 0; i < 3; i++) {
    // while it is young enough it is not checked again
    await cache.invoke({}, undefined, async () => {
      await settled(); // before anything is read
      assert.equal(fake.logReads, 1);
    });
  }
});

test("a push is answered with an ack, and the new version is there before anybody reads it", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const second = fake.put(PASSWORD, "second");
  const ack = await push(cache, fake.invalidation(PASSWORD));
  const { revision, hash } = cache.position();
  const cfg = fake.config();
  assert.deepEqual(ack, {
    schema: 1,
    client: "node/1.0.0",
    service: cfg.service,
    function: cfg.function?.arn,
    environment: ack.environment,
    logStream: cfg.function?.logStream,
    revision,
    hash,
    secrets: [{ name: PASSWORD, versionId: second, outcome: "applied", verified: true }],
  });
  assert.match(ack.environment, /^[0-9a-f]{32}$/);
  assert.equal(revision, 3);
  fetched(fake, 2);
  await reads(cache, "second");
  fetched(fake, 2);
});

/** Each golden row, and what is to be in the cache so that its golden ack comes out. */
const GOLDEN_ACKS: Record<string, { row: string; pushed?: string; prepare: (world: GoldenWorld) => void | Promise<void> }> = {
  applied: { row: "moved", prepare: ({ hold }) => hold(CONNECTION_STRING) },
  "applied-deletion": {
    row: "deleted",
    async prepare({ hold, fake }) {
      await hold(CONNECTION_STRING);
      fake.editFetched = () => {
        throw named("InvalidRequestException", "it was marked for deletion");
      };
    },
  },
  "not-cached": { row: "moved", prepare: () => {} },
  failed: {
    row: "moved",
    async prepare({ hold, cache }) {
      await hold(CONNECTION_STRING);
      cache.onChange(CONNECTION_STRING, () => {
        throw new Error("login failed for canary-value");
      });
    },
  },
  observed: { row: "moved", prepare: ({ hold }) => hold(CONNECTION_STRING) },
  "log-unread": {
    row: "moved",
    pushed: "deleted",
    prepare({ fake }) {
      fake.logError = new Error("broken");
    },
  },
};
const CONNECTION_STRING = "/bank/prod/payments/neon/connection-string";

interface GoldenWorld {
  fake: Fake;
  cache: ReturnType<Fake["cache"]>;
  hold: (name: string) => Promise<void>;
}

test("the same row in, the same ack out as the golden files have it", async () => {
  for (const [name, { row: rowName, pushed = rowName, prepare }] of Object.entries(GOLDEN_ACKS)) {
    const row = golden(`row/${rowName}.json`) as Row;
    const want = golden(`ack/${name}.json`) as Ack;
    const before: Row = { ...row, revision: row.revision - 1, changes: [], hash: row.previousHash as string };
    delete before.previousHash;
    const fake = new Fake("prod", "payments");
    fake.rows = name === "log-unread" ? [before, row] : [before];
    fake.editPage = (page) => ({ ...page, date: Date.parse(row.time) + 1000 });
    const versions = new Map<string, string>();
    const cache = fake.cache({
      service: want.service,
      function: { logStream: want.logStream as string },
      ...(name === "observed" ? { mode: "observe" as const } : {}),
      secrets: {
        get: async (id) => {
          const versionId = versions.get(id) as string;
          const got = { name: id, arn: `arn:aws:secretsmanager:eu-west-2:1:secret:${id}-AbCdE0`, versionId, created: 0, value: "v" };
          return fake.editFetched(got, {});
        },
      },
    });
    await cache.invoke({}, want.function, async () => {}); // the cursor stands before the row
    await prepare({
      fake,
      cache,
      hold: async (id) => {
        versions.set(id, "EXAMPLE0-90ab-cdef-fedc-ba987EXAMPLE");
        await cache.get(id);
      },
    });
    if (name !== "log-unread") fake.rows.push(row);
    for (const change of row.changes) if (change.versionId !== undefined) versions.set(change.name, change.versionId);
    const invalidation = golden(`invalidation/${pushed}.json`);
    const ack = (await cache.invoke(invalidation, want.function, () => Promise.reject(new Error("not for the handler")))) as Ack;
    assert.deepEqual({ ...ack, environment: want.environment, client: want.client }, want, name);
    // The order of the members is the contract's too: what is written is the golden's text.
    const text = JSON.stringify({ ...ack, environment: want.environment, client: want.client });
    assert.equal(text, JSON.stringify(want), name);
  }
});

test("the ack tells what became of each secret", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.put(API_KEY, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  await reads(cache, "first", API_KEY);
  fake.delete(PASSWORD);
  assert.deepEqual((await push(cache, fake.invalidation(PASSWORD))).secrets, [{ name: PASSWORD, outcome: "applied" }]);
  fake.secretsError = named("ThrottlingException", "slow down, canary-value");
  fake.put(API_KEY, "second");
  const { secrets } = await push(cache, fake.invalidation(API_KEY));
  assert.deepEqual(
    secrets?.map(({ outcome, reason }) => ({ outcome, reason })),
    [{ outcome: "failed", reason: "the new version could not be fetched" }],
  );
});

test("a replayed push moves nothing back, and a forged one is told nothing", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const old = fake.invalidation(PASSWORD);
  fake.put(PASSWORD, "second");
  await push(cache, fake.invalidation(PASSWORD));
  assert.equal((await push(cache, old)).revision, 3);
  await reads(cache, "second");
  fetched(fake, 2);
  const forged = fake.invalidation(PASSWORD);
  forged.detail.revision = 99;
  forged.detail.hash = "77ab";
  const ack = await push(cache, forged);
  assert.deepEqual([ack.secrets, ack.revision, ack.problem], [undefined, 3, undefined]);
  await reads(cache, "second");
  fetched(fake, 2); // and it cost no fetch
});

test("a push that is not for us is refused, without a read of the log", async () => {
  const kyc = new Fake("test", "kyc");
  kyc.put("/bank/test/kyc/provider/api-key", "first");
  const prod = new Fake("prod", "payments");
  prod.put("/bank/prod/payments/neon/password", "first");
  const cases: [unknown, string][] = [
    [kyc.invalidation("/bank/test/kyc/provider/api-key"), "of test/kyc was sent to a function of test/payments"],
    [prod.invalidation("/bank/prod/payments/neon/password"), "of prod/payments was sent to a function of test/payments"],
    [golden("malformed/newer-schema.json"), "newer schema"],
    [golden("malformed/revision-a-string.json"), "malformed"],
    [golden("malformed/changes-an-object.json"), "malformed"],
  ];
  for (const [event, want] of cases) {
    const fake = new Fake();
    const ack = await push(fake.cache(), event);
    assert.ok(ack.problem?.includes(want), ack.problem);
    assert.deepEqual([ack.secrets, ack.revision, ack.hash], [undefined, 0, undefined]);
    const said = JSON.stringify(fake.logged);
    assert.ok(said.includes(want) && !said.includes("canary"), said);
    assert.equal(fake.logReads, 0);
  }
});

test("a push without the log refetches by label, and rarely", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.logError = new Error("broken");
  const event = fake.invalidation(PASSWORD);
  event.detail.changes[0]!.versionId = "EXAMPLE9-90ab-cdef-fedc-ba987EXAMPLE";
  for (let i = 0; i < 3; i++) {
    const ack = await push(cache, event);
    assert.deepEqual([ack.problem, ack.secrets, ack.revision], ["the change log could not be read", undefined, 2]);
    await reads(cache, "second");
  }
  fetched(fake, 2);
  fake.clock.jump(10_000);
  await push(cache, event);
  await reads(cache, "second");
  fetched(fake, 3);
});

test("a push ignores the breaker", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  fake.logError = new Error("broken");
  for (let i = 0; i < 4; i++) await reads(cache, "first");
  fake.logError = undefined;
  const second = fake.put(PASSWORD, "second");
  const ack = await push(cache, fake.invalidation(PASSWORD));
  assert.equal(ack.problem, undefined);
  assert.equal(ack.secrets?.[0]?.versionId, second);
});

test("a push does not take the answer of a check that was sent before it", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const log = gate();
  fake.logGate = log.closed;
  const read = cache.get(PASSWORD);
  await settled();
  fake.put(PASSWORD, "second");
  fake.clock.jump(1);
  const ack = push(cache, fake.invalidation(PASSWORD));
  await settled();
  log.open();
  assert.equal((await ack).revision, 3);
  assert.equal((await read).value, "second");
});

test("an invocation waits 50 ms at the most for what is on its way", async () => {
  const fake = new Fake();
  fake.logGate = gate().closed;
  const cache = fake.cache();
  let ended = false;
  const invocation = cache.invoke({}, undefined, async () => {}).then(() => (ended = true));
  await fake.clock.advance(49);
  assert.equal(ended, false);
  await fake.clock.advance(1);
  assert.equal(ended, true);
  await invocation;
});

test("a fetch left on its way by a rest is not the next read's fault", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const secrets = gate();
  fake.secretsGate = secrets.closed;
  let read: Promise<unknown> = Promise.resolve();
  await cache.invoke({}, undefined, async () => {
    read = cache.get(PASSWORD);
    read.catch(() => {});
    await settled();
  });
  await fake.clock.advance(9_999); // frozen, nearly as long as the call's time-out
  fake.secretsError = named("ECONNRESET", "the connection was dead");
  await cache.invoke({}, undefined, async () => {
    const next = cache.get(PASSWORD);
    fake.secretsGate = undefined;
    fake.secretsError = undefined;
    await fake.clock.advance(2); // the call of before ends
    assert.equal((await next).toString(), "[secret]");
  });
  assert.equal(cache.counts().fetchFailures, 0);
  secrets.open();
});

test("who is off never reads the log nor reports", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache({ mode: "off" });
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  const ack = await push(cache, fake.invalidation(PASSWORD));
  assert.deepEqual([ack.problem, ack.secrets, ack.revision], ["the client is off", undefined, 0]);
  await cache.invoke({}, undefined, () => reads(cache, "first"));
  fake.clock.jump(DEFAULT_TTL + 1);
  await reads(cache, "second");
  assert.equal(fake.logReads, 0);
  assert.equal(fake.reports.length, 0);
  fake.clock.jump(NEXT_CHECK);
});

test("an ack waits for its secrets at the same time: a bulk rotation answers as fast as its slowest", async () => {
  const fake = new Fake();
  for (const name of [PASSWORD, API_KEY]) fake.put(name, "first");
  const cache = fake.cache();
  for (const name of [PASSWORD, API_KEY]) await reads(cache, "first", name);
  fake.put(PASSWORD, "second");
  fake.put(API_KEY, "second");
  const [theirs, ours] = fake.rows.splice(-2) as [Row, Row];
  fake.rows.push({ ...theirs, changes: [...theirs.changes, ...ours.changes] });
  const secrets = gate();
  fake.secretsGate = secrets.closed;
  const ack = push(cache, fake.invalidation(API_KEY));
  await settled();
  for (const name of [PASSWORD, API_KEY]) fetched(fake, 2, name);
  secrets.open();
  assert.deepEqual((await ack).secrets?.map(({ name, outcome }) => [name, outcome]), [[PASSWORD, "applied"], [API_KEY, "applied"]]);
});
