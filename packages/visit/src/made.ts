import type { DeviceModel, RingFeatures } from '@virtkit/core';
import type { BlkOptions } from '@virtkit/device-blk';
import type { NetOptions } from '@virtkit/device-net';
import type { PciOptions } from '@virtkit/transport-pci';

/** How a device is made that is not as its state says: each function gets what the state says. */
export interface Made {
  /** The device itself, in place of one that is made from the state. */
  readonly model?: DeviceModel;
  blk?(inferred: BlkOptions): BlkOptions;
  net?(inferred: NetOptions): NetOptions;
  pci?(inferred: Omit<PciOptions, 'memory'>): Omit<PciOptions, 'memory'>;
  readonly rings?: RingFeatures;
  /** Offer VERSION_1 (channel I/O, MMIO). */
  readonly version1?: boolean;
}
