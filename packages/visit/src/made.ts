import type { RingFeatures } from '@virtkit/core';
import type { PciOptions } from '@virtkit/transport-pci';

/** The options of a PCI function, as far as configuration space tells them. */
export type InferredPci = Omit<PciOptions, 'memory'>;

/** How a transport is made that is not as the state says. */
export interface Made {
  /** The options of the PCI function, from those that the state tells. */
  pci?(inferred: InferredPci): InferredPci;
  /** Ring features that are offered or not, whatever the state tells. */
  readonly rings?: RingFeatures;
  /** Offer VERSION_1 (channel I/O, MMIO). */
  readonly version1?: boolean;
}
