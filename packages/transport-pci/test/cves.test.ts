// Known attacks on QEMU's virtio-pci, against ours. `pnpm cves` lists them all.
import { describe, expect, test } from 'vitest';
import {
  COMMAND,
  capability,
  MODERN,
  MSIX,
  makeRig,
  offerRequest,
  ringsOf,
  setEntry,
  setMsix,
  startModern,
  usedIndex,
} from './rig.ts';

const NO_VECTOR = 0xffff;
const NUMBERS = [2, 3, 1023, 1024, 0x7fff, 0x8000, 0xfffe, 0xffff];

describe('CVE-2011-2512: a notification of a queue that is not there', () => {
  test.each(NUMBERS)('legacy register, queue %i', (queue) => {
    const { fn, events } = makeRig({ mode: 'legacy' });
    fn.configWrite(COMMAND, 2, 7);
    for (const size of [2, 4]) fn.barWrite(0, 16, size, size === 4 ? (queue | 0xffff0000) >>> 0 : queue);
    expect(events).toEqual([]);
  });

  test.each(NUMBERS)('modern, at the address of queue %i and with its number', (queue) => {
    const rig = makeRig();
    startModern(rig.fn);
    offerRequest(rig, 0);
    rig.fn.barWrite(4, MODERN.NOTIFY + 4 * queue, 2, queue);
    expect(usedIndex(rig, 0)).toBe(0);
    rig.fn.barWrite(4, MODERN.NOTIFY, 2, 0);
    expect(usedIndex(rig, 0)).toBe(1);
    expect(rig.events.filter(({ name }) => name === 'fault')).toEqual([]);
  });
});

describe('CVE-2013-2016: configuration space ends where it ends', () => {
  test.each([
    ['legacy', 0, 20, { mode: 'legacy' }],
    ['modern', 4, 0x2000, { mode: 'modern' }],
  ] as const)('%s', (_name, bar, start, options) => {
    const { fn } = makeRig(options);
    fn.configWrite(COMMAND, 2, 7);
    const configLength = fn.device.readConfig().length;
    const before = fn.device.capture().config.length;
    for (const at of [configLength - 1, configLength, 0x1000 - 1 - start, 0xffff_fffc, 0x7fff_ffff, -1]) {
      for (const size of [1, 2, 4]) {
        fn.barWrite(bar, start + at, size, 0x55);
        expect(fn.barRead(bar, start + at, size)).toBeLessThanOrEqual(2 ** (8 * size) - 1);
      }
    }
    expect(fn.device.capture().config).toHaveLength(before);
  });

  test('through the window in PCI configuration space', () => {
    const { fn } = makeRig();
    fn.configWrite(COMMAND, 2, 7);
    const at = capability(fn, 9, 5);
    for (const bar of [0, 4, 5, 255])
      for (const offset of [0x2fff, 0x3fff, 0x4000, 0xffff_fffc])
        for (const size of [1, 2, 3, 4, 255]) {
          fn.configWrite(at + 4, 1, bar);
          fn.configWrite(at + 8, 4, offset);
          fn.configWrite(at + 12, 4, size);
          fn.configWrite(at + 16, 4, 0x5555_5555);
          expect(fn.configRead(at + 16, 4)).toBeLessThanOrEqual(0xffff_ffff);
        }
    expect(fn.device.capture().transport.config).toHaveLength(fn.configSize);
  });
});

describe('CVE-2024-4693: vectors that nobody has assigned', () => {
  test.each([
    ['none', NO_VECTOR],
    ['the first behind the table', 3],
    ['far behind it', 0x7ff],
  ])('%s: given, taken away, reset, and the device goes on', (_name, vector) => {
    const rig = makeRig();
    const { fn, messages } = rig;
    startModern(fn);
    setMsix(fn, MSIX.ENABLE);
    setEntry(fn, 0, 0xfee00000, 1);
    fn.barWrite(4, MODERN.CONFIG_VECTOR, 2, vector);
    fn.barWrite(4, MODERN.QUEUE_SELECT, 2, 0);
    fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, vector);
    expect(fn.barRead(4, MODERN.CONFIG_VECTOR, 2)).toBe(NO_VECTOR);
    expect(fn.barRead(4, MODERN.QUEUE_VECTOR, 2)).toBe(NO_VECTOR);
    offerRequest(rig, 0);
    fn.barWrite(4, MODERN.NOTIFY, 2, 0);
    expect([usedIndex(rig, 0), messages]).toEqual([1, []]);
    fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, 0);
    fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, vector);
    fn.barWrite(4, MODERN.STATUS, 1, 0);
    startModern(fn);
    expect(fn.device.capture().transport).toBeDefined();
    fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, 0);
    expect(fn.barRead(4, MODERN.QUEUE_VECTOR, 2)).toBe(0);
  });
});

test('CVE-2020-27821: the table of messages ends where it ends', () => {
  const { fn } = makeRig({ vectors: 3 });
  fn.configWrite(COMMAND, 2, 7);
  setMsix(fn, MSIX.ENABLE);
  const before = fn.device.capture().transport;
  for (const at of [16 * 3, 0x7ff, 0x800, 0xfff, 0x1000, 0xffff_fff0, -16]) {
    for (const size of [1, 2, 4, 8]) {
      fn.barWrite(1, at, size, 0xffff_ffff);
      expect(fn.barRead(1, at, size)).toBeGreaterThanOrEqual(0);
    }
  }
  expect(fn.device.capture().transport).toEqual(before);
});

test('CVE-2024-3446: a message that rings the doorbell of its own device does not go round for ever', () => {
  let deepest = 0;
  let deep = 0;
  const rig = makeRig({
    sendMsi: () => {
      deepest = Math.max(deepest, ++deep);
      rig.fn.barWrite(4, MODERN.NOTIFY, 2, 0);
      deep--;
    },
  });
  const { fn } = rig;
  startModern(fn);
  setMsix(fn, MSIX.ENABLE);
  setEntry(fn, 1, 0xfee00000, 1);
  fn.barWrite(4, MODERN.QUEUE_SELECT, 2, 0);
  fn.barWrite(4, MODERN.QUEUE_VECTOR, 2, 1);
  // the ring is as full as it can look: each entry names the same request
  offerRequest(rig, 0);
  rig.memory.writeU16((ringsOf(0).avail + 2) as never, 16, true);
  fn.barWrite(4, MODERN.NOTIFY, 2, 0);
  expect(deepest).toBeGreaterThan(0);
  expect(deepest).toBeLessThanOrEqual(2);
  expect(usedIndex(rig, 0)).toBeLessThanOrEqual(16);
});
