import assert from "node:assert/strict";
import { test } from "node:test";

import { RejectedError, rejected } from "../src/try.js";
import type { Cache } from "../src/cache.js";
import type { TryOptions } from "../src/try.js";
import { failure, fetched, reads } from "./support/expect.js";
import { Fake, gate, named, NEXT_CHECK, PASSWORD, settled } from "./support/fake.js";

/** A server that accepts one password. */
class Server {
  uses: unknown[] = [];
  constructor(public accepts: string) {}
  login = async ({ value }: { value: unknown }): Promise<string> => {
    this.uses.push(value);
    if (value !== this.accepts) throw rejected(new Error("password authentication failed"));
    return "connected";
  };
}

/** What was logged of secrets of which no version was accepted. */
const refusals = (fake: Fake) => fake.logged.filter(({ message }) => message === "a secret's value was rejected, and there is no other that was not").map(({ extra }) => extra);

const tries = (cache: Cache, server: Server, options: TryOptions = {}) => cache.try(PASSWORD, server.login, options);

test("between setSecret and finishSecret the pending version is tried, and is nobody's value", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const server = new Server("second");
  fake.putPending(PASSWORD, "second");
  assert.ok((await failure(tries(cache, server))) instanceof RejectedError);
  assert.deepEqual(server.uses, ["first"]);
  assert.equal(await tries(cache, server, { pending: true }), "connected");
  assert.deepEqual(server.uses, ["first", "first", "second"]);
  await reads(cache, "first");
  fake.promote(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second");
});

test("a rejection that another copy of this module marked is one: a bundle may hold both formats", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.putSilently(PASSWORD, "second");
  const used: unknown[] = [];
  const other = async ({ value }: { value: unknown }) => {
    used.push(value);
    if (value !== "second") throw named("RejectedError", "password authentication failed");
  };
  await cache.try(PASSWORD, other);
  assert.deepEqual(used, ["first", "second"]);
});

test("a rejection finds a change before its time: announced, or not", async () => {
  for (const change of ["put", "putSilently"] as const) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const cache = fake.cache();
    await reads(cache, "first");
    fake[change](PASSWORD, "second");
    const server = new Server("second");
    assert.equal(await tries(cache, server), "connected");
    assert.deepEqual(server.uses, ["first", "second"]);
    await reads(cache, "second");
  }
});

test("each version is tried once and three at the most, and the log names them", async () => {
  const fake = new Fake();
  const first = fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const second = fake.put(PASSWORD, "second");
  const third = fake.putPending(PASSWORD, "third");
  const server = new Server("none of them");
  const error = await failure(tries(cache, server, { pending: true }));
  assert.deepEqual(server.uses, ["first", "second", "third"]);
  assert.ok(error instanceof RejectedError);
  assert.equal(error.message, "password authentication failed");
  assert.deepEqual(refusals(fake), [{ secret: PASSWORD, versions: `${first}, then ${second}, then ${third}` }]);
});

test("AWSPENDING that still stands on the current version is not tried twice", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.putPending(PASSWORD, "second");
  fake.promote(PASSWORD);
  const server = new Server("something else");
  await failure(tries(fake.cache(), server, { pending: true }));
  assert.deepEqual(server.uses, ["second"]);
});

test("what the function itself throws arrives as it is: the same error, whichever version it was called with", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const network = new Error("connection refused");
  assert.equal(await failure(cache.try(PASSWORD, () => Promise.reject(network))), network);
  fetched(fake, 1);
  fake.put(PASSWORD, "second");
  const rejections: unknown[] = [];
  const isRejection = (error: unknown): boolean => rejections.includes(error);
  const throwing = (...errors: unknown[]) => failure(cache.try(PASSWORD, () => Promise.reject(errors.shift()), { rejectedIf: isRejection }));
  const [authentication, again] = [new Error("28P01"), Object.assign(new Error("28P01"), { code: "28P01" })];
  rejections.push(authentication, again);
  assert.equal(await throwing(authentication, network), network);
  fake.clock.jump(5000);
  await reads(cache, "second");
  fake.put(PASSWORD, "third");
  assert.equal(await throwing(authentication, again), again);
  fake.clock.jump(5000);
  assert.equal(await throwing(again), again);
});

test("the caller may say what a rejection is", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  const got = await cache.try(
    PASSWORD,
    ({ value }) => {
      if (value === "first") throw Object.assign(new Error("authentication"), { code: "28P01" });
      return value;
    },
    { rejectedIf: (error) => (error as { code?: string }).code === "28P01" },
  );
  assert.equal(got, "second");
});

test("a wrong password in a loop is no load on anybody", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const server = new Server("something else");
  for (let i = 0; i < 10; i++) await failure(tries(cache, server, { pending: true }));
  fetched(fake, 3); // the first read, one of AWSCURRENT, one of AWSPENDING
  assert.equal(fake.logs("rejected: the log and AWSCURRENT are read"), 1);
  assert.equal(refusals(fake).length, 1);
  fake.clock.jump(5000);
  await failure(tries(cache, server));
  fetched(fake, 4);
});

test("all whose value is rejected share one read", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  const server = new Server("second");
  await Promise.all(Array.from({ length: 16 }, () => tries(cache, server)));
  fetched(fake, 2);
});

test("a fetch sent before the rejection is not what brings the newer one", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const secrets = gate();
  fake.secretsGate = secrets.closed;
  const before = cache.get(PASSWORD, { ttl: 0 });
  await settled(); // on its way, and of before the change
  fake.putSilently(PASSWORD, "second");
  fake.clock.jump(1);
  const server = new Server("second");
  const tried = tries(cache, server);
  await settled();
  secrets.open();
  assert.equal(await tried, "connected");
  assert.deepEqual(server.uses, ["first", "second"]);
  assert.equal((await before).value, "second");
});

test("the rejected value does not come back with a late answer, but after a minute with a rollback", async () => {
  const fake = new Fake();
  const first = fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const stale = await fake.port.get(PASSWORD, {}, new AbortController().signal);
  fake.putSilently(PASSWORD, "second");
  assert.equal(await tries(cache, new Server("second")), "connected");
  fake.editFetched = (got, version) => (version.id === undefined ? stale : got);
  fake.clock.jump(1);
  const read = cache.get(PASSWORD, { ttl: 0 });
  await fake.clock.advance(50);
  assert.equal((await read).value, "second");
  fake.clock.jump(120_000);
  await cache.invoke({}, undefined, async () => {
    await settled();
    assert.equal((await cache.get(PASSWORD, { ttl: 1 })).id, first);
  });
});

test("an onChange may try", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  const server = new Server("neither");
  let error: Error | undefined;
  cache.onChange(PASSWORD, async () => {
    error = await failure(tries(cache, server));
  });
  fake.putSilently(PASSWORD, "second");
  await failure(tries(cache, server));
  assert.ok(error instanceof RejectedError);
});

test("without Secrets Manager a rejection is what it was, and the log has the reason", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.secretsError = named("ThrottlingException", "slow down");
  const error = await failure(tries(cache, new Server("second"), { pending: true }));
  assert.ok(error instanceof RejectedError);
  assert.equal(error.message, "password authentication failed");
  assert.equal(refusals(fake)[0]?.["askingForAnother"], "ThrottlingException");
});

test("a deleted secret is not tried again", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.delete(PASSWORD);
  const server = new Server("second");
  const error = await failure(tries(cache, server));
  assert.deepEqual(server.uses, ["first"]);
  assert.equal(error.message, "password authentication failed");
  assert.equal(refusals(fake)[0]?.["askingForAnother"], "InvalidRequestException");
});
