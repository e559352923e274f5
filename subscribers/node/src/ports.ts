import type { Trouble } from "./breaker.js";
import type { Counts, Report, Row } from "./wire.js";

/** What the cache asks of the world. Nothing here knows AWS: aws.ts fills it in a Lambda function, tests fill it themselves. */

/** A Clock tells the time twice, since a frozen environment may stop one of the two, and wakes the cache up. */
export interface Clock {
  /** Milliseconds since some moment, never set by anybody. */
  monotonic(): number;
  /** Milliseconds since 1970. */
  wall(): number;
  /** Calls f once after ms milliseconds, unless the function it returns is called before. */
  after(ms: number, f: () => void): () => void;
}

/** One answer of a Log. */
export interface Page {
  /** Oldest first. */
  rows: Row[];
  /** The log's own clock when it answered, milliseconds since 1970; undefined if it told none. */
  date?: number;
}

/** A Log reads the change log of one env and domain, strongly consistently. After an error the next call uses a fresh connection. */
export interface Log {
  /** The row of the given revision, if it is there, and what follows, oldest first, at most limit rows. */
  since(revision: number, limit: number, signal: AbortSignal): Promise<Page>;
  /** The newest rows, oldest first, at most limit. */
  tail(limit: number, signal: AbortSignal): Promise<Page>;
}

/** One answer of Secrets. */
export interface Fetched {
  name: string;
  arn: string;
  versionId: string;
  /** The version's CreatedDate, milliseconds since 1970. */
  created: number;
  /** What Secrets Manager holds: SecretString, or SecretBinary. */
  value: string | Uint8Array;
}

/** Secrets reads values. Its errors named ResourceNotFoundException and InvalidRequestException mean not found and deleted. */
export interface Secrets {
  /** The version with this id, or the one of this staging label (AWSCURRENT if neither is given). */
  get(id: string, version: { id?: string; stage?: string }, signal: AbortSignal): Promise<Fetched>;
}

/** Reports takes an environment's own word about itself. */
export interface Reports {
  put(report: Report, signal: AbortSignal): Promise<void>;
}

/** A Logger is console, or Powertools' Logger. No secret value ever reaches it. */
export interface Logger {
  info(message: string, extra?: Record<string, unknown>): void;
  warn(message: string, extra?: Record<string, unknown>): void;
  error(message: string, extra?: Record<string, unknown>): void;
}

export type Mode = "on" | "observe" | "off";

/** What a Cache is made of. Durations are milliseconds; the defaults are those of the Go client. */
export interface CacheConfig {
  env: string;
  domain: string;
  service: string;
  /** "on" if absent. */
  mode?: Mode;
  /** The TTL of reads that name none; 300,000 if absent. */
  ttl?: number;
  /** How old the newest check of the log may be when a value is served; 2,000 if absent. */
  checkEvery?: number;
  /** Bounds one read of the log, which is tried twice; 250 if absent. */
  checkTimeout?: number;
  /** Bounds one call to Secrets Manager; 10,000 if absent. */
  fetchTimeout?: number;
  log?: Log;
  secrets: Secrets;
  reports?: Reports;
  /** How long after it was made a Cache must still be read to report at all; 0 if absent. */
  reportAfter?: number;
  /** Whether all is known that a report says; always if absent. */
  mayReport?: () => boolean;
  /** Its own if absent. */
  trouble?: Trouble;
  clock?: Clock;
  logger?: Logger;
  function?: { arn?: string; version?: string; logStream?: string };
}

export type { Counts, Report, Row };
