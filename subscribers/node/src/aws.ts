import { GetSecretValueCommand, type SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

import type { Fetched, Log, Page, Reports, Secrets } from "./ports.js";
import { type AttributeValue, type Tables, TRUST_IDLE_FOR } from "./tables.js";
import { LOG_PARTITION, openRow, type Report, reportKey, reportPartition, revisionKey, type Row } from "./wire.js";

/** How long a report stays, in milliseconds: an environment that is frozen writes none, and one that is gone never again. */
const KEEP_REPORTS = 24 * 60 * 60 * 1000;

/** An error that is to be told as it was, but does not mean what its name says to a Cache. */
export class OtherError extends Error {
  override name = "OtherError";
  constructor(readonly original: Error) {
    super(original.message, { cause: original });
  }
}

/** By its name, since a bundle may hold this class twice: as ES module and as CommonJS. */
export const isOther = (error: unknown): error is OtherError => (error as Error | undefined)?.name === "OtherError";

/** Reads values from Secrets Manager with a client of the SDK. */
export class SecretsManager implements Secrets {
  /** owned: nobody else uses the client's connections. */
  constructor(
    private readonly client: SecretsManagerClient,
    owned: boolean,
  ) {
    if (owned) dropOldConnections(client);
  }

  async get(id: string, version: { id?: string; stage?: string }, signal: AbortSignal): Promise<Fetched> {
    try {
      const got = await this.client.send(
        new GetSecretValueCommand({
          SecretId: id,
          ...(version.id === undefined ? {} : { VersionId: version.id }),
          ...(version.stage === undefined ? {} : { VersionStage: version.stage }),
        }),
        { abortSignal: signal },
      );
      return {
        name: got.Name ?? id,
        arn: got.ARN ?? "",
        versionId: got.VersionId ?? "",
        created: got.CreatedDate?.getTime() ?? 0,
        value: got.SecretString || (got.SecretBinary ?? ""), // as Powertools chooses
      };
    } catch (error) {
      throw classed(error as Error);
    }
  }
}

/**
 * Makes what is sent after a long rest use new connections, since a thawed environment's may be dead: see TRUST_IDLE_FOR.
 * As a middleware it sees all that is sent, also by who has the client from its provider.
 */
function dropOldConnections(client: SecretsManagerClient): void {
  let lastUsed = Date.now();
  let underWay = 0;
  client.middlewareStack.add(
    (next) => async (args) => {
      const now = Date.now();
      const idle = now - lastUsed;
      lastUsed = now;
      if (underWay === 0 && (idle > TRUST_IDLE_FOR || idle < 0)) client.config.requestHandler?.destroy?.();
      underWay++;
      try {
        return await next(args);
      } finally {
        underWay--;
      }
    },
    { step: "initialize" },
  );
}

/** Only its text tells that a secret is deleted (https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_delete-secret.html). */
function classed(error: Error): Error {
  if (error.name === "InvalidRequestException" && !/(marked|scheduled) for deletion/.test(error.message)) {
    return new OtherError(error);
  }
  if (error.name === "SyntaxError") {
    // Its text quotes the answer, which might hold a value.
    return new Error("the answer of Secrets Manager cannot be read: check the endpoint and what is in front of it");
  }
  return error;
}

/** A request of Query (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html). */
interface Query {
  KeyConditionExpression: string;
  ExpressionAttributeValues: Record<string, AttributeValue>;
  ScanIndexForward: boolean;
}

interface QueryAnswer {
  Items?: { hash?: { S?: string }; detail?: { S?: string } }[];
  LastEvaluatedKey?: object;
}

/** Reads the log from the changes table. */
export class ChangeLog implements Log {
  constructor(
    private readonly tables: Tables,
    private readonly table: string,
  ) {}

  since(revision: number, limit: number, signal: AbortSignal): Promise<Page> {
    return this.read(
      {
        KeyConditionExpression: "pk = :log AND sk >= :revision",
        ExpressionAttributeValues: { ":log": { S: LOG_PARTITION }, ":revision": { S: revisionKey(revision) } },
        ScanIndexForward: true,
      },
      limit,
      signal,
    );
  }

  async tail(limit: number, signal: AbortSignal): Promise<Page> {
    const page = await this.read(
      {
        KeyConditionExpression: "pk = :log",
        ExpressionAttributeValues: { ":log": { S: LOG_PARTITION } },
        ScanIndexForward: false,
      },
      limit,
      signal,
    );
    page.rows.reverse();
    return page;
  }

  /** Follows a query until the limit is reached. The page's date is the first answer's: a row is at least that old. */
  private async read(query: Query, limit: number, signal: AbortSignal): Promise<Page> {
    const page: Page = { rows: [] };
    let from: object | undefined;
    do {
      const { body, date } = await this.tables.call(
        "Query",
        this.table,
        {
          TableName: this.table,
          ConsistentRead: true,
          ...query,
          Limit: limit - page.rows.length,
          ...(from === undefined ? {} : { ExclusiveStartKey: from }),
        },
        signal,
      );
      if (from === undefined && date !== undefined) page.date = date;
      const answer = (body ?? {}) as QueryAnswer;
      for (const item of answer.Items ?? []) page.rows.push(this.open(item.detail?.S, item.hash?.S));
      const next = answer.LastEvaluatedKey;
      from = next !== undefined && Object.keys(next).length > 0 ? next : undefined;
    } while (from !== undefined && page.rows.length < limit);
    return page;
  }

  private open(detail: string | undefined, hash: string | undefined): Row {
    if (detail === undefined || hash === undefined) {
      throw new Error(
        `reading table ${this.table}: an item of the log has no hash or no detail: check that SECRET_BROADCAST_TABLE names the changes table`,
      );
    }
    try {
      return openRow(detail, hash);
    } catch (error) {
      throw new Error(`reading table ${this.table}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** Writes to the reports table. */
export class ReportsTable implements Reports {
  constructor(
    private readonly tables: Tables,
    private readonly table: string,
  ) {}

  /** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html */
  async put(report: Report, signal: AbortSignal): Promise<void> {
    const Item: Record<string, AttributeValue> = {
      pk: { S: reportPartition(report.environment) },
      sk: { S: reportKey(report.service, report.environment) },
      data: { S: JSON.stringify(report) },
      service: { S: report.service },
      revision: { N: String(report.revision) },
      ttl: { N: String(Math.floor((Date.now() + KEEP_REPORTS) / 1000)) },
    };
    await this.tables.call("PutItem", this.table, { TableName: this.table, Item }, signal);
  }
}
