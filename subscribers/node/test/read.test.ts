import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { DEFAULT_TTL } from "../src/config.js";
import { failure, fetched, push, reads } from "./support/expect.js";
import { A_CHANGE, API_KEY, Fake, gate, named, NEXT_CHECK, PASSWORD, settled } from "./support/fake.js";

test("a change is served at the next check", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.clock.jump(2000 - A_CHANGE);
  await reads(cache, "first"); // the check is just young enough
  fake.clock.jump(1);
  await reads(cache, "second");
  fake.rollback(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  fetched(fake, 3);
});

test("a refresh fetches the same version again, and only what changed is fetched again", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.put(API_KEY, "key");
  const cache = fake.cache();
  await reads(cache, "first");
  await reads(cache, "key", API_KEY);
  fake.refresh(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  await reads(cache, "key", API_KEY);
  fetched(fake, 2);
  fetched(fake, 1, API_KEY);
});

test("32 cold reads are one check and one fetch", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const log = gate();
  const secrets = gate();
  fake.logGate = log.closed;
  fake.secretsGate = secrets.closed;
  const cache = fake.cache();
  const all = Promise.all(Array.from({ length: 32 }, () => reads(cache, "first")));
  await settled();
  assert.equal(fake.logReads, 1);
  fetched(fake, 1); // beside it
  log.open();
  await settled();
  secrets.open();
  await all;
  fetched(fake, 1);
  assert.equal(fake.logReads, 1);
});

test("a fetch sent before a change, or a refresh, neither hides it nor refills the cache", async () => {
  for (const change of ["put", "refresh"] as const) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const secrets = gate();
    fake.secretsGate = secrets.closed;
    const cache = fake.cache();
    const read = cache.get(PASSWORD);
    await settled(); // the first answer is on its way
    if (change === "put") fake.put(PASSWORD, "second");
    else fake.refresh(PASSWORD);
    assert.equal((await push(cache, fake.invalidation(PASSWORD))).revision, 3);
    secrets.open();
    assert.equal((await read).value, change === "put" ? "second" : "first");
    fetched(fake, 2);
  }
});

test("a fetch sent before clear does not refill what was cleared", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const secrets = gate();
  fake.secretsGate = secrets.closed;
  const cache = fake.cache();
  const read = cache.get(PASSWORD);
  await settled();
  fake.putSilently(PASSWORD, "second");
  cache.clear();
  secrets.open();
  assert.equal((await read).value, "second");
  await reads(cache, "second");
  fetched(fake, 2);
  cache.clear();
  await reads(cache, "second");
  fetched(fake, 3);
  cache.clear();
  fake.secretsError = named("ThrottlingException", "slow down");
  assert.equal(await failure(cache.get(PASSWORD)), fake.secretsError); // nothing is left to fall back to
});

test("name, ARN and partial ARN are one secret", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const full = fake.arn(PASSWORD);
  const ids = [full, PASSWORD, full.slice(0, -7)];
  let told = 0;
  cache.onChange(full, () => void told++);
  for (const id of ids) await reads(cache, "first", id);
  const before = fake.fetches(PASSWORD);
  for (const id of ids) await reads(cache, "first", id);
  fetched(fake, before);
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  for (const id of ids) await reads(cache, "second", id);
  fetched(fake, before + 1);
  assert.equal(told, 1);
});

test("the full ARN of a recreated secret goes to Secrets Manager", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const old = fake.arn(PASSWORD);
  const cache = fake.cache();
  await reads(cache, "first");
  await reads(cache, "first", old);
  fake.delete(PASSWORD);
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second");
  assert.equal((await failure(cache.get(old))).name, "ResourceNotFoundException");
  fetched(fake, 1, old);
  await reads(cache, "second", fake.arn(PASSWORD));
  await reads(cache, "second", old.slice(0, -7)); // without the suffix it is the new one's as well
});

test("outside the domain the TTL alone applies", async () => {
  for (const name of [
    "/bank/test/kyc/provider/api-key",
    "/bank/prod/payments/neon/password",
    "/bank/test/payments-archive/neon/password",
    "payments/password",
  ]) {
    const fake = new Fake();
    fake.putSilently(name, "first");
    const cache = fake.cache();
    await reads(cache, "first", name);
    fake.putSilently(name, "second");
    fake.clock.jump(DEFAULT_TTL - A_CHANGE);
    await reads(cache, "first", name);
    fake.clock.jump(1);
    await reads(cache, "second", name);
    assert.equal(fake.logReads, 0, name);
  }
});

test("the TTL always applies, each read's own", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.putSilently(PASSWORD, "second");
  fake.clock.jump(10_000 - A_CHANGE);
  await reads(cache, "first", PASSWORD, { ttl: 10_000 });
  fake.clock.jump(1);
  await reads(cache, "first");
  await reads(cache, "second", PASSWORD, { ttl: 10_000 });
  await reads(cache, "second"); // what one fetched all have
  fetched(fake, 2);
  for (let i = 0; i < 3; i++) await reads(cache, "second", PASSWORD, { ttl: 0 });
  fetched(fake, 5);
});

test("the TTL counts from before the fetch was sent", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const secrets = gate();
  fake.secretsGate = secrets.closed;
  const read = cache.get(PASSWORD, { ttl: 1000 });
  await fake.clock.advance(700);
  secrets.open();
  assert.equal((await read).value, "first");
  fake.clock.jump(299);
  await reads(cache, "first", PASSWORD, { ttl: 1000 });
  fetched(fake, 1);
  fake.clock.jump(2);
  await reads(cache, "first", PASSWORD, { ttl: 1000 });
  fetched(fake, 2);
});

test("a value that took longer to fetch than its TTL is served to who waited for it", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const secrets = gate();
  fake.secretsGate = secrets.closed;
  const read = fake.cache().get(PASSWORD, { ttl: 100 });
  await fake.clock.advance(1500);
  secrets.open();
  assert.equal((await read).value, "first");
  fetched(fake, 1);
});

test("a forced read is asked for after it began, and falls back to nothing", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  await reads(cache, "first", PASSWORD, { force: true });
  fetched(fake, 1); // by a clock that stands still it was asked for at this very moment
  fake.clock.jump(1);
  await reads(cache, "first", PASSWORD, { force: true });
  fetched(fake, 2);

  const secrets = gate();
  fake.secretsGate = secrets.closed;
  fake.clock.jump(1);
  const earlier = cache.get(PASSWORD, { ttl: 0 });
  await settled();
  fetched(fake, 3);
  fake.clock.jump(1);
  fake.putSilently(PASSWORD, "second");
  const forced = cache.get(PASSWORD, { force: true });
  secrets.open();
  assert.equal((await forced).value, "second"); // and not the answer that was on its way
  await earlier;
  fetched(fake, 4);

  fake.clock.jump(1);
  fake.secretsError = named("ThrottlingException", "slow down");
  assert.equal(await failure(cache.get(PASSWORD, { force: true })), fake.secretsError);
  await reads(cache, "second");
});

test("a deleted secret is not served once the deletion is known, and not found is not cached", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.delete(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  for (let i = 0; i < 2; i++) assert.equal((await failure(cache.get(PASSWORD))).name, "InvalidRequestException");
  fetched(fake, 3);
  fake.secretsError = named("ThrottlingException", "slow down");
  assert.equal((await failure(cache.get(PASSWORD))).name, "ThrottlingException");
  fake.secretsError = undefined;
  fake.restore(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  assert.equal((await failure(cache.get(API_KEY))).name, "ResourceNotFoundException");
  fake.put(API_KEY, "there now");
  await reads(cache, "there now", API_KEY);
});

test("what Secrets Manager says is gone is not served from memory either", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.delete(PASSWORD);
  fake.rows.pop(); // its event was lost
  fake.clock.jump(61_000); // and it is no late answer
  for (const ttl of [0, DEFAULT_TTL]) {
    assert.equal((await failure(cache.get(PASSWORD, { ttl }))).name, "InvalidRequestException");
  }
});

test("a version never prints", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "canary-value");
  const version = await fake.cache().get(PASSWORD);
  version.transforms.set("json", "canary-value");
  for (const text of [inspect(version), inspect({ version }, { depth: 9, showHidden: true }), JSON.stringify({ version }), `${version}`]) {
    assert.ok(!text.includes("canary"), text);
    assert.ok(text.includes("[secret]"), text);
  }
});

test("who asks for names that do not exist does not fill the memory", async () => {
  const fake = new Fake();
  const cache = fake.cache();
  for (let i = 0; i < 100; i++) {
    await failure(cache.get(`/bank/test/payments/none/${i}`));
    await failure(cache.get(`arn:aws:secretsmanager:eu-west-2:111122223333:secret:/bank/test/payments/none/${i}`));
  }
  const { entries } = (cache as unknown as { state: { entries: Map<string, unknown> } }).state;
  assert.equal(entries.size, 0);
});
