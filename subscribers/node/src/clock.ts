import type { Clock } from "./ports.js";

/**
 * One reading of both clocks. Neither can be trusted alone on Lambda: a frozen machine's monotonic clock may stand still,
 * and a wall clock may be set. So the time between two instants is known as a range only, and each use takes the end that
 * is safe for it.
 */
export interface Instant {
  readonly monotonic: number;
  readonly wall: number;
}

/**
 * The longest time that may have passed between two instants. A wall clock that went back says nothing, so anything may
 * have: the answer is then Infinity.
 */
export function since(later: Instant, earlier: Instant): number {
  const wall = later.wall - earlier.wall;
  return wall < 0 ? Infinity : Math.max(wall, later.monotonic - earlier.monotonic);
}

/** The shortest time that may have passed between two instants. */
export function atLeastSince(later: Instant, earlier: Instant): number {
  return Math.max(0, Math.min(later.wall - earlier.wall, later.monotonic - earlier.monotonic));
}

/**
 * The longest time that may have passed if only one of the clocks is wrong: a wall clock that went back was set, and then the
 * other is believed. For what is served only where nothing newer can be had.
 */
export function sinceAtBest(later: Instant, earlier: Instant): number {
  return Math.max(later.wall - earlier.wall, later.monotonic - earlier.monotonic);
}

/** Whether a was read before b, by the clock that never goes back. */
export const before = (a: Instant, b: Instant): boolean => a.monotonic < b.monotonic;

/** The machine's own clocks. */
export const systemClock: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  after(ms, f) {
    const timer = setTimeout(f, ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves after ms milliseconds. */
export const pause = (clock: Clock, ms: number): Promise<void> =>
  new Promise((resolve) => void clock.after(ms, resolve));

/** Waits for any of the promises, none of which is taken to fail, but at most for ms milliseconds; tells whether one came. */
export async function within(clock: Clock, ms: number, ...promises: Promise<unknown>[]): Promise<boolean> {
  let cancel = () => {};
  const late = new Promise<boolean>((resolve) => {
    cancel = clock.after(ms, () => resolve(false));
  });
  try {
    return await Promise.race([late, ...promises.map((promise) => promise.then(() => true))]);
  } finally {
    cancel();
  }
}

/** A request that was not answered within its time-out. */
export class TimeoutError extends Error {
  override name = "TimeoutError";
}

/**
 * How often a loop that was blocked must come round before a deadline has passed, and how long after one another at least, in
 * milliseconds. Only then is read what lies in the sockets, and an answer on a new connection needs several rounds: name,
 * connection, TLS and answer.
 */
const ROUNDS = 5;
const A_ROUND = 10;

/**
 * Bounds requests together: what has not been answered ms milliseconds after it was made fails with a TimeoutError, also
 * where whoever was asked ignores the signal. What answers later still is dropped. Where the function's own code has blocked
 * the loop, what came meanwhile still counts as in time. After Infinity it never passes.
 */
export class Deadline {
  private readonly controller = new AbortController();
  private readonly passed: Promise<never>;
  private cancel: () => void;

  constructor(clock: Clock, ms: number) {
    let fail: (error: Error) => void = () => {};
    this.passed = new Promise((_, reject) => {
      fail = reject;
    });
    this.passed.catch(() => {}); // nobody may be waiting when it passes
    const due = clock.monotonic() + ms;
    const pass = (): void => {
      const error = new TimeoutError(`no answer within ${ms} ms`);
      fail(error); // before the abort: its own error says less
      this.controller.abort(error);
    };
    const goOn = (rounds: number): void => {
      this.cancel = rounds === 0 ? clock.after(0, pass) : clock.after(A_ROUND, () => goOn(rounds - 1));
    };
    this.cancel = ms === Infinity ? () => {} : clock.after(ms, () => goOn(clock.monotonic() - due > A_ROUND ? ROUNDS : 0));
  }

  async run<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return Promise.race([this.passed, request(this.controller.signal)]);
  }

  end(): void {
    this.cancel();
  }
}
