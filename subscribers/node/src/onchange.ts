import { within } from "./clock.js";
import { errorOf } from "./errors.js";
import type { Entry, Held, OnChange, State } from "./state.js";
import { REASON_REFUSED } from "./wire.js";

/** How long a read waits for onChange, in milliseconds: a function's time-out may well be shorter than fetchTimeout. */
const HOLD_READS = 2_000;

/**
 * Tells onChange functions of new versions, of one after the other: what is fetched while they run is told afterwards,
 * only the newest of that, and the reads do not wait for it.
 */
export class Changes {
  constructor(private readonly state: State) {}

  /**
   * Notes that another version than before is held and has it told of. What it returns is for the read that fetched the
   * version to wait for: until this one has been told, but not for long, since no read is to hang on a function that does
   * not return. There is nothing to wait for while another is being told of.
   */
  tell(entry: Entry, version: Held): Promise<unknown> | undefined {
    entry.lastId = version.id; // at once: what is fetched meanwhile is compared with it
    entry.refused = "";
    if (entry.telling !== undefined) {
      entry.next = version;
      return undefined;
    }
    const first = Promise.resolve().then(() => this.tellOne(entry, version));
    entry.telling = this.tellRest(entry, version, first);
    return within(this.state.cfg.clock, HOLD_READS, first);
  }

  /** Waits until all has been told of what an entry holds. */
  async waitTold(entry: Entry): Promise<void> {
    const { clock, fetchTimeout } = this.state.cfg;
    if (entry.telling !== undefined) await within(clock, fetchTimeout, entry.telling);
  }

  private async tellRest(entry: Entry, first: Held, told: Promise<void>): Promise<void> {
    await told;
    for (let last = first, next = takeNext(entry); next !== undefined && next.id !== last.id; next = takeNext(entry)) {
      last = next;
      await this.tellOne(entry, next);
    }
    entry.telling = undefined;
  }

  private async called(f: OnChange, version: Held): Promise<void> {
    const { clock, fetchTimeout } = this.state.cfg;
    if (!(await within(clock, fetchTimeout, Promise.resolve(f(version))))) throw new HangingError();
  }

  /** Calls the functions and notes what they made of a version, unless that is not what is held any more. */
  private async tellOne(entry: Entry, version: Held): Promise<void> {
    let refused = "";
    for (const f of [...entry.onChange]) {
      try {
        await this.called(f, version);
      } catch (thrown) {
        refused = REASON_REFUSED;
        // Its type only: its text might quote a value.
        const errorType = errorOf(thrown).constructor?.name ?? "Error";
        this.state.cfg.logger.error(REASON_REFUSED, { secret: entry.name, version: version.id, errorType });
      }
    }
    if (entry.lastId === version.id) {
      entry.refused = refused;
      if (refused === "") entry.verified = version.id;
    }
    this.state.reportDue = true;
  }
}

/** An onChange function that did not return within fetchTimeout. What it does later is nobody's concern. */
class HangingError extends Error {}

function takeNext(entry: Entry): Held | undefined {
  const { next } = entry;
  entry.next = undefined;
  return next;
}
