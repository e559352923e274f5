import { markNameless } from "./account.js";
import { fetchesBeside, letGoOn, tellsAllSince } from "./beside.js";
import { Breaker } from "./breaker.js";
import { atLeastSince, before, Deadline, type Instant, since } from "./clock.js";
import { wordOf } from "./errors.js";
import type { Page } from "./ports.js";
import type { Reporting } from "./report.js";
import { type Check, type Cursor, cursorOf, type Entry, type KnownChange, sameCursor, type State } from "./state.js";
import { type Change, millis, type Row, SCHEMA } from "./wire.js";

/** How many rows a check applies one by one. Further behind, everything cached is refetched instead. */
const MAX_BEHIND = 100;

/**
 * How long Secrets Manager may answer with what was before a change. It is eventually consistent and gives no bound
 * (https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html); a minute is assumed.
 */
export const LATE_FOR = 60_000;

/** Reads the log and applies what it says. */
export class Checks {
  /** The last rows seen, to tell a true push from a forged one. */
  private recent: Cursor[] = [];
  private readonly breaker = new Breaker();
  /** It was logged that the log cannot be read. */
  private told = false;

  constructor(
    private readonly state: State,
    private readonly reporting: Reporting,
  ) {}

  /** Checks the log unless the newest check is young enough. False: it could not be read, and the TTL alone applies. */
  async ensure(): Promise<boolean> {
    // An answer may come so late that it is too old at once, above all one that was sent before a freeze: ask again.
    for (let i = 0; i < 2; i++) {
      const now = this.state.now();
      if (this.state.certain(now)) return true;
      const check = this.start(now, false);
      if (check === undefined || !(await check.done)) return false;
    }
    return this.state.certain(this.state.now());
  }

  /** Checks the log unless a check begun at or after the given instant has answered. It ignores the breaker. */
  async since(begun: Instant): Promise<boolean> {
    for (let i = 0; i < 2; i++) {
      const check = this.start(this.state.now(), true) as Check;
      if (!(await check.done)) return false;
      if (!before(check.begun, begun)) return true;
    }
    return false;
  }

  /**
   * Returns the check on its way, or starts one: unless it is forced, only if the newest is not young enough. Undefined
   * while the breaker is open.
   */
  start(now: Instant, force: boolean): Check | undefined {
    const { state } = this;
    if (state.check !== undefined) return state.check;
    if (!force && state.certain(now)) return { begun: now, done: Promise.resolve(true), awaited: false };
    if (!force && this.isOpen(now)) return undefined;
    const check: Check = { begun: now, done: Promise.resolve(false), awaited: false };
    state.check = check;
    check.done = this.run(check);
    return check;
  }

  private isOpen(now: Instant): boolean {
    const { checked, cfg } = this.state;
    return (checked === undefined ? cfg.trouble.breaker : this.breaker).isOpen(now);
  }

  private async run(check: Check): Promise<boolean> {
    const { state } = this;
    let error: unknown;
    for (let i = 0; i < 2; i++) {
      // the second on a fresh connection
      try {
        error = undefined;
        await this.once();
        break;
      } catch (failed) {
        error = failed ?? new Error("the log failed without saying why");
      }
    }
    state.check = undefined;
    const { logger, trouble } = state.cfg;
    if (error === undefined) {
      if (this.told) logger.info("the change log can be read again");
      this.told = false;
      this.breaker.succeeded();
      trouble.breaker.succeeded();
      state.counts.checks++;
    } else {
      this.breaker.failed(state.now());
      trouble.breaker.failed(state.now());
      state.counts.checkFailures++;
      if (this.breaker.tripped) state.reportDue = true;
      this.told ||= state.warnRarely("the change log cannot be read: cached secrets are served until their TTL ends", wordOf(error));
    }
    if (!check.awaited) this.reporting.start();
    return error === undefined;
  }

  /** Reads what is newer than the cursor and applies it. */
  private async once(): Promise<void> {
    const { state } = this;
    const log = state.cfg.log;
    if (log === undefined) throw new Error("there is no log");
    const deadline = new Deadline(state.cfg.clock, state.cfg.checkTimeout);
    try {
      state.reads++;
      const from = state.cursor;
      const sent = state.now(); // a check counts from before it was sent: what was appended later may be missing from the answer
      if (from.revision > 0) {
        const page = await deadline.run(async (signal) => log.since(from.revision, MAX_BEHIND + 2, signal));
        const first = page.rows[0];
        this.mustBeOurs(first);
        if (first !== undefined && sameCursor(cursorOf(first), from) && page.rows.length <= MAX_BEHIND + 1) {
          this.apply(page, from, sent);
          return;
        }
        // The table was restored or compacted, or too much has happened since.
      }
      for (let limit = MAX_BEHIND; ; limit *= 10) {
        const page = await deadline.run(async (signal) => log.tail(limit, signal));
        const first = page.rows[0];
        if (first === undefined) throw new Error("the change log is empty");
        this.mustBeOurs(first);
        // At least all rows that are young enough for late answers to be expected.
        if (page.rows.length < limit || page.date === undefined || ageOf(first, page) > LATE_FOR) {
          this.startAtHead(page, sent);
          return;
        }
      }
    } finally {
      deadline.end();
    }
  }

  /** Another domain's log says nothing of this function's secrets: to follow it would be to follow nothing, unnoticed. */
  private mustBeOurs(row: Row | undefined): void {
    const { env, domain } = this.state.cfg;
    if (row === undefined || (row.env === env && row.domain === domain)) return;
    const remedy = "correct SECRET_BROADCAST_TABLE, or SECRET_BROADCAST_ENV and SECRET_BROADCAST_DOMAIN";
    throw new Error(`the change log is of ${row.env}/${row.domain}, this function is configured for ${env}/${domain}: ${remedy}`);
  }

  /** Marks what the rows after the cursor changed, then moves the cursor. On a gap it does not move. */
  private apply(page: Page, from: Cursor, sent: Instant): void {
    const landed = this.state.now();
    let last = from;
    for (const row of page.rows.slice(1)) {
      mustFollow(last, row);
      this.applyRow(row, page, landed);
      last = cursorOf(row);
    }
    this.moveTo(last, page, sent, landed);
  }

  /**
   * Marks whatever is cached, since nobody knows what it has missed, and begins at the newest row. A fetch that was sent after
   * this read of the log has missed nothing that the rows do not tell, and goes on.
   */
  private startAtHead(page: Page, sent: Instant): void {
    const { state } = this;
    const landed = state.now();
    const beside = fetchesBeside(state);
    // Who observes reads beside its first check, and has missed nothing by that.
    if (state.cfg.mode === "on" || state.cursor.revision > 0) this.markAll();
    let last: Cursor | undefined;
    for (const row of page.rows) {
      if (last !== undefined) mustFollow(last, row);
      last = cursorOf(row);
      this.applyRow(row, page, landed); // a deletion leaves nothing to fall back to
    }
    if (tellsAllSince(since(landed, sent), page)) letGoOn(state, beside);
    this.moveTo(last as Cursor, page, sent, landed);
  }

  private markAll(): void {
    for (const entry of this.state.entries.values()) {
      if (entry.tracked) this.state.invalidate(entry);
    }
  }

  /**
   * The last step of a check that succeeded: the marks are made. What is known is dated again by the log's clock, which no
   * freeze stops: else a minute could be long over and a change still pass for young.
   */
  private moveTo(to: Cursor, page: Page, sent: Instant, landed: Instant): void {
    const { state } = this;
    if (!sameCursor(to, state.cursor)) {
      state.cursor = to;
      state.reportDue = true;
    }
    for (const [name, known] of state.known) {
      const appended = known.appended ?? page.date; // what a rejection has told: the log's clock counts from here
      const age = Math.max(ageAt(known, landed), sinceAppended(appended, page));
      const dated = { ...known, appended, age, anchor: landed };
      const fetch = state.entries.get(name)?.fetch;
      if (fetch !== undefined) fetch.known = dated; // which judges its answer also if it is forgotten before that comes
      state.known.set(name, dated);
      if (age <= LATE_FOR) continue;
      state.known.delete(name);
      state.marks++; // a fetch of an ARN on its way may have been to be judged by it
    }
    state.checked = sent;
  }

  /** Marks what one row changed. */
  private applyRow(row: Row, page: Page, landed: Instant): void {
    this.remember(cursorOf(row));
    if (row.schema > SCHEMA) {
      this.markAll(); // it says something this client cannot read
      return;
    }
    for (const change of row.changes) {
      this.learn(change, row, page, landed);
      this.applyTo(change);
    }
  }

  /** Marks the entry of a changed secret unless what it holds is what the change made current, or newer. */
  private applyTo(change: Change): void {
    const { state } = this;
    const entry = state.entries.get(change.name);
    const cached = entry?.tracked === true;
    const kept = cached && keeps(entry, change);
    markNameless(state, change, keeps);
    if (state.cfg.mode !== "on") {
      if (cached && !kept) state.invalidate(entry); // which counts only
    } else if (!cached) {
      state.marks++; // it may be of an ARN whose name is not known yet: a fetch of that on its way must not land
    } else if (kept) {
      state.supersedeFetch(entry); // but a fetch sent before the change must not replace it
    } else {
      state.invalidate(entry);
      if (change.kind === "deleted") entry.held = undefined;
    }
  }

  /** Keeps the positions of the last rows, so that a push can be told from a forgery. */
  private remember(at: Cursor): void {
    this.recent.push(at);
    if (this.recent.length > MAX_BEHIND) this.recent = this.recent.slice(-MAX_BEHIND);
  }

  /** Whether a row with this revision and hash was read from the log. */
  hasSeen(at: Cursor): boolean {
    return this.recent.some((seen) => sameCursor(seen, at));
  }

  /**
   * Keeps a change to judge fetches by. A restored table may lack what is already known here, and be appended to from an
   * answer that is older than it: the later change wins, whatever its revision.
   */
  private learn(change: Change, row: Row, page: Page, landed: Instant): void {
    if (this.state.cfg.mode !== "on") return; // who observes serves what Secrets Manager answers
    const { known } = this.state;
    const at = millis(change.at);
    const before = known.get(change.name);
    if (before !== undefined && at < before.at) return;
    const age = ageOf(row, page);
    if (age > LATE_FOR) {
      known.delete(change.name); // what AWSCURRENT reads is the truth
      return;
    }
    known.set(change.name, { change, at, appended: millis(row.time), age, anchor: landed });
  }
}

/** Whether what an entry holds is what the change made current, or newer. */
function keeps(entry: Entry, change: Change): boolean {
  if (entry.held !== undefined && entry.held.created > millis(change.at)) return true;
  return change.kind !== "refresh" && entry.fresh !== undefined && entry.fresh.id === change.versionId;
}

function mustFollow(at: Cursor, row: Row): void {
  if (row.revision !== at.revision + 1 || (row.previousHash ?? "") !== at.hash) {
    throw new Error(`the change log has a gap after revision ${at.revision}`);
  }
}

/** How long before the page landed a row was appended, at least. Without a date of the log it is new. */
const ageOf = (row: Row, page: Page): number => sinceAppended(millis(row.time), page);

function sinceAppended(appended: number | undefined, page: Page): number {
  return page.date === undefined || appended === undefined ? 0 : page.date - appended;
}

/**
 * How old a change's row was at an instant, at least: a late answer must not pass for a current one because a clock
 * jumped. Negative for an instant before the row.
 */
export function ageAt(known: KnownChange, at: Instant): number {
  if (before(at, known.anchor)) return known.age - since(known.anchor, at);
  return known.age + atLeastSince(at, known.anchor);
}
