import { randomBytes } from "node:crypto";

import { accountOf, isArn, nameIn } from "./account.js";
import { type Instant, since, systemClock } from "./clock.js";
import type { Settings } from "./config.js";
import type { Fetched } from "./ports.js";
import { type Change, type Counts, namePrefix, type Row } from "./wire.js";

/** What acks and reports call this client. */
export const CLIENT = "node/1.0.0";

/** One version of a secret. Whatever prints or encodes it shows "[secret]": only value hands it out. */
export interface Version {
  readonly name: string;
  readonly arn: string;
  readonly id: string;
  readonly value: string | Uint8Array;
  /** The version's CreatedDate, milliseconds since 1970. */
  readonly created: number;
  /** What has been made of the value, by transform: it goes together with the version. */
  readonly transforms: Map<string, unknown>;
}

/** A version that was fetched. */
export class Held implements Version {
  readonly name: string;
  readonly arn: string;
  readonly id: string;
  readonly created: number;
  /** Before the fetch was sent: its age counts from here. */
  readonly sent: Instant;
  readonly #value: string | Uint8Array;
  #transforms?: Map<string, unknown>;

  constructor(got: Fetched, sent: Instant) {
    this.name = got.name;
    this.arn = got.arn;
    this.id = got.versionId;
    this.created = got.created;
    this.sent = sent;
    this.#value = got.value;
  }

  get value(): string | Uint8Array {
    return this.#value;
  }

  get transforms(): Map<string, unknown> {
    return (this.#transforms ??= new Map());
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[secret]";
  }
}

/** Is told of another version of a secret than before. */
export type OnChange = (version: Version) => void | Promise<void>;

/** What is known of one secret's AWSCURRENT. */
export interface Entry {
  /**
   * The secret's name; empty for an entry that was asked for by an ARN: its name is not known yet, or it is of another
   * account's secret.
   */
  readonly name: string;
  /** The log speaks of this secret. Any other has the TTL only. */
  readonly tracked: boolean;
  /** And what it says is acted upon, not only counted. */
  readonly follows: boolean;
  /** What may be served; undefined while there is nothing or it is marked for refetch. */
  fresh?: Held | undefined;
  /** The entry that has taken this one's place: the one by name, once the first answer to an ARN has told it. */
  alias?: Entry;
  /** What was fetched last, also while marked; undefined once evicted. */
  held?: Held | undefined;
  /** Grows when the entry is marked: a fetch sent before must not refill it. */
  generation: number;
  /** The one on its way for this generation. */
  fetch?: Fetch | undefined;
  /** When a refetch of what is held failed last. */
  failed?: Instant | undefined;
  /** When a push last caused a refetch without the log. */
  pushed?: Instant;
  /** The newest that a rejection caused, of AWSCURRENT and of AWSPENDING. */
  again?: Asking;
  pending?: Asking;
  /** The last that a try reported; undefined once replaced. */
  rejected?: Held | undefined;
  /** The version fetched last: onChange has been told of it, or is being, or will be. */
  lastId: string;
  /** The version that every onChange accepted. */
  verified: string;
  /** Why an onChange did not accept lastId. */
  refused: string;
  /** It was logged that a newer version cannot be fetched. */
  told: boolean;
  /** The longest that a read of it has accepted. */
  ttl: number;
  onChange: OnChange[];
  /** Resolves when onChange has been told of all there is to tell; undefined unless it is being told. */
  telling?: Promise<void> | undefined;
  /** What it is to be told of then, if anything. */
  next?: Held | undefined;
}

/** One refill of an entry on its way. All who read the entry meanwhile share it. */
export interface Fetch {
  /** What is asked for: a name, or the ARN that was read. */
  readonly id: string;
  /** The secret's; empty until the first answer to an ARN has told them. */
  name: string;
  arn: string;
  /** The entry's when it began. */
  generation: number;
  /** The state's when it began: for an entry whose name is not known yet. */
  marks: number;
  readonly rests: number;
  readonly begun: Instant;
  /** Resolves when the fetch has ended, whichever way. */
  done: Promise<void>;
  /** The state's rests when a read began that did not wait for it to end. */
  inVain?: number;

  // Of the try on its way:
  sent: Instant;
  /** The state's when it was sent. */
  reads: number;
  /** The check on its way then. */
  beside?: Check | undefined;
  /** The newest change when it was sent, or when a check landed after that. */
  known?: KnownChange | undefined;
  /** The last answer that was of before a known change, while it is better than none. */
  late?: Held | undefined;

  version?: Held;
  error?: Error;
}

/** One look at the log on its way. All who need one share it. */
export interface Check {
  readonly begun: Instant;
  /** Whether the log was read. It never fails. */
  done: Promise<boolean>;
  /** A fetch waits for it, and sees to the report then. */
  awaited: boolean;
}

/** One request that a rejection has caused, and all who share it. */
export interface Asking {
  readonly begun: Instant;
  done: Promise<void>;
  /** Of AWSCURRENT. */
  fetch?: Fetch;
  /** Of AWSPENDING, if there is one. */
  version?: Held;
  error?: Error | undefined;
}

/** Names the newest row of the log that has been applied; revision 0 none. */
export interface Cursor {
  readonly revision: number;
  readonly hash: string;
}

export const cursorOf = (row: Row): Cursor => ({ revision: row.revision, hash: row.hash });

export const sameCursor = (a: Cursor, b: Cursor): boolean => a.revision === b.revision && a.hash === b.hash;

/** The newest change of a name, and how old its row is. */
export interface KnownChange {
  readonly change: Change;
  /** The change's time, milliseconds since 1970. */
  readonly at: number;
  /** When its row was appended, by the broadcaster's clock; undefined until a check dates what no row has told. */
  readonly appended?: number | undefined;
  /** The row's age at anchor, at least. */
  readonly age: number;
  /** When the newest answer of the log landed here. */
  readonly anchor: Instant;
}

/** Everything that a Cache knows, and what is done with one entry. Nothing here waits. */
export class State {
  /** The one that names are looked up in; empty until an answer has told it. */
  account = "";
  readonly entries = new Map<string, Entry>();
  /** The newest change of each name, for as long as late answers are to be expected. */
  readonly known = new Map<string, KnownChange>();
  readonly counts: Counts = {
    checks: 0,
    checkFailures: 0,
    fetches: 0,
    fetchFailures: 0,
    lateAnswers: 0,
    invalidated: 0,
    uncertain: 0,
    outdated: 0,
    reportFailures: 0,
  };
  cursor: Cursor = { revision: 0, hash: "" };
  /** The moment before the newest successful check was sent. */
  checked?: Instant;
  /** When anything was last read; at first, when there was nothing to read yet. */
  lastRead: Instant;
  /** How often anything was marked, or would have been. */
  marks = 0;
  /** Invocations under way, as far as the wrapped handler sees them. */
  invocations = 0;
  /** How often there began or ceased to be any: between the two the environment may have been frozen. */
  rests = 0;
  /** The check on its way. */
  check?: Check | undefined;
  /** How many reads of the log have begun. */
  reads = 0;
  /** Something new is to be reported. */
  reportDue = false;
  private readonly prefix: string;

  constructor(readonly cfg: Settings) {
    this.prefix = namePrefix(cfg.env, cfg.domain);
    this.lastRead = this.now();
  }

  now(): Instant {
    const { clock } = this.cfg;
    if (clock === systemClock) return { monotonic: performance.now(), wall: Date.now() };
    return { monotonic: clock.monotonic(), wall: clock.wall() };
  }

  /** Whether what is served now has a check behind it that is young enough. */
  certain(now: Instant): boolean {
    return this.checked !== undefined && since(now, this.checked) <= this.cfg.checkEvery;
  }

  /** How long one call to Secrets Manager may take: where changes are not followed, as long as its client allows. */
  fetchTimeoutOf(entry: Entry): number {
    return entry.follows ? this.cfg.fetchTimeout : Infinity;
  }

  /** The entry of a name or an ARN, made if absent; by name once that is known. */
  entryFor(id: string): Entry {
    let entry = this.entries.get(id);
    if (entry === undefined) {
      const tracked = this.tracks(id);
      entry = {
        name: isArn(id) ? "" : id,
        tracked,
        follows: tracked && this.cfg.mode === "on",
        generation: 0,
        lastId: "",
        verified: "",
        refused: "",
        told: false,
        ttl: 0,
        onChange: [],
      };
      this.entries.set(id, entry);
      if (!tracked) this.tellOutside(id);
    }
    return entry.alias ?? entry;
  }

  /**
   * Drops an entry that nothing is known of: who asks for names that do not exist must not fill the memory.
   */
  forget(id: string, entry: Entry): void {
    const empty =
      entry.lastId === "" &&
      entry.held === undefined &&
      entry.fetch === undefined &&
      entry.again === undefined &&
      entry.pending === undefined &&
      entry.alias === undefined &&
      entry.onChange.length === 0;
    if (empty && this.entries.get(id) === entry) this.entries.delete(id);
  }

  /** Warns, but of one thing once a minute at the most: what comes and goes must not fill the log. Tells whether it did. */
  warnRarely(text: string, about: { secret?: string } & Record<string, string>): boolean {
    if (!this.cfg.trouble.isNews(`${text} ${about.secret ?? ""}`, this.now())) return false;
    this.cfg.logger.warn(text, about);
    return true;
  }

  /** A name of the bank's that the log does not speak of is most likely a mistake in the configuration: each kind is said once. */
  private tellOutside(id: string): void {
    const { mode, logger, trouble } = this.cfg;
    if (mode === "off" || !nameIn(id).startsWith("/bank/")) return;
    const foreign = this.isForeign(id);
    const text = foreign
      ? "a secret is of another account, of which the change log does not speak: its TTL alone applies"
      : "a secret is outside what the change log speaks of: its TTL alone applies";
    if (!trouble.isFirst(text, this.now())) return;
    const why = foreign ? { account: this.account } : { check: "SECRET_BROADCAST_ENV and SECRET_BROADCAST_DOMAIN" };
    logger.warn(text, { secret: id, follows: this.prefix, ...why });
  }

  /** Whether the log speaks of the secret with this name or ARN. */
  private tracks(id: string): boolean {
    return this.cfg.mode !== "off" && !this.isForeign(id) && nameIn(id).startsWith(this.prefix);
  }

  /** Whether an ARN is of the account that names are looked up in, as far as that is known. */
  isOwn(arn: string): boolean {
    return this.account !== "" && accountOf(arn) === this.account;
  }

  /** Whether an id is known to be an ARN of another account's secret. */
  private isForeign(id: string): boolean {
    return this.account !== "" && isArn(id) && !this.isOwn(id);
  }

  /** Makes an entry be refetched before it is served again. */
  mark(entry: Entry): void {
    entry.fresh = undefined;
    entry.failed = undefined;
    this.supersedeFetch(entry);
  }

  /** Keeps a fetch that is on its way from filling the entry. */
  supersedeFetch(entry: Entry): void {
    entry.generation++;
    entry.fetch = undefined;
    this.marks++;
  }

  /** Marks an entry, and counts it if it held something that would have been served; in observe mode it counts only. */
  invalidate(entry: Entry): void {
    if (entry.fresh !== undefined && since(this.now(), entry.fresh.sent) <= entry.ttl) this.counts.invalidated++;
    if (this.cfg.mode === "on") this.mark(entry);
  }

  /** Evicts every secret. What is known of the log stays, and so do the onChange functions. */
  clear(): void {
    for (const entry of this.entries.values()) {
      this.mark(entry);
      entry.held = undefined;
      entry.told = false;
    }
  }
}

/** A random id. */
export const newId = (): string => randomBytes(16).toString("hex");
