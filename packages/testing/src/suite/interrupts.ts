import type { TransportParts } from '@virtkit/core';
import { F_EVENT_IDX } from '../spec.ts';
import { type Case, ensure, same } from './case.ts';
import { type Context, started, stepsOf } from './context.ts';
import type { Rig } from './rig.ts';

/** Lets time pass, while nobody looks. */
export async function pass<H, T extends TransportParts, D>(rig: Rig<H, T, D>, ticks = 60): Promise<void> {
  for (let tick = 0; tick < ticks; tick++) {
    rig.world.tick();
    for (let i = 0; i < 4; i++) await Promise.resolve();
  }
}

/** Lists cases of when the driver is interrupted, and when not. */
export function interruptCases<H, T extends TransportParts, D>(context: Context<H, T, D>): Case[] {
  return [
    {
      name: 'an interrupt for work that was done, and none without',
      run: async () => {
        const rig = started(context);
        const { virtio } = rig.work;
        await rig.run(0, 4);
        await pass(rig);
        rig.work.service();
        const before = virtio.interrupts;
        await pass(rig);
        rig.work.service();
        same(virtio.interrupts, before, 'interrupts while nothing was asked for');
        await rig.run(4, stepsOf(context), 1);
        ensure(virtio.interrupts > before, 'work was done and nobody was told');
      },
    },
    {
      name: 'no interrupts while the driver wants none, and nothing is lost',
      run: async () => {
        const rig = started(context);
        const { virtio } = rig.work;
        await rig.run(0, 8);
        // with an event index in a split ring there is no saying no, only saying later
        if (virtio.has(F_EVENT_IDX) && context.rings.wishes.packed !== true) return;
        await pass(rig);
        rig.work.service();
        for (const ring of virtio.rings.values()) ring.disableInterrupts();
        for (let index = 8; index < 14; index++) rig.work.step(index);
        await pass(rig);
        same(rig.transport.interrupts().queues, [], 'queues that interrupt');
        for (const queue of [...virtio.rings.keys()]) virtio.collect(queue);
        await rig.settle();
        await rig.run(14, 8);
      },
    },
  ];
}
