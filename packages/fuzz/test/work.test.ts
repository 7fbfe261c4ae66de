/**
 * What transports, rings, devices and peers do for hostile input, counted: calls and turns of loops, not seconds. Eight times the input is
 * about eight times the work, on any machine.
 */

import type { BlkDevice } from '@virtkit/device-blk';
import { countWork, workGrowthOf } from '@virtkit/lab/work.ts';
import { Random } from '@virtkit/testing/suite';
import { beforeAll, describe, expect, test } from 'vitest';

/** Linear work measures 1 and less (what comes once is there in both), quadratic work 2. */
const LINEAR = 1.15;

async function load() {
  const [targets, blk, net, blkMachine, netMachine, switches, reader, v86, frames] = await Promise.all([
    import('../src/targets.ts'),
    import('@virtkit/device-blk'),
    import('@virtkit/device-net'),
    import('../../device-blk/test/machine.ts'),
    import('../../device-net/test/machine.ts'),
    import('@virtkit/device-net/switch'),
    import('../../device-net/src/node/reader.ts'),
    import('../../v86/src/snapshot.ts'),
    import('../../device-net/test/frames.ts'),
  ]);
  return { ...targets, blk, net, blkMachine, netMachine, switches, reader, v86, frames };
}

let parts: Awaited<ReturnType<typeof load>>;
beforeAll(async () => {
  // imports that are counted come behind this
  await countWork();
  parts = await load();
}, 300_000);

/** So many guests that do random things, so that what one of them cannot do any more others do. */
const GUESTS = 12;

describe('a guest that does eight times as much:', () => {
  test.each(['guest-pci', 'guest-mmio', 'guest-ccw', 'ring'])('%s', { timeout: 300_000 }, async (name) => {
    const target = parts.TARGETS.find((each) => each.name === name);
    const random = new Random(7);
    const growth = await workGrowthOf(
      (size) =>
        Array.from({ length: GUESTS }, () => Uint8Array.from({ length: size }, () => random.below(256))),
      async (inputs) => {
        for (const input of inputs) await target?.run(input);
      },
      1000,
    );
    expect(growth).toBeLessThan(LINEAR);
  });

  /** Requests of all kinds, good and bad, one kick for each 16. */
  test.each([{ packed: false }, { packed: true }])('disk, %j', async ({ packed }) => {
    const { BlkDevice: Disk, memoryDisk } = parts.blk;
    const growth = await workGrowthOf(
      (count) => {
        const disk: BlkDevice = new Disk({
          backend: memoryDisk(1 << 20),
          queueSize: 64,
          defer: (run) => run(),
        });
        return { count, machine: new parts.blkMachine.Machine(disk, { rings: { packed } }) };
      },
      ({ count, machine }) => {
        const { heap } = machine;
        for (let n = 0; n < count; n++) {
          machine.submit(
            [0, 1, 4, 8, 99][n % 5] ?? 0,
            (n * 37) % 2100,
            n % 3 === 0 ? 512 : new Uint8Array(512),
          );
          if (n % 16 === 15) {
            machine.kick();
            machine.used();
            machine.heap = heap;
          }
        }
      },
      64,
    );
    expect(growth).toBeLessThan(LINEAR);
  });

  test('disk: a request of more pieces', async () => {
    const { BlkDevice: Disk, memoryDisk } = parts.blk;
    const growth = await workGrowthOf(
      (pieces) => {
        const machine = new parts.blkMachine.Machine(new Disk({ backend: memoryDisk(1 << 20) }), {
          indirect: true,
        });
        const at = machine.alloc(512);
        const data = Array.from({ length: pieces }, () => ({ addr: at, len: 512, write: true }));
        machine.add(0, [{ addr: machine.header(0, 0), len: 16 }, ...data, { addr: at, len: 1, write: true }]);
        return machine;
      },
      (machine) => machine.kick(),
      96,
    );
    expect(growth).toBeLessThan(LINEAR);
  });

  test.each([{ packed: false }, { packed: true }])(
    'card, sent and received in small buffers: %j',
    async ({ packed }) => {
      const growth = await workGrowthOf(
        (count) => ({
          count,
          machine: new parts.netMachine.Machine({ rings: { packed }, net: { rxQueueSize: 256 } }),
        }),
        ({ count, machine }) => {
          const { heap } = machine;
          const bytes = parts.netMachine.frame(1500);
          for (let n = 0; n < count; n++) {
            machine.transmit(bytes);
            machine.offer(Array<number>(16).fill(100), 0, n % 2 === 0);
            machine.card.receive(bytes);
            machine.used(0);
            machine.used(1);
            machine.heap = heap;
          }
        },
        20,
      );
      expect(growth).toBeLessThan(LINEAR);
    },
  );

  test('card: frames that do not fit into its buffers', async () => {
    const growth = await workGrowthOf(
      (count) => {
        const machine = new parts.netMachine.Machine({ net: { rxQueueSize: 1024 } });
        machine.offer(Array<number>(1000).fill(50), 0, true);
        return { count, machine };
      },
      ({ count, machine }) => {
        const bytes = parts.netMachine.frame(60_000);
        for (let n = 0; n < count; n++) machine.card.receive(bytes);
      },
      50,
    );
    expect(growth).toBeLessThan(LINEAR);
  });
});

describe('eight times as much of a peer:', () => {
  test.each(['websocket', 'frames'])('%s', async (name) => {
    const target = parts.TARGETS.find((each) => each.name === name);
    const frame = Uint8Array.of(0, 0, 0, 60, ...Array<number>(60).fill(0xff));
    const growth = await workGrowthOf(
      (size) => Uint8Array.from({ length: size * frame.length }, (_, i) => frame[i % frame.length] ?? 0),
      async (input) => target?.run(input),
      64,
    );
    expect(growth).toBeLessThan(LINEAR);
  });

  test('frames for a switch, from addresses that nobody has', async () => {
    const growth = await workGrowthOf(
      (count) => {
        const lan = new parts.switches.NetSwitch();
        const taken = { receive: () => true, canReceive: () => true, txReady: () => {} };
        const ports = Array.from({ length: 8 }, () => lan.port());
        for (const port of ports) port.attach?.(taken);
        return { count, first: ports[0] };
      },
      ({ count, first }) => {
        for (let n = 0; n < count; n++) {
          const from = `52${n.toString(16).padStart(10, '0')}`;
          first?.send(parts.frames.packetOf(parts.netMachine.frame(60, 'ffffffffffff', from)));
        }
      },
      // more than the table has places
      1500,
    );
    expect(growth).toBeLessThan(LINEAR);
  });
});

test('a snapshot of v86 that lists eight times as many devices', async () => {
  const growth = await workGrowthOf(
    (count) => [1, ...Array.from({ length: count }, (_, n) => [n, 'virtio-blk', new Uint8Array(4)]).flat()],
    (entry) => {
      try {
        parts.v86.match(entry, []);
      } catch (error) {
        if (!(error instanceof Error) || error.name !== 'StateError') throw error;
      }
    },
    200,
  );
  expect(growth).toBeLessThan(LINEAR);
});
