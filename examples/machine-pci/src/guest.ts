import { BlkDriver, GuestRam, NetDriver, PciModernDriver } from '@virtkit/testing';
import { CARD_SLOT, DISK_SLOT, type Machine } from './machine.js';

/** A guest that has started its drivers on `machine`, and what its keeper does: call `service` when time passes, `moveTo` when the machine is another. */
export function startGuest(machine: Machine) {
  let here = machine;
  const ram = new GuestRam(machine.ram);
  const reach = () => here.bus;
  const disk = new BlkDriver({ transport: new PciModernDriver(reach, { slot: DISK_SLOT }), ram });
  const card = new NetDriver({ transport: new PciModernDriver(reach, { slot: CARD_SLOT }), ram });
  for (const driver of [disk, card]) {
    driver.probe();
    driver.start();
  }
  console.log(`guest: a disk of ${disk.capacity} sectors, and a network card`);
  const moveTo = (other: Machine) => {
    here = other;
    ram.replace(other.ram);
  };
  const service = () => {
    disk.service();
    card.service();
  };
  return { disk, card, service, moveTo };
}

/** What the guest writes into its `n`th block. */
export const block = (n: number): Uint8Array => new Uint8Array(4096).fill(n + 1);
