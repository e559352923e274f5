import { accountOf, isOf, learnAccount, nameIn, resolve } from "./account.js";
import { ageAt, LATE_FOR } from "./check.js";
import { Deadline, type Instant, pause, since } from "./clock.js";
import { DeletedError, errorOf, isDeleted, isNotFound, LateError, SupersededError } from "./errors.js";
import type { Changes } from "./onchange.js";
import type { Fetched } from "./ports.js";
import { type Entry, type Fetch, Held, type KnownChange, type State } from "./state.js";

/**
 * The pauses before the next try when Secrets Manager answers with what was before a known change, in milliseconds. The
 * first tries read AWSCURRENT, those after LABEL_TRIES the version that the change named: a read by version id is not held
 * up by a label that still reads old.
 */
const LATE_RETRIES = [50, 0, 100, 300];
const LABEL_TRIES = 2;
const LAST_TRY = LATE_RETRIES.length;

/** What became of one try: it asks for another, or was the last. */
type Landed = "late" | "ended";

/** Refills entries. */
export class Fetches {
  constructor(
    private readonly state: State,
    private readonly changes: Changes,
    private readonly ensureChecked: () => Promise<boolean>,
    private readonly report: () => void,
  ) {}

  /** Returns the fetch on its way for the entry's generation, or starts one. */
  start(entry: Entry, id: string): Fetch {
    if (entry.fetch === undefined) {
      const { state } = this;
      const now = state.now();
      const fetch: Fetch = {
        id: entry.name || id, // by name once it is known, since after delete and recreate the old ARN misleads
        name: entry.name,
        arn: "",
        generation: entry.generation,
        marks: state.marks,
        rests: state.rests,
        begun: now,
        sent: now,
        reads: state.reads,
        done: Promise.resolve(),
      };
      entry.fetch = fetch;
      fetch.done = this.run(entry, fetch).then(() => {
        state.forget(id, entry);
        // In another turn of the loop: the reads that wait come first.
        if (state.reportDue) state.cfg.clock.after(0, this.report);
      });
    }
    return entry.fetch;
  }

  private async run(entry: Entry, fetch: Fetch): Promise<void> {
    for (let n = 0; ; n++) {
      if ((await this.try(entry, fetch, n)) === "ended") return;
      if (n >= LAST_TRY && (await this.isStillLate(entry, fetch))) {
        this.giveUp(entry, fetch, new LateError(fetch.id));
        return;
      }
      const ms = LATE_RETRIES[n] ?? 0;
      if (ms > 0) await pause(this.state.cfg.clock, ms);
    }
  }

  /**
   * Whether late answers are still to be expected for a fetch that got nothing else. A freeze or a clock that was set may
   * have come in between, and then only the log's own clock tells how old the change is. If its time is over, what was
   * answered before says nothing any more, and what AWSCURRENT reads now is the truth: so that is asked for.
   */
  private async isStillLate(entry: Entry, fetch: Fetch): Promise<boolean> {
    if (entry.follows) await this.ensureChecked();
    return this.state.known.has(fetch.name);
  }

  /** Asks Secrets Manager once and lands the answer. */
  private async try(entry: Entry, fetch: Fetch, n: number): Promise<Landed> {
    const { state } = this;
    fetch.known = state.known.get(fetch.name);
    const versionId = n >= LABEL_TRIES ? fetch.known?.change.versionId : undefined;
    const { got, error } = await this.get(entry, fetch, versionId);
    await fetch.beside?.done; // the answer is judged by what it finds

    state.counts.fetches++;
    if (this.isSuperseded(entry, fetch)) return this.supersede(entry, fetch);
    if (got !== undefined && entry.tracked) [fetch.name, fetch.arn] = [got.name, got.arn];
    // What was young enough to judge by when the request was sent still is.
    const known = state.known.get(fetch.name) ?? fetch.known;
    const gone = isNotFound(error) || isDeleted(error);
    if (error !== undefined && !gone) return fetch.late === undefined ? this.fail(entry, fetch, error) : this.giveUp(entry, fetch, error);
    if (known !== undefined && makesLate(known, got, fetch.sent) && !(gone && n >= LAST_TRY && !fetch.late)) {
      state.counts.lateAnswers++;
      if (got !== undefined && !forbidsLate(known, state.now())) fetch.late = new Held(got, fetch.sent);
      return "late";
    }
    if (got === undefined) {
      entry.held = undefined; // Secrets Manager's word about what is current now, however it was asked; never cached
      entry.fresh = undefined;
      fetch.late = undefined;
      return this.fail(entry, fetch, error as Error);
    }
    await this.install(entry, fetch, got);
    return "ended";
  }

  /**
   * Asks Secrets Manager, and again if that failed and the environment may have been frozen meanwhile: whoever reads after
   * the thaw waits for this fetch, and what had become of it before is not their fault. There is no rest while anybody
   * waits, so they wait for one such failure and one answer at the most.
   */
  private async get(entry: Entry, fetch: Fetch, versionId: string | undefined): Promise<{ got?: Fetched; error?: Error }> {
    const { state } = this;
    const { clock } = state.cfg;
    for (;;) {
      const deadline = new Deadline(clock, state.fetchTimeoutOf(entry));
      const { rests } = state;
      this.noteSent(entry, fetch);
      try {
        return { got: await deadline.run(async (signal) => this.request(entry, fetch, versionId, signal)) };
      } catch (error) {
        if (state.rests === rests) return { error: errorOf(error) };
      } finally {
        deadline.end();
      }
    }
  }

  /** Asks for what a fetch is of, and on the way learns which account names are looked up in. */
  private async request(entry: Entry, fetch: Fetch, versionId: string | undefined, signal: AbortSignal): Promise<Fetched> {
    const { state } = this;
    const { secrets } = state.cfg;
    const { id } = fetch;
    const version = versionId === undefined ? {} : { id: versionId };
    const name = nameIn(id);
    if (name === id || !entry.follows || state.account !== "") {
      const got = await secrets.get(id, version, signal);
      if (name === id) learnAccount(state, got.arn);
      return got;
    }
    try {
      const got = await secrets.get(name, version, signal);
      learnAccount(state, got.arn);
      if (isOf(id, got.arn)) return got;
      if (accountOf(id) !== accountOf(got.arn)) throw new SupersededError(id); // as its entry is now
    } catch (error) {
      if (signal.aborted || error instanceof SupersededError) throw error;
    }
    return secrets.get(id, version, signal);
  }

  /** Notes when a request is sent, and beside which check. */
  private noteSent(entry: Entry, fetch: Fetch): void {
    const { state } = this;
    fetch.sent = state.now(); // a value's age counts from before it was asked for
    fetch.reads = state.reads;
    fetch.beside = entry.follows ? state.check : undefined;
    if (fetch.beside !== undefined) fetch.beside.awaited = true;
  }

  /** Whether the entry was marked while the fetch was on its way. */
  private isSuperseded(entry: Entry, fetch: Fetch): boolean {
    if (entry.generation !== fetch.generation) return true;
    return entry.tracked && entry.name === "" && this.state.marks !== fetch.marks; // as far as is known of its name
  }

  private supersede(entry: Entry, fetch: Fetch): "ended" {
    fetch.error = new SupersededError(fetch.id);
    endFetch(entry, fetch);
    return "ended";
  }

  /**
   * Ends a fetch that got late answers only, and perhaps an error at last. Where nothing is held, or nothing that may still be
   * served, the last answer is better than nothing: it is what a client without the log would serve.
   */
  private giveUp(entry: Entry, fetch: Fetch, error: Error): "ended" {
    const { state } = this;
    if (this.isSuperseded(entry, fetch)) return this.supersede(entry, fetch);
    endFetch(entry, fetch);
    // By name, where the log's changes reach it.
    const target = resolve(state, entry, fetch.name, fetch.arn);
    const known = state.known.get(fetch.name) ?? fetch.known;
    if (known !== undefined && forbidsLate(known, state.now())) {
      fetch.late = undefined;
      return this.fail(target, fetch, new DeletedError(fetch.id));
    }
    if (fetch.late !== undefined && !this.heldIsBetter(target.held, fetch.late)) target.held = fetch.late;
    return this.fail(target, fetch, error);
  }

  /** Whether what is held is better to fall back to than a late answer. */
  private heldIsBetter(held: Held | undefined, late: Held): boolean {
    return held !== undefined && held.id !== late.id && since(this.state.now(), held.sent) <= this.state.cfg.ttl;
  }

  /** Puts a fetched version into its entry and returns what the reads that wait for it wait for then. */
  private install(entry: Entry, fetch: Fetch, got: Fetched): Promise<unknown> | undefined {
    endFetch(entry, fetch);
    const target = resolve(this.state, entry, got.name, got.arn);
    const version = new Held(got, fetch.sent);
    fetch.version = version;
    target.held = version;
    target.fresh = version;
    target.failed = undefined;
    this.replaced(target, version);
    if (target.lastId === "") {
      target.lastId = version.id;
      target.verified = version.id;
    }
    return target.lastId === version.id ? undefined : this.changes.tell(target, version);
  }

  /**
   * Called when a version has been fetched. If it takes the place of one that was rejected, nobody may have announced it
   * yet; so it is kept like a change in the log, and a late answer does not bring the rejected version back. A change in
   * the log that is later counts more, as always.
   */
  private replaced(entry: Entry, version: Held): void {
    if (entry.rejected === undefined || entry.rejected.id === version.id) return;
    entry.rejected = undefined;
    if (entry.name === "") return; // another account's, perhaps: what is known is known by the own account's names
    const { known } = this.state;
    const before = known.get(entry.name);
    if (before !== undefined && before.at >= version.created) return;
    const at = new Date(version.created).toISOString();
    known.set(entry.name, {
      change: { name: entry.name, kind: "moved", versionId: version.id, at },
      at: version.created,
      age: 0,
      anchor: version.sent, // the next check dates it by the log's clock
    });
  }

  /** Ends a fetch that gave no usable value. */
  private fail(entry: Entry, fetch: Fetch, error: Error): "ended" {
    fetch.error = error;
    this.state.counts.fetchFailures++;
    entry.failed = this.state.now();
    endFetch(entry, fetch);
    return "ended";
  }
}

function endFetch(entry: Entry, fetch: Fetch): void {
  if (entry.fetch === fetch) entry.fetch = undefined;
}

/** Whether an answer, asked for at sent, is of before the change. No answer: the secret was not found, or deleted. */
function makesLate(known: KnownChange, got: Fetched | undefined, sent: Instant): boolean {
  if (ageAt(known, sent) > LATE_FOR) return false;
  if (got === undefined) return known.change.kind !== "deleted";
  return got.versionId !== known.change.versionId && got.created <= known.at;
}

/**
 * Whether a late answer must not be fallen back to: the secret is deleted. Where one clock says that such answers are
 * over, and the log cannot be asked which clock is right, that much is not known.
 */
function forbidsLate(known: KnownChange, now: Instant): boolean {
  return known.change.kind === "deleted" && known.age + Math.min(since(now, known.anchor), 2 * LATE_FOR) <= LATE_FOR;
}
