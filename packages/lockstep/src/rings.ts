import type { Operation } from './operation.ts';
import type { Random } from './random.ts';
import { memory } from './registers.ts';
import { RAM_BYTES } from './setup.ts';
import { BUFFERS_AT, bytesOf, harmlessAddress, interesting, joinBytes } from './values.ts';
import type { View } from './view.ts';

/** A buffer of a chain. */
export interface Buffer {
  readonly at: number;
  readonly length: number;
  readonly writable: boolean;
}

export const DESC = { NEXT: 1, WRITE: 2, INDIRECT: 4, AVAIL: 0x80, USED: 0x8000 } as const;
const INDIRECT_AT = BUFFERS_AT;
/** Tables of indirect descriptors lie in the first pages of the buffers' part of RAM. */
export const INDIRECT_BYTES = 0x2000;

/** The rings of a queue as the driver set them up, or undefined if none can be there. */
export function ringOf(
  { live }: View,
  index: number,
): { desc: number; avail: number; used: number; num: number } | undefined {
  const slot = live.queue(index);
  if (slot === undefined || slot.desc === 0n || slot.size === 0) return undefined;
  if (slot.desc >= RAM_BYTES || slot.avail >= RAM_BYTES || slot.used >= RAM_BYTES) return undefined;
  const ring = {
    desc: Number(slot.desc),
    avail: Number(slot.avail),
    used: Number(slot.used),
    num: slot.size,
  };
  const fits = ring.desc + 16 * ring.num <= RAM_BYTES && ring.avail + 6 + 2 * ring.num <= RAM_BYTES;
  return fits && ring.used + 6 + 8 * ring.num <= RAM_BYTES ? ring : undefined;
}

export function isPacked({ live }: View): boolean {
  return live.has(34);
}

function mayIndirect(view: View, random: Random): boolean {
  return view.live.has(28) ? random.once(4) : random.once(200);
}

/** A split descriptor: address, length, flags, next. */
function descriptor(at: number, length: number, flags: number, next: number): Uint8Array {
  return joinBytes(bytesOf(at, 8), bytesOf(length, 4), bytesOf(flags, 2), bytesOf(next, 2));
}

/** Breaks something in a descriptor, the way a bad driver would. */
function spoil(random: Random, bytes: Uint8Array): Uint8Array {
  const spoilt = bytes.slice();
  const put = (at: number, value: Uint8Array): void => spoilt.set(value, at);
  random.weighted<() => void>([
    [2, () => put(0, bytesOf(harmlessAddress(random), 8))],
    [2, () => put(8, bytesOf(random.pick([0, 1, 15, 17, 511, 513, 0x1000]), 4))],
    [3, () => put(12, bytesOf(random.below(8), 2))],
    [2, () => put(12, bytesOf(interesting(random, 2), 2))],
    [3, () => put(14, bytesOf(interesting(random, 2), 2))],
  ])();
  return spoilt;
}

/** Puts a chain into a queue, as its negotiated format wants it. */
export function* addChain(
  view: View,
  random: Random,
  queue: number,
  buffers: readonly Buffer[],
): Generator<Operation, void, void> {
  const ring = ringOf(view, queue);
  if (ring === undefined || buffers.length === 0) return;
  if (isPacked(view)) yield* addPacked(view, random, queue, ring, buffers);
  else yield* addSplit(view, random, ring, buffers);
}

type RingPlace = NonNullable<ReturnType<typeof ringOf>>;

function* addSplit(
  view: View,
  random: Random,
  ring: RingPlace,
  buffers: readonly Buffer[],
): Generator<Operation, void, void> {
  const hostile = random.once(40);
  const bad = hostile ? random.below(buffers.length) : -1;
  const table = (first: number, step: number, count: number): [number, Uint8Array][] =>
    buffers.map((buffer, i) => {
      const last = i === buffers.length - 1;
      const flags = (buffer.writable ? DESC.WRITE : 0) | (last ? 0 : DESC.NEXT);
      const bytes = descriptor(buffer.at, buffer.length, flags, last ? 0 : (first + (i + 1) * step) % count);
      return [(first + i * step) % count, i === bad ? spoil(random, bytes) : bytes];
    });
  const head = random.below(ring.num);
  if (mayIndirect(view, random)) {
    const at = INDIRECT_AT + 16 * random.below((INDIRECT_BYTES - 16 * buffers.length) / 16);
    const entries = table(0, 1, buffers.length).map(([, bytes]) => bytes);
    yield memory(at, joinBytes(...entries));
    const length = random.once(60) ? interesting(random, 2) : 16 * buffers.length;
    const flags = DESC.INDIRECT | (random.once(60) ? random.below(8) : 0);
    yield memory(ring.desc + 16 * head, descriptor(at, length, flags, 0));
  } else {
    const step = random.once(3) ? random.pick([3, 5, 7]) : 1;
    for (const [slot, bytes] of table(head, step, ring.num)) yield memory(ring.desc + 16 * slot, bytes);
  }
  const index = view.ram.getUint16(ring.avail + 2, true);
  const claimed = random.once(500) ? interesting(random, 2) : head;
  yield memory(ring.avail + 4 + 2 * (index % ring.num), bytesOf(claimed, 2));
  const ahead = random.once(1000) ? interesting(random, 2) : 1;
  yield memory(ring.avail + 2, bytesOf((index + ahead) & 0xffff, 2));
}

function* addPacked(
  view: View,
  random: Random,
  queue: number,
  ring: RingPlace,
  buffers: readonly Buffer[],
): Generator<Operation, void, void> {
  const indices = view.live.queue(queue)?.position;
  if (indices === undefined) return;
  let slot = indices.lastAvailIdx % ring.num;
  let wrap = indices.lastAvailWrap;
  const id = random.once(4) ? interesting(random, 2) : random.below(ring.num);
  // a block device's packed ring that is broken hangs QEMU, and ends the run
  const patience = view.setup.device === 'blk' ? 800 : 40;
  const bad = random.once(patience) ? random.below(buffers.length) : -1;
  const write = (at: number, length: number, flags: number, spoilt: boolean): [number, Uint8Array] => {
    const bits = flags | (wrap ? DESC.AVAIL : DESC.USED);
    const bytes = joinBytes(bytesOf(at, 8), bytesOf(length, 4), bytesOf(id, 2), bytesOf(bits, 2));
    const place = ring.desc + 16 * slot;
    if (++slot === ring.num) {
      slot = 0;
      wrap = !wrap;
    }
    return [place, spoilt ? spoil(random, bytes) : bytes];
  };
  if (mayIndirect(view, random)) {
    const at = INDIRECT_AT + 16 * random.below((INDIRECT_BYTES - 16 * buffers.length) / 16);
    const table = buffers.map((buffer, i) =>
      joinBytes(
        bytesOf(buffer.at, 8),
        bytesOf(buffer.length, 4),
        bytesOf(interesting(random, 2), 2),
        bytesOf(buffer.writable ? DESC.WRITE : 0, 2),
      ).map((byte, at) => (i === bad && at === 12 ? byte ^ DESC.INDIRECT : byte)),
    );
    yield memory(at, joinBytes(...table));
    const length = random.once(patience) ? interesting(random, 2) : 16 * buffers.length;
    yield memory(...write(at, length, DESC.INDIRECT, false));
    return;
  }
  const chain = buffers.map((buffer, i) =>
    write(
      buffer.at,
      buffer.length,
      (buffer.writable ? DESC.WRITE : 0) | (i < buffers.length - 1 ? DESC.NEXT : 0),
      i === bad,
    ),
  );
  // the first one last: it makes the chain available
  for (const [place, bytes] of chain.reverse()) yield memory(place, bytes);
}

/** Changes a field of a ring: what the driver may (wishes for interrupts) and what it must not. */
export function* pokeRing(view: View, random: Random, queue: number): Generator<Operation, void, void> {
  const ring = ringOf(view, queue);
  if (ring === undefined) return;
  if (isPacked(view)) {
    yield random.weighted<() => Operation>([
      [
        8,
        () =>
          memory(
            ring.avail,
            joinBytes(bytesOf(packedEvent(random, ring.num), 2), bytesOf(random.below(4), 2)),
          ),
      ],
      [1, () => memory(ring.avail, bytesOf(interesting(random, 4), 4))],
      [1, () => memory(ring.used, bytesOf(interesting(random, 4), 4))],
      [
        view.setup.device === 'blk' ? 0.05 : 1,
        () => memory(ring.desc + random.below(16 * ring.num), bytesOf(interesting(random, 1), 1)),
      ],
    ])();
    return;
  }
  const used = view.ram.getUint16(ring.used + 2, true);
  yield random.weighted<() => Operation>([
    [6, () => memory(ring.avail + 4 + 2 * ring.num, bytesOf((used + random.between(-2, 3)) & 0xffff, 2))],
    [
      4,
      () =>
        memory(
          ring.avail,
          bytesOf(
            random.weighted([
              [3, 0],
              [2, 1],
              [1, interesting(random, 2)],
            ]),
            2,
          ),
        ),
    ],
    [0.1, () => memory(ring.avail + 2, bytesOf(interesting(random, 2), 2))],
    [0.5, () => memory(ring.avail + 4 + 2 * random.below(ring.num), bytesOf(interesting(random, 2), 2))],
    [1, () => memory(ring.used + random.below(4 + 8 * ring.num), bytesOf(interesting(random, 1), 1))],
    [1, () => memory(ring.desc + 8 + 16 * random.below(ring.num), bytesOf(interesting(random, 2), 2))],
  ])();
}

/** An event offset near anything, with either wrap counter. */
function packedEvent(random: Random, num: number): number {
  return random.below(num) | (random.once(2) ? 0x8000 : 0);
}
