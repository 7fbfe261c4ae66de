import { virtioDevice } from '@virtkit/core';
import { GuestRam, PciModernDriver, RngDriver } from '@virtkit/testing';
import { pci } from '@virtkit/transport-pci';
import type { Source } from './device.ts';
import { entropy } from './layer.ts';
import { Machine, SLOT } from './machine.ts';
import { goOnFromQemu } from './qemu.ts';

/** The platform's random bytes, of which there are so many. */
function limited(bytes: number): Source {
  let left = bytes;
  return (target) => {
    const count = Math.min(left, target.length);
    crypto.getRandomValues(target.subarray(0, count));
    left -= count;
    return count;
  };
}

// --- live: a guest asks for more than there is
const first = new Machine(new Uint8Array(4 << 20), limited(48));
let here = first;
const ram = new GuestRam(first.ram);
const driver = new RngDriver({ transport: new PciModernDriver(() => here.bus, { slot: SLOT }), ram });
driver.probe();
driver.start();
const requests = Array.from({ length: 5 }, () => driver.read(16));
driver.service();
const served = () => requests.filter(({ data }) => data !== undefined).length;
console.log(`guest: ${served()} of 5 requests have their bytes, the others wait`);

// --- saved: bytes as QEMU writes them, and a second machine
const codec = virtioDevice(pci, entropy);
first.device.pause();
const state = codec.encode(first.device.capture());
const second = new Machine(first.ram.slice(), limited(1000));
second.device.restore(codec.load(state));
for (const { address, data } of first.bus.messages) second.bus.send(address, data); // interrupts under way
here = second;
ram.replace(second.ram);
second.device.resume();
driver.service();
console.log(`guest: moved by ${state.length} bytes of state; ${served()} of 5 requests have their bytes`);

// --- QEMU's: what it saved of its own virtio-rng goes on in this one
const { saved, filled } = goOnFromQemu(limited(1000));
console.log(
  `QEMU's device: loaded, saved to ${saved ? 'the same' : 'OTHER'} bytes, and ${filled} bytes for its guest`,
);
if (served() !== 5 || !saved || filled !== 64) process.exitCode = 1;
