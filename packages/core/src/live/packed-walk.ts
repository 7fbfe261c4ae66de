import type { Facts } from '@virtkit/vmstate';
import type { Gpa } from '../contract/memory.ts';
import { tableProblem } from './avail-bytes.ts';
import type { RingChain } from './chain.ts';
import { PackedRing } from './packed-ring.ts';
import type { QueueSetup } from './ring.ts';
import { DESC_INDIRECT, DESC_NEXT, DESC_WRITE, RingBase } from './ring-base.ts';

/** From a slot of a packed ring to a chain. */
export abstract class PackedWalk extends RingBase {
  declare protected readonly ring: PackedRing;
  /** The next slot, and its wrap counter as a number: its test is one instruction. */
  declare protected lastAvail: number;
  declare protected lastWrap: 0 | 1;
  /** How often {@link lastAvail} has begun anew. */
  protected laps = 0;
  /** Where the device has looked to, with the wrap counter as bit 15; -1: to {@link lastAvail}. QEMU: `shadow_avail_idx`. */
  protected shadow = -1;
  /** Something depends on {@link lastAvail}: {@link follow} is called when a chain was taken. */
  protected following: 0 | 1 = 0;
  /** Slots. */
  declare protected inuse: number;
  /** Chains. */
  protected flying = 0;
  /** The ring's views, for the short way. */
  declare protected words: Int32Array;
  protected descBase = 0;

  constructor(setup: QueueSetup) {
    super(setup);
    const { size, indices } = setup;
    this.lastAvail = indices.lastAvailIdx % size;
    this.lastWrap = indices.lastAvailWrap ? 1 : 0;
    this.inuse = indices.inuse;
    this.ring = new PackedRing(setup, this.memory);
    this.words = this.ring.words;
  }

  /**
   * Collects a chain's buffers; undefined if the device broke. Anything out of the ordinary goes to {@link walkLong},
   * which reads what comes behind the head's last word anew and judges it.
   *
   * @param slot of the head, in words
   * @param head its last word, as it was when it was found available
   */
  protected walk(slot: number, head: number): RingChain | undefined {
    // flags are the high half of the last word; constants of a module are variables to the engine
    const NEXT = 1 << 16;
    const WRITE = 2 << 16;
    const INDIRECT = 4 << 16;
    const { size } = this;
    const chain = this.take();
    let { words, hit } = this;
    let at = slot;
    let end = this.descBase + (size << 2);
    let tail = head;
    const indirect = (tail & INDIRECT) !== 0;
    if (indirect) {
      const bytes = words[at + 2] as number;
      const table = this.table(words[at] as number, words[at + 1] as number, bytes);
      if (table < 0) return this.walkLong(head, chain);
      ({ hit } = this);
      ({ words } = hit);
      at = table;
      end = at + (bytes >>> 2);
      tail = words[at + 3] as number;
    }
    let { list } = chain;
    let count = 0;
    let out = -1;
    let sum = 0;
    chain.begin(hit.index);
    for (;;) {
      // each word is read once: what is judged is what is used, whatever another thread writes meanwhile
      const low = words[at] as number;
      const high = words[at + 1] as number;
      const length = words[at + 2] as number;
      let offset = (low - hit.lo) >>> 0;
      if (high !== hit.hi || offset >= hit.span || (length - 1) >>> 0 >= hit.span - offset) {
        const other = this.locate(low, high, length);
        if (other === undefined) break;
        chain.cut(count, other.index);
        hit = other;
        offset = (low - hit.lo) >>> 0;
      }
      // read buffers first, then the others; a total that is no small number is added up when it is asked for
      if ((tail & WRITE) !== 0) {
        if (out < 0) {
          out = count;
          chain.out.known = sum;
        }
      } else if (out >= 0) break;
      sum = (sum + length) | 0;
      if (sum < 0) break;
      if (count << 1 === list.length) {
        if (count === 1024) break;
        chain.grow();
        ({ list } = chain);
      }
      list[count << 1] = offset;
      list[(count << 1) + 1] = length;
      count++;
      at += 4;
      // Virtio 1.3 §2.8.7: the length of a table, not NEXT, says where it ends
      if (indirect ? at === end : (tail & NEXT) === 0) {
        if (out < 0) {
          out = count;
          chain.out.known = sum;
        }
        // Virtio 1.3 §2.8.18 MUST: descriptors of a list are used in their order
        chain.split(out, count, sum);
        // Virtio 1.3 §2.8.6: the buffer id is in the last descriptor of a chain
        chain.index = (indirect ? head : tail) & 0xffff;
        chain.ndescs = indirect ? 1 : count;
        return this.taken(chain);
      }
      if (at === end) at -= size << 2;
      // more than a ring has room for is a loop
      if (!indirect && count === size) break;
      tail = words[at + 3] as number;
    }
    return this.walkLong(head, chain);
  }

  /** The same for any ring and any memory, with QEMU's checks in QEMU's order. QEMU: `virtqueue_packed_pop`. */
  protected walkLong(head: number, chain: RingChain = this.take()): RingChain | undefined {
    const { ring, size } = this;
    let table = ring.desc;
    let max = size;
    let at = this.lastAvail;
    ring.readHead(at, head);
    const { id } = ring;
    const indirect = (ring.flags & DESC_INDIRECT) !== 0;
    if (indirect) {
      const problem = tableProblem(this.memory, ring.addr, ring.length);
      if (problem !== '') return this.bad(chain, problem, { addr: ring.addr, bytes: ring.length });
      table = ring.addr as Gpa;
      max = ring.length / 16;
      at = 0;
      ring.readDesc(table, 0);
    }
    let count = 0;
    let out = 0;
    chain.begin(0);
    for (let entries = 1; ; entries++) {
      const writable = (ring.flags & DESC_WRITE) !== 0;
      // Virtio 1.3 §2.8.17: what the device writes comes behind what it reads
      if (!writable && count > out) return this.bad(chain, 'Incorrect order for descriptors');
      count = chain.map(count, ring.addr, ring.length, writable);
      if (count < 0) return this.bad(chain, chain.problem, { addr: ring.addr, length: ring.length });
      if (!writable) out = count;
      if (entries > max) return this.bad(chain, 'Looped descriptor');
      chain.ndescs = indirect ? 1 : entries;
      if (indirect ? ++at === max : (ring.flags & DESC_NEXT) === 0) break;
      if (!indirect && ++at === size) at = 0;
      ring.readDesc(table, at);
    }
    // QEMU before 7.2.13 and 9.1 took the first one's: drivers that it works with have the same in all
    chain.index = indirect ? id : ring.id;
    chain.out.known = -1;
    chain.split(out, count, -1);
    return this.taken(chain);
  }

  private bad(chain: RingChain, reason: string, facts: Facts = {}): undefined {
    this.fail(reason, facts);
    return this.give(chain);
  }

  /** The device has a chain. */
  private taken(chain: RingChain): RingChain {
    const { ndescs } = chain;
    chain.state = 1;
    this.flying++;
    this.inuse += ndescs;
    this.lastAvail += ndescs;
    if (this.lastAvail >= this.size) {
      this.lastAvail -= this.size;
      this.laps++;
      this.lastWrap = this.lastWrap !== 0 ? 0 : 1;
    }
    if (this.following !== 0) this.follow();
    return chain;
  }

  /** {@link lastAvail} has moved on. */
  protected abstract follow(): void;
}
