import { DEFAULT_CHECK_TIMEOUT } from "./config.js";
import type { Mode } from "./ports.js";

/** The environment variables that configure a client. The SECRET_BROADCAST_ ones have the same names in every language. */
const TABLE = "SECRET_BROADCAST_TABLE";
const REPORTS_TABLE = "SECRET_BROADCAST_REPORTS_TABLE";
const ENV = "SECRET_BROADCAST_ENV";
const DOMAIN = "SECRET_BROADCAST_DOMAIN";
const CHECK_EVERY = "SECRET_BROADCAST_CHECK_EVERY";
const MODE = "SECRET_BROADCAST_MODE";
const SERVICE = "POWERTOOLS_SERVICE_NAME";
const MAX_AGE = "POWERTOOLS_PARAMETERS_MAX_AGE";
const FUNCTION = "AWS_LAMBDA_FUNCTION_NAME";
const DYNAMODB = "AWS_ENDPOINT_URL_DYNAMODB";
const ENDPOINT = "AWS_ENDPOINT_URL";

/** Powertools' own default, in seconds. */
const POWERTOOLS_MAX_AGE = 5;

/** Nobody caches longer than ten years, in seconds. */
const LONGEST = 10 * 365 * 24 * 60 * 60;

/** What the environment variables say. */
export interface Environment {
  env: string;
  domain: string;
  service: string;
  mode: Mode;
  ttl: number;
  checkEvery?: number;
  table: string;
  reportsTable: string;
  /** DynamoDB's endpoint, if one is configured. */
  endpoint?: string;
  function: { version?: string; logStream?: string };
}

export type Variables = Record<string, string | undefined>;

/**
 * Reads the environment variables:
 *
 *     SECRET_BROADCAST_TABLE          the change log's table; unset: the mode is off, the TTL alone applies
 *     SECRET_BROADCAST_REPORTS_TABLE  where this environment reports; unset: it does not
 *     SECRET_BROADCAST_ENV, _DOMAIN   whose secrets the log speaks of: /bank/{env}/{domain}/…
 *     SECRET_BROADCAST_CHECK_EVERY    how old a check of the log may be, as 1500ms, 2s or plain seconds
 *     SECRET_BROADCAST_MODE           on (default), observe or off
 *     POWERTOOLS_SERVICE_NAME         what reports and acks call this function; unset: the function's name
 *     POWERTOOLS_PARAMETERS_MAX_AGE   the TTL of reads that name none, in seconds
 *
 * problems is all that is wrong with them, each with its remedy. With any of them the mode is off.
 */
export function readEnvironment(variables: Variables): { environment: Environment; problems: string[] } {
  const problems: string[] = [];
  const of = (name: string): string => variables[name] ?? "";
  const mode = modeOf(of(MODE), of(TABLE), problems);
  const checkEvery = checkEveryOf(of(CHECK_EVERY), problems);
  const endpoint = mode === "off" ? undefined : endpointOf(variables, problems);
  const environment: Environment = {
    env: place(ENV, of(ENV), problems),
    domain: place(DOMAIN, of(DOMAIN), problems),
    service: of(SERVICE) || of(FUNCTION),
    mode,
    ttl: ttlOf(of(MAX_AGE)),
    ...(checkEvery === undefined ? {} : { checkEvery }),
    table: of(TABLE),
    reportsTable: of(REPORTS_TABLE),
    ...(endpoint === undefined ? {} : { endpoint }),
    function: { version: of("AWS_LAMBDA_FUNCTION_VERSION"), logStream: of("AWS_LAMBDA_LOG_STREAM_NAME") },
  };
  if (environment.mode !== "off") {
    for (const name of [ENV, DOMAIN]) {
      if (of(name) !== "") continue;
      problems.push(
        `${name} is not set, but ${TABLE} is: set it to the {env} and {domain} of /bank/{env}/{domain}/…, or unset the table`,
      );
    }
    if (environment.reportsTable !== "" && environment.service === "") {
      problems.push(
        `neither ${SERVICE} nor ${FUNCTION} is set, but ${REPORTS_TABLE} is: set ${SERVICE}, or nobody can tell whose report it is`,
      );
    }
  }
  if (problems.length > 0) environment.mode = "off";
  return { environment, problems };
}

/** Off without a table, so that unit tests and local runs need no AWS. But who asks for the log must name it. */
function modeOf(mode: string, table: string, problems: string[]): Mode {
  if (!["", "on", "observe", "off"].includes(mode)) {
    problems.push(`${MODE} is ${JSON.stringify(mode)}, which is no mode: set it to on, observe or off`);
  }
  if (table !== "") return (mode || "on") as Mode;
  if (mode === "on" || mode === "observe") {
    problems.push(`${MODE} is ${mode}, but ${TABLE} is not set: set it to the domain's changes table, or unset the mode`);
  }
  return "off";
}

/** An env or a domain, which have the form that the broadcaster demands of them. */
function place(name: string, value: string, problems: string[]): string {
  if (value !== "" && !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(value)) {
    problems.push(
      `${name} is ${JSON.stringify(value)}, which no secret's name has there: set it to lower-case letters, digits and single hyphens`,
    );
  }
  return value;
}

function checkEveryOf(text: string, problems: string[]): number | undefined {
  if (text === "") return undefined;
  const plain = seconds(text);
  const every = plain === undefined ? duration(text) : plain * 1000;
  if (every === undefined) {
    problems.push(
      `${CHECK_EVERY} is ${JSON.stringify(text)}, which is neither a duration nor a number of seconds: set it to something like 2s`,
    );
    return undefined;
  }
  const least = 2 * DEFAULT_CHECK_TIMEOUT;
  if (every < least) {
    problems.push(
      `${CHECK_EVERY} is ${every}ms, in which a check of the log may not be done: set it to ${least}ms or more`,
    );
    return undefined; // no Cache is made with it
  }
  return every;
}

/** Powertools itself refuses what is no number, at each read that relies on it. */
function ttlOf(text: string): number {
  const ttl = seconds(text) ?? POWERTOOLS_MAX_AGE;
  return Math.max(0, ttl) * 1000;
}

/** A plain number of seconds, at most ten years of them. */
function seconds(text: string): number | undefined {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined;
  const n = Number(text);
  return Math.abs(n) > LONGEST ? undefined : n;
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration as Go writes it, such as 1500ms or 1m30s, in milliseconds; at most ten years of them. */
function duration(text: string): number | undefined {
  const parts = /^([+-]?)((?:\d+\.?\d*|\.\d+)(?:ms|s|m|h))+$/.exec(text);
  if (parts === null) return undefined;
  let sum = 0;
  for (const [, n, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)(ms|s|m|h)/g)) sum += Number(n) * (UNITS[unit as string] as number);
  if (sum > LONGEST * 1000) return undefined;
  return parts[1] === "-" ? -sum : sum;
}

/**
 * The endpoint that is configured for DynamoDB, as the SDK's own clients find it
 * (https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html).
 */
function endpointOf(variables: Variables, problems: string[]): string | undefined {
  if (variables["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"]?.toLowerCase() === "true") return undefined;
  const name = variables[DYNAMODB] ? DYNAMODB : ENDPOINT;
  const found = variables[name];
  if (!found) return undefined;
  let url: URL | undefined;
  try {
    url = new URL(found);
  } catch {
    // said below
  }
  if (url === undefined || url.host === "" || !["http:", "https:"].includes(url.protocol)) {
    problems.push(`${name} is no URL to call DynamoDB at: set it to something like https://host, or unset it`);
    return undefined;
  }
  return `${found.replace(/\/+$/, "")}/`;
}
