/** What the ports call a secret that is not there, or has no value. */
export const isNotFound = (error: Error | undefined): boolean => error?.name === "ResourceNotFoundException";

/** What the ports call a secret that is deleted. */
export const isDeleted = (error: Error | undefined): boolean => error?.name === "InvalidRequestException";

/** The log says that the secret is deleted; Secrets Manager still answers with what was before. */
export class DeletedError extends Error {
  override name = "InvalidRequestException"; // as Secrets Manager's own word for it
  constructor(id: string) {
    super(`reading secret ${id}: it is deleted: the log says so, and Secrets Manager still answers with what was before`);
  }
}

/** The version wanted could not be had in time. */
export class LateError extends Error {
  override name = "LateError";
  constructor(id: string) {
    super(`reading secret ${id}: the changed version cannot be fetched yet`);
  }
}

/** The entry was marked while the fetch was on its way. */
export class SupersededError extends Error {
  override name = "SupersededError";
  constructor(id: string) {
    super(`reading secret ${id}: a change was announced while it was fetched, again and again`);
  }
}

/** Whatever was thrown, as an Error. What is none is not quoted: it might be anything. */
export const errorOf = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(`something that is no Error was thrown: a ${typeof thrown}`);

/** An error of the tables, which are never given a secret's value, for the log. */
export const wordOf = (error: unknown): { error: string } => ({ error: error instanceof Error ? error.message : String(error) });
