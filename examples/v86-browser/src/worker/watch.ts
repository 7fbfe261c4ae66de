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
  readonly #kicks: number[];
  readonly #interrupts: number[];

  constructor(device: LiveDevice<PciParts, D>) {
    this.#device = device;
    this.#names = QUEUES[device.model.layer.name as keyof typeof QUEUES] ?? [];
    this.#kicks = this.#names.map(() => 0);
    this.#interrupts = this.#names.map(() => 0);
    const kick = device.kick.bind(device);
    device.kick = (queue, shadow) => {
      if (queue < this.#kicks.length) this.#kicks[queue] = (this.#kicks[queue] ?? 0) + 1;
      kick(queue, shadow);
    };
    const interrupt = device.interrupt.bind(device);
    device.interrupt = (queue) => {
      if (queue < this.#interrupts.length) this.#interrupts[queue] = (this.#interrupts[queue] ?? 0) + 1;
      interrupt(queue);
    };
  }

  get status(): string[] {
    return nameStatus(this.#device.status);
  }

  queues(): QueueView[] {
    const { memory, slots } = this.#device;
    memory.sync();
    // split rings: this page's cards and disks offer no others
    const index = (ring: bigint): number =>
      ring === 0n ? 0 : Math.max(0, memory.readU16(Number(ring + IDX) as Gpa, true));
    return this.#names.flatMap((name, i) => {
      const slot = slots[i];
      if (slot?.exists !== true) return [];
      const { lastAvailIdx, usedIdx, inuse } = slot.indices;
      return {
        name,
        size: slot.num,
        avail: index(slot.avail),
        taken: lastAvailIdx,
        used: usedIdx,
        inFlight: inuse,
        kicks: this.#kicks[i] ?? 0,
        interrupts: this.#interrupts[i] ?? 0,
      };
    });
  }
}
