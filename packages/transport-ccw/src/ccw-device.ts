import type { DeviceModel } from '@virtkit/core';
import { ccw } from './layer.ts';
import { type CcwOptions, CcwDevice as LiveCcwDevice } from './live/ccw-device.ts';

/**
 * A virtio device on channel I/O, of whose state bytes can be made: the subchannel that a guest's instructions reach, the virtio commands of channel
 * programs, and notifications. Virtio 1.3 §4.3; QEMU `VirtioCcwDevice`.
 *
 * An emulator with a channel subsystem of its own calls {@link CcwDevice.subchannel}'s instructions and
 * {@link CcwDevice.kick}; one without makes a `ChannelSubsystem`, which is also the `host` here.
 */
export class CcwDevice<D = unknown> extends LiveCcwDevice<D> {
  /** Transport layer with the format of the transport's part of the saved state. */
  declare readonly layer: typeof ccw;

  /** @throws HostError that names the option */
  constructor(model: DeviceModel<D>, options: CcwOptions) {
    super(model, options, ccw);
  }
}
