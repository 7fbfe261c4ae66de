import type { GuestRam } from '../ram.ts';
import type { ChannelInstructions } from './channel-instructions.ts';

/** I/O interruption. Principles of Operation, chapter 16 */
export interface IoInterruption {
  /** Subsystem identification word of the subchannel; 0 for adapter interruptions. */
  readonly schid: number;
  /** Interruption parameter. */
  readonly parm: number;
  /** Interruption subclass, 0 to 7. */
  readonly isc: number;
  /** True for an adapter interrupt, which is not one of a subchannel. */
  readonly adapter: boolean;
}

/** Offset in low core where TEST PENDING INTERRUPTION with address 0 stores. */
const LOW_CORE = 0xb8;

/**
 * Collector of I/O interruptions, as a kernel has it before any driver sees them: whoever asks takes all that are
 * there, and those of other subchannels are kept for theirs. A guest has one; the drivers in it find it by its memory.
 */
export class IoInterruptions {
  static readonly #ofGuest = new WeakMap<GuestRam, IoInterruptions>();
  readonly #ram: GuestRam;
  /** Interruptions by subchannel; adapter interruptions are for all, so only how many there were counts. */
  readonly #kept = new Map<number, IoInterruption[]>();
  #adapters = 0;

  private constructor(ram: GuestRam) {
    this.#ram = ram;
  }

  /** Finds the collector of a machine: there is one for each guest memory. */
  static of(ram: GuestRam): IoInterruptions {
    let found = IoInterruptions.#ofGuest.get(ram);
    if (found === undefined) {
      found = new IoInterruptions(ram);
      IoInterruptions.#ofGuest.set(ram, found);
    }
    return found;
  }

  /** Number of adapter interruptions so far. A driver that has seen fewer looks at its indicators. */
  get adapters(): number {
    return this.#adapters;
  }

  /** Takes one interruption from the machine. Answers false if there was none. */
  poll(host: ChannelInstructions): boolean {
    if (host.tpi(0) === 0) return false;
    const word = this.#ram.u32(LOW_CORE + 8, false);
    const interruption = {
      schid: this.#ram.u32(LOW_CORE, false),
      parm: this.#ram.u32(LOW_CORE + 4, false),
      isc: (word >>> 27) & 7,
      adapter: word >>> 31 === 1,
    };
    if (interruption.adapter) this.#adapters++;
    else {
      const list = this.#kept.get(interruption.schid) ?? [];
      list.push(interruption);
      this.#kept.set(interruption.schid, list);
    }
    return true;
  }

  /** Takes the oldest interruption kept for a subchannel. */
  take(schid: number): IoInterruption | undefined {
    return this.#kept.get(schid)?.shift();
  }
}
