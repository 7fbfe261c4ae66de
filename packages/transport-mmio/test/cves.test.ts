// Known attacks on QEMU's virtio-mmio, against ours. `pnpm cves` lists them all.
import { MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { MmioDevice } from '../src/index.ts';
import { REGISTER } from '../src/live/registers.ts';

const NUMBERS = [0, 1, 2, 3, 1024, 1025, 0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

function diskWith(legacy: boolean) {
  const events: string[] = [];
  const memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(1 << 20) }]);
  const backend = memoryDisk(1 << 16);
  const mmio = new MmioDevice(new BlkDevice({ backend, queues: 2, queueSize: 16 }), {
    memory,
    legacy,
    setIrq: () => {},
    onEvent: ({ name }) => events.push(name),
  });
  const write = (register: number, value: number): void => mmio.write(register, 4, value);
  write(REGISTER.STATUS, 3);
  write(REGISTER.GUEST_PAGE_SIZE, 4096);
  return { mmio, write, events, memory };
}

/** It still works, after a reset at the latest. */
function stands(mmio: MmioDevice<unknown>): void {
  mmio.write(REGISTER.STATUS, 4, 0);
  expect(mmio.read(REGISTER.MAGIC_VALUE, 4)).toBe(0x74726976);
  expect(mmio.read(REGISTER.STATUS, 4)).toBe(0);
}

describe.each([
  ['legacy', true],
  ['modern', false],
])('%s', (_name, legacy) => {
  test.each(NUMBERS)('CVE-2026-50626: a ring of %i entries is never larger than rings can be', (size) => {
    const { mmio, write } = diskWith(legacy);
    write(REGISTER.QUEUE_SEL, 0);
    write(REGISTER.QUEUE_NUM, size);
    write(REGISTER.QUEUE_READY, 1);
    if (legacy) write(REGISTER.QUEUE_PFN, 16);
    expect(mmio.device.queue(0)?.size).toBeLessThanOrEqual(1024);
    write(REGISTER.STATUS, 15);
    write(REGISTER.QUEUE_NOTIFY, 0);
    // and what came of it can be saved, and taken
    const state = mmio.device.capture();
    expect(state.queues.every(({ num }) => num <= 1024)).toBe(true);
    stands(mmio);
  });

  test.each(NUMBERS)('CVE-2011-2512: a notification of queue %i reaches that queue, or none', (queue) => {
    const { mmio, write, events } = diskWith(legacy);
    write(REGISTER.STATUS, 15);
    write(REGISTER.QUEUE_NOTIFY, queue);
    expect(events).not.toContain('fault');
    stands(mmio);
  });

  test.each(NUMBERS)('CVE-2013-6399: queue %i selected: what is not there has no registers', (queue) => {
    const { mmio, write } = diskWith(legacy);
    write(REGISTER.QUEUE_SEL, queue);
    write(REGISTER.QUEUE_NUM, 8);
    write(REGISTER.QUEUE_READY, 1);
    if (legacy) write(REGISTER.QUEUE_PFN, 16);
    // no such number is taken
    if (queue > 1 && queue < 1024) expect(mmio.read(REGISTER.QUEUE_NUM_MAX, 4)).toBe(0);
    expect(mmio.device.capture().queueSel).toBeLessThan(1024);
    stands(mmio);
  });

  test('CVE-2013-2016: configuration space is read and written as far as it goes', () => {
    const { mmio } = diskWith(legacy);
    const configLength = mmio.device.readConfig().length;
    const before = mmio.device.capture().config;
    for (const at of [configLength - 1, configLength, 0xff, 0xfffffeff, 0x7fffffff]) {
      for (const size of [1, 2, 4]) {
        mmio.write(0x100 + at, size, 0x55);
        if (at >= configLength)
          expect(mmio.read(0x100 + at, size)).toBe([0, 0xff, 0xffff, 0, 0xffffffff][size]);
      }
    }
    expect(mmio.device.capture().config.length).toBe(before.length);
  });
});

describe('CVE-2017-17381: rings that are aligned to 0 bytes', () => {
  test('by the register', () => {
    const { mmio, write, events } = diskWith(true);
    write(REGISTER.QUEUE_SEL, 0);
    write(REGISTER.QUEUE_NUM, 16);
    write(REGISTER.QUEUE_ALIGN, 0);
    write(REGISTER.QUEUE_PFN, 16);
    write(REGISTER.STATUS, 7);
    write(REGISTER.QUEUE_NOTIFY, 0);
    expect(events).not.toContain('fault');
    stands(mmio);
  });

  test('by a saved state, and set up again afterwards', () => {
    const { mmio, write } = diskWith(true);
    write(REGISTER.QUEUE_SEL, 0);
    write(REGISTER.QUEUE_NUM, 16);
    write(REGISTER.QUEUE_PFN, 16);
    mmio.device.pause();
    const state = mmio.device.capture();
    const next = diskWith(true).mmio;
    next.device.restore({ ...state, queues: state.queues.map((queue) => ({ ...queue, align: 0 })) });
    next.device.resume();
    next.write(REGISTER.QUEUE_NUM, 4, 8);
    next.write(REGISTER.QUEUE_PFN, 4, 32);
    next.write(REGISTER.STATUS, 4, 7);
    next.write(REGISTER.QUEUE_NOTIFY, 4, 0);
    stands(next);
  });
});
