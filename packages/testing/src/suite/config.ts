import type { TransportParts } from '@virtkit/core';
import { type Case, same } from './case.ts';
import { type Context, started, stepsOf } from './context.ts';

/** Bytes of the configuration space that every device here has. */
const BYTES = 8;

/** The configuration space. */
export function configCases<H, T extends TransportParts, D>(context: Context<H, T, D>): Case[] {
  return [
    {
      name: 'the configuration is the same in every width',
      run: () => {
        const { transport } = started(context);
        const whole = transport.config(0, BYTES);
        for (const width of [1, 2, 4]) {
          const pieces: number[] = [];
          for (let at = 0; at < BYTES; at += width) pieces.push(...transport.config(at, width));
          same(Uint8Array.from(pieces), whole, `read ${width} bytes at a time`);
        }
      },
    },
    {
      name: 'what the driver must not write does not change',
      run: async () => {
        const rig = started(context);
        const { transport } = rig;
        const before = transport.config(0, BYTES);
        transport.setConfig(
          0,
          before.map((byte) => byte ^ 0xff),
        );
        if (context.bench.modern) same(transport.config(0, BYTES), before, 'configuration');
        await rig.run(0, stepsOf(context) >> 1);
        same(rig.faults(), [], 'faults');
      },
    },
  ];
}
