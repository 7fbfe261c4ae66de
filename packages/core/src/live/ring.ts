import type { Facts } from '@virtkit/vmstate';
import type { InFlightLog } from '../contract/in-flight-log.ts';
import type { Gpa, GuestMemory } from '../contract/memory.ts';
import type { Virtqueue } from '../contract/queue.ts';

/** Position of a queue in its ring: what a save keeps, and from where a ring that is set up anew goes on. */
export interface RingIndices {
  /**
   * The next available entry to take: its free-running 16-bit index in a split ring, its slot in a packed ring. QEMU:
   * `last_avail_idx`.
   */
  lastAvailIdx: number;
  /** Wrap counter of `lastAvailIdx` in a packed ring. QEMU: `last_avail_wrap_counter`. */
  lastAvailWrap: boolean;
  /** The next used entry to write: its free-running 16-bit index in a split ring, its slot in a packed ring. QEMU: `used_idx`. */
  usedIdx: number;
  /** Wrap counter of `usedIdx` in a packed ring. QEMU: `used_wrap_counter`. */
  usedWrap: boolean;
  /**
   * Number of chains of a split ring, or of slots of a packed ring, that were taken and not given back. QEMU: `inuse`.
   */
  inuse: number;
  /**
   * `usedIdx` at the last decision about an interrupt. If it is absent or -1, the next completion interrupts whatever the driver's
   * event index says. It is never saved. QEMU: `signalled_used`.
   */
  signalled?: number;
  /** Heads of chains of a split ring that are in flight and nobody has. They are taken first, in this order. */
  again?: readonly number[];
}

/** Device as a queue sees it. */
export interface QueueOwner {
  /** True while chains may be taken: the device is not broken, disabled (no bus mastering) or paused. */
  readonly live: boolean;
  /**
   * True if the guest has broken the device. Chains that a broken or disabled device gives back are forgotten instead
   * of written. QEMU: `virtio_device_disabled`.
   */
  readonly broken: boolean;
  /** True if the driver has switched the device off (PCI: no bus mastering). QEMU: `disabled`. */
  readonly disabled: boolean;
  /** Log that hears of each chain that is taken and given back, if there is one. */
  readonly inFlightLog?: InFlightLog | undefined;
  /** Breaks the device: the guest's ring makes no sense. The host hears of it once, however often this is called. */
  fault(reason: string, facts?: Facts): void;
  /** Sets the interrupt status and interrupts the driver for a queue. */
  interrupt(queue: number): void;
  /**
   * Notes that kicks are asked for, or for another place, in a ring that the driver writes on another processor. A driver that
   * does not see it in time puts something in without a kick, so that the device has to look once more a little later.
   */
  kicksAskedFor?(queue: number): void;
}

/** A queue as the driver has configured it: what a running queue is made from. */
export interface QueueSetup {
  /** Number of the queue, 0 to 1023. */
  readonly index: number;
  /** Number of entries, at least 1. In a split ring it is what the driver has set, not always a power of two. */
  readonly size: number;
  /** Guest address of the descriptor table, or of the descriptor ring of a packed queue. */
  readonly desc: Gpa;
  /** Guest address of the available ring, or of the driver's event suppression of a packed queue. */
  readonly avail: Gpa;
  /** Guest address of the used ring, or of the device's event suppression of a packed queue. */
  readonly used: Gpa;
  /** The memory that the ring and its buffers lie in. */
  readonly memory: GuestMemory;
  /** Byte order of the ring: little-endian with VERSION_1, else the guest's own. */
  readonly littleEndian: boolean;
  /** True if INDIRECT_DESC was negotiated. Indirect tables are followed without it, too, as in QEMU. */
  readonly indirect: boolean;
  /** True if EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** True if IN_ORDER was negotiated. */
  readonly inOrder: boolean;
  /** True if NOTIFY_ON_EMPTY was negotiated. */
  readonly notifyOnEmpty: boolean;
  /** Position where the ring begins or goes on. */
  readonly indices: RingIndices;
  /** The device that the queue belongs to. */
  readonly owner: QueueOwner;
}

/**
 * Running ring with the methods that core calls besides those of {@link Virtqueue}. `SplitQueue` and `PackedQueue` are
 * made from a {@link QueueSetup}.
 */
export interface Ring extends Virtqueue {
  /** Copies the ring's position as it is now. */
  indices(): RingIndices;
  /**
   * Lets the next completion after a load interrupt, whatever the driver's event index says. QEMU:
   * `signalled_used_valid`.
   */
  forgetSignalled(): void;
  /** Switches the queue on or off. While it is off nothing is taken, and what was taken can be given back. */
  setEnabled(enabled: boolean): void;
}

/** Indices of a ring after a reset. Virtio 1.3 §2.8.1: both wrap counters start at 1. */
export function freshIndices(): RingIndices {
  return { lastAvailIdx: 0, lastAvailWrap: true, usedIdx: 0, usedWrap: true, inuse: 0 };
}
