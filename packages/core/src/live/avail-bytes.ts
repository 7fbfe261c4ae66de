import type { AvailMemo } from './avail-memo.ts';
import type { DescriptorCursor } from './descriptor-cursor.ts';

/** A cursor that also goes from one available chain to the next. */
export interface AvailableChains extends DescriptorCursor {
  /** Ring slot that the chain begins in. */
  readonly slot: number;
  /** Number of ring slots that were gone over before the chain, all laps counted, so that no position comes twice. */
  readonly position: number;
  /**
   * Is there an available chain at the cursor?
   *
   * @param passed slots that chains took since the scan began
   */
  available(passed: number): boolean;
  /**
   * Goes to the chain's first descriptor, in its indirect table if it has one. Answers false, with `problem` set, if
   * the chain makes no sense.
   *
   * @param room descriptors that the chain may have, of those of the ring
   */
  open(room: number): boolean;
  /** Goes behind the chain, which takes so many slots of a packed ring. */
  pass(slots: number): void;
}

/**
 * Do the available chains, from the one that the cursor was started at, together have so many bytes? Answers what is wrong
 * with the ring if it makes no sense. QEMU: `virtqueue_split_get_avail_bytes`, `virtqueue_packed_get_avail_bytes`.
 *
 * @param size entries of the ring
 */
export function availBytes(
  cursor: AvailableChains,
  memo: AvailMemo,
  size: number,
  inBytes: number,
  outBytes: number,
): boolean | string {
  if (cursor.problem !== '') return cursor.problem;
  memo.begin(inBytes, outBytes);
  while (cursor.available(memo.slots)) {
    const before = memo.slots;
    if (!memo.recall(cursor.slot, cursor.position)) {
      const problem = countChain(cursor, memo, size - before);
      if (problem !== '') return problem;
      if (memo.cut) return true;
      memo.keep(cursor.slot, cursor.position);
    }
    if (memo.enough()) return true;
    cursor.pass(memo.slots - before);
  }
  return memo.enough();
}

/** Counts the bytes of one chain. Answers what is wrong with it, or an empty text. */
function countChain(cursor: AvailableChains, memo: AvailMemo, room: number): string {
  if (!cursor.open(room)) return cursor.problem;
  memo.indirect = cursor.indirect;
  const allowed = cursor.indirect ? cursor.entries : room;
  for (let count = 1; ; count++) {
    if (count > allowed) return 'Looped descriptor';
    memo.count(cursor.writable, cursor.length);
    if (memo.cut || !cursor.next()) return cursor.problem;
  }
}
