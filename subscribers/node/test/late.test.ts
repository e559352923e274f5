import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT_TTL } from "../src/config.js";
import { failure, fetched, reads, took } from "./support/expect.js";
import { Fake, gate, named, NEXT_CHECK, PASSWORD, settled } from "./support/fake.js";

// What is served while Secrets Manager is late, fails or hangs.

test("a known deletion is what the error says while Secrets Manager still answers with what was before", async () => {
  for (const [change, deleted] of [["delete", true], ["put", false]] as const) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const cache = fake.cache();
    await reads(cache, "first");
    const stale = await fake.port.get(PASSWORD, {}, new AbortController().signal);
    fake.clock.jump(DEFAULT_TTL); // what is held may not be served either
    if (change === "delete") fake.delete(PASSWORD);
    else fake.put(PASSWORD, "second");
    const unmoved = fake.cache({ secrets: { get: async () => stale } });
    fake.clock.jump(NEXT_CHECK);
    const { error, value } = await took(fake, unmoved.get(PASSWORD));
    assert.equal(error?.name, deleted ? "InvalidRequestException" : undefined);
    assert.equal(value?.value, deleted ? undefined : "first"); // the best that can be had: what a client without the log serves
    if (deleted) assert.ok(error?.message.includes(PASSWORD));
  }
});

test("a late answer is no value of a deleted secret, though a clock is set or a freeze comes while it is asked for", async () => {
  const [first, tries] = [1, 5];
  // Each is called before an answer, with how many there were.
  for (const disturb of [
    (set: (ms: number) => void, call: number) => void (call === first + 2 && set(-60_000)),
    (set: (ms: number) => void, call: number) => void (call === first + 2 && set(120_000)),
    (_: unknown, call: number, fake: Fake) => void (call === first + tries && fake.clock.jump(60_000)),
  ]) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const stale = await fake.port.get(PASSWORD, {}, new AbortController().signal);
    let [drift, calls] = [0, 0];
    const { monotonic, wall, after } = fake.clock;
    const cache = fake.cache({
      clock: { monotonic, wall: () => wall() + drift, after },
      secrets: {
        get: async (id, version, signal) => {
          disturb((ms) => (drift = ms), ++calls, fake);
          return calls > first + tries ? fake.port.get(id, version, signal) : stale;
        },
      },
    });
    await reads(cache, "first");
    fake.delete(PASSWORD);
    fake.clock.jump(NEXT_CHECK);
    const { error, value } = await took(fake, cache.get(PASSWORD));
    assert.equal(error?.name, "InvalidRequestException", String(value?.value));
  }
});

test("a late answer is better than none, also where nothing may be cached: a client without the log would serve it", async () => {
  for (const options of [{ ttl: 0 }, { force: true }]) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const stale = await fake.port.get(PASSWORD, {}, new AbortController().signal);
    const cache = fake.cache({ secrets: { get: async () => stale } });
    await reads(cache, "first", PASSWORD, options);
    fake.put(PASSWORD, "second");
    fake.clock.jump(NEXT_CHECK);
    const { value, error } = await took(fake, cache.get(PASSWORD, options));
    assert.equal(value?.value, "first", error?.message);
    assert.equal(cache.counts().outdated, 1);
  }
});

test("a late answer is better than none, whatever becomes of the read by version id after it", async () => {
  for (const failed of [named("AccessDeniedException", "not by version"), named("ThrottlingException", "slow down"), "never answered"]) {
    for (const options of [{}, { ttl: 0 }, { force: true }]) {
      const fake = new Fake();
      fake.put(PASSWORD, "first");
      const stale = await fake.port.get(PASSWORD, {}, new AbortController().signal);
      fake.put(PASSWORD, "second");
      const cache = fake.cache({
        secrets: {
          get: async (_id, version) => {
            if (version.id === undefined) return stale;
            if (failed instanceof Error) throw failed;
            return new Promise(() => {});
          },
        },
      });
      const { value, error } = await took(fake, cache.get(PASSWORD, options));
      assert.equal(value?.value, "first", String(error));
      assert.equal(cache.counts().outdated, 1);
      assert.equal(fake.logs("a changed secret cannot be fetched"), 1);
    }
  }
});

test("a version that cannot be fetched leaves the one before until its TTL ends", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const cause = (fake.secretsError = named("ThrottlingException", "slow down"));
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  for (let i = 0; i < 3; i++) await reads(cache, "first");
  fetched(fake, 2); // not asked for at every read
  const { outdated, fetchFailures, uncertain } = cache.counts();
  assert.deepEqual({ outdated, fetchFailures, uncertain }, { outdated: 3, fetchFailures: 1, uncertain: 0 });
  assert.equal(fake.logs("cannot be fetched"), 1);
  fake.clock.jump(DEFAULT_TTL);
  assert.equal(await failure(cache.get(PASSWORD)), cause);
  fake.secretsError = undefined;
  await reads(cache, "second");
});

test("a wall clock that was set back makes what is held uncertain, not gone: while nothing newer can be had it is served", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.clock.jump(1000);
  fake.clock.drift = -5000;
  fake.secretsError = named("ThrottlingException", "slow down");
  await reads(cache, "first");
  await reads(cache, "first");
  fetched(fake, 2); // not asked for at every read
  fake.clock.jump(DEFAULT_TTL - 999);
  fake.clock.drift = -DEFAULT_TTL - 5000; // set back again and again: the other clock tells that its TTL is over
  assert.equal((await failure(cache.get(PASSWORD))).name, "ThrottlingException");
  fake.secretsError = undefined;
  await reads(cache, "first");
  fetched(fake, 4);
});

test("where changes are not followed nothing but Secrets Manager's client bounds a request", async () => {
  const others = "/bank/test/core/neon/password";
  for (const [mode, name] of [["off", PASSWORD], ["observe", PASSWORD], ["on", others]] as const) {
    for (const options of [{}, { ttl: 0 }, { force: true }]) {
      const fake = new Fake();
      fake.put(name, "first");
      const cache = fake.cache({ mode });
      const secrets = gate();
      fake.secretsGate = secrets.closed;
      const read = took(fake, cache.get(name, options), 1000);
      void fake.clock.advance(0).then(async () => {
        while (fake.clock.elapsed < 60_000) await settled();
        secrets.open();
      });
      const { value, error, ms } = await read;
      assert.equal(value?.value, "first", String(error));
      assert.ok(ms >= 60_000);
      fetched(fake, 1, name);
    }
  }
});

test("the label's late answer is asked for again, and then by version id", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const before = await fake.port.get(PASSWORD, {}, new AbortController().signal);
  const second = fake.put(PASSWORD, "second");
  const asked: (string | undefined)[] = [];
  fake.editFetched = (got, version) => {
    asked.push(version.id);
    return version.id === undefined ? before : got;
  };
  fake.clock.jump(NEXT_CHECK);
  const { value, ms } = await took(fake, cache.get(PASSWORD), 10);
  assert.equal(value?.value, "second");
  assert.deepEqual(asked, [undefined, undefined, second]);
  assert.equal(ms, 50);
  assert.equal(cache.counts().lateAnswers, 2);
});

test("after a minute what AWSCURRENT reads is the truth", async () => {
  const fake = new Fake();
  const first = fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second");
  fake.clock.jump(61_000);
  const row = fake.rows.length;
  fake.rollback(PASSWORD);
  fake.rows.length = row; // its event was lost
  fake.clock.jump(1);
  const got = await cache.get(PASSWORD, { ttl: 1000 });
  assert.equal(got.id, first);
  assert.equal(cache.counts().lateAnswers, 0);
});

test("a change is forgotten after a minute also while the log cannot be read", async () => {
  const fake = new Fake();
  const first = fake.put(PASSWORD, "first");
  const cache = fake.cache();
  fake.put(PASSWORD, "second");
  await reads(cache, "second");
  fake.logError = new Error("broken");
  fake.rollback(PASSWORD);
  fake.clock.jump(61_000);
  assert.equal((await cache.get(PASSWORD, { ttl: 1 })).id, first);
  assert.equal(cache.counts().lateAnswers, 0);
});

test("a newer version than the one announced is kept", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.clock.jump(1);
  fake.putSilently(PASSWORD, "third");
  await reads(cache, "third", PASSWORD, { ttl: 0 }); // before any check has told of the second
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "third");
  fetched(fake, 2);
});

test("while Secrets Manager hangs the version before is served after two seconds, and at once after that", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const secrets = gate();
  fake.secretsGate = secrets.closed;
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  for (let invocation = 0; invocation < 2; invocation++) {
    await cache.invoke({}, undefined, async () => {
      for (const want of [2000, 0, 0]) {
        const { ms, value } = await took(fake, cache.get(PASSWORD));
        assert.equal(value?.value, "first");
        assert.equal(ms, want); // the first read of each invocation waits
      }
    });
  }
  assert.equal(cache.counts().outdated, 6);
  assert.equal(fake.logs("a changed secret cannot be fetched"), 1);
  secrets.open();
  fake.secretsGate = undefined;
  await fake.clock.advance(10_000);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second");
});

test("what may not be served is waited for: a deleted secret, and one past its TTL", async () => {
  for (const change of ["delete", "ttl"]) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const cache = fake.cache();
    await reads(cache, "first");
    const secrets = gate();
    fake.secretsGate = secrets.closed;
    if (change === "delete") fake.delete(PASSWORD);
    else fake.put(PASSWORD, "second");
    fake.clock.jump(change === "delete" ? NEXT_CHECK : DEFAULT_TTL + 1);
    const { ms, error } = await took(fake, cache.get(PASSWORD), 500);
    assert.equal(error?.name, "TimeoutError", change);
    assert.equal(ms, 10_000, change);
  }
});

test("a wait that a freeze has cut is none: who reads after it waits anew", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  const secrets = gate();
  fake.secretsGate = secrets.closed;
  let left: Promise<unknown> | undefined;
  await cache.invoke({}, undefined, async () => {
    left = cache.get(PASSWORD); // nobody waits for it
    await settled();
  });
  fake.clock.jump(2001); // frozen: it has waited for two seconds then, of which it saw nothing
  let value: string | undefined;
  const invocation = cache.invoke({}, undefined, async () => {
    await fake.clock.advance(0);
    await left;
    const read = cache.get(PASSWORD).then((version) => (value = version.value as string));
    await fake.clock.advance(100);
    assert.equal(value, undefined, "it waits");
    secrets.open();
    await read;
  });
  await invocation;
  assert.equal(value, "second");
});
