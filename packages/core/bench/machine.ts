// A driver that always offers the same chains, for the measurement of rings. Split, 256 entries, EVENT_IDX, batches of 16.
export const SIZE = 256;
export const BATCH = 16;
export const DESC = 0x1000;
export const AVAIL = 0x3000;
export const USED = 0x4000;
const TABLES = 0x8000;
const BUFFERS = 0x20000;
export const BUFFER = 512;
export const MEMORY = 0x20_0000;

export interface Shape {
  readonly name: string;
  readonly descriptors: number;
  readonly indirect: boolean;
  /** Each buffer's bytes are copied out of, or into, guest memory. */
  readonly copied: boolean;
}

/** Guest memory with a ring whose avail entries never change: only the index moves. */
export class Machine {
  readonly bytes: Uint8Array;
  readonly halves: Uint16Array;
  private readonly availIdx = AVAIL / 2 + 1;
  private readonly usedEvent = AVAIL / 2 + 2 + SIZE;
  private readonly usedIdx = USED / 2 + 1;

  constructor({ descriptors, indirect }: Shape, bytes: Uint8Array = new Uint8Array(MEMORY)) {
    this.bytes = bytes;
    this.halves = new Uint16Array(bytes.buffer, bytes.byteOffset, MEMORY / 2);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, MEMORY / 4);
    bytes.fill(0, 0, MEMORY);
    // the first half, at least one, is for the device to read, the rest to write
    const out = Math.ceil(descriptors / 2);
    const put = (table: number, i: number, chain: number, n: number): void => {
      const at = table / 4 + 4 * i;
      const more = n + 1 < descriptors;
      words[at] = BUFFERS + (chain * descriptors + n) * BUFFER;
      words[at + 2] = BUFFER;
      words[at + 3] = (more ? 1 : 0) | (n < out ? 0 : 2) | ((more ? i + 1 : 0) << 16) | 0;
    };
    for (let chain = 0; chain < BATCH; chain++) {
      const table = TABLES + chain * 0x400;
      const head = indirect ? chain : chain * descriptors;
      for (let n = 0; n < descriptors; n++) put(indirect ? table : DESC, indirect ? n : head + n, chain, n);
      if (indirect) {
        words[DESC / 4 + 4 * chain] = table;
        words[DESC / 4 + 4 * chain + 2] = 16 * descriptors;
        words[DESC / 4 + 4 * chain + 3] = 4;
      }
      for (let i = chain; i < SIZE; i += BATCH) this.halves[AVAIL / 2 + 2 + i] = head;
    }
  }

  /** Offers a batch, and wants an interrupt for the first chain that comes back. */
  offer(): void {
    this.halves[this.usedEvent] = this.halves[this.usedIdx] as number;
    this.halves[this.availIdx] = (this.halves[this.availIdx] as number) + BATCH;
  }
}
