import { readFile } from "node:fs/promises";

/** Does all that a client must not do in the model, one thing at each read. */
export class Cache {
  private readonly misdeeds = [
    () => void setTimeout(() => {}, 1),
    () => void Date.now(),
    () => void new Date(),
    () => void Promise.reject(new Error("forgotten")),
    () => void readFile("/dev/null"),
  ];

  takeInvalidations(): void {}

  async get(): Promise<never> {
    this.misdeeds.shift()?.();
    throw new Error("it serves nothing");
  }

  async invoke(_event: unknown, _arn: undefined, handler: () => Promise<unknown>): Promise<unknown> {
    return handler();
  }

  position() {
    return { revision: 0, hash: "" };
  }

  counts() {
    return { checks: 0, checkFailures: 0, fetches: 0, fetchFailures: 0, lateAnswers: 0, invalidated: 0, uncertain: 0, outdated: 0, reportFailures: 0 };
  }
}
