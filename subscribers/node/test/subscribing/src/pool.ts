import { getSecret } from "@bank-platform/secret-broadcast";
import { Pool } from "pg";

const name = "/bank/prod/payments/neon/connection-string";

let current: { connectionString: string; pool: Pool } | undefined;

/** At every use: a pool that your code keeps elsewhere stays with the role it was made with. */
export async function database(): Promise<Pool> {
  const connectionString = String(await getSecret(name, { maxAge: 300 }));
  if (connectionString !== current?.connectionString) {
    void current?.pool.end(); // closes what is idle, and the rest as it comes back
    current = { connectionString, pool: new Pool({ connectionString }) };
  }
  return current.pool;
}
