import { ISC_MAX } from './bits.ts';

/** I/O interrupt that the guest has not taken, in the words that it finds in its low core. QEMU: `QEMUS390FlicIO`. */
export interface PendingInterrupt {
  /** Subchannel id; 0 for adapter interrupts. */
  readonly id: number;
  /** Subchannel number; 0 for adapter interrupts. */
  readonly nr: number;
  /** Interruption parameter; 0 for adapter interrupts. */
  readonly parm: number;
  /** Interruption subclass in bits 29 to 27; bit 31 (0x80000000): adapter interrupt. */
  readonly word: number;
}

/** Bit of the interruption word that tells adapter interrupts from those of subchannels. */
export const ADAPTER_WORD = 0x80000000;
const WORD_ISC_SHIFT = 27;
/**
 * Largest number of interrupts that wait in a subclass. Real channel subsystems have at most one for a subchannel; QEMU
 * queues one for every program, so that a guest that never takes them fills the host's memory.
 */
const QUEUE_LIMIT = 1024;
/** Mask of subclass 0 in control register 6. */
const CR6_ISC0 = 0x80000000;

/** Makes the interruption word of a subclass. */
export function interruptWord(isc: number, adapter: boolean): number {
  return ((isc << WORD_ISC_SHIFT) | (adapter ? ADAPTER_WORD : 0)) >>> 0;
}

/** Adapter interrupts by subclass: those of one subclass are all alike. */
const ADAPTER_INTERRUPTS: readonly PendingInterrupt[] = Array.from({ length: ISC_MAX + 1 }, (_, isc) => ({
  id: 0,
  nr: 0,
  parm: 0,
  word: interruptWord(isc, true),
}));

/** Is the subclass enabled in the low word of control register 6? */
function enabled(cr6: number, isc: number): boolean {
  return ((cr6 << isc) & CR6_ISC0) !== 0;
}

/**
 * Queue of I/O interrupts that wait, by subclass. Subclass 0 comes first; in a subclass the last one comes first, as in
 * QEMU's interrupt controller under TCG.
 */
export class InterruptQueue {
  /** Interrupts by subclass; the last element is the next one. */
  readonly #waiting: PendingInterrupt[][] = Array.from({ length: ISC_MAX + 1 }, () => []);

  /** Makes an I/O interrupt of a subchannel pending. */
  add(interrupt: PendingInterrupt): void {
    const list = this.#waiting[(interrupt.word >>> WORD_ISC_SHIFT) & ISC_MAX];
    if (list === undefined) return;
    if (list.length >= QUEUE_LIMIT) list.shift();
    list.push(interrupt);
  }

  /** Makes an adapter interrupt pending, unless one of this subclass (0 to 7) is already. */
  addAdapter(isc: number): void {
    const interrupt = ADAPTER_INTERRUPTS[isc & ISC_MAX];
    if (interrupt !== undefined) this.add(interrupt);
  }

  /** Finds the list with the next interrupt. */
  #next(cr6: number): PendingInterrupt[] | undefined {
    for (let isc = 0; isc <= ISC_MAX; isc++) {
      const list = this.#waiting[isc];
      if (list !== undefined && list.length !== 0 && enabled(cr6, isc)) return list;
    }
    return undefined;
  }

  /** Does an interrupt wait that {@link take} would give? */
  pending(cr6: number): boolean {
    return this.#next(cr6) !== undefined;
  }

  /** Takes the next interrupt of the subclasses that control register 6 (its low word) enables. */
  take(cr6: number): PendingInterrupt | undefined {
    return this.#next(cr6)?.pop();
  }

  /** Forgets the interrupts of a subchannel that is no more. */
  forget(id: number, nr: number): void {
    for (const [isc, list] of this.#waiting.entries()) {
      this.#waiting[isc] = list.filter((waiting) => waiting.id !== id || waiting.nr !== nr);
    }
  }

  /** Forgets all that is pending. */
  clear(): void {
    for (const list of this.#waiting) list.length = 0;
  }

  /** Takes the interrupts as QEMU's `qemu-s390-flic-full` saves them: eight lists, the next one first. */
  capture(): PendingInterrupt[][] {
    return this.#waiting.map((list) => list.toReversed());
  }

  /** Takes over what was pending, eight lists by subclass. */
  restore(lists: readonly (readonly PendingInterrupt[])[]): void {
    this.clear();
    for (const list of lists) for (const interrupt of list.toReversed()) this.add(interrupt);
  }
}
