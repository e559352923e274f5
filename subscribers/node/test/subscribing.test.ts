import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";

import { packageRoot, repositoryRoot, tarball, temporary } from "./support/project.js";
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
const run = (command: string): string => execFileSync("bash", ["-euo", "pipefail", "-c", command], { cwd: dir, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** One execution environment of a bundled function, which is invoked over its standard input and answers on its output. */
class Environment {
  readonly #lines: AsyncIterator<string>;
  readonly #child;

  constructor(module: string, variables: Record<string, string>) {
    const program = `
      const { handler } = await import(${JSON.stringify(module)});
      const write = process.stdout.write.bind(process.stdout);
      console.info = console.warn = console.error = console.log = (...text) => process.stderr.write(text.join(" ") + "\\n");
      for await (const line of (await import("node:readline")).createInterface({ input: process.stdin })) {
        const answer = await Promise.resolve(handler(JSON.parse(line), {})).then((ok) => ({ ok }), (error) => ({ error: String(error.message) }));
        write(JSON.stringify(answer) + "\\n");
      }`;
    this.#child = spawn(process.execPath, ["--no-warnings", "--input-type=module", "-e", program], { cwd: dir, env: { PATH: process.env["PATH"], ...variables }, stdio: ["pipe", "pipe", "inherit"] });
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
    world = await World.start();
    await world.create(name, "postgres://app_a:first@db.example/payments");
  });

  after(() => {
    environments.forEach((environment) => environment.stop());
    world.stop();
  });

  const config = (): string => readFileSync(join(dir, "sst.config.ts"), "utf8");
  const deployed = (): Record<string, unknown> => {
    assert.deepEqual(preview.errors, [], preview.output);
    return preview.resources.find(({ type }) => type === "aws:lambda/function:Function")!.inputs;
  };
  const environment = (): Environment => {
    const { variables } = deployed()["environment"] as { variables: Record<string, string> };
    const made = new Environment(join(app.bundle("PaymentsApi"), "bundle.mjs"), { ...variables, ...world.variables });
    environments.push(made);
    return made;
  };

  it("takes one command and one edit for the log, and two edits more for pushes", () => {
    assert.deepEqual([...text.matchAll(/^\*\*(Command|Edit \d)\.\*\*/gm)].map(([, word]) => word), ["Command", "Edit 1", "Edit 2", "Edit 3"]);
    assert.match(text, /\*\*One command and one edit\*\*/);
    assert.match(text, /\*\*Two more edits\*\*/);
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
    await world.rotate(name, "postgres://app_b:second@db.example/payments");
    const took = await paysAs(one, "app_b");
    assert.ok(took < 5_000, `within CheckEvery and not by the TTL of five minutes: ${took} ms`);
  });

  it("observe: the old version is served, and the change is counted", async () => {
    const [block] = blocks(text.split("## The first step of a rollout")[1]!.split("## ")[0]!);
    preview = app.preview(config().replace(/^ *\$transform\(.*\n/m, use(block!)));
    assert.equal((deployed()["environment"] as { variables: Record<string, string> }).variables["SECRET_BROADCAST_MODE"], "observe");
  });

  it("Edit 2 and Edit 3: a push is answered with an ack, and tells the environment at once", async () => {
    const [imported, handler, ...noMore] = step("Edit 2");
    assert.deepEqual(noMore, []);
    const source = readFileSync(join(dir, "src", "pay.ts"), "utf8");
    const edited = source.replace(/^(import .*\n)/, (first) => first + use(imported!)).replace(/export const handler[^]*$/, use(handler!));
    assert.equal(edited, readFileSync(join(dir, "src", "wrapped.ts"), "utf8"));
    writeFileSync(join(dir, "src", "pay.ts"), edited);
    const [push, ...noOther] = step("Edit 3");
    assert.deepEqual(noOther, []);
    preview = app.preview(config().replace(/^ *\$transform\(.*\n/m, use(push!)));
    assert.deepEqual(deployed()["tags"], { "secret-broadcaster:push": "true", "secret-broadcaster:env": "prod", "secret-broadcaster:domain": "payments" });
    const one = environment();
    assert.equal((await one.invoke({ id: "1" }))["as"], "app_b");
    await world.rotate(name, "postgres://app_a:third@db.example/payments");
    const ack = await one.invoke(world.invalidation);
    assert.equal(ack["schema"], 1, JSON.stringify(ack));
    assert.equal(ack["service"], "payments-api");
    const [{ name: told, outcome, verified }] = ack["secrets"] as [{ name: string; outcome: string; verified?: boolean }];
    assert.deepEqual({ told, outcome, verified }, { told: name, outcome: "applied", verified: true });
    assert.equal((await one.invoke({ id: "2" }))["as"], "app_a");
  });

  it("esbuild: the command makes a bundle that follows the log too", async () => {
    const command = blocks(text).find(({ text: body }) => body.startsWith("npx esbuild "));
    run(use(command!));
    const { variables } = deployed()["environment"] as { variables: Record<string, string> };
    const one = new Environment(join(dir, "dist", "pay.cjs"), { ...variables, ...world.variables });
    environments.push(one);
    assert.equal((await one.invoke({ id: "1" }))["as"], "app_a");
    await world.rotate(name, "postgres://app_b:fourth@db.example/payments");
    assert.ok((await paysAs(one, "app_b")) < 5_000);
  });

  it("the project compiles, and its own test passes", () => {
    const commands = blocks(text).filter(({ language, text: body }) => language === "sh" && body.startsWith("npx tsc"));
    assert.equal(commands.length, 1);
    run(use(commands[0]!));
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
  });

  it("what people see is in the code, word for word", () => {
    const code = readdirSync(join(packageRoot, "src")).map((file) => readFileSync(join(packageRoot, "src", file), "utf8")).join("\n");
    const rows = [...text.split("| you see |")[1]!.matchAll(/^\| `([^`]+)` \|/gm)].map(([, line]) => line!);
    assert.ok(rows.length >= 4);
    assert.deepEqual(rows.filter((line) => !code.includes(line)), []);
  });
});
