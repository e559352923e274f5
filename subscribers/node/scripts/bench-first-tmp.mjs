// Measures this package against plain Powertools, in one run: importing an esbuild bundle of each in a fresh process, the
// first get in it, and a cached get. Prints medians and their ratios. Needs Go, for the local endpoints.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const RUNS = Number(process.env.RUNS ?? 15);
const NAME = "/bank/test/payments/neon/password";
const dir = mkdtempSync(join(tmpdir(), "secret-broadcast-bench-"));

const FUNCTION = `
import { SecretsProvider } from "@aws-lambda-powertools/parameters/secrets";
export { SecretsProvider };
`;

const CHILD = (bundle) => `
const cpu0 = process.cpuUsage();
const begun = performance.now();
const { SecretsProvider } = await import(${JSON.stringify(bundle)});
const imported = performance.now();
const cpu1 = process.cpuUsage();
const provider = new SecretsProvider();
const made = performance.now();
await provider.get(${JSON.stringify(NAME)}, { maxAge: 300 });
const first = performance.now();
const cpu2 = process.cpuUsage();
const ms = (a, b) => (b.user + b.system - a.user - a.system) / 1000;
console.log(JSON.stringify({ "import (ms)": imported - begun, "first get (ms)": first - imported, "cpu import": ms(cpu0, cpu1), "cpu first": ms(cpu1, cpu2), "made": made - imported }));
process.exit();
`;

async function bundleOf(name, alias) {
  const outfile = join(dir, `${name}.mjs`);
  await build({
    stdin: { contents: FUNCTION, resolveDir: root },
    outfile,
    bundle: true,
    minify: true,
    platform: "node",
    target: "node20",
    format: "esm",
    alias,
    logLevel: "error",
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  const child = join(dir, `${name}-run.mjs`);
  writeFileSync(child, CHILD(outfile));
  return child;
}

async function call(endpoint, operation, input) {
  const response = await fetch(endpoint, {
    method: "POST",
    headers: { authorization: "placeholder", "content-type": "application/x-amz-json-1.0", "x-amz-target": `DynamoDB_20120810.${operation}` },
    body: JSON.stringify(input),
  });
  if (!response.ok) throw new Error(`${operation}: ${await response.text()}`);
}

const program = join(dir, "endpoints");
execFileSync("go", ["build", "-o", program, "./subscribers/node/test/endpoints"], { cwd: join(root, "../.."), stdio: "inherit" });
const endpoints = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
const endpoint = String((await once(endpoints.stdout, "data"))[0]).trim();
const env = {
  PATH: process.env.PATH,
  NODE_NO_WARNINGS: "1",
  AWS_REGION: "eu-west-2",
  AWS_ACCESS_KEY_ID: "placeholder",
  AWS_SECRET_ACCESS_KEY: "placeholder",
  AWS_ENDPOINT_URL: endpoint,
  SECRET_BROADCAST_TABLE: "changes",
  SECRET_BROADCAST_REPORTS_TABLE: "reports",
  SECRET_BROADCAST_ENV: "test",
  SECRET_BROADCAST_DOMAIN: "payments",
  POWERTOOLS_SERVICE_NAME: "bench",
};
try {
  const credentials = { accessKeyId: "placeholder", secretAccessKey: "placeholder" };
  const admin = new SecretsManagerClient({ endpoint, region: "eu-west-2", credentials });
  await admin.send(new CreateSecretCommand({ Name: NAME, SecretString: "first" }));
  for (const TableName of ["changes", "reports"]) {
    await call(endpoint, "CreateTable", {
      TableName,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: ["pk", "sk"].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
      KeySchema: ["pk", "sk"].map((AttributeName, i) => ({ AttributeName, KeyType: i === 0 ? "HASH" : "RANGE" })),
    });
  }
  const detail = JSON.stringify({ schema: 1, env: "test", domain: "payments", revision: 1, time: new Date().toISOString(), changes: [] });
  const hash = createHash("sha256").update(detail).digest("hex");
  await call(endpoint, "PutItem", {
    TableName: "changes",
    Item: { pk: { S: "log" }, sk: { S: "1".padStart(19, "0") }, hash: { S: hash }, detail: { S: detail } },
  });

  if (process.env.KEEP) { console.log(dir, endpoint); }
  const programs = {
    plain: await bundleOf("plain", {}),
    ours: await bundleOf("ours", { "@aws-lambda-powertools/parameters/secrets": join(root, "dist/esm/powertools.js") }),
  };
  const results = { plain: [], ours: [] };
  for (let run = 0; run < RUNS; run++) {
    // in turns, so that what else the machine does meets both
    for (const kind of run % 2 === 0 ? ["plain", "ours"] : ["ours", "plain"]) {
      results[kind].push(JSON.parse(execFileSync(process.execPath, [programs[kind]], { env, encoding: "utf8" })));
    }
  }
  if (process.env.KEEP) await new Promise((r) => setTimeout(r, Number(process.env.KEEP)));
  const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
  console.log(`${RUNS} processes each, node ${process.version}, medians`);
  for (const what of Object.keys(results.plain[0])) {
    const [plain, ours] = ["plain", "ours"].map((kind) => median(results[kind].map((one) => one[what])));
    console.log(`${what.padEnd(16)} plain ${plain.toFixed(1).padStart(8)}   ours ${ours.toFixed(1).padStart(8)}   ratio ${(ours / plain).toFixed(3)}`);
  }
} finally {
  endpoints.stdin.end();
  rmSync(dir, { recursive: true, force: true });
}
