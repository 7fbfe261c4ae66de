import type { RingChain } from './chain.ts';
import type { QueueSetup } from './ring.ts';
import { RingBase } from './ring-base.ts';
import { SplitCursor } from './split-cursor.ts';
import { SplitRing } from './split-ring.ts';

/** Base of {@link SplitQueue}: the part of a split virtqueue that takes chains from the ring. */
export abstract class SplitWalk extends RingBase {
  declare protected readonly ring: SplitRing;
  declare protected readonly cursor: SplitCursor;
  /**
   * Number, modulo 2^16, of chains that were taken from the ring and never came back to it: forgotten by a device, or
   * unusable. The chains in flight are the distance of the two indices without them, so that pop and push need not
   * count.
   */
  declare protected lost: number;

  constructor(setup: QueueSetup) {
    super(setup);
    this.ring = new SplitRing(setup, this.memory);
    this.cursor = new SplitCursor(this.ring);
  }

  /**
   * Collects a chain's buffers through the views of the ring; undefined if the device broke. Anything out of the ordinary goes
   * to {@link walkLong}, which reads the chain anew and judges it.
   */
  protected walk(head: number): RingChain | undefined {
    // constants of a module are variables to the engine; these are constants, and `| 0` says that a number is an integer
    const NEXT = 1;
    const WRITE = 2;
    const INDIRECT = 4;
    const { ring } = this;
    const chain = this.pool.take();
    let { words, descBase: base } = ring;
    let max = this.size;
    let at = (base + (head << 2)) | 0;
    let tail = words[(at + 3) | 0] as number;
    if ((tail & INDIRECT) !== 0) {
      const bytes = words[(at + 2) | 0] as number;
      base = this.table(words[at] as number, words[(at + 1) | 0] as number, bytes);
      if (base < 0) return this.walkLong(head, chain);
      ({ words } = this.region);
      max = bytes >>> 4;
      at = base;
      tail = words[(at + 3) | 0] as number;
    }
    let { region } = this;
    // a loop goes on until there is no room; for a chain that is only long, the long way makes room
    const { pieces, room } = chain;
    let end = 0;
    let outEnd = -1;
    let sum = 0;
    chain.index = head;
    chain.begin(region.index);
    for (;;) {
      // each word is read once: what is judged is what is used, whatever another thread writes meanwhile
      const low = words[at] as number;
      const high = words[(at + 1) | 0] as number;
      const length = words[(at + 2) | 0] as number;
      let offset = (low - region.lo) | 0;
      if (high !== region.hi || offset < 0 || length <= 0 || offset > ((region.span - length) | 0)) {
        const other = this.locate(low, high, length);
        if (other === undefined) break;
        chain.cut(end >> 1, other.index);
        region = other;
        offset = (low - region.lo) | 0;
      }
      // what the device reads comes first
      if ((tail & WRITE) !== 0) {
        if (outEnd < 0) {
          outEnd = end;
          chain.out.known = sum;
          sum = 0;
        }
      } else if (outEnd >= 0) break;
      sum = (sum + length) | 0;
      if (end >= room || sum < 0) break;
      pieces[end] = offset;
      pieces[(end + 1) | 0] = length;
      end = (end + 2) | 0;
      if ((tail & NEXT) === 0) {
        if (outEnd < 0) {
          outEnd = end;
          chain.out.known = sum;
          sum = 0;
        }
        // more pieces than the table has descriptors: the driver changes them meanwhile
        if (end >> 1 > max) break;
        chain.splitKnown(outEnd >> 1, end >> 1, sum);
        return chain;
      }
      const next = tail >>> 16;
      if (next >= max) break;
      at = (base + (next << 2)) | 0;
      tail = words[(at + 3) | 0] as number;
    }
    return this.walkLong(head, chain);
  }

  /** Collects a chain's buffers from any ring and any memory, by a cursor; undefined if the device broke. */
  protected walkLong(head: number, chain: RingChain = this.pool.take()): RingChain | undefined {
    this.cursor.begin(head);
    chain.index = head;
    if (this.collect(this.cursor, chain) > 0) return chain;
    this.lost++;
    this.pool.give(chain);
    return undefined;
  }
}
