// Builds the package, compiles the tests and runs them. Arguments are names of test files, such as read or provider; without
// any, the tests of what runs in a function run on the other versions of Node in test/runtimes too.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;
const out = join(root, "dist-test");
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

function run(...args) {
  runOn(process.execPath, ...args);
}

function runOn(node, ...args) {
  const { status } = spawnSync(node, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

/** The other versions of Node. */
function others() {
  const dir = join(root, "test/runtimes/node_modules");
  if (!existsSync(dir)) {
    console.error("the other versions of Node are missing: npm ci --prefix test/runtimes");
    process.exit(1);
  }
  return readdirSync(dir).filter((name) => name.startsWith("node")).map((name) => join(dir, name, "bin/node"));
}

run(join(root, "scripts/build.mjs"));
rmSync(out, { recursive: true, force: true });
run(tsc, "--project", join(root, "tsconfig.test.json"));
writeFileSync(join(out, "package.json"), '{"type":"module"}\n');
const wanted = process.argv.slice(2);
const files = readdirSync(join(out, "test"))
  .filter((name) => name.endsWith(".test.js"))
  .filter((name) => wanted.length === 0 || wanted.includes(name.replace(".test.js", "")));
if (files.length === 0) {
  console.error(`no such test: ${wanted.join(", ")}`);
  process.exit(1);
}
const inTests = (names) => ["--enable-source-maps", "--test", ...names.map((name) => join(out, "test", name))];
run(...inTests(files));
if (wanted.length === 0) {
  const elsewhere = ["bundle.test.js", "cdk.test.js", "package.test.js", "sst.test.js", "subscribing.test.js"]; // where people build
  const inFunctions = files.filter((name) => !elsewhere.includes(name));
  for (const node of others()) runOn(node, ...inTests(inFunctions));
}
