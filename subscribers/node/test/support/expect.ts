import assert from "node:assert/strict";

import type { Cache, ReadOptions } from "../../src/cache.js";
import type { Ack } from "../../src/wire.js";
import { type Fake, PASSWORD } from "./fake.js";

/** Reads a secret and compares. */
export async function reads(cache: Cache, want: string, id = PASSWORD, options: ReadOptions = {}): Promise<void> {
  assert.equal((await cache.get(id, options)).value, want);
}

/** Compares how often a secret was asked for. */
export function fetched(fake: Fake, want: number, name = PASSWORD): void {
  assert.equal(fake.fetches(name), want, `how often ${name} was asked for`);
}

/** Waits for a promise while time passes, and returns how long it took by the fake's clock. */
export async function took<T>(fake: Fake, promise: Promise<T>, step = 50): Promise<{ ms: number; value?: T; error?: Error }> {
  const began = fake.clock.elapsed;
  let out: { ms: number; value?: T; error?: Error } | undefined;
  const ended = (): number => Math.round(fake.clock.elapsed - began);
  promise.then(
    (value) => (out = { ms: ended(), value }),
    (error: Error) => (out = { ms: ended(), error }),
  );
  for (let i = 0; i < 2000; i++) {
    await fake.clock.advance(i === 0 ? 0 : step);
    if (out !== undefined) return out;
  }
  throw new Error("it never ended");
}

/** Invokes with an event that no handler may see, and returns the ack. */
export async function push(cache: Cache, event: unknown): Promise<Ack> {
  return (await cache.invoke(event, undefined, () => {
    throw new Error("the function's own handler was called");
  })) as Ack;
}

/** A rejection's error. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not fail");
}
