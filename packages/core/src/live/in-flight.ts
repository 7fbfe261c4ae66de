import { hex } from '@virtkit/vmstate';
import type { RequestInFlight } from '../contract/device-model.ts';
import type { Report } from '../contract/finding.ts';
import { reportError } from '../report.ts';
import { DESC_INDIRECT, DESC_NEXT } from './descriptor-cursor.ts';
import { mappedMemory } from './guest-memory.ts';
import { PackedCursor } from './packed-cursor.ts';
import { PackedRing } from './packed-ring.ts';
import type { QueueSetup } from './ring.ts';
import { SplitRing } from './split-ring.ts';

/**
 * Lists the heads of the chains that were taken last from a split ring, oldest first, as the avail ring still has them.
 */
export function headsTaken(ring: SplitRing, lastAvail: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => ring.availEntry((lastAvail - count + i) & 0xffff));
}

/**
 * Lists the buffer ids of the chains in `inuse` slots of a packed ring from `usedIdx` on, oldest first, as their
 * descriptors still have them.
 */
export function idsTaken(ring: PackedRing, usedIdx: number, inuse: number): number[] {
  const { size } = ring;
  const cursor = new PackedCursor(ring);
  const ids: number[] = [];
  for (let done = 0; done < inuse && done < size; ) {
    cursor.readSlot((usedIdx + done) % size);
    const indirect = (cursor.flags & DESC_INDIRECT) !== 0;
    for (done++; !indirect && (cursor.flags & DESC_NEXT) !== 0 && done < inuse; done++)
      cursor.readSlot((usedIdx + done) % size);
    ids.push(cursor.id);
  }
  return ids;
}

/** Most heads that a message names. */
const HEADS_SHOWN = 16;

function shown(heads: readonly number[]): string {
  const more = heads.length > HEADS_SHOWN ? ', …' : '';
  return heads.length === 0 ? 'none' : heads.slice(0, HEADS_SHOWN).join(', ') + more;
}

/**
 * Reports what the requests in flight of a saved state and the ring that they were taken from say against each other: a
 * request that is in the list and not in the ring would be done twice and given back out of nothing, one that is in the ring
 * only would be lost. QEMU looks at none of it.
 *
 * @param setup the queue as the state has it, indices among it
 * @param requests those of this queue, as the state lists them
 */
export function checkInFlight(
  setup: QueueSetup,
  packed: boolean,
  requests: readonly RequestInFlight[],
  report: Report,
): void {
  const { index: queue, indices, size } = setup;
  const { inuse, usedIdx, lastAvailIdx } = indices;
  const heads = requests.map(({ element }) => element.index);
  const seen = new Set<number>();
  const again = requests.find(({ element }) => seen.size === seen.add(element.index).size);
  if (again !== undefined) {
    const { index } = again.element;
    reportError(
      report,
      'request-twice',
      again.path,
      `descriptor ${index} of queue ${queue} is in flight twice`,
      { index, queue },
    );
    return;
  }
  const unit = packed ? 'slots' : 'chains';
  const listed = packed ? requests.reduce((sum, { ndescs = 1 }) => sum + ndescs, 0) : heads.length;
  const memory = mappedMemory(setup.memory);
  const taken = packed
    ? idsTaken(new PackedRing(setup, memory), usedIdx, inuse)
    : headsTaken(new SplitRing(setup, memory), lastAvailIdx, inuse);
  const facts = {
    queue,
    inuse,
    listed,
    lastAvailIdx,
    usedIdx,
    size,
    heads: shown(heads),
    ring: shown(taken),
  };
  if (listed !== inuse) {
    reportError(
      report,
      'request-count',
      `queues[${queue}]`,
      `${inuse} ${unit} of queue ${queue} are in flight (last_avail_idx ${hex(lastAvailIdx)}, used_idx ${hex(usedIdx)}; ${shown(taken)}), and requests in flight have ${listed} (${shown(heads)})`,
      facts,
    );
    return;
  }
  if (!setup.inOrder) return;
  const known = new Set(taken);
  const strange = requests.find(({ element }) => !known.has(element.index));
  if (strange === undefined) {
    if (taken.length !== requests.length)
      reportError(
        report,
        'request-order',
        `queues[${queue}]`,
        `queue ${queue} gives back in order what the ring calls ${shown(taken)}, and requests in flight are ${shown(heads)}`,
        facts,
      );
    return;
  }
  reportError(
    report,
    'request-order',
    strange.path,
    `descriptor ${strange.element.index} is not among those that queue ${queue} gives back in order (${shown(taken)})`,
    facts,
  );
}
