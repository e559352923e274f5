import { isOf } from "./account.js";
import { Checks } from "./check.js";
import { before, Deadline, type Instant, since, sinceAtBest } from "./clock.js";
import { settingsOf } from "./config.js";
import { LateError, SupersededError } from "./errors.js";
import { Fetches } from "./fetch.js";
import { Changes } from "./onchange.js";
import type { CacheConfig } from "./ports.js";
import { Pushes } from "./push.js";
import { Reporting } from "./report.js";
import { type Entry, type Fetch, Held, type OnChange, State, type Version } from "./state.js";
import { Tries, type TryOptions } from "./try.js";
import { type Ack, type Counts, InvalidationError, parseInvalidation } from "./wire.js";

/** How often a read begins again because a change was announced, or its check grew old, while it waited. */
export const ROUNDS = 20;

/**
 * How long a read waits for the refetch of a changed secret while the version before may still be served, in milliseconds.
 * A function's time-out may well be shorter than fetchTimeout.
 */
const FALL_BACK_AFTER = 2_000;

/** What a read accepts. */
export interface ReadOptions {
  /** Nothing cached longer ago than so many milliseconds; 0 fetches, at the same time with who else does. */
  ttl?: number | undefined;
  /** Nothing that was asked for before this read, and no falling back to it. */
  force?: boolean | undefined;
  /**
   * When this reader first read what by its own word: of a secret that the log does not speak of, or whose changes are only
   * counted, it is served nothing that was asked for before that, as if the cache were its own.
   */
  own?: Map<string, Instant> | undefined;
}

/** One read on its way. */
interface Read {
  readonly id: string;
  readonly ttl: number;
  /** What is served must have been asked for at this instant or later. */
  readonly from: Instant | undefined;
  /** The state's when it began. */
  readonly rests: number;
  /** Fetched for this read: it is served even if its fetch took longer than the TTL. */
  mine: Held | undefined;
  entry: Entry;
  /** Passes once, FALL_BACK_AFTER into the first wait. */
  brief: Brief | undefined;
}

interface Brief {
  readonly passed: Promise<false>;
  readonly cancel: () => void;
  over: boolean;
}

/**
 * Keeps secrets in memory and never serves one that the change log says has changed: the twin of the Go client,
 * subscribers/secretcache. What a read of AWSCURRENT returns was current at most checkEvery ago, counted from when the
 * change was appended to the log, in every execution environment, whether it was busy, frozen or not yet born when the
 * change happened. Lambda freezes whatever runs in the background, so no timer carries that guarantee: the log is checked
 * at use. The TTL always applies besides. While the log cannot be read the TTL alone applies, and no read fails for it.
 *
 * One thread runs all of it, so what stands between two awaits happens at once. Whatever follows an await asks anew.
 */
export class Cache {
  private readonly state: State;
  private readonly reporting: Reporting;
  private readonly checks: Checks;
  private readonly fetches: Fetches;
  private readonly pushes: Pushes;
  private readonly tries: Tries;
  /** When the last invocation began. */
  private invoked: Instant | undefined;

  /** Throws one Error that tells all that is wrong with the configuration. It reads nothing yet. */
  constructor(config: CacheConfig) {
    this.state = new State(settingsOf(config));
    this.reporting = new Reporting(this.state);
    this.checks = new Checks(this.state, this.reporting);
    const changes = new Changes(this.state);
    this.fetches = new Fetches(this.state, changes, () => this.checks.ensure(), () => this.reporting.start());
    this.pushes = new Pushes(this.state, this.checks, this.reporting, changes, (name) => this.get(name));
    this.tries = new Tries(this.state, this.checks, this.fetches, (id, options) => this.get(id, options));
  }

  /**
   * Returns AWSCURRENT of the secret with this name, ARN or partial ARN: from memory, or it waits for the log or for
   * Secrets Manager. While the log cannot be read, or a newer version cannot be fetched, or not within two seconds, it
   * returns what is cached until the TTL ends; a deleted secret is not served once the deletion is known. It fails with
   * what Secrets Manager's client said.
   */
  async get(id: string, options: ReadOptions = {}): Promise<Version> {
    const { own } = options;
    const ttl = options.ttl ?? this.state.cfg.ttl;
    if (options.force) return this.read(id, ttl, this.state.now());
    const found = this.peek(id, ttl, own);
    if (found !== undefined) return found;
    if (own === undefined || this.state.entryFor(id).follows) return this.read(id, ttl, undefined);
    return this.readOwn(id, ttl, own);
  }

  /** Reads what a reader would read if the cache were its own. */
  private async readOwn(id: string, ttl: number, own: Map<string, Instant>): Promise<Version> {
    const known = own.get(id);
    const first = known ?? this.state.now();
    own.set(id, first);
    try {
      return await this.read(id, ttl, first);
    } catch (error) {
      if (known === undefined) own.delete(id); // who asks for names that do not exist must not fill the memory
      throw error;
    }
  }

  /** Returns what get would without waiting, if there is anything. */
  peek(id: string, ttl: number, own?: Map<string, Instant>): Version | undefined {
    const { state } = this;
    const found = state.entries.get(id);
    if (found === undefined) return undefined;
    const entry = found.alias ?? found;
    if (ttl > entry.ttl) entry.ttl = ttl;
    const version = entry.fresh;
    if (version === undefined) return undefined;
    if (!entry.follows && own !== undefined && !isOwnRead(own.get(id), version)) return undefined;
    const now = state.now();
    state.lastRead = now;
    const certain = !entry.tracked || state.certain(now);
    if (entry.follows && !certain) return undefined;
    if (!isYoung(version, now, ttl) || !isOf(id, version.arn)) return undefined;
    if (!certain) this.checks.start(now, false); // it is only observed: what the log tells is counted
    return version;
  }

  private async read(id: string, ttl: number, from: Instant | undefined): Promise<Version> {
    const { state } = this;
    const { rests } = state;
    const read: Read = { id, ttl, from, rests, mine: undefined, entry: state.entryFor(id), brief: undefined };
    read.entry.ttl = Math.max(read.entry.ttl, ttl);
    state.lastRead = state.now();
    let certain = true; // until the log could not be read: then this read goes on without it
    let again = false;
    if (state.cfg.mode === "observe") this.checks.start(state.now(), false);
    try {
      for (let round = 0; round < ROUNDS; round++) {
        let beside: Fetch | undefined;
        if (read.entry.follows && certain) {
          beside = this.fetchBeside(read);
          certain = await this.checks.ensure();
        }
        const step = this.serveOrFetch(read, certain, beside);
        if (step === undefined) continue; // the check has grown old
        if (step instanceof Held) return isOf(id, step.arn) ? step : await this.direct(read);
        if (!(await this.wait(read, step))) return this.fallBack(read, new LateError(id));
        const { error } = step;
        if (error === undefined) {
          read.mine = step.version;
        } else if (!(error instanceof SupersededError)) {
          // It began before the environment rested, or before this read was forced: what became of it is not its fault.
          const others = step.rests !== rests || (from !== undefined && before(step.begun, from));
          if (again || !others) return this.fallBack(read, error, step.late);
          again = true;
        }
      }
      return this.fallBack(read, new SupersededError(id));
    } finally {
      read.brief?.cancel();
    }
  }

  /**
   * A version that may be served now, or the fetch to wait for, or neither if the log has to be checked again. What was
   * fetched beside the check is waited for unless it has been superseded.
   */
  private serveOrFetch(read: Read, certain: boolean, beside: Fetch | undefined): Held | Fetch | undefined {
    const { state } = this;
    const now = state.now();
    const entry = (read.entry = state.entryFor(read.id));
    if (beside !== undefined && (beside === entry.fetch || hasEnded(beside))) return beside;
    if (entry.follows && certain && !state.certain(now)) return undefined;
    const found = this.inMemory(read, now);
    if (found === undefined) return this.fetches.start(entry, read.id);
    if (found !== entry.fresh) state.counts.outdated++;
    else if (entry.follows && !certain) state.counts.uncertain++;
    return found;
  }

  /**
   * Starts the check that is due, and beside it the fetch that a read needs whatever the check finds. Undefined if there is no
   * check to wait for, or perhaps nothing to fetch.
   */
  private fetchBeside(read: Read): Fetch | undefined {
    const { state } = this;
    const now = state.now();
    if (state.certain(now) || this.checks.start(now, false) === undefined) return undefined;
    const entry = (read.entry = state.entryFor(read.id));
    return this.inMemory(read, now) === undefined ? this.fetches.start(entry, read.id) : undefined;
  }

  /** What there is for a read, as far as the log does not speak against it. */
  private inMemory(read: Read, now: Instant): Held | undefined {
    const { fresh, held } = read.entry;
    if (fresh !== undefined && this.isWanted(read, fresh, now)) return fresh;
    return this.failedLately(read, now) || this.waitedInVain(read, now) ? held : undefined;
  }

  private isWanted(read: Read, version: Held, now: Instant): boolean {
    if (read.from !== undefined && before(version.sent, read.from)) return false;
    if (isYoung(version, now, read.ttl)) return true;
    return version === read.mine && since(now, version.sent) <= this.state.fetchTimeoutOf(read.entry);
  }

  /**
   * Asks for a full ARN that is not the one of the secret now called by its name: it was deleted and created anew. The
   * answer is Secrets Manager's and is not cached.
   */
  private async direct({ id, entry }: Read): Promise<Version> {
    const { secrets, clock } = this.state.cfg;
    const deadline = new Deadline(clock, this.state.fetchTimeoutOf(entry));
    const sent = this.state.now();
    try {
      return new Held(await deadline.run(async (signal) => secrets.get(id, {}, signal)), sent);
    } finally {
      deadline.end();
    }
  }

  /** Waits for a fetch, and returns false if what is held may be served meanwhile. The fetch goes on. */
  private async wait(read: Read, fetch: Fetch): Promise<boolean> {
    const brief = (read.brief ??= this.startBrief());
    if (!brief.over) {
      if (await Promise.race([fetch.done.then(() => true), brief.passed])) return true;
      brief.over = true;
      if (this.giveUpWaiting(read, fetch)) return false;
    }
    await fetch.done;
    return true;
  }

  private startBrief(): Brief {
    let cancel = () => {};
    const passed = new Promise<false>((resolve) => {
      cancel = this.state.cfg.clock.after(FALL_BACK_AFTER, () => resolve(false));
    });
    return { passed, cancel, over: false };
  }

  /**
   * Whether what is held may be served although a fetch has not ended. It notes that for the reads after this one, until
   * the environment rests: one that is thawed waits anew.
   */
  private giveUpWaiting(read: Read, fetch: Fetch): boolean {
    const entry = currentOf(read);
    // Else the new version is there, and onChange is being told, or there is nothing to serve.
    if (entry.fresh === entry.held || !this.mayFallBack(read, this.state.now())) return false;
    fetch.inVain = read.rests; // if it rested meanwhile, the wait was none
    return true;
  }

  /** Whether a read has waited for the fetch on its way in vain and what is held is served without waiting again. */
  private waitedInVain(read: Read, now: Instant): boolean {
    const { fetch } = read.entry;
    return fetch !== undefined && fetch.inVain === this.state.rests && this.mayFallBack(read, now);
  }

  /** Whether a newer version could not be fetched just now, so that what is held is served without asking at every read. */
  private failedLately(read: Read, now: Instant): boolean {
    const { failed } = read.entry;
    return failed !== undefined && since(now, failed) < this.state.cfg.checkEvery && this.mayFallBack(read, now);
  }

  private mayFallBack(read: Read, now: Instant): boolean {
    const { held } = currentOf(read);
    if (held === undefined || read.from !== undefined || !isOf(read.id, held.arn)) return false;
    return read.ttl > 0 && sinceAtBest(now, held.sent) <= read.ttl;
  }

  /** Whether a late answer is one to this read: a client without the log would serve it, also where nothing may be cached. */
  private isOwn(read: Read, late: Held | undefined, now: Instant): boolean {
    if (late === undefined || !isOf(read.id, late.arn)) return false;
    if (read.from !== undefined && before(late.sent, read.from)) return false;
    return since(now, late.sent) <= 2 * this.state.cfg.fetchTimeout; // its own request's and that of the one after it
  }

  /**
   * Serves what is held until its TTL ends, although something newer is known to exist, or may; or else the late answer to this
   * read, if there is one.
   */
  private fallBack(read: Read, error: Error, late?: Held): Version {
    const { state } = this;
    const now = state.now();
    const entry = currentOf(read);
    const held = this.mayFallBack(read, now) ? entry.held : this.isOwn(read, late, now) ? late : undefined;
    if (held === undefined) throw error;
    if (entry.fresh !== held) {
      state.counts.outdated++;
      if (!entry.told) {
        entry.told = true;
        const text = "a changed secret cannot be fetched: the version before it is served until its TTL ends";
        state.cfg.logger.warn(text, { secret: read.id, error: error.name });
      }
    } else if (entry.follows && !state.certain(now)) {
      state.counts.uncertain++;
    }
    return held;
  }

  /**
   * Calls use with the current value. If use throws a rejection (see rejected), the log and AWSCURRENT are read at once,
   * whatever the age of what is cached, and use is called again if that brings another version, and then, where options
   * allow it, with AWSPENDING's.
   */
  try<R>(id: string, use: (version: Version) => R | Promise<R>, options: TryOptions = {}): Promise<R> {
    return this.tries.try(id, use, options);
  }

  /**
   * Has f told each time another version of a secret than before has been fetched, before the read that caused it returns:
   * it drops what was made with the old one, such as a connection pool. A read waits for f two seconds at the most, an ack
   * ten. If f throws or takes longer, the ack and the report say failed; the new version is served all the same. It is not
   * called for the first version read.
   */
  onChange(id: string, f: OnChange): void {
    this.state.entryFor(id).onChange.push(f);
  }

  /** Says that every event goes through invoke, so that a push never reaches the function's own code. */
  takeInvalidations(): void {
    this.reporting.noteWrapped();
  }

  /**
   * Runs one invocation: an invalidation is answered with an Ack; for anything else the check of the log is started, so
   * that the first read finds it done, the handler is called, and a report is sent beside it. Who has not read since the
   * last invocation began waits for its own check, if it reads at all.
   */
  async invoke<R>(event: unknown, functionArn: string | undefined, handler: () => R | Promise<R>): Promise<R | Ack> {
    const { state, reporting } = this;
    if (functionArn) reporting.function = functionArn;
    if (++state.invocations === 1) state.rests++;
    try {
      const invalidation = parseInvalidation(event);
      if (invalidation instanceof InvalidationError) return this.pushes.refuse(invalidation);
      if (invalidation !== undefined) return await this.pushes.answer(invalidation);
      const now = state.now();
      const inUse = this.invoked === undefined || !before(state.lastRead, this.invoked);
      this.invoked = now;
      if (state.cfg.mode !== "off" && (inUse || reporting.isDue(now)) && !state.certain(now)) this.checks.start(now, false);
      reporting.start();
      return await handler();
    } finally {
      await this.pushes.linger();
      if (--state.invocations === 0) state.rests++;
    }
  }

  /** The revision and hash of the newest row that has been applied; revision 0 before the first successful check. */
  position(): { revision: number; hash: string } {
    return { ...this.state.cursor };
  }

  /** The totals since the cache was made. */
  counts(): Counts {
    return { ...this.state.counts };
  }

  /** Evicts every secret, also for fetches on their way: they do not refill what was cleared. */
  clear(): void {
    this.state.clear();
  }
}

/** Whether a version was asked for at a reader's first read or later. */
const isOwnRead = (first: Instant | undefined, version: Held): boolean => first !== undefined && !before(version.sent, first);

/** Whether it is known what became of a fetch. */
const hasEnded = (fetch: Fetch): boolean => fetch.version !== undefined || fetch.error !== undefined;

/** The entry of a read, by name once that is known. */
const currentOf = (read: Read): Entry => read.entry.alias ?? read.entry;

/** Whether a version is within a TTL. With none at all nothing is. */
const isYoung = (version: Held, now: Instant, ttl: number): boolean => ttl > 0 && since(now, version.sent) <= ttl;
