import assert from "node:assert/strict";
import { test } from "node:test";

import type { Cache } from "../src/cache.js";
import { DEFAULT_TTL } from "../src/config.js";
import type { CacheConfig, Fetched, Secrets } from "../src/ports.js";
import { rejected } from "../src/try.js";
import { failure, reads } from "./support/expect.js";
import { API_KEY, Fake, named, NEXT_CHECK, PASSWORD } from "./support/fake.js";

/** The ARN of another account's secret that is called as one of the domain's. */
const THEIRS = `arn:aws:secretsmanager:eu-west-2:999988887777:secret:${PASSWORD}-abcdef`;
const PARTIAL = THEIRS.slice(0, -"-abcdef".length);

/** Another secret of that account. */
const OTHERS = THEIRS.replace("/neon/", "/other/");

/** The own account's secrets and another account's. */
class TwoAccounts implements Secrets {
  readonly fake = new Fake();
  /** How often anything was asked for. */
  asked = 0;
  their = "theirs";

  cache(edit: Partial<CacheConfig> = {}): Cache {
    return this.fake.cache({ secrets: this, ...edit });
  }

  async get(id: string, version: { id?: string; stage?: string }, signal: AbortSignal): Promise<Fetched> {
    this.asked++;
    if (id === OTHERS) return { name: OTHERS, arn: OTHERS, versionId: "another", created: 1, value: "another" };
    if (id !== THEIRS && id !== PARTIAL) return this.fake.port.get(id, version, signal);
    if (version.id !== undefined && version.id !== this.their) throw named("ResourceNotFoundException", `${id} has no such version`);
    return { name: PASSWORD, arn: THEIRS, versionId: this.their, created: 1, value: this.their };
  }

  /** How often anything was asked for since the last time. */
  requests(): number {
    const { asked } = this;
    this.asked = 0;
    return asked;
  }
}

for (const mode of ["on", "observe", "off"] as const) {
  test(`${mode}: a name is the own account's, whoever was read before, and an ARN is its account's`, async () => {
    for (const order of [
      ["theirs", "name", "theirs", "theirs in part", "name"],
      ["theirs in part", "name", "theirs"],
      ["name", "theirs", "name", "theirs in part"],
      ["ours", "theirs", "ours", "name"],
      ["theirs", "ours", "theirs", "name"],
      ["theirs", "theirs", "ours in part", "theirs", "name"],
    ]) {
      const both = new TwoAccounts();
      both.fake.put(PASSWORD, "ours");
      const ours = both.fake.arn(PASSWORD);
      const ids = { name: PASSWORD, ours, "ours in part": ours.slice(0, -7), theirs: THEIRS, "theirs in part": PARTIAL };
      const cache = both.cache({ mode });
      const told: string[] = [];
      for (const id of order) cache.onChange(ids[id as keyof typeof ids], ({ value }) => void told.push(`${id}: ${String(value)}`));
      for (const _ of ["from Secrets Manager, and from memory", "refetched"]) {
        for (const id of order) await reads(cache, id.startsWith("theirs") ? "theirs" : "ours", ids[id as keyof typeof ids]);
        both.fake.clock.jump(DEFAULT_TTL + 1000);
      }
      assert.deepEqual(told, [], order.join());
    }
  });
}

test("both read at the same time, and nothing in memory", async () => {
  for (const ids of [[PASSWORD, THEIRS], [THEIRS, PASSWORD], [PARTIAL, PASSWORD, THEIRS]]) {
    const both = new TwoAccounts();
    both.fake.put(PASSWORD, "ours");
    const cache = both.cache();
    const got = await Promise.all(ids.map(async (id) => (await cache.get(id)).value));
    assert.deepEqual(got, ids.map((id) => (id === PASSWORD ? "ours" : "theirs")));
    await reads(cache, "ours");
  }
});

test("a secret of another account is cached with its TTL, and costs one request once it is known that it is not of this one", async () => {
  for (const twin of [true, false]) {
    const both = new TwoAccounts();
    if (twin) both.fake.put(PASSWORD, "ours");
    const cache = both.cache();
    const costs = async (requests: number): Promise<void> => {
      await reads(cache, "theirs", THEIRS);
      assert.equal(both.requests(), requests);
    };
    await costs(2); // which account is the own one is learned by the name
    await costs(0);
    both.fake.put(API_KEY, "key");
    await reads(cache, "key", API_KEY);
    both.requests();
    both.fake.clock.jump(DEFAULT_TTL + 1000);
    await costs(1);
  }
});

test("an ARN of the own account costs one request, though it is not known yet whose it is, and what it brings is the name's too", async () => {
  const both = new TwoAccounts();
  both.fake.put(PASSWORD, "ours");
  const cache = both.cache();
  const arn = both.fake.arn(PASSWORD);
  for (const id of [arn, PASSWORD, arn]) await reads(cache, "ours", id);
  assert.equal(both.requests(), 1);
});

test("where changes are not followed an ARN is asked for as it is: nobody may have allowed its name", async () => {
  for (const [mode, id] of [["off", THEIRS], ["observe", THEIRS], ["on", THEIRS.replace("/payments/", "/core/")]] as const) {
    const asked: string[] = [];
    const got = { name: PASSWORD, arn: id, versionId: "v", created: 1, value: "theirs" };
    const secrets: Secrets = { get: async (name) => (asked.push(name), got) };
    await reads(new Fake().cache({ mode, secrets }), "theirs", id);
    assert.deepEqual(asked, [id]);
  }
});

test("what was read by an ARN is the name's once it is known whose it is: nothing is asked for again, and onChange is told of the next", async () => {
  const both = new TwoAccounts();
  const { fake } = both;
  for (const name of [PASSWORD, API_KEY]) fake.put(name, "first");
  const cache = both.cache({ mode: "off" });
  const arn = fake.arn(PASSWORD);
  const told: unknown[] = [];
  cache.onChange(arn, ({ value }) => void told.push(value));
  for (const id of [arn, API_KEY, PASSWORD, arn]) await reads(cache, "first", id);
  assert.equal(both.requests(), 2);
  fake.put(PASSWORD, "second");
  fake.clock.jump(DEFAULT_TTL + 1);
  await reads(cache, "second");
  assert.deepEqual(told, ["second"]);
});

test("changes are of the own account: another's secret is neither marked by them nor judged, nor gone with a deletion", async () => {
  const both = new TwoAccounts();
  const { fake } = both;
  fake.put(PASSWORD, "ours");
  const cache = both.cache();
  const told: unknown[] = [];
  for (const id of [THEIRS, PASSWORD]) cache.onChange(id, ({ value }) => void told.push(value));
  await reads(cache, "theirs", THEIRS);
  await reads(cache, "ours");
  fake.put(PASSWORD, "ours anew");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "ours anew");
  assert.deepEqual(told, ["ours anew"]);
  fake.delete(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  assert.equal((await failure(cache.get(PASSWORD))).name, "InvalidRequestException");
  both.requests();
  await reads(cache, "theirs", THEIRS);
  assert.equal(both.requests(), 0);
});

test("an ARN follows the log before its account is known: a name that cannot be found yet tells nothing", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.clock.jump(120_000);
  let late = true;
  const cache = fake.cache({
    secrets: {
      get: async (id, version, signal) => {
        if (late && !id.startsWith("arn:")) throw named("ResourceNotFoundException", `there is no secret ${id}`);
        return fake.port.get(id, version, signal);
      },
    },
  });
  const arn = fake.arn(PASSWORD);
  await reads(cache, "first", arn);
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second", arn);
  late = false;
  fake.put(PASSWORD, "third");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "third", arn);
  await reads(cache, "third");
  fake.delete(PASSWORD);
  fake.clock.jump(NEXT_CHECK);
  assert.equal((await failure(cache.get(arn))).name, "InvalidRequestException");
});

test("what a rejection tells of one other account's secret says nothing of another's", async () => {
  const both = new TwoAccounts();
  both.fake.put(API_KEY, "key");
  const cache = both.cache();
  await reads(cache, "key", API_KEY);
  const login = async ({ value }: { value: unknown }): Promise<void> => {
    if (value === "theirs") throw rejected(new Error("password authentication failed"));
  };
  await reads(cache, "theirs", THEIRS);
  both.their = "theirs anew";
  await cache.try(THEIRS, login);
  both.requests();
  await reads(cache, "another", OTHERS);
  assert.equal(both.requests(), 1);
  assert.equal(cache.counts().lateAnswers, 0);
});

test("what is said of a secret that the log does not speak of is true of it", async () => {
  const outside = "a secret is outside what the change log speaks of: its TTL alone applies";
  const foreign = "a secret is of another account, of which the change log does not speak: its TTL alone applies";
  const both = new TwoAccounts();
  both.fake.put(PASSWORD, "ours");
  const cache = both.cache();
  await reads(cache, "theirs", THEIRS);
  await reads(cache, "theirs", THEIRS);
  await failure(cache.get("/bank/test/core/none"));
  const follows = "/bank/test/payments/";
  assert.deepEqual(
    both.fake.logged.map(({ message, extra }) => ({ message, extra })),
    [
      { message: foreign, extra: { secret: THEIRS, follows, account: "111122223333" } },
      { message: outside, extra: { secret: "/bank/test/core/none", follows, check: "SECRET_BROADCAST_ENV and SECRET_BROADCAST_DOMAIN" } },
    ],
  );
});
