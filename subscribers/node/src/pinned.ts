/** Values that no row of the log speaks of, each until its own TTL ends. Whatever prints it shows none. */
export class Pinned {
  readonly #values = new Map<string, { value: unknown; until: number }>();

  get(key: string): unknown {
    const kept = this.#values.get(key);
    return kept === undefined || kept.until < Date.now() ? undefined : kept.value;
  }

  /** Keeps a value for maxAge seconds, and drops those whose time is over: who names versions names ever new ones. */
  set(key: string, value: unknown, maxAge: number): void {
    const now = Date.now();
    for (const [other, { until }] of this.#values) if (until < now) this.#values.delete(other);
    if (!(maxAge <= 0)) this.#values.set(key, { value, until: now + maxAge * 1000 });
  }

  clear(): void {
    this.#values.clear();
  }
}
