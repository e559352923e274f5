/** An order, and what the team makes of it: this is where a database would be. */
export interface Order {
  id: string;
}

/** The role that a connection string logs in as tells the versions of the secret apart, and is no secret. */
export async function pay(order: Order, connectionString: string): Promise<{ order: string; as: string }> {
  return { order: order.id, as: new URL(connectionString).username };
}
