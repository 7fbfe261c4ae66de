// Known attacks on QEMU's virtio-ccw, against ours. `pnpm cves` lists them all.
import { describe, expect, test } from 'vitest';
import { AT, CC, endOf, FMT1, Guest, RAM_BYTES } from './guest.ts';

const be16 = (n: number): number[] => [(n >> 8) & 0xff, n & 0xff];
const be32 = (n: number): number[] => [...be16(n >>> 16), ...be16(n & 0xffff)];
const SET_VQ = 0x13;
const READ_VQ_CONF = 0x32;
const WRITE_CONF = 0x21;
const READ_CONF = 0x22;

/** Revision 1 and later. */
function queueBlock(queue: number, num: number, desc = 0x10000): number[] {
  return [
    ...be32(0),
    ...be32(desc),
    ...be32(0),
    ...be16(queue),
    ...be16(num),
    ...be32(0),
    ...be32(desc + 0x1000),
    ...be32(0),
    ...be32(desc + 0x2000),
  ];
}

/** It still answers. */
function stands(guest: Guest): void {
  expect(endOf(guest.run([{ code: 0x33 }]))).toBe('done');
  expect(guest.events.filter(({ name }) => name === 'fault')).toEqual([]);
}

test.each([1, 2, 1024, 0x7fff, 0x8000, 0xffff])(
  'CVE-2013-6399: queue %i, of a disk that has one, cannot be set up or asked for',
  (queue) => {
    const guest = new Guest().enable();
    guest.revision(2);
    expect(endOf(guest.command(SET_VQ, queueBlock(queue, 8)))).not.toBe('done');
    // 0 entries says that there is no such queue
    const irb = guest.command(READ_VQ_CONF, [...be16(queue), 0xff, 0xff]);
    if (endOf(irb) === 'done') expect(guest.data(4).slice(2)).toEqual([0, 0]);
    stands(guest);
  },
);

test.each([0, 3, 257, 1025, 0xffff])(
  'CVE-2026-50626: a ring of %i entries is not larger than it can be',
  (num) => {
    const guest = new Guest().enable();
    guest.revision(2);
    guest.command(SET_VQ, queueBlock(0, num));
    expect(guest.ccw.device.capture().queues.every((queue) => queue.num <= 1024)).toBe(true);
    stands(guest);
  },
);

test.each([0, 61, 255, 4096, 0xffff])(
  'CVE-2013-2016: configuration of %i bytes is read and written as far as it goes',
  (count) => {
    const guest = new Guest().enable();
    guest.revision(2);
    const before = guest.ccw.device.capture().config.length;
    const end = AT.data + Math.min(count, before);
    guest.ram.fill(0xee, AT.data, AT.data + 0x1000);
    guest.run([{ code: READ_CONF, count, flags: 0x20 }]);
    expect(guest.ram.subarray(end, AT.data + 0x1000).every((byte) => byte === 0xee)).toBe(true);
    guest.run([{ code: WRITE_CONF, count, flags: 0x20 }]);
    expect(guest.ccw.device.capture().config).toHaveLength(before);
    stands(guest);
  },
);

describe('without a number of its own: programs without end', () => {
  test('commands that a chain of transfers joins to a circle', () => {
    const guest = new Guest().enable();
    guest.program([
      { code: 0x03, count: 1, flags: CC },
      { code: 0x08, cda: AT.program },
    ]);
    guest.start(FMT1);
    expect(endOf(guest.tsch())).toBe('check');
    stands(guest);
  });

  test('memory full of transfers to the next one', () => {
    const guest = new Guest().enable();
    for (let at = 0x6000; at + 16 <= RAM_BYTES; at += 8) {
      guest.ram.set([0x08, 0, 0, 0], at);
      guest.view.setUint32(at + 4, at + 8);
    }
    guest.start(FMT1, { cpa: 0x6000 });
    expect(endOf(guest.tsch())).toBe('check');
    stands(guest);
  });
});
