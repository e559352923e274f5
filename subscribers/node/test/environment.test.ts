import assert from "node:assert/strict";
import { test } from "node:test";

import { Cache } from "../src/cache.js";
import { readEnvironment, type Variables } from "../src/environment.js";
import { regionalEndpoint } from "../src/tables.js";
import { Fake } from "./support/fake.js";

const variables = (more: Variables = {}): Variables => ({
  SECRET_BROADCAST_TABLE: "payments-changes",
  SECRET_BROADCAST_REPORTS_TABLE: "payments-reports",
  SECRET_BROADCAST_ENV: "prod",
  SECRET_BROADCAST_DOMAIN: "payments",
  POWERTOOLS_SERVICE_NAME: "payments-api",
  AWS_LAMBDA_FUNCTION_NAME: "payments-api-fn",
  AWS_LAMBDA_FUNCTION_VERSION: "7",
  AWS_LAMBDA_LOG_STREAM_NAME: "2026/11/23/[7]0f3a",
  ...more,
});

test("the environment variables say what they say", () => {
  const { environment, problems } = readEnvironment(
    variables({
      SECRET_BROADCAST_CHECK_EVERY: "1500ms",
      SECRET_BROADCAST_MODE: "observe",
      POWERTOOLS_PARAMETERS_MAX_AGE: "60",
      AWS_ENDPOINT_URL: "http://127.0.0.1:1",
      AWS_ENDPOINT_URL_DYNAMODB: "http://127.0.0.1:2//",
    }),
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(environment, {
    env: "prod",
    domain: "payments",
    service: "payments-api",
    mode: "observe",
    ttl: 60_000,
    checkEvery: 1500,
    table: "payments-changes",
    reportsTable: "payments-reports",
    endpoint: "http://127.0.0.1:2/",
    function: { version: "7", logStream: "2026/11/23/[7]0f3a" },
  });
});

test("without a table the mode is off, and that is no problem", () => {
  for (const env of [{}, variables({ SECRET_BROADCAST_TABLE: undefined, AWS_ENDPOINT_URL: "nowhere" }), { SECRET_BROADCAST_MODE: "off" }, variables({ SECRET_BROADCAST_MODE: "off" })]) {
    const { environment, problems } = readEnvironment(env);
    assert.deepEqual(problems, []);
    assert.equal(environment.mode, "off");
  }
});

test("the service is the function's name if there is none, and Powertools' default is the TTL", () => {
  const { environment } = readEnvironment(variables({ POWERTOOLS_SERVICE_NAME: undefined }));
  assert.equal(environment.service, "payments-api-fn");
  assert.equal(environment.ttl, 5000);
});

test("how long a check may be old", () => {
  for (const [text, want] of [
    ["5s", 5000],
    ["5", 5000],
    ["0.5", 500],
    ["1m30s", 90_000],
    [".5m", 30_000],
    ["499ms", "500ms or more"],
    ["0", "500ms or more"],
    ["-5", "500ms or more"],
    ["-5s", "500ms or more"],
    ["NaN", "neither a duration"],
    ["1e12", "neither a duration"],
    ["soon", "neither a duration"],
    ["5 s", "neither a duration"],
    ["s", "neither a duration"],
    ["100000h", "neither a duration"],
    [`${"9".repeat(400)}s`, "neither a duration"],
  ] as const) {
    const { environment, problems } = readEnvironment(variables({ SECRET_BROADCAST_CHECK_EVERY: text }));
    if (typeof want === "number") assert.deepEqual([environment.checkEvery, problems], [want, []], text);
    else assert.equal(environment.checkEvery, undefined, text);
    if (typeof want === "string") assert.ok(problems.length === 1 && problems[0]?.includes(want) && problems[0].includes("SECRET_BROADCAST_CHECK_EVERY"), text);
  }
});

test("env and domain have the broadcaster's form: with another one no secret's name begins as the log says", () => {
  for (const [value, right] of [
    ["prod", true],
    ["risk-platform", true],
    ["prod*", false],
    ["Prod", false],
    ["prod/a", false],
    ["prod ", false],
    ["-prod", false],
    ["a--b", false],
    ["a_b", false],
  ] as const) {
    for (const name of ["SECRET_BROADCAST_ENV", "SECRET_BROADCAST_DOMAIN"]) {
      const { problems } = readEnvironment(variables({ [name]: value }));
      assert.equal(problems.length, right ? 0 : 1, `${name}=${value}`);
      assert.ok(right || problems[0]?.startsWith(`${name} is `), problems[0]);
    }
  }
});

test("all problems are told at once, each with its remedy, and the mode is off", () => {
  const { environment, problems } = readEnvironment({
    SECRET_BROADCAST_TABLE: "payments-changes",
    SECRET_BROADCAST_REPORTS_TABLE: "payments-reports",
    SECRET_BROADCAST_DOMAIN: "payments/neon",
    SECRET_BROADCAST_CHECK_EVERY: "soon",
    SECRET_BROADCAST_MODE: "loud",
    AWS_ENDPOINT_URL_DYNAMODB: "127.0.0.1",
  });
  assert.equal(environment.mode, "off");
  for (const want of [
    "SECRET_BROADCAST_ENV is not set",
    "SECRET_BROADCAST_DOMAIN is",
    "SECRET_BROADCAST_CHECK_EVERY is",
    "SECRET_BROADCAST_MODE is",
    "neither POWERTOOLS_SERVICE_NAME nor AWS_LAMBDA_FUNCTION_NAME",
    "AWS_ENDPOINT_URL_DYNAMODB is no URL",
  ]) {
    assert.equal(problems.filter((problem) => problem.includes(want)).length, 1, want);
  }
  for (const problem of problems) assert.match(problem, /set it|remove|set POWER/);
});

test("who asks for the log must name it", () => {
  for (const mode of ["on", "observe"]) {
    const { problems } = readEnvironment({ SECRET_BROADCAST_MODE: mode });
    assert.ok(problems[0]?.includes("SECRET_BROADCAST_TABLE is not set"), mode);
  }
});

test("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS is obeyed", () => {
  const { environment } = readEnvironment(variables({ AWS_ENDPOINT_URL: "http://127.0.0.1:1", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "TRUE" }));
  assert.equal(environment.endpoint, undefined);
});

test("DynamoDB's endpoints of the Regions", () => {
  assert.equal(regionalEndpoint("eu-west-2", false, false), "https://dynamodb.eu-west-2.amazonaws.com/");
  assert.equal(regionalEndpoint("us-east-1", true, false), "https://dynamodb-fips.us-east-1.amazonaws.com/");
  assert.equal(regionalEndpoint("us-gov-west-1", true, false), "https://dynamodb.us-gov-west-1.amazonaws.com/");
  assert.equal(regionalEndpoint("eu-west-2", true, true), "https://dynamodb-fips.eu-west-2.api.aws/");
  assert.equal(regionalEndpoint("cn-north-1", false, false), "https://dynamodb.cn-north-1.amazonaws.com.cn/");
  assert.equal(regionalEndpoint("eusc-de-east-1", false, false), "https://dynamodb.eusc-de-east-1.amazonaws.eu/");
});

test("a Cache tells all that is wrong with its configuration in one error", () => {
  const wrong = { env: "", domain: "payments", service: "s", ttl: -1, checkEvery: 400, checkTimeout: 250 };
  assert.throws(
    () => new Cache({ ...wrong, mode: "loud" as never, secrets: undefined as never }),
    (error: Error) => ["secrets is missing", "mode must be", "ttl must be", "at least twice"].every((text) => error.message.includes(text)),
  );
  assert.throws(
    () => new Cache({ ...wrong, secrets: new Fake().port }),
    (error: Error) => ["log is missing", "both env and domain"].every((text) => error.message.includes(text)),
  );
  new Cache({ env: "", domain: "", service: "", mode: "off", secrets: new Fake().port });
});

test("a logger that throws fails no read", async () => {
  const fake = new Fake();
  fake.put("/bank/test/payments/neon/password", "first");
  fake.logError = new Error("broken");
  const fails = () => {
    throw new Error("the logger is broken");
  };
  const cache = fake.cache({ logger: { info: fails, warn: fails, error: fails } });
  assert.equal((await cache.get("/bank/test/payments/neon/password")).value, "first");
});
