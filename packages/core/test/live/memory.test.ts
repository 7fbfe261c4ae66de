import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Gpa } from '../../src/contract/memory.ts';
import { HostError, isHostError } from '../../src/live/errors.ts';
import type { Region } from '../../src/live/mapping.ts';
import { MappedMemory } from '../../src/live/memory.ts';
import { popped, Rig, WRITE } from './rig.ts';

/** As much as is needed of what every engine has. */
declare const WebAssembly: {
  Memory: new (options: { initial: number }) => { readonly buffer: ArrayBuffer; grow(pages: number): number };
};

const at = (gpa: number): Gpa => gpa as Gpa;
const ram = (gpa: number, length: number, readonly = false): Region => ({
  gpa,
  bytes: new Uint8Array(length),
  readonly,
});

describe('regions', () => {
  test('overlap, no addresses, and too much are the host program’s mistakes', () => {
    expect(() => new MappedMemory([ram(0x1000, 0x1000), ram(0x1fff, 1)])).toThrow('regions overlap');
    expect(() => new MappedMemory([ram(0x2000, 1), ram(0x1000, 0x1001)])).toThrow(HostError);
    for (const gpa of [-1, 0.5, 2 ** 53, Number.NaN])
      expect(() => new MappedMemory([ram(gpa, 1)])).toThrow(HostError);
    expect(() => new MappedMemory([ram(2 ** 53 - 2, 16)])).toThrow('too many');
    try {
      new MappedMemory([ram(0, 2), ram(1, 2)]);
    } catch (error) {
      expect(isHostError(error)).toBe(true);
    }
    expect(isHostError(new Error('x'))).toBe(false);
  });

  test('neighbours, an empty one, and none at all', () => {
    const memory = new MappedMemory([ram(0x1000, 0x1000), ram(0, 0x1000), ram(0x3000, 0)]);
    expect(memory.covers(at(0), 0x2000)).toBe(true);
    expect(memory.covers(at(0), 0x2001)).toBe(false);
    expect(memory.readU8(at(0x3000))).toBe(-1);
    expect(new MappedMemory([]).readU32(at(0), true)).toBe(-1);
  });

  test('holes and ROM: nothing is read or written, not even in part', () => {
    const memory = new MappedMemory([ram(0, 0x1000), ram(0x1000, 0x1000, true), ram(0x4000, 0x1000)]);
    const bytes = new Uint8Array(0x20).fill(7);
    expect(memory.write(at(0xff0), bytes)).toBe(false);
    expect(memory.readU8(at(0xff0))).toBe(0);
    expect(memory.read(at(0x1ff0), bytes)).toBe(false);
    expect(bytes[0]).toBe(7);
    expect(memory.read(at(0xff0), bytes)).toBe(true);
    expect(bytes[0]).toBe(0);
    expect([memory.covers(at(0x1000), 1), memory.covers(at(0x1000), 1, true)]).toEqual([true, false]);
    expect([memory.writeU8(at(0x1000), 1), memory.writeU16(at(0xfff), 1, true)]).toEqual([false, false]);
    expect([
      memory.readU8(at(0xfff)),
      memory.writeU32(at(0x2000), 1, true),
      memory.orU8(at(0x1000), 1),
    ]).toEqual([0, false, -1]);
    expect([memory.readU16(at(0x1fff), true), memory.readU32(at(0x1ffe), true)]).toEqual([-1, -1]);
    expect(memory.covers(at(2 ** 53), 1)).toBe(false);
    expect(() => memory.read(at(0), bytes, 0x10, 0x11)).toThrow(HostError);
  });

  test('numbers in both byte orders, across regions, above 4 GiB', () => {
    const memory = new MappedMemory([ram(2 ** 32 - 2, 2), ram(2 ** 32, 0x10)]);
    expect(memory.writeU32(at(2 ** 32 - 2), 0x11223344, true)).toBe(true);
    expect(memory.readU32(at(2 ** 32 - 2), false)).toBe(0x44332211);
    expect(memory.readU16(at(2 ** 32 - 1), true)).toBe(0x2233);
    expect(memory.orU8(at(2 ** 32), 0x0f)).toBe(0x22);
    expect(memory.readU8(at(2 ** 32))).toBe(0x2f);
  });
});

test('reads and writes anywhere are what one large array would say', () => {
  const SIZE = 0x400;
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(SIZE - 1), { minLength: 1, maxLength: 6 }),
      fc.array(fc.record({ gpa: fc.nat(SIZE), length: fc.nat(64), value: fc.nat(255) }), {
        maxLength: 30,
        size: 'max',
      }),
      (cuts, writes) => {
        const ends = [...cuts].sort((a, b) => a - b);
        // every second piece between cuts is a hole
        const regions = ends
          .slice(1)
          .map((end, i) => ({ gpa: ends[i] ?? 0, length: end - (ends[i] ?? 0), hole: i % 2 }));
        const memory = new MappedMemory(
          regions.filter(({ hole }) => hole === 0).map(({ gpa, length }) => ram(gpa, length)),
        );
        const model = new Int16Array(SIZE + 128).fill(-1);
        for (const { gpa, length, hole } of regions) if (hole === 0) model.fill(0, gpa, gpa + length);
        for (const { gpa, length, value } of writes) {
          const whole = model.subarray(gpa, gpa + length).every((byte) => byte >= 0);
          expect(memory.covers(at(gpa), length, true)).toBe(whole);
          expect(memory.write(at(gpa), new Uint8Array(length).fill(value))).toBe(whole);
          if (whole) model.fill(value, gpa, gpa + length);
        }
        for (let gpa = 0; gpa < SIZE; gpa++) expect(memory.readU8(at(gpa))).toBe(model[gpa]);
      },
    ),
  );
});

describe('memory that grows', () => {
  test('a WebAssembly memory: views are renewed at sync, in the middle of a request', () => {
    const wasm = new WebAssembly.Memory({ initial: 4 });
    const memory = new MappedMemory([
      { gpa: 0, bytes: { buffer: () => wasm.buffer, offset: 0, length: 0x40000 } },
    ]);
    const rig = new Rig({ memory });
    rig.desc(0x1000, 0, 0x10000, 16, WRITE, 0);
    rig.desc(0x1000, 1, 0x10010, 16, 0, 0);
    const queue = rig.split();
    rig.offer(0);
    const chain = popped(queue);
    const { epoch } = memory;
    wasm.grow(1);
    memory.sync();
    expect(memory.epoch).toBe(epoch + 1);
    expect(chain.in.copyFrom(0, Uint8Array.of(1, 2, 3))).toBe(3);
    expect(chain.in.bytes(0).buffer).toBe(wasm.buffer);
    queue.push(chain, 3);
    rig.offer(1);
    expect(popped(queue).index).toBe(1);
    const now = new Uint8Array(wasm.buffer);
    expect([...now.subarray(0x10000, 0x10004)]).toEqual([1, 2, 3, 0]);
    expect([...now.subarray(0x3000, 0x3010)]).toEqual([0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    memory.sync();
    expect(memory.epoch).toBe(epoch + 1);
  });

  test('a region that grows, as a function that gives its bytes', () => {
    let bytes = new Uint8Array(0x1000);
    const memory = new MappedMemory([{ gpa: 0x1000, bytes: () => bytes }, ram(0x4000, 0x1000)]);
    memory.startDirtyLog();
    expect(memory.writeU8(at(0x2000), 1)).toBe(false);
    bytes = new Uint8Array(0x3000);
    memory.sync();
    expect(memory.writeU8(at(0x2000), 1)).toBe(true);
    const dirty: number[] = [];
    memory.takeDirty((gpa, length) => dirty.push(gpa, length));
    expect(dirty).toEqual([0x2000, 0x1000]);
    bytes = new Uint8Array(0x3001);
    expect(() => memory.sync()).toThrow('overlap');
  });

  test('a buffer that is too short is the host program’s mistake', () => {
    const buffer = new ArrayBuffer(16);
    expect(
      () => new MappedMemory([{ gpa: 0, bytes: { buffer: () => buffer, offset: 8, length: 9 } }]),
    ).toThrow(HostError);
  });
});

describe('dirty log', () => {
  const take = (memory: MappedMemory): [number, number][] => {
    const runs: [number, number][] = [];
    const pages = memory.takeDirty((gpa, length) => runs.push([gpa, length]));
    expect(pages).toBe(runs.reduce((sum, [, length]) => sum + length / 4096, 0));
    return runs;
  };

  test('off: nothing is remembered', () => {
    const memory = new MappedMemory([ram(0, 0x4000)]);
    memory.writeU8(at(0), 1);
    expect(take(memory)).toEqual([]);
    memory.startDirtyLog();
    memory.startDirtyLog();
    memory.writeU8(at(0), 1);
    memory.stopDirtyLog();
    expect(take(memory)).toEqual([]);
  });

  test('a listener hears of each write, whether or not pages are remembered', () => {
    const heard: [number, number][] = [];
    const memory = new MappedMemory([ram(0x800, 0x1_0000), ram(2 ** 33, 0x2000)], {
      onWrite: (gpa, length) => heard.push([gpa, length]),
    });
    memory.write(at(0xfff), new Uint8Array(2));
    expect(take(memory)).toEqual([]);
    memory.startDirtyLog();
    memory.writeU16(at(2 ** 33 + 0xfff), 7, true);
    memory.markDirty(at(0x8ff), 0x1000);
    memory.stopDirtyLog();
    memory.writeU8(at(0x800), 1);
    expect(take(memory)).toEqual([]);
    expect(heard).toEqual([
      [0xfff, 2],
      [2 ** 33 + 0xfff, 1],
      [2 ** 33 + 0x1000, 1],
      [0x8ff, 0x1000],
      [0x800, 1],
    ]);
  });

  test('runs of pages by guest address, cleared when taken', () => {
    const memory = new MappedMemory([ram(0x800, 0x10_0000), ram(2 ** 33, 0x2000)]);
    memory.startDirtyLog();
    memory.write(at(0xfff), new Uint8Array(2));
    memory.write(at(0x5000), new Uint8Array(0x2000));
    memory.markDirty(at(0x9fff), 1);
    memory.markDirty(at(0x10_07ff), 0x100);
    memory.orU8(at(2 ** 33 + 0x1fff), 1);
    expect(take(memory)).toEqual([
      [0, 0x2000],
      [0x5000, 0x2000],
      [0x9000, 0x1000],
      [0x10_0000, 0x1000],
      [2 ** 33 + 0x1000, 0x1000],
    ]);
    expect(take(memory)).toEqual([]);
  });

  test('what a queue writes: ring and buffers, as much as was written', () => {
    for (const format of ['split', 'packed'] as const) {
      const rig = new Rig({ eventIdx: true });
      if (format === 'split') {
        rig.desc(0x1000, 0, 0x10ff0, 0x2000, WRITE, 0);
        rig.offer(0);
      } else rig.desc(0x1000, 0, 0x10ff0, 0x2000, 0, WRITE | 0x80);
      const queue = rig[format]();
      rig.memory.startDirtyLog();
      const chain = popped(queue);
      expect(take(rig.memory)).toEqual(format === 'split' ? [[0x3000, 0x1000]] : []);
      queue.push(chain, 0x10);
      expect(take(rig.memory)).toEqual([
        [format === 'split' ? 0x3000 : 0x1000, 0x1000],
        [0x10000, 0x1000],
      ]);
      queue.setNotification(true);
      expect(take(rig.memory)).toEqual([[0x3000, 0x1000]]);
    }
  });
});
