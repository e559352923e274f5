import { InvalidatingSecretsProvider, withInvalidation } from "@bank-platform/secret-broadcast";

import { pay, type Order } from "./orders.js";

const secrets = new InvalidatingSecretsProvider(); // as Powertools' SecretsProvider: same options, results and errors

export const handler = withInvalidation(async (order: Order) => {
  const connectionString = await secrets.get("/bank/prod/payments/neon/connection-string", { maxAge: 300 }); // at every use
  return pay(order, String(connectionString));
});
