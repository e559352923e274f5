import { defaultProvider, getSecret } from "@bank-platform/secret-broadcast";
import { neon } from "@neondatabase/serverless";

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
    { maxAge: 300, pending: true, rejectedIf: (error) => (error as { code?: string }).code === "28P01" },
  );
}
