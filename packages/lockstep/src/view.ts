import type { LiveDevice } from '@virtkit/core';
import type { PciParts } from '@virtkit/transport-pci';
import type { Setup } from './setup.ts';

/**
 * View that the generator has while it thinks of the next operation: our device, which is in the state that QEMU's will
 * be in. A driver would know the same from what it did before.
 */
export interface View {
  readonly setup: Setup;
  readonly live: LiveDevice<PciParts, unknown>;
  /** PCI configuration space. */
  readonly config: Uint8Array;
  readonly ram: DataView;
}
