import type { GuestRam } from '../ram.ts';
import type { DriverRing } from '../ring/ring.ts';
import type { Random } from '../suite/case.ts';
import { address, length, number, type Target } from './values.ts';

/** A ring of the device, valid once, and the guest is at it. */
export interface Prey {
  readonly ring: Pick<DriverRing<unknown>, 'format' | 'addresses'>;
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

/** A part of a ring lies where the guest can write: rings are put elsewhere, too. */
function reachable(target: Target, at: number, length: number): boolean {
  return at >= target.base && at + length <= target.end;
}

/** Writes something into the memory that the device works with. */
export function pokeRing(ram: GuestRam, random: Random, target: Target, prey: Prey): void {
  const { ring, littleEndian } = prey;
  const { size, desc, driver, device } = ring.addresses;
  const slot = random.below(Math.max(1, size));
  const avail = reachable(target, driver, 6 + 2 * size);
  switch (random.below(8)) {
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
