import type { Region } from './access.ts';
import { powerOfTwo } from './bars.ts';
import type { ConfigRegisters } from './config-registers.ts';

/** Length of a table entry in bytes: address (8), data, vector control. */
export const MSIX_ENTRY_BYTES = 16;
const DATA = 8;
const CONTROL = 12;
const MASKED = 0x01;
/** Bit of the high byte of message control that enables MSI-X. */
const ENABLE = 0x80;
const FUNCTION_MASK = 0x40;

/** Smallest offset of the pending bits in the MSI-X BAR, and its smallest length, in bytes: half of a page for each part. */
const PBA_OFFSET_MIN = 2048;
const BAR_BYTES_MIN = 4096;

/** Function that takes a message: a 32-bit little-endian write of `data` to `address`. */
export type SendMessage = (address: number, data: number) => void;

/**
 * Function that takes a message by the number of its vector, where the machine has the table. Answers false if nobody
 * takes it now.
 */
export type SendVector = (vector: number) => boolean;

/** Ways of messages: by what the table says, or by number past the table. */
export interface MessageWays {
  readonly message: SendMessage;
  readonly vector?: SendVector | undefined;
}

/** Finds where the pending bits lie in the MSI-X BAR, and how large that is. QEMU: `msix_init_exclusive_bar`. */
export function msixBar(vectors: number): { readonly pbaOffset: number; readonly size: number } {
  const pbaOffset = Math.max(PBA_OFFSET_MIN, vectors * MSIX_ENTRY_BYTES);
  return { pbaOffset, size: powerOfTwo(Math.max(BAR_BYTES_MIN, pbaOffset + pendingBytes(vectors))) };
}

/** Finds the length in bytes of the pending bits that the BAR shows, in whole 64-bit words. */
function pendingBytes(vectors: number): number {
  return 8 * Math.ceil(vectors / 64);
}

/**
 * MSI-X as QEMU does it: PCI 3.0 §6.8.2, and a count of uses for each vector. A vector that no queue and no configuration
 * change is mapped to sends nothing and is never pending.
 */
export class Msix implements Region {
  readonly vectors: number;
  /** Bytes of the table, little-endian, as the guest sees it. */
  readonly table: Uint8Array;
  readonly pending: Uint8Array;
  readonly #view: DataView;
  readonly #pendingView: DataView;
  readonly #pbaOffset: number;
  readonly #uses: Uint32Array;
  readonly #space: ConfigRegisters;
  /** Offset of the high byte of message control. */
  readonly #control: number;
  readonly #ways: MessageWays;
  /** True if MSI-X is not enabled, or masked as a whole. */
  #functionMasked = true;

  constructor(space: ConfigRegisters, capability: number, vectors: number, ways: MessageWays) {
    this.vectors = vectors;
    this.table = new Uint8Array(vectors * MSIX_ENTRY_BYTES);
    this.pending = new Uint8Array(pendingBytes(vectors));
    this.#view = new DataView(this.table.buffer);
    this.#pendingView = new DataView(this.pending.buffer);
    this.#pbaOffset = msixBar(vectors).pbaOffset;
    this.#uses = new Uint32Array(vectors);
    this.#space = space;
    this.#control = capability + 3;
    this.#ways = ways;
    this.#maskAll();
  }

  get enabled(): boolean {
    return this.vectors > 0 && (this.#space.u8(this.#control) & ENABLE) !== 0;
  }

  // The BAR

  /**
   * Reads the table or the pending bits, 4 bytes at a time (8 are two of them). Between table and pending bits there is
   * nothing, which reads as 0.
   */
  read(offset: number, size: number): number {
    if (size !== 4) return 0;
    if (offset + 4 <= this.table.length) return this.#view.getUint32(offset, true);
    const at = offset - this.#pbaOffset;
    return at >= 0 && at + 4 <= this.pending.length ? this.#pendingView.getUint32(at, true) : 0;
  }

  write(offset: number, size: number, value: number): void {
    if (size !== 4 || offset + 4 > this.table.length) return;
    const vector = Math.floor(offset / MSIX_ENTRY_BYTES);
    const was = this.#masked(vector);
    this.#view.setUint32(offset, value, true);
    this.#maskChanged(vector, was);
  }

  // Masks

  #masked(vector: number, functionMasked = this.#functionMasked): boolean {
    // the machine's own table is masked by not taking messages
    if (this.#ways.vector !== undefined) return functionMasked;
    return functionMasked || ((this.table[vector * MSIX_ENTRY_BYTES + CONTROL] ?? 0) & MASKED) !== 0;
  }

  /** Sends what became pending behind the mask. QEMU: `msix_handle_mask_update`. */
  #maskChanged(vector: number, was: boolean): void {
    if (this.#masked(vector) || !was || !this.isPending(vector)) return;
    this.#setPending(vector, false);
    this.notify(vector);
  }

  #maskAll(): void {
    for (let vector = 0; vector < this.vectors; vector++)
      this.table[vector * MSIX_ENTRY_BYTES + CONTROL] = MASKED;
  }

  #updateFunctionMask(): void {
    this.#functionMasked = !this.enabled || (this.#space.u8(this.#control) & FUNCTION_MASK) !== 0;
  }

  /**
   * Follows a write of the driver to configuration space. QEMU: `msix_write_config`.
   *
   * @returns true if MSI-X is enabled and message control was written: INTx is silent then
   */
  configWritten(at: number, size: number): boolean {
    if (this.vectors === 0 || this.#control < at || this.#control >= at + size) return false;
    const was = this.#functionMasked;
    this.#updateFunctionMask();
    if (!this.enabled) return false;
    if (was && !this.#functionMasked)
      for (let vector = 0; vector < this.vectors; vector++) this.#maskChanged(vector, true);
    return true;
  }

  // Pending bits and messages

  isPending(vector: number): boolean {
    return ((this.pending[vector >> 3] ?? 0) & (1 << (vector & 7))) !== 0;
  }

  #setPending(vector: number, on: boolean): void {
    const bit = 1 << (vector & 7);
    const byte = this.pending[vector >> 3] ?? 0;
    this.pending[vector >> 3] = on ? byte | bit : byte & ~bit;
  }

  /** Sends a message, or remembers that it is due. QEMU: `msix_notify`. */
  notify(vector: number): void {
    if ((this.#uses[vector] ?? 0) === 0) return;
    if (this.#masked(vector)) {
      this.#setPending(vector, true);
      return;
    }
    const { vector: byNumber } = this.#ways;
    if (byNumber !== undefined) {
      this.#setPending(vector, !byNumber(vector));
      return;
    }
    const at = vector * MSIX_ENTRY_BYTES;
    const address = this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
    this.#ways.message(address, this.#view.getUint32(at + DATA, true));
  }

  /** Sends the message of a vector that is due, since the machine takes it now. */
  sendPending(vector: number): void {
    this.#maskChanged(vector, true);
  }

  // Uses

  /** Counts a use of a vector: a queue or configuration changes are mapped to it. */
  use(vector: number): void {
    if (vector < this.vectors) this.#uses[vector] = (this.#uses[vector] ?? 0) + 1;
  }

  /** Counts a use less; the last one takes the pending bit with it. */
  unuse(vector: number): void {
    const uses = this.#uses[vector] ?? 0;
    if (uses === 0) return;
    this.#uses[vector] = uses - 1;
    if (uses === 1) this.#setPending(vector, false);
  }

  unuseAll(): void {
    this.#uses.fill(0);
    this.pending.fill(0);
  }

  /**
   * Resets MSI-X with the function. The cached function mask stays as it was until the driver writes message control.
   */
  reset(): void {
    if (this.vectors === 0) return;
    this.#space.clearWritable(this.#control, 1);
    this.table.fill(0);
    this.pending.fill(0);
    this.#maskAll();
  }

  /**
   * Takes over table and pending bits; configuration space is already in place. Nothing is in use yet, so that what is
   * pending and not masked is lost, as in QEMU (`msix_load`): it cannot be in a state that QEMU or this class saved.
   */
  restore(entries: readonly { address: bigint; data: number; control: number }[], pending: Uint8Array): void {
    this.unuseAll();
    entries.forEach(({ address, data, control }, vector) => {
      this.#view.setBigUint64(vector * MSIX_ENTRY_BYTES, address, true);
      this.#view.setUint32(vector * MSIX_ENTRY_BYTES + DATA, data, true);
      this.#view.setUint32(vector * MSIX_ENTRY_BYTES + CONTROL, control, true);
    });
    this.pending.set(pending.subarray(0, this.pending.length));
    this.#updateFunctionMask();
    for (let vector = 0; vector < this.vectors; vector++) this.#maskChanged(vector, true);
  }

  /** Lists the table by entries, for saving. */
  entries(): { address: bigint; data: number; control: number }[] {
    return Array.from({ length: this.vectors }, (_, vector) => {
      const at = vector * MSIX_ENTRY_BYTES;
      return {
        address: this.#view.getBigUint64(at, true),
        data: this.#view.getUint32(at + DATA, true),
        control: this.#view.getUint32(at + CONTROL, true),
      };
    });
  }

  /** Takes the bytes of pending bits that are saved: not the rounding of the BAR. */
  pendingSaved(): Uint8Array {
    return this.pending.slice(0, Math.ceil(this.vectors / 8));
  }
}
