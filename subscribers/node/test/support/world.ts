import { execFileSync, spawn } from "node:child_process";
import { createHash, randomInt } from "node:crypto";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { DEFAULT_PROVIDERS } from "@aws-lambda-powertools/parameters/base";
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  PutSecretValueCommand,
  RestoreSecretCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";

import { type Answer, Tables } from "../../src/tables.js";
import { type Change, type Kind, LOG_PARTITION, revisionKey, type Row } from "../../src/wire.js";
import { gate } from "./fake.js";
import { packageRoot, repositoryRoot } from "./goldens.js";

/** Whose secrets and tables these are. */
export interface Place {
  env: string;
  changes: string;
  reports: string;
}

/** What a Meter does with a request before it is passed on, or instead: an HTTP status and a body, or nothing at all. */
export type Fault = (operation: string) => Promise<{ status: number; body: string } | undefined> | undefined;

/** Stands between a client and an endpoint: it counts requests by their operation, and makes trouble. */
export class Meter {
  readonly counts = new Map<string, number>();
  fault: Fault = () => undefined;
  private held: { operation: string; arrived: () => void; until: Promise<void> } | undefined;
  url = "";
  private readonly server = http.createServer((request, response) => void this.pass(request, response));

  constructor(private readonly upstream: string) {}

  count(operation: string): number {
    return this.counts.get(operation) ?? 0;
  }

  /** Holds the next answer to an operation back: it is of when it was asked for. arrived: it is there to be held. */
  holdNext(operation: string): { arrived: Promise<void>; open: () => void } {
    const arrived = gate();
    const until = gate();
    this.held = { operation, arrived: arrived.open, until: until.closed };
    return { arrived: arrived.closed, open: until.open };
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async pass(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const operation = String(request.headers["x-amz-target"]).split(".")[1] as string;
    this.counts.set(operation, this.count(operation) + 1);
    const held = this.held?.operation === operation ? this.held : undefined;
    if (held !== undefined) this.held = undefined;
    const faulty = await this.fault(operation);
    if (faulty !== undefined) {
      response.writeHead(faulty.status, { "content-type": "application/x-amz-json-1.0" }).end(faulty.body);
      return;
    }
    const passed = http.request(this.upstream, { method: "POST", headers: request.headers }, (answer) => {
      void (async () => {
        const body: Buffer[] = [];
        for await (const chunk of answer) body.push(chunk as Buffer);
        held?.arrived();
        await held?.until;
        response.writeHead(answer.statusCode ?? 502, answer.headers).end(Buffer.concat(body));
      })();
    });
    passed.on("error", () => response.destroy());
    passed.end(Buffer.concat(chunks));
  }
}

export interface StoredReport {
  pk: { S: string };
  sk: { S: string };
  data: { S: string };
  ttl: { N: string };
}

/** One domain's secrets and log at an endpoint, changed as the broadcaster does. */
export class World {
  readonly domain = "payments";
  readonly meter: Meter;
  readonly admin: SecretsManagerClient;
  readonly tables: Tables;
  /** Twelve digits: ministack keeps what one account has apart from what another has. */
  private readonly account = String(randomInt(1e11, 1e12 - 1));
  private last: Row | undefined;

  private constructor(
    readonly endpoint: string,
    private readonly place: Place,
    private readonly stop: () => Promise<void>,
  ) {
    this.meter = new Meter(endpoint);
    this.admin = new SecretsManagerClient({ endpoint, region: "eu-west-2", credentials: this.credentials });
    this.tables = new Tables(this.admin, `${endpoint}/`);
  }

  get env(): string {
    return this.place.env;
  }

  get credentials(): { accessKeyId: string; secretAccessKey: string } {
    return { accessKeyId: this.account, secretAccessKey: "placeholder" };
  }

  static async open(kind: WorldKind, place: Place = { env: "test", changes: "changes", reports: "reports" }): Promise<World> {
    const { endpoint, stop } = await STARTS[kind]();
    const world = new World(endpoint, place, stop);
    await world.meter.listen();
    for (const name of [place.changes, place.reports]) await world.createTable(name);
    await world.append();
    return world;
  }

  async close(): Promise<void> {
    this.admin.destroy();
    await this.meter.close();
    await this.stop();
  }

  /** Makes this process a function of the domain: nothing is left of what it was before. */
  configure(more: Record<string, string | undefined> = {}): void {
    for (const name of Object.keys(process.env)) {
      if (/^(AWS|SECRET_BROADCAST|POWERTOOLS)_/.test(name)) delete process.env[name];
    }
    for (const key of Object.getOwnPropertySymbols(globalThis)) {
      if (Symbol.keyFor(key)?.startsWith("@bank-platform/secret-broadcast")) delete (globalThis as Record<symbol, unknown>)[key];
    }
    delete (DEFAULT_PROVIDERS as Record<string, unknown>)["secrets"];
    const variables: Record<string, string | undefined> = {
      AWS_REGION: "eu-west-2",
      AWS_ACCESS_KEY_ID: this.account,
      AWS_SECRET_ACCESS_KEY: "placeholder",
      AWS_ENDPOINT_URL: this.meter.url,
      AWS_LAMBDA_FUNCTION_NAME: "payments-api-fn",
      AWS_LAMBDA_FUNCTION_VERSION: "7",
      AWS_LAMBDA_LOG_STREAM_NAME: "2026/11/23/[7]0f3a",
      LAMBDA_TASK_ROOT: join(packageRoot, "dist-test", "test"),
      _HANDLER: "support/invoked.handler",
      POWERTOOLS_SERVICE_NAME: "payments-api",
      SECRET_BROADCAST_TABLE: this.place.changes,
      SECRET_BROADCAST_REPORTS_TABLE: this.place.reports,
      SECRET_BROADCAST_ENV: this.env,
      SECRET_BROADCAST_DOMAIN: this.domain,
      SECRET_BROADCAST_CHECK_EVERY: "500ms",
      ...more,
    };
    for (const [name, value] of Object.entries(variables)) if (value !== undefined) process.env[name] = value;
    this.meter.counts.clear();
    this.meter.fault = () => undefined;
  }

  async create(name: string, value: string | Uint8Array): Promise<void> {
    const of = typeof value === "string" ? { SecretString: value } : { SecretBinary: value };
    await this.admin.send(new CreateSecretCommand({ Name: name, ...of }));
  }

  /** Gives a secret another value and appends the change to the log. */
  async change(name: string, value: string): Promise<Row> {
    await this.changeSilently(name, value);
    return this.announce(name, "moved");
  }

  async changeSilently(name: string, value: string): Promise<void> {
    await this.admin.send(new PutSecretValueCommand({ SecretId: name, SecretString: value }));
  }

  async delete(name: string): Promise<Row> {
    await this.admin.send(new DeleteSecretCommand({ SecretId: name, RecoveryWindowInDays: 7 }));
    return this.announce(name, "deleted");
  }

  async restore(name: string): Promise<Row> {
    await this.admin.send(new RestoreSecretCommand({ SecretId: name }));
    return this.announce(name, "restored");
  }

  async arn(name: string): Promise<string> {
    return (await this.admin.send(new DescribeSecretCommand({ SecretId: name }))).ARN as string;
  }

  private async announce(name: string, kind: Kind): Promise<Row> {
    const described = await this.admin.send(new DescribeSecretCommand({ SecretId: name }));
    const current = Object.entries(described.VersionIdsToStages ?? {}).find(([, stages]) => stages.includes("AWSCURRENT"));
    const at = (described.LastChangedDate ?? new Date()).toISOString();
    return this.append({ name, kind, ...(kind === "deleted" ? {} : { versionId: current?.[0] as string }), at });
  }

  /** Appends a row, in the format that the broadcaster writes. */
  async append(...changes: Change[]): Promise<Row> {
    const body = {
      schema: 1,
      env: this.env,
      domain: this.domain,
      revision: (this.last?.revision ?? 0) + 1,
      time: new Date().toISOString(),
      ...(this.last === undefined ? {} : { previousHash: this.last.hash }),
      changes,
    };
    const detail = JSON.stringify(body);
    const row = { ...body, hash: createHash("sha256").update(detail).digest("hex") };
    await this.call("PutItem", {
      TableName: this.place.changes,
      Item: { pk: { S: LOG_PARTITION }, sk: { S: revisionKey(row.revision) }, hash: { S: row.hash }, detail: { S: detail } },
    });
    this.last = row;
    return row;
  }

  invalidation(row: Row): unknown {
    return {
      version: "0",
      id: "01JDEXAMPLE000000000000000",
      source: "secret-broadcaster",
      "detail-type": "Secret Changed",
      account: this.account,
      region: "eu-west-2",
      time: row.time,
      resources: [],
      detail: row,
    };
  }

  /** The reports that stand in the table, newest content of each environment. */
  async reports(): Promise<StoredReport[]> {
    const all: StoredReport[] = [];
    for (let i = 0; i < 16; i++) {
      const { body } = await this.call("Query", {
        TableName: this.place.reports,
        KeyConditionExpression: "pk = :pk",
        ExpressionAttributeValues: { ":pk": { S: `report#${i.toString(16)}` } },
      });
      all.push(...(body as { Items: StoredReport[] }).Items);
    }
    return all;
  }

  call(operation: string, input: { TableName: string } & Record<string, unknown>): Promise<Answer> {
    return this.tables.call(operation, input.TableName, input, new AbortController().signal);
  }

  private async createTable(TableName: string): Promise<void> {
    const keys = ["pk", "sk"];
    await this.call("CreateTable", {
      TableName,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: keys.map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
      KeySchema: keys.map((AttributeName, i) => ({ AttributeName, KeyType: i === 0 ? "HASH" : "RANGE" })),
    });
  }
}

/** Whose endpoints a World stands on: this repository's own, or those of ministack, a third party's emulator. */
export const WORLDS = ["local", "ministack"] as const;
type WorldKind = (typeof WORLDS)[number];

const STARTS: Record<WorldKind, () => Promise<{ endpoint: string; stop: () => Promise<void> }>> = {
  async local() {
    const program = join(packageRoot, "dist-test", "endpoints");
    execFileSync("go", ["build", "-o", program, "./subscribers/node/test/endpoints"], { cwd: repositoryRoot, stdio: "inherit" });
    const child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    return {
      endpoint: line.toString("utf8").trim(),
      async stop() {
        child.stdin.end();
        await once(child, "exit");
      },
    };
  },
  async ministack() {
    const endpoint = process.env["MINISTACK_ENDPOINT"];
    if (!endpoint) throw new Error("MINISTACK_ENDPOINT is not set: run this inside test/tools/with-ministack.sh, as make test does");
    return { endpoint, stop: async () => {} };
  },
};
