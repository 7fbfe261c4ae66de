// An overlay against an array: writes, zeroes, reads, exports, loads, commits and flattening in any order, over a base that is slow, mixes up what it
// finishes, and fails now and then.
import type { Spans } from '@virtkit/core';
import type { BlkBackend } from '@virtkit/device-blk';
import { type OverlayDisk, overlayDisk } from '@virtkit/device-blk/overlay';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ArraySpans } from '../src/disk/array-spans.ts';
import { pattern } from './machine.ts';

/** Does what it is asked for at once, or when it is told to, in any order. */
class RandomBase implements BlkBackend {
  readonly size: number;
  readonly bytes: Uint8Array;
  readonly waiting: (() => void)[] = [];
  /** The write after so many fails. */
  failAfter = Number.POSITIVE_INFINITY;
  readonly #pick: (count: number) => number;

  constructor(bytes: Uint8Array, size: number, pick: (count: number) => number) {
    this.bytes = bytes;
    this.size = size;
    this.#pick = pick;
  }

  read(position: number, target: Spans, from: number, length: number): undefined | Promise<void> {
    return this.#do(() => {
      target.copyFrom(from, this.bytes, position, length);
    });
  }

  write(position: number, source: Spans, from: number, length: number): undefined | Promise<void> {
    if (this.failAfter-- <= 0) throw Object.assign(new Error('injected'), { code: 'EIO' });
    const bytes = new Uint8Array(length);
    source.copyTo(from, bytes, 0, length);
    return this.#do(() => this.bytes.set(bytes, position));
  }

  flush(): undefined {
    return undefined;
  }

  #do(work: () => void): undefined | Promise<void> {
    if (this.#pick(3) === 0) {
      work();
      return undefined;
    }
    return new Promise((resolve) => {
      this.waiting.push(() => {
        work();
        resolve();
      });
    });
  }

  /** Until something is done, finishes what waits, and has something happen in between. */
  async pump<T>(until: T | Promise<T>, between: () => void = () => {}): Promise<T> {
    let isDone = false;
    const end = (): void => {
      isDone = true;
    };
    const result = Promise.resolve(until);
    result.then(end, end);
    await Promise.resolve();
    while (!isDone) {
      const [next] = this.waiting.splice(this.#pick(Math.max(1, this.waiting.length)), 1);
      next?.();
      between();
      for (let i = this.#pick(4); i >= 0; i--) await Promise.resolve();
    }
    return result;
  }
}

const kinds = [
  'write',
  'write',
  'write',
  'zero',
  'discard',
  'read',
  'read',
  'export',
  'commit',
  'flatten',
] as const;
const operation = fc.record({
  kind: fc.constantFrom<(typeof kinds)[number]>(...kinds),
  place: fc.nat(),
  sectors: fc.nat(),
  damage: fc.nat(),
});

test('is what an array is, whatever is done to it at the same time', { timeout: 600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({ cluster: fc.nat(3), sectors: fc.integer({ min: 1, max: 60 }), short: fc.nat(511) }),
      fc.array(operation, { minLength: 1, maxLength: 40 }),
      fc.infiniteStream(fc.nat(1 << 20)),
      async ({ cluster, sectors, short }, operations, stream) => {
        const pick = (count: number): number => Number(stream.next().value) % count;
        const clusterSize = 512 << cluster;
        const model = pattern(sectors * 512, 5);
        // a last sector that is not whole is filled up with zeros
        model.fill(0, sectors * 512 - short);
        const base = new RandomBase(model.slice(), sectors * 512 - short, pick);
        const disk = overlayDisk(base, { clusterSize, discard: 'unmap' });
        let number = 100;
        const write = (sector: number, count: number): void => {
          const bytes = pattern(count * 512, number++);
          disk.write(sector * 512, new ArraySpans(bytes), 0, bytes.length);
          model.set(bytes, sector * 512);
        };
        const sometimes = (): void => {
          if (pick(2) === 0) write(pick(sectors), 1);
        };
        for (const { kind, place, sectors: many, damage } of operations) {
          const sector = place % sectors;
          const count = 1 + (many % (sectors - sector));
          const [position, length] = [sector * 512, count * 512];
          if (kind === 'write') write(sector, count);
          else if (kind === 'zero' || kind === 'discard') {
            if (kind === 'zero') disk.writeZeroes(position, length);
            else disk.discard?.(position, length);
            model.fill(0, position, position + length);
          } else if (kind === 'read')
            expect(
              same(await content(disk, base, position, length), model.subarray(position, position + length)),
            ).toBe(true);
          else if (kind === 'commit') {
            if (damage % 3 === 0) base.failAfter = damage % 5;
            // what fails leaves everything in the overlay
            await base.pump(
              disk.commit().catch(() => {}),
              sometimes,
            );
            base.failAfter = Number.POSITIVE_INFINITY;
          } else if (kind === 'export') {
            const then = model.slice();
            const file = await collect(disk.export(), sometimes);
            const other = overlayDisk(base, { clusterSize });
            await other.load(file);
            expect(same(await content(other, base, 0, then.length), then)).toBe(true);
            const broken = damage % 2 === 0 ? file.slice(0, damage % file.length) : file.slice();
            if (damage % 2 === 1)
              broken[damage % file.length] = (broken[damage % file.length] ?? 0) ^ (1 << (damage % 8));
            await expect(other.load(broken)).rejects.toThrow('overlay file');
            expect(same(await content(other, base, 0, then.length), then)).toBe(true);
          } else expect(same(await base.pump(collect(disk.flatten(), () => {})), model)).toBe(true);
        }
        expect(same(await content(disk, base, 0, model.length), model)).toBe(true);
      },
    ),
    { numRuns: process.env['VIRTKIT_SLOW'] === '1' ? 5000 : 100 },
  );
});

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

async function content(
  disk: OverlayDisk,
  base: RandomBase,
  position: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await base.pump(disk.read(position, new ArraySpans(bytes), 0, length));
  return bytes;
}

async function collect(chunks: AsyncIterable<Uint8Array>, between: () => void): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) {
    all.push(chunk);
    between();
  }
  return new Uint8Array(Buffer.concat(all));
}
