import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT_TTL } from "../src/config.js";
import { fetched, push, reads, took } from "./support/expect.js";
import { Fake, gate, NEXT_CHECK, PASSWORD, settled } from "./support/fake.js";

const REFUSAL = "an OnChange function refused the new version";

test("onChange is told of each other version once, before the read returns", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const told: unknown[] = [];
  cache.onChange(PASSWORD, async (version) => {
    await settled();
    told.push(version.value);
  });
  await reads(cache, "first");
  assert.deepEqual(told, []);
  fake.refresh(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  await Promise.all(Array.from({ length: 8 }, () => reads(cache, "second")));
  assert.deepEqual(told, ["second"]);
  fake.clock.jump(DEFAULT_TTL + 1);
  await reads(cache, "second");
  fake.rollback(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  assert.deepEqual(told, ["second", "first"]);
});

test("onChange is told of one version after the other, and a read is not held up by one that hangs", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const slow = gate();
  const calls: string[] = [];
  cache.onChange(PASSWORD, async ({ value }) => {
    calls.push(`begin ${value as string}`);
    if (value === "second") await slow.closed;
    calls.push(`end ${value as string}`);
    if (value !== "second") throw new Error("login failed");
  });
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  const waiting = cache.get(PASSWORD);
  await settled();
  const third = fake.put(PASSWORD, "third");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "third");
  let acked = false;
  const ack = push(cache, fake.invalidation(PASSWORD)).finally(() => (acked = true));
  await settled();
  assert.equal(acked, false, "there was an ack before onChange was told");
  slow.open();
  const want = [{ name: PASSWORD, versionId: third, outcome: "failed", reason: REFUSAL }];
  assert.deepEqual((await ack).secrets, want);
  await waiting;
  fake.clock.jump(DEFAULT_TTL + 1000);
  await reads(cache, "third"); // the same version again
  assert.deepEqual(calls, ["begin second", "end second", "begin third", "end third"]);
  assert.deepEqual((await push(cache, fake.invalidation(PASSWORD))).secrets, want);
});

test("an onChange that does not return counts as a refusal, and the next version is told all the same", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const told: string[] = [];
  cache.onChange(PASSWORD, async ({ value }) => {
    told.push(String(value));
    if (told.length === 1) await new Promise(() => {});
  });
  fake.put(PASSWORD, "second");
  const pushed = push(cache, fake.invalidation(PASSWORD));
  await fake.clock.advance(30_000);
  assert.deepEqual((await pushed).secrets?.map(({ outcome, reason }) => [outcome, reason]), [["failed", REFUSAL]]);
  assert.equal(fake.logs(REFUSAL), 1);
  fake.put(PASSWORD, "third");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "third");
  assert.deepEqual(told, ["second", "third"]);
});

test("a version that comes back while onChange runs is not told twice", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const slow = gate();
  const told: unknown[] = [];
  cache.onChange(PASSWORD, async ({ value }) => {
    told.push(value);
    await slow.closed;
  });
  const second = fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  const waiting = cache.get(PASSWORD);
  await settled();
  fake.put(PASSWORD, "third");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "third");
  fake.rollback(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second");
  slow.open();
  const ack = await push(cache, fake.invalidation(PASSWORD));
  assert.deepEqual(ack.secrets, [{ name: PASSWORD, versionId: second, outcome: "applied", verified: true }]);
  assert.deepEqual(told, ["second"]);
  await waiting;
});

test("onChange may read the secret, also when that brings another version", async () => {
  for (const change of [false, true]) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const cache = fake.cache();
    await reads(cache, "first");
    const want = change ? ["second", "third"] : ["second"];
    const told: unknown[] = [];
    cache.onChange(PASSWORD, async ({ value }) => {
      told.push(value);
      if (told.length > 2) throw new Error("it is told of what it reads");
      if (change && told.length === 1) fake.put(PASSWORD, "third");
      fake.clock.jump(NEXT_CHECK);
      await reads(cache, want.at(-1) as string, PASSWORD, { ttl: 0 });
      await reads(cache, want.at(-1) as string);
    });
    fake.put(PASSWORD, "second");
    fake.clock.jump(NEXT_CHECK);
    await reads(cache, want.at(-1) as string);
    await settled();
    assert.deepEqual(told, want);
  }
});

test("a read waits two seconds for an onChange at the most, and is served the new version; an ack waits for its word", async () => {
  for (const [ms, takes] of [[1000, 1000], [4000, 2000], [Infinity, 2000]] as const) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const cache = fake.cache();
    await reads(cache, "first");
    cache.onChange(PASSWORD, () => new Promise((resolve) => void (ms === Infinity || fake.clock.after(ms, resolve))));
    fake.put(PASSWORD, "second");
    fake.clock.jump(NEXT_CHECK);
    const read = await took(fake, cache.get(PASSWORD), 500);
    assert.deepEqual([read.value?.value, read.ms], ["second", takes]);
    assert.equal(cache.counts().outdated, 0);
    const ack = await took(fake, push(cache, fake.invalidation(PASSWORD)), 500);
    const [secret] = ack.value?.secrets ?? [];
    assert.deepEqual([secret?.outcome, secret?.verified], ms === Infinity ? ["failed", undefined] : ["applied", true]);
  }
});

test("what onChange refuses is served all the same, and its type is logged, not its text", async () => {
  class LoginFailed extends Error {}
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  let refuse = true;
  cache.onChange(PASSWORD, () => {
    if (refuse) throw new LoginFailed("login failed with canary-value");
  });
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second");
  const said = JSON.stringify(fake.logged);
  assert.ok(said.includes("LoginFailed") && said.includes(REFUSAL) && !said.includes("canary"), said);
  refuse = false;
  const third = fake.put(PASSWORD, "third");
  const ack = await push(cache, fake.invalidation(PASSWORD));
  assert.deepEqual(ack.secrets, [{ name: PASSWORD, versionId: third, outcome: "applied", verified: true }]);
  fetched(fake, 3);
});
