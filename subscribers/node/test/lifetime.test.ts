import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import { getSecret, InvalidatingSecretsProvider, withInvalidation } from "../src/index.js";
import type { Ack, Report } from "../src/wire.js";
import { collect, gone } from "./support/memory.js";
import { World } from "./support/world.js";

const NAME = "/bank/test/payments/neon/password";
const CONTEXT = { invokedFunctionArn: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api" };

describe("how long what belongs to a provider lives", () => {
  let world: World;
  let value = "first";
  before(async () => {
    world = await World.open("local");
    await world.create(NAME, value);
  });
  after(() => world.close());
  beforeEach(() => world.configure());

  const own = () => new InvalidatingSecretsProvider({ clientConfig: { maxAttempts: 2 } });
  const change = async () => world.change(NAME, (value = `${value}+`));

  test("a provider made for each request costs its own check, and nothing once nobody has it", async () => {
    const references: WeakRef<object>[] = [];
    const handler = withInvalidation(async (_event: unknown, _context: unknown) => {
      const provider = own();
      references.push(new WeakRef(provider), new WeakRef(provider.client));
      return provider.get(NAME, { maxAge: 60 });
    });
    const requests = 20;
    for (let i = 0; i < requests; i++) assert.equal(await handler({}, CONTEXT), value);
    // One before there was a provider; then each its own, and one more when the next invocation begins.
    assert.ok(world.meter.count("Query") <= 1 + 2 * requests, `${world.meter.count("Query")} checks`);
    await gone(references);
    world.meter.counts.clear();
    assert.equal(await handler({}, CONTEXT), value);
    assert.equal(world.meter.count("Query"), 1);
    assert.ok(world.meter.count("PutItem") <= 1);
    const services = (await world.reports()).map(({ data }) => JSON.parse(data.S) as Report);
    assert.ok(services.length <= 2, `${services.length} environments have reported`);
  });

  test("one push reaches every provider that is still there", async () => {
    const kept = [own(), own(), new InvalidatingSecretsProvider()];
    const handler = withInvalidation(async (_event: unknown, _context: unknown) => Promise.all(kept.map((provider) => provider.get(NAME, { maxAge: 60 }))));
    await gone([new WeakRef(own())]);
    await handler({}, CONTEXT);
    const row = await change();
    const ack = (await handler(world.invalidation(row), CONTEXT)) as unknown as Ack;
    assert.deepEqual(ack.secrets?.map(({ outcome, verified }) => [outcome, verified]), [["applied", true]]);
    const count = world.meter.count("GetSecretValue");
    assert.deepEqual(await handler({}, CONTEXT), kept.map(() => value));
    assert.equal(world.meter.count("GetSecretValue"), count);
  });

  test("a function whose only provider is made in its handler has one cache, whichever provider that is", async () => {
    for (const make of [own, () => new InvalidatingSecretsProvider()]) {
      world.configure({ SECRET_BROADCAST_CHECK_EVERY: "60s" });
      let provider: InvalidatingSecretsProvider | undefined;
      const handler = withInvalidation(async (_event: unknown, _context: unknown) => (provider ??= make()).get(NAME, { maxAge: 60 }));
      await handler({}, CONTEXT);
      world.meter.counts.clear();
      const ack = (await handler(world.invalidation(await change()), CONTEXT)) as unknown as Ack;
      assert.equal(ack.secrets?.[0]?.outcome, "applied");
      assert.equal(world.meter.count("Query"), 1);
      assert.equal(await handler({}, CONTEXT), value);
    }
  });

  test("an invocation checks the log first if the one before read a secret", async () => {
    let reads = true;
    const handler = withInvalidation(async (_event: unknown, _context: unknown) => (reads ? getSecret(NAME, { maxAge: 60 }) : undefined));
    const checks = async (): Promise<number> => {
      const count = world.meter.count("Query");
      await new Promise((resolve) => setTimeout(resolve, 510)); // a check that is younger would do
      await handler({}, CONTEXT);
      return world.meter.count("Query") - count;
    };
    await handler({}, CONTEXT);
    reads = false;
    assert.equal(await checks(), 1);
    assert.equal(await checks(), 0);
    reads = true;
    assert.equal(await checks(), 1); // the read's own
  });

  test("a pinned version whose time is over is let go at the next pinned read", async (t) => {
    const name = "/bank/test/payments/neon/pinned.json";
    await world.create(name, "[1]");
    const row = await world.change(name, "[2]");
    const provider = new InvalidatingSecretsProvider();
    const options = { transform: "json", maxAge: 60 } as const;
    const previous = { ...options, sdkOptions: { VersionStage: "AWSPREVIOUS" } };
    const read = async () => new WeakRef((await provider.get(name, previous)) as object);
    const first = await read();
    await collect();
    assert.ok(first.deref(), "it is kept for a minute");
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 61_000 });
    await provider.get(name, { ...options, sdkOptions: { VersionId: row.changes[0]?.versionId as string } });
    await gone([first]);
  });

  test("another release of this package in one process is left alone", async () => {
    const key = Symbol.for("@bank-platform/secret-broadcast");
    for (const other of [key, Symbol.for("@bank-platform/secret-broadcast node/0.9.0")]) {
      (globalThis as Record<symbol, unknown>)[other] = { shape: "another" };
    }
    assert.equal(await own().get(NAME), value);
  });
});
