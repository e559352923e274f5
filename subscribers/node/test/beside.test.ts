import assert from "node:assert/strict";
import { test } from "node:test";

import type { Cache } from "../src/cache.js";
import { DEFAULT_TTL } from "../src/config.js";
import type { Page } from "../src/ports.js";
import type { Version } from "../src/state.js";
import { SCHEMA } from "../src/wire.js";
import { fetched, reads, took } from "./support/expect.js";
import { API_KEY, Fake, gate, named, NEXT_CHECK, PASSWORD, settled } from "./support/fake.js";

// A read that finds nothing in memory checks the log and fetches at once.

/**
 * The first read of a new environment, by name or by ARN, with its check and its fetch on their way. The log is read when it
 * answers; Secrets Manager answers with what was when it was asked.
 */
class ColdRead {
  readonly fake = new Fake();
  readonly cache: Cache;
  readonly check = gate();
  readonly fetch = gate();
  readonly read: Promise<Version>;
  told = 0;
  /** Changes what the log answers. */
  edit: (page: Page) => Page = (page) => page;

  constructor(byArn = false) {
    const { fake } = this;
    fake.put(API_KEY, "first");
    fake.put(PASSWORD, "first");
    fake.clock.jump(60 * 60 * 1000);
    fake.editPage = () => this.edit({ rows: structuredClone(fake.rows.slice(-100)), date: Math.floor(fake.clock.wall()) });
    fake.logGate = this.check.closed;
    fake.secretsGate = this.fetch.closed;
    this.cache = fake.cache({ checkEvery: 60 * 60 * 1000 });
    const id = byArn ? fake.arn(PASSWORD) : PASSWORD;
    this.cache.onChange(id, () => void this.told++);
    this.read = this.cache.get(id);
    this.read.catch(() => {}); // whoever waits for it is told
  }

  /** Lets one of the two answer, and the other after everything has come to rest. */
  async answer(checkFirst: boolean): Promise<{ value?: Version; error?: Error }> {
    for (const { open } of checkFirst ? [this.check, this.fetch] : [this.fetch, this.check]) {
      open();
      await settled();
    }
    return took(this.fake, this.read);
  }

  failFirstRead(): void {
    this.edit = () => {
      this.edit = (page) => page;
      throw new Error("broken");
    };
  }
}

const MEANWHILE: Record<string, { happens: (r: ColdRead) => void; want: string; fetches: number }> = {
  nothing: { happens: () => {}, want: "first", fetches: 1 },
  "another secret changed": { happens: ({ fake }) => void fake.put(API_KEY, "second"), want: "first", fetches: 1 },
  "it changed": { happens: ({ fake }) => void fake.put(PASSWORD, "second"), want: "second", fetches: 2 },
  "it changed there and back": {
    happens: ({ fake }) => {
      fake.put(PASSWORD, "second");
      fake.rollback(PASSWORD);
    },
    want: "first",
    fetches: 1,
  },
  "it was refreshed": { happens: ({ fake }) => fake.refresh(PASSWORD), want: "first", fetches: 2 },
  "it was deleted": { happens: ({ fake }) => fake.delete(PASSWORD), want: "InvalidRequestException", fetches: 2 },
  "something of a newer schema": {
    happens: (r) => {
      r.fake.put(API_KEY, "second");
      r.edit = ({ rows, ...page }) => ({ ...page, rows: [...rows.slice(0, -1), { ...rows.at(-1)!, schema: SCHEMA + 1 }] });
    },
    want: "first",
    fetches: 2,
  },
  "the check's first read failed": { happens: (r) => r.failFirstRead(), want: "first", fetches: 2 },
  "frozen, and it changed": {
    happens: ({ fake }) => {
      fake.put(PASSWORD, "second");
      fake.clock.jump(10 * 60 * 1000);
    },
    want: "second",
    fetches: 2,
  },
  "frozen, it changed and the check's first read was lost": {
    happens: (r) => {
      r.fake.put(PASSWORD, "second");
      r.fake.clock.jump(10 * 60 * 1000);
      r.failFirstRead();
    },
    want: "second",
    fetches: 2,
  },
  "it changed, and the log tells no date": {
    happens: (r) => {
      r.fake.put(PASSWORD, "second");
      for (let i = 0; i < 100; i++) r.fake.put(API_KEY, "another"); // the rows that are read do not reach back to the change
      r.edit = ({ rows }) => ({ rows });
    },
    want: "second",
    fetches: 2,
  },
};

for (const [name, { happens, want, fetches }] of Object.entries(MEANWHILE)) {
  test(`a cold read checks and fetches at once, and serves what the log tells of: ${name}`, async () => {
    for (const checkFirst of [true, false]) {
      for (const byArn of [true, false]) {
        const r = new ColdRead(byArn);
        await settled();
        fetched(r.fake, 1);
        assert.equal(r.fake.logReads, 1);
        happens(r);
        const { value, error } = await r.answer(checkFirst);
        assert.equal(error?.name ?? value?.value, want, `check first: ${checkFirst}, by ARN: ${byArn}`);
        fetched(r.fake, fetches);
        const { uncertain, outdated } = r.cache.counts();
        assert.deepEqual([uncertain, outdated], [0, 0], "exceptions");
        assert.equal(r.told, 0, "onChange is not told of the first version read");
      }
    }
  });
}

test("a cold read goes on without the log, with what was fetched beside the check that failed", async () => {
  for (const checkFirst of [true, false]) {
    const r = new ColdRead();
    r.edit = () => {
      throw new Error("broken");
    };
    assert.equal((await r.answer(checkFirst)).value?.value, "first");
    fetched(r.fake, 1);
    const { uncertain, checkFailures } = r.cache.counts();
    assert.deepEqual([uncertain, checkFailures], [1, 1]);
  }
});

test("a cold read that cannot fetch fails once, with what Secrets Manager said, also while the check hangs", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cause = (fake.secretsError = named("ThrottlingException", "slow down"));
  fake.logGate = gate().closed;
  const { error, ms } = await took(fake, fake.cache().get(PASSWORD));
  assert.equal(error, cause);
  assert.equal(ms, 500); // two reads of the log that time out
  fetched(fake, 1);
});

test("what has to be fetched anyway is fetched beside the check, and what may still be served is not", async () => {
  for (const [options, fetches] of [[{ ttl: 1000 }, 2], [{ ttl: 0 }, 2], [{ force: true }, 2], [{ ttl: DEFAULT_TTL }, 1]] as const) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    const cache = fake.cache();
    await reads(cache, "first");
    fake.clock.jump(NEXT_CHECK);
    const log = gate();
    fake.logGate = log.closed;
    const read = cache.get(PASSWORD, options);
    await settled();
    assert.equal(fake.logReads, 2);
    fetched(fake, fetches);
    log.open();
    assert.equal((await read).value, "first");
    fetched(fake, fetches);
  }
});

test("a fetch that the check beside it has overtaken is not waited for", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  const log = gate();
  [fake.logGate, fake.secretsGate] = [log.closed, gate().closed];
  const read = cache.get(PASSWORD, { ttl: 0 });
  await settled();
  fake.secretsGate = undefined; // the next one is answered
  log.open();
  assert.equal((await read).value, "second");
  fetched(fake, 3);
});

test("what does not follow the log does not wait for it", async () => {
  for (const [mode, name] of [["on", "/bank/test/kyc/provider/api-key"], ["observe", PASSWORD]] as const) {
    const fake = new Fake();
    fake.put(name, "first");
    const log = gate();
    fake.logGate = log.closed;
    const cache = fake.cache({ mode });
    await cache.invoke({}, undefined, async () => {
      await reads(cache, "first", name); // beside the check that the invocation has begun with
      log.open();
    });
  }
});

test("the first report is written after the first read, and tells of what was read", async () => {
  const r = new ColdRead();
  r.check.open();
  await settled();
  assert.equal(r.fake.reports.length, 0);
  const before = r.read.then(() => r.fake.reports.length);
  r.fetch.open();
  assert.equal(await before, 0);
  await settled();
  assert.equal(r.fake.reports.length, 1);
  assert.deepEqual(r.fake.reports[0]?.secrets?.map(({ name, verified }) => [name, verified]), [[PASSWORD, true]]);
});

test("a handler that does not wait for its fetch reports at its return, once the check has ended", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const [log, secrets] = [gate(), gate()];
  [fake.logGate, fake.secretsGate] = [log.closed, secrets.closed];
  const cache = fake.cache();
  const invocation = cache.invoke({}, undefined, async () => void cache.get(PASSWORD).catch(assert.fail));
  await settled();
  log.open();
  await invocation;
  assert.equal(fake.reports.length, 1);
  secrets.open();
  await settled();
});

test("a late answer is judged by what its check told, also if that has been forgotten by then", async () => {
  for (const byArn of [false, true]) {
    const fake = new Fake();
    fake.put(PASSWORD, "first");
    fake.put(API_KEY, "first");
    const stale = await fake.port.get(PASSWORD, {}, new AbortController().signal);
    fake.clock.jump(60 * 60 * 1000);
    fake.put(PASSWORD, "second");
    fake.clock.jump(59_000);
    const secrets = gate();
    let late = true;
    const cache = fake.cache({
      secrets: {
        get: async (id, version, signal) => {
          const got = late ? stale : await fake.port.get(id, version, signal);
          await secrets.closed;
          return got;
        },
      },
    });
    const read = cache.get(byArn ? fake.arn(PASSWORD) : PASSWORD);
    await settled();
    late = false;
    fake.clock.jump(NEXT_CHECK);
    const other = cache.get(API_KEY);
    await settled(); // its check has found the change to be more than a minute old
    secrets.open();
    assert.equal((await took(fake, read)).value?.value, "second");
    await other;
  }
});
