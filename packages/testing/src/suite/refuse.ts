import type { TransportParts, VirtioState } from '@virtkit/core';
import { type Case, ensure, equalBytes, same } from './case.ts';
import { type Context, started, stepsOf } from './context.ts';

type Spoil = <T extends TransportParts, D>(state: VirtioState<T, D>) => VirtioState<T, D>;

/** Changes one field of the first queue. */
function queue0(change: Partial<VirtioState['queues'][number]>): Spoil {
  return (state) => ({
    ...state,
    queues: state.queues.map((queue, index) => (index === 0 ? { ...queue, ...change } : queue)),
  });
}

/** States that no device can go on from. */
const SPOILT: readonly (readonly [name: string, spoil: Spoil])[] = [
  ['a selected queue that cannot be', (state) => ({ ...state, queueSel: 1024 })],
  [
    'a feature that this device does not offer',
    (state) => ({
      ...state,
      subsections: { ...state.subsections, features64: (state.subsections.features64 ?? 0n) | (1n << 50n) },
    }),
  ],
  ['a ring larger than any', queue0({ num: 2048 })],
  ['a ring without entries', queue0({ num: 0 })],
  ['an index without a ring', queue0({ desc: 0n, lastAvailIdx: 7 })],
  [
    'a byte order that is none',
    (state) => ({ ...state, subsections: { ...state.subsections, deviceEndian: 9 } }),
  ],
  [
    'a queue that this device does not have',
    (state) => {
      const last = state.queues.at(-1);
      return last === undefined ? state : { ...state, queues: Array.from({ length: 600 }, () => last) };
    },
  ],
];

/** Lists cases of states that are refused, which change nothing. */
export function refuseCases<H, T extends TransportParts, D>(context: Context<H, T, D>): Case[] {
  return SPOILT.map(([name, spoil]) => ({
    name: `refused: ${name}`,
    run: async () => {
      const rig = started(context);
      const steps = stepsOf(context);
      await rig.run(0, steps >> 1, 8);
      for (let index = 0; index < 4; index++) rig.work.step((steps >> 1) + index);
      const { device } = rig.machine;
      const state = spoil(device.capture());
      const [before, ram] = [rig.save(), rig.ram.bytes.slice()];
      let refused = false;
      try {
        device.restore(state);
      } catch (error) {
        refused = error instanceof Error && error.name === 'StateError';
        ensure(refused, `thrown: ${error instanceof Error ? error.stack : String(error)}`);
      }
      ensure(refused, 'the state was taken');
      ensure(equalBytes(rig.save(), before), 'the device is another one');
      ensure(equalBytes(rig.ram.bytes, ram), 'guest memory is another one');
      await rig.settle();
      await rig.run((steps >> 1) + 4, steps >> 1, 8);
      same(rig.faults(), [], 'faults');
    },
  }));
}
