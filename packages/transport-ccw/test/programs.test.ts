import { describe, expect, test } from 'vitest';
import {
  AT,
  C64,
  CC,
  type Command,
  type Ended,
  endOf,
  FMT1,
  Guest,
  I2K,
  IDA,
  RAM_BYTES,
  SKIP,
  SLI,
  SPND,
  SUSPEND,
} from './guest.ts';

const NOOP: Command = { code: 0x03, count: 1 };
const REJECTED: Command = { code: 0x7f, count: 1 };
const RESET: Command = { code: 0x33, cda: 0 };
const tic = (cda: number, more: Partial<Command> = {}): Command => ({ code: 0x08, cda, ...more });

const guest = (): Guest => new Guest().enable();

describe('how a program ends', () => {
  test('well', () => {
    const g = guest();
    g.program([{ ...NOOP, flags: CC }, { ...NOOP, flags: CC }, NOOP]);
    expect(g.start()).toBe(0);
    expect(g.interrupts()).toEqual([{ id: 1, nr: 0, parm: 0x1234, word: 0x18000000 }]);
    expect(g.tsch()).toMatchObject({
      cc: 0,
      flags: 0x0080,
      fctl: 0x4000,
      actl: 0,
      stctl: 0x07,
      cpa: AT.program + 24,
      dstat: 0x0c,
      cstat: 0,
      count: 0,
    });
    expect(g.tsch()).toMatchObject({ cc: 1, fctl: 0, stctl: 0 });
  });

  test('with command reject, and the rest is not run', () => {
    const g = guest();
    const irb = g.run([{ ...REJECTED, flags: CC }, RESET]);
    expect(irb).toMatchObject({ dstat: 0x02, cstat: 0, stctl: 0x17, cpa: AT.program + 8 });
  });

  test('with program check', () => {
    const irb = guest().run([{ code: 0x12, count: 1 }]);
    expect(irb).toMatchObject({ dstat: 0, cstat: 0x20, stctl: 0x17, cpa: AT.program + 8, erw: 0 });
  });

  test('without a path, with deferred condition code 3', () => {
    const g = guest();
    g.program([NOOP]);
    expect(g.start(FMT1, { lpm: 0x7f })).toBe(0);
    expect(g.tsch()).toMatchObject({
      flags: 0x0300,
      stctl: 0x11,
      fctl: 0x4000,
      actl: 0x0400,
      dstat: 0,
      cpa: 0,
    });
  });

  test('chain data is not there: the program ends', () => {
    const irb = guest().run([{ ...NOOP, flags: 0x80 }, REJECTED]);
    expect(endOf(irb)).toBe('done');
  });
});

describe('the command', () => {
  const check = (command: Command, ended: Ended, ctrl0 = FMT1): void => {
    expect(endOf(guest().run([command], ctrl0))).toBe(ended);
  };

  test('has a low digit that is not 0', () => check({ code: 0xf0, count: 1 }, 'check'));
  test('is no half TIC', () => check({ code: 0x18, cda: AT.program }, 'check'));
  test('has no modified indirect addresses', () => check({ ...NOOP, flags: 0x01 }, 'check'));
  test('is not suspended where the ORB does not allow it', () => check({ ...NOOP, flags: SUSPEND }, 'check'));

  test.each<[string, number, number, Ended]>([
    ['address 0', 0, FMT1, 'check'],
    ['not on a doubleword', AT.program + 4, FMT1, 'check'],
    ['outside of memory', 0x7000_0000, FMT1, 'check'],
    ['across the end of memory', RAM_BYTES - 4, FMT1, 'check'],
    ['above 16 MiB, format 0', 0x0100_0000, 0, 'check'],
  ])('is not at %s', (_, cpa, ctrl0, ended) => {
    const g = guest();
    expect(g.start(ctrl0, { cpa })).toBe(0);
    const irb = g.tsch();
    expect(endOf(irb)).toBe(ended);
    expect(irb.cpa).toBe((cpa + 8) >>> 0);
  });

  test('of format 0 has its parts elsewhere', () => {
    const g = guest();
    g.ram.set([0xe4, 0x00, 0x30, 0x00, SLI, 0xff, 0, 7], AT.program);
    g.start(0);
    const irb = g.tsch();
    expect(irb).toMatchObject({ flags: 0, dstat: 0x0c });
    expect(g.data(4)).toEqual([0xff, 0x38, 0x32, 2]);
    expect(g.ccw.subchannel.lastCmd).toEqual({ cmdCode: 0xe4, flags: SLI, count: 7, cda: AT.data });
  });

  test('of format 0 has a count', () => {
    const g = guest();
    g.ram.set([0x03, 0, 0x30, 0, 0, 0, 0, 0], AT.program);
    g.start(0);
    expect(endOf(g.tsch())).toBe('check');
  });

  test('of format 0: of a TIC, only low digit and address count', () => {
    const g = guest();
    g.ram.set([0xf8, 0, 0x20, 0x40, 0xff, 0, 0x12, 0x34], AT.program);
    g.ram.set([0x03, 0, 0x30, 0, 0, 0, 0, 1], 0x2040);
    g.start(0);
    const irb = g.tsch();
    expect(endOf(irb)).toBe('done');
    expect(irb.cpa).toBe(0x2048);
  });
});

describe('transfer in channel', () => {
  test('goes on elsewhere', () => {
    const g = guest();
    g.program([NOOP], 0x2100);
    expect(g.run([{ ...NOOP, flags: CC }, tic(0x2100)])).toMatchObject({ dstat: 0x0c, cpa: 0x2108 });
  });

  test.each<[string, Command]>([
    ['with flags', tic(0x2100, { flags: SLI })],
    ['with a count', tic(0x2100, { count: 1 })],
    ['to another one', tic(0x2200)],
  ])('not %s', (_, command) => {
    const g = guest();
    g.program([NOOP], 0x2100);
    g.program([tic(0x2100)], 0x2200);
    expect(endOf(g.run([{ ...NOOP, flags: CC }, command]))).toBe('check');
  });

  test('at most 255 times in a program', () => {
    const g = guest();
    const loops = (times: number): Ended => {
      // a chain of pairs: NO-OPERATION, and on to the next pair
      for (let i = 0; i < times; i++) {
        g.program([{ ...NOOP, flags: CC }, tic(0x6000 + 16 * (i + 1))], 0x6000 + 16 * i);
      }
      g.program([NOOP], 0x6000 + 16 * times);
      g.start(FMT1, { cpa: 0x6000 });
      g.css.interrupts.clear();
      return endOf(g.tsch());
    };
    expect(loops(255)).toBe('done');
    expect(loops(256)).toBe('check');
    expect(loops(255)).toBe('done');
  });

  test('round in a circle comes to an end', () => {
    const g = guest();
    expect(endOf(g.run([{ ...NOOP, flags: CC }, tic(AT.program)]))).toBe('check');
  });
});

describe('suspend and resume', () => {
  const suspended = (): Guest => {
    const g = guest();
    g.program([{ ...NOOP, flags: CC }, { ...NOOP, flags: SUSPEND | CC }, NOOP]);
    expect(g.start(FMT1 | SPND)).toBe(0);
    return g;
  };

  test('stops before the command, without status, with an interrupt', () => {
    const g = suspended();
    expect(g.interrupts()).toHaveLength(1);
    expect(g.tsch()).toMatchObject({ cc: 1, stctl: 0, fctl: 0x4000, actl: 0x0020 });
    expect(g.ccw.subchannel.channelProg).toBe(BigInt(AT.program + 8));
  });

  test('goes on where it stopped', () => {
    const g = suspended();
    g.ram[AT.program + 9] = CC;
    expect(g.css.rsch(0x10000)).toBe(0);
    expect(g.tsch()).toMatchObject({ cc: 0, dstat: 0x0c, cpa: AT.program + 24 });
  });

  test('stops again if the flag is still there', () => {
    const g = suspended();
    expect(g.css.rsch(0x10000)).toBe(0);
    expect(g.tsch()).toMatchObject({ cc: 1, actl: 0x0020 });
  });

  test('is cancelled, halted, cleared', () => {
    const cancelled = suspended();
    expect(cancelled.css.xsch(0x10000)).toBe(0);
    expect(cancelled.tsch()).toMatchObject({ cc: 1, fctl: 0, actl: 0 });
    const halted = suspended();
    expect(halted.css.hsch(0x10000)).toBe(0);
    expect(halted.tsch()).toMatchObject({ cc: 0, stctl: 0x01, fctl: 0x2000, dstat: 0, cpa: AT.program + 16 });
    const cleared = suspended();
    expect(cleared.css.csch(0x10000)).toBe(0);
    expect(cleared.tsch()).toMatchObject({ cc: 0, stctl: 0x01, fctl: 0x1000, actl: 0, dstat: 0 });
  });
});

describe('commands without data', () => {
  test('at most 255 without a data address', () => {
    const g = guest();
    const chain = (count: number): Command[] =>
      Array.from({ length: count }, (_, i) => ({ code: 0x03, cda: 0, flags: i + 1 < count ? CC : 0 }));
    expect(endOf(g.run(chain(255)))).toBe('done');
    expect(endOf(g.run(chain(256)))).toBe('check');
  });

  test('a program has at most 4096 commands', () => {
    const g = guest();
    const chain = (count: number): Command[] =>
      Array.from({ length: count }, (_, i) => ({ ...NOOP, flags: i + 1 < count ? CC : 0 }));
    g.program(chain(4096), 0x10000);
    g.start(FMT1, { cpa: 0x10000 });
    expect(endOf(g.tsch())).toBe('done');
    g.program(chain(4097), 0x10000);
    g.start(FMT1, { cpa: 0x10000 });
    expect(endOf(g.tsch())).toBe('check');
  });
});

describe('data', () => {
  /** Reads the configuration space to a data area. */
  const readConfig = (g: Guest, command: Partial<Command>, ctrl0 = FMT1) =>
    g.run([{ code: 0x22, count: 56, ...command }], ctrl0);

  test('ends below 2 GiB, or 16 MiB in format 0', () => {
    expect(endOf(readConfig(guest(), { cda: 0x7fff_ffff }))).toBe('check');
    const g = guest();
    g.ram.set([0x22, 0x0f, 0xff, 0xff, 0, 0, 0, 8], AT.program);
    g.start(0);
    expect(endOf(g.tsch())).toBe('check');
  });

  test('is not stored with SKIP', () => {
    const g = guest();
    g.ram.fill(0xee, AT.data, AT.data + 64);
    expect(endOf(readConfig(g, { flags: SKIP }))).toBe('done');
    expect(g.ram[AT.data]).toBe(0xee);
    // it means nothing to a write
    g.command(0x31, [3], { flags: SKIP });
    expect(g.ccw.device.status).toBe(3);
  });

  interface Layout {
    readonly name: string;
    readonly ctrl0: number;
    readonly wide: boolean;
    readonly block: number;
  }
  const LAYOUTS: readonly Layout[] = [
    { name: 'format 1', ctrl0: FMT1, wide: false, block: 2048 },
    { name: 'format 2', ctrl0: FMT1 | C64, wide: true, block: 4096 },
    { name: 'format 2 of 2 KiB', ctrl0: FMT1 | C64 | I2K, wide: true, block: 2048 },
  ];

  describe.each(LAYOUTS)('indirect, $name', ({ ctrl0, wide, block }) => {
    const size = wide ? 8 : 4;
    const list = (g: Guest, addresses: readonly number[], at: number = AT.list): void =>
      addresses.forEach((address, index) => {
        if (wide) g.view.setBigUint64(at + 8 * index, BigInt(address));
        else g.view.setUint32(at + 4 * index, address);
      });

    test('runs over the end of a block', () => {
      const g = guest();
      const direct = guest();
      readConfig(direct, {});
      list(g, [0x10000 + block - 20, 0x20000]);
      expect(endOf(readConfig(g, { flags: IDA, cda: AT.list }, ctrl0))).toBe('done');
      const got = [...g.read(0x10000 + block - 20, 20), ...g.read(0x20000, 36)];
      expect(got).toEqual(direct.data(56));
      expect(g.ram[0x10000 + block]).toBe(0);
    });

    test('is read as well, in more than one step', () => {
      const g = guest();
      g.revision(2);
      // READ_FEAT reads byte 4, and stores bytes 0 to 3: the block ends between them
      list(g, [0x10000 + block - 4, 0x20000]);
      g.ram[0x20000] = 1;
      expect(endOf(g.run([{ code: 0x12, count: 5, flags: IDA, cda: AT.list }], ctrl0))).toBe('done');
      expect(g.view.getUint32(0x10000 + block - 4, true)).toBe(Number(g.ccw.device.offeredFeatures >> 32n));
      // READ_VQ_CONF: a block of two bytes
      list(g, [0x10000 + block - 2, 0x20000]);
      g.ram.set([0, 0], 0x10000 + block - 2);
      expect(endOf(g.run([{ code: 0x32, count: 4, flags: IDA, cda: AT.list }], ctrl0))).toBe('done');
      expect([...g.read(0x20000, 2)]).toEqual([1, 0]);
    });

    test('later blocks begin at a boundary', () => {
      const g = guest();
      list(g, [0x10000 + block - 20, 0x20008]);
      expect(endOf(readConfig(g, { flags: IDA, cda: AT.list }, ctrl0))).toBe('check');
    });

    test('the list is aligned, and in memory', () => {
      for (const cda of [AT.list + size / 2, RAM_BYTES, 0x7fff_fff8]) {
        const g = guest();
        list(g, [0x10000]);
        expect(endOf(readConfig(g, { flags: IDA, cda }, ctrl0))).toBe('check');
      }
    });

    test('the blocks are in memory', () => {
      const g = guest();
      list(g, [0x6000_0000]);
      expect(endOf(readConfig(g, { flags: IDA, cda: AT.list }, ctrl0))).toBe('check');
      list(g, [wide ? Number.MAX_SAFE_INTEGER : 0x8000_3000]);
      expect(endOf(readConfig(g, { flags: IDA, cda: AT.list }, ctrl0))).toBe('check');
      g.ram.fill(0xff, AT.list, AT.list + 16);
      expect(endOf(readConfig(g, { flags: IDA, cda: AT.list }, ctrl0))).toBe('check');
    });

    test('SKIP steps over it', () => {
      const g = guest();
      list(g, [0x10000]);
      expect(endOf(readConfig(g, { flags: IDA | SKIP, cda: AT.list }, ctrl0))).toBe('done');
      expect(g.ram[0x10000]).toBe(0);
      // and does not look whether there is memory
      list(g, [0x6000_0000]);
      if (wide) g.ram[AT.list] = 0xff;
      expect(endOf(readConfig(g, { flags: IDA | SKIP, cda: AT.list }, ctrl0))).toBe('done');
    });
  });
});
