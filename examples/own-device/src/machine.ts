import { type LiveDevice, MappedMemory } from '@virtkit/core';
import { PciBus } from '@virtkit/testing';
import { PciFunction, type PciParts } from '@virtkit/transport-pci';
import { EntropyDevice, type Source } from './device.ts';
import type { EntropyState } from './layer.ts';

export const SLOT = 2;

/** A machine: memory, a PCI bus, and the device in it. */
export class Machine {
  readonly ram: Uint8Array;
  readonly bus = new PciBus();
  /** The device type: this example's. */
  readonly entropy: EntropyDevice;
  /** What stops, saves, restores and goes on: core's. */
  readonly device: LiveDevice<PciParts, EntropyState>;

  constructor(ram: Uint8Array, source: Source) {
    this.ram = ram;
    this.entropy = new EntropyDevice(source);
    const behind = new PciFunction(this.entropy, {
      memory: new MappedMemory([{ gpa: 0, bytes: ram }]),
      sendMsi: (address, data) => this.bus.send(address, data),
      setIntx: (level) => this.bus.setIntx(SLOT, level),
    });
    this.bus.plug(SLOT, behind);
    this.device = behind.device;
  }
}
