import { relative } from "node:path";

import { checkPush, contradiction, packageName, plan, type BroadcastOptions, type Grant } from "./deploy.js";
import { pluginFile } from "./sst-plugin.js";
import { isWrapped } from "./sst-wrapped.js";

export type { BroadcastOptions } from "./deploy.js";

export interface SstOptions extends BroadcastOptions {
  /**
   * The functions whose handlers are wrapped with withInvalidation: component names ("PaymentsApi") or handlers
   * ("src/pay.handler"), or true for all; if absent, those whose handler's own module imports what wraps it. Only they are
   * tagged, so only they can be pushed to.
   */
  push?: boolean | readonly string[];
  /** false: imports of Powertools' secrets module stay as they are, for functions that import this package themselves. */
  alias?: boolean;
}

/** What is read and set of sst.aws.Function's arguments. Each may be a value, a promise of one or a Pulumi Output. */
export interface FunctionArgs {
  handler?: unknown;
  runtime?: unknown;
  bundle?: unknown;
  role?: unknown;
  environment?: unknown;
  permissions?: unknown;
  nodejs?: unknown;
  tags?: unknown;
}

const caller = "secretBroadcast";

/**
 * Returns what makes the functions of an app follow a domain's change log, for SST's $transform:
 *
 *     async run() {
 *       const { secretBroadcast } = await import("@bank-platform/secret-broadcast/sst");
 *       $transform(sst.aws.Function, secretBroadcast({ env: $app.stage, domain: "payments" }));
 *       …
 *     }
 *
 * It goes before the first function: $transform is for components that are made after it. What a function sets itself
 * (a variable, a tag) stays.
 */
export function secretBroadcast(options: SstOptions): (args: FunctionArgs, opts: unknown, name: string) => undefined {
  const planned = plan(caller, options);
  const { push, alias = true } = options;
  checkPush(caller, push ?? false, (entry) => typeof entry === "string" && entry !== "", '["PaymentsApi", "src/pay.handler"]', options);
  const seen = new WeakMap<FunctionArgs, { name: string; pushed: boolean }>();
  return (args, _opts, name) => {
    const pushed = push === undefined ? takesPushes(options, args) : isPushed(push, name, args.handler);
    const before = seen.get(args);
    if (before !== undefined) {
      // Changed already. SST reads some arguments later, so two functions of one object cannot differ.
      if (before.pushed !== pushed) {
        throw new Error(
          `${caller}: ${before.name} and ${name} are made from one arguments object, but only one of them is in push: give each its own, as { ...args }`,
        );
      }
      return undefined;
    }
    seen.set(args, { name, pushed });
    args.environment = lift(args.environment, (own) => {
      const problem = contradiction(planned, (own ?? {}) as Record<string, unknown>);
      if (problem) {
        throw new Error(`${caller}: ${name} ${problem}`);
      }
      return { ...planned.variables, ...(own as object) };
    });
    if (args.role === undefined) {
      const permissions = planned.grants.map(permission);
      args.permissions = lift(args.permissions, (own) => [...((own as unknown[]) ?? []), ...permissions]);
    } else {
      warnOfRole(name, planned.grants);
    }
    if (pushed) {
      args.tags = lift(args.tags, (own) => ({ ...planned.tags, ...(own as object) }));
    }
    if (alias && args.bundle === undefined) {
      const { nodejs } = args;
      args.nodejs = lift(args.runtime, (runtime) => (isNode(runtime) ? withPlugin(nodejs, name) : nodejs));
    }
    return undefined;
  };
}

/** A function that does not report is not pushed to; what is bundled already has no module to look into. */
function takesPushes({ reportsTable }: SstOptions, { bundle, handler }: FunctionArgs): boolean {
  return reportsTable !== false && bundle === undefined && isWrapped(handler);
}

function isPushed(push: boolean | readonly string[], name: string, handler: unknown): boolean {
  return typeof push === "boolean" ? push : push.includes(name) || (typeof handler === "string" && push.includes(handler));
}

/**
 * A table that was given by name is this account's, in the function's Region. SST does not tell either here, so the
 * condition says it: no policy variable may stand in an ARN's account
 * (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html). A wildcard may stand in any part but
 * the service, so in the partition too (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html).
 */
function permission({ action, table }: Grant): object {
  if (table.arn) {
    return { actions: [action], resources: [table.arn] };
  }
  return {
    actions: [action],
    resources: [`arn:*:dynamodb:*:*:table/${table.name}`],
    conditions: [{ test: "StringEquals", variable: "aws:ResourceAccount", values: ["${aws:PrincipalAccount}"] }],
  };
}

/** SST adds no permissions to a role that it did not make. */
function warnOfRole(name: string, grants: Grant[]): void {
  const needed = grants.map(({ action, table }) => `${action} on ${table.arn ?? table.name}`).join(" and ");
  console.warn(`${caller}: ${name} has a role of its own, to which SST adds nothing: allow it ${needed}, or its secrets are cached until their TTL ends`);
}

/** SST's default runtime is Node. Any other would lose its own settings to those of nodejs. */
function isNode(runtime: unknown): boolean {
  return runtime === undefined || (typeof runtime === "string" && runtime.startsWith("nodejs"));
}

function withPlugin(nodejs: unknown, name: string): unknown {
  const plugins = relative(process.cwd(), pluginFile()); // SST would join an absolute path to its root too
  return lift(nodejs, (own) => ({
    ...(own as object),
    plugins: lift((own as { plugins?: unknown } | undefined)?.plugins, (other) => {
      if (other !== undefined && other !== plugins) {
        throw new Error(
          `${caller}: ${name} has nodejs.plugins of its own, and SST takes one file only: ` +
            `in that file put ...secretBroadcast, imported from ${packageName}/sst-plugin, before your plugins, and set alias: false here`,
        );
      }
      return plugins;
    }),
  }));
}

/** Applies f to a value, or to what a promise or an Output will be. Pulumi's own package is not imported: SST brings it. */
function lift(input: unknown, f: (value: unknown) => unknown): unknown {
  if (isOutput(input)) {
    return input.apply(f);
  }
  return input instanceof Promise ? input.then(f) : f(input);
}

function isOutput(input: unknown): input is { apply(f: (value: unknown) => unknown): unknown } {
  return typeof input === "object" && input !== null && (input as { __pulumiOutput?: unknown }).__pulumiOutput === true;
}
