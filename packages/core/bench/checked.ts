// What a ring costs in a class with every check: regions of guest memory, a queue that takes one chain into lists that are used
// again, loops, lengths, order and bounds. No other formats, byte orders or owners, and nothing to save: the mark for the library.
import { AVAIL, DESC, type Machine, SIZE, USED } from './machine.ts';

const PIECES = 1024;

class Region {
  readonly base: number;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;

  constructor(base: number, bytes: Uint8Array) {
    this.base = base;
    this.bytes = bytes;
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  }
}

/** A chain: offset, length and region of each piece. */
class Taken {
  head = 0;
  count = 0;
  out = 0;
  writable = 0;
  readonly region = new Uint8Array(PIECES);
  readonly offset = new Int32Array(PIECES);
  readonly length = new Int32Array(PIECES);
}

export class Checked {
  interrupts = 0;
  readonly chain = new Taken();
  private readonly regions: readonly Region[];
  private readonly low: number;
  private readonly words: Int32Array;
  private readonly halves: Uint16Array;
  private found = 0;
  private lastAvail = 0;
  private avail = 0;
  private usedIdx = 0;
  private signalled = 0;

  constructor({ bytes, halves }: Machine) {
    const region = new Region(0, bytes);
    this.regions = [region];
    this.low = bytes.length | 0;
    this.words = region.words;
    this.halves = halves;
  }

  /** Takes the next chain into {@link chain}. */
  pop(): boolean {
    const { lastAvail, halves, chain, low } = this;
    if (lastAvail === this.avail) {
      const index = halves[AVAIL / 2 + 1] as number;
      if (((index - lastAvail) & 0xffff) > SIZE) throw new Error('index');
      this.avail = index;
      if (lastAvail === index) return false;
    }
    const head = halves[AVAIL / 2 + 2 + (lastAvail & (SIZE - 1))] as number;
    if (head >= SIZE) throw new Error('head');
    this.lastAvail = (lastAvail + 1) & 0xffff;
    halves[USED / 2 + 2 + 4 * SIZE] = this.lastAvail;
    let { words } = this;
    let base = DESC >> 2;
    let at = base + (head << 2);
    let max = SIZE;
    let left = SIZE;
    let indirect = false;
    let count = 0;
    let out = 0;
    let writable = 0;
    for (;;) {
      const address = words[at] as number;
      const high = words[at + 1] as number;
      const length = words[at + 2] as number;
      const tail = words[at + 3] as number;
      let region = 0;
      let offset = address;
      if (high !== 0 || address < 0 || length <= 0 || address > ((low - length) | 0)) {
        region = this.find(high, address, length);
        offset = this.found;
      }
      if ((tail & 4) !== 0) {
        if (indirect || (length & 15) !== 0 || (offset & 3) !== 0) throw new Error('table');
        ({ words } = this.regions[region] as Region);
        base = offset >> 2;
        at = base;
        max = length >> 4;
        left = max;
        indirect = true;
        continue;
      }
      chain.region[count] = region;
      chain.offset[count] = offset;
      chain.length[count] = length;
      if ((tail & 2) !== 0) writable = (writable + length) | 0;
      else {
        if (out !== count) throw new Error('order');
        out++;
      }
      count = (count + 1) | 0;
      if ((tail & 1) === 0) break;
      const next = tail >>> 16;
      left = (left - 1) | 0;
      if (next >= max || left === 0) throw new Error('loop');
      at = base + (next << 2);
    }
    chain.head = head;
    chain.count = count;
    chain.out = out;
    chain.writable = writable;
    return true;
  }

  private find(high: number, low: number, length: number): number {
    const address = (high >>> 0) * 2 ** 32 + (low >>> 0);
    for (const [index, { base, bytes }] of this.regions.entries()) {
      const offset = address - base;
      if (length === 0 || offset < 0 || offset + (length >>> 0) > bytes.length) continue;
      this.found = offset;
      return index;
    }
    throw new Error('address');
  }

  push(written: number): void {
    const { words, usedIdx, chain } = this;
    const at = (USED >>> 2) + 1 + ((usedIdx & (SIZE - 1)) << 1);
    words[at] = chain.head;
    words[at + 1] = written;
    this.usedIdx = (usedIdx + 1) & 0xffff;
    this.halves[USED / 2 + 1] = this.usedIdx;
  }

  notify(): void {
    const { usedIdx, signalled } = this;
    const event = this.halves[AVAIL / 2 + 2 + SIZE] as number;
    this.signalled = usedIdx;
    if (((usedIdx - event - 1) & 0xffff) < ((usedIdx - signalled) & 0xffff)) this.interrupts++;
  }

  /** Copies what is to read to `copy`, and what follows there to the rest. */
  move(copy: Uint8Array): void {
    const { region, offset, length, count, out } = this.chain;
    let at = 0;
    for (let i = 0; i < count; i++) {
      const { bytes } = this.regions[region[i] as number] as Region;
      const from = offset[i] as number;
      const size = length[i] as number;
      if (i < out) copy.set(bytes.subarray(from, from + size), at);
      else bytes.set(copy.subarray(at, at + size), from);
      at += size;
    }
  }
}
