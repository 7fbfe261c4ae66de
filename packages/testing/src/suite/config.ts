import type { TransportParts } from '@virtkit/core';
import { type Case, same } from './case.ts';
import { type Context, started, stepsOf } from './context.ts';

/** Lists cases of the configuration space, if the device type has one. */
export function configCases<H, T extends TransportParts, D>(context: Context<H, T, D>): Case[] {
  const { configBytes: bytes = 8 } = context.device;
  if (bytes === 0) return [];
  return [
    {
      name: 'the configuration is the same in every width',
      run: () => {
        const { transport } = started(context);
        const whole = transport.config(0, bytes);
        for (const width of [1, 2, 4]) {
          const pieces: number[] = [];
          for (let at = 0; at < bytes; at += width) pieces.push(...transport.config(at, width));
          same(Uint8Array.from(pieces), whole, `read ${width} bytes at a time`);
        }
      },
    },
    {
      name: 'what the driver must not write does not change',
      run: async () => {
        const rig = started(context);
        const { transport } = rig;
        const before = transport.config(0, bytes);
        transport.setConfig(
          0,
          before.map((byte) => byte ^ 0xff),
        );
        if (context.bench.modern) same(transport.config(0, bytes), before, 'configuration');
        await rig.run(0, stepsOf(context) >> 1);
        same(rig.faults(), [], 'faults');
      },
    },
  ];
}
