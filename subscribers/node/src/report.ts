import { Deadline, type Instant, since } from "./clock.js";
import { wordOf } from "./errors.js";
import { CLIENT, type Entry, newId, type State } from "./state.js";
import { type Ack, REASON_NOT_FETCHED, type Report, SCHEMA, type SecretOutcome } from "./wire.js";

/** How often an environment writes its report at the most, in milliseconds. */
const REPORT_EVERY = 10_000;

/**
 * How often an environment says again what it has said, in milliseconds: a report that is a day old is gone, and a function
 * without one is not pushed to.
 */
const RENEW_EVERY = 6 * 60 * 60 * 1000;

/** JSON has no infinity: what is cached for ever is reported as cached for ten years. */
const LONGEST_TTL = 10 * 365 * 24 * 60 * 60 * 1000;

/** An environment's word about itself. */
export class Reporting {
  /** Its ARN, as the function was invoked last. */
  function: string;
  /** The handler is wrapped, so that a push never reaches the function's own code. */
  private takesInvalidations = false;
  /** Resolves when the report on its way has been written or has failed; undefined without one. */
  sending: Promise<void> | undefined;
  private environmentId = "";
  private readonly started: Instant;
  private sent: Instant | undefined;
  /** It was logged that reports cannot be written. */
  private told = false;

  constructor(private readonly state: State) {
    this.function = state.cfg.function.arn ?? "";
    this.started = state.now();
  }

  /** A module may read secrets before it wraps its handler: who was told otherwise is told anew. */
  noteWrapped(): void {
    if (this.takesInvalidations) return;
    this.takesInvalidations = true;
    if (this.sent !== undefined) this.state.reportDue = true;
  }

  /** Whether something new is to be told and the last report is long enough ago. */
  isDue(now: Instant): boolean {
    const { cfg, lastRead, reportDue } = this.state;
    if (cfg.reports === undefined || cfg.mode === "off" || this.sending !== undefined || !cfg.mayReport()) return false;
    if (this.sent === undefined) return reportDue && since(lastRead, this.started) >= cfg.reportAfter;
    const age = since(now, this.sent);
    return age >= (reportDue ? REPORT_EVERY : RENEW_EVERY);
  }

  /** Writes the report if it is due. It does not wait. */
  start(): void {
    const { state } = this;
    const { reports } = state.cfg;
    if (state.check !== undefined) return; // what the check finds is to be told, and it calls this when it ends
    const now = state.now();
    if (reports === undefined || !this.isDue(now)) return;
    const { report, complete } = this.build();
    state.reportDue = !complete;
    this.sent = now;
    this.sending = this.send(reports.put.bind(reports), report);
  }

  private async send(put: (report: Report, signal: AbortSignal) => Promise<void>, report: Report): Promise<void> {
    const deadline = new Deadline(this.state.cfg.clock, 4 * this.state.cfg.checkTimeout);
    try {
      await deadline.run(async (signal) => put(report, signal));
      this.told = false;
    } catch (error) {
      const { state } = this;
      state.reportDue = true; // the next one tells it all again
      state.counts.reportFailures++;
      this.told ||= state.warnRarely("reports cannot be written: the status lacks this environment, and no push comes", wordOf(error));
    } finally {
      deadline.end();
      this.sending = undefined;
    }
  }

  /** Tells how this environment stands. It is complete if no secret waits to be refetched. */
  private build(): { report: Report; complete: boolean } {
    const { cfg, cursor, counts, entries } = this.state;
    const secrets: SecretOutcome[] = [];
    let complete = true;
    let maxTtl = cfg.ttl;
    for (const entry of new Set(entries.values())) {
      maxTtl = Math.max(maxTtl, entry.ttl);
      if (entry.name === "" || !entry.tracked || entry.lastId === "") continue;
      if (entry.held !== undefined && entry.fresh === undefined && entry.failed === undefined) {
        complete = false; // marked; the next report tells what became of it
        continue;
      }
      secrets.push(outcomeOf(entry, entry.name));
    }
    secrets.sort((a, b) => (a.name < b.name ? -1 : 1));
    const report: Report = {
      schema: SCHEMA,
      client: CLIENT,
      env: cfg.env,
      domain: cfg.domain,
      service: cfg.service,
      ...given("function", this.function),
      ...given("version", cfg.function.version),
      environment: this.environment(),
      ...given("logStream", cfg.function.logStream),
      takesInvalidations: this.takesInvalidations,
      mode: cfg.mode,
      started: new Date(this.started.wall).toISOString(),
      time: new Date(cfg.clock.wall()).toISOString(),
      revision: cursor.revision,
      ...given("hash", cursor.hash),
      checkEverySeconds: cfg.checkEvery / 1000,
      maxTtlSeconds: Math.min(maxTtl, LONGEST_TTL) / 1000,
      ...(secrets.length > 0 ? { secrets } : {}),
      counts: { ...counts },
    };
    return { report, complete };
  }

  /** An ack that says nothing of any change yet. */
  ack(): Ack {
    const { cfg } = this.state;
    return {
      schema: SCHEMA,
      client: CLIENT,
      service: cfg.service,
      ...given("function", this.function),
      environment: this.environment(),
      ...given("logStream", cfg.function.logStream),
      revision: 0,
    };
  }

  /** This environment's id: made at first use, so that environments restored from one snapshot differ. */
  private environment(): string {
    return (this.environmentId ||= newId());
  }
}

/** An optional member of a message: left out while it is empty. */
export function given<K extends string>(name: K, value: string | undefined): Partial<Record<K, string>> {
  return value ? ({ [name]: value } as Record<K, string>) : {};
}

/** Says how an entry that held something stands. */
export function outcomeOf(entry: Entry, name: string): SecretOutcome {
  const { held } = entry;
  const failure = held !== undefined && entry.fresh === undefined ? REASON_NOT_FETCHED : entry.refused;
  return {
    name,
    ...given("versionId", held?.id),
    outcome: failure === "" ? "applied" : "failed",
    ...(held !== undefined && entry.verified === held.id ? { verified: true as const } : {}),
    ...given("reason", failure),
  };
}
