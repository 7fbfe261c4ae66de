import { MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeConfigSpace } from '../src/index.ts';
import { type Layout, layOut } from '../src/live/layout.ts';
import { shapeOf } from '../src/live/options.ts';
import {
  ALL_ON,
  COMMAND,
  capability,
  MODERN,
  makeRig,
  type RigOptions,
  setMsix,
  startModern,
} from './rig.ts';

const VARIANTS: readonly (readonly [string, RigOptions])[] = [
  ['legacy', { mode: 'legacy' }],
  ['transitional', {}],
  ['transitional without vectors', { vectors: 0 }],
  ['modern', { mode: 'modern' }],
  ['modern with port I/O notification', { mode: 'modern', modernPioNotify: true }],
  ['express', { express: true }],
  ['express with AER and ATS', { express: true, aer: true, ats: true }],
  ['express, machine 2.8', { express: true, machine: '2.8' }],
  ['with a ROM', { rom: Uint8Array.of(0x55, 0xaa, 1, 2, 3) }],
];

describe('configuration space', () => {
  test('looks as QEMU 7.2 makes it', () => {
    const { fn } = makeRig({ queues: 1, vectors: 2 });
    const hex = (from: number, bytes: number): string =>
      Array.from({ length: bytes }, (_, i) =>
        fn
          .configRead(from + i, 1)
          .toString(16)
          .padStart(2, '0'),
      ).join('');
    expect(hex(0x00, 16)).toBe('f41a0110000010000000000100000000');
    expect(hex(0x2c, 4)).toBe('f41a0200');
    expect(hex(0x34, 4)).toBe('98000000');
    expect(hex(0x3c, 4)).toBe('00010000');
    expect(hex(0x40, 16)).toBe('09001001040000000000000000100000');
    expect(hex(0x50, 16)).toBe('09401003040000000010000000100000');
    expect(hex(0x60, 16)).toBe('09501004040000000020000000100000');
    expect(hex(0x70, 20)).toBe('0960140204000000003000000010000004000000');
    expect(hex(0x84, 20)).toBe(`09701405${'00'.repeat(16)}`);
    expect(hex(0x98, 12)).toBe('118401000100000001080000');
    expect(hex(0xa4, 92)).toBe('00'.repeat(92));
  });

  test.each(VARIANTS)('%s: no access throws, and read-only bits stay', (_name, options) => {
    const reference = makeRig(options).fn;
    const { space } = layoutOf(options);
    const readOnly = space.bytes.map((_, at) => ~((space.wmask[at] ?? 0) | (space.w1cmask[at] ?? 0)));
    const window = capability(reference, 9, 5);
    const access = fc.record({
      offset: fc.oneof(fc.nat(reference.configSize + 8), fc.constantFrom(-1, 2 ** 40, Number.NaN, 0.5)),
      size: fc.oneof(fc.constantFrom(1, 2, 4), fc.integer({ min: -1, max: 9 })),
      value: fc.oneof(fc.nat(0xffffffff), fc.integer(), fc.constantFrom(Number.NaN, 2 ** 60)),
    });
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
        const { fn } = makeRig(options);
        const wrong: number[] = [];
        for (const { offset, size, value } of accesses) {
          fn.configWrite(offset, size, value);
          if (!(fn.configRead(offset, size) >= 0)) wrong.push(offset);
        }
        for (let at = 0; at < fn.configSize; at++) {
          const changed = fn.configRead(at, 1) ^ reference.configRead(at, 1);
          // the window shows registers; the interrupt status bit follows them
          if (at >= window + 16 && at < window + 20) continue;
          const mask = at === 6 ? (readOnly[at] ?? 0) & ~8 : (readOnly[at] ?? 0);
          if ((changed & mask) !== 0) wrong.push(at);
        }
        expect(wrong).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  test('an access that crosses a double word is two', () => {
    const { fn } = makeRig();
    fn.configWrite(0x3a, 4, 0xaabbccdd);
    // interrupt line is writable, pin is not, and below there is nothing
    expect(fn.configRead(0x3a, 4)).toBe(0x01bb0000);
    expect(fn.configRead(0x01, 2)).toBe(0x011a);
    expect(fn.configRead(0xfe, 4)).toBe(0xffff0000);
  });

  test('a conventional function has 256 bytes, an express one 4096', () => {
    const conventional = makeRig().fn;
    expect([conventional.configRead(0x100, 4), conventional.configRead(0xffc, 4)]).toEqual([
      0xffffffff, 0xffffffff,
    ]);
    const express = makeRig({ express: true }).fn;
    expect([express.configRead(0x100, 4), express.configRead(0x1000, 4)]).toEqual([0, 0xffffffff]);
  });

  test('bits that are cleared by a one', () => {
    const { fn } = makeRig({ express: true, aer: true });
    const state = fn.device.capture();
    const config = state.transport.config.slice();
    const view = new DataView(config.buffer);
    view.setUint16(6, 0xf910, true);
    view.setUint32(0x104, 0x3000, true);
    fn.device.restore({ ...state, transport: { ...state.transport, config } });
    fn.configWrite(6, 2, 0x8000);
    expect(fn.configRead(6, 2)).toBe(0x7910);
    fn.configWrite(0x104, 4, 0x1000);
    expect(fn.configRead(0x104, 4)).toBe(0x2000);
  });
});

/** Configuration space as it is made, with the masks that no driver can see. */
function layoutOf(options: RigOptions): Layout {
  const model = new BlkDevice({ backend: memoryDisk(1 << 16), queues: 2, queueSize: 16 });
  const complete = { memory: new MappedMemory([]), setIntx: () => {}, sendMsi: () => {}, ...options };
  return layOut(model, complete, shapeOf(model, complete), { message: () => {} });
}

describe('BARs', () => {
  const size = (fn: ReturnType<typeof makeRig>['fn'], at: number): number => {
    const before = fn.configRead(at, 4);
    fn.configWrite(at, 4, 0xffffffff);
    const mask = fn.configRead(at, 4);
    fn.configWrite(at, 4, before);
    return mask;
  };

  test.each([
    ['legacy', { mode: 'legacy', vectors: 3 }, [0xffffff81, 0xfffff000, 0, 0, 0, 0, 0]],
    ['transitional', { vectors: 3 }, [0xffffff81, 0xfffff000, 0, 0, 0xffffc00c, 0xffffffff, 0]],
    ['modern', { mode: 'modern', vectors: 0 }, [0, 0, 0, 0, 0xffffc00c, 0xffffffff, 0]],
    [
      'port I/O',
      { modernPioNotify: true, vectors: 0 },
      [0xffffff81, 0, 0xfffffffd, 0, 0xffffc00c, 0xffffffff, 0],
    ],
    [
      'page per queue',
      { mode: 'modern', pagePerVq: true, vectors: 0 },
      [0, 0, 0, 0, 0xff80000c, 0xffffffff, 0],
    ],
    ['129 vectors', { mode: 'modern', vectors: 129 }, [0, 0xfffff000, 0, 0, 0xffffc00c, 0xffffffff, 0]],
    ['256 vectors', { mode: 'modern', vectors: 256 }, [0, 0xffffe000, 0, 0, 0xffffc00c, 0xffffffff, 0]],
    ['2048 vectors', { mode: 'modern', vectors: 2048 }, [0, 0xffff0000, 0, 0, 0xffffc00c, 0xffffffff, 0]],
    [
      'ROM',
      { mode: 'modern', vectors: 0, rom: new Uint8Array(3000) },
      [0, 0, 0, 0, 0xffffc00c, 0xffffffff, 0xfffff001],
    ],
  ] as const)('%s: sizes', (_name, options, masks) => {
    const { fn } = makeRig(options as RigOptions);
    expect([0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30].map((at) => size(fn, at))).toEqual(masks);
  });

  test('an emulator is told where to map what', () => {
    const { fn, moved } = makeRig();
    fn.configWrite(0x10, 4, 0xc040);
    fn.configWrite(0x14, 4, 0xfebf0000);
    fn.configWrite(0x20, 4, 0x00008000);
    fn.configWrite(0x24, 4, 0x38);
    expect(moved).toEqual([]);
    fn.configWrite(COMMAND, 2, ALL_ON);
    const told = moved.map(({ index, kind, size: bytes, address, enabled }) => [
      index,
      kind,
      bytes,
      address,
      enabled,
    ]);
    expect(told).toEqual([
      [0, 'io', 128, 0xc000, true],
      [1, 'memory32', 4096, 0xfebf0000, true],
      [4, 'memory64', 16384, 0x3800008000, true],
    ]);
    expect(fn.bars).toEqual(moved);
    moved.length = 0;
    fn.configWrite(COMMAND, 2, 1);
    expect(moved.map(({ index, enabled }) => [index, enabled])).toEqual([
      [1, false],
      [4, false],
    ]);
    moved.length = 0;
    fn.configWrite(COMMAND, 2, ALL_ON);
    fn.configWrite(0x14, 4, 0xfebe0000);
    expect(moved.at(-1)).toMatchObject({ index: 1, address: 0xfebe0000, enabled: true });
    moved.length = 0;
    fn.reset();
    expect(moved.map(({ index, enabled }) => [index, enabled])).toEqual([
      [0, false],
      [1, false],
      [4, false],
    ]);
  });

  test('where nothing can be mapped: 0, and the end of the address space', () => {
    const { fn } = makeRig({ mode: 'modern' });
    fn.configWrite(COMMAND, 2, ALL_ON);
    const enabled = (index: number): boolean | undefined =>
      fn.bars.find((bar) => bar.index === index)?.enabled;
    expect([enabled(1), enabled(4)]).toEqual([false, false]);
    fn.configWrite(0x14, 4, 0xffffffff);
    fn.configWrite(0x20, 4, 0xffffffff);
    // a 64-bit BAR of which only the lower half was sized is below 4 GiB
    expect([enabled(1), enabled(4)]).toEqual([false, true]);
    fn.configWrite(0x24, 4, 0xffffffff);
    expect(enabled(4)).toBe(false);
    fn.configWrite(0x24, 4, 0xfffffffe);
    expect(fn.bars.at(-1)).toMatchObject({ enabled: true, address: 0xfffffffe * 2 ** 32 + 0xffffc000 });
    const lax = makeRig({ mode: 'modern', allowAddressZero: true });
    lax.fn.configWrite(COMMAND, 2, 2);
    expect(lax.moved.map(({ address }) => address)).toEqual([0, 0]);
  });

  test('the ROM has a switch of its own', () => {
    const { fn, moved } = makeRig({ mode: 'modern', vectors: 0, rom: Uint8Array.of(0x55, 0xaa, 1) });
    fn.configWrite(COMMAND, 2, ALL_ON);
    fn.configWrite(0x30, 4, 0xfeb00000);
    expect(moved).toEqual([]);
    fn.configWrite(0x30, 4, 0xfeb00001);
    expect(moved).toMatchObject([{ index: 6, kind: 'rom', size: 4, address: 0xfeb00000, enabled: true }]);
    expect(fn.barRead(6, 0, 4)).toBe(0x0001aa55);
    fn.barWrite(6, 0, 4, 0);
    expect(fn.barRead(6, 1, 2)).toBe(0x01aa);
  });
});

describe('reset', () => {
  test('a bus reset leaves the function as it was made, but for scratch bytes', () => {
    const made = makeRig({ express: true });
    const { fn } = makeRig({ express: true });
    startModern(fn);
    fn.configWrite(0x0c, 1, 16);
    fn.configWrite(0x3c, 1, 11);
    fn.configWrite(0x40 + 8, 2, 0x000f);
    fn.configWrite(0x40 + 16, 2, 0x00c0);
    fn.configWrite(0x7c + 4, 2, 3);
    setMsix(fn, 0x8000);
    fn.barWrite(1, 0, 4, 0xfee00000);
    fn.reset();
    const [now, then] = [fn.device.capture(), made.fn.device.capture()];
    const { modernState } = now.subsections.extraState ?? {};
    expect(now).toEqual({
      ...then,
      subsections: {
        ...then.subsections,
        extraState: { modernState: { ...modernState, vqs: [] } },
      },
    });
  });

  test('function level reset: by a bit that reads as 0', () => {
    const { fn } = makeRig({ express: true });
    startModern(fn);
    fn.configWrite(0x40 + 8, 2, 0x8000);
    expect(fn.device.status).toBe(0);
    expect(fn.configRead(0x48, 2)).toBe(0);
    expect(fn.configRead(COMMAND, 2)).toBe(0);
    const old = makeRig({ express: true, machine: '4.1' }).fn;
    startModern(old);
    old.configWrite(0x40 + 8, 2, 0x8000);
    expect(old.device.status).toBe(15);
  });

  test('MSI-X entries are masked and zero after a reset', () => {
    const { fn } = makeRig();
    for (let at = 0; at < 48; at += 4) fn.barWrite(1, at, 4, 0xffffffff);
    fn.reset();
    for (let at = 0; at < 48; at += 4) expect(fn.barRead(1, at, 4)).toBe(at % 16 === 12 ? 1 : 0);
  });
});

describe('bus mastering', () => {
  test('without it the device stops, and does not start by itself', () => {
    const { fn } = makeRig();
    startModern(fn);
    fn.configWrite(COMMAND, 2, 3);
    expect(fn.device.disabled).toBe(true);
    expect(fn.device.status).toBe(11);
    fn.configWrite(COMMAND, 1, 7);
    expect(fn.device.disabled).toBe(false);
    expect(fn.device.status).toBe(11);
    // the upper byte has nothing to do with it
    fn.configWrite(COMMAND + 1, 1, 0);
    expect(fn.device.disabled).toBe(false);
  });

  test('firmware that switches decoding on disables; a reset of the device enables', () => {
    const { fn } = makeRig();
    fn.configWrite(COMMAND, 2, 3);
    expect(fn.device.capture().subsections.disabled).toBe(true);
    fn.barWrite(4, MODERN.STATUS, 1, 0);
    expect(fn.device.capture().subsections.disabled).toBeUndefined();
  });

  test('machines up to 4.2 have no such flag', () => {
    const { fn } = makeRig({ machine: '4.2' });
    fn.configWrite(COMMAND, 2, 3);
    expect(fn.device.disabled).toBe(false);
  });
});

test('what is described is what was made', () => {
  const { fn } = makeRig({ express: true });
  const described = describeConfigSpace(fn.device.capture().transport.config) as {
    capabilities: { name: string }[];
  };
  expect(described.capabilities.map(({ name }) => name)).toEqual([
    'msi-x',
    'virtio-pci-cfg',
    'virtio-notify',
    'virtio-device',
    'virtio-isr',
    'virtio-common',
    'power-management',
    'pci-express',
  ]);
});
