import type { Gpa } from '@virtkit/core';
import { describe, expect, test } from 'vitest';
import type { PciMode } from '../src/index.ts';
import {
  ALL_ON,
  COMMAND,
  capability,
  changeConfig,
  MODERN,
  MSIX,
  makeRig,
  offerRequest,
  type Rig,
  ringsOf,
  setMsix,
  startModern,
  usedIndex,
} from './rig.ts';

const WIDTHS = [1, 2, 4] as const;

/** What a bus gives for an access of any width: aligned pieces, each answered by what stands at exactly that offset. */
function composed(
  registers: ReadonlyMap<number, number>,
  absent: number,
  offset: number,
  width: number,
): number {
  let value = 0;
  for (let done = 0; done < width; ) {
    const at = offset + done;
    const left = width - done;
    const piece = at % 4 === 0 && left >= 4 ? 4 : at % 2 === 0 && left >= 2 ? 2 : 1;
    value += ((registers.get(at) ?? absent) % 2 ** (8 * piece)) * 2 ** (8 * done);
    done += piece;
  }
  return value;
}

function expectRegisters(
  rig: Rig,
  bar: number,
  end: number,
  registers: ReadonlyMap<number, number>,
  absent: number,
): void {
  for (let offset = 0; offset < end; offset++) {
    for (const width of [...WIDTHS, 8]) {
      if (offset + width > end) continue;
      const expected = composed(registers, absent, offset, width);
      expect(rig.fn.barRead(bar, offset, width), `${width} bytes at ${offset}`).toBe(expected);
    }
  }
}

describe('legacy registers', () => {
  const modes: readonly PciMode[] = ['legacy', 'transitional'];

  /** A driver half-way: queue 1 selected, its ring at page 0x12, status 3. */
  function halfWay(mode: PciMode, vectors?: number): Rig {
    const rig = makeRig({ mode, ...(vectors !== undefined && { vectors }) });
    rig.fn.configWrite(COMMAND, 2, ALL_ON);
    rig.fn.barWrite(0, 4, 4, 0x10000044);
    rig.fn.barWrite(0, 14, 2, 1);
    rig.fn.barWrite(0, 8, 4, 0x12);
    rig.fn.barWrite(0, 18, 1, 3);
    return rig;
  }

  function table(rig: Rig): Map<number, number> {
    return new Map([
      [0, Number(rig.fn.device.offeredFeatures & 0xffffffffn)],
      [4, 0x10000044],
      [8, 0x12],
      [12, 16],
      [14, 1],
      [18, 3],
      [19, 0],
    ]);
  }

  test.each(modes)('%s: every offset and width', (mode) => {
    const rig = halfWay(mode);
    // bit 30 is offered, to find out drivers that take everything
    expect(Number(rig.fn.device.offeredFeatures >> 30n) & 1).toBe(1);
    expectRegisters(rig, 0, 20, table(rig), 0xffffffff);
  });

  test.each(modes)('%s: the vectors appear when MSI-X is enabled, and the configuration moves', (mode) => {
    const rig = halfWay(mode);
    const capacity = rig.fn.barRead(0, 20, 4);
    expect(capacity).toBe(128);
    setMsix(rig.fn, MSIX.ENABLE);
    rig.fn.barWrite(0, 20, 2, 1);
    rig.fn.barWrite(0, 22, 2, 2);
    expectRegisters(rig, 0, 24, table(rig).set(20, 1).set(22, 2), 0xffffffff);
    expect(rig.fn.barRead(0, 24, 4)).toBe(capacity);
    rig.fn.barWrite(0, 20, 2, 3);
    expect(rig.fn.barRead(0, 20, 2), 'three vectors').toBe(0xffff);
    setMsix(rig.fn, 0);
    expect(rig.fn.barRead(0, 20, 4)).toBe(capacity);
    setMsix(rig.fn, MSIX.ENABLE);
    expect(rig.fn.barRead(0, 22, 2)).toBe(2);
  });

  test('the configuration ends with all ones, and what is written there is lost', () => {
    const { fn } = makeRig({ mode: 'legacy', vectors: 0 });
    const end = 20 + fn.device.readConfig().length;
    for (const width of WIDTHS) {
      expect(fn.barRead(0, end, width)).toBe(2 ** (8 * width) - 1);
      fn.barWrite(0, end, width, 0);
    }
    expect(fn.barRead(0, 124, 8)).toBe(2 ** 64);
    expect(fn.barRead(0, 128, 4)).toBe(0xffffffff);
  });

  test('selecting a queue that cannot be is ignored', () => {
    const { fn } = halfWay('legacy');
    fn.barWrite(0, 14, 4, 1024);
    expect(fn.barRead(0, 14, 2)).toBe(1);
    fn.barWrite(0, 14, 2, 1023);
    expect(fn.barRead(0, 14, 2)).toBe(1023);
    expect(fn.barRead(0, 12, 2)).toBe(0);
  });

  test('a driver that takes BAD_FEATURE gets none', () => {
    const { fn } = halfWay('legacy');
    fn.barWrite(0, 4, 4, 0xffffffff);
    expect(fn.barRead(0, 4, 4)).toBe(0);
  });

  test.each([
    ['status 0', 18, 1, 0],
    ['PFN 0', 8, 4, 0],
    ['status 0x100, of which a byte counts', 18, 2, 0x100],
  ] as const)('%s resets', (_name, offset, width, value) => {
    const { fn } = halfWay('legacy');
    fn.barWrite(0, offset, width, value);
    expectRegisters(
      { fn } as Rig,
      0,
      20,
      new Map([
        [0, Number(fn.device.offeredFeatures & 0xffffffffn)],
        [4, 0],
        [8, 0],
        [12, 16],
        [14, 0],
        [18, 0],
        [19, 0],
      ]),
      0xffffffff,
    );
  });

  test('status 3 switches bus mastering on', () => {
    const { fn } = makeRig();
    fn.barWrite(0, 18, 1, 1);
    expect(fn.configRead(COMMAND, 2)).toBe(0);
    fn.barWrite(0, 18, 1, 3);
    expect(fn.configRead(COMMAND, 2)).toBe(4);
  });

  test('ISR is cleared by reading, and the line goes down', () => {
    const { fn, line } = halfWay('legacy');
    fn.barWrite(0, 18, 1, 7);
    changeConfig(fn);
    expect(line).toEqual([true]);
    expect(fn.barRead(0, 19, 1)).toBe(3);
    expect(fn.barRead(0, 19, 1)).toBe(0);
    expect(line).toEqual([true, false]);
  });

  test('notifications: the queue is the whole value', () => {
    const rig = makeRig({ mode: 'legacy', vectors: 0 });
    rig.fn.configWrite(COMMAND, 2, ALL_ON);
    const { desc } = ringsOf(0);
    rig.fn.barWrite(0, 8, 4, desc / 4096);
    rig.fn.barWrite(0, 18, 1, 7);
    expect(rig.fn.device.queue(0)?.desc).toBe(BigInt(desc));
    const avail = desc + 16 * 16;
    const used = desc + 0x1000;
    offerRequest(rig, 0, avail);
    rig.fn.barWrite(0, 16, 4, 0x10000);
    expect(rig.memory.readU16((used + 2) as Gpa, true)).toBe(0);
    rig.fn.barWrite(0, 16, 2, 0);
    expect(rig.memory.readU16((used + 2) as Gpa, true)).toBe(1);
    expect(rig.line).toEqual([true]);
  });
});

describe('modern registers', () => {
  /** Queue 1 selected and set up, everything written that can be. */
  function setUp(options: Parameters<typeof makeRig>[0] = {}): Rig {
    const rig = makeRig(options);
    startModern(rig.fn, [0, 1]);
    return rig;
  }

  function table({ fn }: Rig): Map<number, number> {
    const { desc, avail, used } = ringsOf(1);
    return new Map([
      [0, 0],
      [4, Number(fn.device.offeredFeatures & 0xffffffffn & ~0x49000080n)],
      [8, 1],
      [12, 1],
      [16, 0xffff],
      [18, 2],
      [20, 15],
      [21, 0],
      [22, 1],
      [24, 16],
      [26, 0xffff],
      [28, 1],
      [30, 1],
      [32, desc],
      [40, avail],
      [48, used],
    ]);
  }

  test.each(['modern', 'transitional'] as const)('%s: every offset and width', (mode) => {
    const rig = setUp({ mode });
    expectRegisters(rig, 4, 0x60, table(rig), 0);
  });

  test('device features: what the modern interface may show, for any selection', () => {
    const { fn } = makeRig();
    const words = [0, 1, 2, 3, 0x80000000, 0xffffffff].map((select) => {
      fn.barWrite(4, 0, 4, select);
      expect(fn.barRead(4, 0, 4)).toBe(select);
      return fn.barRead(4, 4, 4);
    });
    const offered = fn.device.offeredFeatures & ~0x49000080n;
    expect(words).toEqual([Number(offered & 0xffffffffn), Number(offered >> 32n), 0, 0, 0, 0]);
  });

  test('driver features: kept as written, negotiated as offered, and not after FEATURES_OK', () => {
    const { fn } = makeRig();
    fn.barWrite(4, 8, 4, 0);
    fn.barWrite(4, 12, 4, 0xffffffff);
    fn.barWrite(4, 8, 4, 1);
    fn.barWrite(4, 12, 4, 1);
    expect(fn.barRead(4, 12, 4)).toBe(1);
    expect(fn.device.features).toBe(fn.device.offeredFeatures & 0x1ffffffffn);
    fn.barWrite(4, 20, 1, 11);
    fn.barWrite(4, 8, 4, 0);
    fn.barWrite(4, 12, 4, 0);
    expect(fn.barRead(4, 12, 4)).toBe(0);
    expect(fn.device.features).toBe(fn.device.offeredFeatures & 0x1ffffffffn);
    fn.barWrite(4, 8, 4, 2);
    fn.barWrite(4, 12, 4, 5);
    expect(fn.barRead(4, 12, 4)).toBe(0);
  });

  test('each half of an address has its own access', () => {
    const { fn } = makeRig();
    for (const offset of [32, 36, 40, 44, 48, 52]) fn.barWrite(4, offset, 4, 0xabc00000 + offset);
    for (const offset of [32, 36, 40, 44, 48, 52]) expect(fn.barRead(4, offset, 4)).toBe(0xabc00000 + offset);
    // eight bytes are two times four
    fn.barWrite(4, 32, 8, 0x12345 * 2 ** 32 + 0x89abcdef);
    expect([fn.barRead(4, 32, 4), fn.barRead(4, 36, 4)]).toEqual([0x89abcdef, 0x12345]);
    expect(fn.barRead(4, 32, 8)).toBe(0x12345 * 2 ** 32 + 0x89abcdef);
  });

  test('a narrow write sets the whole register', () => {
    const { fn } = makeRig();
    fn.barWrite(4, 32, 4, 0xffffffff);
    fn.barWrite(4, 32, 1, 0x12);
    expect(fn.barRead(4, 32, 4)).toBe(0x12);
    fn.barWrite(4, 33, 1, 0x34);
    expect(fn.barRead(4, 32, 4)).toBe(0x12);
  });

  test('queue_size: as written, and taken if a ring can be that large', () => {
    const { fn } = makeRig();
    for (const [written, size] of [
      [8, 8],
      [1024, 1024],
      [1025, 1024],
      [0, 1024],
      [3, 3],
    ] as const) {
      fn.barWrite(4, MODERN.QUEUE_SIZE, 2, written);
      expect(fn.barRead(4, MODERN.QUEUE_SIZE, 2)).toBe(size);
    }
    fn.barWrite(4, MODERN.QUEUE_SELECT, 2, 7);
    expect(fn.barRead(4, MODERN.QUEUE_SIZE, 2)).toBe(0);
    fn.barWrite(4, MODERN.QUEUE_SIZE, 2, 8);
    expect(fn.barRead(4, MODERN.QUEUE_SIZE, 2)).toBe(0);
  });

  test('queue_enable takes 1 and nothing else: the device is broken then', () => {
    const { fn, events } = setUp();
    fn.barWrite(4, MODERN.QUEUE_ENABLE, 2, 0);
    expect(events.map(({ name, reason }) => `${name}: ${reason}`)).toEqual([
      'fault: wrong value for queue_enable 0x0',
    ]);
    expect(fn.barRead(4, MODERN.STATUS, 1)).toBe(15 | 0x40);
    fn.barWrite(4, MODERN.QUEUE_ENABLE, 2, 2);
    expect(events).toHaveLength(1);
    expect(fn.barRead(4, MODERN.QUEUE_ENABLE, 2)).toBe(1);
  });

  test('queue_reset: the queue is as new, and the others are not', () => {
    const { fn } = setUp();
    fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, 1);
    fn.barWrite(4, MODERN.QUEUE_RESET, 2, 2);
    expect(fn.barRead(4, MODERN.QUEUE_ENABLE, 2)).toBe(1);
    fn.barWrite(4, MODERN.QUEUE_RESET, 2, 1);
    expect(fn.barRead(4, MODERN.QUEUE_RESET, 2)).toBe(0);
    expect(fn.barRead(4, MODERN.QUEUE_ENABLE, 2)).toBe(0);
    expect(fn.barRead(4, MODERN.QUEUE_VECTOR, 2)).toBe(0xffff);
    expect(fn.device.queue(1)?.desc).toBe(0n);
    // the registers stay, so that the driver may enable the queue as it was
    expect(fn.barRead(4, MODERN.QUEUE_DESC, 4)).toBe(ringsOf(1).desc);
    fn.barWrite(4, MODERN.QUEUE_ENABLE, 2, 1);
    expect(fn.device.queue(1)?.desc).toBe(BigInt(ringsOf(1).desc));
    expect(fn.device.queue(0)?.desc).toBe(BigInt(ringsOf(0).desc));
  });

  test('a queue that is enabled again is where and as large as the driver has said since', () => {
    const { fn } = setUp();
    fn.barWrite(4, MODERN.QUEUE_RESET, 2, 1);
    fn.barWrite(4, MODERN.QUEUE_SIZE, 2, 8);
    fn.barWrite(4, MODERN.QUEUE_DESC, 4, 0x40000);
    fn.barWrite(4, MODERN.QUEUE_AVAIL, 4, 0x41000);
    fn.barWrite(4, MODERN.QUEUE_USED, 4, 0x42000);
    fn.barWrite(4, MODERN.QUEUE_ENABLE, 2, 1);
    expect(fn.barRead(4, MODERN.QUEUE_RESET, 2)).toBe(0);
    const { size, desc, avail, used } = fn.device.queue(1) ?? {};
    expect({ size, desc, avail, used }).toEqual({ size: 8, desc: 0x40000n, avail: 0x41000n, used: 0x42000n });
  });

  test('status 0 resets all but selections and features as written', () => {
    const { fn } = setUp();
    fn.barWrite(4, MODERN.CONFIG_VECTOR, 2, 1);
    fn.barWrite(4, MODERN.STATUS, 1, 0);
    const expected = new Map([
      [4, Number(fn.device.offeredFeatures & 0xffffffffn & ~0x49000080n)],
      [8, 1],
      [12, 1],
      [16, 0xffff],
      [18, 2],
      [24, 16],
      [26, 0xffff],
    ]);
    expectRegisters({ fn } as Rig, 4, 0x60, expected, 0);
    expect(fn.device.features).toBe(0n);
  });

  test('a first status that is refused resets: ACCESS_PLATFORM was not taken', () => {
    const { fn } = makeRig({ mode: 'modern', accessPlatform: true });
    fn.barWrite(4, 8, 4, 1);
    fn.barWrite(4, 12, 4, 1);
    fn.barWrite(4, MODERN.STATUS, 1, 3);
    fn.barWrite(4, MODERN.STATUS, 1, 11);
    expect(fn.barRead(4, MODERN.STATUS, 1)).toBe(3);
    fn.barWrite(4, MODERN.STATUS, 1, 0);
    expect(fn.device.features).toBe(0n);
    fn.barWrite(4, 12, 4, 1);
    fn.barWrite(4, MODERN.STATUS, 1, 8);
    expect(fn.barRead(4, MODERN.STATUS, 1)).toBe(0);
    expect(fn.device.features).toBe(0n);
  });

  test('ISR: any read of its page takes it', () => {
    const { fn, line } = setUp();
    for (const [offset, width] of [
      [0x1000, 1],
      [0x1ffc, 4],
      [0x1555, 2],
    ] as const) {
      changeConfig(fn);
      fn.barWrite(4, offset, width, 0xff);
      // an unaligned access is two: the second finds nothing
      expect(fn.barRead(4, offset, width)).toBe(3);
      expect(fn.device.capture().isr).toBe(0);
    }
    expect(line).toEqual([true, false, true, false, true, false]);
    expect(fn.barRead(4, 21, 1), 'generation').toBe(3);
  });

  test('device configuration: little-endian, all ones behind its end', () => {
    const { fn } = setUp();
    expect(fn.barRead(4, 0x2000, 8)).toBe(128);
    const end = 0x2000 + fn.device.readConfig().length;
    for (const width of WIDTHS) {
      expect(fn.barRead(4, end, width)).toBe(2 ** (8 * width) - 1);
      expect(fn.barRead(4, 0x2ffc, width)).toBe(2 ** (8 * width) - 1);
    }
    // the write cache, which a driver that does not flush has switched off
    for (const on of [1, 0]) {
      fn.barWrite(4, 0x2020, 1, on);
      expect(fn.barRead(4, 0x2020, 1)).toBe(on);
    }
  });

  test.each([
    ['4 bytes apart', {}, 4],
    ['a page apart', { pagePerVq: true }, 0x1000],
    ['a page apart, machine 2.7', { machine: '2.7' }, 0x1000],
  ] as const)('notifications %s', (_name, options, step) => {
    const rig = setUp(options);
    const { fn } = rig;
    expect(fn.configRead(capability(fn, 9, 2) + 16, 4)).toBe(step);
    for (const queue of [0, 1]) {
      offerRequest(rig, queue);
      fn.barWrite(4, MODERN.NOTIFY + step * queue, 2, 0);
      expect(usedIndex(rig, queue)).toBe(1);
    }
    offerRequest(rig, 0);
    for (const offset of [MODERN.NOTIFY + 2 * step, MODERN.NOTIFY + 1023 * step, fn.bars.at(-1)?.size ?? 0])
      fn.barWrite(4, offset, 2, 0);
    expect(usedIndex(rig, 0)).toBe(1);
    expect(fn.barRead(4, MODERN.NOTIFY, 4)).toBe(0);
  });

  test('notification by port I/O: the value is the queue', () => {
    const rig = setUp({ modernPioNotify: true });
    offerRequest(rig, 1);
    expect(rig.fn.barRead(2, 0, 4)).toBe(0);
    rig.fn.barWrite(2, 0, 2, 1);
    expect(usedIndex(rig, 1)).toBe(1);
    rig.fn.barWrite(2, 0, 4, 0xffffffff);
  });

  test('behind the structures there is nothing', () => {
    const { fn } = setUp({ pagePerVq: true });
    expect(fn.barRead(4, 0x403000, 4)).toBe(0);
    fn.barWrite(4, 0x403000, 4, 1);
    expect(fn.barRead(4, 0x800000, 4)).toBe(0xffffffff);
  });

  test('without a BAR, all ones', () => {
    const { fn } = makeRig({ mode: 'modern' });
    for (const bar of [0, 2, 3, 5, 6, 7, -1, Number.NaN]) {
      expect(fn.barRead(bar, 0, 4)).toBe(0xffffffff);
      fn.barWrite(bar, 0, 4, 0);
    }
  });
});

describe('PCI configuration access', () => {
  const WINDOW = { BAR: 4, OFFSET: 8, LENGTH: 12, DATA: 16 } as const;

  function aim(rig: Rig, offset: number, length: number): number {
    const at = capability(rig.fn, 9, 5);
    rig.fn.configWrite(at + WINDOW.BAR, 1, 4);
    rig.fn.configWrite(at + WINDOW.OFFSET, 4, offset);
    rig.fn.configWrite(at + WINDOW.LENGTH, 4, length);
    return at + WINDOW.DATA;
  }

  test('reads and writes registers without a mapping', () => {
    const rig = makeRig();
    let data = aim(rig, MODERN.STATUS, 1);
    rig.fn.configWrite(data, 4, 0xffffff03);
    expect(rig.fn.device.status).toBe(3);
    // only the first byte comes from the register
    expect(rig.fn.configRead(data, 4)).toBe(0xffffff03);
    data = aim(rig, 4, 4);
    expect(rig.fn.configRead(data, 4)).toBe(rig.fn.barRead(4, 4, 4));
    expect(rig.fn.configRead(data + 2, 2)).toBe(rig.fn.barRead(4, 4, 4) >>> 16);
  });

  test('a misaligned offset is aligned; the BAR that is named does not matter', () => {
    const rig = makeRig();
    const data = aim(rig, MODERN.QUEUE_SELECT + 1, 2);
    rig.fn.configWrite(capability(rig.fn, 9, 5) + WINDOW.BAR, 1, 77);
    rig.fn.configWrite(data, 2, 5);
    expect(rig.fn.device.capture().queueSel).toBe(5);
  });

  test.each([0, 3, 5, 8, 0xffffffff])('length %i does nothing', (length) => {
    const rig = makeRig();
    const data = aim(rig, MODERN.STATUS, length);
    rig.fn.configWrite(data, 4, 3);
    expect(rig.fn.device.status).toBe(0);
    expect(rig.fn.configRead(data, 4)).toBe(3);
  });

  test.each([0x4000, 0x10000000, 0xfffffffc])('offset 0x%s, behind everything, does nothing', (offset) => {
    const rig = makeRig();
    const data = aim(rig, offset, 4);
    rig.fn.configWrite(data, 4, 3);
    expect(rig.fn.configRead(data, 4)).toBe(3);
  });
});

describe('addresses of rings in the common configuration', () => {
  const words = (fn: ReturnType<typeof makeRig>['fn']): number[] =>
    [32, 36, 40, 44, 48, 52].map((offset) => fn.barRead(4, offset, 4));
  const NONE = [0, 0, 0, 0, 0, 0];

  test('each half stands at its own offset, and what is beside them is none of any queue', () => {
    const { fn } = makeRig({ queues: 3 });
    const written = [1, 2, 3, 4, 5, 6].map((n) => 0x1000 * n);
    fn.barWrite(4, MODERN.QUEUE_SELECT, 2, 1);
    written.forEach((value, n) => {
      fn.barWrite(4, 32 + 4 * n, 4, value);
    });
    expect(words(fn)).toEqual(written);
    for (const queue of [0, 2]) {
      fn.barWrite(4, MODERN.QUEUE_SELECT, 2, queue);
      expect(words(fn)).toEqual(NONE);
      // the notification data, what is behind it, and offsets at which nothing begins
      for (const offset of [56, 60, 64, 33, 34, 38, 50, 2, 30]) {
        expect([offset, offset === 30 ? 0 : fn.barRead(4, offset, offset % 4 === 0 ? 4 : 1)]).toEqual([
          offset,
          0,
        ]);
        fn.barWrite(4, offset, offset % 4 === 0 ? 4 : 2, 0x7777);
      }
      expect(words(fn)).toEqual(NONE);
    }
    fn.barWrite(4, MODERN.QUEUE_SELECT, 2, 1);
    expect(words(fn)).toEqual(written);
  });

  test('a wrong value for queue_enable is told with the queue', () => {
    const { fn, events } = makeRig();
    fn.barWrite(4, MODERN.QUEUE_SELECT, 2, 1);
    fn.barWrite(4, MODERN.QUEUE_ENABLE, 2, 2);
    expect(JSON.stringify(events)).toContain('"queue":1,"value":2');
    expect(fn.barRead(4, MODERN.QUEUE_ENABLE, 2)).toBe(0);
  });

  test('the driver reads the window of features that it has chosen', () => {
    const { fn } = makeRig();
    for (const window of [0, 1, 7]) {
      fn.barWrite(4, 0, 4, 2 * window);
      fn.barWrite(4, MODERN.DRIVER_FEATURE_SELECT, 4, window);
      expect([fn.barRead(4, 0, 4), fn.barRead(4, MODERN.DRIVER_FEATURE_SELECT, 4)]).toEqual([
        2 * window,
        window,
      ]);
    }
  });
});
