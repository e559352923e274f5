import type { Change } from "./wire.js";
import type { Entry, State } from "./state.js";

// A name is looked up in the client's own account, an ARN names any. So before a name and an ARN are taken for one secret
// it must be known whose account the ARN is of; and the log speaks of the own account only. Which one that is is told by
// the first answer to a name: until then an ARN that follows the log is asked for by the name in it first, which costs
// nothing if it is one's own.

/** Is told the ARN of a secret that was asked for by its name. */
export function learnAccount(state: State, arn: string): void {
  if (state.account !== "") return;
  state.account = accountOf(arn);
  if (state.account === "") return;
  for (const [id, entry] of [...state.entries]) {
    if (entry.name !== "" || entry.alias !== undefined) continue;
    if (!state.isOwn(id)) {
      state.entries.delete(id);
      replace(entry, state.entryFor(id)); // which the log does not speak of
    } else if (entry.held !== undefined) {
      resolve(state, entry, entry.held.name, entry.held.arn);
    }
  }
}

/** Has the entry by name take the place of an ARN's, if that is of the own account, and returns the entry that has it. */
export function resolve(state: State, entry: Entry, name: string, arn: string): Entry {
  if (entry.name !== "" || !state.isOwn(arn)) return entry;
  const byName = state.entryFor(name);
  replace(entry, byName);
  return byName;
}

/** Has everything that is of one entry be of another. */
function replace(entry: Entry, by: Entry): void {
  by.onChange.push(...entry.onChange);
  entry.onChange = [];
  by.ttl = Math.max(by.ttl, entry.ttl);
  if (by.lastId === "") {
    const { held, fresh, lastId, verified, refused } = entry; // else onChange would not be told of the next
    Object.assign(by, { held, fresh, lastId, verified, refused });
  }
  entry.alias = by;
  entry.fresh = undefined;
  entry.held = undefined;
  entry.fetch = undefined;
  entry.generation++;
}

/** Marks what was asked for by an ARN and is called like a changed secret, if it is not known yet whose account that ARN is of. */
export function markNameless(state: State, change: Change, keeps: (entry: Entry, change: Change) => boolean): void {
  if (state.account !== "") return;
  for (const entry of state.entries.values()) {
    if (!entry.tracked || entry.name !== "" || entry.held?.name !== change.name || keeps(entry, change)) continue;
    state.invalidate(entry);
    if (change.kind === "deleted" && entry.follows) entry.held = undefined;
  }
}

const SECRET_IN_ARN = ":secret:";

/**
 * The account in an ARN, arn:aws:secretsmanager:region:account:secret:name-suffix
 * (https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_iam-permissions.html); empty for what is none.
 */
export function accountOf(arn: string): string {
  const cut = arn.indexOf(SECRET_IN_ARN);
  return cut < 0 ? "" : arn.slice(arn.lastIndexOf(":", cut - 1) + 1, cut);
}

/** The hyphen and the six characters that an ARN ends in. */
const SUFFIX_LENGTH = "-xxxxxx".length;

/**
 * The name in an ARN, or in one without the hyphen and the six characters that an ARN ends in, if its name does not end so
 * too. What is no ARN is a name.
 */
export function nameIn(id: string): string {
  const cut = id.indexOf(SECRET_IN_ARN);
  if (cut < 0 || !isArn(id)) return id;
  const name = id.slice(cut + SECRET_IN_ARN.length);
  const suffix = name.length - SUFFIX_LENGTH;
  return suffix > 0 && name[suffix] === "-" ? name.slice(0, suffix) : name;
}

export const isArn = (id: string): boolean => id.startsWith("arn:");

/**
 * Whether a secret with this ARN is what an id names, which is a name, an ARN or a partial ARN: one without its suffix
 * (https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html).
 */
export function isOf(id: string, arn: string): boolean {
  if (!isArn(id) || arn === id) return true;
  return arn.length === id.length + SUFFIX_LENGTH && arn.startsWith(`${id}-`);
}
