import { aimWindow, mapBars, writeModern } from './driver.ts';
import type { Operation } from './operation.ts';
import type { Random } from './random.ts';
import {
  COMMON,
  COMMON_REGISTERS,
  configRead,
  configWrite,
  DEVICE_AT,
  findCapability,
  ISR_AT,
  memory,
  NOTIFY_AT,
  PCI,
  placedBars,
} from './registers.ts';
import {
  BUFFERS_AT,
  BUFFERS_END,
  filler,
  harmlessAddress,
  IO_BASES,
  interesting,
  MEMORY_BASES,
  MESSAGES_AT,
  PREFETCH_BASES,
} from './values.ts';
import type { View } from './view.ts';

type Script = Generator<Operation, void, void>;

/** Reads and writes of any width anywhere in the configuration space, but BARs only get places that are free. */
export function* configNoise(view: View, random: Random): Script {
  const size = random.pick([1, 2, 4]);
  const space = view.setup.express && random.once(4) ? 4096 : 256;
  const at = Math.floor(random.below(space) / size) * size;
  yield* random.weighted<() => Script>([
    [6, () => one(configRead(at, size))],
    [view.setup.express ? 0.5 : 0, () => one(configRead(8 * random.below(512), 8))],
    [3, () => one(configWrite(at, size, interesting(random, size)), view)],
    [1, () => one(configRead(random.below(0x40 / size) * size, size))],
    [1.5, () => msixControl(view, random)],
    [0.7, () => command(random)],
    [0.2, () => mapBars(view, random)],
    [0.4, () => moveBar(view, random)],
    [0.4, () => probeBar(view, random)],
    [2, () => window(view, random)],
  ])();
}

/** An operation, unless it would move a BAR to where something else lies, or (express) is power or link control. */
function* one(operation: Operation, view?: View): Script {
  if (view !== undefined && isDelicate(view, operation.at)) return;
  yield operation;
}

function isDelicate({ config }: View, at: number): boolean {
  if (at < 8) return at >= 4 && at < 6;
  if ((at >= 0x10 && at < 0x28) || (at >= 0x30 && at < 0x34)) return true;
  const express = findCapability(config, 0x10);
  // a function level reset is an operation of its own
  return express > 0 && at >= express + 8 && at < express + 10;
}

function* command(random: Random): Script {
  const value = random.weighted<() => number>([
    [6, () => 7],
    [2, () => random.below(8)],
    [2, () => 7 | (random.below(2) << 10)],
    [1, () => interesting(random, 2)],
  ])();
  yield configWrite(PCI.COMMAND, random.pick([1, 2]), value);
  if (!random.once(3)) yield configWrite(PCI.COMMAND, 2, 7);
}

function* msixControl(view: View, random: Random): Script {
  const at = findCapability(view.config, 0x11);
  if (at === 0) return;
  yield random.weighted<() => Operation>([
    [3, () => configWrite(at + 2, 2, random.pick([0x8000, 0x8000, 0xc000, 0, 0x4000]))],
    [1, () => configWrite(at + 3, 1, random.pick([0x80, 0xc0, 0]))],
    [1, () => configWrite(at, 4, interesting(random, 4))],
    [1, () => configRead(at, 4)],
  ])();
}

/** A BAR byte by byte or whole, to another free place. */
function* moveBar(view: View, random: Random): Script {
  const { setup } = view;
  if (setup.interface !== 'modern' && random.once(2)) {
    const base = random.pick(IO_BASES);
    yield random.once(3)
      ? configWrite(PCI.BAR0 + 1, 1, base >> 8)
      : configWrite(PCI.BAR0, random.pick([2, 4]), base | random.below(4));
  } else if (setup.vectors > 0 && random.once(2)) {
    const base = random.pick(MEMORY_BASES);
    yield random.once(3)
      ? configWrite(PCI.BAR1 + 2, 2, base >>> 16)
      : configWrite(PCI.BAR1, 4, (base | random.below(0x1000)) >>> 0);
  } else if (setup.interface !== 'legacy') {
    yield random.once(3)
      ? configWrite(PCI.BAR4 + 4, 4, random.below(8))
      : configWrite(PCI.BAR4, 4, (random.pick(PREFETCH_BASES) | random.below(0x1000)) >>> 0);
  }
}

/** Asks for a BAR's size, and puts it back. */
function* probeBar(view: View, random: Random): Script {
  const at = random.pick([0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30]);
  const { config } = view;
  const old =
    ((config[at] ?? 0) | ((config[at + 1] ?? 0) << 8) | ((config[at + 2] ?? 0) << 16)) +
    (config[at + 3] ?? 0) * 0x100_0000;
  yield configWrite(at, 4, at === 0x30 ? 0xffff_fffe : 0xffff_ffff);
  yield configRead(at, 4);
  yield configWrite(at, 4, old);
  yield configRead(at, 4);
}

/** The PCI configuration access capability, aimed at anything. */
function* window(view: View, random: Random): Script {
  const at = findCapability(view.config, 0x09, 5);
  if (at === 0) return;
  const size = random.pick([1, 2, 4]);
  const offset = random.weighted<() => number>([
    [4, () => random.pick(COMMON_REGISTERS.map((name) => COMMON[name][0]))],
    [2, () => random.pick([ISR_AT, DEVICE_AT, NOTIFY_AT]) + random.below(64)],
    [1, () => random.below(0x5000)],
    [1, () => interesting(random, 4)],
  ])();
  yield* aimWindow(random, at, offset, size);
  yield configRead(at + 16, random.once(3) ? 4 : size);
  if (random.once(2)) yield configWrite(at + 16, random.once(3) ? 4 : size, interesting(random, size));
  if (random.once(4)) yield configRead(at + 16 + random.below(4), 1);
}

/** Any register behind the legacy BAR, by any width. */
export function* legacyNoise(view: View, random: Random): Script {
  const { legacy } = placedBars(view);
  if (legacy === undefined) return;
  const size = random.pick([1, 1, 2, 2, 4, 4]);
  const limit = view.setup.device === 'blk' ? 96 : 40;
  const offset = random.once(2)
    ? random.pick([0, 4, 8, 12, 14, 16, 18, 19, 20, 22, 24])
    : random.below(limit);
  const at = legacy + (random.once(6) ? offset : Math.floor(offset / size) * size);
  if (random.once(5)) yield { kind: 'out', at, size, value: legacyValue(random, offset, size) };
  else yield { kind: 'in', at, size };
}

/** Ring addresses stay where they do no harm. */
function legacyValue(random: Random, offset: number, size: number): number {
  if (offset >= 5 && offset < 12)
    return random.once(5) ? 0 : size === 4 ? random.below(0x1e0) : random.below(2);
  if (offset >= 18 && offset < 20 && !random.once(4)) return random.pick([7, 0xf, 0x87]);
  return interesting(random, size);
}

/** Any register behind the modern BAR, by any width. */
export function* modernNoise(view: View, random: Random): Script {
  const { modern } = placedBars(view);
  if (modern === undefined) return;
  if (random.once(12)) {
    yield* wideNoise(view, random, modern);
    return;
  }
  const size = random.pick([1, 2, 4]);
  const offset = random.weighted<() => number>([
    [8, () => COMMON[random.pick(COMMON_REGISTERS)][0]],
    [2, () => random.below(64)],
    [1, () => ISR_AT + random.below(8)],
    [4, () => DEVICE_AT + random.below(view.setup.device === 'blk' ? 64 : 16)],
    [1, () => random.below(0x4000 - 4)],
  ])();
  const at = modern + (random.once(6) ? offset : Math.floor(offset / size) * size);
  if (!random.once(4)) {
    yield { kind: 'load', at, size };
    return;
  }
  const start = at - modern;
  if (start >= 32 && start < 56) {
    const address = (start & 4) !== 0 ? random.below(2) : harmlessAddress(random);
    yield { kind: 'store', at, size, value: size === 4 ? address : address % 2 ** (8 * size) };
    return;
  }
  // the status and what is enabled are left alone most of the time, or nothing would ever be up
  if ((start === 20 || start === 28 || start === 58) && !random.once(8)) return;
  if (start >= 23 && start < 26 && !random.once(20)) return;
  yield* writeModern(view, random, start, size, interesting(random, size));
}

/** Accesses of 8 bytes: read anywhere, written where two halves belong together. */
function* wideNoise(_view: View, random: Random, modern: number): Script {
  const offset = random.weighted<() => number>([
    [4, () => 8 * random.below(8)],
    [2, () => DEVICE_AT + 8 * random.below(8)],
    [1, () => ISR_AT + random.below(8)],
    [1, () => random.below(0x4000 - 8)],
  ])();
  const at = modern + (random.once(6) ? offset : offset & ~7);
  if (!random.once(3)) yield { kind: 'load', at, size: 8 };
  else if (random.once(2))
    yield {
      kind: 'store',
      at: modern + COMMON[random.pick(['DESC_LO', 'AVAIL_LO', 'USED_LO'] as const)][0],
      size: 8,
      value: harmlessAddress(random) + random.below(2) * 2 ** 32,
    };
  else {
    // a number holds 53 bits
    const value = interesting(random, 4) + random.below(2 ** 21) * 2 ** 32;
    yield { kind: 'store', at: modern + DEVICE_AT + 8 * random.below(8), size: 8, value };
  }
}

/** A function level reset: all is as at power-on, and the driver places BARs anew. PCI Express 6.6.2 */
export function* functionReset(view: View, random: Random): Script {
  const at = findCapability(view.config, 0x10);
  if (at === 0) return;
  yield random.once(3)
    ? configWrite(at + 9, 1, 0x80 | random.below(0x80))
    : configWrite(at + 8, 2, 0x8000 | random.below(0x8000));
  yield configRead(at + 8, 2);
  yield configRead(PCI.COMMAND, 4);
  yield configRead(random.pick([PCI.BAR0, PCI.BAR1, PCI.BAR4]), 4);
  yield* mapBars(view, random);
}

/** The MSI-X table and its pending bits. */
export function* msixNoise(view: View, random: Random): Script {
  const { msix } = placedBars(view);
  if (msix === undefined) return;
  const entry = msix + 16 * random.below(view.setup.vectors);
  yield* random.weighted<() => Script>([
    [3, () => one({ kind: 'load', at: msix + 4 * random.below(0x400), size: 4 })],
    [1, () => one({ kind: 'load', at: msix + random.below(0xffc), size: random.pick([1, 2, 4]) })],
    [4, () => one({ kind: 'store', at: entry + 12, size: 4, value: random.below(2) })],
    [1, () => one({ kind: 'store', at: entry, size: 4, value: MESSAGES_AT + random.below(0x1000) })],
    [0.5, () => one({ kind: 'store', at: entry, size: 8, value: MESSAGES_AT + random.below(0x1000) })],
    [0.5, () => one({ kind: 'load', at: msix + 8 * random.below(0x1ff), size: 8 })],
    [1, () => one({ kind: 'store', at: entry + 8, size: random.pick([1, 2, 4]), value: random.below(256) })],
    [1, () => one({ kind: 'store', at: msix + 0x800 + random.below(16), size: 4, value: random.u32() })],
    [1, () => one({ kind: 'load', at: msix + 0x800 + 4 * random.below(4), size: 4 })],
  ])();
}

/** Something else in the driver's memory. */
export function* memoryNoise(_view: View, random: Random): Script {
  yield memory(
    BUFFERS_AT + random.below(BUFFERS_END - BUFFERS_AT - 64),
    filler(random, random.between(1, 64)),
  );
}
