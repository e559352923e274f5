import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { packageName, replaced } from "./deploy.js";

/** What SST sends of an import: https://esbuild.github.io/plugins/#on-resolve-arguments. */
interface Resolve {
  path: string;
  kind: string;
}

interface Build {
  onResolve(options: { filter: RegExp }, callback: (args: Resolve) => { path: string } | undefined): void;
}

/** Returns this module's file, as the directory of sst.config.ts sees it: SST runs everything there. */
export function pluginFile(): string {
  const root = process.cwd();
  const name = `${packageName}/sst-plugin`;
  try {
    return createRequire(join(root, "package.json")).resolve(name);
  } catch (cause) {
    throw new Error(`${name} cannot be found from the directory of sst.config.ts: install ${packageName} there`, { cause });
  }
}

/**
 * esbuild plugins for `nodejs.plugins`, SST's only way to redirect an import: it drops esbuild's own option `alias`.
 * Put them before your own: `export default [...secretBroadcast, yours()]`.
 */
const secretBroadcast = [
  {
    name: "secret-broadcast",
    setup(build: Build): void {
      const esm = dirname(pluginFile());
      // By kind of import, as the package's own exports would resolve it.
      const modules = { import: join(esm, "powertools.js"), require: join(esm, "..", "cjs", "powertools.js") };
      // SST's forwarder tests the filter on something else than the path, so the path is compared here.
      build.onResolve({ filter: /.*/ }, ({ path, kind }) =>
        path === replaced ? { path: kind.startsWith("require") ? modules.require : modules.import } : undefined,
      );
    },
  },
];

export default secretBroadcast;
