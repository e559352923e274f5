import { Client, type ClientBase, type ClientConfig, Pool, type PoolClient, type PoolConfig } from "pg";

import { defaultProvider, type InvalidatingSecretsProvider } from "./provider.js";

/** How PostgreSQL says that it refuses a login (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
const REFUSED = ["28P01", "28000"];

export interface SecretPoolConfig extends Omit<PoolConfig, "Client" | "connectionString" | "password" | "user"> {
  /** The name or ARN of the secret to log in with. */
  secret: string;
  /** As in get. */
  maxAge?: number;
  /** What of the secret a connection is made with; the whole of it as connection string if absent. */
  login?: (value: string) => ClientConfig;
  /** The default provider if absent. */
  provider?: InvalidatingSecretsProvider;
}

/** One version of the secret, as a connection is made with it. */
interface Login {
  readonly id: string;
  readonly config: ClientConfig;
}

type Connected = (error: Error | undefined, client: PoolClient | undefined, done: (release?: any) => void) => void;

/**
 * pg's Pool that logs in with a secret. A new connection uses the version that is current then; one that was made with
 * another version is closed instead of being handed out again, and nobody who waits or has a connection notices. While the
 * database refuses the current version, the log, AWSCURRENT and AWSPENDING are asked as by try.
 */
export class SecretPool extends Pool {
  /** What new connections are made with. */
  private newest: Login | undefined;
  /** The version that was refused last. */
  private refused = "";
  private readonly versions: WeakMap<ClientBase, string>;

  constructor(private readonly of: SecretPoolConfig) {
    const { secret: _secret, maxAge: _maxAge, login: _login, provider: _provider, ...rest } = of;
    const versions = new WeakMap<ClientBase, string>();
    let pool: SecretPool | undefined;
    /** As the pool makes and connects it: with a callback. */
    class SecretClient extends Client {
      constructor(config?: ClientConfig) {
        super({ ...config, ...pool?.newest?.config });
        versions.set(this, pool?.newest?.id ?? "");
      }

      override connect(...[callback]: any[]): any {
        return super.connect((error: Error) => {
          if (isRefusal(error)) pool?.noteRefusal(versions.get(this));
          callback(error);
        });
      }
    }
    super({ ...rest, Client: SecretClient });
    pool = this;
    this.versions = versions;
    this.on("error", () => {}); // an idle connection was cut; the pool has dropped it, and without this the process would end
  }

  override connect(): Promise<PoolClient>;
  override connect(callback: Connected): void;
  override connect(callback?: Connected): Promise<PoolClient> | void {
    const connected = this.connected();
    if (callback === undefined) return connected;
    connected.then(
      (client) => callback(undefined, client, client.release.bind(client)),
      (error: Error) => callback(error, undefined, () => {}),
    );
  }

  private async connected(): Promise<PoolClient> {
    const { secret, maxAge, provider = defaultProvider() } = this.of;
    let failure: { error: unknown } | undefined;
    try {
      return await provider.try<PoolClient, string>(
        secret,
        async (value, { id }) => {
          try {
            return await this.acquire(id, value);
          } catch (error) {
            failure = { error };
            throw error;
          }
        },
        { pending: true, rejectedIf: isRefusal, ...(maxAge === undefined ? {} : { maxAge }) },
      );
    } catch (error) {
      throw failure === undefined ? error : failure.error; // pg's own, as Pool's connect has it
    }
  }

  /** Waits for a connection of this version, or of a newer one that another has brought meanwhile. */
  private async acquire(id: string, value: string): Promise<PoolClient> {
    if (id !== this.newest?.id && id !== this.refused) this.newest = { id, config: this.configOf(value) };
    for (;;) {
      const client = await super.connect();
      if (this.versions.get(client) === this.newest?.id) return client;
      client.release(true); // closes it
    }
  }

  private noteRefusal(id = ""): void {
    this.refused = id;
  }

  private configOf(value: string): ClientConfig {
    return this.of.login?.(value) ?? { connectionString: value };
  }
}

const isRefusal = (error: unknown): boolean => REFUSED.includes((error as { code?: string } | undefined)?.code ?? "");
