import { getSecret } from "@aws-lambda-powertools/parameters/secrets";

import { pay, type Order } from "./orders.js";

export const handler = async (order: Order) => {
  const connectionString = await getSecret("/bank/prod/payments/neon/connection-string", { maxAge: 300 });
  return pay(order, String(connectionString));
};
