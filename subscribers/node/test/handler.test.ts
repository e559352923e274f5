import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { PassThrough, type Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { after, before, beforeEach, describe, test } from "node:test";

import middy from "@middy/core";
import type { Context } from "aws-lambda";
import ts from "typescript";

import { defaultProvider, getSecret, invalidation, invalidationHandler, withInvalidation } from "../src/index.js";
import type { Ack, Row } from "../src/wire.js";
import { failure } from "./support/expect.js";
import { gate } from "./support/fake.js";
import { gone } from "./support/memory.js";
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

  test("withInvalidation: a handler with a callback, however it takes it, and a synchronous one", async () => {
    type Callback = (error: Error | null, result?: unknown) => void;
    type ByCallback = (event: { fail?: boolean }, context: unknown, callback?: Callback) => void;
    const declared: ByCallback = (event, _context, callback) => {
      setImmediate(() => callback?.(event.fail ? new Error("no") : null, "its answer"));
    };
    const listeners = process.listenerCount("beforeExit");
    const runtimes = { "Node 22": [() => {}], "Node 24": [] }; // which has no callbacks any more
    const both: ByCallback = async (event, _context, callback) => callback?.(event.fail ? new Error("no") : null, "its answer");
    const cases: [string, ByCallback, keyof typeof runtimes][] = [
      ["declared", declared, "Node 22"],
      ["declared", declared, "Node 24"],
      ["wrapped by somebody", (...args) => declared(...args), "Node 22"],
      ["called by an async one", both, "Node 22"],
      ["with a default", (event, context, callback = () => {}) => declared(event, context, callback), "Node 22"],
    ];
    for (const [what, handler, runtime] of cases) {
      const wrapped = withInvalidation(handler) as unknown as (...args: unknown[]) => Promise<unknown>;
      const [callback] = runtimes[runtime];
      assert.ok(wrapped.length < 3);
      assert.equal(await wrapped({}, context, callback), "its answer", `${what}, ${runtime}`);
      assert.equal((await failure(wrapped({ fail: true }, context, callback))).message, "no");
      isAck(await wrapped(world.invalidation(row), context, callback));
    }
    assert.equal(process.listenerCount("beforeExit"), listeners);
    const sync = withInvalidation((_event: unknown, _context: unknown) => "at once") as (...args: unknown[]) => unknown;
    assert.equal(await sync({}, context), "at once");
    assert.equal(await sync({}, context, () => {}), "at once");
    const signal = { signal: new AbortController().signal };
    assert.equal(await (withInvalidation((_event: unknown, _context: unknown, third: unknown) => third)({}, context, signal) as unknown), signal);
  });

  test("withInvalidation: what a handler with a callback returns is an answer only if it is a promise's, and its first answer counts", async () => {
    type Callback = (error: unknown, result?: unknown) => void;
    const wrapped = (handler: (event: unknown, context: unknown, callback: Callback) => unknown) => {
      const wrapper = withInvalidation(handler) as (event: unknown, context: unknown, callback: () => void) => Promise<unknown>;
      return wrapper({}, context, () => {});
    };
    assert.equal(await wrapped((_event, _context, callback) => setTimeout(() => callback(null, "its answer"), 1)), "its answer");
    assert.equal(await wrapped((_event, _context, callback) => (callback(null, "its answer"), "no answer")), "its answer");
    const thenable = { then: (resolve: (value: string) => void) => resolve("a thenable's") };
    assert.equal(await wrapped((_event, _context, _callback) => thenable), "a thenable's");
    assert.equal(await failure(wrapped((_event, _context, callback) => callback(""))), "", "anything but null and undefined is an error");
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", note);
    try {
      const failed = wrapped((_event, _context, callback) => {
        callback(new Error("said"));
        throw new Error("thrown");
      });
      assert.equal((await failure(failed)).message, "said");
      await new Promise((resolve) => setImmediate(resolve)); // rejections that nobody handles are told before this
      assert.deepEqual(unhandled, []);
    } finally {
      process.off("unhandledRejection", note);
    }
  });

  test("withInvalidation: a handler that answers nothing ends when nothing is left to do, as in the runtime", () => {
    const program = `
      import { withInvalidation } from ${JSON.stringify(new URL("../src/index.js", import.meta.url).href)};
      const handler = withInvalidation((event) => void setTimeout(() => console.log("worked"), 20));
      handler({}, {}, () => {}).then((answer) => console.log("answered", answer));`;
    const env = { PATH: process.env["PATH"] };
    const out = execFileSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8", env, stdio: ["ignore", "pipe", "inherit"] });
    assert.match(out, /worked\nanswered undefined\n$/);
  });

  /** As awslambda.streamifyResponse does. */
  const streamifyResponse = <H extends object>(handler: H): H => Object.assign(handler, { [STREAMING]: "response" });

  /** What a streaming handler writes. */
  const streamed = async (handler: unknown, event: unknown): Promise<string> => {
    assert.equal((handler as Record<symbol, unknown>)[STREAMING], "response");
    const out = new PassThrough();
    const [written] = await Promise.all([text(out), (handler as (...args: unknown[]) => Promise<unknown>)(event, out, context)]);
    return written;
  };

  test("withInvalidation: a streaming handler stays one or is made one, and a push is answered in its stream", async () => {
    const streaming = async (event: { order: number }, out: Writable, with_: unknown) => {
      assert.equal(with_, context);
      out.write(`order ${event.order}`);
      out.end();
    };
    for (const handler of [withInvalidation(streamifyResponse(streaming)), streamifyResponse(withInvalidation(streaming))]) {
      assert.equal(await streamed(handler, { order: 1 }), "order 1");
      isAck(JSON.parse(await streamed(handler, world.invalidation(row))));
    }
  });

  test("Middy that streams: a push is answered in the stream, by the middleware and by withInvalidation", async () => {
    const holder = globalThis as { awslambda?: unknown };
    holder.awslambda = { streamifyResponse };
    try {
      const make = () => middy({ streamifyResponse: true }).handler((async () => "its answer") as never);
      for (const handler of [make().use(invalidation()), withInvalidation(make())]) {
        assert.equal(await streamed(handler, { order: 1 }), "its answer");
        isAck(JSON.parse(await streamed(handler, world.invalidation(row))));
      }
    } finally {
      delete holder.awslambda;
    }
  });

  test("withInvalidation: what Middy carries stays, and what is used later is in the wrapped handler", async () => {
    const seen: unknown[] = [];
    const handler = withInvalidation(middy(async () => "its answer"))
      .use({ before: ({ event }) => void seen.push(event) })
      .before(async ({ event }) => void seen.push(event));
    assert.equal(await handler({ order: 1 } as never, context), "its answer");
    isAck(await handler(world.invalidation(row) as never, context));
    assert.deepEqual(seen, [{ order: 1 }, { order: 1 }]);
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
    const ack = JSON.parse(JSON.stringify(await handler(world.invalidation(next) as never, context))) as Ack; // as the runtime does
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

  test("on Managed Instances nothing is kept of an invocation that a later middleware ended early", async () => {
    process.env["AWS_LAMBDA_INITIALIZATION_TYPE"] = "lambda-managed-instances";
    const handler = middy(async () => "the handler's")
      .use(invalidation())
      .use({ before: () => "early" as never });
    const event = (): object => ({ early: true });
    const invoked = async (): Promise<WeakRef<object>> => {
      const given = event();
      assert.equal(await handler(given as never, context), "early");
      return new WeakRef(given);
    };
    await gone([await invoked(), await invoked()]);
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

  test("the method decorator, as the language has it", async () => {
    const source = `
      export const make = (invalidationHandler) => {
        class Lambda {
          answer = "its answer";
          @invalidationHandler()
          async handler(event, context) { return this.answer; }
        }
        return new Lambda();
      };`;
    const { outputText } = ts.transpileModule(source, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext } });
    const { make } = (await import(`data:text/javascript,${encodeURIComponent(outputText)}`)) as {
      make: (decorator: unknown) => { handler: (event: unknown, context: unknown) => Promise<unknown> };
    };
    const lambda = make(invalidationHandler);
    assert.equal(await lambda.handler({}, context), "its answer");
    isAck(await lambda.handler(world.invalidation(row), context));
    const field: ClassFieldDecoratorContext = { kind: "field", name: "handler" } as never;
    assert.throws(() => invalidationHandler()(undefined, field), /decorate a method, which handler is not/);
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
