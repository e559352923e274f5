import { Trouble } from "./breaker.js";
import { systemClock } from "./clock.js";
import type { CacheConfig, Clock, Log, Logger, Mode, Reports, Secrets } from "./ports.js";

export const DEFAULT_TTL = 300_000;
export const DEFAULT_CHECK_EVERY = 2_000;
export const DEFAULT_CHECK_TIMEOUT = 250;
export const DEFAULT_FETCH_TIMEOUT = 10_000;

/** A CacheConfig that has been judged, with its defaults filled in. */
export interface Settings {
  env: string;
  domain: string;
  service: string;
  mode: Mode;
  ttl: number;
  checkEvery: number;
  checkTimeout: number;
  fetchTimeout: number;
  log: Log | undefined;
  secrets: Secrets;
  reports: Reports | undefined;
  reportAfter: number;
  mayReport: () => boolean;
  trouble: Trouble;
  clock: Clock;
  logger: Logger;
  function: { arn?: string; version?: string; logStream?: string };
}

/** Fills the defaults in, or throws one Error that tells all that is wrong. */
export function settingsOf(cfg: CacheConfig): Settings {
  const settings: Settings = {
    env: cfg.env,
    domain: cfg.domain,
    service: cfg.service,
    mode: cfg.mode ?? "on",
    ttl: cfg.ttl ?? DEFAULT_TTL,
    checkEvery: cfg.checkEvery ?? DEFAULT_CHECK_EVERY,
    checkTimeout: cfg.checkTimeout ?? DEFAULT_CHECK_TIMEOUT,
    fetchTimeout: cfg.fetchTimeout ?? DEFAULT_FETCH_TIMEOUT,
    log: cfg.log,
    secrets: cfg.secrets,
    reports: cfg.reports,
    reportAfter: cfg.reportAfter ?? 0,
    mayReport: cfg.mayReport ?? (() => true),
    trouble: cfg.trouble ?? new Trouble(),
    clock: cfg.clock ?? systemClock,
    logger: unfailing(cfg.logger ?? console),
    function: cfg.function ?? {},
  };
  const problems = problemsOf(settings);
  if (problems.length > 0) throw new Error(`configuring the secret cache: ${problems.join("; ")}`);
  return settings;
}

function problemsOf(s: Settings): string[] {
  const problems: string[] = [];
  if (s.secrets === undefined) problems.push("secrets is missing");
  switch (s.mode) {
    case "off":
      break;
    case "on":
    case "observe":
      if (s.log === undefined) problems.push("log is missing");
      if (!s.env || !s.domain) problems.push("both env and domain must be set");
      break;
    default:
      problems.push(`mode must be on, observe or off, not ${JSON.stringify(s.mode)}`);
  }
  for (const name of ["ttl", "checkEvery", "checkTimeout", "fetchTimeout"] as const) {
    if (!(s[name] >= 0)) problems.push(`${name} must be a number of milliseconds that is not negative, not ${s[name]}`);
  }
  if (s.checkEvery < 2 * s.checkTimeout) {
    problems.push(`checkEvery (${s.checkEvery} ms) must be at least twice checkTimeout (${s.checkTimeout} ms)`);
  }
  return problems;
}

/** No read fails because a logger does. */
function unfailing(logger: Logger): Logger {
  const safely = (level: "info" | "warn" | "error") => (message: string, extra?: Record<string, unknown>) => {
    try {
      if (extra === undefined) logger[level](message);
      else logger[level](message, extra);
    } catch {
      // there is nowhere left to say so
    }
  };
  return { info: safely("info"), warn: safely("warn"), error: safely("error") };
}
