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
 * Bounds requests together: what has not been answered ms milliseconds after it was made fails with a TimeoutError, also
 * where whoever was asked ignores the signal. What answers later still is dropped.
 */
export class Deadline {
  private readonly controller = new AbortController();
  private readonly passed: Promise<never>;
  private readonly cancel: () => void;

  constructor(clock: Clock, ms: number) {
    let fail: (error: Error) => void = () => {};
    this.passed = new Promise((_, reject) => {
      fail = reject;
    });
    this.passed.catch(() => {}); // nobody may be waiting when it passes
    this.cancel = clock.after(ms, () => {
      const error = new TimeoutError(`no answer within ${ms} ms`);
      fail(error); // before the abort: its own error says less
      this.controller.abort(error);
    });
  }

  async run<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return Promise.race([this.passed, request(this.controller.signal)]);
  }

  end(): void {
    this.cancel();
  }
}
