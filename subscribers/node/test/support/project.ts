import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { packageRoot, repositoryRoot } from "./goldens.js";

const name = "@bank-platform/secret-broadcast";

/** Where tools are kept that are installed once: as test/tools/with-ministack.sh says. */
export const cacheRoot = process.env["CACHE_DIR"] ?? join(repositoryRoot, ".cache");

/** Removes what a test made, when the test process ends. */
const made: string[] = [];
process.on("exit", () => made.forEach((dir) => rmSync(dir, { recursive: true, force: true })));

export function temporary(purpose: string): string {
  const dir = mkdtempSync(join(tmpdir(), `${purpose}-`));
  made.push(dir);
  return dir;
}

export function write(dir: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
}

let packed: string | undefined;

/** The tarball that would be published, packed once. scripts/test.mjs has built what goes into it. */
export function tarball(): string {
  if (!packed) {
    const dir = temporary("packed");
    execFileSync("npm", ["pack", "--silent", "--pack-destination", dir], { cwd: packageRoot, stdio: "pipe" });
    packed = join(dir, readdirSync(dir).find((file) => file.endsWith(".tgz")) ?? "nothing was packed");
  }
  return packed;
}

/** A project of the given files that has this package as it would be published, and beside it what this one is developed with. */
export function project(purpose: string, files: Record<string, string>): string {
  const dir = temporary(purpose);
  write(dir, { "package.json": JSON.stringify({ name: "project", type: "module" }), ...files });
  const modules = join(dir, "node_modules");
  const own = join(modules, name);
  mkdirSync(own, { recursive: true });
  execFileSync("tar", ["-xzf", tarball(), "--strip-components=1", "-C", own]);
  for (const entry of readdirSync(join(packageRoot, "node_modules"))) {
    if (!entry.startsWith(".")) symlinkSync(join(packageRoot, "node_modules", entry), join(modules, entry));
  }
  return dir;
}
