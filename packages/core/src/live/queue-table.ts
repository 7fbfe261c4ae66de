import type { Gpa, GuestMemory } from '../contract/memory.ts';
import { hasFeature } from '../features.ts';
import { FEATURE, QUEUE_MAX } from '../spec.ts';
import { PackedQueue } from './packed-queue.ts';
import { QueueSlot } from './queue-slot.ts';
import type { QueueOwner, QueueSetup, Ring, RingIndices } from './ring.ts';
import { mapRing } from './ring-map.ts';
import { SplitQueue } from './split-queue.ts';

/** Rules that are the same for all rings of a device, beside what the driver sets for each of them. */
export interface RingRules {
  /** Negotiated features. */
  readonly features: bigint;
  /** Byte order of split rings: little with VERSION_1, else the guest's. */
  readonly littleEndian: boolean;
}

/** The device that the queues belong to. */
export interface TableOwner extends QueueOwner, RingRules {
  readonly memory: GuestMemory;
  /** Is this feature bit negotiated? */
  has(bit: number): boolean;
  /** Lets the device type forget a queue's requests in flight, since the queue is reset. */
  forgetRequests(queue: number): void;
  /** Lets the transport forget a queue's interrupt vector, since the queue is reset. */
  resetVector(queue: number): void;
}

/** Collects what a ring is made from, out of a slot whose addresses are set. */
export function setupOf(
  slot: QueueSlot,
  owner: TableOwner,
  { features, littleEndian }: RingRules,
): QueueSetup {
  return {
    index: slot.index,
    size: slot.num,
    desc: Number(slot.desc) as Gpa,
    avail: Number(slot.avail) as Gpa,
    used: Number(slot.used) as Gpa,
    memory: owner.memory,
    littleEndian,
    indirect: hasFeature(features, FEATURE.INDIRECT_DESC),
    eventIdx: hasFeature(features, FEATURE.EVENT_IDX),
    inOrder: hasFeature(features, FEATURE.IN_ORDER),
    notifyOnEmpty: hasFeature(features, FEATURE.NOTIFY_ON_EMPTY),
    indices: slot.indices,
    owner,
  };
}

/** Table of all queues of a device: as the driver configures them, and running. */
export class QueueTable {
  readonly slots: readonly QueueSlot[];
  readonly #owner: TableOwner;

  constructor(owner: TableOwner, defaultAlign: number) {
    this.#owner = owner;
    this.slots = Array.from({ length: QUEUE_MAX }, (_, index) => new QueueSlot(index, defaultAlign));
  }

  /** Number of the highest queue that exists, plus 1. */
  get count(): number {
    let count = QUEUE_MAX;
    while (count > 0 && this.slots[count - 1]?.exists !== true) count--;
    return count;
  }

  /** Makes queues exist with the sizes that they are created with, and others not. */
  create(sizes: readonly number[]): void {
    for (const slot of this.slots) {
      const size = sizes[slot.index] ?? 0;
      if (slot.numDefault !== size) slot.create(size);
    }
  }

  /** The running queue of a slot, made if it can be. */
  ring(index: number): Ring | undefined {
    const slot = this.slots[index];
    if (slot === undefined) return undefined;
    if (slot.ring === undefined && slot.desc !== 0n && slot.exists && !this.#owner.broken) this.start(slot);
    return slot.ring;
  }

  /** Sets the number of entries of a ring. QEMU: `virtio_queue_set_num`. */
  setSize(slot: QueueSlot, num: number): void {
    if (num < 0 || num > QUEUE_MAX || (num !== 0) !== slot.exists || num === slot.num) return;
    this.#stop(slot);
    slot.num = num;
  }

  /** Sets the address of a legacy ring. QEMU: `virtio_queue_set_addr`. */
  setAddress(slot: QueueSlot, desc: bigint): void {
    if (!slot.exists) return;
    this.#owner.memory.sync();
    this.#stop(slot);
    slot.setups++;
    slot.desc = desc;
    slot.layOutLegacy();
    this.start(slot);
  }

  /** Sets the addresses of the three parts of a ring. QEMU: `virtio_queue_set_rings`. */
  setAddresses(slot: QueueSlot, desc: bigint, avail: bigint, used: bigint): void {
    if (!slot.exists) return;
    this.#owner.memory.sync();
    this.#stop(slot);
    slot.setups++;
    // Virtio 1.3 §2.6.1.2.1 MUST: size and places as the driver has set them since
    slot.desc = desc;
    slot.avail = avail;
    slot.used = used;
    this.start(slot);
  }

  /** Sets where the ring goes on that is set up next. */
  setPosition(slot: QueueSlot, indices: RingIndices): void {
    if (!slot.exists) return;
    this.#stop(slot);
    slot.indices = indices;
  }

  setEnabled(slot: QueueSlot, enabled: boolean): void {
    slot.enabled = enabled;
    slot.ring?.setEnabled(enabled);
  }

  /** Resets one queue, Virtio 1.3 §2.6.1. QEMU: `virtio_queue_reset`. */
  reset(slot: QueueSlot): void {
    if (!slot.exists) return;
    // Virtio 1.3 §2.6.1.1.1 MUST NOT: nothing of the queue is executed or notified any more
    this.#owner.forgetRequests(slot.index);
    // Virtio 1.3 §2.6.1.1.1 MUST: all of its state is as by default
    slot.reset();
    this.#owner.resetVector(slot.index);
  }

  /** Resets all queues to how they were created. */
  resetAll(): void {
    for (const slot of this.slots) {
      if (slot.numDefault !== 0 || slot.desc !== 0n) slot.reset();
      this.#owner.resetVector(slot.index);
    }
  }

  /**
   * Makes running rings anew when features change: the rules of rings follow them, and with EVENT_IDX their size does,
   * so that one that did not fit is tried again.
   */
  featuresChanged(): void {
    const resized = this.#owner.has(FEATURE.EVENT_IDX);
    for (const slot of this.slots) {
      if (slot.ring === undefined && (!resized || slot.desc === 0n)) continue;
      this.#stop(slot);
      this.start(slot);
    }
  }

  /** Makes the running queue of a slot. A ring whose parts are cut off by the end of a region breaks the device. */
  start(slot: QueueSlot): void {
    if (!slot.exists || slot.desc === 0n) return;
    const owner = this.#owner;
    const setup = setupOf(slot, owner, owner);
    const packed = owner.has(FEATURE.RING_PACKED);
    const mapping = mapRing(setup, packed);
    if (mapping.kind === 'mapped') {
      slot.ring = packed ? new PackedQueue(setup) : new SplitQueue(setup);
      if (!slot.enabled) slot.ring.setEnabled(false);
    }
    if (mapping.kind === 'cut') {
      const { index, desc, avail, used } = slot;
      owner.fault(`Cannot map ${mapping.part}`, { queue: index, desc, avail, used });
    }
  }

  /** Ends the running queue of a slot. Its requests in flight cannot be given back any more. */
  #stop(slot: QueueSlot): void {
    if ((slot.ring?.inFlight ?? 0) > 0) this.#owner.forgetRequests(slot.index);
    slot.stop();
  }
}
