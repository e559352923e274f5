import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";

import { PutSecretValueCommand } from "@aws-sdk/client-secrets-manager";

import type { Report } from "../src/wire.js";
import { packageRoot, repositoryRoot } from "./support/goldens.js";
import { tarball, temporary, write } from "./support/project.js";
import { SstApp, type Preview } from "./support/sst.js";
import { World } from "./support/world.js";

const text = readFileSync(join(repositoryRoot, "docs", "subscribing.md"), "utf8");
const template = join(packageRoot, "test", "subscribing");
const name = "/bank/prod/payments/neon/connection-string";

interface Block {
  language: string;
  text: string;
}

const blocks = (of: string): Block[] => [...of.matchAll(/^```([a-z]*)\n(.*?)^```$/gms)].map(([, language, body]) => ({ language: language!, text: body! }));

/** The blocks that follow a bold word, up to the next one or to the next heading. */
function step(word: string): Block[] {
  const [, rest] = text.split(`**${word}.**`);
  assert.ok(rest, `docs/subscribing.md has the step ${word}`);
  return blocks(rest.split(/^(?:\*\*\w+( \d)?\.\*\*|## )/m)[0]!);
}

/** What of the document was done here. What no test did has to stand in a file of the project, which is compiled and run. */
const done = new Set<string>();
const use = ({ text: body }: Block): string => {
  done.add(body);
  return body;
};

let dir: string;
const run = (command: string): string => execFileSync("bash", ["-euo", "pipefail", "-c", command], { cwd: dir, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NODE_TEST_CONTEXT: undefined } }); // else a test of tests is skipped

/** One execution environment of a bundled function, which is invoked over its standard input and answers on its output. */
class Environment {
  readonly #lines: AsyncIterator<string>;
  readonly #child;

  constructor(module: string, variables: Record<string, string>, node = process.execPath) {
    const program = `
      const { handler } = await import(${JSON.stringify(module)});
      const write = process.stdout.write.bind(process.stdout);
      console.info = console.warn = console.error = console.log = (...text) => process.stderr.write(text.join(" ") + "\\n");
      for await (const line of (await import("node:readline")).createInterface({ input: process.stdin })) {
        const answer = await Promise.resolve(handler(JSON.parse(line), {})).then((ok) => ({ ok }), (error) => ({ error: String(error.message) }));
        write(JSON.stringify(answer) + "\\n");
      }`;
    this.#child = spawn(node, ["--no-warnings", "--input-type=module", "-e", program], { cwd: dir, env: { PATH: process.env["PATH"], ...variables }, stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  async invoke(event: object): Promise<Record<string, unknown>> {
    this.#child.stdin.write(`${JSON.stringify(event)}\n`);
    const { value, done: ended } = await this.#lines.next();
    assert.ok(!ended, "the environment answers");
    const answer = JSON.parse(value as string) as { ok?: Record<string, unknown>; error?: string };
    if (answer.error) throw new Error(answer.error);
    return answer.ok!;
  }

  stop(): void {
    this.#child.kill();
  }
}

/** Invokes until the function pays as a role, and returns how long that took, in milliseconds. */
async function paysAs(environment: Environment, role: string): Promise<number> {
  const began = performance.now();
  for (;;) {
    const { as } = await environment.invoke({ id: "1" });
    const took = performance.now() - began;
    if (as === role) return took;
    assert.ok(took < 20_000, `the function still pays as ${as}, not as ${role}`);
  }
}

const outcomes = (ack: Record<string, unknown>): unknown[] => (ack["secrets"] as { outcome: string; verified?: boolean }[]).map(({ outcome, verified }) => [outcome, verified]);

/** A PostgreSQL server's superuser, by the project's own pg. Returns the last query's only value. */
function sql(): { server: string; query: (...queries: string[]) => string } {
  const server = process.env["POSTGRES_URL"];
  if (!server) throw new Error("POSTGRES_URL names no PostgreSQL server: run this inside test/tools/with-postgres.sh, as make test does");
  const program = `
    const { default: pg } = await import("pg");
    const client = new pg.Client(process.env.POSTGRES_URL);
    await client.connect();
    let last;
    for (const query of JSON.parse(process.env.QUERIES)) last = await client.query({ text: query, rowMode: "array" });
    await client.end();
    process.stdout.write(String(last.rows[0]?.[0] ?? ""));`;
  const query = (...queries: string[]): string =>
    execFileSync(process.execPath, ["--input-type=module", "-e", program], { cwd: dir, encoding: "utf8", env: { ...process.env, QUERIES: JSON.stringify(queries) } });
  return { server, query };
}

/**
 * Speaks what Neon's driver speaks over HTTP, and knows one password, which changes. A wrong one it refuses as Neon's proxy does, which
 * has no error of the database to tell of then (proxy/src/serverless/sql_over_http.rs of neondatabase/neon): all but the message is empty.
 */
function neonStandIn(accepted: { password: string }): Server {
  return createServer((request, response) => {
    const { password } = new URL(String(request.headers["neon-connection-string"]));
    const ok = password === accepted.password;
    const answer = ok
      ? { command: "SELECT", rowCount: 1, rowAsArray: true, fields: [{ name: "balance", dataTypeID: 23 }], rows: [["5"]] }
      : { message: "password authentication failed for user 'app'", code: "", detail: null, hint: null, severity: "" };
    request.resume().on("end", () => response.writeHead(ok ? 200 : 400, { "content-type": "application/json" }).end(JSON.stringify(answer)));
  });
}

describe("docs/subscribing.md, followed in a project that has nothing of this package", () => {
  let world: World;
  let app: SstApp;
  let preview: Preview;
  const environments: Environment[] = [];

  before(async () => {
    dir = temporary("subscribing");
    cpSync(template, dir, { recursive: true });
    run("npm ci --silent");
    app = new SstApp(dir);
    world = await World.open("local", { env: "prod", changes: "prod-payments-changes", reports: "prod-payments-reports" });
    await world.create(name, "postgres://app_a:first@db.example/payments");
  });

  after(async () => {
    environments.forEach((environment) => environment.stop());
    await world?.close();
  });

  /** What the deployment set, and what Lambda would say of where AWS is and who the function is. */
  const variables = (): Record<string, string> => ({
    ...(deployed()["environment"] as { variables: Record<string, string> }).variables,
    AWS_ENDPOINT_URL: world.endpoint,
    AWS_REGION: "eu-west-2",
    AWS_ACCESS_KEY_ID: world.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: world.credentials.secretAccessKey,
    AWS_LAMBDA_FUNCTION_NAME: "payments-api",
  });
  const config = (): string => readFileSync(join(dir, "sst.config.ts"), "utf8");
  const deployed = (): Record<string, unknown> => {
    assert.deepEqual(preview.errors, [], preview.output);
    return preview.resources.find(({ type }) => type === "aws:lambda/function:Function")!.inputs;
  };
  const environment = (node?: string): Environment => {
    const made = new Environment(join(app.bundle("PaymentsApi"), "bundle.mjs"), variables(), node);
    environments.push(made);
    return made;
  };

  it("takes one command and one edit for the log, and one edit more for pushes", () => {
    assert.deepEqual([...text.matchAll(/^\*\*(Command|Edit \d)\.\*\*/gm)].map(([, word]) => word), ["Command", "Edit 1", "Edit 2"]);
    assert.match(text, /\*\*One command and one edit\*\*/);
    assert.match(text, /\*\*One more edit\*\*/);
    assert.equal(text.indexOf("**Edit 2.**") > text.indexOf("## Push and proof"), true, "the first two come before pushes are spoken of");
  });

  it("Command and Edit 1: an environment that nobody tells follows a rotation within CheckEvery, with its source as it was", async () => {
    const [install, ...noMore] = step("Command");
    assert.deepEqual(noMore, []);
    run(use(install!).replace("@bank-platform/secret-broadcast", tarball()));
    const [edit, ...noOther] = step("Edit 1");
    assert.deepEqual(noOther, []);
    preview = app.preview(config().replace("    new sst.aws.Function(", `${use(edit!)}    new sst.aws.Function(`));
    const one = environment();
    assert.equal((await one.invoke({ id: "1" }))["as"], "app_a");
    await world.change(name, "postgres://app_b:second@db.example/payments");
    const took = await paysAs(one, "app_b");
    assert.ok(took < 5_000, `within CheckEvery and not by the TTL of five minutes: ${took} ms`);
  });

  it("Edit 2: a push is answered with an ack, and tells the environment at once", async () => {
    const [imported, handler] = step("Edit 2"); // what follows is of the manifest and of the proof
    const source = readFileSync(join(dir, "src", "pay.ts"), "utf8");
    const edited = source.replace(/^(import .*\n)/, (first) => first + use(imported!)).replace(/export const handler[^]*$/, use(handler!));
    assert.equal(edited, readFileSync(join(dir, "src", "wrapped.ts"), "utf8"));
    writeFileSync(join(dir, "src", "pay.ts"), edited);
    assert.equal(deployed()["tags"], undefined, "before the edit nothing may be pushed");
    preview = app.preview(config());
    assert.deepEqual(deployed()["tags"], { "secret-broadcaster:push": "true", "secret-broadcaster:env": "prod", "secret-broadcaster:domain": "payments" });
    const one = environment();
    await one.invoke({ id: "1" });
    const row = await world.change(name, "postgres://app_a:third@db.example/payments");
    const ack = await one.invoke(world.invalidation(row) as object);
    assert.equal(ack["schema"], 1, JSON.stringify(ack));
    assert.equal(ack["service"], "payments-api");
    const [{ name: told, outcome, verified }] = ack["secrets"] as [{ name: string; outcome: string; verified?: boolean }];
    assert.deepEqual({ told, outcome, verified }, { told: name, outcome: "applied", verified: true });
    assert.equal((await one.invoke({ id: "2" }))["as"], "app_a");
    const runtimes = join(packageRoot, "test", "runtimes", "node_modules");
    const others = readdirSync(runtimes).filter((version) => version.startsWith("node"));
    assert.equal(others.length, 2, "the other versions of Node: npm ci --prefix test/runtimes");
    for (const version of others) {
      const other = environment(join(runtimes, version, "bin", "node"));
      assert.equal((await other.invoke({ id: "3" }))["as"], "app_a", version);
      assert.equal((await other.invoke(world.invalidation(row) as object))["schema"], 1, version);
    }
  });

  it("observe: a wrapped handler is served the old version, and reports what it would have invalidated", async () => {
    const [block] = blocks(text.split("## The first step of a rollout")[1]!.split("## ")[0]!);
    const following = preview;
    preview = app.preview(config().replace(/^ *\$transform\(.*\n/m, use(block!)));
    assert.equal((deployed()["environment"] as { variables: Record<string, string> }).variables["SECRET_BROADCAST_MODE"], "observe");
    const one = environment();
    const { as } = await one.invoke({ id: "1" });
    await world.change(name, "postgres://app_x:unseen@db.example/payments");
    const observed = async (): Promise<boolean> => (await world.reports()).map(({ data }) => JSON.parse(data.S) as Report).some(({ mode, counts }) => mode === "observe" && counts.invalidated > 0);
    for (const began = performance.now(); !(await observed()); ) {
      assert.equal((await one.invoke({ id: "2" }))["as"], as);
      assert.ok(performance.now() - began < 30_000, `it reports: ${JSON.stringify(await world.reports())}`);
    }
    assert.equal((await one.invoke({ id: "3" }))["as"], as);
    preview = following; // Leave `mode` out to follow it
  });

  it("esbuild: the command makes a bundle that follows the log too", async () => {
    const command = blocks(text).find(({ text: body }) => body.startsWith("npx esbuild "));
    run(use(command!));
    const one = new Environment(join(dir, "dist", "pay.cjs"), variables());
    environments.push(one);
    await one.invoke({ id: "1" });
    await world.change(name, "postgres://app_c:fourth@db.example/payments");
    assert.ok((await paysAs(one, "app_c")) < 5_000);
  });

  it("the project compiles, and its own test passes", () => {
    const commands = blocks(text).filter(({ language, text: body }) => language === "sh" && body.startsWith("npx tsc"));
    assert.equal(commands.length, 1);
    run(use(commands[0]!));
  });

  it("pg: the pool logs in anew, its old connections are closed, and a version that cannot log in fails the ack", async () => {
    const admin = sql();
    const [secret, url] = [name, (role: string, password: string) => Object.assign(new URL(admin.server), { username: role, password }).href];
    admin.query("create role pool_a login password 'first'", "create role pool_b login password 'second'");
    await world.change(secret, url("pool_a", "first"));
    write(dir, {
      "pool-function.js": `
        import "./dist/src/proof.js";
        import { database } from "./dist/src/pool.js";
        import { withInvalidation } from "@bank-platform/secret-broadcast";
        export const handler = withInvalidation(async () => (await database.query('select current_user as "as"')).rows[0]);
      `,
    });
    const one = new Environment(join(dir, "pool-function.js"), variables());
    environments.push(one);
    assert.equal((await one.invoke({}))["as"], "pool_a");
    const good = await one.invoke(world.invalidation(await world.change(secret, url("pool_b", "second"))) as object);
    assert.deepEqual(outcomes(good), [["applied", true]]);
    assert.equal((await one.invoke({}))["as"], "pool_b");
    for (const began = performance.now(); admin.query("select count(*) from pg_stat_activity where usename = 'pool_a'") !== "0"; ) {
      assert.ok(performance.now() - began < 20_000, "the old role's connections are closed");
    }
    const bad = await one.invoke(world.invalidation(await world.change(secret, url("pool_b", "wrong"))) as object);
    assert.deepEqual(outcomes(bad), [["failed", undefined]]);
  });

  it("Neon: a query logs in with the current version, and try bridges the time before it is current", async () => {
    const accepted = { password: "first" };
    const server = neonStandIn(accepted);
    await once(server.listen(0, "127.0.0.1"), "listening");
    try {
      const url = (password: string): string => `postgres://app:${password}@ep-a.eu-west-2.aws.neon.tech/payments`;
      await world.change(name, url("first"));
      write(dir, {
        "neon-function.js": `
          import { neonConfig } from "@neondatabase/serverless";
          import { balance, transfer } from "./dist/src/neon.js";
          neonConfig.fetchEndpoint = "http://127.0.0.1:${(server.address() as AddressInfo).port}/sql";
          export const handler = async ({ amount }) => amount ? { done: (await transfer("1", amount)) === undefined } : { balance: await balance("1") };
        `,
      });
      const one = new Environment(join(dir, "neon-function.js"), variables());
      environments.push(one);
      assert.deepEqual(await one.invoke({}), { balance: 5 });
      await world.admin.send(new PutSecretValueCommand({ SecretId: name, SecretString: url("second"), VersionStages: ["AWSPENDING"] }));
      accepted.password = "second"; // setSecret
      assert.deepEqual(await one.invoke({ amount: 1 }), { done: true });
      await world.change(name, url("second")); // finishSecret
      assert.deepEqual(await one.invoke({ amount: 1 }), { done: true });
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it("CDK: the stack is synthesised with the bundle that follows the log", () => {
    run("CDK_OUTDIR=cdk.out node dist/infra/app.js");
    const [asset] = readdirSync(join(dir, "cdk.out")).filter((file) => existsSync(join(dir, "cdk.out", file, "index.js")));
    assert.match(readFileSync(join(dir, "cdk.out", asset!, "index.js"), "utf8"), /SECRET_BROADCAST_TABLE/);
  });

  it("no block is left that nothing was done with", () => {
    const sources = ["src", "infra"].flatMap((folder) => readdirSync(join(template, folder)).map((file) => readFileSync(join(template, folder, file), "utf8")));
    const held = ({ language, text: body }: Block): boolean => {
      if (language === "yaml" || language === "json" || language === "text") return true; // by test/docs
      return done.has(body) || (language === "ts" && (sources.some((source) => source.includes(body)) || body.split("\n").every((line) => sources.some((source) => source.includes(line)))));
    };
    assert.deepEqual(blocks(text).filter((block) => !held(block)), []);
    const readme = blocks(readFileSync(join(packageRoot, "README.md"), "utf8")).filter(({ language }) => language === "ts");
    assert.deepEqual(readme.filter((block) => !sources.some((source) => source.includes(block.text))), []);
  });

  it("what people see is in the code, word for word", () => {
    const code = readdirSync(join(packageRoot, "src")).map((file) => readFileSync(join(packageRoot, "src", file), "utf8")).join("\n");
    const rows = [...text.split("| you see |")[1]!.matchAll(/^\| `([^`]+)` \|/gm)].map(([, line]) => line!);
    assert.ok(rows.length >= 4);
    assert.deepEqual(rows.filter((line) => !code.includes(line)), []);
  });
});
