import type { RingFeatures } from '@virtkit/core';
import type { PciOptions } from '@virtkit/transport-pci';

/** Options of a PCI function, as far as configuration space tells them. */
export type InferredPci = Omit<PciOptions, 'memory'>;

/** Changes to how a transport is made, where that is not as the state says. */
export interface Made {
  /** Changes the options of the PCI function that the state tells. */
  pci?(inferred: InferredPci): InferredPci;
  /** Ring features that are offered or not, whatever the state tells. */
  readonly rings?: RingFeatures;
  /** True to offer VERSION_1, for channel I/O and MMIO. */
  readonly version1?: boolean;
}
