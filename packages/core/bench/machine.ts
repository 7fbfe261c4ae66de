// Drivers that always offer the same chains, for the measurement of rings. 256 entries, EVENT_IDX, batches of 16.
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

export interface Offers {
  /** Offers a batch, and wants an interrupt for the first chain that comes back. */
  offer(): void;
}

/** How many of so many descriptors are for the device to read: the first half, at least one. */
const readable = (descriptors: number): number => Math.ceil(descriptors / 2);

/** Guest memory with a split ring whose avail entries never change: only the index moves. */
export class Machine implements Offers {
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
    const out = readable(descriptors);
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

  offer(): void {
    this.halves[this.usedEvent] = this.halves[this.usedIdx] as number;
    this.halves[this.availIdx] = (this.halves[this.availIdx] as number) + BATCH;
  }
}

/** Guest memory with a packed ring. A device overwrites descriptors, so each batch is written anew. */
export class PackedMachine implements Offers {
  readonly bytes = new Uint8Array(MEMORY);
  private readonly words = new Int32Array(this.bytes.buffer);
  private readonly descriptors: number;
  private readonly indirect: boolean;
  private slot = 0;
  private chain = 0;
  private wrap = 1;

  constructor({ descriptors, indirect }: Shape) {
    this.descriptors = descriptors;
    this.indirect = indirect;
    for (let slot = 0; slot < SIZE; slot++) {
      const chain = (indirect ? slot : Math.floor(slot / descriptors)) % BATCH;
      const table = TABLES + chain * 0x400;
      this.put(DESC + 16 * slot, indirect ? table : this.buffer(chain, slot % descriptors));
      for (let n = 0; indirect && n < descriptors; n++) {
        this.put(table + 16 * n, this.buffer(chain, n));
        this.words[table / 4 + 4 * n + 2] = BUFFER;
        this.words[table / 4 + 4 * n + 3] = this.flags(n) << 16;
      }
    }
  }

  private put(at: number, address: number): void {
    this.words[at / 4] = address;
  }

  private buffer(chain: number, n: number): number {
    return BUFFERS + (chain * this.descriptors + n) * BUFFER;
  }

  private flags(n: number): number {
    return (n + 1 < this.descriptors ? 1 : 0) | (n < readable(this.descriptors) ? 0 : 2);
  }

  offer(): void {
    const { words, indirect } = this;
    words[AVAIL / 4] = this.slot | (this.wrap << 15) | (2 << 16);
    const slots = indirect ? 1 : this.descriptors;
    for (let i = 0; i < BATCH; i++) {
      const bits = this.wrap === 1 ? 0x80 << 16 : 0x8000 << 16;
      for (let n = 0; n < slots; n++) {
        const at = DESC / 4 + 4 * this.slot;
        words[at + 2] = indirect ? 16 * this.descriptors : BUFFER;
        words[at + 3] = this.chain | ((indirect ? 4 : this.flags(n)) << 16) | bits;
        this.slot++;
      }
      this.chain = (this.chain + 1) % SIZE;
      if (this.slot < SIZE) continue;
      this.slot = 0;
      this.wrap ^= 1;
    }
  }
}
