import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import type { Report } from "../src/wire.js";
import { reads } from "./support/expect.js";
import { API_KEY, Fake, gate, NEXT_CHECK, PASSWORD, settled } from "./support/fake.js";
import { goldenPath } from "./support/goldens.js";

test("an environment reports at its first check and at each new revision, at most every ten seconds", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  await settled();
  assert.equal(fake.reports.length, 1);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first"); // nothing new
  fake.put(PASSWORD, "second");
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "second"); // new, but too soon
  await settled();
  assert.equal(fake.reports.length, 1);
  fake.clock.jump(10_000);
  await cache.invoke({}, undefined, async () => {});
  await settled();
  assert.deepEqual(
    fake.reports.map(({ revision }) => revision),
    [2, 3],
  );
  assert.equal(fake.reports[0]?.environment, fake.reports[1]?.environment);
});

test("a report is renewed every six hours, since one that is a day old is gone", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await reads(cache, "first");
  await settled();
  fake.clock.jump(6 * 60 * 60 * 1000 - 1000);
  await reads(cache, "first");
  await settled();
  assert.equal(fake.reports.length, 1);
  fake.clock.jump(NEXT_CHECK);
  await reads(cache, "first");
  await settled();
  assert.equal(fake.reports.length, 2);
});

test("a report waits for the check on its way: else one that was frozen while the log grew says that it is behind", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const handler = async () => reads(cache, "first", PASSWORD, { ttl: 10 * 60 * 60 * 1000 });
  await cache.invoke({}, undefined, handler);
  await settled();
  fake.put(API_KEY, "first");
  fake.clock.jump(7 * 60 * 60 * 1000); // its report is due, and so is a check
  await cache.invoke({}, undefined, handler);
  await settled();
  assert.deepEqual(
    fake.reports.slice(1).map(({ revision }) => revision),
    [3],
  );
});

test("an invocation that reads nothing checks the log before its report is renewed, and otherwise need not", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  await cache.invoke({}, undefined, async () => reads(cache, "first"));
  fake.clock.jump(NEXT_CHECK);
  await cache.invoke({}, undefined, async () => {}); // the one before read something
  fake.clock.jump(NEXT_CHECK);
  fake.logReads = 0;
  await cache.invoke({}, undefined, async () => {});
  assert.equal(fake.logReads, 0);
  fake.put(API_KEY, "first");
  fake.clock.jump(7 * 60 * 60 * 1000);
  await cache.invoke({}, undefined, async () => {});
  await settled();
  assert.deepEqual(
    fake.reports.map(({ revision }) => revision),
    [2, 3],
  );
});

test("with reportAfter a cache reports once it is still read after that time", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache({ reportAfter: 10_000 });
  await cache.invoke({}, undefined, async () => reads(cache, "first"));
  fake.clock.jump(10_000);
  await cache.invoke({}, undefined, async () => {}); // it may be that nobody has it any more
  await settled();
  assert.equal(fake.reports.length, 0);
  await reads(cache, "first");
  await cache.invoke({}, undefined, async () => {});
  await settled();
  assert.equal(fake.reports.length, 1);
});

test("an invocation's return waits for the check on its way and then for the report that it ends with", async () => {
  const fake = new Fake();
  const cache = fake.cache();
  const answer = gate();
  fake.logGate = answer.closed;
  let returned = false;
  const invocation = cache.invoke({}, undefined, async () => {}).then(() => {
    returned = true;
  });
  await settled();
  const written = gate();
  fake.reportsGate = written.closed;
  answer.open();
  await settled();
  assert.equal(returned, false);
  written.open();
  await invocation;
  assert.equal(fake.reports.length, 1);
});

test("a report has the members of the golden one, in its order, and tells how the environment stands", async () => {
  const golden = JSON.parse(readFileSync(goldenPath("report/current.json"), "utf8")) as Report;
  const fake = new Fake();
  fake.put(PASSWORD, "canary-value");
  const second = fake.put(API_KEY, "canary-value");
  const cache = fake.cache({ ttl: 300_000 });
  const arn = "arn:aws:lambda:eu-west-2:111122223333:function:payments-test:live";
  cache.takeInvalidations();
  await cache.invoke({}, arn, async () => {
    await reads(cache, "canary-value");
    await reads(cache, "canary-value", API_KEY, { ttl: 600_000 });
  });
  fake.clock.jump(10_001);
  cache.onChange(PASSWORD, () => {
    throw new Error("login failed");
  });
  fake.put(PASSWORD, "canary-value, the second");
  await cache.invoke({}, arn, async () => reads(cache, "canary-value, the second"));
  fake.clock.jump(10_001);
  await cache.invoke({}, arn, async () => {});
  const report = fake.reports.at(-1) as Report;
  assert.deepEqual(Object.keys(report), Object.keys(golden));
  assert.deepEqual(Object.keys(report.counts), Object.keys(golden.counts));
  assert.deepEqual(
    [report.client, report.env, report.domain, report.service, report.function, report.version, report.mode, report.revision],
    ["node/1.0.0", "test", "payments", "payments-test", arn, "$LATEST", "on", 4],
  );
  assert.deepEqual([report.takesInvalidations, report.checkEverySeconds, report.maxTtlSeconds], [true, 2, 600]);
  assert.deepEqual(report.secrets?.[0], { name: API_KEY, versionId: second, outcome: "applied", verified: true });
  assert.deepEqual(
    [report.secrets?.[1]?.outcome, report.secrets?.[1]?.reason],
    ["failed", "an OnChange function refused the new version"],
  );
  assert.ok(!JSON.stringify(fake.reports).includes("canary"));
});

test("a report that failed is written again, and one that hangs is given up", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  fake.reportsError = new Error("throttled");
  await reads(cache, "first");
  await settled();
  fake.reportsError = undefined;
  const hanging = gate();
  fake.reportsGate = hanging.closed;
  fake.clock.jump(10_000);
  await cache.invoke({}, undefined, async () => {
    await fake.clock.advance(1000);
  });
  assert.equal(fake.reports.length, 0);
  fake.reportsGate = undefined;
  fake.clock.jump(10_000);
  await cache.invoke({}, undefined, async () => {});
  await settled();
  assert.equal(fake.reports.length, 1);
});

test("reports that fail are counted, and logged once, and once more when they fail again later, but not each time", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  const tenSeconds = async (error?: Error): Promise<number> => {
    fake.reportsError = error;
    fake.refresh(PASSWORD); // something to report
    await reads(cache, "first");
    await settled();
    fake.clock.jump(10_001);
    return fake.logs("reports cannot be written");
  };
  const denied = new Error("denied");
  assert.equal(await tenSeconds(denied), 1);
  for (let i = 0; i < 10; i++) assert.equal(await tenSeconds(denied), 1, "it goes on");
  await tenSeconds();
  assert.equal(fake.reports.at(-1)?.counts.reportFailures, 11);
  assert.equal(await tenSeconds(denied), 2);
  await tenSeconds();
  assert.equal(await tenSeconds(denied), 2, "it flaps");
  assert.equal(fake.logged.find(({ message }) => message.includes("reports"))?.extra?.["error"], "denied");
});

test("a log that stays broken is reported", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  fake.logError = new Error("broken");
  const cache = fake.cache();
  for (let i = 0; i < 2; i++) await reads(cache, "first");
  await settled();
  assert.equal(fake.reports.length, 0);
  await reads(cache, "first");
  await settled();
  assert.equal(fake.reports.length, 1);
  assert.deepEqual([fake.reports[0]?.revision, fake.reports[0]?.counts.checkFailures], [0, 3]);
});

test("a report of a secret that waits to be refetched is followed by another", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  cache.takeInvalidations();
  await reads(cache, "first");
  await settled();
  fake.refresh(PASSWORD);
  fake.clock.jump(10_001);
  await cache.invoke({}, undefined, async () => {}); // checks, reads nothing
  await settled();
  assert.deepEqual(fake.reports.at(-1)?.secrets, undefined);
  await reads(cache, "first");
  fake.clock.jump(10_001);
  await cache.invoke({}, undefined, async () => {});
  await settled();
  assert.equal(fake.reports.length, 3);
  assert.equal(fake.reports.at(-1)?.secrets?.[0]?.outcome, "applied");
});

test("a handler that is found to be wrapped after the first report is reported", async () => {
  const fake = new Fake();
  fake.put(PASSWORD, "first");
  const cache = fake.cache();
  cache.takeInvalidations();
  await settled();
  assert.equal(fake.reports.length, 0, "before anything was read there is nothing to report");
  const other = fake.cache();
  await reads(other, "first");
  await settled();
  fake.clock.jump(10_000);
  other.takeInvalidations();
  await other.invoke({}, undefined, async () => {});
  await settled();
  assert.deepEqual(fake.reports.map(({ takesInvalidations, revision }) => [takesInvalidations, revision]), [[false, 2], [true, 2]]);
});
