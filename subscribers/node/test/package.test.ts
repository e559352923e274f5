import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { before, describe, it } from "node:test";

import { build } from "esbuild";

import { packageRoot } from "./support/goldens.js";
import { project } from "./support/project.js";

const name = "@bank-platform/secret-broadcast";
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

/** Something of every entry point, with a type of it that any would not have. */
const everything = `
  import type { SecretsGetOptions } from "${name}/powertools/types";
  import { getSecret, withInvalidation } from "${name}";
  import { SecretsProvider } from "${name}/powertools";
  import { hint } from "${name}/hint";
  import { SecretPool } from "${name}/pg";
  import { secretBroadcast } from "${name}/sst";
  import plugins from "${name}/sst-plugin";
  import { SecretBroadcast } from "${name}/cdk";

  const options: SecretsGetOptions = { maxAge: 300 };
  export const value: Promise<string | Uint8Array | undefined> = getSecret("name", options);
  export const handler: (event: { n: number }) => number = withInvalidation(({ n }: { n: number }) => n);
  export const provider: SecretsProvider = new SecretsProvider();
  export const hinted: (...of: Parameters<typeof hint>) => Promise<void> = hint;
  export const made: (pool: SecretPool) => number = ({ totalCount }) => totalCount;
  export const sst: (args: object, opts: unknown, name: string) => undefined = secretBroadcast({ env: "prod", domain: "payments" });
  export const first: string = plugins[0].name;
  export const aspect: { visit(node: never): void } = new SecretBroadcast({ env: "prod", domain: "payments" });
  // @ts-expect-error: the types are there
  export const wrong: number = provider.get("name");
`;

describe("the package, as it is published", () => {
  let dir: string;
  before(() => {
    dir = project("package", { "everything.ts": everything });
  });

  const exported = Object.keys((JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { exports: object }).exports);

  for (const [moduleResolution, module] of [["node10", "commonjs"], ["node16", "node16"], ["nodenext", "nodenext"], ["bundler", "esnext"]] as const) {
    it(`has the types of every entry point with moduleResolution ${moduleResolution}`, () => {
      for (const path of exported) assert.ok(everything.includes(`"${path.replace(".", name)}"`), `${path} is tried`);
      const options = ["--noEmit", "--strict", "--skipLibCheck", "--noUncheckedIndexedAccess", "false", "--target", "es2022", "--types", "node"];
      execFileSync(process.execPath, [tsc, ...options, "--esModuleInterop", "--module", module, "--moduleResolution", moduleResolution, "everything.ts"], { cwd: dir, stdio: ["ignore", "inherit", "inherit"] });
    });
  }

  it("takes the place of Powertools' module for its types too, if they are imported like values", async () => {
    const replaced = "@aws-lambda-powertools/parameters/secrets";
    const contents = `import * as types from "${replaced}/types"; import { getSecret } from "${replaced}"; console.log(types, getSecret);`;
    await build({ stdin: { contents, resolveDir: dir }, bundle: true, platform: "node", write: false, alias: { [replaced]: `${name}/powertools` } });
  });

  it("brings the license, and a README whose links lead somewhere", () => {
    const own = join(dir, "node_modules", name);
    assert.ok(existsSync(join(own, "LICENSE")));
    const links = [...readFileSync(join(own, "README.md"), "utf8").matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link);
    assert.deepEqual(links.filter((link) => !/^https:/.test(link ?? "")), []);
  });
});
