import type { GuestMemory, Spans } from '@virtkit/core/live';

const NOTHING = new Uint8Array(0);

/**
 * Guest buffers lent to a back end for a read. They can be taken back while it still holds them: then there is nothing
 * in them any more, and what it writes goes nowhere.
 */
export class LentSpans implements Spans {
  #spans: Spans | undefined;
  #memory: GuestMemory | undefined;
  #held = false;
  /**
   * True if something was written that did not arrive, because the machine is stopped: the read has to be done again.
   */
  missed = false;

  lend(spans: Spans): void {
    this.#spans = spans;
    this.#memory = undefined;
    this.#held = false;
    this.missed = false;
  }

  /**
   * Notes that the back end goes on after its call has returned: guest memory may have grown whenever it comes back.
   */
  outlive(memory: GuestMemory): void {
    this.#memory = memory;
  }

  /** Takes the buffers back for good: the driver has its memory back. */
  takeBack(): void {
    this.#spans = undefined;
  }

  /**
   * Holds back what is written, for the time that the machine is stopped: guest memory does not change under whoever
   * saves it.
   */
  hold(held: boolean): void {
    this.#held = held;
  }

  /** Is the machine stopped? Then what is written now does not arrive. */
  get isHeld(): boolean {
    return this.#held;
  }

  get #open(): Spans | undefined {
    if (this.#held) {
      this.missed = true;
      return undefined;
    }
    this.#memory?.sync();
    return this.#spans;
  }

  get count(): number {
    return this.#open?.count ?? 0;
  }

  get total(): number {
    return this.#open?.total ?? 0;
  }

  bytes(i: number): Uint8Array {
    return this.#open?.bytes(i) ?? NOTHING;
  }

  offset(i: number): number {
    return this.#open?.offset(i) ?? 0;
  }

  length(i: number): number {
    return this.#open?.length(i) ?? 0;
  }

  copyTo(from: number, target: Uint8Array, at?: number, length?: number): number {
    return this.#open?.copyTo(from, target, at, length) ?? 0;
  }

  copyFrom(from: number, source: Uint8Array, at?: number, length?: number): number {
    return this.#open?.copyFrom(from, source, at, length) ?? 0;
  }

  fill(from: number, length: number, value: number): number {
    return this.#open?.fill(from, length, value) ?? 0;
  }

  u8(at: number): number {
    return this.#open?.u8(at) ?? -1;
  }

  u16(at: number, littleEndian: boolean): number {
    return this.#open?.u16(at, littleEndian) ?? -1;
  }

  u32(at: number, littleEndian: boolean): number {
    return this.#open?.u32(at, littleEndian) ?? -1;
  }
}
