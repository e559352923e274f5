import { isOf } from "./account.js";
import type { Checks } from "./check.js";
import { Deadline, since } from "./clock.js";
import { errorOf, isDeleted, isNotFound, SupersededError } from "./errors.js";
import type { Fetches } from "./fetch.js";
import { type Asking, type Entry, Held, type State, type Version } from "./state.js";

/**
 * How often rejections make an environment ask for one secret, in milliseconds: a wrong password in a loop must not become
 * a load on Secrets Manager.
 */
const ASK_AGAIN_EVERY = 5_000;

/** How often one try calls use at the most. */
const MAX_USES = 3;

/** How often a request that a rejection caused begins again because a change was announced meanwhile. */
const ROUNDS = 20;

/** What a try may do. */
export interface TryOptions {
  /**
   * Go on to AWSPENDING's version when AWSCURRENT's is rejected. A single-user rotation changes the password first and
   * moves AWSCURRENT later: in between only AWSPENDING's works.
   */
  pending?: boolean;
  /** Also counts the errors of use for which it returns true as rejections, as if rejected had marked them. */
  rejectedIf?: (error: unknown) => boolean;
  /** The TTL of the reads, in milliseconds. */
  ttl?: number | undefined;
}

/** An error that is the other side's word that the credential is wrong. Its text and its cause are the original's. */
export class RejectedError extends Error {
  override name = "RejectedError";
}

/**
 * Marks an error as a rejection of the credential. Mark authentication failures only, never a time-out or a network error,
 * which say nothing of the credential.
 */
export const rejected = (error: unknown): RejectedError => new RejectedError(errorOf(error).message, { cause: error });

/** By its name, since a bundle may hold this class twice: as ES module and as CommonJS. */
const isRejected = (error: unknown): boolean => (error as Error | undefined)?.name === "RejectedError";

type Get = (id: string, options: { ttl?: number | undefined }) => Promise<Version>;

/** Uses credentials, and other versions of them where one is rejected. */
export class Tries {
  constructor(
    private readonly state: State,
    private readonly checks: Checks,
    private readonly fetches: Fetches,
    private readonly get: Get,
  ) {}

  /**
   * Use is called three times at most, never twice with one version, and never again after an error that is no rejection.
   * All whose value is rejected share what is read, and it is read at most every five seconds for each secret, AWSPENDING
   * too. What is read of AWSCURRENT is judged and cached like every fetch; AWSPENDING's version is never what get returns,
   * onChange is told or a report says. In the modes observe and off a rejection has AWSCURRENT read too, but not the log.
   *
   * What use has thrown last is thrown as it is. That no version tried was accepted is logged, with their ids, once a minute
   * at the most.
   */
  async try<R>(id: string, use: (version: Version) => R | Promise<R>, options: TryOptions): Promise<R> {
    const isRejection = (error: unknown): boolean =>
      isRejected(error) || options.rejectedIf?.(error) === true;
    const read = { ttl: options.ttl };
    let version = (await this.get(id, read)) as Held;
    const tried = [version.id];
    let failure: unknown;
    try {
      return await use(version);
    } catch (error) {
      if (!isRejection(error)) throw error;
      failure = error;
    }
    let asked: Error | undefined;
    while (tried.length < MAX_USES && isRejection(failure)) {
      const { other, error } = await this.another(id, version, tried, options.pending === true, read);
      asked = error;
      if (other === undefined) break;
      version = other;
      tried.push(version.id);
      try {
        return await use(version);
      } catch (next) {
        failure = next;
      }
    }
    if (isRejection(failure)) this.tellRejected(id, tried, asked);
    throw failure;
  }

  private tellRejected(secret: string, versions: string[], asked: Error | undefined): void {
    const about = { secret, versions: versions.join(", then "), ...(asked === undefined ? {} : { askingForAnother: asked.name }) };
    this.state.warnRarely("a secret's value was rejected, and there is no other that was not", about);
  }

  /**
   * A version that has not been tried, after the given one was rejected: AWSCURRENT's, or else AWSPENDING's if it may; or
   * the reason if they could not all be read.
   */
  private async another(
    id: string,
    refused: Held,
    tried: string[],
    pending: boolean,
    read: { ttl: number | undefined },
  ): Promise<{ other?: Held; error?: Error | undefined }> {
    const again = this.askAgain(id, refused);
    await again?.done;
    let error = again?.error;
    try {
      const current = (await this.get(id, read)) as Held;
      if (!tried.includes(current.id)) return { other: current };
    } catch (failed) {
      return { error: errorOf(failed) };
    }
    if (pending) {
      const asking = this.askPending(id);
      await asking.done;
      const { version } = asking;
      if (version !== undefined && isOf(id, version.arn) && !tried.includes(version.id)) return { other: version };
      error ??= asking.error;
    }
    return { error };
  }

  /**
   * Has the log and AWSCURRENT read, and returns what to wait for: what has been brought is in the cache then. Undefined if
   * what was rejected has been replaced meanwhile, or if there is nothing to come.
   */
  private askAgain(id: string, refused: Held): Asking | undefined {
    const { state } = this;
    const entry = state.entryFor(id);
    if (entry.fresh !== undefined && entry.fresh.id !== refused.id) return undefined;
    entry.rejected = refused;
    let asking = entry.again;
    if (asking === undefined || this.isOld(asking)) {
      const text = "a secret's value was rejected: the log and AWSCURRENT are read at once";
      state.cfg.logger.warn(text, { secret: id, version: refused.id });
      asking = { begun: state.now(), done: Promise.resolve() };
      entry.again = asking;
      asking.done = this.runAgain(entry, id, asking);
    }
    // It has brought this very version. And its onChange may be who asks: to wait would be for itself.
    if (asking.fetch !== undefined && asking.fetch.version === refused) return undefined;
    return asking;
  }

  private isOld(asking: Asking): boolean {
    return since(this.state.now(), asking.begun) >= ASK_AGAIN_EVERY;
  }

  private async runAgain(entry: Entry, id: string, asking: Asking): Promise<void> {
    if (entry.follows) await this.checks.since(asking.begun); // first, so that what is fetched is judged by it
    this.state.supersedeFetch(entry); // one on its way may have been sent before the rejection
    for (let round = 0; round < ROUNDS; round++) {
      const fetch = this.fetches.start(entry, id);
      asking.fetch = fetch;
      await fetch.done;
      asking.error = fetch.error;
      if (!(fetch.error instanceof SupersededError)) return;
    }
  }

  /** Has AWSPENDING's version read, and returns what to wait for. */
  private askPending(id: string): Asking {
    const entry = this.state.entryFor(id);
    let asking = entry.pending;
    if (asking === undefined || this.isOld(asking)) {
      asking = { begun: this.state.now(), done: Promise.resolve() };
      entry.pending = asking;
      asking.done = this.runPending(entry, entry.name || id, asking);
    }
    return asking;
  }

  private async runPending(entry: Entry, id: string, asking: Asking): Promise<void> {
    const { counts, cfg } = this.state;
    const deadline = new Deadline(cfg.clock, this.state.fetchTimeoutOf(entry));
    try {
      const got = await deadline.run(async (signal) => cfg.secrets.get(id, { stage: "AWSPENDING" }, signal));
      asking.version = new Held(got, asking.begun);
    } catch (thrown) {
      const error = errorOf(thrown);
      if (!isNotFound(error) && !isDeleted(error)) {
        // there often is none
        counts.fetchFailures++;
        asking.error = new Error(`reading AWSPENDING: ${error.message}`, { cause: error });
      }
    } finally {
      counts.fetches++;
      deadline.end();
    }
  }
}
