import type { DeviceModel } from '@virtkit/core';
import { pci } from './layer.ts';
import { PciFunction as LivePciFunction } from './live/function.ts';
import type { PciOptions } from './live/options.ts';

/**
 * A virtio device as a PCI function, of whose state bytes can be made: Virtio 1.3 §4.1; QEMU `hw/virtio/virtio-pci.c`. An emulator
 * hands it the guest's accesses to configuration space and BARs, and takes interrupts and messages from it.
 *
 * Nothing here throws for what a guest does, whatever the offset, the size and the value.
 */
export class PciFunction<D = unknown> extends LivePciFunction<D> {
  /** @throws HostError for options that make no function */
  constructor(model: DeviceModel<D>, options: PciOptions) {
    super(model, options, pci);
  }
}
