import type { Operation } from './operation.ts';
import type { Random } from './random.ts';
import {
  COMMON,
  type CommonRegister,
  configRead,
  configWrite,
  findCapability,
  LEGACY,
  memory,
  NOTIFY_AT,
  PCI,
  placedBars,
} from './registers.ts';
import {
  IO_BASES,
  interesting,
  MEMORY_BASES,
  MESSAGES_AT,
  NOTIFY_BASES,
  PREFETCH_BASES,
  RINGS_AT,
  RINGS_END,
  UPPER_HALVES,
} from './values.ts';
import type { View } from './view.ts';

type Script = Generator<Operation, void, void>;

const MSIX_ID = 0x11;
const VENDOR_ID = 0x09;
const PCI_CFG_TYPE = 5;
const ALL_ON = 7;

/** Gives each BAR a place, and switches all on; mostly. */
export function* mapBars(view: View, random: Random): Script {
  const { setup } = view;
  const command = random.once(20) ? random.below(8) : ALL_ON;
  if (random.once(4)) yield configWrite(PCI.COMMAND, 2, random.below(4));
  const order = random.once(2);
  if (order) yield configWrite(PCI.COMMAND, 2, command);
  if (setup.interface !== 'modern') yield configWrite(PCI.BAR0, 4, random.pick(IO_BASES));
  if (setup.vectors > 0) yield configWrite(PCI.BAR1, 4, random.pick(MEMORY_BASES));
  if (setup.notifyPio) yield configWrite(PCI.BAR2, 4, random.pick(NOTIFY_BASES));
  if (setup.interface !== 'legacy') {
    yield configWrite(PCI.BAR4, 4, random.pick(PREFETCH_BASES));
    yield configWrite(PCI.BAR4 + 4, 4, random.pick(UPPER_HALVES));
  }
  if (!order) yield configWrite(PCI.COMMAND, 2, command);
}

/** A register of the common configuration structure, through its BAR or (rarely) the window in configuration space. */
export function* writeCommon(view: View, random: Random, register: CommonRegister, value: number): Script {
  const [offset, size] = COMMON[register];
  yield* writeModern(view, random, offset, size, value);
}

/** A write behind the modern BAR. */
export function* writeModern(
  view: View,
  random: Random,
  offset: number,
  size: number,
  value: number,
): Script {
  if (random.once(30)) {
    const window = findCapability(view.config, VENDOR_ID, PCI_CFG_TYPE);
    if (window > 0) {
      yield* aimWindow(random, window, offset, size);
      yield configWrite(window + 16, size === 1 || size === 2 || random.once(2) ? size : 4, value);
      return;
    }
  }
  const { modern } = placedBars(view);
  if (modern !== undefined) yield { kind: 'store', at: modern + offset, size, value };
}

/** Points the PCI configuration access capability at something. Virtio 1.3 §4.1.4.9 */
export function* aimWindow(random: Random, window: number, offset: number, size: number): Script {
  yield configWrite(window + 4, 1, random.once(10) ? random.below(6) : 4);
  yield configWrite(window + 8, 4, offset);
  yield configWrite(window + 12, 4, random.once(20) ? random.below(9) : size);
}

function* readModern(view: View, register: CommonRegister): Script {
  const { modern } = placedBars(view);
  const [offset, size] = COMMON[register];
  if (modern !== undefined) yield { kind: 'load', at: modern + offset, size };
}

export function* writeLegacy(view: View, offset: number, size: number, value: number): Script {
  const { legacy } = placedBars(view);
  if (legacy !== undefined) yield { kind: 'out', at: legacy + offset, size, value };
}

function* readLegacy(view: View, offset: number, size: number): Script {
  const { legacy } = placedBars(view);
  if (legacy !== undefined) yield { kind: 'in', at: legacy + offset, size };
}

/** Switches MSI-X on or off, and fills its table with messages that can be seen in memory. */
export function* setUpMsix(view: View, random: Random): Script {
  const { vectors } = view.setup;
  if (vectors === 0) return;
  const at = findCapability(view.config, MSIX_ID);
  const control = random.weighted([
    [6, 0x8000],
    [3, 0],
    [1, 0xc000],
  ]);
  const { msix } = placedBars(view);
  const first = random.once(2);
  if (first) yield configWrite(at + 2, 2, control);
  for (let vector = 0; vector < vectors && msix !== undefined; vector++) {
    if (vector > 8 && random.below(4) > 0) continue;
    const entry = msix + 16 * vector;
    yield { kind: 'store', at: entry, size: 4, value: MESSAGES_AT + 4 * random.below(1024) };
    yield { kind: 'store', at: entry + 4, size: 4, value: 0 };
    yield { kind: 'store', at: entry + 8, size: 4, value: random.u32() };
    yield { kind: 'store', at: entry + 12, size: 4, value: random.once(6) ? 1 : 0 };
  }
  if (!first) yield configWrite(at + 2, 2, control);
}

function vectorFor(view: View, random: Random): number {
  return random.once(12) ? interesting(random, 2) : random.below(Math.max(1, view.setup.vectors));
}

/** Some of the offered features: mostly all that a good driver takes, sometimes any. */
function chooseFeatures(view: View, random: Random, modern: boolean): bigint {
  const { offeredFeatures } = view.live;
  const any = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  const chosen = random.weighted<() => bigint>([
    [5, () => offeredFeatures],
    [3, () => offeredFeatures & any],
    [1, () => 0n],
    [1, () => any],
  ])();
  const drop = (bit: bigint, odds: number): bigint => (random.once(odds) ? 1n << bit : 0n);
  const unwanted = drop(28n, 3) | drop(29n, 2) | drop(34n, 4) | (random.once(20) ? 0n : 1n << 30n);
  const version = modern && !random.once(30) ? 1n << 32n : 0n;
  return (chosen & ~unwanted & ~(1n << 32n)) | version;
}

/** A page for a ring, and rarely a place that is no good one. */
function ringPlace(random: Random, alignment: number): number {
  const place = RINGS_AT + random.below((RINGS_END - RINGS_AT - 0x4000) / 0x1000) * 0x1000;
  if (alignment === 0x1000) return place;
  return place + random.below(0x1000 / alignment) * (random.once(30) ? 1 : alignment);
}

/** Brings a device up the old way. Virtio 1.3 §3.1.2, §4.1.4.10 */
export function* bringUpLegacy(view: View, random: Random): Script {
  const write = (offset: number, size: number, value: number): Script =>
    writeLegacy(view, offset, size, value);
  yield* random.once(5) ? write(LEGACY.QUEUE_PFN, 4, 0) : write(LEGACY.STATUS, 1, 0);
  if (!random.once(10)) yield* write(LEGACY.STATUS, 1, 1);
  if (!random.once(10)) yield* write(LEGACY.STATUS, 1, 3);
  yield* readLegacy(view, LEGACY.HOST_FEATURES, 4);
  const features = chooseFeatures(view, random, false);
  yield* write(LEGACY.GUEST_FEATURES, 4, Number(features & 0xffffffffn));
  yield* setUpMsix(view, random);
  yield* write(LEGACY.CONFIG_VECTOR, 2, vectorFor(view, random));
  const queues = view.live.queueCount;
  for (let queue = 0; queue < queues; queue++) {
    if (random.once(12)) continue;
    yield* write(LEGACY.QUEUE_SEL, 2, queue);
    yield* readLegacy(view, LEGACY.QUEUE_NUM, 2);
    const page = ringPlace(random, 0x1000);
    if (!random.once(12)) yield* clearRings(view.live.queue(queue)?.size ?? 0, page, undefined, undefined);
    yield* write(LEGACY.QUEUE_PFN, 4, page / 0x1000);
    if (view.setup.vectors > 0) yield* write(LEGACY.QUEUE_VECTOR, 2, vectorFor(view, random));
  }
  if (!random.once(5)) yield* write(LEGACY.STATUS, 1, 7);
}

/** Brings a device up. Virtio 1.3 §3.1.1, §4.1.5.1 */
export function* bringUpModern(view: View, random: Random): Script {
  const write = (register: CommonRegister, value: number): Script =>
    writeCommon(view, random, register, value);
  yield* write('STATUS', 0);
  if (!random.once(10)) yield* write('STATUS', 1);
  if (!random.once(10)) yield* write('STATUS', 3);
  for (const half of [0, 1]) {
    yield* write('DFSELECT', half);
    yield* readModern(view, 'DF');
  }
  const features = chooseFeatures(view, random, true);
  for (const half of [0, 1]) {
    yield* write('GFSELECT', half);
    yield* write('GF', Number((features >> BigInt(32 * half)) & 0xffffffffn));
  }
  if (!random.once(20)) yield* write('STATUS', 11);
  yield* readModern(view, 'STATUS');
  yield* setUpMsix(view, random);
  yield* write('CONFIG_VECTOR', vectorFor(view, random));
  yield* readModern(view, 'NUM_QUEUES');
  const queues = view.live.queueCount;
  for (let queue = 0; queue < queues; queue++) {
    if (!random.once(12)) yield* setUpModernQueue(view, random, queue);
  }
  if (!random.once(8)) yield* write('STATUS', 15);
}

export function* setUpModernQueue(view: View, random: Random, queue: number): Script {
  const write = (register: CommonRegister, value: number): Script =>
    writeCommon(view, random, register, value);
  yield* write('QUEUE_SEL', queue);
  yield* readModern(view, 'QUEUE_SIZE');
  const size = random.weighted<() => number>([
    [6, () => 2 ** random.between(1, 6)],
    [2, () => view.live.queue(queue)?.size ?? 0],
    [1, () => random.between(1, 40)],
    [0.2, () => interesting(random, 2)],
  ])();
  yield* write('QUEUE_SIZE', size);
  yield* write('QUEUE_VECTOR', vectorFor(view, random));
  yield* readModern(view, 'NOTIFY_OFF');
  const places = [ringPlace(random, 16), ringPlace(random, 2), ringPlace(random, 4)] as const;
  if (!random.once(12)) yield* clearRings(Math.min(size, 256), ...places);
  const halves = [
    ['DESC_LO', 'DESC_HI'],
    ['AVAIL_LO', 'AVAIL_HI'],
    ['USED_LO', 'USED_HI'],
  ] as const;
  for (const [i, [low, high]] of halves.entries()) {
    yield* write(low, places[i] ?? 0);
    if (random.once(2)) yield* write(high, random.once(40) ? random.below(3) : 0);
  }
  yield* write('QUEUE_ENABLE', random.once(300) ? interesting(random, 2) : 1);
}

/** Zeros where the indices and flags are. `avail` and `used` undefined: behind the table, as a legacy driver has them. */
function* clearRings(num: number, desc: number, avail: number | undefined, used: number | undefined): Script {
  const driver = avail ?? desc + 16 * num;
  const end = driver + 4 + 2 * num;
  const device = used ?? Math.ceil(end / 0x1000) * 0x1000;
  if (avail !== undefined && num > 0) yield memory(desc, new Uint8Array(16 * num));
  yield memory(driver, new Uint8Array(6 + 2 * num));
  yield memory(device, new Uint8Array(6));
}

/** Tells the device of a queue, by one of the ways that there are. */
export function* kick(view: View, random: Random, queue: number, legacy: boolean): Script {
  const { setup } = view;
  if (legacy) {
    yield* writeLegacy(view, LEGACY.NOTIFY, random.once(20) ? 4 : 2, queue);
    return;
  }
  const { notifyPio } = placedBars(view);
  if (notifyPio !== undefined && random.once(2)) {
    yield { kind: 'out', at: notifyPio, size: 2, value: queue };
    return;
  }
  const stride = setup.pagePerVq ? 0x1000 : 4;
  yield* writeModern(view, random, NOTIFY_AT + stride * queue, random.pick([2, 2, 4]), queue);
}

/** The interrupt's cause, as a driver's handler reads it. */
export function* readIsr(view: View, legacy: boolean): Script {
  if (legacy) yield* readLegacy(view, LEGACY.ISR, 1);
  else {
    const { modern } = placedBars(view);
    if (modern !== undefined) yield { kind: 'load', at: modern + 0x1000, size: 1 };
  }
  yield configRead(PCI.COMMAND, 4);
}
