import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";

import { GetParameterError, ParameterNotFoundError, TransformParameterError } from "@aws-lambda-powertools/parameters/errors";
import { SecretsProvider } from "@aws-lambda-powertools/parameters/secrets";
import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

import { clearCaches, getSecret, InvalidatingSecretsProvider } from "../src/provider.js";
import { failure } from "./support/expect.js";
import { World, WORLDS } from "./support/world.js";

const NAME = "/bank/test/payments/neon/password";
const JSON_NAME = "/bank/test/payments/neon/connection.json";
const BINARY = "/bank/test/payments/keys/binary";
const BASE64 = "/bank/test/payments/keys/base64.binary";
const GET = "GetSecretValue";

for (const kind of WORLDS) {
  describe(`at ${kind}`, () => {
    let world: World;
    before(async () => {
      world = await World.open(kind);
      await world.create(NAME, "first");
      await world.create(JSON_NAME, '{"user":"app","password":"first"}');
      await world.create(BINARY, new Uint8Array([0, 1, 2, 255]));
      await world.create(BASE64, Buffer.from("first").toString("base64"));
    });
    after(() => world.close());

    // The same assertions, of Powertools' own provider and of ours, with the log and without.
    for (const [what, Provider, more] of [
      ["plain Powertools", SecretsProvider, {}],
      ["ours", InvalidatingSecretsProvider, {}],
      ["ours without a log", InvalidatingSecretsProvider, { SECRET_BROADCAST_TABLE: undefined }],
    ] as const) {
      const fresh = (): SecretsProvider => {
        world.configure(more);
        return new Provider();
      };

      test(`${what}: values and transforms`, async () => {
        const provider = fresh();
        assert.equal(await provider.get(NAME), "first");
        assert.deepEqual(await provider.get(JSON_NAME, { transform: "json" }), { user: "app", password: "first" });
        assert.equal(await provider.get(JSON_NAME), '{"user":"app","password":"first"}');
        assert.deepEqual(await provider.get(BINARY), new Uint8Array([0, 1, 2, 255]));
        assert.equal(await provider.get(BASE64, { transform: "binary" }), "first");
        assert.deepEqual(await provider.get(JSON_NAME, { transform: "auto" as never }), { user: "app", password: "first" });
        assert.equal(await provider.get(BASE64, { transform: "auto" as never }), "first");
        assert.equal(await provider.get(NAME, { transform: "auto" as never }), "first");
      });

      test(`${what}: a value is kept for maxAge, and what was made of it too`, async () => {
        const provider = fresh();
        await provider.get(JSON_NAME, { transform: "json", maxAge: 60 });
        const count = world.meter.count(GET);
        const a = await provider.get(JSON_NAME, { transform: "json", maxAge: 60 });
        assert.equal(await provider.get(JSON_NAME, { transform: "json", maxAge: 60 }), a);
        assert.equal(world.meter.count(GET), count);
        for (const maxAge of [0, 0, null as never, null as never]) await provider.get(NAME, { maxAge });
        assert.equal(world.meter.count(GET), count + 4);
        for (const maxAge of [NaN, NaN]) await provider.get(BASE64, { maxAge }); // never ends, whatever was meant
        assert.equal(world.meter.count(GET), count + 5);
      });

      test(`${what}: a subclass's _get makes what is served, and what it made is kept`, async () => {
        fresh();
        const made: string[] = [];
        class Own extends (Provider as typeof SecretsProvider) {
          protected override async _get(name: string, options?: never): Promise<string | Uint8Array | undefined> {
            made.push(name);
            if (name === "elsewhere") return "another store's";
            return `made of ${(await super._get(name.replace("alias", NAME), options)) as string}`;
          }

          protected override async _getMultiple(path: string): Promise<Record<string, unknown> | undefined> {
            made.push(path);
            return {};
          }
        }
        const own = new Own();
        const other = new Provider();
        for (let i = 0; i < 2; i++) {
          assert.equal(await own.get(NAME, { maxAge: 60 }), "made of first");
          assert.equal(await own.get(NAME, { maxAge: 60, transform: "auto" as never }), "made of first");
          assert.equal(await own.get("alias", { maxAge: 60 }), "made of first");
          assert.equal(await own.get("elsewhere", { maxAge: 60 }), "another store's");
          assert.equal(await other.get(NAME, { maxAge: 60 }), "first");
        }
        assert.deepEqual([...new Set(made)], [NAME, "alias", "elsewhere"]);
        for (const name of [NAME, "elsewhere"]) assert.ok(made.filter((one) => one === name).length <= 2, String(made));
        assert.equal(await own.getMultiple("/some/path"), undefined);
        assert.equal(made.at(-1), "/some/path");
      });

      test(`${what}: sdkOptions that are null are none`, async () => {
        const provider = fresh();
        for (let i = 0; i < 2; i++) assert.equal(await provider.get(NAME, { maxAge: 60, sdkOptions: null as never }), "first");
        assert.equal(world.meter.count(GET), 1);
      });

      test(`${what}: no name, with throwOnMissing, is the same class of error`, async () => {
        const error = await failure(fresh().get(undefined as never, { throwOnMissing: true }));
        assert.equal(error.constructor, ParameterNotFoundError);
      });

      test(`${what}: where the log is not followed a provider is served nothing that another fetched before it asked`, async () => {
        const outside = "other/read-by-two";
        const inside = "/bank/test/payments/neon/read-by-two";
        for (const name of [outside, inside]) await world.create(name, "first").catch(() => world.changeSilently(name, "first"));
        const followed = Provider === InvalidatingSecretsProvider && !("SECRET_BROADCAST_TABLE" in more);
        for (const [mode, names] of [["on", followed ? [outside] : [outside, inside]], ["observe", [outside, inside]]] as const) {
          if (mode === "observe" && !followed) continue;
          world.configure({ ...more, SECRET_BROADCAST_MODE: followed ? mode : undefined });
          const [a, b] = [new Provider(), new Provider()];
          for (const name of names) {
            await world.changeSilently(name, "first");
            assert.equal(await a.get(name, { maxAge: 300 }), "first");
            await world.changeSilently(name, "second");
            assert.equal(await a.get(name, { maxAge: 300 }), "first", name);
            assert.equal(await b.get(name, { maxAge: 300 }), "second", name);
            const count = world.meter.count(GET);
            assert.equal(await b.get(name, { maxAge: 300 }), "second");
            assert.equal(world.meter.count(GET), count, "it is cached for b");
            const reads = Array.from({ length: 8 }, () => b.get(`${name}-none`, { maxAge: 300 }).catch(() => undefined));
            assert.deepEqual(new Set(await Promise.all(reads)), new Set([undefined]));
          }
        }
      });

      test(`${what}: POWERTOOLS_PARAMETERS_MAX_AGE`, async () => {
        const provider = fresh();
        process.env["POWERTOOLS_PARAMETERS_MAX_AGE"] = "0";
        await provider.get(NAME);
        await provider.get(NAME);
        assert.equal(world.meter.count(GET), 2);
        process.env["POWERTOOLS_PARAMETERS_MAX_AGE"] = "60";
        await provider.get(NAME);
        await provider.get(NAME);
        assert.ok(world.meter.count(GET) <= 3);
        process.env["POWERTOOLS_PARAMETERS_MAX_AGE"] = "soon";
        const error = await failure(provider.get(NAME));
        assert.ok(error instanceof TypeError && error.message.includes("POWERTOOLS_PARAMETERS_MAX_AGE"), String(error));
      });

      test(`${what}: forceFetch asks again`, async () => {
        const provider = fresh();
        await provider.get(NAME, { maxAge: 60 });
        await provider.get(NAME, { maxAge: 60, forceFetch: true });
        assert.equal(world.meter.count(GET), 2);
      });

      test(`${what}: what is missing`, async () => {
        const provider = fresh();
        const error = await failure(provider.get("/bank/test/payments/none"));
        assert.ok(error instanceof GetParameterError && !(error instanceof ParameterNotFoundError));
        assert.equal((error.cause as Error).name, "ResourceNotFoundException");
        assert.equal(error.message, (error.cause as Error).message);
        const missing = await failure(provider.get("/bank/test/payments/none", { throwOnMissing: true }));
        assert.ok(missing instanceof ParameterNotFoundError);
        assert.equal(missing.message, "Parameter /bank/test/payments/none not found in the store");
        assert.equal(await provider.get(NAME, { throwOnMissing: true }), "first");
      });

      test(`${what}: a transform that fails`, async () => {
        const provider = fresh();
        const error = await failure(provider.get(NAME, { transform: "json" }));
        assert.ok(error instanceof TransformParameterError);
        assert.ok(error.message.startsWith("Unable to transform value using 'json' transform: "), error.message);
        assert.equal(error.message.includes("first"), Provider === SecretsProvider, error.message);
        assert.equal(await provider.get(NAME), "first");
      });

      test(`${what}: an error of Secrets Manager`, async () => {
        const provider = fresh();
        world.meter.fault = async (operation) =>
          operation === GET ? { status: 400, body: '{"__type":"AccessDeniedException","Message":"not for you"}' } : undefined;
        const error = await failure(provider.get(NAME));
        assert.ok(error instanceof GetParameterError);
        assert.equal((error.cause as Error).name, "AccessDeniedException");
        assert.equal(error.message, "not for you");
        world.meter.fault = async (operation) =>
          operation === GET ? { status: 400, body: '{"__type":"InvalidRequestException","Message":"not like that"}' } : undefined;
        const other = await failure(provider.get(NAME));
        assert.equal((other.cause as Error).name, "InvalidRequestException");
        assert.equal(other.message, "not like that");
      });

      test(`${what}: getMultiple is not supported`, async () => {
        const error = await failure(fresh().getMultiple("/bank/test/payments"));
        assert.ok(error instanceof GetParameterError);
        assert.equal(error.message, "Method not implemented.");
      });

      test(`${what}: clearCache, and a client or its configuration of one's own`, async () => {
        fresh();
        const { credentials } = world;
        const client = new SecretsManagerClient({ endpoint: world.meter.url, region: "eu-west-2", credentials });
        const clientConfig = { endpoint: world.meter.url, region: "eu-west-2", credentials };
        for (const provider of [new Provider({ awsSdkV3Client: client }), new Provider({ clientConfig })]) {
          const count = world.meter.count(GET);
          for (let i = 0; i < 2; i++) assert.equal(await provider.get(NAME, { maxAge: 60 }), "first");
          assert.equal(world.meter.count(GET), count + 1);
          provider.clearCache();
          assert.equal(await provider.get(NAME, { maxAge: 60 }), "first");
          assert.equal(world.meter.count(GET), count + 2);
        }
        assert.equal(new Provider({ awsSdkV3Client: client }).client, client);
        client.destroy();
      });
    }

    test("a read of a version or of another label has the TTL only, under a key of its own", async () => {
      world.configure();
      const provider = new InvalidatingSecretsProvider();
      const name = "/bank/test/payments/neon/pinned";
      await world.create(name, "first");
      await world.change(name, "second");
      assert.equal(await provider.get(name, { maxAge: 60 }), "second");
      const previous = { sdkOptions: { VersionStage: "AWSPREVIOUS" }, maxAge: 60 };
      assert.equal(await provider.get(name, previous), "first");
      const count = world.meter.count(GET);
      assert.equal(await provider.get(name, previous), "first");
      assert.equal(await provider.get(name, { sdkOptions: { VersionStage: "AWSCURRENT" }, maxAge: 60 }), "second");
      assert.equal(world.meter.count(GET), count);
      await provider.get(name, { ...previous, forceFetch: true });
      assert.equal(world.meter.count(GET), count + 1);
      provider.clearCache();
      await provider.get(name, previous);
      assert.equal(world.meter.count(GET), count + 2);
      const missing = await failure(provider.get(name, { sdkOptions: { VersionStage: "NOSUCHLABEL" }, throwOnMissing: true }));
      assert.ok(missing instanceof ParameterNotFoundError, String(missing));
    });

    test("what prints a provider shows no value, and a pinned version is dropped when its time is over", async (t) => {
      world.configure();
      const provider = new InvalidatingSecretsProvider();
      const name = "/bank/test/payments/neon/printed";
      await world.create(name, "canary-1");
      await world.change(name, "canary-2");
      const previous = { sdkOptions: { VersionStage: "AWSPREVIOUS" }, maxAge: 60 };
      assert.equal(await provider.get(name, previous), "canary-1");
      assert.equal(await provider.get(name, { maxAge: 60 }), "canary-2");
      const all = { depth: Infinity, showHidden: true, getters: true, maxArrayLength: Infinity, maxStringLength: Infinity };
      for (const text of [inspect(provider), inspect(provider, all)]) assert.ok(!text.includes("canary"));
      t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 61_000 });
      const count = world.meter.count(GET);
      assert.equal(await provider.get(name, previous), "canary-1");
      assert.equal(world.meter.count(GET), count + 1);
    });

    test("what is no name is a clear error", async () => {
      world.configure();
      const provider = new InvalidatingSecretsProvider();
      for (const [name, found] of [[undefined, "undefined"], [null, "null"], ["", "an empty string"], [{}, "object"]] as const) {
        const remedy = `needs the secret's name or ARN, not ${found}: look where the name comes from`;
        const pinned = { sdkOptions: { VersionStage: "AWSPREVIOUS" } };
        for (const options of [undefined, { throwOnMissing: true }, pinned]) {
          const error = await failure(provider.get(name as never, options));
          assert.ok(error instanceof GetParameterError && error.message.startsWith(`get ${remedy}`), error.message);
        }
        assert.match((await failure(provider.try(name as never, () => {}))).message, new RegExp(`^try ${remedy}`));
        assert.throws(() => provider.onChange(name as never, () => {}), new RegExp(`onChange ${remedy}`));
      }
      assert.equal(world.meter.count(GET), 0);
    });

    test("a change in the log is served at the next check; transforms, name, ARN and partial ARN go together", async () => {
      world.configure();
      const provider = new InvalidatingSecretsProvider();
      const name = "/bank/test/payments/neon/rotated";
      await world.create(name, '{"password":"first"}');
      const arn = await world.arn(name);
      const ids = [name, arn, arn.slice(0, -7)];
      for (const id of ids) {
        assert.deepEqual(await provider.get(id, { transform: "json", maxAge: 300 }), { password: "first" });
        assert.equal(await provider.get(id, { maxAge: 300 }), '{"password":"first"}');
      }
      const told: unknown[] = [];
      provider.onChange(arn, ({ value }) => void told.push(value));
      await world.change(name, '{"password":"second"}');
      await sleep(510); // the check grows old: what is served after that has a newer one behind it
      const count = world.meter.count(GET);
      for (const id of ids) {
        assert.deepEqual(await provider.get(id, { transform: "json", maxAge: 300 }), { password: "second" });
        assert.equal(await provider.get(id, { maxAge: 300 }), '{"password":"second"}');
      }
      assert.equal(world.meter.count(GET), count + 1);
      assert.deepEqual(told, ['{"password":"second"}']);
      await world.delete(name);
      await sleep(510);
      const deleted = await failure(provider.get(name, { maxAge: 300 }));
      assert.ok(deleted instanceof GetParameterError);
      assert.equal((deleted.cause as Error).name, "InvalidRequestException");
      await world.restore(name);
      await sleep(510);
      assert.deepEqual(await provider.get(name, { transform: "json", maxAge: 300 }), { password: "second" });
    });

    test("getSecret and clearCaches use the default provider; names outside the domain have the TTL only", async () => {
      world.configure();
      await world.create("other/api-key", "first");
      assert.equal(await getSecret("other/api-key", { maxAge: 300 }), "first");
      assert.equal(world.meter.count("Query"), 0);
      await world.changeSilently("other/api-key", "second");
      assert.equal(await getSecret("other/api-key", { maxAge: 300 }), "first");
      clearCaches();
      assert.equal(await getSecret("other/api-key", { maxAge: 300 }), "second");
    });

    test("try finds the newer value, transformed, when the one before is rejected", async () => {
      world.configure();
      const provider = new InvalidatingSecretsProvider();
      const name = "/bank/test/payments/neon/tried";
      await world.create(name, '{"password":"first"}');
      await provider.get(name, { maxAge: 300 });
      await world.changeSilently(name, '{"password":"second"}');
      const tried: unknown[] = [];
      const got = await provider.try<string, { password: string }>(
        name,
        ({ password }) => {
          tried.push(password);
          if (password === "first") throw Object.assign(new Error("authentication failed"), { code: "28P01" });
          return "connected";
        },
        { transform: "json", maxAge: 300, rejectedIf: (error) => (error as { code?: string }).code === "28P01" },
      );
      assert.equal(got, "connected");
      assert.deepEqual(tried, ["first", "second"]);
    });

    test("32 cold reads: plain Powertools makes 32 calls, ours one", async () => {
      for (const [Provider, want] of [[SecretsProvider, 32], [InvalidatingSecretsProvider, 1]] as const) {
        world.configure();
        const provider = new Provider();
        const values = await Promise.all(Array.from({ length: 32 }, () => provider.get(NAME, { maxAge: 60 })));
        assert.deepEqual(new Set(values), new Set(["first"]));
        assert.equal(world.meter.count(GET), want);
      }
    });

    test("a fetch in flight while the cache is cleared: plain Powertools keeps the old value, ours does not", async () => {
      for (const [Provider, want] of [[SecretsProvider, "old"], [InvalidatingSecretsProvider, "new"]] as const) {
        world.configure();
        const name = `/bank/test/payments/race/${want}`;
        await world.create(name, "old");
        const provider = new Provider();
        const held = world.meter.holdNext(GET);
        const reading = provider.get(name, { maxAge: 60 });
        await held.arrived;
        await world.changeSilently(name, "new");
        provider.clearCache();
        held.open();
        await reading;
        assert.equal(await provider.get(name, { maxAge: 60 }), want);
      }
    });
  });
}
