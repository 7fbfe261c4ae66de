// What the hostile guest found: each by itself.
import { describe, expect, test } from 'vitest';
import type { BlkDriver } from '../src/driver/blk.ts';
import { TRANSPORTS } from './benches.ts';
import { diskRig, PACKED, SPLIT } from './rigs.ts';

/** Lets the disk answer what it has. */
async function finish(world: { held: boolean; tick(): void }): Promise<void> {
  world.held = false;
  for (let i = 0; i < 100; i++) {
    world.tick();
    await Promise.resolve();
  }
}

/** The driver's last request once more, with the same descriptors, while the device has it. */
function again({ virtio }: BlkDriver, packed: boolean): void {
  const { ram } = virtio;
  const { desc, driver, size } = virtio.ring(0).addresses;
  if (packed) {
    const slots = virtio.ring(0).outstanding * 3;
    ram.bytes.copyWithin(desc + 16 * slots, desc, desc + 16 * slots);
  } else {
    const index = ram.u16(driver + 2, true);
    const head = ram.u16(driver + 4 + 2 * ((index - 1) % size), true);
    ram.setU16(driver + 4 + 2 * (index % size), head, true);
    ram.setU16(driver + 2, index + 1, true);
  }
  virtio.notify(0);
}

describe.each([SPLIT, PACKED])('$name', (rings) => {
  test('a descriptor that is made available while the device has it goes nowhere until the device is done with it', async () => {
    const { rig, driver, world } = diskRig(TRANSPORTS.pciModern, { timing: 'async' }, { rings });
    rig.work.start();
    world.held = true;
    driver.write(0, new Uint8Array(512).fill(7));
    again(driver, rings === PACKED);
    expect(rig.machine.device.capture().device.requests).toHaveLength(2);
    const found = rig.machine.device.check(rig.machine.device.capture());
    // both the list of requests and the ring have it twice: the second would be given back out of nothing
    expect(found.map(({ code, severity }) => [code, severity])).toEqual([
      ['request-twice', 'warning'],
      ['request-twice', 'error'],
    ]);
    await finish(world);
    expect(rig.machine.device.capture().device.requests).toHaveLength(0);
    expect(world.disk[0]).toBe(7);
    rig.move();
    expect(rig.faults()).toEqual([]);
  });
});

test('any alignment of a legacy MMIO ring can be moved, as in QEMU', async () => {
  const { rig, driver } = diskRig(TRANSPORTS.mmioLegacy);
  rig.transport.probe();
  for (const align of [3000, 1, 0xffff_ffff]) {
    rig.machine.host.mmioWrite(0x3c, 4, align);
    rig.move();
    expect(rig.machine.device.capture().queues[0]?.align).toBe(align);
  }
  rig.work.start();
  const write = driver.write(0, new Uint8Array(512).fill(9));
  driver.service();
  expect(write.status).toBe(0);
});

test('more slots of a packed ring in use than it has, by a chain over some that the device has: is moved when the device is done', async () => {
  const { rig, driver, world } = diskRig(TRANSPORTS.pciModern, { timing: 'async' }, { rings: PACKED });
  rig.work.start();
  world.held = true;
  // three slots each
  for (let i = 0; i < 85; i++) driver.write(i % 8, new Uint8Array(512));
  const { ram } = driver.virtio;
  const { desc, size } = driver.virtio.ring(0).addresses;
  for (let i = 0; i < 3; i++) {
    const slot = (255 + i) % size;
    const from = ram.read(desc + 16 * i, 16);
    ram.write(desc + 16 * slot, from);
    const flags = (i < 2 ? 1 : 2) | (slot === 255 ? 0x80 : 0x8000);
    ram.setU16(desc + 16 * slot + 14, flags, true);
  }
  driver.virtio.notify(0);
  const inUse = (): unknown => rig.machine.device.capture().subsections.packedVirtqueues?.[0]?.inuse;
  expect([size, inUse()]).toEqual([256, 258]);
  const found = rig.machine.device.check(rig.machine.device.capture());
  expect(found.filter(({ severity }) => severity === 'error').map(({ code }) => code)).toEqual([
    'request-twice',
  ]);
  await finish(world);
  expect(rig.machine.device.capture().device.requests).toHaveLength(0);
  rig.move();
  expect(inUse()).toBe(0);
});
