import type { Gpa } from '../contract/memory.ts';
import type { AvailMemo } from './avail-memo.ts';
import type { MappedMemory } from './memory.ts';
import { NOT_AVAIL, type PackedRing } from './packed-ring.ts';
import { DESC_INDIRECT, DESC_NEXT, DESC_WRITE } from './ring-base.ts';
import type { SplitRing } from './split-ring.ts';

/** Enough there, not enough, or why the ring makes no sense. */
export type AvailBytes = boolean | string;

/**
 * Answers whether the chains of a split ring from `position` on have so many bytes: the free-running index, laps of 65536
 * included. QEMU: `virtqueue_split_get_avail_bytes`.
 */
export function splitAvailBytes(
  ring: SplitRing,
  memory: MappedMemory,
  memo: AvailMemo,
  position: number,
  inBytes: number,
  outBytes: number,
): AvailBytes {
  const { size } = ring;
  memo.begin(inBytes, outBytes);
  const index = ring.availIdx();
  const heads = (index - position) & 0xffff;
  if (heads > size) return `Guest moved used index from ${position & 0xffff} to ${index}`;
  for (let at = position; at < position + heads; at++) {
    const slot = at % size;
    if (!memo.recall(slot, at)) {
      const head = ring.availEntry(at & 0xffff);
      if (head >= size) return `Guest says index ${head} is available`;
      const problem = splitChain(ring, memory, memo, head);
      if (problem !== '') return problem;
      if (memo.cut) return true;
      memo.keep(slot, at);
    }
    if (memo.enough()) return true;
  }
  return memo.enough();
}

/** Counts one chain of a split ring; what is wrong with it, or an empty text. */
function splitChain(ring: SplitRing, memory: MappedMemory, memo: AvailMemo, head: number): string {
  let table = ring.desc;
  let max = ring.size;
  let allowed = max - memo.slots;
  ring.readDesc(table, head);
  memo.indirect = (ring.flags & DESC_INDIRECT) !== 0;
  if (memo.indirect) {
    const problem = tableProblem(memory, ring.addr, ring.length, allowed <= 0);
    if (problem !== '') return problem;
    table = ring.addr as Gpa;
    max = ring.length / 16;
    allowed = max;
    ring.readDesc(table, 0);
  }
  for (let count = 1; ; count++) {
    if (count > allowed) return 'Looped descriptor';
    memo.count((ring.flags & DESC_WRITE) !== 0, ring.length);
    if (memo.cut || (ring.flags & DESC_NEXT) === 0) return '';
    const { next } = ring;
    if (next >= max) return `Desc next is ${next}`;
    ring.readDesc(table, next);
  }
}

/**
 * The same for a packed ring, from a slot of a lap on; `position` is the slot, all laps before it included. Where the walk
 * ended is left in `shadow` of the ring. QEMU: `virtqueue_packed_get_avail_bytes`.
 */
export function packedAvailBytes(
  ring: PackedRing,
  memory: MappedMemory,
  memo: AvailMemo,
  position: number,
  wrap: boolean,
  inBytes: number,
  outBytes: number,
): AvailBytes {
  const { size } = ring;
  memo.begin(inBytes, outBytes);
  ring.shadow = -1;
  let slot = position % size;
  let lap = wrap;
  // at most one lap: no slot is looked at twice
  for (let at = position; memo.slots < size; ) {
    const tail = ring.availTail(slot, lap);
    if (tail === NOT_AVAIL) break;
    const before = memo.slots;
    if (!memo.recall(slot, at)) {
      const problem = packedChain(ring, memory, memo, slot, tail);
      if (problem !== '') return problem;
      if (memo.cut) return true;
      memo.keep(slot, at);
    }
    if (memo.enough()) return true;
    const taken = memo.slots - before;
    at += taken;
    slot += taken;
    if (slot < size) continue;
    slot -= size;
    lap = !lap;
  }
  ring.shadow = slot | (lap ? 0x8000 : 0);
  return memo.enough();
}

/** Counts one chain of a packed ring; what is wrong with it, or an empty text. */
function packedChain(
  ring: PackedRing,
  memory: MappedMemory,
  memo: AvailMemo,
  slot: number,
  tail: number,
): string {
  const { size } = ring;
  let table = ring.desc;
  let allowed = size - memo.slots;
  let at = slot;
  ring.readHead(slot, tail);
  memo.indirect = (ring.flags & DESC_INDIRECT) !== 0;
  if (memo.indirect) {
    const problem = tableProblem(memory, ring.addr, ring.length, allowed <= 0);
    if (problem !== '') return problem;
    table = ring.addr as Gpa;
    allowed = ring.length / 16;
    at = 0;
    ring.readDesc(table, 0);
  }
  for (let count = 1; ; count++) {
    if (count > allowed) return 'Looped descriptor';
    memo.count((ring.flags & DESC_WRITE) !== 0, ring.length);
    if (memo.cut) return '';
    at++;
    if (memo.indirect ? at === allowed : (ring.flags & DESC_NEXT) === 0) return '';
    if (!memo.indirect && at === size) at = 0;
    ring.readDesc(table, at);
  }
}

/** What is wrong with an indirect table; empty if nothing. */
export function tableProblem(memory: MappedMemory, addr: number, bytes: number, looped = false): string {
  // an empty table makes QEMU abort on a packed ring
  if (bytes === 0 || bytes % 16 !== 0) return 'Invalid size for indirect buffer table';
  if (looped) return 'Looped descriptor';
  const mapping = memory.at(addr);
  return mapping !== undefined && bytes > mapping.end - addr ? 'Cannot map indirect buffer' : '';
}
