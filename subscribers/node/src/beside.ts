import { LATE_FOR } from "./check.js";
import type { Page } from "./ports.js";
import type { Entry, Fetch, State } from "./state.js";
import { millis, type Row, SCHEMA } from "./wire.js";

// A read that finds nothing in memory checks the log and fetches at once, not one after the other. That weakens neither G1
// nor G3, whichever of the two is answered first:
//
// - A fetch that was sent beside a check lands after it, whichever way that has ended. So nobody is served before the check,
//   and what it has found judges the answer.
// - A check that goes on from a row supersedes each fetch of a secret that the rows after it name, as ever. The rows before
//   it are known, or older than a minute.
// - A check that starts at the head lets a fetch go on only if it was sent after the read that found the head. What was
//   appended more than a minute before that is in every answer. What came later is among the rows read, and is kept to judge
//   the answer by. What cannot be kept, or is of a kind that no answer can be judged by, has it fetched again.

/** The fetches that were sent after the newest read of the log had begun. */
export function fetchesBeside(state: State): Map<Entry, Fetch> {
  const beside = new Map<Entry, Fetch>();
  for (const entry of state.entries.values()) {
    if (entry.fetch !== undefined && entry.fetch.reads === state.reads) beside.set(entry, entry.fetch);
  }
  return beside;
}

/** Takes back that fetches were superseded. */
export function letGoOn(state: State, fetches: Map<Entry, Fetch>): void {
  for (const [entry, fetch] of fetches) {
    entry.fetch = fetch;
    fetch.generation = entry.generation;
    fetch.marks = state.marks;
  }
}

/**
 * Whether the answer to a fetch that was sent so many milliseconds before the page landed, or later, can be judged by the
 * page, which is a tail: each row of the minute before and of the time since is kept to judge by.
 */
export function tellsAllSince(elapsed: number, page: Page): boolean {
  const { date } = page;
  if (date === undefined) return false; // then nobody can tell how far back it reaches
  return page.rows.every((row) => {
    const age = date - millis(row.time);
    return age - elapsed > LATE_FOR || (age <= LATE_FOR && judges(row));
  });
}

/**
 * Whether an answer can be told from one of before a row's changes: not by a refresh, which names a version that was current
 * before, nor by what this client cannot read.
 */
const judges = (row: Row): boolean => row.schema <= SCHEMA && row.changes.every(({ kind }) => kind !== "refresh");
