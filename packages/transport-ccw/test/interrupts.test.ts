import { FEATURE, type Gpa, MappedMemory } from '@virtkit/core';
import { BlkDevice, memoryDisk } from '@virtkit/device-blk';
import { describe, expect, test } from 'vitest';
import { CcwDevice, ChannelSubsystem, InterruptQueue, type IoInterrupt } from '../src/index.ts';
import { DiskDriver } from './disk-driver.ts';
import { ALL_SUBCLASSES, AT, disk, endOf, FIRST, Guest, RAM_BYTES } from './guest.ts';

const SUMMARY = 0x5100;
const CONFIG = 0x5200;

function driving(indicators: (guest: Guest) => void, guest: Guest = new Guest()): DiskDriver {
  guest.enable();
  guest.revision(2);
  indicators(guest);
  guest.command(0x53, [0, 0, 0, 0, 0, 0, CONFIG >> 8, 0]);
  const driver = new DiskDriver(guest);
  expect(driver.start()).toBe('done');
  guest.interrupts();
  return driver;
}

/** Another configuration: the disk has lost a sector. */
function resize({ ccw: { device } }: Guest): void {
  if (!(device.model instanceof BlkDevice)) throw new Error('no disk');
  device.model.resize(device.model.capacity - 1);
}

const adapter = (bit: number) => (guest: Guest) => expect(endOf(guest.adapterIndicators(bit))).toBe('done');
const classic = (guest: Guest) =>
  expect(endOf(guest.command(0x43, [0, 0, 0, 0, 0, 0, AT.classic >> 8, 0]))).toBe('done');

describe('adapter interrupts', () => {
  test.each([0, 1, 7, 8, 13, 100])('the bit %i from the left', (bit) => {
    const driver = driving(adapter(bit));
    const { guest } = driver;
    driver.put();
    expect(driver.kick()).toBe(0);
    expect(driver.done()).toBe(1);
    expect(guest.ram[AT.classic + (bit >> 3)]).toBe(0x80 >> (bit & 7));
    expect(guest.ram[SUMMARY]).toBe(1);
    expect(guest.interrupts()).toEqual([{ id: 0, nr: 0, parm: 0, word: 0x90000000 }]);
    // not the subchannel's
    expect(guest.tsch()).toMatchObject({ cc: 1 });
  });

  test('come once until the driver has cleared the summary', () => {
    const driver = driving(adapter(0));
    const { guest } = driver;
    const work = (): number => {
      driver.put();
      driver.kick();
      expect(driver.done()).toBe(1);
      return guest.interrupts().length;
    };
    expect([work(), work(), work()]).toEqual([1, 0, 0]);
    guest.ram[AT.classic] = 0;
    expect(work()).toBe(0);
    expect(guest.ram[AT.classic]).toBe(0x80);
    guest.ram[SUMMARY] = 0;
    expect(work()).toBe(1);
    // whatever the driver has in that byte
    guest.ram[SUMMARY] = 0x40;
    expect(work()).toBe(0);
    expect(guest.ram[SUMMARY]).toBe(0x41);
  });

  test('mark the bytes that they change', () => {
    const driver = driving(adapter(0));
    const { guest } = driver;
    guest.memory.startDirtyLog();
    guest.memory.takeDirty(() => {});
    guest.ccw.notify(0);
    const pages: number[] = [];
    guest.memory.takeDirty((gpa) => pages.push(gpa));
    expect(pages).toEqual([0x5000]);
  });

  test('leave bits of others alone', () => {
    const driver = driving(adapter(3));
    driver.guest.ram[AT.classic] = 0x8f;
    driver.guest.ccw.notify(0);
    expect(driver.guest.ram[AT.classic]).toBe(0x9f);
  });

  test('need memory where the driver says that it is', () => {
    const guest = new Guest().enable();
    guest.revision(2);
    const block = new Uint8Array(25);
    const view = new DataView(block.buffer);
    view.setBigUint64(0, 0xffff_ffff_ffff_fff0n);
    view.setBigUint64(8, 0x7000_0000n);
    guest.command(0x73, block);
    new DiskDriver(guest).start();
    guest.interrupts();
    guest.ccw.notify(0);
    expect(guest.interrupts()).toEqual([]);
    expect(guest.events.map(({ name }) => name)).toEqual(['indicator']);
  });
});

describe('classic interrupts', () => {
  test('set a bit from the right, and make status pending once', () => {
    const driver = driving(classic);
    const { guest } = driver;
    driver.put();
    driver.kick();
    expect(guest.ram[AT.classic + 7]).toBe(1);
    guest.ccw.notify(0);
    expect(guest.interrupts()).toEqual([{ id: 1, nr: 0, parm: 0x1234, word: 0x18000000 }]);
    expect(guest.tsch()).toMatchObject({ cc: 0, stctl: 0x11, dstat: 0x0c });
    guest.ccw.notify(0);
    expect(guest.interrupts()).toHaveLength(1);
  });

  test.each([0, 1, 7, 8, 31, 32, 63])('queue %i', (queue) => {
    const guest = new Guest(
      {},
      new BlkDevice({ backend: memoryDisk(1 << 20), queues: 64 }) as never,
    ).enable();
    guest.revision(2);
    classic(guest);
    const driver = new DiskDriver(guest, queue);
    driver.start();
    driver.put();
    expect(driver.kick()).toBe(0);
    expect(driver.done()).toBe(1);
    expect(guest.view.getBigUint64(AT.classic)).toBe(1n << BigInt(queue));
  });

  test('not from a subchannel that is disabled', () => {
    const driver = driving(classic);
    const { guest } = driver;
    guest.msch(0x1800);
    guest.ccw.notify(0);
    expect(guest.ram[AT.classic + 7]).toBe(1);
    expect(guest.interrupts()).toEqual([]);
  });
});

describe('configuration changes', () => {
  test.each([
    ['classic', classic],
    ['adapter', adapter(0)],
  ])('are announced through the subchannel, with %s queue indicators', (_, indicators) => {
    const { guest } = driving(indicators);
    resize(guest);
    expect(guest.ram[CONFIG + 7]).toBe(1);
    expect(guest.interrupts()).toEqual([{ id: 1, nr: 0, parm: 0x1234, word: 0x18000000 }]);
  });

  test('not before DRIVER_OK, nor without an indicator', () => {
    const guest = new Guest().enable();
    guest.revision(2);
    guest.command(0x53, [0, 0, 0, 0, 0, 0, CONFIG >> 8, 0]);
    resize(guest);
    expect(guest.ram[CONFIG + 7]).toBe(0);
    const other = new Guest().enable();
    other.revision(2);
    new DiskDriver(other).start();
    other.interrupts();
    resize(other);
    expect(other.interrupts()).toEqual([]);
  });
});

describe('nothing is announced', () => {
  test.each([
    ['classic', classic],
    ['adapter', adapter(0)],
  ])('after a reset (%s)', (_, indicators) => {
    const driver = driving(indicators);
    const { guest } = driver;
    expect(endOf(guest.command(0x33, []))).toBe('done');
    driver.put();
    expect(driver.kick()).toBe(0);
    guest.ccw.notify(0);
    guest.ccw.notify(-1);
    expect(guest.interrupts()).toEqual([]);
    expect(driver.done()).toBe(0);
    expect([guest.ram[AT.classic], guest.ram[AT.classic + 7], guest.ram[SUMMARY]]).toEqual([0, 0, 0]);
  });

  test('where the driver has set no indicators', () => {
    const guest = new Guest().enable();
    guest.revision(2);
    const driver = new DiskDriver(guest);
    driver.start();
    guest.interrupts();
    driver.put();
    driver.kick();
    expect(driver.done()).toBe(1);
    expect(guest.interrupts()).toEqual([]);
  });
});

describe('bits are set in one step where the memory can', () => {
  test('through orU8', () => {
    const set: [number, number][] = [];
    class SharedMemory extends MappedMemory {
      override orU8(gpa: Gpa, bits: number): number {
        set.push([gpa, bits]);
        return super.orU8(gpa, bits);
      }
    }
    const ram = new Uint8Array(RAM_BYTES);
    const memory = new SharedMemory([{ gpa: 0, bytes: ram }]);
    const isc: number[] = [];
    const host = { ioInterrupt: (_: IoInterrupt) => {}, adapterInterrupt: (n: number) => isc.push(n) };
    const device = new CcwDevice(disk(), { memory, host, devno: 1 });
    device.indicators.setAdapter({ summary: 0x10n, indicators: 0x20n, bit: 1n, isc: 6 });
    device.indicators.vectors[0] = 0;
    device.notify(0);
    expect(set).toEqual([
      [0x20, 0x40],
      [0x10, 1],
    ]);
    expect(isc).toEqual([6]);
  });
});

describe('TEST PENDING INTERRUPTION', () => {
  const pending = (): Guest => {
    const guest = new Guest();
    guest.css.ioInterrupt({ id: 1, nr: 5, intparm: 0xaabbccdd, isc: 3 });
    guest.css.ioInterrupt({ id: 3, nr: 6, intparm: 0x11223344, isc: 3 });
    guest.css.adapterInterrupt(1);
    return guest;
  };

  test('takes the lowest subclass first, and in it the last that came', () => {
    const guest = pending();
    expect(guest.css.tpi(AT.operand, ALL_SUBCLASSES)).toBe(1);
    expect([...guest.read(AT.operand, 8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(guest.css.tpi(AT.operand, ALL_SUBCLASSES)).toBe(1);
    expect([...guest.read(AT.operand, 12)]).toEqual([0, 3, 0, 6, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0]);
    expect(guest.css.tpi(0, ALL_SUBCLASSES)).toBe(1);
    expect([...guest.read(0xb8, 12)]).toEqual([0, 1, 0, 5, 0xaa, 0xbb, 0xcc, 0xdd, 0x18, 0, 0, 0]);
    expect(guest.css.tpi(0, ALL_SUBCLASSES)).toBe(0);
  });

  test('looks only at subclasses that control register 6 enables', () => {
    const guest = pending();
    expect(guest.css.tpi(0, 0x80000000)).toBe(0);
    expect(guest.css.interruptPending(0x80000000)).toBe(false);
    expect(guest.css.tpi(0, 0x10000000)).toBe(1);
    expect(guest.css.interruptPending(0x10000000)).toBe(true);
    expect(guest.css.tpi(0, 0x40000000)).toBe(1);
    expect(guest.view.getUint32(0xc0)).toBe(0x88000000);
    expect(guest.css.tpi(0, 0x40000000)).toBe(0);
  });

  test('keeps what cannot be stored', () => {
    const guest = pending();
    expect(guest.css.tpi(RAM_BYTES, ALL_SUBCLASSES)).toBe('addressing');
    expect(guest.css.tpi(2, ALL_SUBCLASSES)).toBe('specification');
    expect(guest.interrupts()).toHaveLength(3);
    // nothing pending: the operand is not looked at
    expect(guest.css.tpi(RAM_BYTES, ALL_SUBCLASSES)).toBe(0);
  });

  test('stores into the low core of its CPU; an interruption is the same', () => {
    const guest = pending();
    expect(guest.css.tpi(0, ALL_SUBCLASSES, 0x8000)).toBe(1);
    expect(guest.view.getUint32(0x80c0)).toBe(0x88000000);
    expect(guest.css.deliverInterrupt(ALL_SUBCLASSES, 0x8000)).toBe(true);
    expect(guest.view.getUint16(0x80ba)).toBe(6);
    expect(guest.css.deliverInterrupt(0x80000000)).toBe(false);
  });

  test('the machine is told', () => {
    let told = 0;
    const guest = new Guest({}, disk(), { onInterrupt: () => told++ }).enable();
    guest.command(0x03, [1]);
    guest.css.adapterInterrupt(0);
    expect(told).toBe(2);
  });
});

describe('waiting interrupts', () => {
  test('are saved in the order in which they will come', () => {
    const queue = new InterruptQueue();
    const one = { id: 1, nr: 1, parm: 1, word: 0x18000000 };
    const two = { id: 1, nr: 2, parm: 2, word: 0x18000000 };
    queue.add(one);
    queue.add(two);
    const saved = queue.capture();
    expect(saved[3]).toEqual([two, one]);
    const other = new InterruptQueue();
    other.add({ id: 9, nr: 9, parm: 9, word: 0 });
    other.restore(saved);
    expect([other.take(ALL_SUBCLASSES), other.take(ALL_SUBCLASSES), other.take(ALL_SUBCLASSES)]).toEqual([
      two,
      one,
      undefined,
    ]);
  });

  test('are not more than a thousand, however long a guest lets them wait', () => {
    const guest = new Guest().enable();
    guest.program([{ code: 0x03, count: 1 }]);
    for (let i = 0; i < 3000; i++) {
      guest.start();
      guest.tsch();
    }
    expect(guest.interrupts()).toHaveLength(1024);
  });
});

describe('DIAGNOSE 0x500', () => {
  const EINVAL = -22;

  test.each<[string, number, number, number | string]>([
    ['a queue', FIRST, 0, 0],
    ['the upper word of register 2 does not count', FIRST - 2 ** 32, 0, 0],
    ['a queue that is not there', FIRST, 1, EINVAL],
    ['a queue that cannot be', FIRST, 1024, EINVAL],
    ['a queue below none', FIRST, -1, EINVAL],
    ['no subchannel', 0x10001, 0, EINVAL],
    ['no subchannel id', 0, 0, EINVAL],
    ['a set that is not enabled', 0x30000, 0, EINVAL],
  ])('%s', (_, register2, register3, answer) => {
    const guest = new Guest().enable();
    expect(guest.css.diagnose500(3, register2, register3)).toBe(answer);
  });

  test('other subcodes', () => {
    const { css } = new Guest();
    expect(css.diagnose500(0, 0x1000, 0)).toBe(0);
    expect(css.diagnose500(0, 0x7000_0000, 0)).toBe(EINVAL);
    for (const subcode of [1, 2, 4, 5, -1, 2 ** 40])
      expect(css.diagnose500(subcode, 0, 0)).toBe('specification');
  });

  test('a disabled subchannel is notified all the same', () => {
    const driver = driving(classic);
    driver.guest.msch(0x1800);
    driver.put();
    expect(driver.kick()).toBe(0);
    expect(driver.done()).toBe(1);
  });

  test('with NOTIFICATION_DATA, the upper half says where the ring is', () => {
    const guest = new Guest({ rings: { notificationData: true } }).enable();
    const { device } = guest.ccw;
    const kicks = (): number | undefined => device.queue(0)?.kicks;
    guest.css.diagnose500(3, FIRST, 0x0007_0000);
    guest.revision(2);
    guest.command(0x11, [0x40, 0, 0, 0, 1]);
    expect(device.has(FEATURE.NOTIFICATION_DATA)).toBe(true);
    guest.css.diagnose500(3, FIRST, 0xffff_0000);
    expect(kicks()).toBe(2);
  });
});

describe('two devices in one subsystem', () => {
  test('share the summary and have their own bits', () => {
    const driver = driving(adapter(0));
    const { guest } = driver;
    const { css, memory } = guest;
    const second = new CcwDevice(disk(), { memory, host: css, devno: 2 });
    css.attach(second);
    second.indicators.setAdapter({
      summary: BigInt(SUMMARY),
      indicators: BigInt(AT.classic),
      bit: 9n,
      isc: 2,
    });
    second.indicators.vectors[0] = 0;
    guest.ccw.notify(0);
    second.notify(0);
    expect([guest.ram[AT.classic], guest.ram[AT.classic + 1], guest.ram[SUMMARY]]).toEqual([0x80, 0x40, 1]);
    expect(guest.interrupts()).toHaveLength(1);
    // QEMU's shared description of the area has the length of the first
    expect(second.captureConfig().indicators).toEqual({ len: 1, addr: BigInt(AT.classic) });
  });

  test('a subsystem without devices has nothing to say', () => {
    const css = new ChannelSubsystem({ memory: new MappedMemory([]) });
    expect(css.csch(FIRST)).toBe(3);
    expect(css.diagnose500(3, FIRST, 0)).toBe(-22);
    expect(css.indicatorLength(1n)).toBeUndefined();
  });
});
