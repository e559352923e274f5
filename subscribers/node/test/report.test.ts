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

test("a report has the members of the golden one, in its order, and tells how the environment stands", async () => {
  const golden = JSON.parse(readFileSync(goldenPath("report/current.json"), "utf8")) as Report;
  const fake = new Fake();
  fake.put(PASSWORD, "canary-value");
  const second = fake.put(API_KEY, "canary-value");
  const cache = fake.cache({ ttl: 300_000 });
  const arn = "arn:aws:lambda:eu-west-2:111122223333:function:payments-test:live";
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

test("a handler that is wrapped after the first report is reported", async () => {
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
  await other.invoke({}, undefined, async () => {});
  await settled();
  assert.deepEqual(fake.reports.map(({ takesInvalidations, revision }) => [takesInvalidations, revision]), [[false, 2], [true, 2]]);
});
