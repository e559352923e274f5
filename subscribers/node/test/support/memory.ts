import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Collects what nothing holds any more. */
export async function collect(): Promise<void> {
  setFlagsFromString("--expose-gc");
  await new Promise((resolve) => setImmediate(resolve)); // what was read from a WeakRef is held until its turn ends
  (runInNewContext("gc") as () => void)();
}

/** Waits until nothing holds some objects. */
export async function gone(references: WeakRef<object>[]): Promise<void> {
  const held = () => references.filter((reference) => reference.deref() !== undefined).length;
  for (let i = 0; held() > 0; i++) {
    assert.ok(i < 50, `${held()} of ${references.length} are still held`);
    await collect();
  }
}
