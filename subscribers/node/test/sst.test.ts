import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";

import { secretBroadcast, type FunctionArgs, type SstOptions } from "../src/sst.js";
import { packageRoot, repositoryRoot } from "./support/goldens.js";
import { project, temporary, write } from "./support/project.js";
import { SstApp, type Preview, type Resource } from "./support/sst.js";

const reads = (what: string): string => `
  import { getSecret } from "@aws-lambda-powertools/parameters/secrets";
  export const handler = async () => ({ ${what}: (await getSecret("/bank/prod/payments/${what}")) !== undefined });
`;

/** The whole of an app: what stands in a team's sst.config.ts, and nothing else. */
const config = (run: string): string => `/// <reference path="./.sst/platform/config.d.ts" />
export default $config({
  app() {
    return { name: "payments", home: "local", providers: { aws: { region: "eu-west-2", version: "7.20.0" } } };
  },
  async run() {
    ${run}
  },
});
`;

const everyKind = config(`
    const { secretBroadcast } = await import("@bank-platform/secret-broadcast/sst");
    $transform(sst.aws.Function, secretBroadcast({ env: $app.stage, domain: "payments", mode: "observe", push: ["src/pay.handler", "Worker"] }));
    new sst.aws.Function("Api", { handler: "src/pay.handler" });
    new sst.aws.Function("Worker", {
      handler: "src/work.handler",
      runtime: $output("nodejs22.x" as const),
      environment: $output({ ORDERS: "orders", SECRET_BROADCAST_MODE: "on" }),
      permissions: $output([{ actions: ["s3:GetObject"], resources: ["arn:aws:s3:::orders/*"] }]),
      nodejs: $output({ minify: true, banner: "// of the worker" }),
      tags: $output({ team: "payments" }),
    });
    new sst.aws.Function("Batch", { handler: "src/work.handler", role: "arn:aws:iam::111122223333:role/batch" });
    new sst.aws.Queue("Orders").subscribe("src/order.handler");
`);

/** The policy variable is IAM's, written as it is: JavaScript has nothing to put in its place. */
const ownAccount = { StringEquals: { "aws:ResourceAccount": ["${aws:PrincipalAccount}"] } };
const statements = [
  { Effect: "Allow", Action: ["dynamodb:Query"], Resource: ["arn:*:dynamodb:*:*:table/prod-payments-changes"], Condition: ownAccount },
  { Effect: "Allow", Action: ["dynamodb:PutItem"], Resource: ["arn:*:dynamodb:*:*:table/prod-payments-reports"], Condition: ownAccount },
];
const variables = {
  SECRET_BROADCAST_TABLE: "prod-payments-changes",
  SECRET_BROADCAST_REPORTS_TABLE: "prod-payments-reports",
  SECRET_BROADCAST_ENV: "prod",
  SECRET_BROADCAST_DOMAIN: "payments",
  SECRET_BROADCAST_MODE: "observe",
};
const tags = { "secret-broadcaster:push": "true", "secret-broadcaster:env": "prod", "secret-broadcaster:domain": "payments" };

describe("secretBroadcast in SST", () => {
  let app: SstApp;
  let preview: Preview;

  before(() => {
    app = new SstApp(project("sst", { "src/pay.ts": reads("neon"), "src/work.ts": reads("stripe"), "src/order.ts": reads("redis") }));
    preview = app.preview(everyKind);
    assert.deepEqual(preview.errors, [], preview.output);
  });

  const one = (type: string, name: string | RegExp): Resource => {
    const found = preview.resources.filter((resource) => resource.type === type && (typeof name === "string" ? resource.name === name : name.test(resource.name)));
    assert.equal(found.length, 1, `${type} ${name} among ${preview.resources.map((resource) => `${resource.type} ${resource.name}`).join(", ")}`);
    return found[0]!;
  };
  const lambda = (name: string | RegExp): Record<string, unknown> => one("aws:lambda/function:Function", name).inputs;
  const environment = (name: string | RegExp): Record<string, string> => {
    const { variables: all } = lambda(name)["environment"] as { variables: Record<string, string> };
    return Object.fromEntries(Object.entries(all).filter(([key]) => !key.startsWith("SST_")));
  };
  const policy = (name: string | RegExp): { Action: string[] }[] => {
    const [inline] = one("aws:iam/role:Role", name).inputs["inlinePolicies"] as { policy: string }[];
    return (JSON.parse(inline!.policy) as { Statement: { Action: string[] }[] }).Statement;
  };
  const bundled = (name: string): string => readFileSync(join(app.bundle(name), "bundle.mjs"), "utf8");

  it("gives a function its variables and two permissions on its own account's tables", () => {
    assert.deepEqual(environment("ApiFunction"), variables);
    assert.deepEqual(policy("ApiRole"), statements);
  });

  it("adds to what a function has, also where that is an Output, and keeps what the function sets itself", () => {
    assert.deepEqual(environment("WorkerFunction"), { ...variables, ORDERS: "orders", SECRET_BROADCAST_MODE: "on" });
    assert.deepEqual(policy("WorkerRole"), [{ Effect: "Allow", Action: ["s3:GetObject"], Resource: ["arn:aws:s3:::orders/*"] }, ...statements]);
    assert.deepEqual(lambda("WorkerFunction")["tags"], { ...tags, team: "payments" });
    assert.equal(lambda("WorkerFunction")["runtime"], "nodejs22.x");
  });

  it("reaches the functions that SST's components make", () => {
    assert.deepEqual(environment(/^Orders.*Function$/), variables);
    assert.deepEqual(policy(/^Orders.*Role$/).slice(-2), statements);
  });

  it("tags the functions in push, by name or by handler, and no other", () => {
    assert.deepEqual(lambda("ApiFunction")["tags"], tags);
    assert.equal(lambda("BatchFunction")["tags"], undefined);
    assert.equal(lambda(/^Orders.*Function$/)["tags"], undefined);
  });

  it("says what a role that SST did not make has to be allowed", () => {
    assert.deepEqual(preview.warnings, [
      "secretBroadcast: Batch has a role of its own, to which SST adds nothing: allow it dynamodb:Query on prod-payments-changes and dynamodb:PutItem on prod-payments-reports, or its secrets are cached until their TTL ends",
    ]);
  });

  it("puts this package in the place of Powertools' secrets module in every bundle", () => {
    for (const name of ["Api", "Worker", "Batch"]) {
      assert.match(bundled(name), /SECRET_BROADCAST_TABLE/, `${name}'s bundle has this package in it`);
    }
    assert.match(bundled("Worker"), /^\/\/ of the worker$/m, "a function's own bundling options stay");
    assert.ok(bundled("Worker").length < 0.8 * bundled("Api").length, "and SST's own default is what it was: only the worker is minified");
  });

  it("takes the function of docs/extension.md, with its layer, variables and permissions", () => {
    const [, after] = readFileSync(join(repositoryRoot, "docs", "extension.md"), "utf8").split("**SST.**");
    const [, block] = /^```ts\n(.*?)^```$/ms.exec(after!)!;
    const { resources, errors, output } = app.preview(config(block!.replace("src/report.handler", "src/work.handler")));
    assert.deepEqual(errors, [], output);
    const inputs = resources.find(({ type, name }) => type === "aws:lambda/function:Function" && name === "ReportFunction")!.inputs;
    assert.deepEqual(inputs["layers"], ["arn:aws:lambda:eu-west-2:111122223333:layer:secret-broadcaster-x86_64:1"]);
    const { variables: all } = inputs["environment"] as { variables: Record<string, string> };
    const { SECRET_BROADCAST_MODE: _mode, ...usual } = variables;
    for (const [key, value] of Object.entries({ ...usual, AWS_ENDPOINT_URL_SECRETS_MANAGER: "http://127.0.0.1:2773", POWERTOOLS_PARAMETERS_MAX_AGE: "0" })) assert.equal(all[key], value, key);
    const [inline] = resources.find(({ type, name }) => type === "aws:iam/role:Role" && name === "ReportRole")!.inputs["inlinePolicies"] as { policy: string }[];
    const { Statement } = JSON.parse(inline!.policy) as { Statement: object[] };
    assert.deepEqual(Statement, ["Query", "PutItem"].map((action, i) => ({ Effect: "Allow", Action: [`dynamodb:${action}`], Resource: [`arn:aws:dynamodb:eu-west-2:111122223333:table/prod-payments-${["changes", "reports"][i]}`] })));
  });

  it("makes bundles that load and run as Lambda's runtime would", () => {
    const file = join(app.bundle("Api"), "bundle.mjs");
    const script = `const { handler } = await import(${JSON.stringify(file)}); if (typeof handler !== "function") process.exit(3);`;
    execFileSync(process.execPath, ["--input-type=module", "-e", script], { env: { ...process.env, AWS_REGION: "eu-west-2" } });
  });

  it("is typed as SST's $transform wants it", () => {
    const sstTypes = join(packageRoot, "node_modules", "typescript", "bin", "tsc");
    const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022", "--types", "node"];
    const check = (): string => {
      try {
        return execFileSync(process.execPath, [sstTypes, ...options, "sst.config.ts"], { cwd: app.dir, encoding: "utf8" });
      } catch (error) {
        return (error as { stdout: string }).stdout;
      }
    };
    assert.equal(check(), "");
    app.preview(config(`
      const { secretBroadcast } = await import("@bank-platform/secret-broadcast/sst");
      $transform(sst.aws.Function, secretBroadcast({ env: $app.stage, domain: "payments", push: [new sst.aws.Function("Api", { handler: "src/pay.handler" })] as any }));
    `.replace(" as any", "")));
    assert.match(check(), /sst\.config\.ts\(9,\d+\): error TS2322/);
  });

  it("leaves imports alone that it is told to", () => {
    preview = app.preview(config(`
      const { secretBroadcast } = await import("@bank-platform/secret-broadcast/sst");
      $transform(sst.aws.Function, secretBroadcast({ env: $app.stage, domain: "payments", alias: false }));
      new sst.aws.Function("Plain", { handler: "src/pay.handler" });
    `));
    assert.deepEqual(preview.errors, []);
    assert.doesNotMatch(bundled("Plain"), /SECRET_BROADCAST_TABLE/);
    assert.equal(environment("PlainFunction")["SECRET_BROADCAST_TABLE"], "prod-payments-changes");
  });

  const failing: [what: string, run: string, message: RegExp][] = [
    [
      "an env that is no env",
      `secretBroadcast({ env: "", domain: "payments" });`,
      /^secretBroadcast: env: is missing: set it to the \{env\} of \/bank\/\{env\}\/\{domain\}\/…$/,
    ],
    [
      "a function with plugins of its own",
      `$transform(sst.aws.Function, secretBroadcast({ env: "prod", domain: "payments" }));
       new sst.aws.Function("Api", { handler: "src/pay.handler", nodejs: $output({ plugins: "./plugins.mjs" }) });`,
      /^secretBroadcast: Api has nodejs\.plugins of its own, and SST takes one file only: in that file put \.\.\.secretBroadcast, imported from @bank-platform\/secret-broadcast\/sst-plugin, before your plugins, and set alias: false here$/,
    ],
    [
      "a function that is told to follow another domain",
      `$transform(sst.aws.Function, secretBroadcast({ env: "prod", domain: "payments" }));
       new sst.aws.Function("Kyc", { handler: "src/pay.handler", environment: $output({ SECRET_BROADCAST_DOMAIN: "kyc" }) });`,
      /^secretBroadcast: Kyc has SECRET_BROADCAST_DOMAIN set to "kyc", where "payments" is meant: /,
    ],
    [
      "a function with a variable that no client takes",
      `$transform(sst.aws.Function, secretBroadcast({ env: "prod", domain: "payments" }));
       new sst.aws.Function("Api", { handler: "src/pay.handler", environment: $output({ SECRET_BROADCAST_CHECK_EVERY: "499ms" }) });`,
      /^secretBroadcast: Api would not follow the log: SECRET_BROADCAST_CHECK_EVERY is 499ms, .*: set it to 500ms or more$/,
    ],
  ];
  for (const [what, run, message] of failing) {
    it(`fails the deployment of ${what}`, () => {
      const { errors } = app.preview(config(`const { secretBroadcast } = await import("@bank-platform/secret-broadcast/sst");\n${run}`));
      assert.ok(errors.some((error) => message.test(error)), JSON.stringify(errors));
    });
  }
});

describe("secretBroadcast, called as $transform calls it", () => {
  const transformed = (options: Partial<SstOptions>, args: FunctionArgs, name = "Api"): FunctionArgs => {
    secretBroadcast({ env: "prod", domain: "payments", ...options })(args, {}, name);
    return args;
  };

  it("leaves the settings of other runtimes alone, and of bundles that it does not make", () => {
    // SST takes a function's python settings only if it has none of nodejs.
    assert.equal(transformed({}, { handler: "pay.handler", runtime: "python3.13" }).nodejs, undefined);
    assert.equal(transformed({}, { handler: "pay.handler", bundle: "dist" }).nodejs, undefined);
    assert.ok((transformed({}, { handler: "pay.handler", runtime: "nodejs24.x" }).nodejs as { plugins: string }).plugins);
  });

  it("waits for promises", async () => {
    const args = transformed({}, { environment: Promise.resolve({ ORDERS: "orders" }), runtime: Promise.resolve("python3.13"), nodejs: undefined });
    assert.equal((await (args.environment as Promise<Record<string, string>>))["ORDERS"], "orders");
    assert.equal(await args.nodejs, undefined);
  });

  it("names a table that was given by ARN", () => {
    const arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/changes";
    const args = transformed({ changesTable: arn, reportsTable: false }, {});
    assert.deepEqual(args.permissions, [{ actions: ["dynamodb:Query"], resources: [arn] }]);
    assert.deepEqual(args.environment, { SECRET_BROADCAST_TABLE: "changes", SECRET_BROADCAST_ENV: "prod", SECRET_BROADCAST_DOMAIN: "payments" });
  });

  it("changes arguments that functions share once, and refuses to tag one of them only", () => {
    const shared: FunctionArgs = { handler: "src/pay.handler" };
    const both = secretBroadcast({ env: "prod", domain: "payments" });
    both(shared, {}, "Api");
    both(shared, {}, "Worker");
    assert.equal((shared.permissions as unknown[]).length, 2);
    const one = secretBroadcast({ env: "prod", domain: "payments", push: ["Api"] });
    const again: FunctionArgs = {};
    one(again, {}, "Api");
    assert.throws(() => one(again, {}, "Worker"), {
      message: "secretBroadcast: Api and Worker are made from one arguments object, but only one of them is in push: give each its own, as { ...args }",
    });
  });

  it("tags, where push does not say, whose handler's own module imports what wraps it", () => {
    const wrapped = 'import {\n  getSecret,\n  withInvalidation as wrap,\n} from "@bank-platform/secret-broadcast";';
    const home = process.cwd();
    const dir = temporary("wrapped");
    write(dir, {
      "src/pay.ts": wrapped,
      "src/middy.mjs": 'import { invalidation } from "@bank-platform/secret-broadcast";',
      "src/old.cjs": "const { withInvalidation } = require('@bank-platform/secret-broadcast');",
      "src/plain.ts": 'import { getSecret } from "@bank-platform/secret-broadcast"; // withInvalidation, some day',
      "src/own.ts": 'import { withInvalidation } from "./own.js";',
    });
    process.chdir(dir);
    try {
      const tagged = (args: FunctionArgs, options: Partial<SstOptions> = {}): boolean => transformed({ alias: false, ...options }, args).tags !== undefined;
      for (const handler of ["src/pay.handler", "./src/middy.handler", "src/old.handler"]) assert.ok(tagged({ handler }), handler);
      for (const handler of ["src/plain.handler", "src/own.handler", "src/none.handler", "pay", undefined, {}]) assert.ok(!tagged({ handler }), String(handler));
      assert.ok(!tagged({ handler: "src/pay.handler" }, { push: false }));
      assert.ok(!tagged({ handler: "src/pay.handler" }, { push: ["src/plain.handler"] }));
      assert.ok(!tagged({ handler: "src/pay.handler" }, { reportsTable: false }), "who does not report is not pushed to");
      assert.ok(!tagged({ handler: "src/pay.handler", bundle: "dist" }), "it is a path in the bundle");
    } finally {
      process.chdir(home);
    }
  });

  it("refuses a push that is no list of names", () => {
    for (const push of ["Api", [""], [() => true], 1]) {
      assert.throws(() => transformed({ push: push as never }, {}), { message: 'secretBroadcast: push: must be true, or a list as ["PaymentsApi", "src/pay.handler"]' });
    }
  });
});
