import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";

import { InvalidatingSecretsProvider } from "../src/index.js";
import { World } from "./support/world.js";

// A function whose own code blocks the loop for longer than a read of the log may take: a PDF, a big JSON, a hash.

const NAME = "/bank/test/payments/neon/password";

/** Nothing else runs for so many milliseconds. */
function block(ms: number): void {
  for (const until = performance.now() + ms; performance.now() < until; );
}

describe("a loop that is blocked again and again", () => {
  let world: World;
  before(async () => {
    world = await World.open("local");
    await world.create(NAME, "first");
  });
  after(() => world.close());
  beforeEach(() => world.configure({ AWS_ENDPOINT_URL: world.endpoint })); // what stands between runs in this loop

  test("reads a log that answers, on new connections too", async () => {
    const provider = new InvalidatingSecretsProvider();
    let busy = true;
    const work = (async () => {
      while (busy) {
        block(300);
        await turn();
      }
    })();
    try {
      assert.equal(await provider.get(NAME, { maxAge: 60 }), "first");
      await world.change(NAME, "second");
      await sleep(500); // the check before is too old then
      assert.equal(await provider.get(NAME, { maxAge: 60 }), "second");
    } finally {
      busy = false;
      await work;
    }
    assert.deepEqual(counts(provider), { checkFailures: 0, fetchFailures: 0, uncertain: 0 });
  });
});

/** What failed. */
function counts(provider: InvalidatingSecretsProvider): object {
  const { checkFailures, fetchFailures, uncertain } = (provider as unknown as { cache: { counts(): Record<string, number> } }).cache.counts();
  return { checkFailures, fetchFailures, uncertain };
}
