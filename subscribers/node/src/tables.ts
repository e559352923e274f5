import * as http from "node:http";
import * as https from "node:https";

import type { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

/**
 * Speaks DynamoDB's JSON protocol with one endpoint, without retries. Requests are signed by the signer that the Secrets
 * Manager client brings along, with that client's credentials and Region: a DynamoDB client would cost every cold start
 * more than the two operations in use are worth.
 */

/** An attribute value: of a string or of a number. */
export type AttributeValue = { S: string } | { N: string };

/** An answer, and DynamoDB's own clock when it answered. */
export interface Answer {
  body: unknown;
  date?: number;
}

/**
 * How long an unused connection is believed to be alive, in milliseconds. While an environment is frozen the other end, or
 * a NAT gateway between, may drop its connections in silence
 * (https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html: after 350 seconds). A new connection
 * costs milliseconds, a dead one the whole time-out.
 */
export const TRUST_IDLE_FOR = 20_000;

/**
 * Bounds an answer. A Query returns at most 1 MB of items
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html); as JSON in JSON they grow.
 */
const MAX_ANSWER_BYTES = 4 << 20;

const MAX_MESSAGE = 500;

/** How far this machine's clock must be off for a signature's refusal to be put down to it, in milliseconds: as in the SDK. */
const SKEWED = 4 * 60_000;

interface Signed {
  headers: Record<string, string>;
}

/** What the SDK's signer takes and gives; its type is in a package that need not be installed at the top. */
interface Signer {
  sign(request: unknown, options: { signingService: string; signingDate: Date }): Promise<Signed>;
}

export class Tables {
  private signer: Promise<Signer> | undefined;
  private url: Promise<URL> | undefined;
  private agent: http.Agent | https.Agent | undefined;
  private lastUsed = 0;

  /** Calls the given endpoint, or the one of the client's Region. */
  constructor(
    private readonly client: SecretsManagerClient,
    private readonly endpoint: string | undefined,
  ) {}

  /** Executes one operation on a table. */
  async call(operation: string, table: string, input: object, signal: AbortSignal): Promise<Answer> {
    const calling = `calling ${operation} on table ${table}`;
    let response: Response;
    try {
      const body = JSON.stringify(input);
      response = await this.post(operation, body, signal);
      if (this.correctClock(response)) response = await this.post(operation, body, signal);
    } catch (error) {
      throw new Error(`${calling}: ${(error as Error).message}`, { cause: error });
    }
    const { status, text } = response;
    if (status !== 200) throw new Error(`${calling}: ${refusal(status, text)}`);
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      throw new Error(`decoding the answer to ${operation} on table ${table}: it is no JSON`);
    }
    const date = Date.parse(response.date ?? "");
    return Number.isNaN(date) ? { body } : { body, date };
  }

  /** Signs and sends one request and reads the answer. After a failure, also the server's, the next has a fresh connection. */
  private async post(operation: string, body: string, signal: AbortSignal): Promise<Response> {
    const url = await this.find();
    const signer = await (this.signer ??= this.client.config.signer() as Promise<Signer>);
    const { headers } = await signer.sign(
      {
        method: "POST",
        protocol: url.protocol,
        hostname: url.hostname,
        path: url.pathname,
        query: {},
        headers: {
          host: url.host,
          "content-type": "application/x-amz-json-1.0",
          "x-amz-target": `DynamoDB_20120810.${operation}`,
          "accept-encoding": "identity",
        },
        body,
      },
      { signingService: "dynamodb", signingDate: new Date(this.now()) },
    );
    try {
      const response = await send(url, headers, body, this.connection(url), signal);
      if (response.status >= 500) this.closeIdle();
      return response;
    } catch (error) {
      this.closeIdle();
      throw error;
    }
  }

  /** The time that requests are signed with: what the client has learned of its clock holds for both services. */
  private now(): number {
    return Date.now() + this.client.config.systemClockOffset;
  }

  /** Whether a signature was refused because of its time, and the next has the server's. */
  private correctClock({ status, date, text }: Response): boolean {
    const server = Date.parse(date ?? "");
    if (status !== 400 || !SIGNATURE_REFUSED.test(text) || !(Math.abs(server - this.now()) >= SKEWED)) return false;
    this.client.config.systemClockOffset = server - Date.now();
    return true;
  }

  private find(): Promise<URL> {
    return (this.url ??= this.resolve().catch((error: Error) => {
      this.url = undefined;
      throw error;
    }));
  }

  private async resolve(): Promise<URL> {
    if (this.endpoint !== undefined) return new URL(this.endpoint);
    const { config } = this.client;
    let region: string;
    try {
      region = await config.region();
    } catch (error) {
      throw new Error(`the Secrets Manager client has no Region: set AWS_REGION, or clientConfig.region, to that of the table`, {
        cause: error,
      });
    }
    return new URL(regionalEndpoint(region, await config.useFipsEndpoint(), await config.useDualstackEndpoint()));
  }

  /** The pool of connections, a fresh one if the last has been idle for too long. By the wall clock, which no freeze stops. */
  private connection(url: URL): http.Agent {
    const now = Date.now();
    const idle = now - this.lastUsed;
    this.lastUsed = now;
    if (idle > TRUST_IDLE_FOR || idle < 0) this.closeIdle();
    return (this.agent ??= new (url.protocol === "https:" ? https : http).Agent({ keepAlive: true }));
  }

  /** Makes the next request use a fresh connection. Requests on their way go on. */
  private closeIdle(): void {
    const { agent } = this;
    if (agent === undefined) return;
    this.agent = undefined;
    agent.maxFreeSockets = 0;
    for (const sockets of Object.values(agent.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }
}

/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html */
const SIGNATURE_REFUSED = /"__type":\s*"[^"]*(InvalidSignatureException|RequestExpired)"/;

interface Response {
  status: number;
  date: string | undefined;
  text: string;
}

function send(url: URL, headers: Record<string, string>, body: string, agent: http.Agent, signal: AbortSignal): Promise<Response> {
  return new Promise((resolve, reject) => {
    const options = { method: "POST", headers: { ...headers, "content-length": Buffer.byteLength(body) }, agent, signal };
    const request = (url.protocol === "https:" ? https : http).request(url, options, (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length > MAX_ANSWER_BYTES) request.destroy(new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`));
        else chunks.push(chunk);
      });
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode = 0, headers: got } = response;
        resolve({ status: statusCode, date: got.date, text: Buffer.concat(chunks).toString("utf8") });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

/**
 * A Region's endpoint (https://docs.aws.amazon.com/general/latest/gr/ddb.html). For a partition that is not here it must be
 * configured.
 */
export function regionalEndpoint(region: string, fips: boolean, dualStack: boolean): string {
  const [usual, dual] = region.startsWith("cn-")
    ? ["amazonaws.com.cn", "api.amazonwebservices.com.cn"]
    : region.startsWith("eusc-")
      ? ["amazonaws.eu", "api.amazonwebservices.eu"]
      : ["amazonaws.com", "api.aws"];
  // In us-gov the plain endpoint is the validated one.
  const host = fips && (dualStack || !region.startsWith("us-gov-")) ? "dynamodb-fips" : "dynamodb";
  return `https://${host}.${region}.${dualStack ? dual : usual}/`;
}

/**
 * Says why an answer is no result
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html).
 */
function refusal(status: number, text: string): string {
  let type: unknown;
  let message: unknown;
  try {
    ({ __type: type, message } = JSON.parse(text) as { __type?: unknown; message?: unknown });
  } catch {
    // said below
  }
  if (typeof type !== "string" || type === "") {
    return `HTTP status ${status}, and no error of DynamoDB's: check the endpoint and what is in front of it`;
  }
  const code = type.slice(type.lastIndexOf("#") + 1);
  const said = typeof message === "string" ? message.slice(0, MAX_MESSAGE) : "";
  return `${code} (HTTP status ${status}): ${said}${remedy(code)}`;
}

function remedy(code: string): string {
  switch (code) {
    case "AccessDeniedException":
      return "; check that the function's role allows this action on this table, and that no VPC endpoint's policy forbids it";
    case "ResourceNotFoundException":
      return "; check the table's name in SECRET_BROADCAST_TABLE or SECRET_BROADCAST_REPORTS_TABLE, and the account and Region";
    case "UnrecognizedClientException":
    case "InvalidSignatureException":
    case "IncompleteSignatureException":
    case "MissingAuthenticationTokenException":
    case "ExpiredTokenException":
    case "ExpiredToken":
      return "; check the credentials, the Region and the clock";
    case "ProvisionedThroughputExceededException":
    case "ThrottlingException":
    case "RequestLimitExceeded":
      return "; check the table's capacity mode and limits";
    default:
      return "";
  }
}
