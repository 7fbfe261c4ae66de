import type { Facts } from '@virtkit/vmstate';

/** Something that a device tells its host program, not its driver. */
export interface DeviceEvent {
  /** `fault`: the guest broke the device, until its next reset. Others name themselves. */
  readonly name: string;
  /** Name of the device type: `virtio-blk`. */
  readonly device: string;
  /** What the guest did, in QEMU's words; faults have it. */
  readonly reason?: string;
  /** The values by name. */
  readonly facts?: Facts;
}
