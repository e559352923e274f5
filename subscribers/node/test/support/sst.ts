import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { packageRoot } from "./goldens.js";
import { cacheRoot, temporary } from "./project.js";

const tools = join(packageRoot, "test", "sst");

/** SST's command line and bun, installed once, with the hashes of their lockfile. */
function installed(): string {
  const files = ["package.json", "package-lock.json"];
  const key = files.reduce((hash, file) => hash.update(readFileSync(join(tools, file))), createHash("sha256")).digest("hex").slice(0, 16);
  const dir = join(cacheRoot, "sst", key);
  if (!existsSync(dir)) {
    mkdirSync(join(cacheRoot, "sst"), { recursive: true });
    const scratch = mkdtempSync(join(cacheRoot, "sst", "install."));
    files.forEach((file) => copyFileSync(join(tools, file), join(scratch, file)));
    execFileSync("npm", ["ci", "--ignore-scripts", "--silent"], { cwd: scratch, stdio: ["ignore", "ignore", "inherit"] });
    try {
      renameSync(scratch, dir); // whole or not at all, so that two runs at once do no harm
    } catch (error) {
      rmSync(scratch, { recursive: true, force: true });
      if (!existsSync(dir)) throw error;
    }
  }
  return dir;
}

/** A home directory in which SST finds the commands that it would download. */
function home(): string {
  const dir = temporary("sst-home");
  const bin = join(dir, ".config", "sst", "bin");
  mkdirSync(bin, { recursive: true });
  const platforms = join(installed(), "node_modules", "@oven");
  const bun = readdirSync(platforms).map((platform) => join(platforms, platform, "bin", "bun")).find((file) => spawnSync(file, ["--version"]).status === 0);
  if (!bun) throw new Error(`no bun in ${platforms} runs on this machine: add the one of its platform to test/sst/package.json`);
  cpSync(bun, join(bin, "bun"));
  writeFileSync(join(bin, "pulumi"), `#!/bin/sh\nexec '${process.execPath}' '${join(tools, "pulumi.mjs")}' "$@"\n`);
  chmodSync(join(bin, "pulumi"), 0o755);
  return dir;
}

export interface Resource {
  type: string;
  name: string;
  inputs: Record<string, unknown>;
}

export interface Preview {
  /** What would have been created. */
  resources: Resource[];
  /** What the program failed with. */
  errors: string[];
  /** What it warned of. */
  warnings: string[];
  /** What SST printed. */
  output: string;
}

/** An SST app in a directory. Its first preview has SST install its platform there. */
export class SstApp {
  readonly #home = home();

  constructor(readonly dir: string) {}

  /** Runs `sst diff`: SST's own command on sst.config.ts, up to where Pulumi would speak to AWS. */
  preview(config: string, stage = "prod"): Preview {
    const endpoint = process.env["MINISTACK_ENDPOINT"];
    if (!endpoint) {
      throw new Error("MINISTACK_ENDPOINT is not set: SST keeps its state in AWS, so run this as bash test/tools/with-ministack.sh …");
    }
    writeFileSync(join(this.dir, "sst.config.ts"), config);
    const record = join(this.dir, "record.json");
    rmSync(record, { force: true });
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(installed(), "node_modules", "sst", "bin", "sst.mjs"), "diff", "--stage", stage, "--print-logs"], {
      cwd: this.dir,
      encoding: "utf8",
      env: {
        ...process.env,
        AWS_PROFILE: undefined,
        AWS_SESSION_TOKEN: undefined,
        HOME: this.#home,
        BUN_INSTALL_CACHE_DIR: join(cacheRoot, "sst", "bun"),
        SST_TELEMETRY_DISABLED: "1",
        AWS_ENDPOINT_URL: endpoint,
        AWS_REGION: "eu-west-2",
        AWS_ACCESS_KEY_ID: "111122223333",
        AWS_SECRET_ACCESS_KEY: "test",
        SST_TEST_RECORD: record,
      },
    });
    const output = `${stdout}${stderr}`;
    if (!existsSync(record)) {
      throw new Error(`sst diff ended with ${status} before the program ran:\n${output}`);
    }
    return { ...(JSON.parse(readFileSync(record, "utf8")) as Omit<Preview, "output">), output };
  }

  /** The directory that SST bundled a function into. */
  bundle(name: string): string {
    return join(this.dir, ".sst", "artifacts", `${name}-src`);
  }
}
