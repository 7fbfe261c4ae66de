import { DriverError, NO_VECTOR } from '../spec.ts';
import type { PciFunctionDriver } from './pci-function.ts';

/** Plan of the vectors that the configuration (-1) and each queue get, of `size` there are. */
export type VectorPlan = (queue: number, size: number) => number;

/** Plan with vector 0 for the configuration, one for each queue, the last one for all those that have none left. */
export const vectorEach: VectorPlan = (queue, size) => Math.min(queue + 1, size - 1);

/** Address that messages are written to. The data tells slot and vector. */
const MESSAGE_ADDRESS = 0xfee0_0000;
const ENABLE = 0x8000;
const MASK_ALL = 0x4000;
const CONFIG = -1;

/** MSI-X part of a driver: table, masks and the meanings of vectors. PCI 3.0 §6.8.2 */
export class MsixDriver {
  readonly #fn: PciFunctionDriver;
  readonly #plan: VectorPlan;
  readonly #at: number;
  /** Number of vectors of the table. */
  readonly size: number;
  readonly #bar: number;
  readonly #table: number;
  readonly #pbaBar: number;
  readonly #pba: number;
  readonly #users = new Map<number, Set<number>>();

  constructor(fn: PciFunctionDriver, plan: VectorPlan) {
    if (fn.msixAt === undefined) throw new DriverError('the function has no MSI-X');
    this.#fn = fn;
    this.#plan = plan;
    this.#at = fn.msixAt;
    this.size = (fn.read(this.#at + 2, 2) & 0x7ff) + 1;
    const table = fn.read(this.#at + 4, 4);
    const pba = fn.read(this.#at + 8, 4);
    this.#bar = table & 7;
    this.#table = (table & ~7) >>> 0;
    this.#pbaBar = pba & 7;
    this.#pba = (pba & ~7) >>> 0;
  }

  /** Fills the table, everything unmasked, and switches MSI-X on. */
  enable(): void {
    this.maskAll(true);
    for (let vector = 0; vector < this.size; vector++) {
      const at = this.#table + 16 * vector;
      this.#fn.barWrite(this.#bar, at, 4, MESSAGE_ADDRESS);
      this.#fn.barWrite(this.#bar, at + 4, 4, 0);
      this.#fn.barWrite(this.#bar, at + 8, 4, this.#data(vector));
      this.mask(vector, false);
    }
    this.maskAll(false);
  }

  /** Switches MSI-X off. */
  disable(): void {
    this.#fn.write(this.#at + 2, 2, 0);
  }

  /** Masks a single vector, or lets it through. */
  mask(vector: number, masked: boolean): void {
    this.#fn.barWrite(this.#bar, this.#table + 16 * vector + 12, 4, masked ? 1 : 0);
  }

  /** Masks the whole function; MSI-X is on either way. */
  maskAll(masked: boolean): void {
    this.#fn.write(this.#at + 2, 2, ENABLE | (masked ? MASK_ALL : 0));
  }

  /** Is the vector's bit in the pending bit array set? */
  pending(vector: number): boolean {
    const word = this.#fn.barRead(this.#pbaBar, this.#pba + 4 * (vector >> 5), 4);
    return ((word >>> (vector & 31)) & 1) === 1;
  }

  /** Finds the vector for a queue, or for the configuration (-1). */
  assign(queue: number): number {
    const vector = this.#plan(queue, this.size);
    if (vector === NO_VECTOR) return vector;
    let users = this.#users.get(vector);
    if (users === undefined) {
      users = new Set();
      this.#users.set(vector, users);
    }
    users.add(queue);
    return vector;
  }

  /** Takes this function's messages: the queues (-1: the configuration) that they stand for. */
  take(): Set<number> {
    const signalled = new Set<number>();
    const { messages } = this.#fn.host();
    for (let i = messages.length - 1; i >= 0; i--) {
      const message = messages[i];
      if (message === undefined || message.address !== MESSAGE_ADDRESS) continue;
      const vector = message.data - this.#data(0);
      if (vector < 0 || vector >= this.size) continue;
      messages.splice(i, 1);
      for (const user of this.#users.get(vector) ?? []) signalled.add(user);
    }
    return signalled;
  }

  #data(vector: number): number {
    return 0x4000 + 0x1000 * this.#fn.slot + vector;
  }
}

/** Turns MSI-X messages into interrupts, or INTx and the ISR byte where there is no MSI-X. */
export function toInterrupts(signalled: Set<number>): {
  readonly config: boolean;
  readonly queues: readonly number[];
} {
  return { config: signalled.has(CONFIG), queues: [...signalled].filter((queue) => queue !== CONFIG) };
}
