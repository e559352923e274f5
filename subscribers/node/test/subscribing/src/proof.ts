import { defaultProvider } from "@bank-platform/secret-broadcast";
import { Client } from "pg";

const name = "/bank/prod/payments/neon/connection-string";

defaultProvider().onChange(name, async ({ value }) => {
  const client = new Client({ connectionString: String(value), connectionTimeoutMillis: 1000 });
  await client.connect(); // what it throws is in the ack, which pages somebody
  await client.end();
});
