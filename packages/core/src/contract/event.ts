import type { Facts } from '@virtkit/vmstate';

/** Something that a device tells its host program, not its driver. */
export interface DeviceEvent {
  /** Kind of event. `fault`: the guest broke the device, until its next reset. Other kinds have names of their own. */
  readonly name: string;
  /** Name of the device type: `virtio-blk`. */
  readonly device: string;
  /** Description of the guest's mistake in QEMU's words; events called `fault` have it. */
  readonly reason?: string;
  /** Values that the event is about, by name. */
  readonly facts?: Facts;
}
