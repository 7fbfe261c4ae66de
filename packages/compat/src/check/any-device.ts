import type { DeviceLayer, DeviceModel, VirtioState } from '@virtkit/core';

/** Part of a device type that shows on a bus: enough to make the function around it, and to ask that about a state. */
export interface Outside {
  readonly layer: DeviceLayer;
  readonly queueSizes: readonly number[];
}

/** Device of any type that does nothing: the transport around it is what is looked at. */
export class AnyDevice implements DeviceModel {
  readonly layer: DeviceLayer;
  readonly queueSizes: readonly number[];
  readonly features = 0n;
  readonly configLength: number;
  readonly #device: unknown;

  constructor({ layer, queueSizes }: Outside, { config, device }: Pick<VirtioState, 'config' | 'device'>) {
    this.layer = layer;
    this.queueSizes = queueSizes;
    this.configLength = config.length;
    this.#device = device;
  }

  attach(): void {}
  handleQueue(): void {}
  capture(): unknown {
    return this.#device;
  }
  /** Does nothing: the device has no state of its own. */
  apply(): void {}
}
