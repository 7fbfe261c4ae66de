import type { DeviceModel } from '../contract/device-model.ts';
import type { LiveDevice } from '../contract/live-device.ts';
import type { TransportParts } from '../contract/state.ts';
import type { TransportHost } from '../contract/transport-host.ts';
import type { TransportModel } from '../contract/transport-model.ts';
import { DeviceCore } from './device-core.ts';
import { LiveFacade } from './live-facade.ts';
import { ModelFacade } from './model-facade.ts';
import type { LiveOptions } from './options.ts';
import { TransportFacade } from './transport-facade.ts';

/** The two sides of a live device that are not the device type's. */
export interface CreatedDevice<T extends TransportParts, D> {
  /**
   * Device as the host program sees it: to be saved, restored, stopped and resumed. A transport shows it to its user.
   */
  readonly device: LiveDevice<T, D>;
  /** Device as the transport sees it: what the driver reaches. A transport keeps it to itself. */
  readonly host: TransportHost;
}

/**
 * Puts core between a device type and a transport. A transport calls it in its constructor:
 *
 * ```ts
 * const { device, host } = createDevice<MyParts, D>(model, this, { memory: options.memory });
 * ```
 *
 * The device type is attached when this returns; nothing of the transport is called before the driver does something.
 *
 * @throws HostError for memory that is none
 */
export function createDevice<T extends TransportParts, D>(
  model: DeviceModel<D>,
  transport: TransportModel<T>,
  options: LiveOptions,
): CreatedDevice<T, D> {
  const core = new DeviceCore(model, transport, options, (made) => new ModelFacade(made));
  return { device: new LiveFacade(core, model), host: new TransportFacade(core) };
}
