import assert from "node:assert/strict";
import { execFile, fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import { build, type Metafile } from "esbuild";

import { packageRoot } from "./support/goldens.js";
import { World } from "./support/world.js";

const NAME = "/bank/test/payments/neon/password";

/** A function as a team has it: it knows Powertools only, and says when it has read. */
const FUNCTION = `
import { getSecret, SecretsProvider } from "@aws-lambda-powertools/parameters/secrets";
import { clearCaches } from "@aws-lambda-powertools/parameters";
const provider = new SecretsProvider();
const read = async () => [
  await getSecret(${JSON.stringify(NAME)}, { maxAge: 300 }),
  await provider.get(${JSON.stringify(NAME)}, { maxAge: 300 }),
];
process.on("message", async (message) => {
  if (message === "clear") clearCaches();
  process.send(await read());
});
`;

const alias = { "@aws-lambda-powertools/parameters/secrets": join(packageRoot, "dist/esm/powertools.js") };

async function bundle(dir: string, name: string, source: string, more: object = {}): Promise<{ file: string; metafile: Metafile }> {
  const outfile = join(dir, name);
  const { metafile } = await build({
    stdin: { contents: source, resolveDir: packageRoot },
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format: name.endsWith(".mjs") ? "esm" : "cjs",
    metafile: true,
    logLevel: "error",
    banner: name.endsWith(".mjs") ? { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' } : {},
    ...more,
  });
  return { file: outfile, metafile };
}

describe("an esbuild bundle", () => {
  let world: World;
  let dir: string;
  before(async () => {
    world = await World.open("local");
    await world.create(NAME, "first");
    dir = mkdtempSync(join(packageRoot, "dist-test", "bundle-"));
  });
  after(async () => {
    rmSync(dir, { recursive: true, force: true });
    await world.close();
  });

  for (const file of ["function.mjs", "function.cjs"]) {
    test(`${file} follows the log by an alias, without a change of its source`, async () => {
      const { file: program } = await bundle(dir, file, FUNCTION, { alias });
      const { file: plain } = await bundle(dir, `plain-${file}`, FUNCTION);
      world.configure();
      const start = (path: string) => {
        const child = fork(path, { env: process.env, stdio: ["ignore", "inherit", "ignore", "ipc"] });
        const ask = (message: string): Promise<unknown> =>
          new Promise((resolve, reject) => {
            child.once("message", resolve);
            child.once("exit", () => reject(new Error("the function ended")));
            child.send(message);
          });
        return { ask, end: () => child.kill() };
      };
      const ours = start(program);
      const powertools = start(plain);
      try {
        const [before] = (await ours.ask("read")) as string[];
        assert.deepEqual(await powertools.ask("read"), [before, before]);
        const value = `second, in ${file}`;
        await world.change(NAME, value);
        await sleep(510); // the check grows old
        assert.deepEqual(await ours.ask("read"), [value, value]);
        assert.deepEqual(await powertools.ask("read"), [before, before], "or this test shows nothing");
        await world.changeSilently(NAME, `third, in ${file}`);
        assert.deepEqual(await ours.ask("clear"), [`third, in ${file}`, `third, in ${file}`]);
      } finally {
        ours.end();
        powertools.end();
      }
    });
  }

  test("brings no DynamoDB client, no signer of its own, and little code", async () => {
    const source = 'import { getSecret } from "@aws-lambda-powertools/parameters/secrets"; export { getSecret };';
    const aliased = await bundle(dir, "size.mjs", source, { alias, minify: true });
    const plain = await bundle(dir, "plain-size.mjs", source, { minify: true });
    const inputs = (metafile: Metafile): string[] => Object.keys(metafile.inputs).map((path) => path.replace(/^.*node_modules\//, ""));
    const added = inputs(aliased.metafile).filter((path) => !inputs(plain.metafile).includes(path));
    assert.deepEqual(
      added.filter((path) => !path.startsWith("dist/esm/")),
      ["@aws-lambda-powertools/parameters/lib/esm/base/index.js"],
    );
    const bytes = ({ metafile }: { metafile: Metafile }): number => Object.values(metafile.outputs).reduce((sum, { bytes: n }) => sum + n, 0);
    const more = bytes(aliased) - bytes(plain);
    assert.ok(more < 48_000, `${more} bytes more than plain Powertools`);
  });
});

describe("the package that is built", () => {
  const names = ["InvalidatingSecretsProvider", "RejectedError", "clearCaches", "defaultProvider", "getSecret", "invalidation", "invalidationHandler", "rejected", "withInvalidation"];

  test("is there as CommonJS and as ES modules, with the same names", async () => {
    const require = createRequire(join(packageRoot, "package.json"));
    const index = require("@bank-platform/secret-broadcast") as object;
    assert.deepEqual(Object.keys(index).sort(), names);
    assert.deepEqual(Object.keys(await import(join(packageRoot, "dist/esm/index.js"))).sort(), names);
    for (const hints of [require("@bank-platform/secret-broadcast/hint") as object, await import(join(packageRoot, "dist/esm/hint.js"))]) {
      assert.deepEqual(Object.keys(hints as object), ["hint"]);
    }
    const plain = Object.keys(require("@aws-lambda-powertools/parameters/secrets") as object).sort();
    assert.deepEqual(Object.keys(require("@bank-platform/secret-broadcast/powertools") as object).sort(), plain);
    assert.deepEqual(Object.keys(await import(join(packageRoot, "dist/esm/powertools.js"))).sort(), plain);
  });

  test("has types that TypeScript takes for Powertools' own, both ways of resolving", async () => {
    const dir = mkdtempSync(join(packageRoot, "dist", "types-")); // where the package may import itself by its name;
    try {
      writeFileSync(
        join(dir, "use.ts"),
        `import { SecretsProvider } from "@aws-lambda-powertools/parameters/secrets";
         import { getSecret, InvalidatingSecretsProvider, withInvalidation } from "@bank-platform/secret-broadcast";
         import { SecretsProvider as Ours } from "@bank-platform/secret-broadcast/powertools";
         import type { Handler } from "aws-lambda";
         const takesPowertools = (provider: SecretsProvider): SecretsProvider => provider;
         takesPowertools(new InvalidatingSecretsProvider({ clientConfig: { region: "eu-west-2" } }));
         export const provider: Ours = new Ours();
         export const a: Promise<string | Uint8Array | undefined> = provider.get("x", { maxAge: 5 });
         export const b: Promise<string> = provider.get<string, { throwOnMissing: true }>("x", { throwOnMissing: true });
         export const c: Promise<string | undefined> = getSecret("x", { transform: "binary" });
         // @ts-expect-error a secret may be missing
         export const d: Promise<string | Uint8Array> = getSecret("x");
         export const handler: Handler<{ order: number }, string> = withInvalidation(async (event: { order: number }) => String(event.order));
        `,
      );
      const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
      for (const [module, resolution] of [["NodeNext", "NodeNext"], ["ESNext", "Bundler"]]) {
        const args = [tsc, "--noEmit", "--strict", "--skipLibCheck", "false", "--target", "ES2022", "--types", "node", "--module", module, "--moduleResolution", resolution, join(dir, "use.ts")];
        await promisify(execFile)(process.execPath, args as string[], { cwd: packageRoot }).catch((error: { stdout: string }) => {
          assert.fail(`${resolution}: ${error.stdout}`);
        });
      }
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
