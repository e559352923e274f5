/**
 * The Node side of the fleet model: holds one Cache for each environment behind ports that are the model's. It reads one
 * message a line and answers each with one line, once nothing is left to run: what the Cache wants next, and how it stands.
 */
import { Cache } from "client/cache";
import type { CacheConfig, Fetched, Page } from "client/ports";
import { openRow } from "client/wire";

interface Message {
  op: "new" | "invoke" | "own" | "get" | "answer" | "timer" | "die";
  client: number;
  call?: number;
  monotonic: number;
  wall: number;
  config?: { env: string; domain: string; service: string };
  id?: string;
  payload?: unknown;
  error?: Failure;
}

interface Failure {
  name: string;
  message: string;
}

type Want = { want: string; call?: number } & Record<string, unknown>;

/** What the message that is being worked at has made wanted. */
let wants: Want[] = [];

/** Tells the model that the client did what a client must not do. */
const broken = (text: string): void => void wants.push({ want: "broken", text });

class Environment {
  private monotonic = 0;
  private wall = 0;
  private readonly cache: Cache;
  private readonly own = new Map<number, (m: Message) => void>();
  private readonly asked = new Map<number, (m: Message) => void>();
  private readonly timers = new Map<number, () => void>();
  private calls = 0;

  constructor(m: Message) {
    this.read(m);
    const log = (message: string, extra?: Record<string, unknown>): void =>
      this.want({ want: "log", text: `${message} ${printed(extra)}` });
    const config: CacheConfig = {
      ...(m.config ?? { env: "", domain: "", service: "" }),
      log: {
        since: (revision, limit, signal) => this.ask<WirePage>({ want: "since", revision, limit }, signal).then(pageOf),
        tail: (limit, signal) => this.ask<WirePage>({ want: "tail", limit }, signal).then(pageOf),
      },
      secrets: {
        get: (id, version, signal) => {
          if (version.stage !== undefined && version.stage !== "AWSCURRENT") broken(`it asks for ${version.stage}`);
          return this.ask<Fetched>({ want: "secret", id, version: version.id ?? "" }, signal);
        },
      },
      reports: { put: (report, signal) => this.ask<void>({ want: "report", report }, signal) },
      clock: {
        monotonic: () => this.monotonic,
        wall: () => this.wall,
        after: (ms, f) => {
          const call = ++this.calls;
          this.timers.set(call, f);
          this.want({ want: "timer", call, after: ms });
          return () => {
            if (this.timers.delete(call)) this.want({ want: "cancel", call });
          };
        },
      },
      logger: { info: log, warn: log, error: log },
    };
    this.cache = new Cache(config);
    this.cache.takeInvalidations();
  }

  /** Reads the clocks. */
  read(m: Message): void {
    [this.monotonic, this.wall] = [m.monotonic, m.wall];
  }

  /** Wants something of the model. */
  private want(want: Want): void {
    if (environments.get(addressed) === this || addressed === 0) wants.push(want);
    else broken(`something runs that the message was not for: ${want.want}`);
  }

  /** Asks the model for something, as a request on its way does: what the caller aborts still ends when the model says so. */
  private ask<T>(want: Want, signal: AbortSignal): Promise<T> {
    const call = ++this.calls;
    return new Promise((resolve, reject) => {
      const abort = (): void => this.want({ want: "abort", call });
      signal.addEventListener("abort", abort, { once: true });
      this.asked.set(call, (m) => {
        signal.removeEventListener("abort", abort);
        if (m.error === undefined) resolve(m.payload as T);
        else reject(failureOf(m.error));
      });
      this.want({ ...want, call });
      if (signal.aborted) abort();
    });
  }

  handle(m: Message): void {
    const call = m.call ?? 0;
    switch (m.op) {
      case "invoke":
        this.end(call, this.cache.invoke(m.payload, undefined, () => this.runOwn(call)));
        break;
      case "own":
        take(this.own, call)(m);
        break;
      case "get":
        this.end(
          call,
          this.cache.get(m.id ?? "").then((v) => ({ version: v.id, text: v.value })),
        );
        break;
      case "answer":
        take(this.asked, call)(m);
        break;
      case "timer":
        take(this.timers, call)();
        break;
      default:
        throw new Error(`a message that nobody knows: ${m.op}`);
    }
  }

  /** Runs the function's own code, which is the model's. */
  private runOwn(call: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.own.set(call, (m) => (m.error === undefined ? resolve(m.payload) : reject(failureOf(m.error))));
      this.want({ want: "own", call });
    });
  }

  /** Tells the model what became of a call of its own. */
  private end(call: number, promise: Promise<unknown>): void {
    promise.then(
      (value) => this.want({ want: "ended", call, value: value ?? null }),
      (error: unknown) => this.want({ want: "ended", call, error: named(error) }),
    );
  }

  state(): unknown {
    return { hash: this.cache.position().hash, counts: this.cache.counts() };
  }
}

interface WirePage {
  rows: { body: string; hash: string }[];
  date: number;
}

const pageOf = (page: WirePage): Page => ({ rows: page.rows.map((row) => openRow(row.body, row.hash)), date: page.date });

function take<T>(from: Map<number, T>, call: number): T {
  const found = from.get(call);
  if (found === undefined) throw new Error(`nobody waits for call ${call}`);
  from.delete(call);
  return found;
}

const failureOf = ({ name, message }: Failure): Error => Object.assign(new Error(message), { name });

const named = (error: unknown): Failure =>
  error instanceof Error ? { name: error.name, message: error.message } : { name: "unknown", message: String(error) };

const printed = (extra: unknown): string =>
  JSON.stringify(extra ?? {}, (_, value: unknown) => (value instanceof Error ? named(value) : value));

const environments = new Map<number, Environment>();
/** The environment that the message being worked at is for; 0 while it is being made. */
let addressed = 0;

function work(m: Message): void {
  if (m.op === "new") {
    addressed = 0;
    const made = new Environment(m);
    environments.set(m.client, made);
    addressed = m.client;
    return;
  }
  const environment = environments.get(m.client);
  if (environment === undefined) throw new Error(`there is no environment ${m.client}`);
  addressed = m.client;
  environment.read(m);
  if (m.op !== "die") environment.handle(m);
}

function answer(m: Message): void {
  const waited = process.getActiveResourcesInfo().filter((what) => what !== "PipeWrap" && what !== "Immediate");
  if (waited.length > 0) broken(`it waits for what is no port: ${waited.join(", ")}`);
  const line = JSON.stringify({ state: environments.get(m.client)?.state(), wants });
  wants = [];
  if (m.op === "die") environments.delete(m.client);
  print(`${line}\n`);
}

const print = process.stdout.write.bind(process.stdout);

// All promises that can go on have done so before an immediate runs: Node empties the queue of microtasks after each
// callback (https://nodejs.org/en/learn/asynchronous-work/event-loop-timers-and-nexttick). What a promise could still
// wait for then is a port, or something that only another turn of the loop brings: nothing here may bring such a thing.
const later = setImmediate;
let rest = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk: string) => {
  rest += chunk;
  const end = rest.indexOf("\n");
  if (end < 0) return;
  const m = JSON.parse(rest.slice(0, end)) as Message;
  rest = rest.slice(end + 1);
  work(m);
  later(answer, m);
});

process.on("unhandledRejection", (error) => broken(`a promise failed and nobody handled it: ${printed(error)}`));

// A client that has a clock, a timer or a voice of its own is not the one that the model judges.
const own = (what: string) => (): never => {
  broken(`it uses ${what}`);
  throw new Error(`the client has its own ${what}`);
};
for (const timer of ["setTimeout", "setInterval", "setImmediate"] as const) globalThis[timer] = own(timer) as never;
performance.now = own("performance.now");
process.hrtime = Object.assign(own("process.hrtime"), { bigint: own("process.hrtime.bigint") });
Date.now = own("Date.now");
globalThis.Date = new Proxy(Date, {
  construct: (date, args: unknown[]) => (args.length === 0 ? own("new Date()")() : new date(...(args as [number]))),
});
for (const voice of ["log", "info", "warn", "error", "debug"] as const) console[voice] = own(`console.${voice}`);
