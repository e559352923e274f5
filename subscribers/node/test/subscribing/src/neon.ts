import { defaultProvider, getSecret } from "@bank-platform/secret-broadcast";
import { neon, NeonDbError } from "@neondatabase/serverless";

const name = "/bank/prod/payments/neon/connection-string";

/** Neon's driver logs in with each query, so there is nothing to drop: read the secret where you query. */
export async function balance(account: string): Promise<number> {
  const sql = neon(String(await getSecret(name, { maxAge: 300 })));
  const [row] = await sql`select balance from accounts where id = ${account}`;
  return Number(row?.["balance"]);
}

/** Also in the seconds of a rotation in which the database has the new password and AWSCURRENT still names the old one. */
export function transfer(from: string, amount: number): Promise<void> {
  return defaultProvider().try(
    name,
    async (connectionString) => {
      await neon(connectionString)`update accounts set balance = balance - ${amount} where id = ${from}`;
    },
    { maxAge: 300, pending: true, rejectedIf: isRefused },
  );
}

/** It is Neon's proxy that refuses a password, not the database: in words only, without a code. */
function isRefused(error: unknown): boolean {
  return error instanceof NeonDbError && !error.code && error.message.startsWith("password authentication failed");
}
