// What a ring costs at least in JavaScript: one loop, no abstraction, state in locals, nothing checked but what must be so
// that nothing outside memory is touched and the loop ends.
import { AVAIL, DESC, type Machine, MEMORY, SIZE, USED } from './machine.ts';

const SEGMENTS = 64;

export class Straight {
  interrupts = 0;
  private readonly bytes: Uint8Array;
  private readonly halves: Uint16Array;
  private readonly words: Int32Array;
  private readonly at = new Int32Array(SEGMENTS);
  private readonly length = new Int32Array(SEGMENTS);
  private lastAvail = 0;
  private usedIdx = 0;
  private signalled = 0;

  constructor({ bytes, halves }: Machine) {
    this.bytes = bytes;
    this.halves = halves;
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, MEMORY / 4);
  }

  /** Serves all that is available; `copy` is a place for a chain's bytes, if they are copied. Answers bytes seen. */
  serve(copy: Uint8Array | undefined): number {
    const { bytes, halves, words, at, length } = this;
    let last = this.lastAvail;
    let used = this.usedIdx;
    let sum = 0;
    const avail = halves[AVAIL / 2 + 1] as number;
    while (last !== avail) {
      const head = halves[AVAIL / 2 + 2 + (last & (SIZE - 1))] as number;
      if (head >= SIZE) throw new Error('head');
      last = (last + 1) & 0xffff;
      halves[USED / 2 + 2 + 4 * SIZE] = last;
      let table = DESC >>> 2;
      let max = SIZE;
      let d = table + (head << 2);
      let tail = words[d + 3] as number;
      if ((tail & 4) !== 0) {
        const low = words[d] as number;
        const size = words[d + 2] as number;
        if (words[d + 1] !== 0 || low < 0 || size <= 0 || low > MEMORY - size) throw new Error('table');
        table = low >>> 2;
        max = size >>> 4;
        d = table;
        tail = words[d + 3] as number;
      }
      let count = 0;
      let out = 0;
      let written = 0;
      for (;;) {
        const low = words[d] as number;
        const size = words[d + 2] as number;
        if (words[d + 1] !== 0 || low < 0 || size <= 0 || low > MEMORY - size) throw new Error('address');
        at[count] = low;
        length[count] = size;
        if ((tail & 2) === 0) {
          if (out++ !== count) throw new Error('order');
        } else written += size;
        if (++count > max || count === SEGMENTS) throw new Error('loop');
        if ((tail & 1) === 0) break;
        const next = tail >>> 16;
        if (next >= max) throw new Error('next');
        d = table + (next << 2);
        tail = words[d + 3] as number;
      }
      sum += count + written;
      if (copy !== undefined) {
        for (let i = 0, to = 0; i < count; i++) {
          const from = at[i] as number;
          const size = length[i] as number;
          if (i < out) copy.set(bytes.subarray(from, from + size), to);
          else bytes.set(copy.subarray(to, to + size), from);
          to += size;
        }
      }
      const slot = (USED >>> 2) + 1 + ((used & (SIZE - 1)) << 1);
      words[slot] = head;
      words[slot + 1] = written;
      const old = this.signalled;
      used = (used + 1) & 0xffff;
      halves[USED / 2 + 1] = used;
      this.signalled = used;
      const event = halves[AVAIL / 2 + 2 + SIZE] as number;
      if (((used - event - 1) & 0xffff) < ((used - old) & 0xffff)) this.interrupts++;
    }
    this.lastAvail = last;
    this.usedIdx = used;
    return sum;
  }
}
