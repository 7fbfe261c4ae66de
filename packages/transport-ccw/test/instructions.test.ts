import { isHostError } from '@virtkit/core';
import { describe, expect, test } from 'vitest';
import { CcwDevice, type ChannelDevice, ChannelSubsystem, type InstructionEnding } from '../src/index.ts';
import { ALL_SUBCLASSES, AT, disk, endOf, FIRST, FMT1, Guest, RAM_BYTES, SPND, SUSPEND } from './guest.ts';

const NOOP = { code: 0x03, count: 1 };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const zeros = (bytes: number): string => '00'.repeat(bytes);

/** States of a subchannel by name: how a guest gets there. */
const STATES: Readonly<Record<string, () => Guest>> = {
  disabled: () => new Guest(),
  idle: () => new Guest().enable(),
  /** A program has ended. */
  ended: () => {
    const guest = new Guest().enable();
    guest.program([NOOP]);
    guest.start();
    return guest;
  },
  suspended: () => {
    const guest = new Guest().enable();
    guest.program([{ ...NOOP, flags: SUSPEND }]);
    guest.start(FMT1 | SPND);
    return guest;
  },
  /** Unsolicited status of a notification. */
  alert: () => {
    const guest = new Guest().enable();
    guest.command(0x53, [0, 0, 0, 0, 0, 0, 0x50, 0]);
    guest.ccw.indicators.configVector = 1024;
    guest.ccw.notify(-1);
    return guest;
  },
  halted: () => {
    const guest = new Guest().enable();
    guest.css.hsch(FIRST);
    return guest;
  },
  cleared: () => {
    const guest = new Guest().enable();
    guest.css.csch(FIRST);
    return guest;
  },
};

type Row = readonly [state: string, cc: InstructionEnding];
const ENDINGS: Readonly<Record<string, { run: (guest: Guest) => InstructionEnding; rows: readonly Row[] }>> =
  {
    SSCH: {
      run: (guest) => {
        guest.program([NOOP]);
        return guest.start();
      },
      rows: [
        ['disabled', 3],
        ['idle', 0],
        ['ended', 1],
        ['suspended', 2],
        ['alert', 1],
        ['halted', 1],
        ['cleared', 1],
      ],
    },
    TSCH: {
      run: (guest) => guest.tsch().cc,
      rows: [
        ['disabled', 3],
        ['idle', 1],
        ['ended', 0],
        ['suspended', 1],
        ['alert', 0],
        ['halted', 0],
        ['cleared', 0],
      ],
    },
    STSCH: {
      run: (guest) => guest.css.stsch(FIRST, AT.operand),
      rows: Object.keys(STATES).map((state) => [state, 0] as const),
    },
    MSCH: {
      run: (guest) => guest.msch(0x1880),
      rows: [
        ['disabled', 0],
        ['idle', 0],
        ['ended', 1],
        ['suspended', 2],
        ['alert', 1],
        ['halted', 1],
        ['cleared', 1],
      ],
    },
    CSCH: {
      run: (guest) => guest.css.csch(FIRST),
      rows: Object.keys(STATES).map((state) => [state, state === 'disabled' ? 3 : 0] as const),
    },
    HSCH: {
      run: (guest) => guest.css.hsch(FIRST),
      rows: [
        ['disabled', 3],
        ['idle', 0],
        ['ended', 1],
        ['suspended', 0],
        ['alert', 1],
        ['halted', 1],
        ['cleared', 1],
      ],
    },
    RSCH: {
      run: (guest) => guest.css.rsch(FIRST),
      rows: [
        ['disabled', 3],
        ['idle', 2],
        ['ended', 1],
        ['suspended', 0],
        ['alert', 1],
        ['halted', 1],
        ['cleared', 1],
      ],
    },
    XSCH: {
      run: (guest) => guest.css.xsch(FIRST),
      rows: [
        ['disabled', 3],
        ['idle', 2],
        ['ended', 1],
        ['suspended', 0],
        ['alert', 1],
        ['halted', 1],
        ['cleared', 1],
      ],
    },
  };

describe.each(Object.entries(ENDINGS))('%s', (name, { run, rows }) => {
  test.each(rows)('of a subchannel that is %s: %s', (state, cc) => {
    const guest = STATES[state]?.() as Guest;
    guest.css.interrupts.clear();
    expect(run(guest)).toBe(cc);
    // an interrupt where something was begun and has ended
    const begun = cc === 0 && ['SSCH', 'CSCH', 'HSCH', 'RSCH'].includes(name);
    expect(guest.interrupts()).toHaveLength(begun ? 1 : 0);
  });

  test.each<[string, number, InstructionEnding]>([
    ['no 1 where it must be', 0x00000, 'operand'],
    ['a channel subsystem without M', 0xfe010000, 'operand'],
    ['the virtual channel subsystem by name', 0xfe090000, 0],
    ['another channel subsystem', 0x01090000, 3],
    ['a number behind the last one', 0x10001, 3],
    ['another set', 0x30000, 3],
  ])('with %s', (_, id, ending) => {
    const guest = new Guest().enable();
    const { css } = guest;
    const operand = AT.operand;
    const ways: Record<string, () => InstructionEnding> = {
      SSCH: () => {
        guest.program([NOOP]);
        guest.view.setUint16(operand + 4, FMT1);
        guest.view.setUint8(operand + 6, 0xff);
        guest.view.setUint8(operand + 7, 0);
        guest.view.setUint32(operand + 8, AT.program);
        return css.ssch(id, operand);
      },
      TSCH: () => css.tsch(id, operand),
      STSCH: () => css.stsch(id, operand),
      MSCH: () => css.msch(id, operand),
      CSCH: () => css.csch(id),
      HSCH: () => css.hsch(id),
      RSCH: () => css.rsch(id),
      XSCH: () => css.xsch(id),
    };
    const idle = ENDINGS[name]?.rows.find(([state]) => state === 'idle')?.[1];
    expect(ways[name]?.()).toBe(ending === 0 ? idle : ending);
  });
});

describe('operands', () => {
  const { css } = new Guest().enable();
  const withAddress: readonly [string, (address: number) => InstructionEnding, number][] = [
    ['SSCH', (address) => css.ssch(FIRST, address), 12],
    ['MSCH', (address) => css.msch(FIRST, address), 52],
    ['STSCH', (address) => css.stsch(FIRST, address), 52],
    ['TSCH', (address) => css.tsch(FIRST, address), 64],
    ['STCRW', (address) => css.stcrw(address), 4],
  ];

  test.each(withAddress)('%s', (_, run, length) => {
    for (const odd of [1, 2, 3]) expect(run(AT.operand + odd)).toBe('specification');
    expect(run(RAM_BYTES)).toBe('addressing');
    expect(run(RAM_BYTES - length + 4)).toBe('addressing');
    expect(typeof run(RAM_BYTES - length)).toBe('number');
  });

  test('an ORB or SCHIB with reserved bits is an operand exception, even where there is no subchannel', () => {
    const guest = new Guest().enable();
    guest.program([NOOP]);
    expect(guest.start(FMT1 | 4)).toBe('operand');
    for (const ctrl1 of [0x02, 0x20, 0x40]) expect(guest.start(FMT1, { ctrl1 })).toBe('operand');
    expect(guest.start(FMT1, { cpa: 0x80002000 })).toBe('operand');
    expect(guest.css.ssch(0x1ffff, AT.operand)).toBe('operand');
    for (const flags of [0x8000, 0x4000, 0x0200, 0x0100]) expect(guest.msch(flags)).toBe('operand');
    for (const chars of [0x8, 0x80000000, 0x2]) expect(guest.msch(0x80, chars)).toBe('operand');
    expect(guest.css.msch(0x1ffff, AT.operand)).toBe('operand');
    guest.msch(0x80, 4);
    guest.view.setUint8(AT.operand + 47, 0x20); // measurement block not on 64 bytes
    expect(guest.css.msch(FIRST, AT.operand)).toBe('operand');
  });

  test('status is not taken by a TSCH that cannot store', () => {
    const guest = STATES['ended']?.() as Guest;
    expect(guest.css.tsch(FIRST, RAM_BYTES)).toBe('addressing');
    expect(endOf(guest.tsch())).toBe('done');
  });

  test('come through the emulator, if it translates addresses', () => {
    const guest: Guest = new Guest({}, disk(), {
      operands: {
        read: (address, target) => guest.memory.read((address - 0x7000_0000) as never, target),
        write: (address, source) => guest.memory.write((address - 0x7000_0000) as never, source),
        writable: (address) => address >= 0x7000_0000,
      },
    });
    expect(guest.css.stsch(FIRST, 0x7000_0000 + AT.operand)).toBe(0);
    expect(guest.view.getUint16(AT.operand + 4)).toBe(1);
    expect(guest.css.stsch(FIRST, AT.operand)).toBe('addressing');
  });
});

describe('the subchannel information block', () => {
  test('of a new subchannel', () => {
    const guest = new Guest({ devno: 0xbeef });
    guest.css.stsch(FIRST, AT.operand);
    expect(hex(guest.read(AT.operand, 52))).toBe(
      ['00000000 0001 beef 80000080 0000 ff80', zeros(8), '00000000', zeros(24)].join('').replaceAll(' ', ''),
    );
  });

  test('MSCH sets what a program may, and STSCH shows it', () => {
    const guest = new Guest();
    guest.ram.fill(0, AT.operand, AT.operand + 52);
    guest.ram.set([1, 2, 3, 4, 0x38, 0xfe, 9, 9, 0x40, 7, 7, 7, 0x12, 0x34, 0x56, 7], AT.operand);
    guest.ram.set([0, 0xe0, 0, 5], AT.operand + 24);
    guest.view.setBigUint64(AT.operand + 40, 0x1122334455667740n);
    expect(guest.css.msch(FIRST, AT.operand)).toBe(0);
    guest.css.stsch(FIRST, AT.operand);
    const pmcw = ['01020304 38fd 0001 40000080 1234 5680', zeros(8), '00000005'];
    expect(hex(guest.read(AT.operand, 52))).toBe(
      [...pmcw, zeros(12), '1122334455667740', zeros(4)].join('').replaceAll(' ', ''),
    );
  });

  test('between devices there are empty ones, behind the last one there are none', () => {
    const guest = new Guest();
    const { css, memory } = guest;
    css.attach(new CcwDevice(disk(), { memory, host: css, devno: 2, schid: 5 }));
    guest.ram.fill(0xee, AT.operand, AT.operand + 52);
    expect(css.stsch(0x10003, AT.operand)).toBe(0);
    expect(guest.read(AT.operand, 52).every((byte) => byte === 0)).toBe(true);
    expect(css.stsch(0x10005, AT.operand)).toBe(0);
    expect(css.stsch(0x10006, AT.operand)).toBe(3);
  });
});

describe('subchannel sets and subsystems', () => {
  test('higher sets are seen when they are enabled', () => {
    const guest = new Guest();
    const { css, memory } = guest;
    css.attach(new CcwDevice(disk(), { memory, host: css, devno: 2, ssid: 2 }));
    expect(css.stsch(0x50000, AT.operand)).toBe(3);
    css.enableMss();
    expect(css.stsch(0x50000, AT.operand)).toBe(0);
    expect(css.csch(0x50000)).toBe(3); // not enabled yet
    expect(css.captureCss()).toMatchObject({ maxSsid: 3, maxCssid: 0 });
  });

  test('with more than one subsystem, interrupts name theirs', () => {
    const guest = new Guest().enable();
    guest.css.enableMcsse();
    guest.css.csch(FIRST);
    expect(guest.interrupts()[0]?.id).toBe(0xfe09);
  });
});

describe('devices', () => {
  test('get the first free subchannel of their set', () => {
    const guest = new Guest();
    const { css, memory } = guest;
    const second = new CcwDevice(disk(), { memory, host: css, devno: 7 });
    css.attach(second);
    const other = new CcwDevice(disk(), { memory, host: css, devno: 7, ssid: 1 });
    css.attach(other);
    expect([second.subchannel.schid, other.subchannel.schid]).toEqual([1, 0]);
  });

  test('have a number of their own', () => {
    const guest = new Guest();
    const { css, memory } = guest;
    const attach = (): void => css.attach(new CcwDevice(disk(), { memory, host: css, devno: 1 }));
    expect(attach).toThrow('fe.0.0001');
    try {
      attach();
    } catch (error) {
      expect(isHostError(error)).toBe(true);
    }
  });

  test('come and go with channel reports', () => {
    let machineChecks = 0;
    const guest = new Guest({}, disk(), { onChannelReport: () => machineChecks++ });
    const { css, memory } = guest;
    const crw = (): [InstructionEnding, number] => [css.stcrw(AT.operand), guest.view.getUint32(AT.operand)];
    expect(crw()).toEqual([1, 0]);
    const added = new CcwDevice(disk(), { memory, host: css, devno: 2 });
    css.attach(added, true);
    css.detach(added);
    expect(machineChecks).toBe(1);
    expect(crw()).toEqual([0, 0x03040001]);
    expect(css.stcrw(RAM_BYTES)).toBe('addressing');
    expect(crw()).toEqual([0, 0x03040001]);
    expect(crw()).toEqual([1, 0]);
    expect(css.stsch(0x10001, AT.operand)).toBe(3);
    css.enableMss();
    css.attach(new CcwDevice(disk(), { memory, host: css, devno: 3, ssid: 1 }), true);
    expect(machineChecks).toBe(2);
    expect(crw()).toEqual([0, 0x13040000]);
    expect(crw()).toEqual([0, 0x03040010]);
  });

  test('that leave take their interrupts with them', () => {
    const guest = STATES['ended']?.() as Guest;
    guest.css.adapterInterrupt(1);
    guest.css.detach(guest.ccw);
    expect(guest.interrupts()).toEqual([{ id: 0, nr: 0, parm: 0, word: 0x88000000 }]);
    expect(guest.css.ssch(FIRST, AT.operand)).toBe(3);
    guest.css.detach(guest.ccw);
  });

  test('that leave are reset and stopped, and come back as new ones', () => {
    const guest = new Guest().enable();
    const { css, ccw } = guest;
    guest.revision(2);
    guest.command(0x31, [3]);
    expect(ccw.device.status).toBe(3);
    css.detach(ccw);
    expect([ccw.device.paused, ccw.device.status, ccw.revision]).toEqual([true, 0, -1]);
    css.attach(ccw, true);
    expect(ccw.device.paused).toBe(false);
    expect(css.stsch(FIRST, AT.operand)).toBe(0);
    // what the host program has stopped itself stays stopped
    ccw.device.pause();
    css.detach(ccw);
    css.attach(ccw);
    expect(ccw.device.paused).toBe(true);
  });

  test('of somebody else that know no more than a reset are reset', () => {
    const guest = new Guest();
    let resets = 0;
    const { subchannel } = new CcwDevice(disk(), { memory: guest.memory, host: guest.css, devno: 7 });
    const device: ChannelDevice = {
      subchannel,
      queueExists: () => false,
      kick: () => {},
      indicatorAreas: () => [],
      reset: () => {
        resets++;
      },
    };
    guest.css.attach(device);
    guest.css.detach(device);
    guest.css.detach(device);
    expect(resets).toBe(1);
  });

  test('a reset of the machine resets them', () => {
    const guest = STATES['suspended']?.() as Guest;
    guest.revision(2);
    guest.css.enableMss();
    guest.css.reset();
    const fresh = new Guest();
    const forget = ({ transport, ...rest }: ReturnType<CcwDevice['device']['capture']>) => {
      const { orb, lastCmd, ccwFmt1, ...sch } = transport.sch;
      return { ...rest, transport: { ...transport, sch } };
    };
    expect(forget(guest.ccw.device.capture())).toEqual(forget(fresh.ccw.device.capture()));
    expect(guest.css.captureCss()).toEqual(new ChannelSubsystem({ memory: guest.memory }).captureCss());
    expect(guest.css.interruptPending(ALL_SUBCLASSES)).toBe(false);
  });
});
