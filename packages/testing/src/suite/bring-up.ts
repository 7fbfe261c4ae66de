import type { TransportParts } from '@virtkit/core';
import {
  F_VERSION_1,
  has,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
} from '../spec.ts';
import { type Case, ensure, same } from './case.ts';
import { type Context, fresh, started, stepsOf } from './context.ts';
import { RING_MODES } from './rings.ts';

/** Lists cases from reset to running: what the status byte does on the way. */
export function bringUpCases<H, T extends TransportParts, D>(context: Context<H, T, D>): Case[] {
  const { bench } = context;
  return [
    {
      name: 'the driver finds the device and brings it up',
      run: () => {
        const rig = started(context);
        const { transport, work } = rig;
        const modern = bench.modern ? STATUS_FEATURES_OK : 0;
        same(
          transport.status(),
          STATUS_ACKNOWLEDGE | STATUS_DRIVER | modern | STATUS_DRIVER_OK,
          'status of a running driver',
        );
        const { features } = work.virtio;
        same(features & ~transport.offered(), 0n, 'negotiated and not offered');
        same(has(features, F_VERSION_1), bench.modern, 'VERSION_1');
        ensure(work.virtio.rings.size > 0, 'the device has no queue');
        same(rig.faults(), [], 'faults');
      },
    },
    {
      name: 'status bits read back as they were written',
      run: () => {
        const { transport, work } = fresh(context);
        transport.probe();
        transport.reset();
        same(transport.status(), 0, 'status after a reset');
        for (const status of [STATUS_ACKNOWLEDGE, STATUS_ACKNOWLEDGE | STATUS_DRIVER]) {
          transport.setStatus(status);
          same(transport.status(), status, 'status');
        }
        transport.setStatus(transport.status() | STATUS_FAILED);
        ensure((transport.status() & STATUS_FAILED) !== 0, 'FAILED does not stick');
        transport.reset();
        same(transport.status(), 0, 'status after FAILED and a reset');
        work.start();
      },
    },
    {
      name: 'features stay as negotiated once FEATURES_OK is set',
      run: async () => {
        const rig = started(context);
        if (!bench.modern) return;
        rig.transport.accept(0n);
        await rig.run(0, stepsOf(context));
        same(rig.faults(), [], 'faults');
      },
    },
    {
      name: 'every subset of ring features works',
      run: async () => {
        for (const rings of RING_MODES) {
          if (rings.modern && !bench.modern) continue;
          // the device offers all that it knows, the driver takes some
          const offered = bench.modern
            ? { packed: true, inOrder: true, notificationData: true }
            : context.rings.offered;
          const rig = started(context, { rings: { ...rings, offered } });
          await rig.run(0, 12);
          same(rig.faults(), [], `faults with ${rings.name}`);
        }
      },
    },
    {
      name: 'no device feature is needed',
      run: async () => {
        const rig = started(context, { features: 0n });
        await rig.run(0, stepsOf(context));
        same(rig.faults(), [], 'faults');
      },
    },
    {
      name: 'no interrupt comes before the driver is ready',
      run: () => {
        const { work, transport } = fresh(context);
        transport.probe();
        work.virtio.negotiate();
        const { config, queues } = transport.interrupts();
        same({ config, queues }, { config: false, queues: [] }, 'interrupts');
      },
    },
  ];
}
