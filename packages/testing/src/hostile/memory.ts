import type { GuestRam } from '../ram.ts';
import type { DriverRing } from '../ring/ring.ts';
import type { Random } from '../suite/case.ts';
import { address, length, number, type Target } from './values.ts';

/** Ring of the device that was valid once, and that the guest is at. */
export interface Prey {
  /** Ring of the driver: where it lies. */
  readonly ring: Pick<DriverRing<unknown>, 'format' | 'addresses'>;
  /** Byte order of the ring. */
  readonly littleEndian: boolean;
}

const SPLIT_FLAGS = [0, 1, 2, 3, 4, 5, 6, 7];

function descriptor(ram: GuestRam, random: Random, at: number, target: Target, prey: Prey): void {
  const { littleEndian, ring } = prey;
  if (!reachable(target, at, 16)) return;
  ram.setU64(at, address(random, target), littleEndian);
  ram.setU32(at + 8, length(random), littleEndian);
  const packed = ring.format === 'packed';
  const low = random.chance(20) ? number(random) & 0xffff : random.pick(SPLIT_FLAGS as [number, ...number[]]);
  const lap = packed ? random.pick([0x80, 0x8000, 0x8080, 0]) : 0;
  const { size } = ring.addresses;
  const next = random.chance(10) ? number(random) & 0xffff : random.below(Math.max(1, size));
  // split: flags, next; packed: id, flags
  ram.setU16(at + 12, packed ? next : low, littleEndian);
  ram.setU16(at + 14, packed ? low | lap : next, littleEndian);
}

/**
 * Writes a run of descriptors that make one chain, or many of one: through the whole ring, around it, longer than any
 * may be.
 */
function run(ram: GuestRam, random: Random, at: number, entries: number, target: Target, prey: Prey): void {
  const { littleEndian, ring } = prey;
  const packed = ring.format === 'packed';
  const chained = random.chance(2);
  const writable = random.below(3) === 0 ? 2 : 0;
  const lap = packed ? random.pick([0x80, 0x8000]) : 0;
  const length = random.pick([1, 16, 512, 0x8000]);
  // the last one leads back to the first
  for (let i = 0; i < entries; i++) {
    const place = at + 16 * i;
    if (!reachable(target, place, 16)) return;
    const flags = (chained ? 1 : 0) | writable | lap;
    const next = (i + 1) % entries;
    ram.setU64(place, 64 * random.below(0x1000), littleEndian);
    ram.setU32(place + 8, length, littleEndian);
    ram.setU16(place + 12, packed ? i & 0xffff : flags, littleEndian);
    ram.setU16(place + 14, packed ? flags : next, littleEndian);
  }
}

/** Does a part of a ring lie where the guest can write? Rings are put elsewhere, too. */
function reachable(target: Target, at: number, length: number): boolean {
  return at >= target.base && at + length <= target.end;
}

/** Writes something into the memory that the device works with. */
export function pokeRing(ram: GuestRam, random: Random, target: Target, prey: Prey): void {
  const { ring, littleEndian } = prey;
  const { size, desc, driver, device } = ring.addresses;
  const slot = random.below(Math.max(1, size));
  const avail = reachable(target, driver, 6 + 2 * size);
  switch (random.below(10)) {
    case 8:
      run(ram, random, desc, size, target, prey);
      break;
    case 9: {
      // a table at the beginning of memory that is as long as can be, and a descriptor that leads there
      const entries = random.pick([2, size, 1024, 2000]);
      run(ram, random, target.base, entries, target, prey);
      const at = desc + 16 * slot;
      if (!reachable(target, at, 16)) break;
      ram.setU64(at, target.base, littleEndian);
      ram.setU32(at + 8, 16 * entries, littleEndian);
      const packed = ring.format === 'packed';
      ram.setU16(at + 12, packed ? slot : 4, littleEndian);
      ram.setU16(at + 14, packed ? 4 | random.pick([0x80, 0x8000]) : 0, littleEndian);
      break;
    }
    case 0:
    case 1:
    case 2:
      descriptor(ram, random, desc + 16 * slot, target, prey);
      break;
    case 3: {
      // an indirect table anywhere in memory
      const at = target.base + 16 * random.below((target.end - target.base) / 16);
      for (let i = 0; i < 4 && at + 16 * i + 16 <= target.end; i++)
        descriptor(ram, random, at + 16 * i, target, prey);
      break;
    }
    case 4:
      if (!avail) return;
      if (ring.format === 'packed') ram.setU32(driver, number(random), true);
      else ram.setU16(driver + 4 + 2 * slot, random.chance(8) ? number(random) & 0xffff : slot, littleEndian);
      break;
    case 5:
    case 6:
      if (ring.format === 'split') {
        if (!avail) return;
        const index = ram.u16(driver + 2, littleEndian);
        const step = random.chance(12) ? number(random) : 1 + random.below(3);
        ram.setU16(driver + 2, (index + step) & 0xffff, littleEndian);
      } else descriptor(ram, random, desc + 16 * slot, target, prey);
      break;
    default: {
      // flags, event indices, the device's own part
      const at = random.pick([driver, device]) + random.below(ring.format === 'packed' ? 4 : 6 + 2 * size);
      if (reachable(target, at, 1)) ram.setU8(at, number(random) & 0xff);
    }
  }
}
