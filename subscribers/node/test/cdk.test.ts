import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { App, Aspects, Stack } from "aws-cdk-lib";
import { Annotations, Match, Template } from "aws-cdk-lib/assertions";
import { Distribution, experimental, LambdaEdgeEventType } from "aws-cdk-lib/aws-cloudfront";
import { HttpOrigin } from "aws-cdk-lib/aws-cloudfront-origins";
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { Code, Function as LambdaFunction, Runtime, type FunctionProps } from "aws-cdk-lib/aws-lambda";
import { AwsCustomResource, PhysicalResourceId, Provider } from "aws-cdk-lib/custom-resources";

import { SecretBroadcast, type SecretBroadcastProps } from "../src/cdk.js";
import { packageRoot, repositoryRoot } from "./support/goldens.js";
import { temporary, write } from "./support/project.js";

const payments: SecretBroadcastProps = { env: "prod", domain: "payments" };

function fn(stack: Stack, id: string, props: Partial<FunctionProps> = {}): LambdaFunction {
  return new LambdaFunction(stack, id, { runtime: Runtime.NODEJS_22_X, handler: "index.handler", code: Code.fromInline("exports.handler = () => 1"), ...props });
}

/** A stack of an app that follows the domain's log. make may be called before or after: an Aspect runs at synthesis. */
function follow(props: SecretBroadcastProps, make: (stack: Stack) => void): Stack {
  const app = new App();
  Aspects.of(app).add(new SecretBroadcast(props));
  const stack = new Stack(app, "Payments", { env: { account: "111122223333", region: "eu-west-2" } });
  make(stack);
  return stack;
}

function table(name: string): object {
  return { "Fn::Join": ["", ["arn:", { Ref: "AWS::Partition" }, `:dynamodb:eu-west-2:111122223333:table/${name}`]] };
}

const statements = [
  { Effect: "Allow", Action: "dynamodb:Query", Resource: table("prod-payments-changes") },
  { Effect: "Allow", Action: "dynamodb:PutItem", Resource: table("prod-payments-reports") },
];
const variables = {
  SECRET_BROADCAST_TABLE: "prod-payments-changes",
  SECRET_BROADCAST_REPORTS_TABLE: "prod-payments-reports",
  SECRET_BROADCAST_ENV: "prod",
  SECRET_BROADCAST_DOMAIN: "payments",
};
const tags = [
  { Key: "secret-broadcaster:domain", Value: "payments" },
  { Key: "secret-broadcaster:env", Value: "prod" },
  { Key: "secret-broadcaster:push", Value: "true" },
];

type Resource = { Properties: Record<string, unknown> };

function only(stack: Stack, type: string): Record<string, unknown> {
  const found = Object.values(Template.fromStack(stack).findResources(type)) as Resource[];
  assert.equal(found.length, 1, `one ${type}`);
  return found[0]!.Properties;
}

describe("SecretBroadcast", () => {
  it("gives a function its variables, two permissions and no tag", () => {
    const stack = follow(payments, (s) => fn(s, "Api"));
    const api = only(stack, "AWS::Lambda::Function");
    assert.deepEqual(api["Environment"], { Variables: variables });
    assert.equal(api["Tags"], undefined);
    const policy = only(stack, "AWS::IAM::Policy");
    assert.deepEqual((policy["PolicyDocument"] as { Statement: unknown }).Statement, statements);
  });

  it("passes mode, check interval and tables on", () => {
    const arn = "arn:aws:dynamodb:eu-west-1:444455556666:table/changes-of-payments";
    const stack = follow({ ...payments, mode: "observe", checkEvery: "1500ms", changesTable: arn, reportsTable: false }, (s) => fn(s, "Api"));
    assert.deepEqual(only(stack, "AWS::Lambda::Function")["Environment"], {
      Variables: {
        SECRET_BROADCAST_TABLE: "changes-of-payments",
        SECRET_BROADCAST_ENV: "prod",
        SECRET_BROADCAST_DOMAIN: "payments",
        SECRET_BROADCAST_MODE: "observe",
        SECRET_BROADCAST_CHECK_EVERY: "1500ms",
      },
    });
    assert.deepEqual((only(stack, "AWS::IAM::Policy")["PolicyDocument"] as { Statement: unknown }).Statement, [
      { Effect: "Allow", Action: "dynamodb:Query", Resource: arn },
    ]);
  });

  it("tags the functions in push, by whichever alias they are named, and no other", () => {
    const app = new App();
    const stack = new Stack(app, "Payments");
    const api = fn(stack, "Api");
    const worker = fn(stack, "Worker");
    fn(stack, "Batch");
    Aspects.of(app).add(new SecretBroadcast({ ...payments, push: [api.addAlias("live"), worker.currentVersion] }));
    const found = Object.entries(Template.fromStack(stack).findResources("AWS::Lambda::Function")) as [string, Resource][];
    assert.deepEqual(
      Object.fromEntries(found.map(([id, { Properties }]) => [id.replace(/[0-9A-F]{8}$/, ""), Properties["Tags"]])),
      { Api: tags, Worker: tags, Batch: undefined },
    );
  });

  it("tags every function with push: true, in every stack", () => {
    const app = new App();
    Aspects.of(app).add(new SecretBroadcast({ ...payments, push: true }));
    const stacks = ["One", "Two"].map((id) => new Stack(app, id));
    stacks.forEach((stack) => fn(stack, "Api"));
    for (const stack of stacks) {
      Template.fromStack(stack).hasResourceProperties("AWS::Lambda::Function", { Tags: tags, Environment: { Variables: variables } });
    }
  });

  it("keeps what a function sets itself", () => {
    const stack = follow({ ...payments, mode: "on" }, (s) => fn(s, "Api", { environment: { SECRET_BROADCAST_MODE: "observe", TABLE: "orders" } }));
    assert.deepEqual(only(stack, "AWS::Lambda::Function")["Environment"], { Variables: { ...variables, SECRET_BROADCAST_MODE: "observe", TABLE: "orders" } });
  });

  it("makes another version of what an alias points to, since the variables are part of it", () => {
    const version = (props?: SecretBroadcastProps): unknown => {
      const app = new App();
      const stack = new Stack(app, "Payments");
      fn(stack, "Api").addAlias("live");
      if (props) {
        Aspects.of(app).add(new SecretBroadcast(props));
      }
      return only(stack, "AWS::Lambda::Alias")["FunctionVersion"];
    };
    assert.notDeepEqual(version(payments), version());
    assert.notDeepEqual(version({ ...payments, mode: "observe" }), version(payments));
    assert.deepEqual(version(payments), version(payments));
  });

  it("adds its statements to an imported role that may be changed, and warns of one that may not", () => {
    const stack = follow(payments, (s) => {
      fn(s, "Api", { role: Role.fromRoleArn(s, "Changeable", "arn:aws:iam::111122223333:role/changeable") });
      fn(s, "Worker", { role: Role.fromRoleArn(s, "Fixed", "arn:aws:iam::111122223333:role/fixed", { mutable: false }) });
      fn(s, "Batch", { role: Role.fromRoleArn(s, "Foreign", "arn:aws:iam::444455556666:role/foreign") });
    });
    const policy = only(stack, "AWS::IAM::Policy");
    assert.deepEqual(policy["Roles"], ["changeable"]);
    assert.deepEqual((policy["PolicyDocument"] as { Statement: unknown }).Statement, statements);
    const said = Annotations.fromStack(stack).findWarning("*", Match.stringLikeRegexp("the role is not this app's to change: allow it dynamodb:Query on prod-payments-changes and dynamodb:PutItem on prod-payments-reports, or"));
    assert.deepEqual(said.map(({ id }) => id).sort(), ["/Payments/Batch", "/Payments/Worker"]);
  });

  it("says a statement once for a role that functions share", () => {
    const stack = follow(payments, (s) => {
      const role = new Role(s, "Shared", { assumedBy: new ServicePrincipal("lambda.amazonaws.com"), managedPolicies: [ManagedPolicy.fromAwsManagedPolicyName("service-role/AWSLambdaBasicExecutionRole")] });
      fn(s, "Api", { role });
      fn(s, "Worker", { role });
    });
    assert.deepEqual((only(stack, "AWS::IAM::Policy")["PolicyDocument"] as { Statement: unknown }).Statement, statements);
  });

  it("leaves the functions alone that CDK adds for itself", () => {
    const stack = follow({ ...payments, push: true }, (s) => {
      new AwsCustomResource(s, "Call", {
        onUpdate: { service: "S3", action: "listBuckets", physicalResourceId: PhysicalResourceId.of("x") },
        policy: { statements: [new PolicyStatement({ actions: ["s3:ListAllMyBuckets"], resources: ["*"] })] },
      });
      new Provider(s, "Provider", { onEventHandler: fn(s, "OnEvent") });
    });
    const followers = Object.entries(Template.fromStack(stack).findResources("AWS::Lambda::Function")) as [string, Resource][];
    assert.equal(followers.length, 3);
    for (const [id, { Properties }] of followers) {
      const environment = Properties["Environment"] as { Variables?: Record<string, string> } | undefined;
      assert.equal(environment?.Variables?.["SECRET_BROADCAST_TABLE"] !== undefined, id.startsWith("OnEvent"), id);
    }
  });

  it("sets no variable at the edge, where there can be none", () => {
    const app = new App();
    Aspects.of(app).add(new SecretBroadcast(payments));
    const stack = new Stack(app, "Payments", { env: { account: "111122223333", region: "us-east-1" } });
    const edge = new experimental.EdgeFunction(stack, "Edge", { runtime: Runtime.NODEJS_22_X, handler: "index.handler", code: Code.fromInline("exports.handler = () => 1") });
    new Distribution(stack, "Site", {
      defaultBehavior: { origin: new HttpOrigin("bank.example"), edgeLambdas: [{ functionVersion: edge.currentVersion as never, eventType: LambdaEdgeEventType.ORIGIN_REQUEST }] },
    });
    assert.equal(only(stack, "AWS::Lambda::Function")["Environment"], undefined);
  });

  it("fails the synthesis of a function that is told to follow another domain", () => {
    const stack = follow(payments, (s) => fn(s, "Kyc", { environment: { SECRET_BROADCAST_DOMAIN: "kyc" } }));
    Annotations.fromStack(stack).hasError(
      "/Payments/Kyc",
      'SecretBroadcast: has SECRET_BROADCAST_DOMAIN set to "kyc", where "payments" is meant: a function follows one domain\'s log; apply this to the functions of payments only',
    );
    assert.deepEqual(Template.fromStack(stack).findResources("AWS::IAM::Policy"), {});
  });
});

describe("SecretBroadcast's options", () => {
  const cases: [what: string, props: object | undefined, message: string][] = [
    ["none", undefined, 'SecretBroadcast: needs options: write SecretBroadcast({ env: "prod", domain: "payments" })'],
    ["nothing in them", {}, "SecretBroadcast: env: is missing: set it to the {env} of /bank/{env}/{domain}/…\nSecretBroadcast: domain: is missing: set it to the {domain} of /bank/{env}/{domain}/…"],
    ["a path", { env: "prod", domain: "/bank/prod/payments" }, 'SecretBroadcast: domain: is "/bank/prod/payments": lower-case letters and digits, with single hyphens between them'],
    ["an unknown mode", { ...payments, mode: "dry-run" }, 'SecretBroadcast: mode: is "dry-run": set it to on, observe or off'],
    ["no duration", { ...payments, checkEvery: "2" }, 'SecretBroadcast: checkEvery: is "2": set it to something like "2s" or "1500ms"'],
    ["too short a duration", { ...payments, checkEvery: "499ms" }, "SecretBroadcast: checkEvery: is 499ms, in which a check of the log may not be done: set it to 500ms or more"],
    ["no table", { ...payments, changesTable: "a b" }, 'SecretBroadcast: changesTable: is "a b": the name or the ARN of a DynamoDB table, as prod-payments-changes'],
    ["another kind", { ...payments, env: 5 }, "SecretBroadcast: env: is a number: lower-case letters and digits, with single hyphens between them"],
    ["a name in push", { ...payments, push: ["Api"] }, "SecretBroadcast: push: must be true, or a list as [paymentsApi]"],
    ["pushes without reports", { ...payments, push: true, reportsTable: false }, "SecretBroadcast: push: needs the reports table, since only a function that reports is pushed to: leave reportsTable out, or push"],
  ];
  for (const [what, props, message] of cases) {
    it(`are refused with ${what}`, () => {
      assert.throws(() => new SecretBroadcast(props as SecretBroadcastProps), { message });
    });
  }

  it("are refused with a function that is only referred to", () => {
    const other = LambdaFunction.fromFunctionArn(new Stack(new App(), "S"), "Other", "arn:aws:lambda:eu-west-2:111122223333:function:other");
    assert.throws(() => new SecretBroadcast({ ...payments, push: [other] }), {
      message: "SecretBroadcast: push: a function that this app only refers to cannot be tagged by it: tag it where it is made, and leave it out here",
    });
  });
});

describe("the CDK app of docs/extension.md", () => {
  it("is the one that is compiled here, and gives the function the layer, its variables and two permissions", () => {
    const [, after] = readFileSync(join(repositoryRoot, "docs", "extension.md"), "utf8").split("**CDK.**");
    const [, block] = /^```ts\n(.*?)^```$/ms.exec(after!)!;
    assert.equal(block, readFileSync(join(packageRoot, "test", "extension", "app.ts"), "utf8"));
    const dir = temporary("extension");
    write(dir, { "pay/pay.py": "def handler(event, context): pass\n" });
    const app = fileURLToPath(new URL("./extension/app.js", import.meta.url));
    execFileSync(process.execPath, [app], { cwd: dir, env: { ...process.env, CDK_OUTDIR: "cdk.out" }, stdio: "inherit" });
    const { Resources } = JSON.parse(readFileSync(join(dir, "cdk.out", "Payments.template.json"), "utf8")) as { Resources: Record<string, { Type: string; Properties: Record<string, unknown> }> };
    const of = (type: string): Record<string, unknown> => Object.values(Resources).find((resource) => resource.Type === type)!.Properties;
    const pay = of("AWS::Lambda::Function");
    assert.deepEqual(pay["Layers"], ["arn:aws:lambda:eu-west-2:111122223333:layer:secret-broadcaster-x86_64:1"]);
    assert.deepEqual(pay["Environment"], { Variables: { ...variables, AWS_ENDPOINT_URL_SECRETS_MANAGER: "http://127.0.0.1:2773", POWERTOOLS_PARAMETERS_MAX_AGE: "0" } });
    const { Statement } = of("AWS::IAM::Policy")["PolicyDocument"] as { Statement: object[] };
    assert.deepEqual(Statement, statements);
  });

  it("fails the synthesis of a function with variables that no client takes, each with its remedy", () => {
    const environment = { SECRET_BROADCAST_CHECK_EVERY: "499ms", SECRET_BROADCAST_MODE: "loud" };
    const stack = follow(payments, (s) => fn(s, "Api", { environment }));
    Annotations.fromStack(stack).hasError(
      "/Payments/Api",
      'SecretBroadcast: would not follow the log: SECRET_BROADCAST_MODE is "loud", which is no mode: set it to on, observe or off; ' +
        "SECRET_BROADCAST_CHECK_EVERY is 499ms, in which a check of the log may not be done: set it to 500ms or more",
    );
  });
});
