import type { DeviceModel } from '../contract/device-model.ts';
import type { TransportParts, VirtioState } from '../contract/state.ts';
import type { LiveDeviceType, RequestSide } from './device-type.ts';

/** Device type with what its devices are connected to: makes live devices from their states. */
export interface ConnectedType {
  /** Name of the device type. */
  readonly name: string;
  /** Requests in flight, for types whose requests a host can execute for a guest that stands still. */
  readonly requests: RequestSide<unknown> | undefined;
  /** Makes the device that has this state. @throws HostError for options that contradict each other */
  make(title: string, state: VirtioState): DeviceModel;
}

/**
 * Says what the devices of a type are connected to where they go on.
 *
 * ```ts
 * connect(blkType).to((title, inferred) => ({ ...inferred, backend: fileDisk(`${title}.img`) }));
 * ```
 *
 * The function that is given to `to` gets the device's title (`virtio-blk@0000:00:02.0`) and the options that its state tells, and
 * returns all options.
 */
export function connect<D, I, O extends I>({
  layer,
  live,
  requests,
}: LiveDeviceType<D, I, O>): {
  to(options: (title: string, inferred: I) => O): ConnectedType;
} {
  return {
    to: (options) => ({
      name: layer.name,
      requests,
      // a state of another type has another name in front of it
      make: (title, state) => live.make(options(title, live.infer(state as VirtioState<TransportParts, D>))),
    }),
  };
}
