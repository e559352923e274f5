import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

import { ChangeLog, ReportsTable, SecretsManager } from "./aws.js";
import { Trouble } from "./breaker.js";
import { Cache } from "./cache.js";
import { systemClock, within } from "./clock.js";
import { type Environment, readEnvironment } from "./environment.js";
import { isInvoked } from "./invoked.js";
import { LINGER_FOR } from "./push.js";
import { CLIENT } from "./state.js";
import { Tables } from "./tables.js";
import { type Ack, type Outcome, parseInvalidation, type SecretOutcome } from "./wire.js";

/**
 * What this process has of the broadcaster: a Cache, with its own cursor in the log, for each Secrets Manager client. The
 * log is read with that client's credentials and Region, since it speaks of their secrets only. Providers that bring no
 * client of their own share one, so a function usually has one Cache, and a check costs one read however many providers
 * there are. Without a log there is nothing to share: each provider then has a Cache of its own, as Powertools' have.
 * A Cache lives as long as its client: a provider may be made for each request.
 */
interface Shared {
  readonly environment: Environment;
  readonly caches: WeakMap<SecretsManagerClient, Cache>;
  readonly references: Set<WeakRef<Cache>>;
  /** What goes wrong with its tables. */
  readonly trouble: Trouble;
  client: SecretsManagerClient | undefined;
  /** The shared client's Cache, while no provider has asked for one: the first takes it over, or takes its place. */
  early: Cache | undefined;
  /** Some provider has asked for one. */
  claimed: boolean;
  /** Whether the handler that Lambda calls answers invalidations; undefined until a wrapped one has been called. */
  wrapped: boolean | undefined;
  /** While that is being found out: no report goes before. */
  finding: Promise<void> | undefined;
}

const NOT_INVOKED = "the handler that Lambda calls is not the one that is wrapped: no push will come; wrap that one, as the outermost";

/** How long a Cache that is not its process's first must have been in use before it reports, in milliseconds. */
const LASTING = 10_000;

// By a symbol on globalThis, since a bundle may hold this module twice: as ES module and as CommonJS. Another release's
// parts do not fit these.
const KEY = Symbol.for(`@bank-platform/secret-broadcast ${CLIENT}`);

function shared(): Shared {
  const place = globalThis as { [KEY]?: Shared };
  if (place[KEY] === undefined) {
    const { environment, problems } = readEnvironment(process.env);
    if (problems.length > 0) {
      const text = "configuring the secret cache: secrets are cached for their TTL only, changes are not followed";
      console.error(text, { problems });
    } else if (environment.mode === "off") {
      console.info("the change log is not followed: secrets are cached for their TTL only", { why: offBecause(environment) });
    }
    place[KEY] = { environment, caches: new WeakMap(), references: new Set(), trouble: new Trouble(), client: undefined, early: undefined, claimed: false, wrapped: undefined, finding: undefined };
  }
  return place[KEY];
}

const offBecause = (environment: Environment): string =>
  environment.table === "" ? "SECRET_BROADCAST_TABLE is not set" : "SECRET_BROADCAST_MODE is off";

/** The client that providers without one of their own share, if there is a log; undefined if each makes its own. */
export function sharedClient(): SecretsManagerClient | undefined {
  const process = shared();
  if (process.environment.mode === "off") return undefined;
  return (process.client ??= new SecretsManagerClient({}));
}

/** The Cache of a provider's client. owned: nobody else uses the client's connections. */
export function cacheOf(client: SecretsManagerClient, owned: boolean): Cache {
  const process = shared();
  const { early, claimed } = process;
  process.early = undefined;
  process.claimed = true;
  const found = process.caches.get(client);
  if (found !== undefined) return found;
  if (early !== undefined) forget(process, early);
  return makeCache(process, client, owned, claimed ? LASTING : 0);
}

function makeCache(process: Shared, client: SecretsManagerClient, owned: boolean, reportAfter: number): Cache {
  const { environment } = process;
  const { env, domain, service, mode, ttl, checkEvery, table, reportsTable, endpoint } = environment;
  const tables = new Tables(client, endpoint);
  const cache = new Cache({
    env,
    domain,
    service,
    mode,
    ttl,
    ...(checkEvery === undefined ? {} : { checkEvery }),
    secrets: new SecretsManager(client, owned),
    ...(mode === "off" ? {} : { log: new ChangeLog(tables, table) }),
    ...(mode === "off" || reportsTable === "" ? {} : { reports: new ReportsTable(tables, reportsTable) }),
    reportAfter,
    mayReport: () => process.finding === undefined,
    trouble: process.trouble,
    function: environment.function,
  });
  if (process.wrapped) cache.takeInvalidations();
  if (mode !== "off") {
    // without a log there is nothing that a push could do
    process.caches.set(client, cache);
    living(process); // drops the references to those that are gone, also where no handler is wrapped
    process.references.add(new WeakRef(cache));
  }
  return cache;
}

/** The Caches that somebody can still read. */
function living({ references }: Shared): Cache[] {
  const caches: Cache[] = [];
  for (const reference of references) {
    const cache = reference.deref();
    if (cache === undefined) references.delete(reference);
    else caches.push(cache);
  }
  return caches;
}

function forget(process: Shared, cache: Cache): void {
  for (const reference of process.references) if (reference.deref() === cache) process.references.delete(reference);
  if (process.client !== undefined) process.caches.delete(process.client);
}

/** Finds out whether every event of this function comes through a wrapped handler: what is reported says so. */
async function findOut(process: Shared, middy: boolean): Promise<void> {
  process.wrapped = await isInvoked(middy);
  process.finding = undefined;
  if (process.wrapped) for (const cache of living(process)) cache.takeInvalidations();
  else console.info(NOT_INVOKED, { handler: globalThis.process.env["_HANDLER"] });
}

/** Runs one invocation of a wrapped handler, or of one with the middleware, with every Cache of this process. */
export async function invoke<R>(
  event: unknown,
  functionArn: string | undefined,
  handler: () => R | Promise<R>,
  middy = false,
): Promise<R | Ack> {
  const process = shared();
  const { mode, reportsTable } = process.environment;
  const isOurs = parseInvalidation(event) !== undefined;
  if (mode === "off" && !isOurs) return handler();
  if (process.wrapped === undefined && mode !== "off" && reportsTable !== "") process.finding ??= findOut(process, middy);
  const caches = living(process);
  if (caches.length === 0 && (isOurs || !process.claimed)) {
    process.early = makeCache(process, sharedClient() ?? new SecretsManagerClient({}), true, 0);
    caches.push(process.early);
  }
  if (isOurs) {
    const acks = await Promise.all(caches.map((cache) => cache.invoke(event, functionArn, unreachable)));
    return acks.reduce(merge);
  }
  // All see the same invocation begin, and what is on its way at its end is waited for together.
  let begin = () => {};
  const answer = new Promise<void>((resolve) => (begin = resolve)).then(handler);
  const { finding } = process;
  const known = () => (finding === undefined ? answer : answer.finally(() => within(systemClock, LINGER_FOR, finding)));
  const ends = caches.map((cache) => cache.invoke(event, functionArn, known));
  begin();
  await Promise.allSettled(ends);
  return answer;
}

function unreachable(): never {
  throw new Error("an invalidation reached the function's own handler");
}

/** One ack for an environment of several Caches: what holds for all of them. */
export function merge(a: Ack, b: Ack): Ack {
  const behind = b.revision < a.revision ? b : a;
  const secrets = (a.secrets ?? []).map((one) => worse(one, b.secrets?.find(({ name }) => name === one.name)));
  const { hash: _hash, secrets: _secrets, problem: _problem, ...rest } = a;
  const problem = a.problem ?? b.problem;
  return {
    ...rest,
    revision: behind.revision,
    ...(behind.hash === undefined ? {} : { hash: behind.hash }),
    // A Cache that has not read the row says nothing of its secrets, so nothing can be said.
    ...(secrets.length > 0 && b.secrets !== undefined ? { secrets } : {}),
    ...(problem === undefined ? {} : { problem }),
  };
}

const WORST_FIRST: Outcome[] = ["failed", "observed", "applied", "not-cached"];

function worse(a: SecretOutcome, b: SecretOutcome | undefined): SecretOutcome {
  if (b === undefined) return a;
  if (a.outcome === b.outcome) return a.verified === true ? b : a;
  return WORST_FIRST.indexOf(a.outcome) < WORST_FIRST.indexOf(b.outcome) ? a : b;
}
