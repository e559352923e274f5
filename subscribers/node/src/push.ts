import type { Checks } from "./check.js";
import { type Instant, since, TimeoutError, within } from "./clock.js";
import { errorOf, isDeleted, isNotFound } from "./errors.js";
import type { Changes } from "./onchange.js";
import { outcomeOf, type Reporting } from "./report.js";
import { cursorOf, type State, type Version } from "./state.js";
import {
  type Ack,
  type Change,
  type Invalidation,
  type InvalidationError,
  PROBLEM_LOG,
  PROBLEM_OFF,
  REASON_DELETED,
  REASON_NOT_FETCHED,
  REASON_NOT_FOUND,
  REASON_TOO_LATE,
  type SecretOutcome,
} from "./wire.js";

/**
 * How long an invocation's return waits for a report or a check on its way, in milliseconds: what is unfinished then is
 * frozen with the environment.
 */
export const LINGER_FOR = 50;

/** How often pushes can cause a refetch while the log cannot be read, in milliseconds: anybody may forge one. */
const PUSH_REFETCH_EVERY = 10_000;

/** Answers invalidations. Nothing in an invalidation itself is applied. */
export class Pushes {
  constructor(
    private readonly state: State,
    private readonly checks: Checks,
    private readonly reporting: Reporting,
    private readonly changes: Changes,
    private readonly get: (name: string) => Promise<Version>,
  ) {}

  /** Waits a little for what is on its way: once the invocation has returned the environment may be frozen. */
  async linger(): Promise<void> {
    this.reporting.start();
    if (this.state.check === undefined && this.reporting.sending === undefined) return;
    await within(this.state.cfg.clock, LINGER_FOR, this.underWay());
  }

  private async underWay(): Promise<void> {
    await this.state.check?.done;
    this.reporting.start(); // unless the check has ended with one
    await this.reporting.sending;
  }

  /** Answers an invalidation that cannot be used. */
  refuse(error: InvalidationError): Ack {
    this.state.cfg.logger.warn("an invalidation was refused", { error: error.message });
    return { ...this.reporting.ack(), problem: error.message };
  }

  /** Reads the log, refetches what changed and is cached, and says what became of it. */
  async answer({ detail }: Invalidation): Promise<Ack> {
    const { cfg } = this.state;
    const ack = this.reporting.ack();
    if (cfg.mode === "off") return { ...ack, problem: PROBLEM_OFF };
    if (detail.env !== cfg.env || detail.domain !== cfg.domain) {
      const problem = `an invalidation of ${detail.env}/${detail.domain} was sent to a function of ${cfg.env}/${cfg.domain}`;
      cfg.logger.error(problem);
      return { ...ack, problem };
    }
    const read = await this.checks.since(this.state.now());
    if (!read) this.refetchPushed(detail.changes);
    const { revision, hash } = this.state.cursor;
    ack.revision = revision;
    if (hash !== "") ack.hash = hash;
    if (this.checks.hasSeen(cursorOf(detail))) {
      const secrets = await Promise.all(detail.changes.map((change) => this.settle(change)));
      if (secrets.length > 0) ack.secrets = secrets;
    }
    if (!read) ack.problem = PROBLEM_LOG;
    return ack;
  }

  /** Brings a changed secret up to date if it is cached. */
  private async settle({ name, kind }: Change): Promise<SecretOutcome> {
    const entry = this.state.entries.get(name);
    const cached =
      entry !== undefined && entry.tracked && entry.lastId !== "" && (entry.held !== undefined || kind === "deleted");
    if (!cached) return { name, outcome: "not-cached" };
    if (this.state.cfg.mode === "observe") return { name, outcome: "observed" };
    if (entry.held === undefined) return { name, outcome: "applied" }; // evicted
    try {
      await this.get(name);
    } catch (error) {
      return { name, outcome: "failed", reason: reasonOf(errorOf(error)) };
    }
    await this.changes.waitTold(entry);
    return outcomeOf(entry, name);
  }

  /**
   * Marks what a push names while the log cannot be read. The refetch reads AWSCURRENT, never a version that the push
   * claims, and the cursor stays.
   */
  private refetchPushed(changes: Change[]): void {
    if (this.state.cfg.mode !== "on") return;
    const now = this.state.now();
    for (const { name } of changes) {
      const entry = this.state.entries.get(name);
      if (entry === undefined || !entry.tracked || entry.held === undefined || isRecent(entry.pushed, now)) continue;
      entry.pushed = now;
      this.state.mark(entry);
    }
  }
}

const isRecent = (pushed: Instant | undefined, now: Instant): boolean =>
  pushed !== undefined && since(now, pushed) < PUSH_REFETCH_EVERY;

/** Classes an error; its text is not passed on. */
function reasonOf(error: Error): string {
  if (isDeleted(error)) return REASON_DELETED;
  if (isNotFound(error)) return REASON_NOT_FOUND;
  return error instanceof TimeoutError ? REASON_TOO_LATE : REASON_NOT_FETCHED;
}
