// Stands in the place of the pulumi command when SST runs it, since a deployment needs an AWS account. It runs the program
// that SST made of sst.config.ts, with Pulumi's own SDK and its mocks, and writes down what would have been created.
// What it replaces: Pulumi's engine and the AWS provider. All else is real, SST's components and bundler included.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [command, ...args] = process.argv.slice(2);
if (command === "version") {
  console.log("v3.215.0"); // the one that SST 4.17.1 would download
} else if (command === "stack" && args[0] === "init") {
  initialise(args[1]);
} else if (command === "preview") {
  await preview();
}

function initialise(stack) {
  const [, app, stage] = stack.split("/");
  const manifest = { time: "2026-11-25T00:00:00Z", magic: "", version: "v3.215.0" };
  mkdirSync(`.pulumi/stacks/${app}`, { recursive: true });
  writeFileSync(`.pulumi/stacks/${app}/${stage}.json`, JSON.stringify({ version: 3, checkpoint: { stack, latest: { manifest } } }));
}

async function preview() {
  const main = /^main: (.*)$/m.exec(readFileSync("Pulumi.yaml", "utf8"))[1];
  const pulumi = createRequire(main)("@pulumi/pulumi");
  const record = { resources: [], errors: [], warnings: [] };
  console.warn = (line) => record.warnings.push(line); // SST shows them from the engine's log of events
  pulumi.runtime.setMocks({ newResource: (resource) => create(resource, record), call }, "app", "stage", true);
  const failed = (error) => {
    record.errors.push(String(error?.message ?? error));
    process.exitCode = 1;
  };
  process.on("unhandledRejection", failed);
  // Resources are made as outputs become known, long after the program has run: when nothing is left to do, all are.
  process.on("exit", () => writeFileSync(process.env.SST_TEST_RECORD, JSON.stringify(record)));
  await pulumi.runtime.runInPulumiStack(() => import(pathToFileURL(main))).catch(failed);
}

function create({ type, name, inputs }, record) {
  const { __provider, ...given } = inputs;
  record.resources.push({ type, name, inputs: given });
  const made = { arn: `arn:aws:test:eu-west-2:111122223333:${name}`, url: `https://sqs.eu-west-2.amazonaws.com/111122223333/${name}`, base64: Buffer.alloc(32).toString("base64") };
  return { id: `${name}-id`, state: { ...made, ...given } };
}

function call({ token, inputs }) {
  switch (token) {
    case "aws:index/getRegion:getRegion":
      return { region: "eu-west-2", name: "eu-west-2" };
    case "aws:index/getPartition:getPartition":
      return { partition: "aws" };
    case "aws:index/getCallerIdentity:getCallerIdentity":
      return { accountId: "111122223333" };
    case "aws:iam/getPolicyDocument:getPolicyDocument":
      return policyDocument(inputs.statements ?? []);
    default:
      throw new Error(`pulumi.mjs knows no ${token}: add what AWS's provider would answer`);
  }
}

// As AWS's provider writes it.
function policyDocument(statements) {
  const Statement = statements.map(({ effect, actions, resources, conditions }) => ({
    Effect: effect ?? "Allow",
    Action: actions,
    ...(resources && { Resource: resources }),
    ...(conditions && { Condition: Object.fromEntries(conditions.map(({ test, variable, values }) => [test, { [variable]: values }])) }),
  }));
  return { ...(statements.length > 0 && { statements }), json: JSON.stringify({ Version: "2012-10-17", Statement }) };
}
