import type { Operation } from './operation.ts';
import type { Random } from './random.ts';
import { memory } from './registers.ts';
import { addChain, type Buffer, INDIRECT_BYTES, isPacked } from './rings.ts';
import { DISK_BYTES } from './setup.ts';
import { BUFFERS_AT, BUFFERS_END, bytesOf, filler, interesting, joinBytes } from './values.ts';
import type { View } from './view.ts';

type Script = Generator<Operation, void, void>;

function place(random: Random, length: number): number {
  const first = BUFFERS_AT + INDIRECT_BYTES;
  return first + random.below(BUFFERS_END - first - length);
}

/** Cuts `length` bytes at `at` into buffers. */
function cut(random: Random, at: number, length: number, writable: boolean): Buffer[] {
  if (length === 0) return [];
  const pieces = random.weighted([
    [6, 1],
    [2, 2],
    [1, 3],
  ]);
  const buffers: Buffer[] = [];
  let from = 0;
  for (let i = 1; i <= pieces && from < length; i++) {
    const to = i === pieces ? length : from + random.below(length - from + 1);
    if (to > from) buffers.push({ at: at + from, length: to - from, writable });
    from = to;
  }
  return buffers;
}

const SECTORS = DISK_BYTES / 512;
const BLK_TYPES = [
  [10, 0],
  [10, 1],
  [3, 4],
  [4, 8],
  [3, 11],
  [3, 13],
  [1, 2],
  [1, 5],
  [1, 10],
  [1, 14],
  [1, 16],
  [1, 99],
] as const;

/** A request of a block device: header, data, status; now and then another arrangement. Virtio 1.3 §5.2.6 */
export function* blkRequest(view: View, random: Random, queue: number): Script {
  const type = random.once(50) ? interesting(random, 4) : random.weighted<number>(BLK_TYPES);
  const sectors = random.weighted([
    [6, 1],
    [2, 2],
    [1, 8],
    [1, random.below(64)],
  ]);
  const sector = random.weighted<() => number>([
    [12, () => random.below(Math.max(1, SECTORS - sectors))],
    [1, () => SECTORS - random.below(3)],
    [1, () => interesting(random, 4)],
    [1, () => 2 ** random.below(53) - random.below(2)],
  ])();
  const header = place(random, 16);
  yield memory(
    header,
    joinBytes(bytesOf(type, 4), bytesOf(random.below(3), 4), bytesOf(Math.max(0, sector), 8)),
  );
  const out: Buffer[] = cut(
    random,
    header,
    random.once(isPacked(view) ? 2000 : 100) ? random.below(20) : 16,
    false,
  );
  const into: Buffer[] = [];
  const odd = random.once(20);
  const bytes = odd ? random.below(2100) : 512 * sectors;
  const kind = type & ~1;
  if (type === 8) into.push(...cut(random, place(random, 32), odd ? random.below(32) : 20, true));
  else if (type === 11 || type === 13) {
    const at = place(random, 64);
    const flags = random.weighted([
      [4, 0],
      [2, 1],
      [1, interesting(random, 4)],
    ]);
    const count = random.weighted([
      [8, sectors],
      [1, 0],
      [1, interesting(random, 4)],
    ]);
    yield memory(at, joinBytes(bytesOf(Math.max(0, sector), 8), bytesOf(count, 4), bytesOf(flags, 4)));
    out.push(...cut(random, at, odd ? random.pick([0, 8, 15, 17, 32]) : 16, false));
  } else if (kind === 0 || random.once(3)) {
    const at = place(random, bytes);
    if ((type & 1) === 1) {
      if (bytes > 0 && random.once(8)) yield memory(at, filler(random, Math.min(bytes, 64)));
      out.push(...cut(random, at, bytes, false));
    } else into.push(...cut(random, at, bytes, true));
  }
  into.push({ at: place(random, 4), length: random.once(60) ? 2 : 1, writable: true });
  yield* addChain(view, random, queue, arrange(view, random, out, into));
}

/** Rarely: without a part, or the wrong way round. */
function arrange(
  view: View,
  random: Random,
  out: readonly Buffer[],
  into: readonly Buffer[],
): readonly Buffer[] {
  if (isPacked(view) && view.setup.device === 'blk' && !random.once(20)) return [...out, ...into];
  return random.weighted<() => readonly Buffer[]>([
    [120, () => [...out, ...into]],
    [1, () => out],
    [1, () => into],
    [1, () => [...into, ...out]],
    [1, () => [...out.slice(1), ...into]],
  ])();
}

/** A queue of a network card: receive buffers, packets, or commands. */
export function* netRequest(view: View, random: Random, queue: number): Script {
  const control = view.live.queueCount - 1;
  if (queue === control) yield* controlRequest(view, random, queue);
  else if (queue % 2 === 0) {
    const length = random.weighted([
      [3, 1526],
      [2, 2048],
      [1, 12],
      [1, 1 + random.below(64)],
    ]);
    yield* addChain(view, random, queue, cut(random, place(random, length), length, true));
  } else yield* packet(view, random, queue);
}

function* packet(view: View, random: Random, queue: number): Script {
  const header = view.live.has(32) || view.live.has(15) ? 12 : 10;
  const length = random.weighted([
    [4, header + 60],
    [2, header + 14 + random.below(200)],
    [1, header + 1514],
    [0.01, random.between(1, 20)],
  ]);
  const at = place(random, length);
  if (random.once(6)) yield memory(at, joinBytes(new Uint8Array(header), filler(random, 20)));
  const separate = length > header && random.once(2);
  const buffers = separate
    ? [{ at, length: header, writable: false }, ...cut(random, at + header, length - header, false)]
    : cut(random, at, length, false);
  yield* addChain(
    view,
    random,
    queue,
    random.once(200) ? arrange(view, random, buffers, [{ at, length: 4, writable: true }]) : buffers,
  );
}

/** Commands of the control queue: class, number of commands, bytes of data. Virtio 1.3 §5.1.6.5 */
function commandData(random: Random, view: View): Uint8Array {
  const mac = (): Uint8Array => filler(random, 6);
  return random.weighted<() => Uint8Array>([
    [6, () => joinBytes(bytesOf(0, 1), bytesOf(random.below(7), 1), bytesOf(random.below(3), 1))],
    [
      4,
      () => {
        const [n, m] = [
          random.weighted([
            [5, random.below(5)],
            [1, random.below(70)],
          ]),
          random.below(4),
        ];
        const table = (count: number): Uint8Array =>
          joinBytes(
            bytesOf(random.once(20) ? interesting(random, 4) : count, 4),
            ...Array.from({ length: count }, mac),
          );
        return joinBytes(bytesOf(1, 1), bytesOf(0, 1), table(n), table(m));
      },
    ],
    [3, () => joinBytes(bytesOf(1, 1), bytesOf(1, 1), filler(random, random.once(8) ? random.below(9) : 6))],
    [
      4,
      () =>
        joinBytes(
          bytesOf(2, 1),
          bytesOf(random.below(3), 1),
          bytesOf(random.once(8) ? interesting(random, 2) : random.below(4096), 2),
        ),
    ],
    [1, () => joinBytes(bytesOf(3, 1), bytesOf(random.below(2), 1))],
    [2, () => joinBytes(bytesOf(4, 1), bytesOf(0, 1), bytesOf(random.below(4), 2))],
    [1, () => joinBytes(bytesOf(4, 1), bytesOf(random.below(4), 1), filler(random, random.below(80)))],
    [2, () => joinBytes(bytesOf(5, 1), bytesOf(0, 1), bytesOf(Number(view.live.features & 0x1f83n), 8))],
    [1, () => joinBytes(bytesOf(5, 1), bytesOf(random.below(2), 1), filler(random, random.below(10)))],
    [1, () => filler(random, random.below(12))],
  ])();
}

function* controlRequest(view: View, random: Random, queue: number): Script {
  const data = commandData(random, view);
  const at = place(random, data.length + 1);
  if (data.length > 0) yield memory(at, data);
  const header = Math.min(2, data.length);
  const out = random.once(4)
    ? cut(random, at, data.length, false)
    : [...cut(random, at, header, false), ...cut(random, at + header, data.length - header, false)];
  const into = [{ at: place(random, 4), length: random.once(30) ? 2 : 1, writable: true }];
  yield* addChain(view, random, queue, arrange(view, random, out, into));
}
