import {
  type DeviceHost,
  type DeviceLayer,
  type DeviceModel,
  FEATURE,
  negotiated,
  type VirtioState,
} from '@virtkit/core';
import type { PciParts } from '@virtkit/transport-pci';

/** Features that core or the transport offers; the others are the device type's. */
const NOT_THE_DEVICES = [24, 27, 28, 29, 30, 32, 33, 34, 35, 36, 37, 38, 40].reduce(
  (sum, bit) => sum | (1n << BigInt(bit)),
  0n,
);

/** Stands for a device type that has no package: as large as a saved one, and carries its state as it is. */
export class ReplayModel<D> implements DeviceModel<D> {
  readonly layer: DeviceLayer<D>;
  readonly features: bigint;
  readonly configLength: number;
  readonly queueSizes: readonly number[];
  #state: D;

  constructor(layer: DeviceLayer<D>, state: VirtioState<PciParts, D>) {
    this.layer = layer;
    // a subsection for features above 63 is there if the host offers any
    const high = state.subsections.features128 === undefined ? 0n : 1n << 65n;
    this.features = (negotiated(state) & ~NOT_THE_DEVICES) | high;
    this.configLength = state.config.length;
    this.queueSizes = state.queues.map(({ num }, index) => state.subsections.ringsize?.[index] ?? num);
    this.#state = state.device;
  }

  getFeatures(features: bigint): bigint {
    return features & ~(1n << BigInt(FEATURE.NOTIFICATION_DATA));
  }

  attach(_host: DeviceHost): void {}
  handleQueue(): void {}

  capture(): D {
    return this.#state;
  }

  apply(state: VirtioState<never, D>): void {
    this.#state = state.device;
  }
}
