import { createHash } from "node:crypto";

/**
 * The contracts between the broadcaster and its clients, as invalidation/wire has them in Go: the golden files there are
 * the tests of both. Readers ignore members that they do not know. Times stay as they are written; millis reads them.
 */

/** The version of these contracts. It grows only when an old reader would misunderstand. */
export const SCHEMA = 1;
export const SOURCE = "secret-broadcaster";
export const DETAIL_TYPE = "Secret Changed";

export type Kind = "moved" | "deleted" | "restored" | "refresh";

/** One confirmed change of one secret. */
export interface Change {
  name: string;
  kind: Kind;
  /** The version that AWSCURRENT names after the change; absent for deleted. Opaque, never ordered. */
  versionId?: string;
  /** Secrets Manager's LastChangedDate. */
  at: string;
}

/** One row of the change log, and the detail of an invalidation. */
export interface Row {
  schema: number;
  env: string;
  domain: string;
  revision: number;
  /** When the broadcaster appended the row, by its own clock. */
  time: string;
  previousHash?: string;
  changes: Change[];
  /** SHA-256 of the row's body. */
  hash: string;
}

/** The payload of a push: a hint to check the log now. */
export interface Invalidation {
  version: string;
  id: string;
  source: string;
  "detail-type": string;
  account: string;
  region: string;
  time: string;
  resources: string[];
  detail: Row;
}

export type Outcome = "applied" | "not-cached" | "failed" | "observed";

/** What an environment did about one secret. */
export interface SecretOutcome {
  name: string;
  versionId?: string;
  outcome: Outcome;
  /** The environment fetched the version and every onChange function accepted it. */
  verified?: true;
  reason?: string;
}

/** The answer to an invalidation. */
export interface Ack {
  schema: number;
  client: string;
  service: string;
  function?: string;
  environment: string;
  logStream?: string;
  revision: number;
  hash?: string;
  secrets?: SecretOutcome[];
  problem?: string;
}

/** An environment's own word about itself. */
export interface Report {
  schema: number;
  client: string;
  env: string;
  domain: string;
  service: string;
  function?: string;
  version?: string;
  environment: string;
  logStream?: string;
  takesInvalidations: boolean;
  mode: string;
  started: string;
  time: string;
  revision: number;
  hash?: string;
  checkEverySeconds: number;
  maxTtlSeconds: number;
  secrets?: SecretOutcome[];
  counts: Counts;
}

/** Totals since the environment started. */
export interface Counts {
  /** Reads of the log that answered. */
  checks: number;
  /** Reads of the log that did not, retries included in one. */
  checkFailures: number;
  /** GetSecretValue calls. */
  fetches: number;
  /** Fetches that gave no usable value. */
  fetchFailures: number;
  /** Answers of Secrets Manager older than a change the log had told. */
  lateAnswers: number;
  /** Cached secrets, within their TTL, marked for refetch or evicted; in observe mode: would have been. */
  invalidated: number;
  /** Reads served although the log could not be read: the first exception of G1. */
  uncertain: number;
  /** Reads served although a newer version was known but could not be fetched: the second. */
  outdated: number;
  /** Reports that were not written: the next that is tells of them. */
  reportFailures: number;
}

// The broadcaster keeps and logs these texts and no others: invalidation/wire/plain.go.
export const REASON_REFUSED = "an OnChange function refused the new version";
export const REASON_NOT_FETCHED = "the new version could not be fetched";
export const REASON_TOO_LATE = "the new version was not fetched in time";
export const REASON_DELETED = "the secret is deleted";
export const REASON_NOT_FOUND = "the secret or its current value was not found";
export const PROBLEM_LOG = "the change log could not be read";
export const PROBLEM_OFF = "the client is off";

/** What the names of a domain's secrets begin with. */
export const namePrefix = (env: string, domain: string): string => `/bank/${env}/${domain}/`;

/** The partition of the changes table that holds the log. */
export const LOG_PARTITION = "log";

/** A revision as a sort key: padded, so that DynamoDB's order of strings is the order of numbers. */
export const revisionKey = (revision: number): string => String(revision).padStart(19, "0");

const REPORT_PARTITIONS = 16;

/** The partition key of an environment's report. */
export function reportPartition(environment: string): string {
  const first = createHash("sha256").update(environment).digest()[0] as number;
  return `report#${(first % REPORT_PARTITIONS).toString(16)}`;
}

/** The sort key of an environment's report. */
export const reportKey = (service: string, environment: string): string => `${service}#${environment}`;

/** A time of these contracts as milliseconds since 1970, with what fraction of one it has. */
export function millis(time: string): number {
  const whole = Date.parse(time);
  const below = /\.\d{3}(\d+)/.exec(time)?.[1];
  return below === undefined ? whole : whole + Number(`0.${below}`);
}

/** A payload that is an invalidation but cannot be used. Its text quotes nothing of the payload. */
export class InvalidationError extends Error {
  override name = "InvalidationError";
}

const MALFORMED = "malformed invalidation";

/**
 * Tells whether an invocation's event is an invalidation and reads it: undefined belongs to the function's own handler;
 * an InvalidationError says what is wrong with one that must not reach that handler either.
 */
export function parseInvalidation(event: unknown): Invalidation | InvalidationError | undefined {
  if (!isObject(event) || event["source"] !== SOURCE || event["detail-type"] !== DETAIL_TYPE) return undefined;
  try {
    return readInvalidation(event);
  } catch (error) {
    if (error instanceof InvalidationError) return error;
    throw error;
  }
}

function readInvalidation(event: Members): Invalidation {
  const detail = event["detail"];
  const schema = isObject(detail) ? (detail["schema"] ?? 0) : detail === null ? 0 : undefined;
  if (!Number.isSafeInteger(schema)) throw new InvalidationError(`${MALFORMED}: detail.schema is missing or no number`);
  if ((schema as number) > SCHEMA) {
    throw new InvalidationError(
      `invalidation of a newer schema: update the client (it says ${schema as number}, this client knows ${SCHEMA})`,
    );
  }
  const read = new Reader((text) => new InvalidationError(`${MALFORMED}: ${text}`));
  const invalidation: Invalidation = {
    version: read.string(event["version"], "version"),
    id: read.string(event["id"], "id"),
    source: SOURCE,
    "detail-type": DETAIL_TYPE,
    account: read.string(event["account"], "account"),
    region: read.string(event["region"], "region"),
    time: read.time(event["time"]),
    resources: read.list(event["resources"], "resources", "string").map((one) => read.string(one, "resources")),
    detail: read.row(detail, "detail"),
  };
  const row = invalidation.detail;
  if (row.schema < 1) throw new InvalidationError(`${MALFORMED}: detail.schema must be at least 1`);
  if (row.env === "" || row.domain === "") {
    throw new InvalidationError(`${MALFORMED}: detail.env and detail.domain must be set`);
  }
  if (row.revision < 1 || row.hash === "") {
    throw new InvalidationError(`${MALFORMED}: detail.revision and detail.hash must be set`);
  }
  return invalidation;
}

/**
 * Reads a row's body as the log keeps it and gives it its hash. It does not verify the hash: clients trust who may write
 * the log, auditors call verify.
 */
export function openRow(body: string, hash: string): Row {
  let decoded: unknown;
  try {
    decoded = JSON.parse(body);
  } catch {
    throw new Error("decoding row: it is no JSON"); // the parser's own text quotes what it read
  }
  const reader = new Reader((text) => new Error(`decoding row: ${text}`));
  // A newer schema may write its changes in another way. Where such a row stands in the log is known all the same, and a
  // reader that could not pass it would never see what follows.
  if (isObject(decoded) && typeof decoded["schema"] === "number" && decoded["schema"] > SCHEMA) decoded["changes"] = [];
  const row = reader.row(decoded, "");
  row.hash = hash;
  return row;
}

/** Whether a hash was made of this body. */
export function verify(body: string | Uint8Array, hash: string): boolean {
  return createHash("sha256").update(body).digest("hex") === hash;
}

type Members = Record<string, unknown>;

const isObject = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Reads JSON as Go's encoding/json fills a struct: an absent or null member is its zero value, one of another type an
 * error that names the place and the types, never the text that was found there.
 */
class Reader {
  constructor(private readonly error: (text: string) => Error) {}

  row(value: unknown, at: string): Row {
    const from = this.object(value, at, "wire.Row");
    const of = (field: string) => (at === "" ? field : `${at}.${field}`);
    const row: Row = {
      schema: this.integer(from["schema"], of("schema"), "int"),
      env: this.string(from["env"], of("env")),
      domain: this.string(from["domain"], of("domain")),
      revision: this.integer(from["revision"], of("revision"), "int64"),
      time: this.time(from["time"]),
      changes: this.list(from["changes"], of("changes"), "wire.Change").map((one) => this.change(one, of("changes"))),
      hash: this.string(from["hash"], of("hash")),
    };
    const previous = this.string(from["previousHash"], of("previousHash"));
    if (previous !== "") row.previousHash = previous;
    return row;
  }

  private change(value: unknown, at: string): Change {
    const from = this.object(value, at, "wire.Change");
    const change: Change = {
      name: this.string(from["name"], `${at}.name`),
      kind: this.string(from["kind"], `${at}.kind`, "wire.Kind") as Kind,
      at: this.time(from["at"]),
    };
    const versionId = this.string(from["versionId"], `${at}.versionId`);
    if (versionId !== "") change.versionId = versionId;
    return change;
  }

  string(value: unknown, at: string, type = "string"): string {
    if (value === undefined || value === null) return "";
    if (typeof value !== "string") throw this.mismatch(value, at, type);
    return value;
  }

  list(value: unknown, at: string, of: string): unknown[] {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) throw this.mismatch(value, at, `[]${of}`);
    return value;
  }

  time(value: unknown): string {
    if (value === undefined || value === null) return "0001-01-01T00:00:00Z";
    if (typeof value !== "string" || !RFC3339.test(value) || Number.isNaN(Date.parse(value))) {
      throw this.error("a field has the wrong form");
    }
    return value;
  }

  private integer(value: unknown, at: string, type: string): number {
    if (value === undefined || value === null) return 0;
    if (typeof value !== "number") throw this.mismatch(value, at, type);
    if (!Number.isInteger(value)) throw this.error(`${at} must be ${type}, not number ${value}`);
    return value;
  }

  private object(value: unknown, at: string, type: string): Members {
    if (value === undefined || value === null) return {};
    if (!isObject(value)) throw this.mismatch(value, at, type);
    return value;
  }

  private mismatch(value: unknown, at: string, type: string): Error {
    const found = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
    return this.error(`${at === "" ? "it" : at} must be ${type}, not ${found}`);
  }
}

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
