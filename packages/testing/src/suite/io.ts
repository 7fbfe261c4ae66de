import type { TransportParts } from '@virtkit/core';
import { F_RING_RESET } from '../spec.ts';
import { type Case, same } from './case.ts';
import { type Context, started, stepsOf } from './context.ts';

/** Lists cases of work that is done right, one at a time and many, and through resets. */
export function ioCases<H, T extends TransportParts, D>(context: Context<H, T, D>): Case[] {
  const steps = stepsOf(context);
  return [
    {
      name: 'one request at a time',
      run: async () => {
        const rig = started(context);
        await rig.run(0, steps, 1);
        same(rig.faults(), [], 'faults');
      },
    },
    {
      name: 'many requests outstanding, to the end of the ring and around',
      run: async () => {
        const rig = started(context);
        await rig.run(0, 4 * steps, 40);
        same(rig.faults(), [], 'faults');
      },
    },
    {
      name: 'a reset in the middle of work, and everything once more',
      run: async () => {
        const rig = started(context);
        let index = 0;
        for (let round = 0; round < 4; round++) {
          await rig.run(index, steps >> 2, 8);
          index += steps >> 2;
          for (let i = 0; i < 6; i++) rig.work.step(index++);
          rig.work.start();
        }
        await rig.settle();
        same(rig.faults(), [], 'faults');
      },
    },
    {
      name: 'a reset of one queue in the middle of work',
      run: async () => {
        const rig = started(context);
        const { virtio } = rig.work;
        if (!virtio.has(F_RING_RESET)) return;
        let index = 0;
        for (let round = 0; round < 3; round++) {
          for (const queue of [...virtio.rings.keys()]) {
            for (let i = 0; i < 6; i++) rig.work.step(index++);
            rig.work.resetQueue(queue);
            await rig.run(index, 4);
            index += 4;
          }
        }
        await rig.settle();
        same(rig.faults(), [], 'faults');
      },
    },
  ];
}
