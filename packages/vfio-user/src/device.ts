import type { DeviceModel, LiveDevice } from '@virtkit/core';
import type { Platform } from '@virtkit/linux';
import { PciFunction, type PciOptions, type PciParts } from '@virtkit/transport-pci';
import { DmaMemory } from './session/dma.ts';
import { Interrupts } from './session/interrupts.ts';
import { Regions } from './session/regions.ts';

/** Options of a device behind vfio-user: the function's shape, as `PciFunction` has it. */
export type VfioUserDeviceOptions = Omit<
  PciOptions,
  'memory' | 'setIntx' | 'sendMsi' | 'sendVector' | 'onBarChange'
>;

/**
 * Virtio device behind vfio-user: a PCI function whose bus, memory and interrupts are a client's. The session knows
 * which messages have what effect.
 */
export class VfioUserDevice<D = unknown> {
  readonly pci: PciFunction<D>;
  readonly memory: DmaMemory;
  readonly interrupts: Interrupts;
  readonly regions: Regions;

  /** @throws HostError for options that make no function */
  constructor(model: DeviceModel<D>, platform: Platform, options: VfioUserDeviceOptions) {
    this.memory = new DmaMemory(platform);
    this.pci = new PciFunction(model, {
      mode: 'modern',
      ...options,
      memory: this.memory,
      setIntx: (level) => this.interrupts.setIntx(level),
      sendVector: (vector) => this.interrupts.sendVector(vector),
    });
    this.interrupts = new Interrupts(platform, this.pci.vectors, (vector) => this.pci.sendPending(vector));
    this.regions = new Regions(this.pci);
  }

  /** Device as the host program sees it. */
  get device(): LiveDevice<PciParts, D> {
    return this.pci.device;
  }

  /** Forgets the client, which has gone. */
  leave(): void {
    this.pci.reset();
    this.interrupts.close();
    this.memory.clear();
    // core forgets the regions when it looks next
    this.device.memory.sync();
  }
}
