// The map of the guest's RAM: of bounded size, whatever a stream claims.
import { RAM } from '@virtkit/migration';
import { expect, test } from 'vitest';
import { RamMap } from '../src/model/ram-map.ts';
import { CELL } from '../src/model/types.ts';

test('each page is noted where it lies', () => {
  const map = new RamMap();
  map.ramBlock({ name: 'pc.ram', length: 0x4000 });
  map.ramPage(RAM.PAGE, 0x1000, 0);
  map.ramPage(RAM.ZERO, 0x3000, 0);
  // no page of the block, and no block
  map.ramPage(RAM.PAGE, 0x4000, 0);
  map.ramPage(RAM.PAGE, 0, 1);
  expect(map.blocks).toEqual([{ cellBytes: 4096, cells: Uint8Array.of(0, CELL.CONTENT, 0, CELL.ZERO) }]);
});

test('a block of any size has a map of at most 65536 cells', () => {
  const map = new RamMap();
  map.ramBlock({ name: 'huge', length: 2 ** 50 });
  map.ramPage(RAM.PAGE, 2 ** 50 - 4096, 0);
  const [block] = map.blocks;
  expect([block?.cells.length, block?.cellBytes]).toEqual([65536, 2 ** 34]);
  expect(block?.cells.at(-1)).toBe(CELL.CONTENT);
});

test('many blocks have a small map together', () => {
  const map = new RamMap();
  for (let n = 0; n < 100; n++) map.ramBlock({ name: `block ${n}`, length: 2 ** 40 });
  const total = map.blocks.reduce((sum, { cells }) => sum + cells.length, 0);
  expect(total).toBeGreaterThan(2 ** 19);
  expect(total).toBeLessThanOrEqual(2 ** 20 + 100);
});

test('of a mapped-ram file the bitmap says which pages are there', () => {
  const map = new RamMap();
  const mapped = { version: 1, pageSize: 4096n, bitmapOffset: 0x100n, pagesOffset: 0x1000n };
  map.ramBlock({ name: 'pc.ram', length: 0xa000, mapped });
  const bitmap = Uint8Array.of(0b101, 0b10);
  map.ramRegion(bitmap, 0, 1);
  map.ramRegion(bitmap, 1, 2);
  expect([...(map.blocks[0]?.cells ?? [])]).toEqual([1, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
});
