import { readFileSync } from "node:fs";
import { join } from "node:path";

import { packageName } from "./deploy.js";

/** What SST makes a bundle of, in its order. */
const extensions = [".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs"];

const imports = new RegExp(
  `\\{[^{}]*\\b(?:withInvalidation|invalidation|invalidationHandler)\\b[^{}]*\\}\\s*(?:from\\s*|=\\s*require\\(\\s*)["']${packageName}["']`,
);

/**
 * Whether a handler, as "src/pay.handler", stands in a module that imports what wraps handlers. An import that goes unused
 * does no harm: only an environment that reports a wrapped handler is pushed to.
 */
export function isWrapped(handler: unknown): boolean {
  if (typeof handler !== "string") return false;
  const module = join(process.cwd(), handler.slice(0, handler.lastIndexOf("."))); // SST runs sst.config.ts in its directory
  for (const extension of extensions) {
    try {
      return imports.test(readFileSync(module + extension, "utf8"));
    } catch {
      // the next one
    }
  }
  return false;
}
