// Builds the package into dist: ES modules, CommonJS, and the types of each. The repository's license goes with it.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

rmSync(join(root, "dist"), { recursive: true, force: true });
copyFileSync(join(root, "..", "..", "LICENSE"), join(root, "LICENSE"));
for (const [kind, type] of [
  ["esm", "module"],
  ["cjs", "commonjs"],
]) {
  const out = join(root, "dist", kind);
  mkdirSync(out, { recursive: true });
  // Node, and TypeScript's readers, take a file's kind from the nearest package.json.
  writeFileSync(join(out, "package.json"), `${JSON.stringify({ type, sideEffects: false })}\n`);
  execFileSync(process.execPath, [tsc, "--project", join(root, `tsconfig.${kind}.json`)], { stdio: "inherit" });
}
