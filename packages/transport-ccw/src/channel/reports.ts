import type { CssState } from '../companions.ts';

/** A channel report word. */
export interface ChannelReport {
  readonly flags: number;
  readonly rsid: number;
}

/** Bits of {@link ChannelReport.flags}. */
export const CRW = {
  /** Bit that says that reports were lost. */
  OVERFLOW: 0x2000,
  /** Bit that says that the next report belongs to this one. */
  CHAINED: 0x1000,
  /** Bits of a report whose source is a subchannel, with the error recovery "installed parameters initialised". */
  SUBCHANNEL_IPI: 0x0304,
} as const;

/**
 * Largest number of reports that wait. Only what is plugged in and out makes reports, and a guest that never fetches
 * them must not fill the memory.
 */
const LIMIT = 1024;

/** Queue of channel reports that the guest has not fetched, with the machine check that tells of the first one. */
export class ChannelReports {
  #waiting: ChannelReport[] = [];
  #machineCheck = true;
  #lost = false;
  readonly #onReport: () => void;

  constructor(onReport: () => void) {
    this.#onReport = onReport;
  }

  /** Adds a report. QEMU: `css_queue_crw`. */
  add(flags: number, rsid: number): void {
    if (this.#waiting.length >= LIMIT) {
      this.#lost = true;
      return;
    }
    this.#waiting.push({ flags: this.#lost ? flags | CRW.OVERFLOW : flags, rsid });
    this.#lost = false;
    if (!this.#machineCheck) return;
    this.#machineCheck = false;
    this.#onReport();
  }

  /** Takes the oldest report. If there is none, the next report makes a machine check again. */
  take(): ChannelReport | undefined {
    const report = this.#waiting.shift();
    if (report === undefined) this.#machineCheck = true;
    return report;
  }

  /** Puts back a report that was taken. */
  undo(report: ChannelReport): void {
    this.#waiting.unshift(report);
  }

  reset(): void {
    this.#waiting = [];
    this.#machineCheck = true;
    this.#lost = false;
  }

  capture(): Pick<CssState, 'pendingCrws' | 'doCrwMchk' | 'crwsLost'> {
    return { pendingCrws: [...this.#waiting], doCrwMchk: this.#machineCheck, crwsLost: this.#lost };
  }

  restore(state: CssState): void {
    this.#waiting = [...state.pendingCrws];
    this.#machineCheck = state.doCrwMchk;
    this.#lost = state.crwsLost;
  }
}
