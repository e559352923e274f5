import { type Instant, since } from "./clock.js";

/** So many failed checks in a row open a breaker for so long: reads no longer wait for the log then. */
const AFTER = 3;
const OPEN_FOR = 10_000;

/** How often it is logged at the most that something fails that may come and go, in milliseconds. */
const WARN_EVERY = 60_000;

/** Counts failed checks in a row. */
export class Breaker {
  private failures = 0;
  private opened: Instant | undefined;

  succeeded(): void {
    this.failures = 0;
  }

  failed(now: Instant): void {
    this.failures++;
    this.opened = now;
  }

  /** Whether as many have failed in a row as open it. */
  get tripped(): boolean {
    return this.failures >= AFTER;
  }

  isOpen(now: Instant): boolean {
    return this.tripped && this.opened !== undefined && since(now, this.opened) < OPEN_FOR;
  }
}

/**
 * What several Caches share of what goes wrong. One may be made for each request: it would wait for a log that does not answer,
 * and say so, as if it were the first.
 */
export class Trouble {
  /** Of all their checks: for a Cache that has not read the log yet. One that has knows better than its neighbours. */
  readonly breaker = new Breaker();
  private readonly told = new Map<string, Instant>();

  /** Whether something has not been told for a minute, and then it is taken to be told. */
  isNews(text: string, now: Instant): boolean {
    const last = this.told.get(text);
    if (last !== undefined && since(now, last) < WARN_EVERY) return false;
    this.told.set(text, now);
    return true;
  }

  /** Whether something was never told. */
  isFirst(text: string, now: Instant): boolean {
    return !this.told.has(text) && this.isNews(text, now);
  }
}
