import assert from "node:assert/strict";
import { it } from "node:test";

import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { clearCaches } from "@bank-platform/secret-broadcast";

import { handler } from "./middy.js";

it("pays as the role that the secret names", async (t) => {
  const send = t.mock.method(SecretsManagerClient.prototype, "send", async () => ({ SecretString: "postgres://app_a:x@db/payments" }));
  assert.equal((await handler({ id: "1" }, {} as never)).as, "app_a");

  send.mock.mockImplementation(async () => ({ SecretString: "postgres://app_b:y@db/payments" })); // rotated
  clearCaches(); // in a function, the log does this
  assert.equal((await handler({ id: "2" }, {} as never)).as, "app_b");
});
