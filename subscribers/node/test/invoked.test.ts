import assert from "node:assert/strict";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, mock, test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { isInvoked } from "../src/invoked.js";
import type { Report } from "../src/wire.js";
import { packageRoot } from "./support/goldens.js";
import { temporary, write } from "./support/project.js";
import { World } from "./support/world.js";

const NAME = "/bank/test/payments/neon/password";
const context = { invokedFunctionArn: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api" };
const client = JSON.stringify(new URL("../src/index.js", import.meta.url).href);

/** The modules of functions, as Lambda's runtime loads them. */
const modules = {
  "src/two.mjs": `
    import { getSecret, invalidation, invalidationHandler, withInvalidation } from ${client};
    import middy from "@middy/core";
    const read = () => getSecret(${JSON.stringify(NAME)}, { maxAge: 300 });
    export const wrapped = withInvalidation(read);
    export const plain = async () => read();
    export const router = async (event, context) => (event.pay ? wrapped(event, context) : read());
    export const traced = Object.assign((...args) => wrapped(...args), { __original: wrapped });
    export const tracedRouter = Object.assign((...args) => router(...args), { __original: router });
    class Lambda { async handle() { return read(); } }
    const descriptor = invalidationHandler()(Lambda.prototype, "handle", Object.getOwnPropertyDescriptor(Lambda.prototype, "handle"));
    Object.defineProperty(Lambda.prototype, "handle", descriptor);
    const lambda = new Lambda();
    export const bound = lambda.handle.bind(lambda);
    export const boundRouter = router.bind(undefined);
    export const nested = { of: { two: wrapped } };
    export const withMiddleware = middy(read).use(invalidation());
    export const aroundMiddleware = (event, context) => withMiddleware(event, context);
    export default { wrapped: router };`,
  "common.cjs": `
    exports.load = async () => {
      const { withInvalidation } = await import(${client});
      exports.handler = withInvalidation(async () => 1);
    };
    exports.plain = async () => 1;`,
  "broken.mjs": "throw new Error('no function')",
};

describe("whether every event of a function comes through a wrapped handler", () => {
  let dir: string;
  before(async () => {
    dir = temporary("invoked");
    write(dir, modules);
    symlinkSync(join(packageRoot, "node_modules"), join(dir, "node_modules"));
    await ((await import(join(dir, "common.cjs"))) as { load(): Promise<void> }).load();
  });

  const cases: [handler: string | undefined, middy: boolean, want: boolean][] = [
    ["src/two.wrapped", false, true],
    ["src/two.plain", false, false],
    ["src/two.router", false, false],
    ["src/two.traced", false, true],
    ["src/two.tracedRouter", false, false],
    ["src/two.bound", false, true],
    ["src/two.boundRouter", false, false],
    ["src/two.nested.of.two", false, true],
    ["src/two.withMiddleware", true, true],
    ["src/two.withMiddleware", false, false],
    ["src/two.aroundMiddleware", true, false],
    ["src/two.none", false, false],
    ["src/two.none.of.two", false, false],
    ["common.handler", false, true],
    ["common.plain", false, false],
    ["broken.handler", false, false],
    ["missing.handler", false, false],
    ["bootstrap", false, false],
    ["", false, false],
    [undefined, false, false],
  ];
  for (const [handler, middy, want] of cases) {
    test(`${handler}${middy ? ", by the middleware" : ""}: ${want}`, async () => {
      process.env["LAMBDA_TASK_ROOT"] = dir;
      if (handler === undefined) delete process.env["_HANDLER"];
      else process.env["_HANDLER"] = handler;
      assert.equal(await isInvoked(middy), want);
    });
  }

  test("without LAMBDA_TASK_ROOT, outside Lambda: false", async () => {
    delete process.env["LAMBDA_TASK_ROOT"];
    process.env["_HANDLER"] = "src/two.wrapped";
    assert.equal(await isInvoked(false), false);
  });

  describe("is what its reports say", () => {
    let world: World;
    before(async () => {
      world = await World.open("local");
      await world.create(NAME, "first");
    });
    after(() => world.close());

    for (const [handler, want] of [["wrapped", true], ["plain", false], ["router", false], ["withMiddleware", true]] as const) {
      test(handler, async () => {
        world.configure({ LAMBDA_TASK_ROOT: dir, _HANDLER: `src/two.${handler}`, POWERTOOLS_SERVICE_NAME: `the-${handler}` });
        const functions = (await import(join(dir, "src/two.mjs"))) as Record<string, (event: object, context: object) => Promise<unknown>>;
        const info = mock.method(console, "info", () => {});
        try {
          assert.equal(await functions[handler]?.({ pay: true }, context), "first");
          const reported = async (): Promise<Report | undefined> =>
            (await world.reports()).map(({ data }) => JSON.parse(data.S) as Report).find(({ service }) => service === `the-${handler}`);
          for (const began = performance.now(); (await reported()) === undefined; await setImmediate()) assert.ok(performance.now() - began < 10_000);
          assert.equal((await reported())?.takesInvalidations, want);
          const told = info.mock.calls.map(({ arguments: [text] }) => String(text));
          assert.deepEqual(told.map((text) => /no push will come/.test(text)), handler === "router" ? [true] : []);
        } finally {
          info.mock.restore();
        }
      });
    }
  });
});
