import { createHash } from "node:crypto";

import { Cache } from "../../src/cache.js";
import type { CacheConfig, Clock, Fetched, Log, Page, Reports, Secrets } from "../../src/ports.js";
import { type Change, DETAIL_TYPE, type Kind, type Report, type Row, SCHEMA, SOURCE } from "../../src/wire.js";

export const PASSWORD = "/bank/test/payments/neon/password";
export const API_KEY = "/bank/test/payments/cards/api-key";

/** How long it takes until a read checks the log again, and how long a change takes by the fake's clock. */
export const NEXT_CHECK = 2001;
export const A_CHANGE = 0.001;

const BEGAN = Date.UTC(2026, 0, 1);

/** Lets everything run that waits for nothing but its turn. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A clock that stands still until it is advanced. What waits for it goes on then, in the order of its time. */
export class FakeClock implements Clock {
  elapsed = 0;
  /** What the wall clock is ahead of the other. */
  drift = 0;
  private timers: { at: number; f: () => void }[] = [];

  monotonic = (): number => this.elapsed;
  wall = (): number => BEGAN + this.elapsed + this.drift;

  after = (ms: number, f: () => void): (() => void) => {
    if (ms === 0) {
      const turn = setImmediate(f); // it waits for its turn only
      return () => clearImmediate(turn);
    }
    const timer = { at: this.elapsed + ms, f };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((one) => one !== timer);
    };
  };

  get waiting(): number {
    return this.timers.length;
  }

  /** Lets time pass, and all that waits for it happen at its time. */
  async advance(ms: number): Promise<void> {
    const until = this.elapsed + ms;
    for (;;) {
      await settled();
      const next = this.timers.filter((one) => one.at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((one) => one !== next);
      this.elapsed = Math.max(this.elapsed, next.at);
      next.f();
    }
    this.elapsed = until;
    await settled();
  }

  /** Lets time pass while nothing runs: what waits for it is overdue then. */
  jump(ms: number): void {
    this.elapsed += ms;
  }
}

interface Stored {
  arn: string;
  versions: Map<string, { value: string | Uint8Array; created: number }>;
  current: string;
  previous: string;
  pending: string;
  deleted: boolean;
}

/** An error with a name, as the SDK has them. */
export function named(name: string, text: string): Error {
  const error = new Error(text);
  error.name = name;
  return error;
}

/**
 * The AWS side of a test: secrets, the change log of /bank/test/payments/ and the place for reports, by one clock. It says
 * what AWS would say, no more. Gates hold answers back: they are of when they were asked for.
 */
export class Fake {
  readonly clock = new FakeClock();
  rows: Row[] = [];
  readonly reports: Report[] = [];
  readonly logged: { level: string; message: string; extra?: Record<string, unknown> }[] = [];
  logReads = 0;
  logError: Error | undefined;
  secretsError: Error | undefined;
  reportsError: Error | undefined;
  logGate: Promise<void> | undefined;
  secretsGate: Promise<void> | undefined;
  reportsGate: Promise<void> | undefined;
  /** Changes what the log and Secrets Manager answer. */
  editPage: (page: Page) => Page = (page) => page;
  editFetched: (got: Fetched, version: { id?: string; stage?: string }) => Fetched = (got) => got;
  private readonly fetchesOf = new Map<string, number>();
  private readonly secrets = new Map<string, Stored>();
  private versions = 0;

  constructor(
    readonly env = "test",
    readonly domain = "payments",
  ) {
    this.append();
  }

  config(): CacheConfig {
    const logger = (level: string) => (message: string, extra?: Record<string, unknown>) =>
      void this.logged.push({ level, message, ...(extra ? { extra } : {}) });
    return {
      env: this.env,
      domain: this.domain,
      service: "payments-test",
      log: this.log,
      secrets: this.port,
      reports: this.reportsPort,
      clock: this.clock,
      logger: { info: logger("info"), warn: logger("warn"), error: logger("error") },
      function: {
        arn: "arn:aws:lambda:eu-west-2:111122223333:function:payments-test",
        version: "$LATEST",
        logStream: "2026/01/01/[$LATEST]00000000000000000000000000000000",
      },
    };
  }

  cache(edit: Partial<CacheConfig> = {}): Cache {
    return new Cache({ ...this.config(), ...edit });
  }

  fetches(name: string): number {
    return this.fetchesOf.get(name) ?? 0;
  }

  logs(text: string): number {
    return this.logged.filter(({ message }) => message.includes(text)).length;
  }

  readonly log: Log = {
    since: (revision, limit, signal) => this.page((rows) => rows.slice(Math.max(revision - 1, 0)).slice(0, limit), signal),
    tail: (limit, signal) => this.page((rows) => rows.slice(-limit), signal),
  };

  private async page(pick: (rows: Row[]) => Row[], _signal: AbortSignal): Promise<Page> {
    this.logReads++;
    const { logError } = this;
    const page = { rows: structuredClone(pick(this.rows)), date: Math.floor(this.clock.wall()) };
    await this.logGate;
    if (logError) throw logError;
    return this.editPage(page);
  }

  readonly port: Secrets = {
    get: async (id, version, _signal) => {
      const [name, stored] = this.find(id);
      this.fetchesOf.set(name, this.fetches(name) + 1);
      const answer = this.answer(id, name, stored, version);
      await this.secretsGate;
      if (answer instanceof Error) throw answer;
      return this.editFetched(answer, version);
    },
  };

  private answer(id: string, name: string, stored: Stored | undefined, version: { id?: string; stage?: string }): Fetched | Error {
    if (this.secretsError) return this.secretsError;
    if (stored === undefined) return named("ResourceNotFoundException", `there is no secret ${id}`);
    if (stored.deleted) return named("InvalidRequestException", `${id} was marked for deletion`);
    const versionId = version.id ?? (version.stage === "AWSPENDING" ? stored.pending : stored.current);
    const found = stored.versions.get(versionId);
    if (found === undefined) return named("ResourceNotFoundException", `${id} has no such version`);
    return { name, arn: stored.arn, versionId, created: found.created, value: found.value };
  }

  readonly reportsPort: Reports = {
    put: async (report) => {
      const { reportsError } = this;
      await this.reportsGate;
      if (reportsError) throw reportsError;
      this.reports.push(structuredClone(report));
    },
  };

  put(name: string, value: string | Uint8Array): string {
    const before = this.secrets.get(name);
    const versionId = this.putSilently(name, value);
    this.announce(name, before?.deleted ? "restored" : "moved", versionId);
    return versionId;
  }

  /** The event was lost: no row. */
  putSilently(name: string, value: string | Uint8Array): string {
    let stored = this.secrets.get(name);
    if (stored === undefined || stored.deleted) {
      const suffix = createHash("sha256").update(`${name}${this.versions}`).digest("hex").slice(0, 6);
      const arn = `arn:aws:secretsmanager:eu-west-2:111122223333:secret:${name}-${suffix}`;
      stored = { arn, versions: new Map(), current: "", previous: "", pending: "", deleted: false };
      this.secrets.set(name, stored);
    }
    const versionId = this.addVersion(stored, value);
    stored.previous = stored.current;
    stored.current = versionId;
    return versionId;
  }

  putPending(name: string, value: string): string {
    const stored = this.existing(name);
    stored.pending = this.addVersion(stored, value);
    return stored.pending;
  }

  promote(name: string): void {
    const stored = this.existing(name);
    this.tick();
    [stored.current, stored.previous] = [stored.pending, stored.current];
    this.announce(name, "moved", stored.current);
  }

  rollback(name: string): void {
    const stored = this.existing(name);
    this.tick();
    [stored.current, stored.previous] = [stored.previous, stored.current];
    this.announce(name, "moved", stored.current);
  }

  delete(name: string): void {
    this.tick();
    this.existing(name).deleted = true;
    this.announce(name, "deleted");
  }

  restore(name: string): void {
    const stored = this.secrets.get(name) as Stored;
    this.tick();
    stored.deleted = false;
    this.announce(name, "restored", stored.current);
  }

  refresh(name: string): void {
    this.tick();
    this.announce(name, "refresh", this.existing(name).current);
  }

  arn(name: string): string {
    return (this.secrets.get(name) as Stored).arn;
  }

  /** The push that the newest change of the secret causes. */
  invalidation(name: string): Record<string, unknown> & { detail: Row } {
    const row = [...this.rows].reverse().find(({ changes }) => changes.some((change) => change.name === name));
    if (row === undefined) throw new Error(`no row names ${name}`);
    return {
      version: "0",
      id: row.hash.slice(0, 26),
      source: SOURCE,
      "detail-type": DETAIL_TYPE,
      account: "111122223333",
      region: "eu-west-2",
      time: row.time,
      resources: [this.arn(name)],
      detail: structuredClone(row),
    };
  }

  private existing(name: string): Stored {
    const stored = this.secrets.get(name);
    if (stored === undefined || stored.deleted) throw new Error(`there is no secret ${name}`);
    return stored;
  }

  private find(id: string): [string, Stored | undefined] {
    const byName = this.secrets.get(id);
    if (byName !== undefined) return [id, byName];
    for (const [name, stored] of this.secrets) {
      if (stored.arn === id || stored.arn.slice(0, -7) === id) return [name, stored];
    }
    return [id, undefined];
  }

  private addVersion(stored: Stored, value: string | Uint8Array): string {
    this.tick();
    this.versions++;
    const id = `EXAMPLE1-90ab-cdef-fedc-${String(this.versions).padStart(12, "0")}`;
    stored.versions.set(id, { value, created: this.clock.wall() });
    return id;
  }

  private announce(name: string, kind: Kind, versionId?: string): void {
    if (!name.startsWith(`/bank/${this.env}/${this.domain}/`)) return;
    this.append({ name, kind, ...(versionId === undefined ? {} : { versionId }), at: exact(this.clock.wall()) });
  }

  private append(...changes: Change[]): void {
    const last = this.rows.at(-1);
    const row: Row = {
      schema: SCHEMA,
      env: this.env,
      domain: this.domain,
      revision: this.rows.length + 1,
      time: exact(this.clock.wall()),
      ...(last === undefined ? {} : { previousHash: last.hash }),
      changes,
      hash: "",
    };
    const { hash: _, ...body } = row;
    row.hash = createHash("sha256").update(JSON.stringify(body)).digest("hex");
    this.rows.push(row);
  }

  private tick(): void {
    this.clock.elapsed += A_CHANGE;
  }
}

/** A time with its microseconds. */
export function exact(ms: number): string {
  const micros = Math.round((ms - Math.floor(ms)) * 1000);
  return new Date(Math.floor(ms)).toISOString().replace("Z", `${String(micros).padStart(3, "0")}Z`);
}

/** A promise and what resolves it: a gate for a Fake. */
export function gate(): { closed: Promise<void>; open: () => void } {
  let open = () => {};
  const closed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { closed, open };
}
