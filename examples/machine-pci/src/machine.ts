import { setTimeout as sleep } from 'node:timers/promises';
import { type LiveDevice, MappedMemory } from '@virtkit/core';
import { type BlkBackend, BlkDevice, type BlkState, memoryDisk } from '@virtkit/device-blk';
import { NetDevice, type NetState } from '@virtkit/device-net';
import { NetSwitch } from '@virtkit/device-net/switch';
import { PciBus } from '@virtkit/testing';
import { PciFunction, type PciParts } from '@virtkit/transport-pci';

// A minimal emulator: memory, a PCI bus, a disk and a network card. There is no CPU: the guest is a driver in TypeScript that
// reaches the devices through their registers alone, as Linux does.

export const RAM_BYTES = 4 << 20;
export const DISK_SLOT = 2;
export const CARD_SLOT = 3;

/** What outlives a machine: the disk's bytes, and the Ethernet. */
export const diskBytes = memoryDisk(1 << 20);
const lan = new NetSwitch();

/** What the disk has begun and not done. */
export const underWay = new Set<Promise<void>>();
const begin = (operation: Promise<void>): Promise<void> => {
  const tracked = operation.finally(() => underWay.delete(tracked));
  underWay.add(tracked);
  return tracked;
};

/** A disk that takes its time, the later request the more, so that some are under way when the machine stops. */
let asked = 0;
const slowDisk: BlkBackend = {
  size: diskBytes.size,
  read: (position, target, from, length) =>
    begin(
      sleep(5 * (1 + (asked++ % 12))).then(() => {
        target.copyFrom(from, diskBytes.bytes.subarray(position, position + length));
      }),
    ),
  write: (position, source, from, length) => {
    const block = new Uint8Array(length);
    source.copyTo(from, block, 0, length); // the guest's memory is ours until we return, no longer
    return begin(
      sleep(5 * (1 + (asked++ % 12))).then(() => {
        diskBytes.bytes.set(block, position);
      }),
    );
  },
};

export class Machine {
  readonly ram: Uint8Array;
  readonly bus = new PciBus();
  /** What stops, saves and loads. */
  readonly disk: LiveDevice<PciParts, BlkState>;
  readonly card: LiveDevice<PciParts, NetState>;

  constructor(ram: Uint8Array) {
    this.ram = ram;
    const memory = new MappedMemory([{ gpa: 0, bytes: ram }]);
    const plug = <D>(slot: number, model: ConstructorParameters<typeof PciFunction<D>>[0]) => {
      const fn = new PciFunction(model, {
        memory,
        sendMsi: (address, data) => this.bus.send(address, data),
        setIntx: (level) => this.bus.setIntx(slot, level),
      });
      this.bus.plug(slot, fn);
      return fn.device;
    };
    this.disk = plug(DISK_SLOT, new BlkDevice({ backend: slowDisk, serial: 'example' }));
    this.card = plug(CARD_SLOT, new NetDevice({ backend: lan.port(), mac: '52:54:00:00:00:01' }));
  }
}
