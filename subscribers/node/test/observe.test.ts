import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT_TTL } from "../src/config.js";
import { fetched, push, reads } from "./support/expect.js";
import { A_CHANGE, Fake, NEXT_CHECK, PASSWORD, settled } from "./support/fake.js";

test("observing changes nothing and counts", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache({ mode: "observe" });
  await push(cache, fake.invalidation(PASSWORD)); // the cursor is at the head before anything is cached
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  const ack = await push(cache, fake.invalidation(PASSWORD));
  assert.deepEqual(ack.secrets, [{ name: PASSWORD, outcome: "observed" }]);
  assert.equal(ack.revision, 3);
  assert.equal(cache.counts().invalidated, 1);
  fake.delete(PASSWORD);
  await push(cache, fake.invalidation(PASSWORD));
  fake.clock.jump(DEFAULT_TTL - 10 * A_CHANGE);
  await reads(cache, "first");
  fetched(fake, 1);
  fake.restore(PASSWORD);
  fake.clock.jump(1);
  await reads(cache, "second");
  const { uncertain, outdated } = cache.counts();
  assert.deepEqual({ uncertain, outdated }, { uncertain: 0, outdated: 0 });
});

test("observing counts beside reads of memory, and nothing at the first check", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache({ mode: "observe" });
  await reads(cache, "first");
  await settled();
  assert.deepEqual([fake.logReads, cache.counts().invalidated], [1, 0]);
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  await settled();
  assert.equal(cache.counts().invalidated, 1);
  fetched(fake, 1);
});

test("observing serves what Secrets Manager answers: none is late, none asked for twice", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const stale = await fake.port.get(PASSWORD, {}, new AbortController().signal);
  const cache = fake.cache({ mode: "observe", secrets: { get: async () => stale } });
  await reads(cache, "first", PASSWORD, { ttl: 0 });
  await settled();
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  for (let i = 0; i < 2; i++) {
    await reads(cache, "first", PASSWORD, { ttl: 0 }); // the check is beside the first
    await settled();
  }
  const { checks, fetches, lateAnswers } = cache.counts();
  assert.deepEqual({ checks, fetches, lateAnswers }, { checks: 2, fetches: 3, lateAnswers: 0 });
});

test("observing with a broken log costs a running function nothing", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.logError = new Error("broken");
  const cache = fake.cache({ mode: "observe" });
  for (let i = 0; i < 5; i++) {
    await reads(cache, "first");
    fake.clock.jump(DEFAULT_TTL / 2);
  }
  fetched(fake, 2);
  fake.put(PASSWORD, "second");
  await push(cache, fake.invalidation(PASSWORD));
  fake.clock.jump(-DEFAULT_TTL / 2); // back to when it was read
  await reads(cache, "first");
  fetched(fake, 2);
});

test("observing counts what would have been served: nothing that was past its TTL", async () => {
  for (const [ttl, want] of [[1000, 0], [60_000, 1]] as const) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const cache = fake.cache({ mode: "observe" });
    await reads(cache, "first", PASSWORD, { ttl });
    fake.clock.jump(NEXT_CHECK);
    fake.put(PASSWORD, "second");
    await push(cache, fake.invalidation(PASSWORD));
    assert.equal(cache.counts().invalidated, want);
  }
});
