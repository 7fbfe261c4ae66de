import { type Gpa, MappedMemory, type VirtioState, virtioDevice } from '@virtkit/core';
import { BlkDevice, type BlkState, blk, memoryDisk } from '@virtkit/device-blk';
import { Reader, StateError, Writer } from '@virtkit/vmstate';
import { describe, expect, test } from 'vitest';
import { CcwDevice, type CcwParts, ChannelSubsystem, ccw, s390Css } from '../src/index.ts';
import { DiskDriver } from './disk-driver.ts';
import {
  ALL_SUBCLASSES,
  AT,
  CC,
  disk,
  endOf,
  FIRST,
  FMT1,
  Guest,
  RAM_BYTES,
  SPND,
  SUSPEND,
} from './guest.ts';

type State = VirtioState<CcwParts, BlkState>;
const codec = virtioDevice(ccw, blk);

/** The same machine elsewhere: memory, subsystem, device, through bytes. */
function moved(guest: Guest, other: Guest = new Guest()): Guest {
  guest.ccw.device.pause();
  const body = codec.encode(guest.ccw.device.capture() as State);
  const css = new Writer();
  s390Css.encode(css, guest.css.captureCss(), undefined);
  other.ram.set(guest.ram);
  other.css.restoreCss(s390Css.decode(new Reader(css.finish()), undefined));
  other.css.interrupts.restore(guest.css.interrupts.capture());
  other.ccw.device.restore(codec.load(body));
  expect(codec.encode(other.ccw.device.capture() as State)).toEqual(body);
  other.ccw.device.resume();
  return other;
}

describe('moved in the middle of', () => {
  test('nothing: a device that no guest has seen', () => {
    const other = moved(new Guest()).enable();
    expect(endOf(other.revision(2))).toBe('done');
  });

  test('a suspended program, which goes on elsewhere', () => {
    const guest = new Guest().enable();
    guest.revision(2);
    guest.program([
      { code: 0x03, flags: CC },
      { code: 0x31, flags: SUSPEND, count: 1 },
    ]);
    guest.ram[AT.data] = 3;
    guest.start(FMT1 | SPND);
    const other = moved(guest);
    other.ram[AT.program + 9] = 0;
    expect(other.css.rsch(FIRST)).toBe(0);
    expect(other.tsch()).toMatchObject({ cc: 0, dstat: 0x0c, cpa: AT.program + 16 });
    expect(other.ccw.device.status).toBe(3);
  });

  test('a program that has ended, and whose status and interrupt were not taken', () => {
    const guest = new Guest().enable();
    guest.program([{ code: 0x7f, count: 1 }]);
    guest.start();
    const other = moved(guest);
    expect(other.interrupts()).toEqual([{ id: 1, nr: 0, parm: 0x1234, word: 0x18000000 }]);
    const irb = other.tsch();
    expect(endOf(irb)).toBe('reject');
    expect(irb.sense[0]).toBe(0x80);
  });

  test('an unsolicited status', () => {
    const guest = new Guest().enable();
    guest.revision(2);
    guest.command(0x43, [0, 0, 0, 0, 0, 0, 0x50, 0]);
    const driver = new DiskDriver(guest);
    driver.start();
    driver.put();
    driver.kick();
    const other = moved(guest);
    expect(other.tsch()).toMatchObject({ cc: 0, stctl: 0x11 });
    other.ccw.notify(0);
    expect(other.tsch()).toMatchObject({ cc: 0, stctl: 0x11 });
  });

  test.each([0, 5, 13])('I/O with adapter interrupts at bit %i', (bit) => {
    const guest = new Guest().enable();
    guest.revision(2);
    guest.adapterIndicators(bit);
    const driver = new DiskDriver(guest);
    driver.start();
    driver.put();
    driver.kick();
    driver.put(); // and not kicked
    const other = moved(guest);
    // what was in the ring is done, and the interrupt that was pending is there
    expect(other.view.getUint16(0x22002, true)).toBe(2);
    expect(other.ram[AT.classic + (bit >> 3)]).toBe(0x80 >> (bit & 7));
    expect(other.interrupts().filter(({ word }) => word === 0x90000000)).toHaveLength(1);
    other.ram[0x5100] = 0;
    other.ccw.notify(0);
    expect(other.css.interruptPending(ALL_SUBCLASSES)).toBe(true);
  });

  test('a reset, and before one', () => {
    const guest = new Guest().enable();
    guest.revision(1);
    guest.adapterIndicators(3);
    guest.command(0x33, []);
    const other = moved(guest);
    expect(other.ccw.revision).toBe(1);
    expect(endOf(other.adapterIndicators(4))).toBe('done');
    other.msch(0);
    expect(moved(other).ccw.revision).toBe(-1);
  });
});

describe('subchannel numbers', () => {
  const attach = (css: ChannelSubsystem, guest: Guest, devno: number): CcwDevice => {
    const device = new CcwDevice(disk(), { memory: guest.memory, host: css, devno });
    css.attach(device);
    return device;
  };

  test('follow the state, also where two have changed places', () => {
    const from = new Guest({ devno: 1 });
    const fromSecond = attach(from.css, from, 2);
    const to = new Guest({ devno: 2 });
    const toFirst = attach(to.css, to, 1);
    expect([from.ccw.subchannel.schid, fromSecond.subchannel.schid]).toEqual([0, 1]);
    expect([to.ccw.subchannel.schid, toFirst.subchannel.schid]).toEqual([0, 1]);
    toFirst.device.restore(from.ccw.device.capture());
    to.ccw.device.restore(fromSecond.device.capture());
    expect([to.ccw.subchannel.schid, toFirst.subchannel.schid]).toEqual([1, 0]);
    const devno = (id: number): number => {
      expect(to.css.stsch(id, AT.operand)).toBe(0);
      return to.view.getUint16(AT.operand + 6);
    };
    expect([devno(0x10000), devno(0x10001)]).toEqual([1, 2]);
    expect(to.css.stsch(0x10002, AT.operand)).toBe(3);
  });

  test('in whatever order three devices were attached, and their states come', () => {
    const orders = (list: readonly number[]): number[][] =>
      list.length < 2
        ? [[...list]]
        : list.flatMap((first) =>
            orders(list.filter((one) => one !== first)).map((rest) => [first, ...rest]),
          );
    const machine = (order: readonly number[]) => {
      const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(0x2000) }]);
      const css = new ChannelSubsystem({ memory });
      const devices = order.map((devno) => new CcwDevice(disk(), { memory, host: css, devno }));
      for (const device of devices) css.attach(device);
      const of = (devno: number): CcwDevice | undefined => devices[order.indexOf(devno)];
      return { css, memory, of };
    };
    const all = [1, 2, 3];
    const from = machine(all);
    const states = new Map(all.map((devno) => [devno, from.of(devno)?.device.capture()]));
    for (const attached of orders(all)) {
      for (const restored of orders(all)) {
        const { css, memory, of } = machine(attached);
        for (const devno of restored) {
          const state = states.get(devno);
          if (state !== undefined) of(devno)?.device.restore(state);
        }
        const seen = all.map((_, schid) => {
          expect(css.stsch(FIRST + schid, AT.operand)).toBe(0);
          const devno = new Uint8Array(2);
          memory.read((AT.operand + 6) as Gpa, devno);
          return devno[1];
        });
        expect(seen, `attached ${attached}, restored ${restored}`).toEqual(all);
      }
    }
  });

  test('leave a gap where one was', () => {
    const from = new Guest({ schid: 4 });
    const to = new Guest();
    to.ccw.device.restore(from.ccw.device.capture());
    expect(to.css.stsch(0x10000, AT.operand)).toBe(0);
    expect(to.view.getUint32(AT.operand + 4)).toBe(0);
    expect(to.css.stsch(0x10004, AT.operand)).toBe(0);
    expect(to.view.getUint32(AT.operand + 4)).toBe(0x00010001);
  });

  test('of a device that is in no subsystem', () => {
    const guest = new Guest();
    const alone = new CcwDevice(disk(), {
      memory: guest.memory,
      host: { ioInterrupt: () => {}, adapterInterrupt: () => {} },
      devno: 1,
    });
    alone.device.restore(new Guest({ schid: 9 }).ccw.device.capture());
    expect(alone.subchannel.schid).toBe(9);
    const { css } = guest;
    const stray = new CcwDevice(disk(), { memory: guest.memory, host: css, devno: 1 });
    stray.device.restore(new Guest({ schid: 9 }).ccw.device.capture());
    expect(css.stsch(0x10009, AT.operand)).toBe(3);
  });
});

describe('a state that does not fit is refused, and changes nothing', () => {
  const driven = (): State => {
    const guest = new Guest().enable();
    guest.revision(2);
    guest.adapterIndicators(3);
    new DiskDriver(guest).start();
    return guest.ccw.device.capture() as State;
  };
  type Change = (state: State) => State;
  const transport =
    (change: (config: State['transport']) => Partial<State['transport']>): Change =>
    (state) => ({ ...state, transport: { ...state.transport, ...change(state.transport) } });
  const sch = (change: Partial<State['transport']['sch']>): Change =>
    transport((config) => ({ sch: { ...config.sch, ...change } }));

  test('a subchannel set that there is not is an error of the state itself', () => {
    expect(codec.check(sch({ ssid: 3 })(driven()))).toEqual([]);
    expect(codec.check(sch({ ssid: 4 })(driven()))).toMatchObject([
      { code: 'ssid', severity: 'error', path: 'transport.sch.ssid', facts: { ssid: 4, limit: 3 } },
    ]);
  });

  test.each<[string, string, string, Change]>([
    ['channel subsystem', 'cssid', 'transport.sch.cssid', sch({ cssid: 0 })],
    ['subchannel set', 'ssid', 'transport.sch.ssid', sch({ ssid: 1 })],
    ['device number', 'devno', 'transport.sch.devno', sch({ devno: 2 })],
    ['subclass', 'isc', 'transport.thinintIsc', transport(() => ({ thinintIsc: 8 }))],
    ['revision below', 'revision', 'transport.revision', transport(() => ({ revision: -2 }))],
    ['revision above', 'revision', 'transport.revision', transport(() => ({ revision: 77 }))],
    ['vector', 'vector', 'transport.configVector', transport(() => ({ configVector: 5000 }))],
    [
      'vector of a queue',
      'vector',
      'queues[0].transport.vector',
      (state) => ({
        ...state,
        queues: state.queues.map((queue) => ({ ...queue, transport: { vector: 1025 } })),
      }),
    ],
    [
      'indicator',
      'indicator',
      'transport.indicators.len',
      transport(() => ({ indicators: { len: 0, addr: 5n } })),
    ],
    [
      'summary indicator',
      'indicator',
      'transport.summaryIndicator.len',
      transport(() => ({ summaryIndicator: { len: 0, addr: 0n } })),
    ],
  ])('%s', (_, code, path, change) => {
    const guest = new Guest();
    const state = change(driven());
    const before = guest.ccw.device.capture();
    expect(guest.ccw.device.check(state)).toContainEqual(
      expect.objectContaining({ code, path, severity: 'error', layer: 'transport' }),
    );
    expect(() => guest.ccw.device.restore(state)).toThrow(StateError);
    expect(guest.ccw.device.capture()).toEqual(before);
  });

  test('a revision that this device does not have', () => {
    const guest = new Guest({ maxRevision: 1 });
    expect(guest.ccw.device.check(driven())).toContainEqual(
      expect.objectContaining({ code: 'revision', facts: { revision: 2, limit: 1 } }),
    );
  });

  test('another control unit model is only unexpected', () => {
    const guest = new Guest();
    const other = sch({ id: { ...driven().transport.sch.id, cuModel: 1 } })(driven());
    guest.ram.fill(0);
    expect(guest.ccw.device.check(other)).toEqual([
      expect.objectContaining({ code: 'control-unit-model', severity: 'warning' }),
    ]);
    guest.ccw.device.restore(other);
    expect(guest.ccw.device.capture()).toEqual(other);
  });
});

describe('options', () => {
  test('machines before 2.10 save neither the ORB nor the summary offset', () => {
    const guest = new Guest({ saveOrb: false }).enable();
    guest.revision(2);
    guest.adapterIndicators();
    const { sch, adapter } = guest.ccw.captureConfig();
    expect([sch.orb, adapter.summaryOffset]).toEqual([undefined, undefined]);
    const other = moved(guest, new Guest({ saveOrb: false }));
    expect(other.ccw.revision).toBe(2);
  });

  test.each([
    ['devno', { devno: 0x10000 }],
    ['devno', { devno: -1 }],
    ['ssid', { ssid: 4 }],
    ['schid', { schid: 1.5 }],
    ['cssid', { cssid: 256 }],
    ['maxRevision', { maxRevision: 3 }],
  ])('%s has limits', (name, options) => {
    expect(() => new Guest(options)).toThrow(name);
  });

  test('without VERSION_1 there is revision 0 only', () => {
    expect(new Guest({ version1: false }).ccw.maxRevision).toBe(0);
    expect(new Guest({ maxRevision: 0 }).ccw.device.offers(32)).toBe(false);
    expect(new Guest({ maxRevision: 1 }).ccw.device.offers(32)).toBe(true);
  });

  test('legacy drivers are big-endian', () => {
    const legacy = new Guest().enable();
    legacy.revision(0);
    expect(legacy.ccw.device.littleEndian).toBe(false);
    expect(legacy.ccw.device.capture().subsections.deviceEndian).toBeUndefined();
    const modern = new Guest().enable();
    modern.revision(2);
    new DiskDriver(modern).start();
    expect(modern.ccw.device.littleEndian).toBe(true);
    expect(modern.ccw.device.capture().subsections.deviceEndian).toBe(2);
  });

  test('a disk as its package makes it', () => {
    const guest = new Guest();
    const { css, memory } = guest;
    const model = new BlkDevice({ backend: memoryDisk(1 << 20), queues: 4 });
    const typed: CcwDevice<BlkState> = new CcwDevice(model, { memory, host: css, devno: 9 });
    css.attach(typed);
    expect(typed.device.capture().queues).toHaveLength(4);
  });
});

describe('a ring that does not fit into memory', () => {
  const cut = (): Guest => {
    const guest = new Guest().enable();
    guest.revision(2);
    const block = new Uint8Array(32);
    const view = new DataView(block.buffer);
    view.setBigUint64(0, BigInt(RAM_BYTES - 16));
    view.setUint16(14, 256);
    view.setBigUint64(16, 0x9000n);
    view.setBigUint64(24, 0xa000n);
    expect(endOf(guest.command(0x13, block))).toBe('done');
    return guest;
  };

  test('breaks the device; it needs a reset where that is known to the driver', () => {
    const guest = cut();
    expect([guest.ccw.device.broken, guest.ccw.device.status]).toEqual([true, 0]);
    guest.command(0x11, [1, 0, 0, 0, 1]);
    expect(guest.ccw.device.status).toBe(0);
    // with EVENT_IDX, rings are mapped anew, and it fails again
    guest.command(0x11, [0, 0, 0, 0x20, 0]);
    expect(guest.ccw.device.status).toBe(0x40);
    expect(guest.events.map(({ name }) => name)).toEqual(['fault']);
    expect(endOf(guest.command(0x33, []))).toBe('done');
    expect([guest.ccw.device.broken, guest.ccw.device.status]).toEqual([false, 0]);
  });
});

describe('lists of the channel subsystem', () => {
  const empty = new Guest().css.captureCss();

  test.each([65_536, 65_537])('%i channel reports: 65536 are read, and no more', (count) => {
    const out = new Writer();
    s390Css.encode(out, empty, undefined);
    // an element: there is one, flags, rsid
    const list = Buffer.alloc(5 * count);
    for (let at = 0; at < list.length; at += 5) list[at] = 1;
    const body = new Uint8Array(Buffer.concat([list, out.finish()]));
    const read = (): number => s390Css.decode(new Reader(body), undefined).pendingCrws.length;
    if (count === 65_536) expect(read()).toBe(count);
    else expect(read).toThrow(/65536/);
  });
});
