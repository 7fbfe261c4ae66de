import type { Facts } from '@virtkit/vmstate';
import type { Gpa } from '../contract/memory.ts';
import { tableProblem } from './avail-bytes.ts';
import type { RingChain } from './chain.ts';
import type { QueueSetup } from './ring.ts';
import { DESC_INDIRECT, DESC_NEXT, DESC_WRITE, RingBase } from './ring-base.ts';
import { SplitRing } from './split-ring.ts';

/** From a head in a split ring to a chain. */
export abstract class SplitWalk extends RingBase {
  declare protected readonly ring: SplitRing;
  declare protected inuse: number;
  /** The ring's views, for the short way. */
  declare protected words: Int32Array;
  protected descBase = 0;

  constructor(setup: QueueSetup) {
    super(setup);
    this.ring = new SplitRing(setup, this.memory);
    this.inuse = setup.indices.inuse;
    this.words = this.ring.words;
  }

  /**
   * Collects a chain's buffers; undefined if the device broke. Anything out of the ordinary goes to {@link walkLong},
   * which reads the chain anew and judges it.
   */
  protected walk(head: number): RingChain | undefined {
    // constants of a module are variables to the engine; these are constants
    const NEXT = 1;
    const WRITE = 2;
    const INDIRECT = 4;
    const chain = this.take();
    let { words, hit } = this;
    let base = this.descBase;
    let max = this.size;
    let at = base + (head << 2);
    let tail = words[at + 3] as number;
    if ((tail & INDIRECT) !== 0) {
      const bytes = words[at + 2] as number;
      const table = this.table(words[at] as number, words[at + 1] as number, bytes);
      if (table < 0) return this.walkLong(head, chain);
      ({ hit } = this);
      ({ words } = hit);
      base = table;
      max = bytes >>> 4;
      at = base;
      tail = words[at + 3] as number;
    }
    let { list } = chain;
    let end = 0;
    let outEnd = -1;
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
        chain.cut(end >> 1, other.index);
        hit = other;
        offset = (low - hit.lo) >>> 0;
      }
      // read buffers first, then the others; a total that is no small number is added up when it is asked for
      if ((tail & WRITE) !== 0) {
        if (outEnd < 0) {
          outEnd = end;
          chain.out.known = sum;
        }
      } else if (outEnd >= 0) break;
      sum = (sum + length) | 0;
      // more pieces than a table has room for is a loop
      if (end >> 1 >= max || sum < 0) break;
      if (end === list.length) {
        if (end === 2048) break;
        chain.grow();
        ({ list } = chain);
      }
      list[end] = offset;
      list[end + 1] = length;
      end += 2;
      if ((tail & NEXT) === 0) {
        if (outEnd < 0) {
          outEnd = end;
          chain.out.known = sum;
        }
        chain.split(outEnd >> 1, end >> 1, sum);
        return this.taken(chain, head);
      }
      const next = tail >>> 16;
      if (next >= max) break;
      at = base + (next << 2);
      tail = words[at + 3] as number;
    }
    return this.walkLong(head, chain);
  }

  /** The same for any ring and any memory, with QEMU's checks in QEMU's order. QEMU: `virtqueue_split_pop`. */
  protected walkLong(head: number, chain: RingChain = this.take()): RingChain | undefined {
    const { ring } = this;
    let table = ring.desc;
    let max = this.size;
    ring.readDesc(table, head);
    if ((ring.flags & DESC_INDIRECT) !== 0) {
      // Virtio 1.3 §2.7.5.3.2 MUST: WRITE is ignored beside INDIRECT. A table behind plain descriptors is not known, as in QEMU
      const problem = tableProblem(this.memory, ring.addr, ring.length);
      if (problem !== '') return this.bad(chain, problem, { addr: ring.addr, bytes: ring.length });
      table = ring.addr as Gpa;
      max = ring.length / 16;
      ring.readDesc(table, 0);
    }
    let count = 0;
    let out = 0;
    chain.begin(0);
    for (let entries = 1; ; entries++) {
      const writable = (ring.flags & DESC_WRITE) !== 0;
      // Virtio 1.3 §2.7.4.2: what the device writes comes behind what it reads
      if (!writable && count > out) return this.bad(chain, 'Incorrect order for descriptors');
      count = chain.map(count, ring.addr, ring.length, writable);
      if (count < 0) return this.bad(chain, chain.problem, { addr: ring.addr, length: ring.length });
      if (!writable) out = count;
      if (entries > max) return this.bad(chain, 'Looped descriptor', { head });
      if ((ring.flags & DESC_NEXT) === 0) break;
      if (ring.next >= max) return this.bad(chain, `Desc next is ${ring.next}`, { next: ring.next });
      ring.readDesc(table, ring.next);
    }
    chain.out.known = -1;
    chain.split(out, count, -1);
    return this.taken(chain, head);
  }

  private taken(chain: RingChain, head: number): RingChain {
    chain.index = head;
    chain.state = 1;
    this.inuse++;
    return chain;
  }

  private bad(chain: RingChain, reason: string, facts: Facts = {}): undefined {
    this.fail(reason, facts);
    return this.give(chain);
  }
}
