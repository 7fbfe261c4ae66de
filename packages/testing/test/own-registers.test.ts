// A guest chooses where the messages of MSI-X go: here into the registers of the function that sends them.
import { MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { PciFunction } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';

const BAR = 0xe000_0000;
const [DESC, AVAIL, USED, HEADER, STATUS] = [0x1_0000, 0x2_0000, 0x3_0000, 0x8000, 0x9000];
const SIZE = 1024;
const CHAINS = SIZE - 1;
const FLUSH = 4;

/** Registers of the common structure, and the doorbell. */
const TARGETS = {
  'the doorbell': [0x3000, 0],
  'device_status, a reset': [20, 0],
  'device_status, as it is': [20, 15],
  queue_reset: [0x3a, 1],
  queue_desc: [32, 0x1_0000],
  device_feature_select: [0, 1],
} as const;

/** A disk whose ring is full of flushes, all ready; its messages go to a register of its own. */
function looped(requestMerging: boolean, [offset, data]: readonly [number, number]) {
  const ram = new Uint8Array(4 << 20);
  const view = new DataView(ram.buffer);
  let depth = 0;
  let deepest = 0;
  const disk = new BlkDevice({ backend: memoryDisk(1 << 20), queueSize: SIZE, requestMerging });
  const fn = new PciFunction(disk, {
    memory: new MappedMemory([{ gpa: 0, bytes: ram }]),
    setIntx() {},
    sendMsi: (address, value) => {
      deepest = Math.max(deepest, ++depth);
      try {
        fn.barWrite(4, address - BAR, 4, value);
      } finally {
        depth--;
      }
    },
  });
  let cap = fn.configRead(0x34, 1);
  while (cap !== 0 && fn.configRead(cap, 1) !== 0x11) cap = fn.configRead(cap + 1, 1);
  fn.configWrite(4, 2, 6);
  fn.barWrite(4, 20, 1, 3);
  // VERSION_1 and RING_RESET: bits 0 and 8 of word 1
  fn.barWrite(4, 8, 4, 1);
  fn.barWrite(4, 12, 4, 0x101);
  fn.barWrite(4, 20, 1, 11);
  // queue 0, and vector 0 for it
  fn.barWrite(4, 22, 2, 0);
  fn.barWrite(4, 24, 2, SIZE);
  fn.barWrite(4, 26, 2, 0);
  fn.configWrite(cap + 2, 2, 0x8000);
  [BAR + offset, 0, data, 0].forEach((word, i) => {
    fn.barWrite(1, 4 * i, 4, word);
  });
  fn.barWrite(4, 32, 4, DESC);
  fn.barWrite(4, 40, 4, AVAIL);
  fn.barWrite(4, 48, 4, USED);
  fn.barWrite(4, 28, 2, 1);
  fn.barWrite(4, 20, 1, 15);
  view.setUint32(HEADER, FLUSH, true);
  const descriptor = (i: number, addr: number, length: number, flags: number, next: number): void => {
    view.setBigUint64(DESC + 16 * i, BigInt(addr), true);
    view.setUint32(DESC + 16 * i + 8, length, true);
    view.setUint16(DESC + 16 * i + 12, flags, true);
    view.setUint16(DESC + 16 * i + 14, next, true);
  };
  for (let i = 0; i < CHAINS; i++) {
    descriptor(i, HEADER, 16, 1, CHAINS);
    view.setUint16(AVAIL + 4 + 2 * i, i, true);
  }
  descriptor(CHAINS, STATUS, 1, 2, 0);
  view.setUint16(AVAIL + 2, CHAINS, true);
  return { fn, disk, view, deepest: () => deepest };
}

describe.each([true, false])('request merging %s', (requestMerging) => {
  test.each(Object.entries(TARGETS))(
    '%s: no exception, the stack does not grow, and it works after a reset',
    (name, target) => {
      const { fn, disk, view, deepest } = looped(requestMerging, target);
      for (let kick = 0; kick < 3; kick++) fn.barWrite(4, 0x3000, 4, 0);
      expect(deepest()).toBe(1);
      expect(disk.inFlight).toBe(0);
      if (name === 'the doorbell') expect(view.getUint16(USED + 2, true)).toBe(CHAINS);
      fn.barWrite(4, 20, 1, 0);
      expect(fn.barRead(4, 20, 1)).toBe(0);
      expect(fn.device.broken).toBe(false);
    },
  );
});
