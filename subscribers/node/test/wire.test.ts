import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { InvalidationError, millis, openRow, parseInvalidation, reportPartition, revisionKey, type Row, verify } from "../src/wire.js";
import { goldenPath } from "./support/goldens.js";

const names = (folder: string, ending: string): string[] => {
  const found = readdirSync(goldenPath(folder)).filter((name) => name.endsWith(ending));
  assert.notEqual(found.length, 0, `no golden files in ${folder}`);
  return found.map((name) => name.slice(0, -ending.length)).sort();
};
const text = (path: string): string => readFileSync(goldenPath(path), "utf8");
const json = (path: string): unknown => JSON.parse(text(path));

/** A row as a client reads it: the hash of its audit record is for auditors. */
function asRead(row: Row & { auditHash?: string }): Row {
  delete row.auditHash;
  return row;
}

test("a golden row's hash is that of its body, and the body opens as the row", () => {
  for (const name of names("row", ".body")) {
    const body = text(`row/${name}.body`);
    const want = asRead(json(`row/${name}.json`) as Row);
    assert.ok(verify(body, want.hash), name);
    assert.ok(!verify(`${body} `, want.hash), `${name}: one byte more is verified`);
    assert.deepEqual(openRow(body, want.hash), want, name);
  }
});

test("a body that is no row is an error that quotes nothing", () => {
  for (const body of ['{"revision":"canary-value"}', "canary-value", '["canary-value"]', '{"changes":[{"at":"canary-value"}]}']) {
    assert.throws(() => openRow(body, "77ab"), (error: Error) => !error.message.includes("canary"), body);
  }
  assert.deepEqual(openRow('{"changes":null}', "77ab").changes, [], "null is an empty list, as in Go");
});

test("golden invalidations are read as what they say", () => {
  for (const name of names("invalidation", ".json")) {
    const got = parseInvalidation(json(`invalidation/${name}.json`));
    const known = name === "with-unknown-fields" ? "moved" : name;
    const want = json(`invalidation/${known}.json`) as { id: string; detail: Row };
    asRead(want.detail);
    if (name === "with-unknown-fields") want.id = (json(`invalidation/${name}.json`) as { id: string }).id;
    assert.deepEqual(got, want, name);
  }
});

test("malformed invalidations are refused in the Go client's words", () => {
  for (const name of names("malformed", ".json")) {
    const got = parseInvalidation(json(`malformed/${name}.json`));
    assert.ok(got instanceof InvalidationError, name);
    assert.equal(got.message, text(`malformed/${name}.error`).trim(), name);
    assert.ok(!got.message.includes("canary"), name);
  }
});

test("events of the function's own are left alone", () => {
  const events: unknown[] = [undefined, null, "secret-broadcaster", 1, [], {}];
  for (const name of names("other", ".json")) events.push(json(`other/${name}.json`));
  for (const event of events) {
    const before = structuredClone(event);
    assert.equal(parseInvalidation(event), undefined);
    assert.deepEqual(event, before);
  }
});

test("times keep what is below a millisecond", () => {
  assert.equal(millis("2026-11-23T10:00:00.5Z"), Date.UTC(2026, 10, 23, 10, 0, 0, 500));
  assert.equal(millis("2026-11-23T11:00:00+01:00"), Date.UTC(2026, 10, 23, 10));
  assert.ok(millis("2026-11-23T10:00:00.000001Z") > millis("2026-11-23T10:00:00Z"));
  assert.ok(millis("2026-11-23T10:00:00.000999Z") < millis("2026-11-23T10:00:00.001Z"));
});

test("a report's partition is the one that Go finds", () => {
  // invalidation/wire/keys_test.go has the same.
  assert.equal(reportPartition("7f3c0000000000000000000000000001"), "report#9");
  assert.equal(revisionKey(42), "0000000000000000042");
  assert.ok(revisionKey(9) < revisionKey(10));
});


test("a row with a newer schema keeps its place, whatever it says of its changes", () => {
  const changes = { new: "form" };
  const row = openRow(JSON.stringify({ schema: 2, revision: 43, previousHash: "p", changes }), "h");
  assert.deepEqual([row.revision, row.previousHash, row.hash, row.changes], [43, "p", "h", []]);
  for (const broken of [
    { schema: 1, revision: 43, changes },
    { schema: 2, revision: "43", changes },
  ]) {
    assert.throws(() => openRow(JSON.stringify(broken), "h"), /decoding row/);
  }
});
