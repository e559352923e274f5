import { LATE_FOR } from "./check.js";
import type { Page } from "./ports.js";
import type { Entry, Fetch, State } from "./state.js";
import { millis, type Row, SCHEMA } from "./wire.js";

// A read that finds nothing in memory checks the log and fetches at once, and is served when both have come. Why that weakens
// neither G1 nor G3 stands in docs/decisions/0012-check-and-fetch-at-once.md.

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
