import { type DeviceModel, type VirtioState, virtioDevice } from '@virtkit/core';
import { BlkDevice, type BlkState, blk, memoryDisk } from '@virtkit/device-blk';
import { NetDevice } from '@virtkit/device-net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CcwDevice, type CcwParts, ccw } from '../src/index.ts';
import { AT, CC, type Command, disk, endOf, FIRST, FMT1, Guest, RAM_BYTES } from './guest.ts';

/** Longest that one instruction may take; far more than it does. */
const INSTRUCTION_MS = 2000;

function timed<T>(run: () => T): T {
  const started = performance.now();
  const result = run();
  expect(performance.now() - started).toBeLessThan(INSTRUCTION_MS);
  return result;
}

describe('programs that want to run for ever', () => {
  test('a circle of TICs and commands', () => {
    const guest = new Guest().enable();
    const circle: Command[] = [
      { code: 0x03, count: 1, flags: CC },
      { code: 0x33, flags: CC },
      { code: 0x08, cda: AT.program },
    ];
    expect(endOf(timed(() => guest.run(circle)))).toBe('check');
  });

  test('two TICs that point at each other', () => {
    const guest = new Guest().enable();
    guest.program([
      { code: 0x08, cda: AT.program + 8 },
      { code: 0x08, cda: AT.program },
    ]);
    guest.start();
    expect(endOf(guest.tsch())).toBe('check');
  });

  test('memory full of resets', () => {
    const guest = new Guest().enable();
    for (let at = 0x6000; at + 8 <= RAM_BYTES; at += 8) guest.ram.set([0x33, CC, 0, 1, 0, 0, 0x30, 0], at);
    timed(() => guest.start(FMT1, { cpa: 0x6000 }));
    expect(endOf(guest.tsch())).toBe('check');
  });

  test('memory full of configuration reads into the program itself', () => {
    const guest = new Guest().enable();
    for (let at = 0x6000; at + 8 <= RAM_BYTES; at += 8) guest.ram.set([0x22, CC, 0, 8, 0, 0, 0x60, 0], at);
    timed(() => guest.start(FMT1, { cpa: 0x6000 }));
    expect(guest.tsch().cc).toBe(0);
  });

  test('suspended and resumed without end', () => {
    const guest = new Guest().enable();
    guest.program([{ code: 0x03, count: 1, flags: 2 }]);
    guest.start(FMT1 | 0x0800);
    for (let i = 0; i < 5000; i++) expect(guest.css.rsch(FIRST)).toBe(0);
    expect(guest.interrupts()).toHaveLength(1024);
  });
});

describe('data in the wrong place', () => {
  const CODES = [0x04, 0x11, 0x12, 0x13, 0x21, 0x22, 0x31, 0x32, 0x43, 0x53, 0x73, 0x83, 0xe4];

  test.each(CODES)('command %i across the end of memory', (code) => {
    for (const revision of [0, 2]) {
      const guest = new Guest().enable();
      guest.revision(revision);
      guest.ram.fill(0xee, RAM_BYTES - 16);
      const irb = guest.run([{ code, count: 32, flags: 0x20, cda: RAM_BYTES - 1 }]);
      // one byte is there
      if (code !== 0x31 && code !== 0x83) expect(endOf(irb)).toBe('check');
      if (code !== 0x31) expect(guest.ram[RAM_BYTES - 1]).toBe(0xee);
    }
  });

  test('a list of addresses of which the last is bad: what came before is written, and the command fails', () => {
    const guest = new Guest().enable();
    guest.view.setUint32(AT.list, 0x10000 + 2048 - 8);
    guest.view.setUint32(AT.list + 4, 0x7000_0000);
    guest.ram.fill(0xee, 0x10000, 0x10000 + 4096);
    const irb = guest.run([{ code: 0x22, count: 16, flags: 4, cda: AT.list }]);
    expect(endOf(irb)).toBe('check');
    expect(guest.ram[0x10000 + 2048 - 8]).not.toBe(0xee);
    expect(guest.ram[0x10000 + 2048]).toBe(0xee);
  });

  test('rings anywhere', () => {
    const guest = new Guest().enable();
    guest.revision(2);
    const block = new Uint8Array(32);
    const view = new DataView(block.buffer);
    view.setUint16(14, 256);
    const places = [0xffff_ffff_ffff_fff0n, 0x7000_0000n, BigInt(RAM_BYTES - 16), 1n];
    for (const desc of places) {
      view.setBigUint64(0, desc);
      view.setBigUint64(16, desc + 1n);
      view.setBigUint64(24, desc + 2n);
      expect(['done', 'check']).toContain(endOf(guest.command(0x13, block)));
      guest.command(0x31, [0x0f]);
      guest.css.diagnose500(3, FIRST, 0);
    }
  });
});

/** A machine with both device types, and every instruction at hand. */
function machine(): { guest: Guest; ids: number[] } {
  const guest = new Guest({}, new BlkDevice({ backend: memoryDisk(1 << 16), queues: 2 }) as DeviceModel);
  const { css, memory } = guest;
  const card = new NetDevice({ backend: { send: () => true }, mac: '52:54:00:12:34:56', offloads: {} });
  css.attach(new CcwDevice(card as DeviceModel, { memory, host: css, devno: 2, rings: { packed: true } }));
  return { guest, ids: [0x10000, 0x10001] };
}

/** Numbers that go wrong where there is anything to go wrong, below and above 2^31. */
const word = fc.oneof(
  fc.constantFrom(
    0,
    1,
    4,
    8,
    0x1000,
    0x2000,
    0x3000,
    0x4000,
    RAM_BYTES - 8,
    RAM_BYTES,
    0x7fff_fff8,
    0xffff_ffff,
  ),
  fc.integer({ min: 0, max: RAM_BYTES - 1 }),
  fc.nat({ max: 0xffff_ffff }),
);
const command = fc.record({
  code: fc.oneof(
    fc.constantFrom(
      3,
      4,
      8,
      0x11,
      0x12,
      0x13,
      0x21,
      0x22,
      0x31,
      0x32,
      0x33,
      0x43,
      0x53,
      0x72,
      0x73,
      0x83,
      0xe4,
    ),
    fc.nat({ max: 255 }),
  ),
  flags: fc.oneof(fc.constantFrom(0, 0x20, 0x40, 0x60, 0x64), fc.nat({ max: 255 })),
  count: fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 16, 25, 32, 256), fc.nat({ max: 0xffff })),
  cda: word,
});
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('run' as const),
      commands: fc.array(command, { minLength: 1, maxLength: 5 }),
      orb: fc.array(word, { minLength: 3, maxLength: 3 }),
      usual: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constantFrom(
        'tsch' as const,
        'stsch' as const,
        'msch' as const,
        'stcrw' as const,
        'tpi' as const,
      ),
      address: word,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constantFrom('csch' as const, 'hsch' as const, 'rsch' as const, 'xsch' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('poke' as const),
      address: fc.integer({ min: 0, max: RAM_BYTES - 64 }),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 64 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('notify' as const),
      r1: fc.constantFrom(0, 3, 4),
      r2: word,
      r3: word,
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('enable' as const), flags: fc.nat({ max: 0xffff }) }) },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

const ENDINGS = new Set<unknown>([0, 1, 2, 3, 'operand', 'specification', 'addressing']);

function act(guest: Guest, id: number, step: Action): void {
  const { css, view } = guest;
  switch (step.op) {
    case 'run': {
      guest.program(step.commands);
      const [parm = 0, control = 0, cpa = 0] = step.orb;
      view.setUint32(AT.operand, parm);
      view.setUint32(AT.operand + 4, step.usual ? 0x00c0ff00 : control);
      view.setUint32(AT.operand + 8, step.usual ? AT.program : cpa);
      expect(ENDINGS).toContain(css.ssch(id, AT.operand));
      css.tsch(id, AT.operand);
      return;
    }
    case 'msch':
    case 'stsch':
    case 'tsch':
      expect(ENDINGS).toContain(css[step.op](id, step.address));
      return;
    case 'stcrw':
      expect(ENDINGS).toContain(css.stcrw(step.address));
      return;
    case 'tpi':
      expect(ENDINGS).toContain(css.tpi(step.address, 0xff000000));
      return;
    case 'csch':
    case 'hsch':
    case 'rsch':
    case 'xsch':
      expect(ENDINGS).toContain(css[step.op](id));
      return;
    case 'poke':
      guest.ram.set(step.bytes, step.address);
      return;
    case 'notify':
      expect([0, -22, 'specification']).toContain(css.diagnose500(step.r1, step.r2, step.r3));
      return;
    case 'enable':
      css.stsch(id, AT.operand);
      view.setUint16(AT.operand + 4, 0x80 | (step.flags & 0x3c7f));
      css.msch(id, AT.operand);
  }
}

/** What a guest can do to a device can be saved, encoded, and restored: what rings say of themselves excepted. */
function expectMovable(guest: Guest): void {
  const codec = virtioDevice(ccw, blk);
  const state = codec.decode(codec.encode(guest.ccw.device.capture() as VirtioState<CcwParts, BlkState>));
  const other = new Guest({}, new BlkDevice({ backend: memoryDisk(1 << 16), queues: 2 }) as DeviceModel);
  other.ram.set(guest.ram);
  const errors = other.ccw.device.check(state).filter(({ severity }) => severity === 'error');
  expect(errors.filter(({ layer }) => layer !== 'core')).toEqual([]);
  if (errors.length > 0) return;
  other.ccw.device.restore(state);
  expect(other.ccw.captureConfig()).toEqual(state.transport);
}

describe('whatever a guest does', () => {
  test('instructions end, in time, and the devices can be saved', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 1 }), action), { minLength: 1, maxLength: 60 }),
        (steps) => {
          const { guest, ids } = machine();
          const started = performance.now();
          for (const id of ids) act(guest, id, { op: 'enable', flags: 0 });
          for (const [which, step] of steps) act(guest, ids[which] ?? 0, step);
          expect(performance.now() - started).toBeLessThan(INSTRUCTION_MS * 5);
          expect(guest.css.interrupts.capture().every((list) => list.length <= 1024)).toBe(true);
          expectMovable(guest);
        },
      ),
      { numRuns: Number(process.env['VIRTKIT_FUZZ_RUNS'] ?? 300) },
    );
  });

  test('random bytes as ORB, program and data', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        fc.uint8Array({ maxLength: 512 }),
        (orb, bytes) => {
          const guest = new Guest({}, disk()).enable();
          guest.ram.set(bytes, AT.program);
          guest.ram.set(bytes, AT.data);
          guest.ram.set(orb, AT.operand);
          guest.view.setUint16(AT.operand + 4, guest.view.getUint16(AT.operand + 4) & ~4);
          guest.view.setUint8(AT.operand + 7, 0);
          guest.view.setUint32(AT.operand + 8, AT.program);
          expect(guest.css.ssch(FIRST, AT.operand)).toBe(0);
          expect([0, 1]).toContain(guest.tsch().cc);
        },
      ),
      { numRuns: Number(process.env['VIRTKIT_FUZZ_RUNS'] ?? 500) },
    );
  });
});
