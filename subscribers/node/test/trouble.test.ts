import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { InvalidatingSecretsProvider, withInvalidation } from "../src/index.js";
import { logged } from "./support/logged.js";
import { World } from "./support/world.js";

const NAME = "/bank/test/payments/neon/password";
const CONTEXT = { invokedFunctionArn: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api:live" };

/** A provider with a client of its own. */
const own = () => new InvalidatingSecretsProvider({ clientConfig: { maxAttempts: 2 } });

describe("several Caches in one process", () => {
  let world: World;
  before(async () => {
    world = await World.open("local");
    await world.create(NAME, "first");
  });
  after(() => world.close());
  beforeEach(() => world.configure());

  test("the log does not answer: a provider of its own client in each request waits for it no longer than one that is kept, and says so once", async () => {
    world.meter.fault = (operation) => (operation === "Query" || operation === "PutItem" ? new Promise(() => {}) : undefined);
    const value = await new InvalidatingSecretsProvider().get(NAME, { maxAge: 60 });
    const handler = withInvalidation(async (_event: unknown, _context: unknown) => own().get(NAME, { maxAge: 60 }));
    const lines = await logged(async () => {
      for (let i = 0; i < 8; i++) assert.equal(await handler({}, CONTEXT), value);
    });
    assert.ok(lines.length <= 1, lines.join("\n"));
    // Three checks of two requests each open the breaker, and the next invocation may find one under way.
    assert.ok(world.meter.count("Query") <= 10, `${world.meter.count("Query")} requests`);
  });

  test("a neighbour whose credentials are refused takes the log from nobody who has read it", async () => {
    const provider = new InvalidatingSecretsProvider();
    const before = await provider.get(NAME, { maxAge: 60 });
    world.meter.fault = async (operation) =>
      operation === "Query" ? { status: 400, body: '{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException","message":"no"}' } : undefined;
    await logged(async () => {
      for (let i = 0; i < 4; i++) await own().get(NAME, { maxAge: 60 });
    });
    world.meter.fault = () => undefined;
    await world.change(NAME, `${before as string}, and more`);
    await sleep(510);
    assert.equal(await provider.get(NAME, { maxAge: 60 }), `${before as string}, and more`);
    await world.change(NAME, "first");
  });

  test("at its end an invocation waits for all that is on its way together", async () => {
    const kept = Array.from({ length: 6 }, own);
    const handler = withInvalidation(async (event: { end?: boolean }, _context: unknown) => (event.end === true ? undefined : Promise.all(kept.map((provider) => provider.get(NAME, { maxAge: 60 })))));
    await handler({}, CONTEXT);
    await sleep(510);
    world.meter.fault = (operation) => (operation === "Query" ? new Promise(() => {}) : undefined);
    const began = performance.now();
    await logged(async () => void (await handler({ end: true }, CONTEXT)));
    const took = performance.now() - began;
    assert.ok(took < 5 * 50, `${took} ms, where each of six Caches lingers 50`);
  });
});
