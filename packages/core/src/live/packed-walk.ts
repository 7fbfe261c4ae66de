import type { RingChain } from './chain.ts';
import { PackedCursor } from './packed-cursor.ts';
import { PackedRing } from './packed-ring.ts';
import type { QueueSetup } from './ring.ts';
import { RingBase } from './ring-base.ts';

/** Base of {@link PackedQueue}: the part of a packed virtqueue that takes chains from the ring. */
export abstract class PackedWalk extends RingBase {
  declare protected readonly ring: PackedRing;
  declare protected readonly cursor: PackedCursor;
  /** The slot of the next chain to take. */
  declare protected lastAvail: number;
  /** The wrap counter of {@link lastAvail}. It is a number since the test of a number is one instruction. */
  declare protected lastWrap: 0 | 1;
  /**
   * Slot behind the chains that {@link availBytes} counted, with the wrap counter as bit 15: kicks are asked for what
   * is made available there. -1: nothing was counted, and {@link lastAvail} stands for it. QEMU: `shadow_avail_idx`.
   */
  protected shadow = -1;
  /** 1 if {@link follow} must be called when a chain was taken; else 0. */
  protected following: 0 | 1 = 0;
  /** Number of slots of the ring that the chains in flight take. QEMU: `inuse`. */
  declare protected inuse: number;
  /** Number of chains in flight, however many slots they take. */
  protected flying = 0;

  constructor(setup: QueueSetup) {
    super(setup);
    const { size, indices } = setup;
    this.lastAvail = indices.lastAvailIdx % size;
    this.inuse = indices.inuse;
    this.lastWrap = indices.lastAvailWrap ? 1 : 0;
    this.ring = new PackedRing(setup, this.memory);
    this.cursor = new PackedCursor(this.ring);
  }

  /**
   * Collects a chain's buffers through the views of the ring; undefined if the device broke. Anything out of the ordinary goes
   * to {@link walkLong}, which reads what comes behind the head's last word anew and judges it.
   *
   * @param slot of the head, in words
   * @param head its last word, as it was when it was found available
   */
  protected walk(slot: number, head: number): RingChain | undefined {
    // flags are the high half of the last word; constants of a module are variables to the engine, and `| 0` says that a
    // number is an integer
    const NEXT = 1 << 16;
    const WRITE = 2 << 16;
    const INDIRECT = 4 << 16;
    const { ring } = this;
    const chain = this.pool.take();
    let { words } = ring;
    let at = slot;
    let begin = ring.descBase;
    let end = (begin + (this.size << 2)) | 0;
    let tail = head;
    const indirect = (tail & INDIRECT) !== 0;
    if (indirect) {
      const bytes = words[(at + 2) | 0] as number;
      begin = this.table(words[at] as number, words[(at + 1) | 0] as number, bytes);
      if (begin < 0) return this.walkLong(head, chain);
      ({ words } = this.region);
      at = begin;
      end = (at + (bytes >>> 2)) | 0;
      tail = words[(at + 3) | 0] as number;
    }
    let { region } = this;
    // a loop goes on until there is no room; for a chain that is only long, the long way makes room
    const { pieces, room } = chain;
    let filled = 0;
    let outEnd = -1;
    let sum = 0;
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
        chain.cut(filled >> 1, other.index);
        region = other;
        offset = (low - region.lo) | 0;
      }
      // what the device reads comes first
      if ((tail & WRITE) !== 0) {
        if (outEnd < 0) {
          outEnd = filled;
          chain.out.known = sum;
          sum = 0;
        }
      } else if (outEnd >= 0) break;
      sum = (sum + length) | 0;
      if (filled >= room || sum < 0) break;
      pieces[filled] = offset;
      pieces[(filled + 1) | 0] = length;
      filled = (filled + 2) | 0;
      at = (at + 4) | 0;
      // Virtio 1.3 §2.8.7: the length of a table, not NEXT, says where it ends
      if (indirect ? at === end : (tail & NEXT) === 0) {
        if (outEnd < 0) {
          outEnd = filled;
          chain.out.known = sum;
          sum = 0;
        }
        // more pieces than the ring has descriptors: the driver changes them meanwhile
        if (filled >> 1 > (end - begin) >> 2) break;
        // Virtio 1.3 §2.8.18 MUST: descriptors of a list are used in their order
        chain.splitKnown(outEnd >> 1, filled >> 1, sum);
        // Virtio 1.3 §2.8.6: the buffer id is in the last descriptor of a chain
        chain.index = (indirect ? head : tail) & 0xffff;
        return this.taken(chain, indirect ? 1 : filled >> 1);
      }
      if (at === end) at = begin;
      tail = words[(at + 3) | 0] as number;
    }
    return this.walkLong(head, chain);
  }

  /** Collects a chain's buffers from any ring and any memory, by a cursor; undefined if the device broke. */
  protected walkLong(head: number, chain: RingChain = this.pool.take()): RingChain | undefined {
    const { cursor } = this;
    cursor.begin(this.lastAvail, head);
    const first = cursor.id;
    const slots = this.collect(cursor, chain);
    if (slots === 0) {
      this.pool.give(chain);
      return undefined;
    }
    // QEMU before 7.2.13 and 9.1 took the first one's: drivers that it works with have the same in all
    chain.index = cursor.indirect ? first : cursor.id;
    return this.taken(chain, slots);
  }

  /** Notes that the device has a chain which takes `slots` slots of the ring. */
  private taken(chain: RingChain, slots: number): RingChain {
    chain.ndescs = slots;
    this.flying = (this.flying + 1) | 0;
    this.inuse = (this.inuse + slots) | 0;
    this.lastAvail = (this.lastAvail + slots) | 0;
    if (this.lastAvail >= this.size) {
      this.lastAvail = (this.lastAvail - this.size) | 0;
      this.laps++;
      this.lastWrap = this.lastWrap !== 0 ? 0 : 1;
    }
    if (this.following !== 0) this.follow();
    return chain;
  }

  /** Asks the driver to kick at another slot, when {@link lastAvail} has moved on. */
  protected abstract follow(): void;
}
