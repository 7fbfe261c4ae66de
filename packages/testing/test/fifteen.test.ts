import { negotiated, type TransportParts, type VirtioState } from '@virtkit/core';
import { BlkDevice, type BlkState, blk } from '@virtkit/device-blk';
import type { NetState } from '@virtkit/device-net';
import type { PciParts } from '@virtkit/transport-pci';
import { describe, expect, test } from 'vitest';
import { netFeatures } from '../src/driver/net.ts';
import { CTRL } from '../src/driver/net-ctrl.ts';
import type { PciBus } from '../src/host/pci-bus.ts';
import type { DeviceBench, TransportBench } from '../src/suite/bench.ts';
import { type BlkWork, blkBench } from '../src/suite/blk-bench.ts';
import { pass } from '../src/suite/interrupts.ts';
import type { NetWork } from '../src/suite/net-bench.ts';
import { Rig, type RigOptions } from '../src/suite/rig.ts';
import { RING_MODES, type RingMode } from '../src/suite/rings.ts';
import { card, disk, map, pciBench, SLOT, TRANSPORTS } from './benches.ts';

// Fifteen ways in which devices that move have lost something, each a class of defects that emulators had.

const [SPLIT] = RING_MODES as [RingMode, ...RingMode[]];
type AnyBench = TransportBench<unknown, TransportParts>;
const EVERYWHERE = Object.values(TRANSPORTS) as AnyBench[];

/** A running guest. */
function running<H, T extends TransportParts, D>(
  bench: TransportBench<H, T>,
  device: DeviceBench<D>,
  options: Partial<RigOptions> = {},
): Rig<H, T, D> {
  const rig = new Rig(bench, device, { rings: SPLIT, map, ...options });
  rig.work.start();
  return rig;
}

/** The state in the middle of a move. */
function moved<H, T extends TransportParts, D>(rig: Rig<H, T, D>): VirtioState<T, D> {
  let seen: VirtioState<T, D> | undefined;
  rig.move((state) => {
    seen = state;
    return state;
  });
  if (seen === undefined) throw new Error('the device was not moved');
  return seen;
}

const blkDriver = (rig: { readonly work: unknown }) => (rig.work as BlkWork).driver;
const netDriver = (rig: { readonly work: unknown }) => (rig.work as NetWork<NetState>).driver;

describe('1: a kick queued before the save is processed after the load', () => {
  test.each(EVERYWHERE.map((bench) => [bench.name, bench] as const))('%s', async (_name, bench) => {
    const rig = running(bench, disk('sync'));
    rig.machine.device.pause();
    rig.work.step(0);
    rig.work.step(1);
    expect(rig.work.pending).toBeGreaterThan(0);
    rig.move();
    await rig.settle();
    expect(rig.faults()).toEqual([]);
  });
});

describe('2: an interrupt pending at the save is delivered after the load', () => {
  test.each(EVERYWHERE.map((bench) => [bench.name, bench] as const))('%s', async (_name, bench) => {
    const rig = running(bench, disk('sync'));
    rig.work.step(0);
    await pass(rig);
    // nothing new happens: what was signalled is all that the guest gets
    rig.move();
    await rig.settle();
  });

  test('to the right vector, with sparse queues and vectors', async () => {
    const sparse = pciBench(
      'sparse vectors',
      'modern',
      { vectors: (queue) => (queue < 0 ? 6 : 2 * queue + 1) },
      { vectors: 8 },
    );
    const rig = running(sparse, disk('async', 3));
    for (let index = 0; index < 9; index++) rig.work.step(index);
    await pass(rig);
    const state = moved(rig);
    expect(state.queues.map(({ transport }) => transport.vector)).toEqual([1, 3, 5]);
    expect(state.transport.configVector).toBe(6);
    await rig.settle();
  });

  test('MSI-X: a masked vector keeps its pending bit, and sends when it is unmasked', async () => {
    const rig = running(TRANSPORTS.pciModern, disk('sync'));
    const host = (): PciBus => rig.machine.host;
    const table = (host().configRead(SLOT, 0x14, 4) & ~0xf) >>> 0;
    for (const vector of [0, 1]) host().memoryWrite(table + 16 * vector + 12, 4, 1);
    rig.work.step(0);
    await pass(rig);
    const state = moved(rig) as VirtioState<PciParts, BlkState>;
    expect(state.transport.msixPba.some((byte) => byte !== 0)).toBe(true);
    expect(host().messages).toEqual([]);
    for (const vector of [0, 1]) host().memoryWrite(table + 16 * vector + 12, 4, 0);
    expect(host().messages).not.toEqual([]);
    await rig.settle();
  });

  test('INTx: the level is asserted again', async () => {
    const rig = running(TRANSPORTS.pciModernIntx, disk('sync'));
    rig.work.step(0);
    await pass(rig);
    expect(rig.machine.host.intx(SLOT)).toBe(true);
    rig.move();
    expect(rig.machine.host.intx(SLOT)).toBe(true);
    await rig.settle();
    expect(rig.machine.host.intx(SLOT)).toBe(false);
  });
});

describe('3: ring indices are restored', () => {
  test.each(RING_MODES.map((rings) => [rings.name, rings] as const))('%s', async (_name, rings) => {
    const rig = running(TRANSPORTS.pciModern, disk('async'), { rings });
    await rig.run(0, 21);
    const indices = () => {
      const { queues, subsections } = rig.machine.device.capture();
      return [queues.map(({ lastAvailIdx }) => lastAvailIdx), subsections.packedVirtqueues];
    };
    const before = indices();
    expect(before).not.toEqual([[0, 0], []]);
    rig.move();
    expect(indices()).toEqual(before);
    await rig.run(21, 300);
    expect(rig.faults()).toEqual([]);
  });
});

describe('4: the header has its length after a load, with and without MRG_RXBUF', () => {
  const WITHOUT = netFeatures('MAC', 'STATUS', 'CTRL_VQ');
  test.each([
    ['with', TRANSPORTS.pciModern, undefined],
    ['without', TRANSPORTS.pciModern, WITHOUT],
    ['legacy, with', TRANSPORTS.pciLegacy, undefined],
    ['legacy, without', TRANSPORTS.pciLegacy, WITHOUT],
  ] as const)('%s', async (_name, bench, features) => {
    const rig = running(bench as AnyBench, card('sync'), features === undefined ? {} : { features });
    rig.move();
    // the frames that come are compared with those that were sent
    await rig.run(0, 40);
    expect(rig.faults()).toEqual([]);
  });
});

describe('5: the legacy configuration space is where it was, at 20 or at 24', () => {
  test.each([
    ['with MSI-X on', TRANSPORTS.pciLegacy],
    ['without', TRANSPORTS.pciLegacyIntx],
  ] as const)('%s', (_name, bench) => {
    const rig = running(bench, disk('sync'));
    const driver = blkDriver(rig);
    const before = [driver.u32(0), driver.u32(12), driver.u32(20)];
    expect(before[2]).toBe(512);
    rig.move();
    expect([driver.u32(0), driver.u32(12), driver.u32(20)]).toEqual(before);
  });
});

describe('6: multi-queue stays multi-queue', () => {
  test('disk', async () => {
    const rig = running(TRANSPORTS.pciModern, disk('async', 4));
    await rig.run(0, 12);
    expect(moved(rig).queues.map(({ desc }) => desc !== 0n)).toEqual([true, true, true, true]);
    await rig.run(12, 24);
  });

  test('card', async () => {
    const rig = running(TRANSPORTS.ccw, card('sync', 3));
    await rig.run(0, 12);
    const state = moved(rig);
    expect(state.queues).toHaveLength(7);
    expect(state.device).toMatchObject({ maxQueuePairs: 3, currQueuePairs: netDriver(rig).pairs });
    await rig.run(12, 24);
  });
});

test('7: a ring that is smaller than the largest stays that small', async () => {
  const small = { ...SPLIT, wishes: { size: 16 } };
  const rig = running(TRANSPORTS.pciModern, disk('async'), { rings: small });
  await rig.run(0, 20);
  const state = moved(rig);
  expect(state.queues[0]?.num).toBe(16);
  expect(state.subsections.ringsize?.[0]).toBe(256);
  await rig.run(20, 40);
  // and a reset goes back to the size that it was made with
  rig.transport.reset();
  expect(rig.transport.queueSize(0)).toBe(256);
});

test('8: what the control queue was told: modes, addresses, VLANs, pairs', async () => {
  const rig = running(TRANSPORTS.pciModern, card('sync', 2));
  const driver = netDriver(rig);
  const table = Uint8Array.from([1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1]);
  const commands = [
    driver.ctrl(CTRL.rx, CTRL.rxPromisc, Uint8Array.of(0)),
    driver.ctrl(CTRL.rx, CTRL.rxAllMulti, Uint8Array.of(1)),
    driver.ctrl(CTRL.rx, CTRL.rxNoBcast, Uint8Array.of(1)),
    driver.ctrl(CTRL.mac, CTRL.macTableSet, table),
    driver.ctrl(CTRL.vlan, CTRL.vlanAdd, Uint8Array.of(5, 0)),
    driver.ctrl(CTRL.mq, CTRL.mqPairsSet, Uint8Array.of(1, 0)),
  ];
  await pass(rig);
  rig.work.service();
  expect(commands.map(({ ack }) => ack)).toEqual([0, 0, 0, 0, 0, 0]);
  for (let twice = 0; twice < 2; twice++) {
    const { device } = moved(rig);
    expect(device).toMatchObject({
      promisc: 0,
      allmulti: 1,
      nobcast: 1,
      macTableInUse: 2,
      currQueuePairs: 1,
    });
    expect(device.macTable.map((address) => address[0])).toEqual([2, 0x33]);
    expect(device.vlans[0]).toBe(0x20);
    expect(device.vlans.every((byte, at) => at === 0 || byte === 0)).toBe(true);
  }
});

describe('9: a device that no guest has touched', () => {
  test.each(EVERYWHERE.map((bench) => [bench.name, bench] as const))('%s', async (_name, bench) => {
    const rig = new Rig(bench, disk('sync'), { rings: SPLIT, map });
    rig.move();
    rig.work.start();
    await rig.run(0, 8);
    expect(rig.faults()).toEqual([]);
  });
});

test('10: fewer queues activated than offered', async () => {
  const four: DeviceBench<BlkState> = blkBench({
    layer: blk,
    make: (backend) => new BlkDevice({ backend, queues: 4 }),
    timing: 'async',
    queues: 2,
  });
  const rig = running(TRANSPORTS.pciModern, four);
  await rig.run(0, 12);
  for (let index = 12; index < 20; index++) rig.work.step(index);
  expect(moved(rig).queues.map(({ desc }) => desc !== 0n)).toEqual([true, true, false, false]);
  await rig.settle();
});

describe('11: features survive a second move', () => {
  test.each(EVERYWHERE.map((bench) => [bench.name, bench] as const))('%s', async (_name, bench) => {
    const rig = running(bench, card('sync'));
    const { features } = rig.work.virtio;
    for (let twice = 0; twice < 2; twice++) {
      rig.move();
      expect(negotiated(rig.machine.device.capture())).toBe(features);
    }
    await rig.run(0, 12);
  });
});

describe('12: saved before the driver begins, and while firmware has the device', () => {
  test.each(EVERYWHERE.map((bench) => [bench.name, bench] as const))('%s', async (_name, bench) => {
    const rig = new Rig(bench, disk('async'), { rings: SPLIT, map, moveEvery: 3 });
    // firmware: finds the device, reads a little, and leaves it as it is
    rig.work.start();
    await rig.run(0, 3);
    rig.move();
    // the operating system resets it and begins anew
    rig.work.start();
    await rig.run(3, 12);
    expect(rig.moves).toBeGreaterThan(3);
    expect(rig.faults()).toEqual([]);
  });
});

test('13: ring addresses in two places are the same in both', async () => {
  const rig = running(TRANSPORTS.pciModern, disk('async'));
  await rig.run(0, 8);
  for (let twice = 0; twice < 2; twice++) {
    const state = moved(rig) as VirtioState<PciParts, BlkState>;
    const [queue] = state.queues;
    const [registers] = state.subsections.extraState?.modernState?.vqs ?? [];
    const [addresses] = state.subsections.virtqueues ?? [];
    expect(queue?.desc).not.toBe(0n);
    expect(registers).toMatchObject({ enabled: true, desc: queue?.desc, ...addresses });
  }
  await rig.run(8, 8);
});

test('14: the address that the guest gave its card', async () => {
  const rig = running(TRANSPORTS.pciModern, card('sync'));
  const mac = Uint8Array.of(2, 1, 2, 3, 4, 5);
  const request = netDriver(rig).ctrl(CTRL.mac, CTRL.macAddrSet, mac);
  await pass(rig);
  rig.work.service();
  expect(request.ack).toBe(0);
  rig.move();
  expect(moved(rig).device.mac).toEqual(mac);
  expect(rig.transport.config(0, 6)).toEqual(mac);
});

test('15: the cache mode of the disk', () => {
  const rig = running(TRANSPORTS.pciModern, disk('sync'));
  const driver = blkDriver(rig);
  expect(driver.writeCache).toBe(true);
  driver.setWriteCache(false);
  rig.move();
  expect(driver.writeCache).toBe(false);
  rig.move();
  expect(driver.writeCache).toBe(false);
});
