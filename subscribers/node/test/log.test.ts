import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT_TTL } from "../src/config.js";
import { fetched, push, reads, took } from "./support/expect.js";
import { API_KEY, Fake, gate, NEXT_CHECK, PASSWORD, settled } from "./support/fake.js";

const broken = new Error("broken");

test("the breaker opens after three failures and closes again", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const step = async (text: string, want: number): Promise<void> => {
    fake.logReads = 0;
    await reads(cache, "first");
    assert.equal(fake.logReads, want, text);
  };
  await step("the first check", 1);
  fake.logError = broken;
  fake.clock.jump(NEXT_CHECK);
  for (let i = 0; i < 3; i++) await step("a failure, with one retry", 2);
  await step("open", 0);
  fake.clock.jump(9_999);
  await step("still open", 0);
  fake.clock.jump(1);
  await step("one probe", 2);
  await step("open again", 0);
  const { checks, checkFailures, uncertain } = cache.counts();
  assert.deepEqual({ checks, checkFailures, uncertain }, { checks: 1, checkFailures: 4, uncertain: 7 });
  fake.logError = undefined;
  fake.clock.jump(10_000);
  await step("closed", 1);
  await step("a hit", 0);
  fake.logError = broken;
  fake.clock.jump(NEXT_CHECK);
  for (let i = 0; i < 3; i++) await step("it takes three failures again", 2);
  await step("open once more", 0);
  assert.equal(fake.logs("cannot be read"), 1, "within a minute of the first");
  assert.equal(fake.logs("can be read again"), 1);
  fake.clock.jump(60_000);
  await step("an outage that goes on is told of, a minute after the one before", 2);
  assert.equal(fake.logs("cannot be read"), 2);
  fake.logError = undefined;
  fake.clock.jump(10_000);
  await step("closed again", 1);
  assert.equal(fake.logs("can be read again"), 2);
});

test("with a broken log the TTL alone applies", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.logError = broken;
  const cache = fake.cache(); // not even the first check succeeds
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.clock.jump(DEFAULT_TTL - 1);
  await reads(cache, "first");
  fake.clock.jump(2);
  await reads(cache, "second");
});

test("a log that hangs costs a read two time-outs, and then nothing", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.logGate = gate().closed;
  const cache = fake.cache();
  const { ms, value } = await took(fake, cache.get(PASSWORD));
  assert.equal(value?.value, "first");
  assert.equal(ms, 500);
  assert.equal(fake.logReads, 2);
  assert.equal(cache.counts().checkFailures, 1);
});

test("an answer of the log that comes after its time-out is not applied", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  const log = gate();
  fake.logGate = log.closed;
  fake.clock.jump(NEXT_CHECK);
  const { value } = await took(fake, cache.get(PASSWORD));
  assert.equal(value?.value, "first");
  log.open();
  await settled();
  assert.equal(cache.position().revision, 2);
  assert.equal(cache.counts().uncertain, 1);
});

test("an answer that comes when it is too old already is asked for again", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.clock.jump(NEXT_CHECK);
  const log = gate();
  fake.logGate = log.closed;
  const read = cache.get(PASSWORD);
  await settled();
  fake.put(PASSWORD, "second");
  fake.clock.jump(60_000); // the environment was frozen with the request under way, and its timers too
  fake.logGate = undefined;
  log.open();
  assert.equal((await read).value, "second");
});

test("the first check that succeeds marks what is cached", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.logError = broken;
  const cache = fake.cache();
  await reads(cache, "first");
  fake.putSilently(PASSWORD, "second");
  fake.logError = undefined;
  await reads(cache, "second");
});

test("an empty log is a broken one", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.editPage = () => ({ rows: [] });
  const cache = fake.cache();
  await reads(cache, "first");
  const { checks, checkFailures, uncertain } = cache.counts();
  assert.deepEqual({ checks, checkFailures, uncertain }, { checks: 0, checkFailures: 1, uncertain: 1 });
  assert.deepEqual(cache.position(), { revision: 0, hash: "" });
  assert.equal(fake.logged[0]?.extra?.["error"], "the change log is empty");
});

test("a gap is not stepped over", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.put(API_KEY, "first");
  fake.editPage = (page) => ({ ...page, rows: [page.rows[0]!, ...page.rows.slice(2)] }); // the change's row is not there yet
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  assert.equal(cache.position().revision, 2);
  assert.equal(cache.counts().checkFailures, 1);
  fake.editPage = (page) => page;
  await reads(cache, "second");
  assert.equal(cache.position().revision, 4);
});

test("a row whose previous hash is another's is a gap", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.editPage = (page) => ({ ...page, rows: [page.rows[0]!, { ...page.rows[1]!, previousHash: "77ab" }] });
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  assert.equal(cache.position().revision, 2);
});

test("a restored table is followed", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.put(PASSWORD, "second");
  const restored = new Fake();
  restored.put(API_KEY, "first");
  let log = fake.log;
  const cache = fake.cache({ log: { since: (...a) => log.since(...a), tail: (...a) => log.tail(...a) } });
  await reads(cache, "second");
  fake.putSilently(PASSWORD, "third");
  log = restored.log; // shorter, and with another hash at each revision
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "third");
  assert.equal(cache.position().revision, 2);
  restored.put(API_KEY, "second");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "third");
  assert.equal(cache.position().revision, 3);
  fetched(fake, 2); // what follows is applied row by row again
});

test("a restored table that is longer than what was applied is followed as well", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const restored = new Fake();
  for (let i = 0; i < 5; i++) restored.put(API_KEY, `another ${i}`);
  let log = fake.log;
  const cache = fake.cache({ log: { since: (...a) => log.since(...a), tail: (...a) => log.tail(...a) } });
  await reads(cache, "first");
  fake.putSilently(PASSWORD, "second");
  log = restored.log;
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second");
  assert.equal(cache.position().revision, 6);
  assert.equal(cache.counts().checkFailures, 0);
});

test("a later change that is known counts more than an older one of a restored table", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const older = { ...fake.rows[1]! };
  const stale = await fake.port.get(PASSWORD, {}, new AbortController().signal);
  fake.put(PASSWORD, "second");
  let log = fake.log;
  const restored = new Fake();
  restored.rows = [restored.rows[0]!, older].map((row, i) => ({ ...row, revision: i + 1, hash: `hash ${i}`, ...(i ? { previousHash: "hash 0" } : {}) }));
  const cache = fake.cache({ log: { since: (...a) => log.since(...a), tail: (...a) => log.tail(...a) } });
  await reads(cache, "second");
  log = restored.log;
  restored.clock.elapsed = NEXT_CHECK;
  fake.clock.jump(NEXT_CHECK);
  fake.editFetched = (got, version) => (version.id === undefined ? stale : got);
  const { value } = await took(fake, cache.get(PASSWORD), 10);
  assert.equal(value?.value, "second");
});

test("more than a hundred rows behind everything is fetched again", async () => {
  for (const [rows, want] of [[100, 1], [101, 2]] as const) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const cache = fake.cache();
    await reads(cache, "first");
    for (let i = 0; i < rows; i++) fake.put(API_KEY, "another");
    fake.clock.jump(NEXT_CHECK);
    await reads(cache, "first");
    fetched(fake, want);
    assert.equal(cache.position().revision, rows + 2);
  }
});

test("the tail is read as far back as late answers reach", async () => {
  const fake = new Fake();
  const first = fake.put(PASSWORD, "first");
  const before = await fake.port.get(PASSWORD, {}, new AbortController().signal);
  fake.put(PASSWORD, "second");
  for (let i = 0; i < 150; i++) fake.put(API_KEY, "another");
  fake.editFetched = (got, version) => (version.id === undefined && got.name === PASSWORD ? before : got);
  const { value } = await took(fake, fake.cache().get(PASSWORD), 10);
  assert.notEqual(value?.id, first);
  assert.equal(value?.value, "second");
});

test("a row of a newer schema marks everything", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(API_KEY, "first");
  fake.editPage = (page) => ({ ...page, rows: page.rows.map((row, i) => (i === page.rows.length - 1 ? { ...row, schema: 2 } : row)) });
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  fetched(fake, 2);
});

test("a wall clock that went back means: check; a monotonic clock that stood still does not hide the time", async () => {
  for (const drift of [-3_600_000, NEXT_CHECK]) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const cache = fake.cache();
    await reads(cache, "first");
    fake.put(PASSWORD, "second");
    fake.clock.drift = drift;
    await reads(cache, "second");
  }
});

test("a fetch of an ARN whose name is not known yet is judged by the changes of its name", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const secrets = gate();
  fake.secretsGate = secrets.closed;
  const cache = fake.cache();
  const read = cache.get(fake.arn(PASSWORD));
  await settled();
  fake.put(PASSWORD, "second");
  await push(cache, fake.invalidation(PASSWORD));
  secrets.open();
  assert.equal((await read).value, "second");
});

test("what a freeze has made old is not judged as young: the log's clock dates what is known", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const first = (await cache.get(PASSWORD)).id;
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second");
  // Two minutes pass of which this environment's clocks know nothing: the log tells them.
  fake.editPage = (page) => ({ ...page, date: (page.date ?? 0) + 120_000 });
  fake.rollback(PASSWORD);
  fake.rows.pop(); // its event was lost
  fake.clock.jump(NEXT_CHECK);
  const got = await cache.get(PASSWORD, { ttl: 1 });
  assert.equal(got.id, first);
  assert.equal(cache.counts().lateAnswers, 0);
  const { known } = (cache as unknown as { state: { known: Map<string, unknown> } }).state;
  assert.equal(known.size, 0, "what is old is not kept either");
});

test("another domain's log is not followed, and that is said", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache({ env: "tset" });
  await reads(cache, "first");
  assert.equal(fake.logReads, 0, "the secret is another env's");
  assert.equal(fake.logs("outside what the change log speaks of"), 1);
  await reads(cache, "first", fake.arn(PASSWORD));
  assert.equal(fake.logs("outside what the change log speaks of"), 1);
  await cache.invoke({}, undefined, async () => {});
  assert.equal(cache.position().revision, 0);
  assert.match(
    String(fake.logged.at(-1)?.extra?.["error"]),
    /the change log is of test\/payments, this function is configured for tset\/payments: correct SECRET_BROADCAST_TABLE/,
  );
});

test("a table that another domain's log was restored into is not followed", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.editPage = (page) => ({ ...page, rows: page.rows.map((row) => ({ ...row, domain: "kyc" })) });
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  assert.deepEqual([cache.counts().uncertain, cache.counts().checkFailures], [1, 1]);
});
