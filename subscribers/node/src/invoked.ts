import { existsSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";

/**
 * Whether the function that Lambda itself calls answers invalidations. Nothing less allows a push: of two handlers in a module
 * one may be wrapped and the other one the function's, and a handler may call a wrapped one with some of its events only.
 */

/** By its name on the function, since a bundle may hold this module twice: as ES module and as CommonJS. */
const WRAPPED = Symbol.for("@bank-platform/secret-broadcast wrapped");

/** How a tracing layer that puts a function in the place of another keeps that one: it is given every event. */
const ORIGINAL = "__original";

const EXTENSIONS = [".js", ".mjs", ".cjs", ""];

type AnyFunction = (...args: any[]) => unknown;

/** Marks a function that answers invalidations, and what its bind returns: a method is exported so. */
export function markWrapped(handler: AnyFunction): void {
  Object.defineProperty(handler, WRAPPED, { value: true });
  const bind = (self: unknown, ...args: unknown[]): AnyFunction => {
    const bound = Function.prototype.bind.call(handler, self, ...args) as AnyFunction;
    markWrapped(bound);
    return bound;
  };
  Object.defineProperty(handler, "bind", { value: bind, configurable: true, writable: true });
}

/** Whether the export that _HANDLER names is marked or, with middy, one that middlewares are put on. */
export async function isInvoked(middy: boolean): Promise<boolean> {
  const { LAMBDA_TASK_ROOT: root, _HANDLER: handler } = process.env;
  const [, module, name] = /^([^.]+)\.(.+)$/.exec(basename(handler ?? "")) ?? [];
  if (root === undefined || module === undefined || name === undefined) return false;
  const path = resolve(root, dirname(handler as string), module);
  const file = EXTENSIONS.map((extension) => path + extension).find((candidate) => existsSync(candidate));
  if (file === undefined) return false;
  try {
    const exports = (await import(file)) as { default?: unknown }; // it is loaded already: Lambda has called it
    return [exports, exports.default].map((from) => find(from, name)).some((found) => isMarked(found) || (middy && isMiddy(found)));
  } catch {
    return false;
  }
}

/** The export with this name, as the runtime finds it. */
const find = (exports: unknown, name: string): unknown =>
  name.split(".").reduce<unknown>((from, part) => (from as Record<string, unknown> | undefined)?.[part], exports);

function isMarked(found: unknown): boolean {
  for (let f = found; typeof f === "function"; f = (f as { [ORIGINAL]?: unknown })[ORIGINAL]) if (WRAPPED in f) return true;
  return false;
}

const isMiddy = (found: unknown): boolean =>
  typeof found === "function" && ["use", "before", "after", "onError"].every((method) => method in found);
