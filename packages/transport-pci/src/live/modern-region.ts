import type { TransportHost } from '@virtkit/core/live';
import type { Region } from './access.ts';
import { notifyBytes, STRUCTURE } from './capabilities.ts';
import type { CommonConfig } from './common-config.ts';

/** Modern BAR: common configuration, ISR, device configuration, notifications. Virtio 1.3 §4.1.4 */
export class ModernRegion implements Region {
  readonly #host: TransportHost;
  readonly #common: CommonConfig;
  readonly #multiplier: number;
  readonly #end: number;
  readonly #readIsr: () => number;

  constructor(host: TransportHost, common: CommonConfig, multiplier: number, readIsr: () => number) {
    this.#host = host;
    this.#common = common;
    this.#multiplier = multiplier;
    this.#end = STRUCTURE.NOTIFY + notifyBytes(multiplier);
    this.#readIsr = readIsr;
  }

  read(offset: number, size: number): number {
    if (offset < STRUCTURE.ISR) return this.#common.read(offset);
    // Virtio 1.3 §4.1.4.5.1 MUST: reset to 0 on read
    if (offset < STRUCTURE.DEVICE) return this.#readIsr();
    // Virtio 1.3 §4.1.3.2 MUST: either half of a 64-bit field by itself
    if (offset < STRUCTURE.NOTIFY) return this.#host.config.read(offset - STRUCTURE.DEVICE, size);
    return 0;
  }

  write(offset: number, size: number, value: number): void {
    if (offset >= STRUCTURE.NOTIFY) {
      // Virtio 1.3 §4.1.4.4: the address says which queue; the value may say more and is not needed
      if (offset < this.#end) this.#host.kick(Math.floor((offset - STRUCTURE.NOTIFY) / this.#multiplier));
    } else if (offset >= STRUCTURE.DEVICE) {
      this.#host.config.write(offset - STRUCTURE.DEVICE, size, value);
    } else if (offset < STRUCTURE.ISR) {
      this.#common.write(offset, size, value);
    }
  }

  /** Finds the structure that all of `[offset, offset + size)` lies in: the PCI configuration window crosses none. */
  holds(offset: number, size: number): boolean {
    if (offset >= STRUCTURE.NOTIFY) return offset + size <= this.#end;
    return (offset % STRUCTURE.BYTES) + size <= STRUCTURE.BYTES;
  }
}
