import type { PciBus } from '../host/pci-bus.ts';
import type { Random } from '../suite/case.ts';
import { address, number, type Target, width } from './values.ts';

const COMMON_REGISTERS = 64;
/**
 * Offsets at which the structures of the modern BAR begin: those of QEMU's functions, and whoever lays them out alike.
 */
const STRUCTURES: readonly [number, ...number[]] = [0, 0, 0, 0x1000, 0x2000, 0x3000];
const MODERN_BAR = 4;

/** Chooses a value for a register: an address in halves, or pages, or any number. */
function registerValue(random: Random, target: Target): number {
  switch (random.below(3)) {
    case 0:
      return address(random, target) >>> 0;
    case 1:
      return Math.floor(address(random, target) / 4096) >>> 0;
    default:
      return number(random);
  }
}

const CAPABILITIES = 0x34;
const VENDOR = 0x09;
const PCI_CFG = 5;

/**
 * Aims the PCI configuration access capability at anything: a BAR from within configuration space. Virtio 1.3 §4.1.4.9
 */
function pokeWindow(bus: PciBus, slot: number, random: Random, target: Target): void {
  let at = bus.configRead(slot, CAPABILITIES, 1) & 0xfc;
  for (let i = 0; at !== 0 && i < 48; i++, at = bus.configRead(slot, at + 1, 1) & 0xfc) {
    if (bus.configRead(slot, at, 1) !== VENDOR || bus.configRead(slot, at + 3, 1) !== PCI_CFG) continue;
    bus.configWrite(slot, at + 4, 1, random.chance(4) ? number(random) & 0xff : MODERN_BAR);
    bus.configWrite(slot, at + 8, 4, random.pick(STRUCTURES) + random.below(COMMON_REGISTERS));
    if (random.chance(8)) bus.configWrite(slot, at + 8, 4, number(random));
    bus.configWrite(slot, at + 12, 4, random.chance(4) ? number(random) : width(random));
    if (random.chance(2)) bus.configWrite(slot, at + 16, width(random), registerValue(random, target));
    else bus.configRead(slot, at + 16, width(random));
    return;
  }
}

/**
 * Makes one access of any width anywhere into a function: configuration space, BARs, and where it may have been mapped.
 */
export function pokePci(bus: PciBus, slot: number, random: Random, target: Target): void {
  if (random.chance(16)) {
    pokeWindow(bus, slot, random, target);
    return;
  }
  const size = width(random);
  const write = random.chance(2);
  const value = registerValue(random, target);
  if (random.chance(5)) {
    const offset = random.chance(20) ? number(random) : random.below(random.chance(4) ? 4096 : 256);
    if (write) bus.configWrite(slot, offset, size, value);
    else bus.configRead(slot, offset, size);
    return;
  }
  const fn = bus.at(slot);
  if (fn === undefined) return;
  const bar = random.chance(3) ? random.below(7) : random.pick([0, MODERN_BAR]);
  const window = fn.bars.find(({ index }) => index === bar);
  const inside = bar === MODERN_BAR ? random.pick(STRUCTURES) : 0;
  const near = inside + random.below(COMMON_REGISTERS);
  const anywhere = random.below((window?.size ?? 0) + 16);
  const offset = random.chance(12) ? number(random) : random.chance(3) ? anywhere : near;
  if (window?.enabled === true && random.chance(4)) {
    const at = window.address + offset;
    if (window.kind === 'io') write ? bus.portWrite(at, size, value) : bus.portRead(at, size);
    else write ? bus.memoryWrite(at, size, value) : bus.memoryRead(at, size);
  } else if (write) fn.barWrite(bar, offset, size, value);
  else fn.barRead(bar, offset, size);
}
