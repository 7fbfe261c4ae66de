import type { Facts } from '@virtkit/vmstate';
import type { Gpa, GuestMemory } from '../contract/memory.ts';
import type { Virtqueue } from '../contract/queue.ts';

/** Where a queue stands in its ring. What a save keeps, and what a ring set up anew goes on from. */
export interface RingIndices {
  /** Split: free-running index of the next avail entry to take. Packed: slot. QEMU: `last_avail_idx`. */
  lastAvailIdx: number;
  lastAvailWrap: boolean;
  /** Split: free-running index of the next used entry to write. Packed: slot. QEMU: `used_idx`. */
  usedIdx: number;
  usedWrap: boolean;
  /** Split: chains, packed: ring slots, taken and not given back. QEMU: `inuse`. */
  inuse: number;
  /** `usedIdx` at the last decision about an interrupt; absent or -1: the next completion interrupts. Never saved. */
  signalled?: number;
}

/** What a queue needs of the device that it belongs to. */
export interface QueueOwner {
  /** False while the device is broken, disabled (no bus mastering) or paused: then nothing is taken. */
  readonly live: boolean;
  /** While one of these is set, what devices give back is forgotten instead of written. QEMU: `virtio_device_disabled`. */
  readonly broken: boolean;
  readonly disabled: boolean;
  /** Breaks the device; told once, however often it is called. */
  fault(reason: string, facts?: Facts): void;
  /** `isr` and an interrupt for this queue. */
  interrupt(queue: number): void;
}

/** A configured queue: what turns into a running one. */
export interface QueueSetup {
  readonly index: number;
  /** Entries; not 0. A split ring's is whatever the driver set, not always a power of two. */
  readonly size: number;
  readonly desc: Gpa;
  readonly avail: Gpa;
  readonly used: Gpa;
  readonly memory: GuestMemory;
  /** Byte order of the ring: little with VERSION_1, else the guest's. */
  readonly littleEndian: boolean;
  /** INDIRECT_DESC, EVENT_IDX, IN_ORDER, NOTIFY_ON_EMPTY negotiated. */
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  readonly inOrder: boolean;
  readonly notifyOnEmpty: boolean;
  readonly indices: RingIndices;
  readonly owner: QueueOwner;
}

/** A running ring, as LiveDevice has it. `SplitQueue` and `PackedQueue` are made from a {@link QueueSetup}. */
export interface Ring extends Virtqueue {
  /** A copy of where it stands now. */
  indices(): RingIndices;
  /** The first completion interrupts whatever the driver's event index says. After a load. QEMU: `signalled_used_valid`. */
  forgetSignalled(): void;
}

/** How a ring of these indices would look after a reset. Virtio 1.3 §2.8.1: both wrap counters start at 1. */
export function freshIndices(): RingIndices {
  return { lastAvailIdx: 0, lastAvailWrap: true, usedIdx: 0, usedWrap: true, inuse: 0 };
}
