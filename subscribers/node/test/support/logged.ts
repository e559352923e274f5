import { mock } from "node:test";

/** What is written to the log while f runs: one entry each time. */
export async function logged(f: (lines: string[]) => Promise<void>): Promise<string[]> {
  const lines: string[] = [];
  const mocks = (["info", "warn", "error"] as const).map((level) =>
    mock.method(console, level, (...args: unknown[]) => void lines.push(JSON.stringify(args))),
  );
  try {
    await f(lines);
  } finally {
    for (const one of mocks) one.mock.restore();
  }
  return lines;
}
