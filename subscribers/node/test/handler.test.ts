import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import middy from "@middy/core";
import type { Context } from "aws-lambda";

import { defaultProvider, getSecret, invalidation, invalidationHandler, withInvalidation } from "../src/index.js";
import type { Ack, Row } from "../src/wire.js";
import { failure } from "./support/expect.js";
import { gate } from "./support/fake.js";
import { World } from "./support/world.js";

const NAME = "/bank/test/payments/neon/password";
const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const context = { invokedFunctionArn: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api" } as Context;

describe("wrapped handlers", () => {
  let world: World;
  let row: Row;
  let n = 0;
  before(async () => {
    world = await World.open("local");
    await world.create(NAME, "first");
  });
  after(() => world.close());
  beforeEach(async () => {
    world.configure();
    row = await world.change(NAME, `value ${n++}`);
  });

  const isAck = (answer: unknown): void => {
    const ack = answer as Ack;
    assert.deepEqual([ack.client, ack.revision, ack.function], ["node/1.0.0", row.revision, context.invokedFunctionArn]);
    assert.deepEqual(ack.secrets, [{ name: NAME, outcome: "not-cached" }]);
  };

  test("withInvalidation: this, event, context, result and error are the handler's own", async () => {
    const event = { order: 1 };
    const self = { name: "self" };
    const handler = withInvalidation(async function (this: unknown, got: unknown, with_: unknown) {
      assert.deepEqual([this, got, with_], [self, event, context]);
      return "its answer";
    });
    assert.equal(await handler.call(self, event, context), "its answer");
    isAck(await handler(world.invalidation(row) as never, context));
    const cause = new Error("no such order");
    assert.equal(await failure(withInvalidation((_event: unknown, _context: unknown) => Promise.reject(cause))(event, context)), cause);
    assert.ok(handler.length <= 2);
  });

  test("withInvalidation: a handler with a callback, and a synchronous one", async () => {
    type Callback = (error: Error | null, result?: unknown) => void;
    const byCallback = withInvalidation((event: { fail?: boolean }, _context: unknown, callback?: Callback) => {
      setImmediate(() => callback?.(event.fail ? new Error("no") : null, "its answer"));
    }) as unknown as (event: unknown, context: unknown) => Promise<unknown>;
    assert.equal(await byCallback({}, context), "its answer");
    assert.equal((await failure(byCallback({ fail: true }, context))).message, "no");
    isAck(await byCallback(world.invalidation(row), context));
    assert.equal(await withInvalidation((_event: unknown, _context: unknown) => "at once")({}, context), "at once");
  });

  test("withInvalidation: a streaming handler stays one, and a push is answered in its stream", async () => {
    const chunks: string[] = [];
    const stream = { write: (chunk: string) => chunks.push(chunk), end: (chunk?: string) => chunks.push(chunk ?? "") };
    const streaming = Object.assign(
      async (event: { order: number }, out: typeof stream, with_: unknown) => {
        assert.equal(with_, context);
        out.write(`order ${event.order}`);
        out.end();
      },
      { [STREAMING]: "response" },
    );
    const handler = withInvalidation(streaming);
    assert.equal((handler as unknown as Record<symbol, unknown>)[STREAMING], "response");
    await handler({ order: 1 }, stream, context);
    assert.deepEqual(chunks.splice(0), ["order 1", ""]);
    await handler(world.invalidation(row) as never, stream, context);
    isAck(JSON.parse(chunks.join("")));
  });

  test("what is no function is a clear error", () => {
    for (const wrong of [undefined, null, { handler: () => {} }, "index.handler"]) {
      assert.throws(() => withInvalidation(wrong as never), /withInvalidation needs the handler function, not (undefined|null|object|string)/);
    }
    assert.throws(() => invalidationHandler()({}, "handler", { value: 1 }), /decorate a method, which handler is not/);
    assert.throws(() => defaultProvider().onChange(NAME, undefined as never), /the callback must be a function/);
  });

  test("the Middy middleware answers a push before the others see it", async () => {
    const seen: unknown[] = [];
    const handler = middy(async () => getSecret(NAME, { maxAge: 60 }))
      .use(invalidation())
      .use({ before: ({ event }) => void seen.push(event) });
    assert.equal(await handler({ order: 1 }, context), `value ${n - 1}`);
    const next = await world.change(NAME, `value ${n++}`);
    const ack = (await handler(world.invalidation(next) as never, context)) as unknown as Ack;
    assert.deepEqual([ack.secrets?.[0]?.outcome, ack.secrets?.[0]?.verified], ["applied", true]);
    assert.deepEqual(seen, [{ order: 1 }]);
    assert.equal(await handler({ order: 2 }, context), `value ${n - 1}`);
    const cause = new Error("no such order");
    const failing = middy(() => Promise.reject(cause)).use(invalidation());
    assert.equal(await failure(failing({}, context) as Promise<unknown>), cause);
  });

  test("an invocation that a later middleware ended early is over when the next begins", async () => {
    const handler = middy(async () => "the handler's")
      .use(invalidation())
      .use({ before: ({ event }) => ((event as { early?: boolean }).early ? "early" : undefined) as never });
    const { invocations } = spyOnState();
    assert.equal(await handler({ early: true } as never, context), "early");
    assert.equal(await handler({ early: true } as never, context), "early");
    assert.equal(invocations(), 1);
    assert.equal(await handler({} as never, context), "the handler's");
    assert.equal(invocations(), 0);
  });

  test("the method decorator, as Powertools' are used", async () => {
    class Lambda {
      private readonly answer = "its answer";

      @invalidationHandler()
      async handler(_event: unknown, _context: unknown): Promise<string> {
        return this.answer;
      }
    }
    const lambda = new Lambda();
    assert.equal(await lambda.handler({}, context), "its answer");
    isAck(await lambda.handler(world.invalidation(row), context));
  });

  test("several invocations at once in one process", async () => {
    const both = gate();
    let running = 0;
    const handler = withInvalidation(async (event: { n: number }, _context: unknown) => {
      if (++running === 2) both.open();
      await both.closed;
      return `${event.n}: ${(await getSecret(NAME, { maxAge: 60 })) as string}`;
    });
    const answers = await Promise.all([handler({ n: 1 }, context), handler({ n: 2 }, context), handler(world.invalidation(row) as never, context)]);
    assert.deepEqual(answers.slice(0, 2), [`1: value ${n - 1}`, `2: value ${n - 1}`]);
    assert.equal((answers[2] as unknown as Ack).revision, row.revision);
    assert.equal(world.meter.count("GetSecretValue"), 1);
  });

  test("without a log the handler is called as it is, and a push is told so", async () => {
    world.configure({ SECRET_BROADCAST_TABLE: undefined });
    const handler = withInvalidation(async (_event: unknown, _context: unknown) => "its answer");
    assert.equal(await handler({}, context), "its answer");
    assert.equal(((await handler(world.invalidation(row), context)) as unknown as Ack).problem, "the client is off");
  });
});

/** How many invocations the default provider's Cache takes to be under way. */
function spyOnState(): { invocations: () => number } {
  const { cache } = defaultProvider() as unknown as { cache: { state: { invocations: number } } };
  return { invocations: () => cache.state.invocations };
}
