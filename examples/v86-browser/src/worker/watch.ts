import { type Gpa, type LiveDevice, nameStatus } from '@virtkit/core';
import type { PciParts } from '@virtkit/transport-pci';
import type { QueueView } from '../protocol.ts';

/** Names of the queues of each device. Virtio 1.3 §5.1.2, §5.2.2 */
const QUEUES = { 'virtio-blk': ['requests'], 'virtio-net': ['receive', 'transmit', 'control'] } as const;

/** Where avail and used ring have their index. Virtio 1.3 §2.7.6, §2.7.8 */
const IDX = 2n;

/**
 * Looks at the rings of a device while the guest works with them. Reading takes a few memory accesses per queue; kicks and
 * interrupts are counted as they happen.
 */
export class Watch<D> {
  readonly #device: LiveDevice<PciParts, D>;
  readonly #names: readonly string[];

  constructor(device: LiveDevice<PciParts, D>) {
    this.#device = device;
    this.#names = QUEUES[device.model.layer.name as keyof typeof QUEUES] ?? [];
  }

  get status(): string[] {
    return nameStatus(this.#device.status);
  }

  queues(): QueueView[] {
    const device = this.#device;
    const { memory } = device;
    memory.sync();
    // split rings: this page's cards and disks offer no others
    const index = (ring: bigint): number =>
      ring === 0n ? 0 : Math.max(0, memory.readU16(Number(ring + IDX) as Gpa, true));
    return this.#names.flatMap((name, i) => {
      const queue = device.queue(i);
      if (queue === undefined || queue.size === 0) return [];
      const { lastAvailIdx, usedIdx, inuse } = queue.position;
      return {
        name,
        size: queue.size,
        avail: index(queue.avail),
        taken: lastAvailIdx,
        used: usedIdx,
        inFlight: inuse,
        kicks: queue.kicks,
        interrupts: queue.interrupts,
      };
    });
  }
}
