import type { Facts } from '@virtkit/vmstate';
import { hex } from '@virtkit/vmstate';
import type { Gpa, GuestMemory } from '../contract/memory.ts';
import type { QueueSetup, RingIndices } from './ring.ts';

/** What a ring's three parts look like in guest memory. */
export type Mapping =
  /** All RAM. */
  | { readonly kind: 'mapped' }
  /** Nothing there: reads as zeros, so nothing is ever available. Not an error in QEMU either. */
  | { readonly kind: 'absent' }
  /** Begins in RAM and does not end there: breaks the device. */
  | { readonly kind: 'cut'; readonly part: 'desc' | 'avail' | 'used' };

/** Are the parts of a ring in guest memory? QEMU: `virtio_init_region_cache`. */
export function mapRing(setup: QueueSetup, packed: boolean): Mapping {
  const { size, desc, avail, used, memory } = setup;
  const event = setup.eventIdx ? 2 : 0;
  const availBytes = packed ? 4 : 4 + 2 * size + event;
  const usedBytes = packed ? 4 : 4 + 8 * size + event;
  let absent = false;
  for (const [part, gpa, length, writable] of [
    ['desc', desc, 16 * size, packed],
    ['used', used, usedBytes, true],
    ['avail', avail, availBytes, false],
  ] as const) {
    if (memory.covers(gpa, length, writable)) continue;
    if (memory.covers(gpa, 1)) return { kind: 'cut', part };
    absent = true;
  }
  return absent ? { kind: 'absent' } : { kind: 'mapped' };
}

/** A split ring whose indices make no sense. */
export interface IndexFinding {
  /** QEMU refuses the load; otherwise it loads and the device is broken. */
  readonly fatal: boolean;
  readonly reason: string;
  readonly facts: Facts;
}

/** avail.idx and used.idx of a split ring. 0 where there is no memory. */
function ringIndex(memory: GuestMemory, gpa: Gpa, littleEndian: boolean): number {
  return Math.max(0, memory.readU16((gpa + 2) as Gpa, littleEndian));
}

/** Split ring: does the saved index fit what guest memory says? QEMU: `virtio_load`, "Guest index inconsistent". */
export function checkSplitIndices(setup: QueueSetup, lastAvailIdx: number): IndexFinding | undefined {
  const { memory, size, littleEndian, index } = setup;
  const mapping = mapRing(setup, false);
  if (mapping.kind === 'cut') {
    const { part } = mapping;
    return {
      fatal: false,
      reason: `Cannot map ${part}: not all of it is in guest memory`,
      facts: { part, size },
    };
  }
  const availIdx = ringIndex(memory, setup.avail, littleEndian);
  const usedIdx = ringIndex(memory, setup.used, littleEndian);
  const delta = (availIdx - lastAvailIdx) & 0xffff;
  if (delta > size) {
    return {
      fatal: false,
      reason: `VQ ${index} size ${hex(size)} Guest index ${hex(availIdx)} inconsistent with Host index ${hex(lastAvailIdx)}: delta ${hex(delta)}`,
      facts: { availIdx, lastAvailIdx, size, delta },
    };
  }
  const inuse = (lastAvailIdx - usedIdx) & 0xffff;
  if (inuse <= size) return undefined;
  return {
    fatal: true,
    reason: `VQ ${index} size ${hex(size)} < last_avail_idx ${hex(lastAvailIdx)} - used_idx ${hex(usedIdx)}`,
    facts: { lastAvailIdx, usedIdx, size, inuse },
  };
}

/** Split ring: used_idx and inuse as guest memory tells them. They are never on the wire. */
export function splitIndices(setup: QueueSetup, saved: RingIndices): RingIndices {
  const usedIdx = ringIndex(setup.memory, setup.used, setup.littleEndian);
  return { ...saved, usedIdx, inuse: (saved.lastAvailIdx - usedIdx) & 0xffff };
}
