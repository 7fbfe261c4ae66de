import type { Facts } from '@virtkit/vmstate';
import type { GuestMemory } from './memory.ts';
import type { Virtqueue } from './queue.ts';

/** Core, as a live device type sees it: handed to {@link DeviceModel.attach}. */
export interface DeviceHost {
  /** Guest memory. Call its `sync()` where the back end, and not core, enters the device type. */
  readonly memory: GuestMemory;
  /** Negotiated features. */
  readonly features: bigint;
  /** Is this feature bit negotiated? Cheap enough for a request, not for a segment. */
  has(bit: number): boolean;
  /** Is this feature bit offered to the driver? */
  offers(bit: number): boolean;
  /** Byte order of multi-byte fields in requests and configuration: little with VERSION_1, else the guest's. */
  readonly littleEndian: boolean;
  /** Device status byte that the driver has set, 0 to 255. Virtio 1.3 §2.1 */
  readonly status: number;
  /** Is the driver running (DRIVER_OK, or a legacy driver that kicked early), the device whole and not paused? */
  readonly running: boolean;
  /** The running queue, or undefined while the driver has not set it up. */
  queue(index: number): Virtqueue | undefined;
  /**
   * Tells that the device has changed its configuration: the generation goes up and, if the driver is running, it is
   * interrupted.
   */
  notifyConfig(): void;
  /**
   * Reports that the guest broke a rule: the device gets NEEDS_RESET, one event is told, and no queue gives anything
   * until a reset. QEMU: `virtio_error`.
   */
  fault(reason: string, facts?: Facts): void;
  /** Tells the host program of something that an operator may want to know and that breaks nothing. */
  event(name: string, facts?: Facts): void;
  /** Tells core that {@link DeviceModel.queueSizes} has changed, so that queues are made and removed accordingly. */
  queuesChanged(): void;
}
