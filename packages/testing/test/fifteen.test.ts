/**
 * The fifteen ways in which saved virtio devices have come back wrong, in QEMU and elsewhere: each has a test that would
 * have found it.
 */
import { describe, expect, test, vi } from 'vitest';
import { netFeatures } from '../src/driver/net.ts';
import { CTRL } from '../src/driver/net-ctrl.ts';
import { NET_F } from '../src/driver/net-features.ts';
import { bits, NO_VECTOR } from '../src/spec.ts';
import { pass } from '../src/suite/interrupts.ts';
import type { PciLegacyDriver } from '../src/transport/pci-legacy.ts';
import type { PciModernDriver } from '../src/transport/pci-modern.ts';
import { mmioBench, pciBench, SLOT, TRANSPORTS } from './benches.ts';
import { ALL, cardRig, diskRig, frame, modeWith, PACKED, SPLIT } from './rigs.ts';

vi.setConfig({ testTimeout: 60_000 });

const modern = ALL.filter((bench) => bench.modern);

function u16(value: number, littleEndian = true): Uint8Array {
  const bytes = new Uint8Array(2);
  new DataView(bytes.buffer).setUint16(0, value, littleEndian);
  return bytes;
}

function mac(text: string): number[] {
  return text.split(':').map((byte) => Number.parseInt(byte, 16));
}

describe('1: a kick queued before the save is processed after the load', () => {
  test.each(ALL)('$name', async (bench) => {
    for (const rings of bench.modern ? [SPLIT, PACKED] : [SPLIT]) {
      const { rig, work } = diskRig(bench, {}, { rings });
      work.start();
      await rig.run(0, 5);
      // the machine is stopped, and the kick has not been looked at
      rig.machine.device.pause();
      for (let index = 5; index < 9; index++) work.step(index);
      await pass(rig);
      expect(work.pending).toBe(4);
      rig.move();
      await rig.settle();
    }
  });
});

describe('2: an interrupt pending at the save is delivered after the load', () => {
  const sparse = pciBench(
    'sparse vectors',
    'modern',
    { vectors: (queue) => [2, 5, NO_VECTOR, NO_VECTOR, 11][queue + 1] ?? NO_VECTOR },
    { vectors: 14 },
  );

  test.each(['vector', 'function'] as const)('masked by %s, to the right vector', async (by) => {
    const { rig, work, driver } = diskRig(sparse, { queues: 4 });
    work.start();
    const { msix } = rig.transport as PciModernDriver;
    if (msix === undefined) throw new Error('MSI-X expected');
    const mask = (masked: boolean): void => {
      if (by === 'function') msix.maskAll(masked);
      else for (let vector = 0; vector < msix.size; vector++) msix.mask(vector, masked);
    };
    mask(true);
    const request = driver.read(0, 1, 3);
    await pass(rig);
    const host = () => rig.machine.host;
    expect([host().messages, msix.pending(11), msix.pending(5)]).toEqual([[], true, false]);
    rig.move();
    expect([host().messages, msix.pending(11), msix.pending(5)]).toEqual([[], true, false]);
    mask(false);
    expect(host().messages.map(({ data }) => data - (0x4000 + 0x1000 * SLOT))).toEqual([11]);
    expect(msix.pending(11)).toBe(false);
    await rig.settle(() => request.status !== undefined);
    expect(request.status).toBe(0);
  });

  test.each([TRANSPORTS.pciModernIntx, TRANSPORTS.pciLegacyIntx])(
    'the level of INTx: $name',
    async (bench) => {
      const { rig, work, driver } = diskRig(bench);
      work.start();
      const request = driver.read(0, 1);
      await pass(rig);
      expect(rig.machine.host.intx(SLOT)).toBe(true);
      rig.move();
      expect(rig.machine.host.intx(SLOT)).toBe(true);
      await rig.settle(() => request.status !== undefined);
      expect(rig.machine.host.intx(SLOT)).toBe(false);
    },
  );

  test.each([mmioBench(false), mmioBench(true)])('the line of $name', async (bench) => {
    const { rig, work, driver } = diskRig(bench);
    work.start();
    const request = driver.read(0, 1);
    await pass(rig);
    rig.move();
    expect(rig.machine.host.irq).toBe(true);
    await rig.settle(() => request.status !== undefined);
  });

  test.each([TRANSPORTS.ccw, TRANSPORTS.ccwClassic, TRANSPORTS.ccwLegacy])(
    'indicators: $name',
    async (bench) => {
      const { rig, work, driver } = diskRig(bench);
      work.start();
      const request = driver.read(0, 1);
      await pass(rig);
      rig.move();
      await rig.settle(() => request.status !== undefined);
    },
  );

  test.each(ALL)('a configuration change that the driver has not seen: $name', async (bench) => {
    const { rig, work, devices, driver } = diskRig(bench);
    work.start();
    devices[0]?.resize(64);
    rig.move();
    // the new machine's disk is as large as ever, so it changes once more there
    driver.virtio.service();
    expect(driver.configChanges).toBe(1);
  });
});

test.each(ALL)('a card that has come to another place is announced: $name', async (bench) => {
  const { rig, work, driver } = cardRig(bench);
  work.start();
  await rig.run(0, 5);
  expect([driver.status, driver.configChanges]).toEqual([1, 0]);
  rig.move();
  expect(driver.status).toBe(3);
  await rig.settle(() => driver.configChanges === 1);
  await pass(rig);
  driver.service();
  // the driver has answered on the control queue
  expect(driver.status).toBe(1);
  await rig.run(5, 5);
});

describe('3: the positions in the rings come back', () => {
  test.each(ALL)('$name', async (bench) => {
    for (const rings of bench.modern ? [SPLIT, PACKED] : [SPLIT]) {
      const { rig, work } = diskRig(bench, { timing: 'async', queues: 2 }, { rings });
      work.start();
      // around the end of a ring of 256, with requests in flight
      for (let round = 0; round < 9; round++) {
        await rig.run(60 * round, 60, 20);
        for (let i = 0; i < 5; i++) work.step(60 * round + 60 + 1000 + i);
        const before = rig.machine.device.capture();
        rig.move();
        const after = rig.machine.device.capture();
        expect(after.queues.map(({ lastAvailIdx }) => lastAvailIdx)).toEqual(
          before.queues.map(({ lastAvailIdx }) => lastAvailIdx),
        );
        expect(after.subsections.packedVirtqueues?.slice(0, 2)).toEqual(
          before.subsections.packedVirtqueues?.slice(0, 2),
        );
        await rig.settle();
      }
      expect(rig.world.seen()).toEqual(work.shadow);
    }
  });
});

describe('4: the length of the packet header after a load', () => {
  const headers: readonly (readonly [string, number, bigint, number])[] = [
    ['legacy', 10, 0n, 0],
    ['legacy with MRG_RXBUF', 12, netFeatures('MRG_RXBUF'), 0],
    ['modern', 12, 0n, 1],
    ['modern with MRG_RXBUF', 12, netFeatures('MRG_RXBUF'), 1],
    ['modern with HASH_REPORT', 20, netFeatures('HASH_REPORT', 'CTRL_VQ'), 1],
  ];
  test.each(headers)('%s: %d bytes', async (_name, length, features, isModern) => {
    const bench = isModern === 1 ? TRANSPORTS.pciModern : TRANSPORTS.pciLegacy;
    const { rig, work, driver, world } = cardRig(bench, { hashReport: true, offloads: {} }, { features });
    work.start();
    expect(driver.headerBytes).toBe(length);
    rig.move();
    const out = frame(200);
    driver.send(out);
    world.deliver(frame(300));
    await rig.settle(() => driver.received.length === 1 && world.sent.length === 1);
    expect(world.sent[0]?.frame).toEqual(out);
    expect(driver.received[0]?.frame).toEqual(frame(300));
  });
});

describe('5: where the legacy configuration stands', () => {
  test('24 with MSI-X, 20 without, and it moves when MSI-X is switched', () => {
    const { rig, work } = cardRig(TRANSPORTS.pciLegacy);
    work.start();
    const transport = rig.transport as PciLegacyDriver;
    const address = Uint8Array.from(mac('52:54:00:12:34:56'));
    const at = (offset: number): Uint8Array =>
      Uint8Array.from({ length: 6 }, (_, i) => transport.fn.barRead(0, offset + i, 1));
    rig.move();
    expect(at(24)).toEqual(address);
    transport.msix?.disable();
    expect(at(20)).toEqual(address);
    // with MSI-X off, what is still in the ISR byte raises the line after a load
    transport.fn.barRead(0, 19, 1);
    rig.move();
    expect(at(20)).toEqual(address);
    transport.msix?.enable();
    expect(at(24)).toEqual(address);
    rig.move();
    expect(at(24)).toEqual(address);
  });
});

describe('6: multi-queue stays multi-queue', () => {
  test.each(ALL)('disk: $name', async (bench) => {
    const { rig, work } = diskRig(bench, { queues: 4 });
    work.start();
    await rig.run(0, 8);
    rig.move();
    expect(rig.machine.device.capture().queues.filter(({ desc }) => desc !== 0n)).toHaveLength(4);
    await rig.run(8, 40, 16);
  });

  test.each(modern)('card: $name', async (bench) => {
    const { rig, work, devices, driver, world } = cardRig(bench, { queuePairs: 4 });
    work.start();
    await rig.run(0, 20);
    rig.move();
    expect([devices.at(-1)?.queuePairs, driver.pairs]).toEqual([4, 4]);
    world.deliver(frame(), 3);
    const before = driver.received.length;
    await rig.settle(() => driver.received.length > before);
    expect(driver.received.at(-1)?.pair).toBe(3);
    await rig.run(20, 40, 8);
  });
});

describe('7: a ring smaller than the device allows', () => {
  test.each(modern)('$name', async (bench) => {
    const { rig, work, driver } = diskRig(bench, {}, { rings: modeWith({ size: 8 }) });
    work.start();
    await rig.run(0, 30, 6);
    rig.move();
    expect(rig.machine.device.capture().queues[0]?.num).toBe(8);
    await rig.run(30, 30, 6);
    // a reset goes back to the size that the device was made with
    driver.virtio.transport.setStatus(0);
    rig.move();
    if (bench.layer.name !== 'mmio') expect(driver.virtio.transport.queueSize(0)).toBe(256);
    expect(rig.machine.device.capture().queues[0]?.num).toBe(256);
  });
});

describe('8: what the control queue set', () => {
  test.each(modern)('$name', async (bench) => {
    const offloads = { csum: true, tso: true };
    const wanted = netFeatures(
      'CTRL_VQ',
      'CTRL_RX',
      'CTRL_RX_EXTRA',
      'CTRL_VLAN',
      'CTRL_MAC_ADDR',
      'CTRL_GUEST_OFFLOADS',
      'MQ',
      'MAC',
      'STATUS',
      'MRG_RXBUF',
      'GUEST_CSUM',
      'GUEST_TSO4',
      'CSUM',
    );
    const { rig, work, devices, driver, world } = cardRig(
      bench,
      { queuePairs: 3, offloads, driver: { rxBuffers: 4, rxBytes: 2000 } },
      { features: wanted },
    );
    work.start();
    const command = async (type: number, code: number, data: readonly number[]): Promise<void> => {
      const request = driver.ctrl(type, code, Uint8Array.from(data));
      await rig.settle(() => request.ack !== undefined);
      expect(request.ack).toBe(0);
    };
    await command(CTRL.mq, CTRL.mqPairsSet, [2, 0]);
    await command(CTRL.rx, CTRL.rxPromisc, [0]);
    await command(CTRL.mac, CTRL.macAddrSet, mac('02:aa:bb:cc:dd:ee'));
    await command(CTRL.mac, CTRL.macTableSet, [
      1,
      0,
      0,
      0,
      ...mac('02:00:00:00:00:77'),
      1,
      0,
      0,
      0,
      ...mac('01:00:5e:00:00:09'),
    ]);
    await command(CTRL.vlan, CTRL.vlanAdd, [...u16(123)]);
    await command(
      CTRL.offloads,
      CTRL.offloadsSet,
      [...bits(1).toString().padStart(1)].map(Number).concat([0, 0, 0, 0, 0, 0, 0]),
    );
    rig.move();
    rig.move();
    const { device } = rig.machine.device.capture();
    expect(device).toMatchObject({
      mac: Uint8Array.from(mac('02:aa:bb:cc:dd:ee')),
      promisc: 0,
      currQueuePairs: 2,
      currGuestOffloads: 2n,
      macTable: ['02:00:00:00:00:77', '01:00:5e:00:00:09'].map((address) => Uint8Array.from(mac(address))),
    });
    expect(devices.at(-1)?.queuePairs).toBe(2);
    // and the filter does it
    const vlan = (id: number): Uint8Array => {
      const bytes = frame(64);
      bytes.set([0x81, 0, id >> 8, id & 0xff], 12);
      return bytes;
    };
    const passes: readonly (readonly [Uint8Array, boolean])[] = [
      [frame(60, '02aabbccddee'), true],
      [frame(61, '525400123456'), false],
      [frame(62, '020000000077'), true],
      [frame(63, '020000000078'), false],
      [frame(64, '01005e000009'), true],
      [frame(65, '01005e00000a'), false],
      [vlan(123), true],
      [vlan(124), false],
    ];
    for (const [bytes] of passes) world.deliver(bytes);
    const expected = passes.filter(([, passed]) => passed).map(([bytes]) => bytes);
    await rig.settle(() => driver.received.length >= expected.length);
    await pass(rig);
    driver.service();
    expect(driver.received.map((received) => received.frame)).toEqual(expected);
  });
});

describe('9: a device that no guest has touched', () => {
  test.each(ALL)('$name', async (bench) => {
    const disk = diskRig(bench, { queues: 2 });
    disk.rig.move();
    disk.rig.move();
    disk.work.start();
    await disk.rig.run(0, 10);
    const card = cardRig(bench, { queuePairs: 2 });
    card.rig.move();
    card.rig.move();
    card.work.start();
    await card.rig.run(0, 10);
  });
});

describe('10: fewer queues in use than offered', () => {
  test.each(ALL)('$name', async (bench) => {
    const disk = diskRig(bench, { queues: 6, driverQueues: 2 });
    disk.work.start();
    await disk.rig.run(0, 10);
    disk.rig.move();
    const used = disk.rig.machine.device.capture().queues.map(({ desc }) => desc !== 0n);
    expect(used).toEqual([true, true, false, false, false, false]);
    await disk.rig.run(10, 20, 8);
    const card = cardRig(bench, { queuePairs: 3, driver: { pairs: 1 } });
    card.work.start();
    await card.rig.run(0, 10);
    card.rig.move();
    await card.rig.run(10, 20);
  });
});

describe('11: features survive a second move', () => {
  test.each(ALL)('$name', async (bench) => {
    const { rig, work } = cardRig(bench, { queuePairs: 2 }, { rings: bench.modern ? PACKED : SPLIT });
    work.start();
    const { features } = work.driver.virtio;
    for (let move = 0; move < 3; move++) {
      rig.move();
      const { guestFeatures, subsections } = rig.machine.device.capture();
      expect(subsections.features64).toBe(features);
      expect(BigInt(guestFeatures)).toBe(features & 0xffffffffn);
      await rig.run(10 * move, 10);
    }
  });
});

describe('12: before the driver initialises, and in the firmware', () => {
  // SeaBIOS and its like: few features, no MSI-X, one request at a time, and nothing is put back
  const firmwares = ALL.filter(({ name }) =>
    ['pci, modern, INTx', 'pci, legacy, INTx', 'mmio, legacy', 'ccw, revision 0'].includes(name),
  );
  test.each(firmwares)('$name', async (bench) => {
    const { rig, work } = diskRig(bench, {}, { features: 0n, moveEvery: 1 });
    work.start();
    await rig.run(0, 5, 1);
    rig.moving = false;
    work.step(5);
    rig.move();
    // the operating system's driver takes over
    rig.moving = true;
    work.start();
    await rig.run(6, 6, 3);
    expect(rig.faults()).toEqual([]);
  });
});

describe('13: ring addresses that stand in two places', () => {
  test('the registers and the queue say the same after a load, and the device works', async () => {
    const { rig, work } = diskRig(TRANSPORTS.pciModern, { queues: 2 });
    work.start();
    await rig.run(0, 4);
    rig.move();
    const { queues, subsections } = rig.machine.device.capture();
    const registers = subsections.extraState?.modernState?.vqs ?? [];
    for (const index of [0, 1]) {
      const { desc, driver, device } = work.driver.virtio.ring(index).addresses;
      expect(registers[index]).toMatchObject({ enabled: true, desc: BigInt(desc) });
      expect(queues[index]?.desc).toBe(BigInt(desc));
      expect(registers[index]).toMatchObject({ avail: BigInt(driver), used: BigInt(device) });
      expect(subsections.virtqueues?.[index]).toEqual({ avail: BigInt(driver), used: BigInt(device) });
    }
    await rig.run(4, 10, 4);
  });

  test('without the registers (machines up to 2.4) the queue goes on', async () => {
    const { rig, work } = diskRig(TRANSPORTS.pciModern);
    work.start();
    await rig.run(0, 4);
    rig.move((state) => {
      const { extraState, ...subsections } = state.subsections;
      expect(extraState?.modernState).toBeDefined();
      return { ...state, subsections: { ...subsections, extraState: {} } };
    });
    await rig.run(4, 10, 4);
  });
});

describe('14: the MAC address', () => {
  test.each(ALL)('$name', async (bench) => {
    const { rig, work, driver, world } = cardRig(bench);
    work.start();
    const chosen = mac('02:11:22:33:44:55');
    const request = driver.ctrl(CTRL.mac, CTRL.macAddrSet, Uint8Array.from(chosen));
    const promisc = driver.ctrl(CTRL.rx, CTRL.rxPromisc, Uint8Array.of(0));
    await rig.settle(() => request.ack !== undefined && promisc.ack !== undefined);
    rig.move();
    expect([...driver.mac]).toEqual(chosen);
    world.deliver(frame(60, '525400123456'));
    world.deliver(frame(61, '021122334455'));
    await rig.settle(() => driver.received.length === 1);
    expect(driver.received[0]?.frame).toHaveLength(61);
    // a reset brings back the one that the card was made with
    work.start();
    expect([...driver.mac]).toEqual(mac('52:54:00:12:34:56'));
  });

  test('written into the configuration by a legacy driver without the command', async () => {
    const features = netFeatures('MAC');
    const { rig, work, driver } = cardRig(TRANSPORTS.pciLegacy, {}, { features });
    work.start();
    driver.virtio.transport.setConfig(0, Uint8Array.from(mac('02:11:22:33:44:66')));
    rig.move();
    expect([...driver.mac]).toEqual(mac('02:11:22:33:44:66'));
    expect(driver.virtio.has(NET_F.CTRL_MAC_ADDR)).toBe(false);
  });
});

describe('15: the cache mode of the disk', () => {
  test.each(ALL)('chosen by the driver: $name', async (bench) => {
    const { rig, work, driver, devices } = diskRig(bench);
    work.start();
    for (const mode of [false, true, false]) {
      driver.setWriteCache(mode);
      rig.move();
      expect([driver.writeCache, devices.at(-1)?.writeCache]).toEqual([mode, mode]);
    }
    await rig.run(0, 6);
    // back to what the device was made with
    work.start();
    expect(devices.at(-1)?.writeCache).toBe(true);
  });

  test.each([
    ['with FLUSH', bits(9), true],
    ['without', 0n, false],
  ] as const)('decided by the features, %s', (_name, features, expected) => {
    const { rig, work, devices } = diskRig(TRANSPORTS.pciModern, {}, { features });
    work.start();
    expect(devices[0]?.writeCache).toBe(expected);
    rig.move();
    expect(devices[1]?.writeCache).toBe(expected);
  });
});
