import type { Spans } from '@virtkit/core';
import { type Case, ensure, equalBytes, Random } from './case.ts';
import { LentBuffer } from './lent-buffer.ts';

/** Back end of `@virtkit/device-blk`, as far as the cases need it. */
export interface DiskBackend {
  /** Length of the disk in bytes. */
  readonly size: number;
  /** True if writes are refused. */
  readonly readOnly?: boolean;
  /** Fills `length` bytes of the target from byte `from` on with what the disk has at `position`. */
  read(position: number, target: Spans, from: number, length: number): void | Promise<void>;
  /** Writes `length` bytes of the source from byte `from` on to `position`. */
  write(position: number, source: Spans, from: number, length: number): void | Promise<void>;
  /** Makes durable what was written. */
  flush?(): void | Promise<void>;
  /** Discards a range, whose content is of no use any more. */
  discard?(position: number, length: number): void | Promise<void>;
  /** Fills this range with zeros, which with `mayUnmap` need not take space. */
  writeZeroes?(position: number, length: number, mayUnmap: boolean): void | Promise<void>;
}

/** Back end to be tested, and how it is put away. */
export interface BackendBench {
  /** Makes a new disk with this content. */
  make(content: Uint8Array): DiskBackend | Promise<DiskBackend>;
  /** Lets go of a disk that was made. */
  close?(disk: DiskBackend): unknown;
  /** True if {@link close} closes the disk for good; there is a case that it is closed then. */
  readonly staysClosed?: boolean;
  /** Has the next flush fail, and no other, as systems tell of lost writes once. Then there is a case that it is not forgotten. */
  failFlush?(disk: DiskBackend): void;
  /**
   * Length of the disk in bytes, a multiple of 512; default 96 sectors. Choose what crosses the edges of your blocks.
   */
  readonly bytes?: number;
  /** Seed of random operations; default 1. */
  readonly seed?: number;
}

const SECTOR = 512;
const OPERATIONS = 400;
const ROUNDS = 20;

interface Place {
  readonly position: number;
  readonly length: number;
}

/**
 * Lists cases for a block device's back end: it is what an array is; many operations at a time; what it was lent it
 * lets go of: the bytes of a write when the call returns, the target of a read when its promise settles.
 */
export function backendCases(bench: BackendBench): Case[] {
  const { bytes = 96 * SECTOR, seed = 1 } = bench;
  const withDisk = async (body: (disk: DiskBackend, model: Uint8Array, random: Random) => Promise<void>) => {
    const random = new Random(seed);
    const model = random.bytes(bytes);
    const disk = await bench.make(model.slice());
    try {
      ensure(disk.size === bytes, `size ${disk.size}, the disk was made with ${bytes} bytes`);
      await body(disk, model, random);
    } finally {
      await bench.close?.(disk);
    }
  };
  const cases = [
    { name: 'one operation after the other', run: () => withDisk(oneByOne) },
    { name: 'many operations at a time', run: () => withDisk(manyAtATime) },
  ];
  if (bench.staysClosed === true)
    cases.push({ name: 'closed is closed', run: () => withDisk((disk) => closedIsClosed(disk, bench)) });
  if (bench.failFlush !== undefined)
    cases.push({ name: 'a flush that failed', run: () => withDisk((disk) => flushFails(disk, bench)) });
  return cases;
}

/** Checks a closed disk: all that begins afterwards fails, and what was under way ends; a second close does nothing. */
async function closedIsClosed(disk: DiskBackend, bench: BackendBench): Promise<void> {
  const operations = allOperations(disk);
  // done or not, they end
  const underWay = Promise.allSettled(operations.map(([, operation]) => operation()));
  const closing = bench.close?.(disk);
  for (const [name, operation] of operations)
    ensure(await fails(operation), `${name} of a closed disk did not fail`);
  await closing;
  await underWay;
  ensure(!(await fails(() => bench.close?.(disk))), 'a second close failed');
}

/**
 * Checks a flush that fails: it may have lost what was written before it, so that no later one may say that all is
 * stable.
 */
async function flushFails(disk: DiskBackend, bench: BackendBench): Promise<void> {
  if (disk.flush === undefined) return;
  const flush = (): unknown => disk.flush?.();
  await write(disk, 0, new Uint8Array(SECTOR));
  bench.failFlush?.(disk);
  ensure(await fails(flush), 'the flush did not fail that was to');
  for (const again of ['first', 'second'])
    ensure(await fails(flush), `the ${again} flush after one that failed said that all is stable`);
}

function allOperations(disk: DiskBackend): readonly (readonly [string, () => Promise<unknown>])[] {
  const list: [string, () => Promise<unknown>][] = [
    ['a read', () => read(disk, { position: 0, length: SECTOR })],
  ];
  if (disk.readOnly) return list;
  list.push(['a write', () => write(disk, 0, new Uint8Array(SECTOR))]);
  const { flush, discard, writeZeroes } = disk;
  if (flush !== undefined) list.push(['a flush', async () => disk.flush?.()]);
  if (discard !== undefined) list.push(['a discard', async () => disk.discard?.(0, SECTOR)]);
  if (writeZeroes !== undefined) list.push(['zeroes', async () => disk.writeZeroes?.(0, SECTOR, false)]);
  return list;
}

async function fails(operation: () => unknown): Promise<boolean> {
  try {
    await operation();
    return false;
  } catch {
    return true;
  }
}

async function oneByOne(disk: DiskBackend, model: Uint8Array, random: Random): Promise<void> {
  for (let i = 0; i < OPERATIONS; i++) {
    const place = somewhere(model.length, random);
    const { position, length } = place;
    switch (disk.readOnly ? 0 : random.below(5)) {
      case 0:
        await expectBytes(disk, place, model);
        break;
      case 1:
        await disk.writeZeroes?.(position, length, random.chance(2));
        if (disk.writeZeroes !== undefined) model.fill(0, position, position + length);
        break;
      case 2:
        // what they are then is not said
        await disk.discard?.(position, length);
        await write(disk, position, random.bytes(length), model);
        break;
      case 3:
        await disk.flush?.();
        break;
      default:
        await write(disk, position, random.bytes(length), model);
    }
  }
  await expectBytes(disk, { position: 0, length: model.length }, model);
}

/**
 * Checks many operations at a time: where writes overlap, each sector is what one of them wrote; reads beside them are
 * not disturbed.
 */
async function manyAtATime(disk: DiskBackend, model: Uint8Array, random: Random): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const half = Math.floor(model.length / SECTOR / 2) * SECTOR;
    const written = Array.from({ length: disk.readOnly ? 0 : 8 }, () => somewhere(half, random));
    const before = model.slice();
    const news = written.map(({ length }) => random.bytes(length));
    const work: unknown[] = written.map(({ position }, i) =>
      write(disk, position, news[i] ?? new Uint8Array(0)),
    );
    for (let i = 0; i < 8; i++) {
      const { position, length } = somewhere(model.length - half, random);
      work.push(expectBytes(disk, { position: half + position, length }, before));
    }
    await Promise.all(work);
    const found = await read(disk, { position: 0, length: half });
    for (let at = 0; at < half; at += SECTOR) {
      const over = written.flatMap(({ position, length }, i) =>
        at >= position && at < position + length
          ? [news[i]?.subarray(at - position, at - position + SECTOR)]
          : [],
      );
      const now = found.slice(at, at + SECTOR);
      const candidates = over.length === 0 ? [before.slice(at, at + SECTOR)] : over;
      ensure(
        candidates.some((each) => each !== undefined && equalBytes(each.slice(), now)),
        `byte ${at}: what none of ${over.length} writes put there`,
      );
    }
    model.set(found);
  }
}

function somewhere(bytes: number, random: Random): Place {
  const sectors = bytes / SECTOR;
  const first = random.below(sectors);
  return { position: first * SECTOR, length: (1 + random.below(Math.min(40, sectors - first))) * SECTOR };
}

async function write(
  disk: DiskBackend,
  position: number,
  bytes: Uint8Array,
  model?: Uint8Array,
): Promise<void> {
  const source = new LentBuffer(bytes);
  const pending = disk.write(position, source, LentBuffer.MARGIN, bytes.length);
  source.end('a write after its call has returned');
  await pending;
  model?.set(bytes, position);
}

async function read(disk: DiskBackend, { position, length }: Place): Promise<Uint8Array> {
  const target = new LentBuffer(new Uint8Array(length));
  await disk.read(position, target, LentBuffer.MARGIN, length);
  const bytes = target.content();
  target.end('a read after it was done');
  return bytes;
}

async function expectBytes(disk: DiskBackend, place: Place, model: Uint8Array): Promise<void> {
  const found = await read(disk, place);
  const { position, length } = place;
  const expected = model.slice(position, position + length);
  if (equalBytes(found, expected)) return;
  const at = found.findIndex((byte, i) => byte !== expected[i]);
  ensure(
    false,
    `byte ${position + at}: 0x${found[at]?.toString(16)}, 0x${expected[at]?.toString(16)} expected`,
  );
}
