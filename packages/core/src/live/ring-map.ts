import type { Facts } from '@virtkit/vmstate';
import { hex } from '@virtkit/vmstate';
import type { Gpa, GuestMemory } from '../contract/memory.ts';
import { mappedMemory } from './guest-memory.ts';
import type { QueueSetup, RingIndices } from './ring.ts';

/** Answer to how the three parts of a ring lie in guest memory. */
export type Mapping =
  /**
   * Each part lies in one region, or nowhere: what is not there reads as 0 and takes no writes, as ROM does. QEMU says nothing
   * either.
   */
  | { readonly kind: 'mapped' }
  /** Finding that a part begins in a region and does not end in it, which breaks the device. */
  | { readonly kind: 'cut'; readonly part: 'desc' | 'avail' | 'used' };

/** Looks how the parts of a ring lie in guest memory. QEMU: `virtio_init_region_cache`. */
export function mapRing(setup: QueueSetup, packed: boolean): Mapping {
  const { size, desc, avail, used } = setup;
  const memory = mappedMemory(setup.memory);
  const event = setup.eventIdx ? 2 : 0;
  const availBytes = packed ? 4 : 4 + 2 * size + event;
  const usedBytes = packed ? 4 : 4 + 8 * size + event;
  for (const [part, gpa, length] of [
    ['desc', desc, 16 * size],
    ['used', used, usedBytes],
    ['avail', avail, availBytes],
  ] as const) {
    if (memory.isCut(gpa, length)) return { kind: 'cut', part };
  }
  return { kind: 'mapped' };
}

/** Finding that the indices of a split ring make no sense. */
export interface IndexFinding {
  /** True if QEMU refuses to load such a state; if false, QEMU loads it and the device is broken. */
  readonly fatal: boolean;
  readonly reason: string;
  readonly facts: Facts;
}

/** Reads the index of the driver's or the device's part of a split ring; 0 where there is no memory. */
function ringIndex(memory: GuestMemory, gpa: Gpa, littleEndian: boolean): number {
  return Math.max(0, memory.readU16((gpa + 2) as Gpa, littleEndian));
}

/** Does the saved index of a split ring fit what guest memory says? QEMU: `virtio_load`, "Guest index inconsistent". */
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

/**
 * Derives the indices of a split ring, with `usedIdx` and `inuse` as guest memory tells them, since they are never on
 * the wire.
 */
export function splitIndices(setup: QueueSetup, saved: RingIndices): RingIndices {
  const usedIdx = ringIndex(setup.memory, setup.used, setup.littleEndian);
  return { ...saved, usedIdx, inuse: (saved.lastAvailIdx - usedIdx) & 0xffff };
}
