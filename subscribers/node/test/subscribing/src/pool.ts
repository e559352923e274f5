import { SecretPool } from "@bank-platform/secret-broadcast/pg";

/** pg's Pool in all but how it logs in: make it once, and keep it where you like. */
export const database = new SecretPool({ secret: "/bank/prod/payments/neon/connection-string", maxAge: 300, max: 2 });
