import type { Gpa } from '../contract/memory.ts';
import { PIECES_MAX } from './chain.ts';
import type { MappedMemory } from './memory.ts';
import type { PackedRing } from './packed-ring.ts';
import { DESC_INDIRECT, DESC_NEXT, DESC_WRITE } from './ring-base.ts';
import type { SplitRing } from './split-ring.ts';

/** Enough there, not enough, or why the ring makes no sense. */
export type AvailBytes = boolean | string;

/** Answers whether the chains of a split ring from `index` on have so many bytes. QEMU: `virtqueue_split_get_avail_bytes`. */
export function splitAvailBytes(
  ring: SplitRing,
  memory: MappedMemory,
  index: number,
  inBytes: number,
  outBytes: number,
): AvailBytes {
  const { size } = ring;
  let total = 0;
  let inTotal = 0;
  let outTotal = 0;
  for (let at = index; ; at = (at + 1) & 0xffff) {
    const heads = (ring.availIdx() - at) & 0xffff;
    if (heads > size) return `Guest moved used index from ${at} to ${ring.availIdx()}`;
    if (heads === 0) break;
    const head = ring.availEntry(at);
    if (head >= size) return `Guest says index ${head} is available`;
    let table = ring.desc;
    let max = size;
    let count = total;
    ring.readDesc(table, head);
    const indirect = (ring.flags & DESC_INDIRECT) !== 0;
    if (indirect) {
      const problem = tableProblem(memory, ring.addr, ring.length, count >= size);
      if (problem !== '') return problem;
      table = ring.addr as Gpa;
      max = ring.length / 16;
      count = 0;
      ring.readDesc(table, 0);
    }
    for (;;) {
      if (++count > max) return 'Looped descriptor';
      if ((ring.flags & DESC_WRITE) !== 0) inTotal = (inTotal + ring.length) >>> 0;
      else outTotal = (outTotal + ring.length) >>> 0;
      if (inTotal >= inBytes && outTotal >= outBytes) return true;
      // such a chain breaks the device when it is taken: do not let a guest make this walk long
      if (count > PIECES_MAX) return true;
      if ((ring.flags & DESC_NEXT) === 0) break;
      if (ring.next >= max) return `Desc next is ${ring.next}`;
      ring.readDesc(table, ring.next);
    }
    total = indirect ? total + 1 : count;
  }
  return inBytes <= inTotal && outBytes <= outTotal;
}

/**
 * The same for a packed ring; where it ended is left in `shadow` of the ring.
 * QEMU: `virtqueue_packed_get_avail_bytes`.
 */
export function packedAvailBytes(
  ring: PackedRing,
  memory: MappedMemory,
  slot: number,
  wrap: boolean,
  inBytes: number,
  outBytes: number,
): AvailBytes {
  const { size } = ring;
  let total = 0;
  let inTotal = 0;
  let outTotal = 0;
  ring.shadow = -1;
  let at = slot;
  let lap = wrap;
  while (ring.isAvail(at, lap)) {
    let table = ring.desc;
    let max = size;
    let count = total;
    let next = at;
    ring.readDesc(table, at);
    const indirect = (ring.flags & DESC_INDIRECT) !== 0;
    if (indirect) {
      const problem = tableProblem(memory, ring.addr, ring.length, count >= size);
      if (problem !== '') return problem;
      table = ring.addr as Gpa;
      max = ring.length / 16;
      count = 0;
      next = 0;
      ring.readDesc(table, 0);
    }
    for (;;) {
      if (++count > max) return 'Looped descriptor';
      if ((ring.flags & DESC_WRITE) !== 0) inTotal = (inTotal + ring.length) >>> 0;
      else outTotal = (outTotal + ring.length) >>> 0;
      if (inTotal >= inBytes && outTotal >= outBytes) return true;
      if (count > PIECES_MAX) return true;
      if (indirect ? ++next === max : (ring.flags & DESC_NEXT) === 0) break;
      if (!indirect && ++next === size) next = 0;
      ring.readDesc(table, next);
    }
    at += indirect ? 1 : count - total;
    total = indirect ? total + 1 : count;
    if (at >= size) {
      at -= size;
      lap = !lap;
    }
  }
  ring.shadow = at | (lap ? 0x8000 : 0);
  return inBytes <= inTotal && outBytes <= outTotal;
}

/** What is wrong with an indirect table; empty if nothing. */
export function tableProblem(memory: MappedMemory, addr: number, bytes: number, looped = false): string {
  // an empty table makes QEMU abort on a packed ring
  if (bytes === 0 || bytes % 16 !== 0) return 'Invalid size for indirect buffer table';
  if (looped) return 'Looped descriptor';
  const mapping = memory.at(addr);
  return mapping !== undefined && bytes > mapping.end - addr ? 'Cannot map indirect buffer' : '';
}
