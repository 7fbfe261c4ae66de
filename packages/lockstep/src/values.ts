import type { Random } from './random.ts';
import { RAM_BYTES } from './setup.ts';

/** Addresses of the generated guest's things. All of RAM is compared, whatever is written where. */
export const RINGS_AT = 0x100000;
export const RINGS_END = 0x180000;
export const BUFFERS_AT = 0x180000;
export const BUFFERS_END = 0x1f0000;
/** MSI-X messages are writes to memory: they are aimed here, and seen. */
export const MESSAGES_AT = 0x1f0000;

/** Places for BARs, such that nothing of the machine lies there. */
export const IO_BASES = [0xc000, 0xc080, 0xc400, 0xd000, 0xe100, 0xfe80] as const;
export const NOTIFY_BASES = [0xf000, 0xf400, 0xf804] as const;
export const MEMORY_BASES = [0xe000_0000, 0xe100_0000, 0xe200_0000, 0xe800_0000] as const;
export const PREFETCH_BASES = [0xd000_0000, 0xd100_0000, 0xd800_0000] as const;
/** Upper halves of 64-bit BARs. */
export const UPPER_HALVES = [0, 0, 0, 0, 1, 4] as const;

const SMALL = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 63, 64, 127, 128, 255] as const;
const LARGE = [
  256, 257, 511, 512, 1023, 1024, 1025, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff, 0x10000, 0x7fff_ffff,
  0x8000_0000, 0xffff_fffe, 0xffff_ffff,
] as const;

/** A value that registers are likely to have an opinion on, cut to `size` bytes. */
export function interesting(random: Random, size: number): number {
  const value = random.weighted<() => number>([
    [6, () => random.pick(SMALL)],
    [2, () => random.pick(LARGE)],
    [1, () => random.u32()],
    [1, () => 2 ** random.below(32)],
  ])();
  return size === 4 ? value >>> 0 : value % 2 ** (8 * size);
}

/**
 * A 32-bit number that may become a guest address. Never one of the machine's other devices: interrupt controllers
 * and flash are above 0xfec00000, and what is written there has effects that are not the device's.
 */
export function harmlessAddress(random: Random): number {
  return random.weighted<() => number>([
    [8, () => random.below(RAM_BYTES)],
    [1, () => RAM_BYTES - random.below(64)],
    [1, () => random.below(64)],
  ])();
}

/** Bytes that, wherever they are taken for an address, give one that is harmless: small words, no byte above 0x7f. */
export function filler(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    const word = random.u32();
    bytes[i] = (i & 3) < 2 ? word & 0x7f : (i & 3) === 2 ? word & 0x1f : 0;
  }
  return bytes;
}

/** Little-endian bytes of a number below 2^53. */
export function bytesOf(value: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0, left = value; i < size; i++, left = Math.floor(left / 256)) bytes[i] = left % 256;
  return bytes;
}

export function joinBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
