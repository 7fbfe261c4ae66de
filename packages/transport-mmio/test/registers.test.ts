// What Virtio 1.3 §4.2.2.1 asks of the registers.
import { type Gpa, MappedMemory, type RingFeatures } from '@virtkit/core';
import { BlkDevice, type BlkState, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { MmioDevice } from '../src/index.ts';
import { REGISTER } from '../src/live/registers.ts';

const RINGS = { desc: 0x1000, avail: 0x2000, used: 0x3000 };
const REQUEST = 0x4000;
/** Features 32 to 63, by their place in the second word. */
const VERSION_1 = 1 << 0;
const NOTIFICATION_DATA = 1 << 6;
const RING_RESET = 1 << 8;

/** A disk whose driver runs, with one ring of 8 entries. */
class Machine {
  readonly memory = new MappedMemory([{ gpa: 0, bytes: new Uint8Array(0x10000) }]);
  /** Levels of the line, as they came. */
  readonly line: boolean[] = [];
  readonly mmio: MmioDevice<BlkState>;

  constructor(disk = new BlkDevice({ backend: memoryDisk(1 << 20) }), rings: RingFeatures = {}) {
    this.mmio = new MmioDevice<BlkState>(disk, {
      memory: this.memory,
      rings,
      setIrq: (level) => this.line.push(level),
    });
  }

  read(register: number): number {
    return this.mmio.read(register, 4);
  }

  write(register: number, value: number): void {
    this.mmio.write(register, 4, value);
  }

  start(features = VERSION_1 | RING_RESET): this {
    this.write(REGISTER.STATUS, 3);
    this.write(REGISTER.DRIVER_FEATURES_SEL, 1);
    this.write(REGISTER.DRIVER_FEATURES, features);
    this.write(REGISTER.STATUS, 11);
    this.enable(RINGS);
    this.write(REGISTER.STATUS, 15);
    return this;
  }

  enable({ desc, avail, used }: typeof RINGS, num = 8): void {
    this.write(REGISTER.QUEUE_NUM, num);
    this.write(REGISTER.QUEUE_DESC_LOW, desc);
    this.write(REGISTER.QUEUE_DRIVER_LOW, avail);
    this.write(REGISTER.QUEUE_DEVICE_LOW, used);
    this.write(REGISTER.QUEUE_READY, 1);
  }

  /** Makes a FLUSH request available, and notifies. */
  flush(): void {
    const put = (gpa: number, value: number): boolean => this.memory.writeU32(gpa as Gpa, value, true);
    put(REQUEST, 4);
    for (const [entry, at, length, flags] of [
      [0, REQUEST, 16, 0x10001],
      [1, REQUEST + 16, 1, 2],
    ] as const) {
      put(RINGS.desc + 16 * entry, at);
      put(RINGS.desc + 16 * entry + 8, length);
      put(RINGS.desc + 16 * entry + 12, flags);
    }
    const index = this.memory.readU16((RINGS.avail + 2) as Gpa, true);
    this.memory.writeU16((RINGS.avail + 4 + 2 * (index % 8)) as Gpa, 0, true);
    this.memory.writeU16((RINGS.avail + 2) as Gpa, index + 1, true);
    this.write(REGISTER.QUEUE_NOTIFY, 0);
  }

  usedIndex(): number {
    return this.memory.readU16((RINGS.used + 2) as Gpa, true);
  }
}

test('the registers say what they are', () => {
  const machine = new Machine();
  expect(machine.read(REGISTER.MAGIC_VALUE)).toBe(0x74726976);
  expect(machine.read(REGISTER.VERSION)).toBe(2);
});

test('there are no shared memory regions', () => {
  const machine = new Machine();
  expect([machine.read(REGISTER.SHM_LEN_LOW), machine.read(REGISTER.SHM_LEN_HIGH)]).toEqual([
    0xffffffff, 0xffffffff,
  ]);
});

describe('InterruptStatus', () => {
  test('has the bit of an event until it is acknowledged, and no other', () => {
    const disk = new BlkDevice({ backend: memoryDisk(1 << 20) });
    const machine = new Machine(disk).start();
    machine.line.length = 0;
    machine.flush();
    expect(machine.read(REGISTER.INTERRUPT_STATUS)).toBe(1);
    expect(machine.read(REGISTER.INTERRUPT_STATUS)).toBe(1);
    machine.write(REGISTER.INTERRUPT_ACK, 2);
    expect(machine.read(REGISTER.INTERRUPT_STATUS)).toBe(1);
    machine.write(REGISTER.INTERRUPT_ACK, 1);
    expect(machine.read(REGISTER.INTERRUPT_STATUS)).toBe(0);
    disk.resize(8);
    expect(machine.read(REGISTER.INTERRUPT_STATUS) & 2).toBe(2);
    machine.write(REGISTER.INTERRUPT_ACK, 1);
    expect(machine.read(REGISTER.INTERRUPT_STATUS)).toBe(2);
    machine.write(REGISTER.INTERRUPT_ACK, 2);
    expect(machine.read(REGISTER.INTERRUPT_STATUS)).toBe(0);
    expect(machine.line.at(-1)).toBe(false);
  });

  test('is 0 after a reset, and no queue is ready', () => {
    const machine = new Machine().start();
    machine.flush();
    machine.write(REGISTER.STATUS, 0);
    expect(machine.read(REGISTER.STATUS)).toBe(0);
    expect(machine.read(REGISTER.INTERRUPT_STATUS)).toBe(0);
    expect(machine.read(REGISTER.QUEUE_READY)).toBe(0);
    expect(machine.read(REGISTER.QUEUE_RESET)).toBe(0);
    expect(machine.line.at(-1)).toBe(false);
  });
});

describe('QueueReset', () => {
  test('of 1 resets the queue, and both registers are 0 afterwards', () => {
    const machine = new Machine().start();
    machine.flush();
    expect(machine.usedIndex()).toBe(1);
    machine.write(REGISTER.QUEUE_RESET, 0);
    expect(machine.read(REGISTER.QUEUE_READY)).toBe(1);
    machine.write(REGISTER.QUEUE_RESET, 1);
    expect([machine.read(REGISTER.QUEUE_RESET), machine.read(REGISTER.QUEUE_READY)]).toEqual([0, 0]);
    machine.flush();
    expect(machine.usedIndex()).toBe(1);
    // a ring that begins at its beginning, where the driver has put it
    machine.memory.write(RINGS.avail as Gpa, new Uint8Array(0x1000));
    machine.memory.write(RINGS.used as Gpa, new Uint8Array(0x1000));
    machine.enable(RINGS);
    expect([machine.read(REGISTER.QUEUE_RESET), machine.read(REGISTER.QUEUE_READY)]).toEqual([0, 1]);
    machine.flush();
    expect(machine.usedIndex()).toBe(1);
    expect(machine.memory.readU8((REQUEST + 16) as Gpa)).toBe(0);
  });
});

describe('NOTIFICATION_DATA', () => {
  test('a position that was long under way changes nothing: what the ring says counts', () => {
    const machine = new Machine(undefined, { notificationData: true }).start(VERSION_1 | NOTIFICATION_DATA);
    for (let i = 1; i <= 5; i++) {
      machine.flush();
      expect(machine.usedIndex()).toBe(i);
    }
    const before = machine.line.length;
    for (const late of [3, 0, 5, 9, 0x8000, 0xffff]) {
      machine.write(REGISTER.QUEUE_NOTIFY, late * 0x10000);
      // each request is told of with an interrupt: stale ones would be, too
      expect([machine.usedIndex(), machine.line.length]).toEqual([5, before]);
    }
    machine.flush();
    expect(machine.usedIndex()).toBe(6);
  });
});
