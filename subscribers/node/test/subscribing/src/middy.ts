import { getSecret, invalidation } from "@bank-platform/secret-broadcast";
import middy from "@middy/core";

import { pay, type Order } from "./orders.js";

export const handler = middy(async (order: Order) => {
  const connectionString = await getSecret("/bank/prod/payments/neon/connection-string", { maxAge: 300 });
  return pay(order, String(connectionString));
}).use(invalidation()); // first of all: an invalidation is no order, and ends here
