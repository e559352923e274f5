import { readEnvironment } from "./environment.js";

/** What a deployed function needs of the broadcaster, said once: sst.ts and cdk.ts only hand it to their tool. */

/** Which domain's change log a function follows, and how. */
export interface BroadcastOptions {
  /** The {env} of /bank/{env}/{domain}/…. */
  env: string;
  /** The {domain} of /bank/{env}/{domain}/…. */
  domain: string;
  /** "on" if absent; "observe" counts what would have been invalidated and changes nothing; "off". */
  mode?: "on" | "observe" | "off";
  /** How old a check of the log may be when a value is served, as "2s" (the default) or "1500ms". */
  checkEvery?: string;
  /** The changes table's name or ARN; {env}-{domain}-changes if absent. */
  changesTable?: string;
  /** The reports table's name or ARN; {env}-{domain}-reports if absent; false: no reports, so no pushes either. */
  reportsTable?: string | false;
}

/** A table by name, and by ARN if it was given. */
export interface Table {
  name: string;
  arn?: string;
}

/** One action on one table. */
export interface Grant {
  action: string;
  table: Table;
}

export interface Plan {
  /** Environment variables. */
  variables: Record<string, string>;
  /** What the function's role needs, and nothing else. */
  grants: Grant[];
  /** The tags that let the broadcaster invoke the function: only for a wrapped handler. */
  tags: Record<string, string>;
}

/** The module that an import of Powertools' secrets module is replaced by. */
export const replaced = "@aws-lambda-powertools/parameters/secrets";
export const packageName = "@bank-platform/secret-broadcast";
/** The module that takes its place. */
export const replacement = `${packageName}/powertools`;

/** As manifests write env and domain: subscribers/check.go. */
const place = /^[a-z0-9]+(-[a-z0-9]+)*$/;
/** https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html */
const tableName = /^[a-zA-Z0-9_.-]{3,255}$/;
const tableArn = /^arn:[a-z-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table\/([a-zA-Z0-9_.-]{3,255})$/;
const duration = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m)$/;
const milliseconds = { ms: 1, s: 1000, m: 60_000 } as const;
/** Two time-outs of a check: in less, one may not be done. */
const leastCheckEvery = 500;

/** Returns what the options ask for, or throws one Error that tells all that is wrong with them. */
export function plan(caller: string, options: BroadcastOptions): Plan {
  const problems: string[] = [];
  const given: unknown = options;
  if (typeof given !== "object" || given === null) {
    throw new Error(`${caller}: needs options: write ${caller}({ env: "prod", domain: "payments" })`);
  }
  const { env, domain, mode, checkEvery, changesTable, reportsTable } = options;
  checkPlace(problems, "env", env);
  checkPlace(problems, "domain", domain);
  if (mode !== undefined && !["on", "observe", "off"].includes(mode)) {
    problems.push(`mode: is ${show(mode)}: set it to on, observe or off`);
  }
  checkDuration(problems, checkEvery);
  const changes = table(problems, "changesTable", changesTable, `${env}-${domain}-changes`);
  const reports = reportsTable === false ? undefined : table(problems, "reportsTable", reportsTable, `${env}-${domain}-reports`);
  if (problems.length > 0) {
    throw new Error(problems.map((problem) => `${caller}: ${problem}`).join("\n"));
  }
  return {
    variables: {
      SECRET_BROADCAST_TABLE: changes.name,
      ...(reports && { SECRET_BROADCAST_REPORTS_TABLE: reports.name }),
      SECRET_BROADCAST_ENV: env,
      SECRET_BROADCAST_DOMAIN: domain,
      ...(mode && { SECRET_BROADCAST_MODE: mode }),
      ...(checkEvery && { SECRET_BROADCAST_CHECK_EVERY: checkEvery }),
    },
    grants: [
      { action: "dynamodb:Query", table: changes },
      ...(reports ? [{ action: "dynamodb:PutItem", table: reports }] : []),
    ],
    tags: {
      "secret-broadcaster:push": "true",
      "secret-broadcaster:env": env,
      "secret-broadcaster:domain": domain,
    },
  };
}

/** What a function may not say differently: it would be allowed to read one table and told to read another. */
const fixed = ["SECRET_BROADCAST_TABLE", "SECRET_BROADCAST_REPORTS_TABLE", "SECRET_BROADCAST_ENV", "SECRET_BROADCAST_DOMAIN"];

/** Returns what is wrong with the variables that a function sets itself: they contradict the plan, or no client takes them. */
export function contradiction({ variables }: Plan, own: Record<string, unknown>): string | undefined {
  for (const name of fixed) {
    const value = own[name];
    if (typeof value === "string" && value !== variables[name]) {
      return `has ${name} set to ${show(value)}, where ${show(variables[name] ?? "")} is meant: a function follows one domain's log; apply this to the functions of ${variables["SECRET_BROADCAST_DOMAIN"]} only`;
    }
  }
  const known = Object.entries(own).filter(([name, value]) => name.startsWith("SECRET_BROADCAST_") && typeof value === "string");
  const service = { POWERTOOLS_SERVICE_NAME: "any" }; // Lambda tells the function's name
  const { problems } = readEnvironment({ ...variables, ...service, ...(Object.fromEntries(known) as Record<string, string>) });
  return problems.length > 0 ? `would not follow the log: ${problems.join("; ")}` : undefined;
}

/** A function that does not report is not pushed to, so the two options exclude each other. */
export function checkPush(caller: string, push: unknown, isEntry: (entry: unknown) => boolean, example: string, options: BroadcastOptions): void {
  if (typeof push !== "boolean" && !(Array.isArray(push) && push.every(isEntry))) {
    throw new Error(`${caller}: push: must be true, or a list as ${example}`);
  }
  if (options.reportsTable === false && (push === true || (Array.isArray(push) && push.length > 0))) {
    throw new Error(`${caller}: push: needs the reports table, since only a function that reports is pushed to: leave reportsTable out, or push`);
  }
}

function checkPlace(problems: string[], field: string, value: unknown): void {
  if (value === undefined || value === "") {
    problems.push(`${field}: is missing: set it to the {${field}} of /bank/{env}/{domain}/…`);
  } else if (typeof value !== "string" || !place.test(value)) {
    problems.push(`${field}: is ${show(value)}: lower-case letters and digits, with single hyphens between them`);
  }
}

function checkDuration(problems: string[], value: unknown): void {
  if (value === undefined) {
    return;
  }
  const match = typeof value === "string" ? duration.exec(value) : null;
  if (!match) {
    problems.push(`checkEvery: is ${show(value)}: set it to something like "2s" or "1500ms"`);
  } else if (Number(match[1]) * milliseconds[match[2] as keyof typeof milliseconds] < leastCheckEvery) {
    problems.push(`checkEvery: is ${value}, in which a check of the log may not be done: set it to 500ms or more`);
  }
}

function table(problems: string[], field: string, value: unknown, initial: string): Table {
  if (value === undefined) {
    return { name: initial };
  }
  const arn = typeof value === "string" ? tableArn.exec(value) : null;
  if (arn) {
    return { name: arn[1] as string, arn: value as string };
  }
  if (typeof value !== "string" || !tableName.test(value)) {
    problems.push(`${field}: is ${show(value)}: the name or the ARN of a DynamoDB table, as prod-payments-changes`);
  }
  return { name: String(value) };
}

/** What somebody wrote, short enough for a line; a token or an object has no text worth showing. */
function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : `a ${value === null ? "null" : typeof value}`;
}
