import { Annotations, Stack, type IAspect } from "aws-cdk-lib";
import { Policy, PolicyStatement, Role } from "aws-cdk-lib/aws-iam";
import { CfnFunction, Function as LambdaFunction, QualifiedFunctionBase } from "aws-cdk-lib/aws-lambda";
import type { BundlingOptions } from "aws-cdk-lib/aws-lambda-nodejs";
import { Provider } from "aws-cdk-lib/custom-resources";
import type { IConstruct } from "constructs";

import { checkPush, contradiction, plan, replaced, replacement, type BroadcastOptions, type Grant, type Plan, type Table } from "./deploy.js";

export type { BroadcastOptions } from "./deploy.js";

/** A function, or an alias or a version of one. Narrower than IFunction, which strict compilers refuse CDK's own classes as. */
export type AnyFunction = IConstruct & { readonly functionArn: string };

export interface SecretBroadcastProps extends BroadcastOptions {
  /**
   * The functions whose handlers are wrapped with withInvalidation, or true for all. Only they are tagged, so only they
   * can be pushed to.
   */
  push?: boolean | readonly AnyFunction[];
}

const caller = "SecretBroadcast";
const singleton = /[0-9a-f]{31,32}$/i; // 31: BucketDeployment's lacks a digit

/**
 * An Aspect that makes every function below its scope follow a domain's change log:
 *
 *     Aspects.of(app).add(new SecretBroadcast({ env: "prod", domain: "payments" }));
 *
 * It sets environment variables, allows the role what the client calls, and tags who may be pushed to. A function's code
 * is bundled before any Aspect runs: give a NodejsFunction `bundling: nodejsBundling()`, if its source imports Powertools'
 * secrets module. What a function sets itself stays. Lambda functions that CDK adds for its own purposes are left alone.
 */
export class SecretBroadcast implements IAspect {
  readonly #plan: Plan;
  readonly #push: boolean | readonly AnyFunction[];

  constructor(props: SecretBroadcastProps) {
    this.#plan = plan(caller, props);
    const push = props.push ?? false;
    checkPush(caller, push, isFunction, "[paymentsApi]", props);
    this.#push = typeof push === "boolean" ? push : push.map(unqualified);
    if (typeof this.#push !== "boolean" && !this.#push.every((entry) => entry instanceof LambdaFunction)) {
      throw new Error(`${caller}: push: a function that this app only refers to cannot be tagged by it: tag it where it is made, and leave it out here`);
    }
  }

  visit(node: IConstruct): void {
    if (!(node instanceof LambdaFunction) || isOfFramework(node)) {
      return;
    }
    const resource = node.node.defaultChild;
    if (!(resource instanceof CfnFunction)) {
      return;
    }
    const own = ownVariables(resource);
    const problem = contradiction(this.#plan, own);
    if (problem) {
      Annotations.of(node).addError(`${caller}: ${problem}`);
      return;
    }
    for (const [name, value] of Object.entries(this.#plan.variables)) {
      if (!(name in own)) {
        node.addEnvironment(name, value, { removeInEdge: true }); // Lambda@Edge has no environment: there, the TTL alone applies
      }
    }
    allow(node, this.#plan.grants);
    if (this.#push === true || (Array.isArray(this.#push) && this.#push.includes(node))) {
      for (const [key, value] of Object.entries(this.#plan.tags)) {
        resource.tags.setTag(key, value);
      }
    }
  }
}

/**
 * Returns bundling options with which esbuild puts this package in the place of Powertools' secrets module, so that the
 * source stays as it is:
 *
 *     new NodejsFunction(this, "PaymentsApi", { entry: "src/pay.ts", bundling: nodejsBundling({ minify: true }) });
 */
export function nodejsBundling(bundling: BundlingOptions = {}): BundlingOptions {
  return { ...bundling, esbuildArgs: { [`--alias:${replaced}`]: replacement, ...bundling.esbuildArgs } };
}

/**
 * Custom resources' own functions read no secret of the domain: those of the provider framework, and singletons, which stand
 * in the stack itself under a purpose and a UUID.
 */
function isOfFramework(fn: LambdaFunction): boolean {
  return fn.node.scope instanceof Provider || (Stack.isStack(fn.node.scope) && singleton.test(fn.node.id));
}

function isFunction(entry: unknown): boolean {
  return typeof entry === "object" && entry !== null && "functionArn" in entry;
}

/** Tags are the function's, whichever alias or version of it somebody has at hand. */
function unqualified(fn: AnyFunction): AnyFunction {
  return fn instanceof QualifiedFunctionBase ? fn.lambda : fn;
}

function ownVariables(resource: CfnFunction): Record<string, unknown> {
  const environment: unknown = Stack.of(resource).resolve(resource.environment);
  return (environment as { variables?: Record<string, unknown> } | undefined)?.variables ?? {};
}

function allow(fn: LambdaFunction, grants: Grant[]): void {
  const refused = grants.filter(({ action, table }) => !add(fn, new PolicyStatement({ actions: [action], resources: [table.arn ?? arnOf(fn, table)] })));
  if (refused.length > 0) {
    const needed = refused.map(({ action, table }) => `${action} on ${table.arn ?? table.name}`).join(" and ");
    Annotations.of(fn).addWarningV2(
      "@bank-platform/secret-broadcast:role",
      `${caller}: the role is not this app's to change: allow it ${needed}, or its secrets are cached until their TTL ends`,
    );
  }
}

/** Reports whether the role will have the statement. A role that may not be changed says so too, but has no policy for it. */
function add(fn: LambdaFunction, statement: PolicyStatement): boolean {
  const { statementAdded, policyDependable } = fn.grantPrincipal.addToPrincipalPolicy(statement);
  return statementAdded && (Role.isRole(fn.role) || policyDependable instanceof Policy);
}

/** One set of tables for each account and Region: the function's own. */
function arnOf(fn: LambdaFunction, table: Table): string {
  return Stack.of(fn).formatArn({ service: "dynamodb", resource: "table", resourceName: table.name });
}
