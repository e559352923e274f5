import assert from "node:assert/strict";
import { after, before, beforeEach, describe, mock, test } from "node:test";

import { PutSecretValueCommand } from "@aws-sdk/client-secrets-manager";
import { PrismaPg } from "@prisma/adapter-pg";
import { Client, type PoolClient } from "pg";

import { defaultProvider } from "../src/index.js";
import { SecretPool } from "../src/pg.js";
import { failure } from "./support/expect.js";
import { World } from "./support/world.js";

const SERVER = process.env["POSTGRES_URL"];
const url = (role: string, password: string): string => Object.assign(new URL(SERVER as string), { username: role, password }).href;

/** Queries of which there are always more than connections, until it is stopped. */
class Load {
  readonly errors: unknown[] = [];
  readonly roles = new Map<string, number>();
  private stopped = false;
  private readonly workers: Promise<void>[];

  constructor(
    private readonly pool: SecretPool,
    private readonly query = async () => ((await pool.query("select current_user as role from pg_sleep(0.005)")).rows[0] as { role: string }).role,
  ) {
    this.workers = Array.from({ length: 12 }, (_, i) => this.work(i));
  }

  private async work(i: number): Promise<void> {
    while (!this.stopped) {
      try {
        const role = i % 3 === 0 ? await this.transaction() : await this.query();
        this.roles.set(role, (this.roles.get(role) ?? 0) + 1);
      } catch (error) {
        this.errors.push(error);
      }
    }
  }

  private async transaction(): Promise<string> {
    const client = await this.pool.connect();
    try {
      await client.query("begin");
      const { rows } = await client.query("select current_user as role from pg_sleep(0.01)");
      await client.query("commit");
      return (rows as [{ role: string }])[0].role;
    } finally {
      client.release();
    }
  }

  /** Waits until so many more queries have been answered, as this role. */
  async answered(n: number, role: string): Promise<void> {
    const before = this.roles.get(role) ?? 0;
    for (const began = performance.now(); (this.roles.get(role) ?? 0) < before + n; ) {
      assert.deepEqual(this.errors, []);
      assert.ok(performance.now() - began < 20_000, `queries are answered as ${role}: ${JSON.stringify([...this.roles])}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.workers);
    assert.deepEqual(this.errors, []);
  }
}

describe("SecretPool", () => {
  let world: World;
  let admin: Client;
  let pool: SecretPool;
  const open = async (secret: string, value: string, more: object = {}): Promise<void> => {
    await world.create(secret, value);
    pool = new SecretPool({ secret, maxAge: 300, max: 3, ...more });
  };
  const scalar = async (query: string): Promise<unknown> => (await admin.query({ text: query, rowMode: "array" })).rows[0]?.[0];

  before(async () => {
    if (SERVER === undefined) throw new Error("POSTGRES_URL names no PostgreSQL server: run this inside test/tools/with-postgres.sh, as make test does");
    world = await World.open("local");
    admin = new Client(SERVER);
    await admin.connect();
    for (const role of ["node_a", "node_b", "node_single", "node_idle", "node_json"]) {
      await admin.query(`drop role if exists ${role}`); // of the run on another version of Node
      await admin.query(`create role ${role} login password 'first'`);
    }
  });
  after(async () => {
    await admin.end();
    await world.close();
  });
  beforeEach(() => world.configure());

  test("two roles that alternate: under load no query fails or waits for ever, and the old role's connections are closed", async () => {
    const secret = "/bank/test/payments/pg/alternating";
    await open(secret, url("node_a", "first"));
    const load = new Load(pool);
    await load.answered(30, "node_a");
    await world.change(secret, url("node_b", "first"));
    await load.answered(60, "node_b");
    await admin.query("alter role node_a password 'next'"); // what a connection of the old role would fail with from now on
    await load.answered(60, "node_b");
    assert.equal(await scalar("select count(*)::int from pg_stat_activity where usename = 'node_a'"), 0);
    const old = load.roles.get("node_a");
    await load.answered(60, "node_b");
    assert.equal(load.roles.get("node_a"), old);
    await load.stop();
    await pool.end();
  });

  test("Prisma's adapter is given the pool: the same", async () => {
    const secret = "/bank/test/payments/pg/prisma";
    await open(secret, url("node_b", "first"));
    const adapter = await new PrismaPg(pool).connect();
    const sql = "select current_user::text as role from pg_sleep(0.005)";
    const load = new Load(pool, async () => String((await adapter.queryRaw({ sql, args: [], argTypes: [] })).rows[0]?.[0]));
    await load.answered(30, "node_b");
    await admin.query("alter role node_a password 'prisma'");
    await world.change(secret, url("node_a", "prisma"));
    await load.answered(60, "node_a");
    const transaction = await adapter.startTransaction();
    assert.deepEqual((await transaction.queryRaw({ sql, args: [], argTypes: [] })).rows, [["node_a"]]);
    await transaction.executeRaw({ sql: "commit", args: [], argTypes: [] });
    await transaction.commit();
    await load.stop();
    await adapter.dispose(); // which leaves the pool to who made it
    assert.equal((await pool.query("select 1 as one")).rows[0].one, 1);
    await pool.end();
  });

  test("one role: from the moment its password changes no query fails, and the old one is not tried again once the new one is known", async () => {
    const secret = "/bank/test/payments/pg/single";
    await open(secret, url("node_single", "first"), { maxUses: 5 }); // so that there are new connections all the time
    let refused = 0;
    const { connect } = Client.prototype as unknown as { connect: (callback: (error?: { code?: string }) => void) => void };
    const logins = mock.method(Client.prototype, "connect", function (this: Client, callback: (error?: { code?: string }) => void) {
      return connect.call(this, (error) => {
        if (error?.code === "28P01") refused++;
        callback(error);
      });
    });
    const warn = mock.method(console, "warn", () => {});
    try {
      const load = new Load(pool);
      await load.answered(30, "node_single");
      await world.admin.send(new PutSecretValueCommand({ SecretId: secret, SecretString: url("node_single", "second"), VersionStages: ["AWSPENDING"] }));
      await admin.query("alter role node_single password 'second'"); // setSecret
      await load.answered(120, "node_single");
      const [tried, made] = [refused, logins.mock.callCount()];
      assert.ok(tried > 0);
      await world.change(secret, url("node_single", "second")); // finishSecret
      await load.answered(120, "node_single");
      await load.stop();
      assert.ok(logins.mock.callCount() > made + 20);
      assert.equal(refused, tried);
      assert.equal(warn.mock.callCount(), 1);
      await pool.end();
    } finally {
      logins.mock.restore();
      warn.mock.restore();
    }
  });

  test("a connection in use is not cut; it is closed when it comes back", async () => {
    const secret = "/bank/test/payments/pg/held";
    await admin.query("alter role node_a password 'held'");
    await open(secret, url("node_a", "held"));
    const held = await pool.connect();
    await world.change(secret, url("node_b", "first"));
    await defaultProvider().get(secret, { forceFetch: true });
    const role = async (client: PoolClient): Promise<unknown> => (await client.query("select current_user as role")).rows[0].role;
    const next = await pool.connect();
    assert.deepEqual([await role(held), await role(next)], ["node_a", "node_b"]);
    held.release();
    next.release();
    for (let i = 0; i < 3; i++) assert.equal((await pool.query("select current_user as role")).rows[0].role, "node_b");
    await pool.end();
  });

  test("an idle connection that the server cuts ends nothing", async () => {
    const secret = "/bank/test/payments/pg/idle";
    await open(secret, url("node_idle", "first"));
    await pool.query("select 1");
    const cut = new Promise((resolve) => pool.once("remove", resolve));
    await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'node_idle'");
    await cut;
    assert.equal((await pool.query("select 1 as one")).rows[0].one, 1);
    await pool.end();
  });

  test("login makes the connection of a part of the secret; a callback works as with pg's own; an error is pg's own", async () => {
    const secret = "/bank/test/payments/pg/json";
    const { hostname, port, pathname } = new URL(SERVER as string);
    const login = (value: string) => ({ host: hostname, port: Number(port), database: pathname.slice(1), ...(JSON.parse(value) as object) });
    await open(secret, '{"user":"node_json","password":"first"}', { login });
    const role = await new Promise<unknown>((resolve, reject) => {
      pool.connect((error, client, done) => {
        if (client === undefined) return reject(error);
        client.query("select current_user as role").then(({ rows }) => resolve(rows[0].role), reject).finally(done);
      });
    });
    assert.equal(role, "node_json");
    await world.change(secret, '{"user":"node_json","password":"wrong"}');
    await defaultProvider().get(secret, { forceFetch: true });
    const refused = (await failure(pool.query("select 1"))) as Error & { code?: string };
    assert.equal(refused.code, "28P01");
    assert.ok(!refused.message.includes("wrong"));
    const byCallback = await new Promise<Error | undefined>((resolve) => pool.connect((error) => resolve(error)));
    assert.equal((byCallback as { code?: string }).code, "28P01");
    await world.change(secret, '{"user":"node_json","password":"first"}');
    await defaultProvider().get(secret, { forceFetch: true });
    assert.equal((await pool.query("select 1 as one")).rows[0].one, 1);
    await pool.end();
    assert.match((await failure(pool.query("select 1"))).message, /after calling end/);
  });
});
