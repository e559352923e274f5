import assert from "node:assert/strict";
import { it } from "node:test";

import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { clearCaches, defaultProvider } from "@bank-platform/secret-broadcast";

import { handler } from "./middy.js";

/** What Secrets Manager answers: without a version's id no onChange is called. */
const version = (id: string, role: string) => ({ VersionId: id, SecretString: `postgres://${role}:x@db/payments` });

it("pays as the role that the secret names", async (t) => {
  const told: string[] = [];
  defaultProvider().onChange("/bank/prod/payments/neon/connection-string", ({ id }) => void told.push(id));
  const send = t.mock.method(SecretsManagerClient.prototype, "send", async () => version("1", "app_a"));
  assert.equal((await handler({ id: "1" }, {} as never)).as, "app_a");

  send.mock.mockImplementation(async () => version("2", "app_b")); // rotated
  clearCaches(); // in a function, the log does this
  assert.equal((await handler({ id: "2" }, {} as never)).as, "app_b");
  assert.deepEqual(told, ["2"]);
});
