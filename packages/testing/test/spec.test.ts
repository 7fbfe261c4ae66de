// Requirements of the specification that QEMU's devices do not meet, and ours do.
import { expect, test } from 'vitest';
import { TRANSPORTS } from './benches.ts';
import { cardRig, diskRig, frame } from './rigs.ts';

const QUEUE_SEL = 0x30;
const QUEUE_READY = 0x44;
const QUEUE_NOTIFY = 0x50;

test('Virtio 1.3 §4.2.2.1: with QueueReady 0 the ring is not looked at, and a new one begins at its beginning', () => {
  const { rig, driver } = diskRig(TRANSPORTS.mmioModern);
  rig.work.start();
  driver.read(0, 1);
  driver.service();
  const { host } = rig.machine;
  host.mmioWrite(QUEUE_SEL, 4, 0);
  host.mmioWrite(QUEUE_READY, 4, 0);
  expect(host.mmioRead(QUEUE_READY, 4)).toBe(0);
  const { virtio } = driver;
  virtio.add(0, [{ address: 0x1000, length: 16, writable: false }], undefined);
  virtio.ring(0).publish();
  const before = virtio.ram.bytes.slice();
  host.mmioWrite(QUEUE_NOTIFY, 4, 0);
  rig.move();
  expect(virtio.ram.bytes).toEqual(before);
  virtio.addQueue(0);
  const write = driver.write(0, new Uint8Array(512).fill(3));
  driver.service();
  expect(write.status).toBe(0);
  expect(rig.faults()).toEqual([]);
});

test.each([TRANSPORTS.pciModern, TRANSPORTS.mmioModern])(
  'Virtio 1.3 §2.5, $name: a change is seen in the generation also before DRIVER_OK',
  (bench) => {
    const { rig, devices, driver } = cardRig(bench as typeof TRANSPORTS.pciModern);
    driver.probe();
    driver.virtio.negotiate();
    const before = rig.transport.generation();
    devices[0]?.setLink(false);
    expect(rig.transport.generation()).not.toBe(before);
    expect(rig.transport.interrupts()).toEqual({ config: false, queues: [] });
  },
);

test('Virtio 1.3 §5.1.6.4.1: no segmentation without NEEDS_CSUM, and no RSC_INFO', () => {
  const everything = { csum: true, tso: true, ufo: true };
  const { rig, devices, driver } = cardRig(
    TRANSPORTS.pciModern,
    { offloads: everything, driver: { rxBytes: 2048 } },
    { features: (1n << 1n) | (1n << 7n) | (1n << 15n) },
  );
  rig.work.start();
  const port = devices[0];
  const meta = { hdrLen: 54, gsoSize: 500, csumStart: 34, csumOffset: 16 };
  const give = (flags: number, gsoType: number, gsoSize = 500): number => {
    const count = driver.received.length;
    expect(port?.receive(frame(1200), { ...meta, flags, gsoType, gsoSize })).toBe(true);
    driver.service();
    return driver.received.length - count;
  };
  expect(give(1, 1)).toBe(1);
  expect(give(0, 1)).toBe(0);
  expect(give(1, 1, 0)).toBe(0);
  expect(give(1 | 4, 0)).toBe(1);
  expect(driver.received.at(-1)?.header.flags).toBe(1);
});
