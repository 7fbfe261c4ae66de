import type { TransportParts } from '@virtkit/core';
import { STATUS_DRIVER_OK, STATUS_NEEDS_RESET } from '../spec.ts';
import { type Case, ensure, same } from './case.ts';
import { type Context, fresh, started, stepsOf } from './context.ts';
import { pass } from './interrupts.ts';
import type { Rig } from './rig.ts';

/** Collects what guest and world have seen in the end. */
function outcome<H, T extends TransportParts, D>(rig: Rig<H, T, D>): unknown {
  same(rig.faults(), [], 'faults');
  return { guest: rig.work.seen(), world: rig.world.seen() };
}

/** Lists cases of save, load and going on: at any moment, with nothing lost and nothing repeated. */
export function moveCases<H, T extends TransportParts, D>(context: Context<H, T, D>): Case[] {
  const steps = stepsOf(context);
  const undisturbed = async (): Promise<unknown> => {
    const rig = started(context);
    await rig.run(0, steps, 8);
    return outcome(rig);
  };
  const every = (accesses: number): Case => ({
    name: `moved before every ${accesses === 1 ? '' : `${accesses}th `}access of the driver`,
    run: async () => {
      const rig = started(context, { moveEvery: accesses });
      await rig.run(0, steps, 8);
      ensure(rig.moves > 0, 'the device was never moved');
      same(outcome(rig), await undisturbed(), `after ${rig.moves} moves`);
    },
  });
  return [
    every(1),
    every(7),
    {
      name: 'moved with work under way',
      run: async () => {
        const rig = started(context);
        for (let index = 0; index < steps; index++) {
          rig.work.step(index);
          if (index % 5 === 4) rig.move();
          await rig.settle(() => rig.work.pending < 8);
        }
        rig.move();
        await rig.settle();
        same(outcome(rig), await undisturbed(), `after ${rig.moves} moves`);
      },
    },
    {
      name: 'moved twice without running in between',
      run: async () => {
        const rig = started(context);
        await rig.run(0, steps >> 1, 8);
        for (let index = steps >> 1; index < steps; index++) rig.work.step(index);
        rig.move();
        rig.move();
        await rig.settle();
        same(outcome(rig), await undisturbed(), 'after two moves');
      },
    },
    {
      name: 'moved before the driver has touched the device',
      run: async () => {
        const rig = fresh(context);
        rig.move();
        rig.work.start();
        await rig.run(0, steps, 8);
        same(outcome(rig), await undisturbed(), 'after the move');
      },
    },
    {
      name: 'moved in the middle of negotiation',
      run: async () => {
        const rig = fresh(context, { moveEvery: 1 });
        rig.transport.probe();
        rig.work.virtio.negotiate();
        rig.work.start();
        rig.moving = false;
        await rig.run(0, steps, 8);
        same(outcome(rig), await undisturbed(), `after ${rig.moves} moves`);
      },
    },
    {
      name: 'moved in the middle of a reset with work under way',
      run: async () => {
        const rig = started(context);
        for (let index = 0; index < 8; index++) rig.work.step(index);
        rig.move();
        rig.transport.setStatus(0);
        rig.move();
        rig.work.start();
        await rig.run(8, steps, 8);
        same(rig.faults(), [], 'faults');
      },
    },
    {
      name: 'moved with an interrupt that the guest has not taken',
      run: async () => {
        const rig = started(context);
        for (let index = 0; index < 6; index++) rig.work.step(index);
        await pass(rig);
        rig.move();
        await rig.settle();
        same(rig.faults(), [], 'faults');
      },
    },
    {
      name: 'moved after a fault: still broken, told once, whole after a reset',
      run: async () => {
        const rig = started(context);
        await rig.run(0, 4);
        breakQueue(rig);
        same(rig.faults().length, 1, 'faults');
        rig.move();
        same(rig.faults().length, 1, 'faults after the move');
        if (context.bench.modern && rig.work.virtio.transport.status() !== 0) {
          const status = rig.transport.status();
          ensure(
            (status & STATUS_NEEDS_RESET) !== 0 || (status & STATUS_DRIVER_OK) !== 0,
            `status ${status} of a broken device`,
          );
        }
        rig.work.start();
        await rig.run(4, steps, 8);
        same(rig.faults().length, 1, 'faults in all');
      },
    },
  ];
}

/** Puts a buffer that is nowhere into the ring in which the driver sends, and kicks. */
export function breakQueue<H, T extends TransportParts, D>(rig: Rig<H, T, D>): void {
  const { virtio } = rig.work;
  // a queue that the device takes from at once: the only one of a disk, the first transmit queue of a card or a console
  const queue = virtio.rings.has(1) && (virtio.id === 1 || virtio.id === 3) ? 1 : 0;
  const nowhere = 2 ** 40;
  virtio.ring(queue).add([{ address: nowhere, length: 16, writable: false }], undefined);
  virtio.ring(queue).publish();
  virtio.notify(queue);
}
