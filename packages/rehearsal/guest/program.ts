// A user's program: an emulator with a disk on PCI, and a guest that writes to it, moves to a second machine and reads back.
// The rehearsal copies it into a folder of its own, compiles it there against the installed packages and runs it.
import { type GuestMemory, virtioDevice } from '@virtkit/core';
import { BlkDevice, blk, memoryDisk } from '@virtkit/device-blk';
import { BlkDriver, GuestRam, PciBus, PciModernDriver } from '@virtkit/testing';
import { PciFunction, pci } from '@virtkit/transport-pci';
import { type Gpa, MappedMemory } from './memory.js';

declare const console: { log(text: string): void };

const SLOT = 3;
const image = memoryDisk(1 << 20);

/** An emulator: memory, a bus, and the disk image that both machines share. */
class Machine {
  readonly ram: Uint8Array;
  readonly memory: GuestMemory;
  readonly bus = new PciBus();
  readonly device;

  constructor(ram: Uint8Array) {
    this.ram = ram;
    this.memory = new MappedMemory([{ gpa: 0, bytes: ram }]);
    const disk = new BlkDevice({ backend: image });
    const fn = new PciFunction(disk, {
      memory: this.memory,
      sendMsi: (address, data) => this.bus.send(address, data),
    });
    this.bus.plug(SLOT, fn);
    this.device = fn.device;
  }
}

function expect(what: string, seen: unknown, wanted: unknown): void {
  if (seen !== wanted) throw new Error(`${what}: ${seen} instead of ${wanted}`);
}

// --- a guest starts its driver, through the registers
const first = new Machine(new Uint8Array(2 << 20));
let here = first;
const ram = new GuestRam(first.ram);
const driver = new BlkDriver({ transport: new PciModernDriver(() => here.bus, { slot: SLOT }), ram });
driver.probe();
driver.start();

// --- it asks for a write, which the device has not begun when its machine stops
first.device.pause();
const write = driver.write(8, new Uint8Array(4096).fill(0x5a));
driver.service();
expect('status of a write to a device that is paused', write.status, undefined);

// --- the device's state goes through QEMU's bytes to a second machine
const codec = virtioDevice(pci, blk);
const bytes = codec.encode(first.device.capture());
const second = new Machine(first.ram.slice());
second.device.restore(codec.decode(bytes));
here = second;
ram.replace(second.ram);
second.device.resume();
driver.service();
expect('status of the write after the move', write.status, 0);

// --- and the guest reads back what it wrote
const read = driver.read(8, 8);
driver.service();
expect('status of a read', read.status, 0);
expect('the first byte', read.data[0], 0x5a);
expect('a byte of guest memory', second.memory.readU8(0 as Gpa), second.ram[0]);
console.log(`${bytes.length} bytes of state, ${driver.virtio.interrupts} interrupts`);
