import type { Random } from '../suite/case.ts';

/** Guest memory as a hostile guest sees it: where addresses are worth aiming at. */
export interface Target {
  /** First address of the memory. */
  readonly base: number;
  /** First address behind the memory. */
  readonly end: number;
  /** Addresses that mean something to the device: rings, buffers, indirect tables. */
  readonly landmarks: readonly number[];
}

const NUMBERS: readonly [number, ...number[]] = [
  0, 1, 2, 3, 4, 7, 8, 15, 16, 0x1f, 0x40, 0x7f, 0x80, 0xff, 0x100, 0x3ff, 0x400, 0x401, 0x7fff, 0x8000,
  0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
];

/** Chooses a number that finds edges, 32 bits. */
export function number(random: Random): number {
  switch (random.below(4)) {
    case 0:
      return random.next();
    case 1:
      return random.below(64);
    default:
      return random.pick(NUMBERS);
  }
}

/** Chooses an address: mostly one that is something, else around the ends of memory, or nowhere. */
export function address(random: Random, { base, end, landmarks }: Target): number {
  const near = (at: number): number => Math.max(0, at + random.below(64) - 32);
  switch (random.below(8)) {
    case 0:
      return near(end);
    case 1:
      return random.pick([0xffff_f000, 2 ** 32 - 8, 2 ** 40, 2 ** 52, 0]);
    case 2:
      return base + random.below(end - base);
    case 3:
      return near(random.pick([base, ...landmarks]));
    default:
      return random.pick([base, ...landmarks]);
  }
}

/** Chooses a length, mostly a small one. */
export function length(random: Random): number {
  switch (random.below(6)) {
    case 0:
      return number(random);
    case 1:
      return 0xffffffff - random.below(4);
    case 2:
      return 16 * random.below(70);
    default:
      return random.below(2048);
  }
}

/** Chooses the bytes of an access: what processors do, and what they never do. */
export function width(random: Random): number {
  return random.chance(12) ? random.pick([0, 3, 5, 6, 7, 8, 16]) : random.pick([1, 2, 4]);
}
