import { MappedMemory } from '@virtkit/core';
import type { V86Cpu } from './emulator.ts';

/** First and last address of the VGA window, which is no RAM for devices. */
const VGA = 0xa_0000;
const BEHIND_VGA = 0xc_0000;

/**
 * Guest RAM in v86's WebAssembly memory, which is another buffer each time it grows (10 to 16 times in a boot). Empty
 * until there is a machine.
 */
export class GuestRam {
  readonly memory: MappedMemory;
  #cpu: V86Cpu | undefined;
  #buffer: ArrayBuffer | undefined;
  #low: Uint8Array = new Uint8Array(0);
  #high: Uint8Array = new Uint8Array(0);

  constructor() {
    this.memory = new MappedMemory(
      [
        { gpa: 0, bytes: () => this.#views().#low },
        { gpa: BEHIND_VGA, bytes: () => this.#views().#high },
      ],
      // v86 keeps translated code: what a device overwrites must be translated anew
      { onWrite: (gpa, length) => this.#cpu?.jit_dirty_cache(gpa, gpa + length) },
    );
  }

  connect(cpu: V86Cpu): void {
    this.#cpu = cpu;
    this.memory.sync();
  }

  #views(): this {
    const buffer = this.#cpu?.wasm_memory.buffer;
    if (this.#cpu === undefined || buffer === undefined || buffer === this.#buffer) return this;
    // `mem8` is a proxy with a price: only its place is asked for
    const { byteOffset, length } = this.#cpu.mem8;
    this.#buffer = buffer;
    this.#low = new Uint8Array(buffer, byteOffset, Math.min(VGA, length));
    this.#high = new Uint8Array(buffer, byteOffset + BEHIND_VGA, length - BEHIND_VGA);
    return this;
  }
}
