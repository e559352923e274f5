// Builds the package, compiles the tests and runs them. Arguments are names of test files, such as cache or provider.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;
const out = join(root, "dist-test");
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

function run(...args) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
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
run("--enable-source-maps", "--test", ...files.map((name) => join(out, "test", name)));
