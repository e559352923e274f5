import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The package's own folder: tests run from a folder of it that was built. */
export const packageRoot = ((): string => {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    if (existsSync(join(at, "package-lock.json"))) return at;
    if (dirname(at) === at) throw new Error("the package's folder is not above this file");
  }
})();

/** The repository's root. */
export const repositoryRoot = join(packageRoot, "..", "..");

/** A golden file of the contracts, the same that Go's tests read. */
export const goldenPath = (path: string): string => join(repositoryRoot, "invalidation", "wire", "testdata", path);
