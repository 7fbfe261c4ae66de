import type { Random } from '../suite/case.ts';
import type { MmioHost } from '../transport/mmio.ts';
import { address, number, type Target, width } from './values.ts';

/** Makes one access of any width anywhere into the registers of a virtio-mmio slot. */
export function pokeMmio(slot: MmioHost, random: Random, target: Target): void {
  const size = random.chance(3) ? width(random) : 4;
  const offset = random.chance(12) ? number(random) : random.below(random.chance(3) ? 0x200 : 0x100) & ~3;
  if (random.chance(3)) {
    slot.mmioRead(offset, size);
    return;
  }
  const at = address(random, target);
  slot.mmioWrite(offset, size, random.pick([number(random), at >>> 0, Math.floor(at / 4096) >>> 0]));
}
