import { describe, expect, test } from 'vitest';
import { CcwDevice, type IoInterrupt } from '../src/index.ts';
import { disk, FIRST, Guest } from './guest.ts';

const START = 0x4000;
const HALT = 0x2000;
const RESUME_PEND = 0x0800;
const START_PEND = 0x0400;
const SUSP = 0x0020;
const INTERMEDIATE = 0x0008;
const PENDING = 0x0001;

/** A device in an emulator that has a channel subsystem of its own. */
function alone() {
  const { memory, ram } = new Guest();
  const interrupts: IoInterrupt[] = [];
  const device = new CcwDevice(disk(), {
    memory,
    host: { ioInterrupt: (interrupt) => interrupts.push(interrupt), adapterInterrupt: () => {} },
    devno: 0x0815,
    ssid: 1,
    schid: 7,
  });
  const schib = new Uint8Array(52);
  schib.set([0, 0, 0, 9, 0x20, 0x80, 0, 0, 0x80]);
  expect(device.subchannel.msch(schib)).toBe(0);
  return { ram, interrupts, subchannel: device.subchannel };
}

describe('instructions with operands as bytes', () => {
  test('a program is run, its interrupt given to the host, its status taken', () => {
    const { ram, subchannel, interrupts } = alone();
    ram.set([0xe4, 0x20, 0, 7, 0, 0, 0x30, 0], 0x2000);
    const orb = Uint8Array.from([1, 2, 3, 4, 0, 0x80, 0xff, 0, 0, 0, 0x20, 0]);
    expect(subchannel.ssch(orb)).toBe(0);
    expect(interrupts).toEqual([{ id: 3, nr: 7, intparm: 0x01020304, isc: 4 }]);
    expect([...ram.subarray(0x3000, 0x3004)]).toEqual([0xff, 0x38, 0x32, 2]);
    const irb = new Uint8Array(64);
    expect(subchannel.tsch(irb)).toBe(0);
    expect([...irb.subarray(0, 12)]).toEqual([0, 0x80, 0x40, 0x07, 0, 0, 0x20, 8, 0x0c, 0, 0, 0]);
    expect(subchannel.tsch(irb)).toBe(1);
  });

  test('operands that are none', () => {
    const { subchannel, interrupts } = alone();
    expect(subchannel.ssch(Uint8Array.from([0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0]))).toBe('operand');
    expect(subchannel.msch(new Uint8Array(52).fill(0xff))).toBe('operand');
    expect(interrupts).toEqual([]);
  });

  test('a subchannel without a device cannot be modified', () => {
    const { subchannel } = alone();
    subchannel.pmcw.flags &= ~1;
    expect(subchannel.msch(new Uint8Array(52))).toBe(0);
    expect(subchannel.pmcw.intparm).toBe(9);
    expect(subchannel.tsch(new Uint8Array(64))).toBe(3);
  });
});

describe('status that virtual devices do not make, and a restored state can have', () => {
  test.each<[string, number, number]>([
    ['intermediate, running', START | START_PEND | INTERMEDIATE | PENDING, START | START_PEND],
    [
      'intermediate, suspended: only the resume ends',
      START | RESUME_PEND | SUSP | INTERMEDIATE | PENDING,
      START | SUSP,
    ],
    ['intermediate, suspended and halted', START | HALT | SUSP | INTERMEDIATE | PENDING, 0],
    ['intermediate, suspended and halted without a start', HALT | SUSP | INTERMEDIATE | PENDING, SUSP],
    ['nothing pending', START | INTERMEDIATE, START | INTERMEDIATE],
  ])('%s', (_, before, after) => {
    const { subchannel } = alone();
    subchannel.scsw.ctrl = before;
    subchannel.scsw.flags = 1;
    subchannel.tsch(new Uint8Array(64));
    expect(subchannel.scsw.ctrl).toBe(after);
  });

  test('channel checks bring a format word of their own', () => {
    const { subchannel } = alone();
    subchannel.scsw.ctrl = START | 0x17;
    subchannel.scsw.cstat = 0x08;
    const irb = new Uint8Array(64);
    subchannel.tsch(irb);
    expect([...irb.subarray(0, 2)]).toEqual([0x04, 0]);
    expect([...irb.subarray(12, 16)]).toEqual([0x04, 0x80, 0x40, 0]);
  });

  test('an active subchannel is halted, and not cancelled', () => {
    const { subchannel } = alone();
    subchannel.scsw.ctrl = START | START_PEND | 0x0080;
    subchannel.channelProg = 0x2000n;
    expect(subchannel.xsch()).toBe(2);
    expect(subchannel.hsch()).toBe(0);
    expect(subchannel.scsw).toMatchObject({ dstat: 0x04, cpa: 0x2008, cstat: 0 });
  });

  test('a program address beyond all memory is a program check', () => {
    const { subchannel } = alone();
    subchannel.scsw.ctrl = START | SUSP;
    subchannel.channelProg = 2n ** 63n;
    expect(subchannel.rsch()).toBe(0);
    expect(subchannel.scsw).toMatchObject({ cstat: 0x20, cpa: 8 });
  });
});

describe('channel reports', () => {
  test('are not more than a thousand; then one says that others were lost', () => {
    const guest = new Guest();
    const { css, memory } = guest;
    const device = new CcwDevice(disk(), { memory, host: css, devno: 2 });
    for (let i = 0; i < 600; i++) {
      css.attach(device, true);
      css.detach(device);
    }
    const word = (): number | undefined =>
      css.stcrw(0x1000) === 0 ? guest.view.getUint32(0x1000) : undefined;
    expect(css.captureCss()).toMatchObject({ crwsLost: true, doCrwMchk: false });
    let count = 0;
    while (word() !== undefined) count++;
    expect(count).toBe(1024);
    css.attach(device, true);
    expect(word()).toBe(0x23040001);
    expect(css.captureCss()).toMatchObject({ crwsLost: false });
    expect(css.stsch(FIRST + 1, 0x1000)).toBe(0);
  });
});
