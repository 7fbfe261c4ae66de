// What a request says, before anything is done about it: its form, its place on the disk, its ranges.
import type { Chain } from '@virtkit/core';
import { BLK_S, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { type Settings, settle } from '../src/live/options.ts';
import { malformed, parseRanges, parseTransfer, word } from '../src/live/parse.ts';
import { type Operation, Request, RequestList } from '../src/live/request.ts';
import { Cut, LooseChain } from './cut.ts';

/** A chain whose buffers have these bytes, or so many. */
function chainOf(out: Uint8Array | readonly number[], into: readonly number[] = [1]): Chain {
  const cut = new Cut(out instanceof Uint8Array ? [out.length] : out);
  if (out instanceof Uint8Array) cut.copyFrom(0, out);
  return new LooseChain(cut, new Cut(into));
}

function requestOf(operation: Operation): Request {
  const request = new Request(() => {});
  request.operation = operation;
  return request;
}

test.each<[readonly number[], readonly number[], string | undefined]>([
  [[], [1], 'virtio-blk missing headers'],
  [[16], [], 'virtio-blk missing headers'],
  [[], [], 'virtio-blk missing headers'],
  [[15], [1], 'virtio-blk request outhdr too short'],
  [[8, 7], [1], 'virtio-blk request outhdr too short'],
  [[16], [512, 0], 'virtio-blk request inhdr too short'],
  [[16], [0, 1], undefined],
  [[8, 8], [1], undefined],
  [[1, 15, 9], [2], undefined],
  [[16], [1], undefined],
])('a chain with %j to read and %j to write: %s', (out, into, reason) => {
  expect(malformed(chainOf(out, into))).toBe(reason);
});

test('numbers of 32 bits, in either order', () => {
  const bytes = Uint8Array.of(9, 0x81, 2, 3, 0x84);
  expect(word(bytes, 1, true)).toBe(0x84030281);
  expect(word(bytes, 1, false)).toBe(0x81020384);
});

/** The disk has room for sectors of more than 32 bits. */
const FAR = 2 ** 33;
const MOST = 0x3fffff * 512;

describe.each([true, false])('a transfer, little-endian %s', (little) => {
  function parsed(sector: number, length: number, options: { blockSize?: number; capacity?: number } = {}) {
    const { blockSize = 512, capacity = FAR } = options;
    const settings = settle({ backend: memoryDisk(4096), blockSize });
    const header = new Uint8Array(20);
    new DataView(header.buffer).setBigUint64(2 + 8, BigInt(sector), little);
    const request = requestOf('read');
    request.length = length;
    return { status: parseTransfer(request, header, 2, little, settings, capacity), request };
  }

  test.each([0, 1, 0xffffffff, 2 ** 32, 2 ** 32 + 5, 2 ** 33 - 1])('of sector %i', (sector) => {
    const { status, request } = parsed(sector, 512);
    expect([status, request.sector]).toEqual([BLK_S.OK, sector]);
  });

  test.each<[number, number, number, number, number]>([
    [99, 512, 512, 100, BLK_S.OK],
    [99, 1024, 512, 100, BLK_S.IOERR],
    [100, 0, 512, 100, BLK_S.OK],
    [101, 0, 512, 100, BLK_S.IOERR],
    [100, 512, 512, 100, BLK_S.IOERR],
    [0, 511, 512, 100, BLK_S.IOERR],
    [0, 4096, 4096, 100, BLK_S.OK],
    [8, 4096, 4096, 100, BLK_S.OK],
    [7, 4096, 4096, 100, BLK_S.IOERR],
    [1, 4096, 4096, 100, BLK_S.IOERR],
    [0, 2048, 4096, 100, BLK_S.IOERR],
    [0, MOST, 512, FAR, BLK_S.OK],
    [0, MOST + 512, 512, FAR, BLK_S.IOERR],
    [0, 2 ** 31, 512, FAR, BLK_S.IOERR],
    [2 ** 60, 512, 512, FAR, BLK_S.IOERR],
  ])(
    'sector %i, %i bytes, blocks of %i, of a disk of %i sectors: %i',
    (sector, length, blockSize, capacity, status) => {
      expect(parsed(sector, length, { blockSize, capacity }).status).toBe(status);
    },
  );

  test('writes nothing to what is read-only, and reads it', () => {
    const settings = settle({ backend: memoryDisk(4096), readOnly: true });
    const header = new Uint8Array(16);
    for (const [operation, status] of [
      ['read', BLK_S.OK],
      ['write', BLK_S.IOERR],
    ] as const) {
      const request = requestOf(operation);
      request.length = 512;
      expect(parseTransfer(request, header, 0, little, settings, 8)).toBe(status);
    }
  });
});

describe('ranges', () => {
  type Range = readonly [sector: number, count: number, flags?: number];

  const backend = { ...plain(), discard: () => {}, secureErase: () => {} };
  function plain() {
    const { size } = memoryDisk(1 << 20);
    return { size, read: () => {}, write: () => {} };
  }
  const settings = settle({
    backend,
    discard: { maxSectors: 8, maxSegments: 1 },
    writeZeroes: { maxSectors: 16, maxSegments: 3 },
    secureErase: { maxSectors: 4, maxSegments: 2 },
  });

  function parsed(operation: Operation, ranges: readonly Range[] | number, given: Settings = settings) {
    const size = typeof ranges === 'number' ? ranges : 16 * ranges.length;
    const bytes = new Uint8Array(16 + size);
    const view = new DataView(bytes.buffer);
    if (typeof ranges !== 'number')
      ranges.forEach(([sector, count, flags = 0], i) => {
        view.setBigUint64(16 + 16 * i, BigInt(sector), true);
        view.setUint32(24 + 16 * i, count, true);
        view.setUint32(28 + 16 * i, flags, true);
      });
    const request = requestOf(operation);
    return { status: parseRanges(request, chainOf(bytes), true, given, 2048), request };
  }

  test.each<[Operation, readonly Range[] | number, number]>([
    ['discard', [[0, 8]], BLK_S.OK],
    ['discard', [[0, 9]], BLK_S.IOERR],
    ['write-zeroes', [[0, 16]], BLK_S.OK],
    ['write-zeroes', [[0, 17]], BLK_S.IOERR],
    ['secure-erase', [[0, 4]], BLK_S.OK],
    ['secure-erase', [[0, 5]], BLK_S.IOERR],
    ['discard', [[2047, 1]], BLK_S.OK],
    ['discard', [[2047, 2]], BLK_S.IOERR],
    // unmap belongs to WRITE_ZEROES alone; other flags to none
    ['write-zeroes', [[0, 1, 1]], BLK_S.OK],
    ['write-zeroes', [[0, 1, 2]], BLK_S.UNSUPP],
    ['discard', [[0, 1, 1]], BLK_S.UNSUPP],
    ['secure-erase', [[0, 1, 1]], BLK_S.UNSUPP],
    // as many segments as were told, whole
    ['discard', 32, BLK_S.UNSUPP],
    ['secure-erase', 32, BLK_S.OK],
    ['secure-erase', 48, BLK_S.UNSUPP],
    ['write-zeroes', 48, BLK_S.OK],
    ['write-zeroes', 49, BLK_S.UNSUPP],
    ['write-zeroes', 17, BLK_S.UNSUPP],
    ['write-zeroes', 15, -1],
    ['write-zeroes', 0, -1],
  ])('%s of %j: %i', (operation, ranges, status) => {
    expect(parsed(operation, ranges).status).toBe(status);
  });

  test('are kept as they were: the first by itself, others behind it', () => {
    const one = parsed('write-zeroes', [[3, 4, 1]]).request;
    expect([one.sector, one.length, one.mayUnmap, one.more]).toEqual([3, 4 * 512, true, undefined]);
    const three = parsed('write-zeroes', [
      [5, 6, 0],
      [7, 8, 1],
      [9, 0, 0],
    ]).request;
    expect([three.sector, three.length, three.mayUnmap]).toEqual([5, 6 * 512, false]);
    expect(three.more).toEqual([7, 8 * 512, 1, 9, 0, 0]);
  });

  test('change nothing on a disk that is read-only, and are an error if they would', () => {
    const still = settle({ backend, readOnly: true, writeZeroes: { maxSegments: 2 } });
    const withoutDiscard = settle({ backend: plain(), readOnly: true });
    expect(parsed('write-zeroes', [[0, 1]], still).status).toBe(BLK_S.IOERR);
    expect(parsed('write-zeroes', [[0, 0]], still).status).toBe(BLK_S.OK);
    expect(
      parsed(
        'write-zeroes',
        [
          [0, 0],
          [1, 1],
        ],
        still,
      ).status,
    ).toBe(BLK_S.IOERR);
    expect(parsed('discard', [[0, 1]], still).status).toBe(BLK_S.IOERR);
    expect(parsed('discard', [[0, 1]], withoutDiscard).status).toBe(BLK_S.OK);
    expect(parsed('write-zeroes', [[0, 1]], withoutDiscard).status).toBe(BLK_S.IOERR);
  });
});

test('requests are kept in their order, and their objects used again', () => {
  const settled: unknown[] = [];
  const list = new RequestList((request, failed, error) => settled.push([request, failed, error]));
  const chains = [chainOf([16]), chainOf([16]), chainOf([16])];
  const [a, b, c] = chains.map((chain) => list.add(chain)) as [Request, Request, Request];
  expect([a.stage, a.operation, a.mayUnmap, a.more, a.planned, a.chain === chains[0]]).toEqual([
    'taken',
    'read',
    false,
    undefined,
    undefined,
    true,
  ]);
  expect(list.all()).toEqual([a, b, c]);
  b.more = [1, 2, 3];
  list.remove(b);
  expect([list.all(), list.first, list.last, b.chain, b.more]).toEqual([[a, c], a, c, undefined, undefined]);
  expect([a.next === c, c.previous === a, b.next, b.previous]).toEqual([true, true, undefined, undefined]);
  list.remove(a);
  list.remove(c);
  expect([list.all(), list.first, list.last]).toEqual([[], undefined, undefined]);
  for (const request of [a, b]) list.release(request);
  expect([a.stage, b.stage]).toEqual(['free', 'free']);
  // the last that was given back is the first that is used again
  const again = [list.add(chainOf([16])), list.add(chainOf([16])), list.add(chainOf([16]))];
  expect([again[0] === b, again[1] === a, again[2] === c]).toEqual([true, true, false]);
  expect(list.all()).toEqual(again);
  b.resolve();
  b.reject('why');
  expect(settled).toEqual([
    [b, false, undefined],
    [b, true, 'why'],
  ]);
});
